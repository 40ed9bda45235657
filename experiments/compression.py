"""What pruning, distillation and int8 do to the invariance of a network, alone and combined.

A network trained with rotations is trained on for some epochs, with and without pruning; a narrower one learns from its
answers, or without them; a binary one and one that is equivariant by design, pruned in its base kernels, are compared.
Each is measured in float32 and as a static int8 file.

Source: the question is this project's own; Zhu and Gupta 2017 (pruning), Hinton et al. 2015 (distillation).
Expected: half of the weights can go without loss, nine tenths cost accuracy; distillation helps a small network; int8
costs nothing more; an equivariant network stays invariant.

    python -m tfinv.run compression

Duration on 2 cores: smoke 1 min, cpu 30 min, full (a GPU is advised) 20 h.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import pandas as pd

from tfinv.experiment import Experiment, Finding, Run
from tfinv.experiments import (
    MARGIN,
    MEASURE,
    ROTATED,
    Interval,
    StandardStudy,
    change,
    conclude,
    profile_table,
    save_profiles,
    standard,
)
from tfinv.experiments._shared.compression import both_files, distilled, fine_tuned
from tfinv.experiments._shared.right_angles import changed_answers

BEFORE, POINTS = "uncompressed", 0.03  # a difference of accuracy below the latter counts as none


def answer(run: Run) -> Finding:
    """Compress networks of every seed in every way; accuracy, profile and file size of float32 and int8."""
    study, settings = StandardStudy(run), run.settings
    profiles: dict[str, dict[int, pd.Series]] = {}
    accuracy, sizes, exact = defaultdict[str, list[float]](list), defaultdict[str, list[float]](list), []
    for seed in study.seeds:
        for name, network in _networks(study, seed).items():
            if name.startswith("p4cnn"):
                exact.append(changed_answers(network, study.data.test.subset(settings.test_samples, seed).x))
            for suffix, (source, kib) in both_files(study, network, seed).items():
                label = name + suffix
                result = study.measured(source, [MEASURE, "AccuracyUnder"])
                profiles.setdefault(label, {})[seed] = result[MEASURE].profile().set_index("layer")["mean"].dropna()
                share = next(layer.values for layer in result["AccuracyUnder"].values() if layer.values.size)
                accuracy[label].append(float(share.mean()))
                sizes[label].append(kib)
    lines = {label: pd.DataFrame(rows).T.dropna(axis=1, how="all") for label, rows in profiles.items()}
    rows = []
    for label, profile in lines.items():
        before = "p4cnn" if label.startswith("p4cnn") else BEFORE
        rows.append(
            {
                "network": label,
                "gzip, KiB": f"{np.mean(sizes[label]):.1f}",
                "accuracy under rotations": f"{Interval.of_shares(accuracy[label]):.1%}",
                "normalized variance of the output": str(Interval.of(profile["logits"])),
                "its change": f"{change(lines[before], profile, 'logits'):+.3f}",
                "mean change over layers": f"{change(lines[before], profile):+.3f}",
            }
        )
    combined = [BEFORE, f"pruned {settings.shares[-1]:.0%}", "half width distilled"]
    save_profiles(run, "profile", {label + more: lines[label + more] for label in combined for more in ("", " + int8")})
    run.save_table(profile_table(lines), "profiles")
    claim = "Networks can be compressed, in one way or several, without a change of accuracy and invariance."
    return conclude(claim, _checks(lines, accuracy, combined, Interval.of(exact)), pd.DataFrame(rows), "profile")


def _networks(study: StandardStudy, seed: int) -> dict[str, Any]:
    """The networks of a seed; the first of each family is what the others are compared with."""
    settings = study.settings
    wide = study.trained(seed, ROTATED, activation="relu")
    narrow = {"filters": settings.filters // 2, "dense": settings.dense // 2, "activation": "relu"}
    networks = {BEFORE: fine_tuned(study, wide, 0.0, seed)}
    for share in settings.shares:
        networks[f"pruned {share:.0%}"] = fine_tuned(study, wide, share, seed)
    networks["half width alone"] = study.trained(seed, ROTATED, **narrow)
    networks["half width distilled"] = distilled(study, wide, "simple_conv", narrow, seed)
    networks["binary"] = study.trained(seed, ROTATED, architecture="binary_net", filters=settings.filters)
    turned = study.trained(seed, ROTATED, architecture="p4cnn", filters=settings.maps)
    networks["p4cnn"] = fine_tuned(study, turned, 0.0, seed)
    networks[f"p4cnn pruned {settings.shares[-1]:.0%}"] = fine_tuned(study, turned, settings.shares[-1], seed)
    return networks


def _checks(lines: Any, accuracy: Any, combined: list[str], exact: Interval) -> dict[str, bool | None]:
    """Pruned networks against the uncompressed one, int8 on top of each way, distillation, and right angles."""
    checks: dict[str, bool | None] = {}
    pairs = [(label, BEFORE) for label in lines if label.startswith("pruned") and not label.endswith("int8")]
    pairs += [(f"{label} + int8", label) for label in combined]
    for label, other in pairs:
        cost = Interval.of(np.subtract(accuracy[other], accuracy[label]))
        moved = change(lines[other], lines[label], "logits")
        sentence = f"against '{other}', '{label}' costs {cost:.1pt} of accuracy"
        checks[f"{sentence}; within ±{100 * POINTS:.0f} points"] = cost.within(-POINTS, POINTS)
        sentence = f"the output's normalized variance of '{label}' differs by {moved:+.3f}"
        checks[f"{sentence}; within ±{MARGIN}"] = moved.within(-MARGIN, MARGIN)
    gain = Interval.of(np.subtract(accuracy["half width distilled"], accuracy["half width alone"]))
    sentence = f"distillation changes the accuracy of a network of half the width by {gain:+.1pt}"
    checks[f"{sentence}; above zero"] = gain.above(0)
    sentence = f"right angles change {exact.mean:.1%} of the answers of p4cnn, pruned or not"
    checks[f"{sentence}; none"] = exact.mean == 0 if len(accuracy["p4cnn"]) > 1 else None
    return checks


EXPERIMENT = Experiment(
    name="compression",
    question="What do pruning, distillation and int8 do to the invariance of a network?",
    run=answer,
    source="Zhu and Gupta 2017; Hinton et al. 2015; the question is this project's own",
    minutes={"smoke": 1, "cpu": 30, "full": 1200},
    **standard(
        {"shares": (0.5,), "fine_tuning": 1, "maps": 3},
        {"fine_tuning": 15, "maps": 10},
        shares=(0.5, 0.8, 0.9),
        fine_tuning=5,
        maps=5,
    ),
)
