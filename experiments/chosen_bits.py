"""How small a file can be that keeps the invariance of a network, with bits chosen by layer.

SimpleConv on MNIST, trained upright and with rotations, SimpleConv on handshapes, trained with rotations, and MLPerf
Tiny's ResNet-8 on CIFAR-10, whose weights are the same for every seed. `choose_bits` chooses on some test images; what
it chose is then measured on others. Beside it stand the float file, uniform int8 and int4, and the file that the ratio
of signal to quantization noise chooses within the same bytes.

Source: this project; tools that choose bits go by signal-to-noise ratio, divergence or squared error.
Expected: the chosen file is smaller than int8; the file that signal-to-noise ratio chooses within the same bytes misses
a condition; on other images the chosen file still meets the conditions.

    python -m tfinv.run chosen_bits
    python -m tfinv.run chosen_bits networks=plain seeds=1

The handshapes are LSA16 and the ResNet-8 a file of MLPerf Tiny, both below TFINV_DATA, see docs/data.md.
Duration on 2 cores: smoke 1 min, cpu 40 min, full 10 h.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from tfinv.experiment import Experiment, Finding, Run
from tfinv.experiments import Interval, StandardStudy, conclude, save_drawing, standard
from tfinv.experiments._shared.bits import NETWORKS, Chosen, choose
from tfinv.support.checks import close_match

FIGURES = ("uniform int8", "uniform int4", "same bytes by SQNR", "chosen")


def answer(run: Run) -> Finding:
    """Choose the bits of every network with every seed; gather sizes and what holds."""
    study, settings = StandardStudy(run), run.settings
    wrong = [name for name in settings.networks if name not in NETWORKS]
    if wrong or not settings.networks:
        hint = close_match(wrong[0], NETWORKS) if wrong else ""
        raise ValueError(f"networks must be among {', '.join(NETWORKS)}.{hint} Received: {settings.networks!r}")
    chosen = {name: [choose(study, name, seed) for seed in study.seeds] for name in settings.networks}
    rows, bars = [], []
    for name, choices in chosen.items():
        for file in ("float32", *FIGURES):
            files = [row for one in choices if (row := one.file(file)) is not None]
            if not files:
                continue
            size = sum(row["bytes"] for row in files) / len(files)
            share = Interval.of([row["size_ratio"] for row in files])
            rows.append((name, file, f"{size:,.0f}", f"{sum(bool(row['holds']) for row in files)} of {len(files)}"))
            if file != "float32":
                bars.append((name, file, share.mean, share.low, share.high))
    frame = pd.DataFrame(bars, columns=["network", "file", "size", "low", "high"])
    axes = {"category": "network", "value": "size", "group": "file", "y_label": "size, of the float file"}
    save_drawing(run, "size", "bars", frame, percent=True, **axes)
    claim = f"Bits chosen by layer make smaller files than int8 that keep {' and '.join(settings.keep)}."
    table = pd.DataFrame(rows, columns=["network", "file", "bytes", "meets the conditions"])
    return conclude(claim, checks(chosen), table, "size")


def checks(chosen: Mapping[str, list[Chosen]]) -> dict[str, bool | None]:
    """What was expected of every network."""
    found: dict[str, bool | None] = {}
    for name, choices in chosen.items():
        count = len(choices)
        share = Interval.of([one.file("chosen")["bytes"] / one.file("uniform int8")["bytes"] for one in choices])
        found[f"the chosen file of {name} takes {share:.1%} of the bytes of int8; below 100 %"] = share.below(1)
        noise = [one.file("same bytes by SQNR") for one in choices]
        missing = sum(row is None or not row["holds"] for row in noise)
        sentence = (
            f"what SQNR chooses for {name} within the same bytes misses a condition in {missing} of {count} networks"
        )
        found[f"{sentence}; in all"] = _all_or_none(missing, count)
        kept = sum(not one.missed for one in choices)
        sentence = f"on other images the chosen file of {name} meets all conditions in {kept} of {count} networks"
        found[f"{sentence}; in all"] = _all_or_none(kept, count)
    return found


def _all_or_none(number: int, count: int) -> bool | None:
    """True for all, False for none, None between them or for a single network."""
    return None if count == 1 else {count: True, 0: False}.get(number)


EXPERIMENT = Experiment(
    name="chosen_bits",
    question="How small can a file be that keeps the invariance of a network?",
    run=answer,
    source="this project",
    minutes={"smoke": 1, "cpu": 40, "full": 600},
    **standard(
        {"samples": 40, "calibration": 20, "networks": ("plain",), "schemes": ("int8", "float16")},
        {"samples": 1000, "transformations": "rotations(16)"},
        transformations="rotations(4)",
        networks=("plain", "augmented", "handshapes", "resnet8"),
        keep=("output_profile_increase<5%", "flip_rate<5%"),
        schemes=("int4", "int8", "int16x8", "float16", "float32"),
        samples=400,
        calibration=200,
        handshape_epochs=40,
    ),
)
