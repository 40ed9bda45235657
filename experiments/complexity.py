"""Whether the measure grows with the range of the rotations that it is measured with.

Source: thesis, experiment TransformationComplexity. There degrees were taken for radians, so that all ranges covered
the whole circle, and the question stayed open.
Expected: wider ranges move activations more, less so in a network that was trained with all angles.

    python -m tfinv.run complexity

Duration on 2 cores: smoke 20 s, cpu 8 min, full (a GPU is advised) 5 h.
"""

from __future__ import annotations

from tfinv.experiment import Experiment, Finding, Run
from tfinv.experiments import MEASURE, StandardStudy, conclude, profile_table, save_profiles, slope, standard


def answer(run: Run) -> Finding:
    """Measure plain and augmented networks under rotations of several ranges."""
    study, settings = StandardStudy(run), run.settings
    lines, checks, slopes = {}, {}, {}
    for name, make in {"plain": study.plain, "augmented": study.rotated}.items():
        by_range = {
            limit: study.profiles(make, MEASURE, f"rotations({settings.rotations}, {float(limit)!r})")
            for limit in settings.ranges
        }
        lines |= {f"{name}, ±{limit}°": profiles for limit, profiles in by_range.items()}
        last = list(by_range[settings.ranges[0]])[-1]
        turns = [limit / 180 for limit in by_range]
        slopes[name] = slope(turns, list(by_range.values()), last)
        trend = slope(turns, list(by_range.values()))
        sentence = f"over the full range the mean over layers of {name} networks changes by {trend:+.3f}"
        checks[f"{sentence}; above zero"] = trend.above(0)
        steps = [profiles.iloc[:, -1].mean() for profiles in by_range.values()]
        run.say(f"{name}: output {', '.join(f'{step:.2f}' for step in steps)}")
    plain, augmented = slopes["plain"], slopes["augmented"]
    sentence = f"at the output it changes by {plain:+.3f} without augmentation and by {augmented:+.3f} with it"
    checks[f"{sentence}; more without it"] = plain.exceeds(augmented)
    save_profiles(run, "profile", lines)
    edges = (settings.ranges[0], settings.ranges[-1])
    shown = {name: profiles for name, profiles in lines.items() if any(name.endswith(f"±{edge}°") for edge in edges)}
    claim = "Wider ranges of transformations raise the measure, less so where training knew them (thesis; expected)."
    return conclude(claim, checks, profile_table(shown), "profile")


EXPERIMENT = Experiment(
    name="complexity",
    question="Does the measure grow with the range of the rotations that it is measured with?",
    run=answer,
    source="thesis, TransformationComplexity",
    minutes={"smoke": 0.3, "cpu": 8, "full": 300},
    **standard({"ranges": (45, 180), "rotations": 4}, {"rotations": 49}, ranges=(15, 45, 90, 180), rotations=16),
)
