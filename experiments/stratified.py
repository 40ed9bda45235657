"""Whether invariance is different within the images of one class than over all images.

Source: Quiroga et al. 2019, stratified heat maps, and the table of global invariance; thesis, experiment Stratified.
Expected: values within classes are higher, because images of one class differ less: 1.01 against .73 for SimpleConv on
MNIST trained plain, .97 against .69 trained with rotations (aggregated otherwise than here).

    python -m tfinv.run stratified

Duration on 2 cores: smoke 30 s, cpu 8 min, full (a GPU is advised) 6 h.
"""

from __future__ import annotations

from tfinv.experiment import Experiment, Finding, Run
from tfinv.experiments import StandardStudy, change, conclude, profile_table, save_profiles, standard


def answer(run: Run) -> Finding:
    """Measure plain and augmented networks over all images, and class by class."""
    study = StandardStudy(run)
    lines, checks = {}, {}
    for name, make in {"plain": study.plain, "augmented": study.rotated}.items():
        everything = lines[name] = study.profiles(make)
        by_class = lines[f"{name}, by class"] = study.profiles(make, stratified=True)
        for where, layer in {"the mean over layers": None, "the output": list(everything)[-1]}.items():
            more = change(everything, by_class, layer)
            checks[f"within classes {where} of {name} networks differs by {more:+.3f}; above zero"] = more.above(0)
    save_profiles(run, "profile", lines)
    claim = "Normalized variance is higher within classes than over all images (Quiroga et al. 2019)."
    return conclude(claim, checks, profile_table(lines), "profile")


EXPERIMENT = Experiment(
    name="stratified",
    question="Is invariance different within the images of one class than over all images?",
    run=answer,
    source="Quiroga et al. 2019, stratified measures; thesis, Stratified",
    minutes={"smoke": 0.5, "cpu": 8, "full": 360},
    **standard(),
)
