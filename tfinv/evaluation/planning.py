"""Whether an evaluation fits into memory, asked before anything that takes long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tfinv.activations.source import ActivationSource
from tfinv.engine.memory import Need, Plan, parse_budget, plan, plan_layers
from tfinv.engine.passes import gathered
from tfinv.engine.shards import held_of_some
from tfinv.evaluation.arguments import block_size
from tfinv.evaluation.options import Sampling
from tfinv.measures import Measure
from tfinv.statistics import Layer
from tfinv.transformations import TransformationSet


def check_budget(memory_budget: int | float | str) -> None:
    """Refuse what is no amount of memory.

    Args:
        memory_budget: see `evaluate`.

    Raises:
        TypeError, ValueError: something else.
    """
    parse_budget(memory_budget)


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
        resamples=sampling.intervals.resamples if sampling and sampling.intervals else 0,
        checkpoint=checkpoint,
        some=held_of_some(measures),
    )


def groups_that_fit(
    sizes: Mapping[str, int], work: float, image: int, samples: int, memory_budget: int | float | str | None = None
) -> tuple[tuple[str, ...], ...]:
    """Groups of layers whose activations for a block of images fit into memory.

    Args:
        sizes: by layer the bytes that are held for one image under all transformations.
        work: temporary arrays while a layer is read, as a multiple of its size.
        image: bytes of one image under all transformations.
        samples: images in a block.
        memory_budget: see `evaluate`.

    Returns:
        Names of layers in their order, as few groups as there can be.

    Raises:
        ValueError: one layer alone needs more than the budget.
    """
    needs = [Need(layer, 0, size, work_block=int(work * size)) for layer, size in sizes.items()]
    return plan(needs, samples, parse_budget(memory_budget), image, shrink=False).groups if needs else ()


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
