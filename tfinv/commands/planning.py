"""Whether a measurement fits into memory, asked before anything that takes long."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from tfinv.activations import ActivationSource
from tfinv.engine.memory import plan_layers
from tfinv.evaluation import Sampling
from tfinv.evaluation.arguments import block_size
from tfinv.measures import Measure
from tfinv.measures.base import required_statistics
from tfinv.statistics import Layer
from tfinv.transformations import TransformationSet


def plan_memory(
    source: ActivationSource,
    samples: int,
    transformations: TransformationSet,
    measures: Sequence[Measure],
    options: argparse.Namespace,
    confidence: float | None,
) -> None:
    """Refuse a measurement that does not fit, with the options that make it smaller.

    Args:
        source: the model, with its chosen layers.
        samples: how many images are measured.
        transformations: the set.
        measures: what is measured.
        options: `memory_budget` and, where a command has them, `batch_size` and `checkpoint`.
        confidence: of intervals; None for none.

    Raises:
        ValueError: one layer alone needs more than the budget.
    """
    batch = getattr(options, "batch_size", None)
    count = len(transformations)
    layers = [Layer(name, shape, count, transformations, False, samples) for name, shape in source.layer_shapes.items()]
    arguments: dict[str, Any] = {
        "budget": options.memory_budget,
        "fixed": batch is not None,
        "shards": Sampling(confidence).parts,
        "checkpoint": bool(getattr(options, "checkpoint", False)),
    }
    try:
        plan_layers(layers, required_statistics(measures), source.input_shape, block_size(batch, count), **arguments)
    except ValueError as error:
        if "memory_budget must be at least" not in str(error):
            raise
        raise ValueError(
            f"{error}. Options: --memory-budget for more of the memory, --layers for layers without it, smaller "
            "--transformations, or one of --measures"
        ) from None
