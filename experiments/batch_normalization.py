"""Whether batch normalization changes the structure of invariance.

Source: thesis, experiment BatchNormalization. There training went on in inference mode after the first validation.
Expected: it does not, at equal accuracy; layers of batch normalization are left out of the comparison.

    python -m tfinv.run batch_normalization

Duration on 2 cores: smoke 15 s, cpu 8 min, full (a GPU is advised) 9 h.
"""

from __future__ import annotations

from tfinv.experiment import Experiment, Finding, Run
from tfinv.experiments._shared.standard import standard
from tfinv.experiments._shared.variants import compare_variants


def answer(run: Run) -> Finding:
    """Compare networks without and with batch normalization."""
    variants = {"no normalization": {}, "batch normalization": {"batch_normalization": True}}
    claim = "Batch normalization does not change the structure of invariance, at equal accuracy (thesis)."
    return compare_variants(run, variants, claim, differ=False)


EXPERIMENT = Experiment(
    name="batch_normalization",
    question="Does batch normalization change the structure of invariance?",
    run=answer,
    source="thesis, BatchNormalization",
    minutes={"smoke": 0.3, "cpu": 8, "full": 540},
    **standard(),
)
