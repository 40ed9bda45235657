"""Whether the kernel size changes the structure of invariance.

Source: thesis, experiment KernelSize (3, 5, 7; the last convolution stays 3x3).
Expected: it does, although the accuracy is similar.

    python -m tfinv.run kernel_size
    python -m tfinv.run kernel_size kernels=3,2,4     even sizes

Duration on 2 cores: smoke 20 s, cpu 18 min, full (a GPU is advised) 30 h.
"""

from __future__ import annotations

from tfinv.experiment import Experiment, Finding, Run
from tfinv.experiments._shared.standard import standard
from tfinv.experiments._shared.variants import compare_variants


def answer(run: Run) -> Finding:
    """Compare networks that differ in the side of their kernels."""
    variants = {f"{k}x{k}": {} if k == 3 else {"kernel_size": k} for k in run.settings.kernels}
    claim = "The kernel size changes the structure of invariance although the accuracy is similar (thesis)."
    return compare_variants(run, variants, claim, differ=True)


EXPERIMENT = Experiment(
    name="kernel_size",
    question="Does the kernel size change the structure of invariance?",
    run=answer,
    source="thesis, KernelSize",
    minutes={"smoke": 0.3, "cpu": 18, "full": 1800},
    **standard({"kernels": (3, 5)}, kernels=(3, 5, 7)),
)
