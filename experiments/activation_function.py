"""Whether the activation function changes the structure of invariance.

Source: thesis, experiment ActivationFunctionComparison (ELU, ReLU, PReLU, tanh).
Expected: little, at equal accuracy (no outcome was published).

    python -m tfinv.run activation_function

Duration on 2 cores: smoke 20 s, cpu 16 min, full (a GPU is advised) 18 h.
"""

from __future__ import annotations

from tfinv.experiment import Experiment, Finding, Run
from tfinv.experiments._shared.standard import standard
from tfinv.experiments._shared.variants import compare_variants


def answer(run: Run) -> Finding:
    """Compare networks that differ in their activation function."""
    variants = {name: {} if name == "elu" else {"activation": name} for name in run.settings.activations}
    claim = "The activation function changes the invariance little (expected; thesis, ActivationFunctionComparison)."
    return compare_variants(run, variants, claim, differ=False)


EXPERIMENT = Experiment(
    name="activation_function",
    question="Does the activation function change the structure of invariance?",
    run=answer,
    source="thesis, ActivationFunctionComparison",
    minutes={"smoke": 0.3, "cpu": 16, "full": 1100},
    **standard({"activations": ("elu", "relu")}, activations=("elu", "relu", "prelu", "tanh")),
)
