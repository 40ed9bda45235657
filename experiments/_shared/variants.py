"""The experiments that change one thing in the network and ask whether its invariance changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tfinv.experiments._shared.evidence import MARGIN, Interval, change, conclude, distance
from tfinv.experiments._shared.standard import ROTATED, StandardStudy, profile_table, save_profiles

if TYPE_CHECKING:
    from tfinv.experiment import Finding, Run


def compare_variants(
    run: Run, variants: Mapping[str, Mapping[str, Any]], claim: str, *, differ: bool, figure: str = "profile"
) -> Finding:
    """Train each variant with rotations, and compare invariance and accuracy with the first one's.

    Args:
        run: of the experiment.
        variants: options of `simple_conv` by the name of the variant; the first is the reference.
        claim: what was claimed.
        differ: whether the claim says that the invariance differs (by more than `MARGIN`) or that it does not.
        figure: its name.

    Returns:
        The finding, with checks of the profile, of the output and of the accuracy for each variant but the first.
    """
    study = StandardStudy(run)
    makers = {
        name: lambda seed, options=options: study.trained(seed, ROTATED, **options)
        for name, options in variants.items()
    }
    lines = {name: study.profiles(make) for name, make in makers.items()}
    accuracies = {name: [study.accuracy(make(seed)).mean() for seed in study.seeds] for name, make in makers.items()}
    reference, *others = variants
    checks: dict[str, bool | None] = {}
    for name in others:
        apart = distance(lines[reference], lines[name])
        outcome = apart.above(MARGIN) if differ else apart.below(MARGIN)
        what = f"{'above' if differ else 'below'} the margin of {MARGIN}"
        checks[f"the profiles of {name} and {reference} differ by {apart} more than seeds do; {what}"] = outcome
        output = list(lines[reference])[-1]
        at_output = change(lines[reference], lines[name], output)
        same = at_output.within(-MARGIN, MARGIN)
        what = f"outside ±{MARGIN}" if differ else f"within ±{MARGIN}"
        outcome = same if not differ or same is None else not same
        checks[f"the measure at {output} differs by {at_output:+.3f}; {what}"] = outcome
        pairs = zip(accuracies[reference], accuracies[name], strict=True)
        gain = Interval.of([after - before for before, after in pairs])
        if not differ:  # equal accuracy alone is no evidence that the invariance differs; the table has it
            checks[f"the accuracy differs by {gain:+.1pt}; within ±3 points"] = gain.within(-0.03, 0.03)
    table = profile_table(lines)
    table.loc[len(table)] = {
        "layer": "accuracy",
        **{name: f"{Interval.of(accuracy):.1%}" for name, accuracy in accuracies.items()},
    }
    run.save_table(table, "profiles")
    save_profiles(run, figure, lines)
    return conclude(claim, checks, table, figure)
