"""Whether an evaluation fits into memory, asked before anything that takes long."""

from __future__ import annotations

from collections.abc import Sequence

from tfinv.activations.source import ActivationSource
from tfinv.engine.memory import Plan, plan_layers
from tfinv.evaluation.arguments import block_size
from tfinv.evaluation.options import Sampling
from tfinv.measures import Measure
from tfinv.measures.base import required_statistics
from tfinv.statistics import Layer
from tfinv.transformations import TransformationSet


def plan_evaluation(
    source: ActivationSource,
    samples: int,
    transformations: TransformationSet,
    measures: Sequence[Measure],
    *,
    sampling: Sampling | None = None,
    batch_size: int | None = None,
    memory_budget: int | float | str | None = None,
    checkpoint: bool = False,
) -> Plan:
    """The groups of layers that `evaluate` would measure together, without running the model.

    Args:
        source: the model, with its chosen layers.
        samples: how many images are measured.
        transformations: the set.
        measures: what is measured.
        sampling: see `evaluate`.
        batch_size: see `evaluate`.
        memory_budget: see `evaluate`.
        checkpoint: whether the evaluation has one.

    Raises:
        ValueError: one layer alone needs more than the budget.
    """
    count = len(transformations)
    shapes = source.layer_shapes
    layers = [Layer(name, shape, count, transformations, False, samples) for name, shape in shapes.items()]
    return plan_layers(
        layers,
        required_statistics(measures),
        source.input_shape,
        block_size(batch_size, count),
        budget=memory_budget,
        fixed=batch_size is not None,
        shards=sampling.parts if sampling else 0,
        checkpoint=checkpoint,
    )
