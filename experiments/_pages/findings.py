"""Collect the findings of finished runs into one page: ``python -m tfinv.experiments._pages.findings [RUNS] [PAGE]``.

A finding is taken from a run of preset `cpu` that finished with the experiment's own settings. Without such a run, what
the page already says of the experiment stays, as long as its settings are still the experiment's own; otherwise the
experiment is listed as not run. Figures go beside the page, reduced to 256 colours.
"""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path

from PIL import Image

from tfinv.experiment import Experiment, settings_line
from tfinv.report import markdown
from tfinv.support.files import atomic_write, write_text

ORDER = (
    *("measures_look", "measures_compared", "accuracy", "training_range", "sample_sizes", "data_subset"),
    *("other_dataset", "complexity", "diversity", "random_weights", "initialisation", "during_training"),
    *("batch_normalization", "activation_function", "kernel_size", "max_pooling", "models_compared", "stratified"),
    *("aggregation", "same_equivariance", "feature_maps", "handshapes"),
    *("equivariant_models", "augmentation_or_design", "retraining", "transformation_regression", "transfer"),
    *("handshape_models", "hyper_parameters", "compression", "deployment_table"),
    *("invariance_training", "chosen_bits"),
    *("published_accuracy", "published_global", "published_profile", "worst_case"),
)
"""The study's questions in the order in which they are numbered, and four comparisons with published numbers."""

_HEAD = """# Findings

The study's experiments, run at preset `cpu`: small networks, subsets of the data, and few seeds. Intervals are 95 %
Student intervals over seeds unless a finding says otherwise; with three seeds they are wide. A check states what was
measured and, after the semicolon, whether it lies where the claim expects it. It is inconclusive where the interval
contains the bound in question. Each finding is written by the run itself; `python -m tfinv.run NAME` repeats it. The
last four compare tfinv with published numbers. `python -m tfinv.experiments._pages.findings` makes this page.

Normalized variance is measured with its default, `statistic="pooled_std"`, unless a finding says that it was measured
with `statistic='std'`, the published definition, which reads lower where units respond rarely.
"""
_WRITTEN = "What the published statistic hides"
"""A section of the page that no run writes; it stays as it is."""
_PUBLISHED = ("aggregation", "published_global", "published_profile")
_REMARK = "*Measured with `statistic='std'`, the published statistic.*"
"""Said of experiments about the published statistic, and by the page of runs from before the default changed."""


def collect(runs: Path, page: Path) -> list[str]:
    """Write the page and its figures.

    Args:
        runs: folder of output folders by experiment.
        page: the Markdown file; figures go into the folder `figures` beside it.

    Returns:
        The experiments without a finding.
    """
    from tfinv.run import find_experiment

    earlier = _sections(page)
    parts, rows, missing = [], [], []
    for number, name in enumerate(ORDER, start=1):
        experiment, folder = find_experiment(name), runs / name
        if _is_finished(experiment, folder):
            body = _body(experiment, folder, page)
        elif _is_current(experiment, earlier.get(name, "")):
            body = earlier[name]
        else:
            missing.append(name)
            rows.append([str(number), f"`{name}`", "not run"])
            continue
        verdict = body.split("**Verdict: ")[1].split(".**")[0]
        rows.append([str(number), f"[`{name}`](#{number}-{name})", verdict])
        parts.append(f"## {number} {name}\n\n{body}")
    said = f"Not run at preset `cpu` so far: {', '.join(missing)}.\n" if missing else ""
    table = markdown.table(["", "experiment", "verdict"], rows)
    write_text(page, "\n".join([_HEAD, table, "", *filter(None, [said, _written(page)]), *parts]).rstrip() + "\n")
    return missing


def _written(page: Path) -> str:
    """The section that no run writes, as the page has it; "" where it has none."""
    text = page.read_text() if page.is_file() else ""
    found = re.search(rf"^## {_WRITTEN}\n.*?(?=^## )", text, flags=re.MULTILINE | re.DOTALL)
    return f"{found.group().rstrip()}\n" if found else ""


def _sections(page: Path) -> dict[str, str]:
    """What the page says of each experiment, below the heading."""
    text = page.read_text() if page.is_file() else ""
    parts = re.split(r"^## \d+ (\w+)\n\n", text, flags=re.MULTILINE)[1:]
    return {name: f"{body.rstrip()}\n" for name, body in zip(parts[::2], parts[1::2], strict=True)}


def _is_current(experiment: Experiment, section: str) -> bool:
    """Whether the section was written by a run with the experiment's present settings and question."""
    return section.startswith(experiment.question) and section.rstrip().endswith(
        f"\n{settings_line(experiment.configure('cpu'))}"
    )


def _is_finished(experiment: Experiment, folder: Path) -> bool:
    """Whether the folder holds a finished run of preset `cpu` with the experiment's own settings."""
    try:
        finished = json.loads((folder / "finished.json").read_text())
    except (OSError, ValueError):
        return False
    settings = json.loads(json.dumps(experiment.configure("cpu")))
    return finished["preset"] == "cpu" and finished["settings"] == settings


def _body(experiment: Experiment, folder: Path, page: Path) -> str:
    lines = []
    for line in (folder / "finding.md").read_text().splitlines():
        if line.startswith("# "):
            line = f"{line[2:]} *Source: {experiment.source}.*"
        elif line.startswith("!["):
            figure = line[line.index("](") + 2 : line.rindex(".png)")]
            target = page.parent / "figures" / f"{experiment.name}.png"
            _reduce(folder / f"{figure}.png", target)
            line = f"{line[: line.index('](')]}](figures/{target.name})"
        elif line.startswith("Settings: ") and experiment.name in _PUBLISHED:
            lines += [_REMARK, ""]
        lines.append(line)
    return "\n".join(lines) + "\n"


def _reduce(source: Path, target: Path) -> None:
    buffer = io.BytesIO()
    with Image.open(source) as image:
        image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    with atomic_write(target) as file:
        file.write(buffer.getvalue())


if __name__ == "__main__":
    given = [Path(path) for path in sys.argv[1:3]]
    not_run = collect(*given, *(Path("runs"), Path("docs/findings.md"))[len(given) :])
    print(f"not run: {', '.join(not_run) or 'none'}")
