"""What outputs that are no classes do under transformations: landmarks, boxes, masks, maps, embeddings and numbers."""

from __future__ import annotations

from tfinv.outputs.base import OutputKind, OutputValues
from tfinv.outputs.boxes import Boxes
from tfinv.outputs.change import OutputChange, OutputMeasured
from tfinv.outputs.comparing import OutputComparison, compare_outputs
from tfinv.outputs.fields import Map, Mask
from tfinv.outputs.kinds import kind
from tfinv.outputs.labels import Labels
from tfinv.outputs.landmarks import Landmarks
from tfinv.outputs.moves import Moves
from tfinv.outputs.vectors import Classes, Embedding, Vector

__all__ = [
    "Boxes",
    "Classes",
    "Embedding",
    "Labels",
    "Landmarks",
    "Map",
    "Mask",
    "Moves",
    "OutputChange",
    "OutputComparison",
    "OutputKind",
    "OutputMeasured",
    "OutputValues",
    "Vector",
    "compare_outputs",
    "kind",
]
