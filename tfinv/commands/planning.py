"""Whether a measurement fits into memory, asked before anything that takes long."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tfinv.activations import ActivationSource
from tfinv.evaluation import Sampling
from tfinv.evaluation.planning import plan_evaluation
from tfinv.measures import Measure
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
    with offering_flags():
        plan_evaluation(
            source,
            samples,
            transformations,
            measures,
            sampling=Sampling(confidence),
            batch_size=getattr(options, "batch_size", None),
            memory_budget=options.memory_budget,
            checkpoint=bool(getattr(options, "checkpoint", False)),
        )


@contextmanager
def offering_flags() -> Iterator[None]:
    """Add the options that make a measurement smaller to the error of one that does not fit into memory.

    Raises:
        ValueError: the error, with the options.
    """
    try:
        yield
    except ValueError as error:
        if "memory_budget must be at least" not in str(error):
            raise
        raise ValueError(
            f"{error}. Options: --memory-budget for more of the memory, --layers for layers without it, smaller "
            "--transformations, or one of --measures"
        ) from None
