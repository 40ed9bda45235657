"""Whether an evaluation fits into memory, asked before anything that takes long."""

from __future__ import annotations

from collections.abc import Sequence

from tfinv.activations.source import ActivationSource
from tfinv.engine.memory import Plan, plan_layers
from tfinv.engine.passes import gathered
from tfinv.evaluation.arguments import block_size
from tfinv.evaluation.options import Sampling
from tfinv.measures import Measure
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
    return plan_layers(
        layers_of(source, transformations, sampling.whole if sampling and sampling.keep_statistics else samples),
        gathered(measures),
        source.input_shape,
        block_size(batch_size, len(transformations)),
        budget=memory_budget,
        fixed=batch_size is not None,
        shards=sampling.parts if sampling else 0,
        checkpoint=checkpoint,
    )


def layers_of(source: ActivationSource, transformations: TransformationSet, samples: int | None) -> tuple[Layer, ...]:
    """The layers of a source, as statistics know them.

    Args:
        source: the model, with its chosen layers.
        transformations: the set.
        samples: how many images are measured; None where that is not known.
    """
    shapes, count = source.layer_shapes, len(transformations)
    last = getattr(source, "output_layer", list(shapes)[-1])
    activation = next((output.activation for output in getattr(source, "outputs", ())), None)
    groups = getattr(source, "channel_groups", {})
    return tuple(
        Layer(
            name,
            shape,
            count,
            transformations,
            name == last,
            samples,
            activation if name == last else None,
            groups.get(name, ""),
        )
        for name, shape in shapes.items()
    )
