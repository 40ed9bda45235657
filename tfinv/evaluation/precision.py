"""Evaluations that stop when their intervals are narrow enough."""

from __future__ import annotations

import dataclasses
from typing import Any

from tfinv.engine.batches import ImageBatches
from tfinv.engine.memory import Plan
from tfinv.engine.passes import Setting, make_passes
from tfinv.engine.sequential import measured_until
from tfinv.evaluation.options import Sampling
from tfinv.results import Results
from tfinv.support.progress import Progress

CONFIDENCE = 0.95
"""Of all intervals together, where nothing is said."""


def check_precision(sampling: Sampling, checkpoint: Any) -> Sampling:
    """The sampling of an evaluation with a precision; refuse what does not go with one.

    Raises:
        ValueError: options that need all images.
    """
    for name, given in (
        ("stratified", sampling.stratified),
        ("keep_statistics", sampling.keep_statistics),
        ("interval='bootstrap'", sampling.interval == "bootstrap"),
        ("checkpoint", checkpoint is not None),
    ):
        if given:
            raise ValueError(f"precision cannot be combined with {name}. Received: both")
    return dataclasses.replace(sampling, confidence=sampling.confidence or CONFIDENCE)


def measure_until(
    setting: Setting, plan: Plan, batches: ImageBatches, sampling: Sampling, progress: bool
) -> tuple[list[dict[Any, Results]], dict[str, Any]]:
    """The results of images in random order, as many as the precision takes, and their entries for the metadata.

    Raises:
        ValueError: layers that do not fit into memory together, or a measure that goes over the images twice.
    """
    passes = make_passes(setting, setting.layers)
    if len(plan.groups) > 1 or len(passes) > 1:
        why = "layers that fit into memory together" if len(plan.groups) > 1 else "measures of one pass over the images"
        count = f"{len(plan.groups)} groups of layers" if len(plan.groups) > 1 else f"{len(passes)} passes"
        raise ValueError(f"precision needs {why}; name fewer layers or measures. Received: {count}")
    batches = batches.in_batches_of(plan.batch_size)
    with Progress("measuring", (batches.count or 0) * passes[0].images_per_sample, "img", shown=progress) as bar:
        part = dataclasses.replace(setting, advance=bar.advance)
        run = make_passes(part, setting.layers)[0]
        assert sampling.confidence is not None and sampling.precision is not None
        results, facts = measured_until(part, setting.layers, batches, run, sampling.precision, sampling.confidence)
    taken = facts.pop("taken")
    replicates = next(iter(results.values())).replicates
    shards = list(replicates.sizes) if replicates else []
    return [{"": results}], {"samples": len(taken), "shards": shards, "precision": facts}


def precision_sentence(facts: dict[str, Any]) -> str:
    """How many images were needed, in words.

    Example:
        >>> from tfinv.evaluation.precision import precision_sentence
        >>> facts = {"target": 0.02, "reached": True, "half_width": 0.018, "used": 250, "of": 1000, "confidence": 0.95}
        >>> facts |= {"widest": "NormalizedVariance at conv", "looks": [250, 500, 1000]}
        >>> precision_sentence(facts).split(" (")[0]
        '250 of 1000 images were needed for intervals of ±0.02'

    Args:
        facts: `Results.metadata["precision"]`.
    """
    level = f"{100 * facts['confidence']:g} % for all together, {len(facts['looks'])} looks paid for"
    widest = f"the widest, of {facts['widest']}, is ±{facts['half_width']:.2g}"
    aim = f"for intervals of ±{facts['target']:g} ({level}); {widest}"
    if facts["reached"]:
        return f"{facts['used']} of {facts['of']} images were needed {aim}."
    return f"All {facts['of']} images were not enough {aim}."
