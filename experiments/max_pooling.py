"""Whether max pooling makes a network more invariant than strided convolutions.

Source: thesis, experiment MaxPooling.
Expected: little difference, at equal accuracy (no outcome was published).

    python -m tfinv.run max_pooling

Duration on 2 cores: smoke 15 s, cpu 8 min, full (a GPU is advised) 9 h.
"""

from __future__ import annotations

from tfinv.experiment import Experiment, Finding, Run
from tfinv.experiments._shared.standard import standard
from tfinv.experiments._shared.variants import compare_variants


def answer(run: Run) -> Finding:
    """Compare networks with max pooling and with a strided convolution in its place."""
    variants = {"max pooling": {}, "strided convolution": {"max_pooling": False}}
    claim = "Strided convolutions in place of max pooling change the invariance little (expected; thesis, MaxPooling)."
    return compare_variants(run, variants, claim, differ=False)


EXPERIMENT = Experiment(
    name="max_pooling",
    question="Does max pooling make a network more invariant than strided convolutions?",
    run=answer,
    source="thesis, MaxPooling",
    minutes={"smoke": 0.3, "cpu": 8, "full": 540},
    **standard(),
)
