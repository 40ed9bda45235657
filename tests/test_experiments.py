"""The study's experiments: their evidence by hand-made numbers, and every one of them run at preset smoke."""

from __future__ import annotations

import dataclasses
import importlib
import json
import math
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from shared_models import shared_folder

import tfinv.experiments
from tfinv.experiment import Experiment, Finding, run_experiment
from tfinv.experiments import (
    Interval,
    StandardStudy,
    change,
    conclude,
    correlation,
    distance,
    rank_agreement,
    redraw,
    slope,
    spread,
    standard,
)
from tfinv.experiments._pages.findings import ORDER, collect
from tfinv.experiments._shared.drawing import KINDS, drawing
from tfinv.experiments.published_accuracy import wilson
from tfinv.run import experiment_names, find_experiment, main

T3 = 4.302652729911275
"""Student's t for three values, two-sided 95 %, from printed tables (4.303)."""


def frame(*rows: list[float]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=[f"layer{number}" for number in range(len(rows[0]))])


# --- evidence ---------------------------------------------------------------------------------------------------------


def test_interval_is_students_interval():
    interval = Interval.of([1.0, 2.0, 3.0])
    assert interval.mean == 2 and interval.count == 3
    assert interval.high - 2 == pytest.approx(T3 * 1 / math.sqrt(3)) == pytest.approx(2 - interval.low)
    assert f"{interval:.2f}" == "2.00 [-0.48, 4.48]"


def test_one_seed_has_no_interval_and_decides_nothing():
    interval = Interval.of([0.4])
    assert str(interval) == "0.400 (one seed)"
    assert [interval.above(0), interval.below(0), interval.within(0, 1), interval.exceeds(interval)] == [None] * 4
    assert str(Interval.of([math.nan])) == "n/a"


def test_intervals_decide_only_where_they_do_not_contain_the_bound():
    interval = Interval(0.5, 0.4, 0.6, 3)
    assert [interval.above(bound) for bound in (0.3, 0.5, 0.7)] == [True, None, False]
    assert [interval.below(bound) for bound in (0.3, 0.5, 0.7)] == [False, None, True]
    assert [interval.within(*bounds) for bounds in ((0.3, 0.7), (0.45, 0.7), (0.7, 0.8))] == [True, None, False]
    others = (Interval(0.2, 0.1, 0.3, 3), Interval(0.5, 0.1, 0.5, 3), Interval(0.8, 0.7, 0.9, 3))
    assert [interval.exceeds(other) for other in others] == [True, None, False]


@pytest.mark.parametrize(
    ("outcomes", "verdict"),
    [
        ((True, True), "holds"),
        ((True, False), "partly holds"),
        ((True, None), "partly holds"),
        ((False, False), "does not hold"),
        ((False, None), "does not hold"),
        ((None, None), "inconclusive"),
        ((), "inconclusive"),
    ],
)
def test_the_verdict_follows_from_the_checks(outcomes: tuple[bool | None, ...], verdict: str):
    finding = conclude("A claim.", {f"check {number}; met": outcome for number, outcome in enumerate(outcomes)})
    assert finding.verdict == verdict
    for number, outcome in enumerate(outcomes):
        assert (
            f"Check {number}; { {True: 'met', False: 'not met', None: 'inconclusive whether met'}[outcome] }."
            in finding.text
        )


def test_a_check_says_what_was_expected():
    with pytest.raises(ValueError, match=r"what was expected.*Received: 'it is 0\.2'"):
        conclude("A claim.", {"it is 0.2": True})
    checks = {"A; b; below zero": False}
    assert conclude("A claim.", checks).text == "A; b; not below zero."


def test_change_is_paired_by_seed():
    before, after = frame([1.0, 4.0], [2.0, 5.0], [3.0, 6.0]), frame([1.5, 4.0], [2.5, 5.0], [3.5, 6.0])
    assert change(before, after, "layer0") == Interval(0.5, 0.5, 0.5, 3)
    assert change(before, after) == Interval(0.25, 0.25, 0.25, 3)


def test_distance_is_what_the_kind_adds_to_the_seed():
    one = frame([0.0, 0.0], [0.2, 0.2], [0.4, 0.4])
    assert distance(one, one).mean == pytest.approx(0)
    # Far from each other: every pair of kinds is 10 apart, plus or minus what seeds are apart, which cancels.
    far = distance(one, one + 10)
    within = np.mean([0.3, 0.2, 0.3])
    between = [np.mean([10.2, 10.4]), np.mean([9.8, 10.2]), np.mean([9.6, 9.8])]
    assert far.mean == pytest.approx(np.mean(between) - within)
    assert distance(frame([1.0, 3.0]), frame([2.0, 1.0]), relative=True).mean == pytest.approx((1 / 3 + 2 / 4) / 2)
    with pytest.raises(ValueError, match=r"must share layers. Received: layer0 and other"):
        distance(frame([1.0]), frame([1.0]).rename(columns={"layer0": "other"}))


def test_correlation_agreement_and_slope():
    rows = frame([0.0, 1.0, 2.0], [0.0, 2.0, 4.0], [0.0, 1.0, 2.0])
    assert rank_agreement(rows) == Interval(pytest.approx(1), pytest.approx(1), pytest.approx(1), 3)  # type: ignore[arg-type]
    assert correlation(rows, 5 - rows).mean == pytest.approx(-1)
    assert np.isnan(rank_agreement(rows.iloc[:2]).low), "two networks correlate by one number, not by two"
    assert spread(rows).mean == pytest.approx(np.mean([np.mean([0, 0.5, 1]), np.mean([0, 1, 2]), np.mean([0, 0.5, 1])]))
    assert np.isnan(spread(rows.iloc[:2]).low) and spread(rows.iloc[:2]).mean == pytest.approx(1)
    levels = [rows * 0 + value for value in (3.0, 2.0, 1.0)]
    assert slope([0, 1, 2], levels, "layer1").mean == pytest.approx(-1)


# --- descriptions -----------------------------------------------------------------------------------------------------


def test_all_questions_are_there():
    others = ("quickstart", "quantization")
    assert sorted([*ORDER, *others]) == sorted(experiment_names()) and len(ORDER) == 37


@pytest.mark.parametrize("name", ORDER)
def test_experiment_describes_itself(name: str):
    module = importlib.import_module(f"tfinv.experiments.{name}")
    experiment: Experiment = module.EXPERIMENT
    text = " ".join((module.__doc__ or "").split())
    assert experiment.name == name and experiment.question.endswith("?") and experiment.source
    for words in ("Source:", "Expected:", f"python -m tfinv.run {name}", "Duration on 2 cores: smoke"):
        assert words in text, f"{name} does not say: {words}"
    assert set(experiment.minutes) == {"smoke", "cpu", "full"}
    for preset, changed in experiment.presets.items():
        assert set(changed) <= set(experiment.settings), f"{preset} changes settings that there are none of"
    with pytest.raises(dataclasses.FrozenInstanceError):
        experiment.name = "other"  # type: ignore[misc]
    with pytest.raises(ValueError, match=r"keys dataset='.*seeds=.*Did you mean 'epochs'.*Received: 'epoch=3'"):
        experiment.configure("cpu", ["epoch=3"])
    if name not in (
        "published_accuracy",
        "published_global",
        "worst_case",
    ):  # their intervals are over images, and they say so
        assert experiment.settings["seeds"] >= 3, "an interval at preset cpu needs three seeds"
    lines = len(Path(module.__file__ or "").read_text().splitlines())
    assert lines <= 130, f"{lines} lines are too many for one question"


def test_standard_settings_are_shared_and_can_be_changed():
    settings = standard({"seeds": 2}, families=True, seeds=5)
    assert settings["settings"]["seeds"] == 5 and settings["presets"]["smoke"]["seeds"] == 2
    assert settings["settings"]["translations"] == "translations(2, 0.15)"
    assert "scales" not in standard()["settings"]
    assert standard()["presets"]["full"] | {"seeds": 3} == {**standard()["presets"]["full"], "seeds": 3}


# --- runs -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cache() -> Path:
    """Networks and results that all experiments share, and all processes of the run."""
    return shared_folder("experiments")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


REDRAWN = ("accuracy", "feature_maps", "measures_look", "sample_sizes", "training_range")
"""Together they have figures of every kind."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name == "data_subset" else [pytest.mark.slow]) for name in ORDER]
)
def test_smoke(name: str, runs: Path, cache: Path):
    experiment = find_experiment(name)
    finding = run_experiment(experiment, preset="smoke", out=runs / name, cache=cache, progress=False)
    assert isinstance(finding, Finding)
    assert finding.verdict == "inconclusive", "one seed tells nothing"
    page = (runs / name / "finding.md").read_text()
    assert page.startswith(f"# {experiment.question}\n") and "**Verdict: inconclusive.**" in page
    assert "(one seed)" in page, "no number over seeds in the finding"
    assert finding.figure is not None and finding.table is not None and len(finding.table) > 0
    with Image.open(runs / name / f"{finding.figure}.png") as image:
        assert image.convert("L").getextrema()[0] < 128, "the figure is blank"
    assert json.loads((runs / name / "finished.json").read_text())["preset"] == "smoke"


@pytest.mark.usefixtures("undrawn")
def test_a_second_run_trains_and_measures_nothing(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    options = {"preset": "smoke", "cache": cache, "progress": False}
    before = run_experiment(find_experiment("data_subset"), out=tmp_path / "before", **options)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("made anew")

    monkeypatch.setattr("tfinv.training.train", refuse)
    monkeypatch.setattr("tfinv.evaluation.evaluate", refuse)
    after = run_experiment(find_experiment("data_subset"), out=tmp_path / "after", **options)
    assert before is not None and after is not None and before.text == after.text


@pytest.mark.slow
def test_every_kind_of_figure_is_drawn_again_without_tensorflow(runs: Path, cache: Path, tmp_path: Path):
    kinds = set()
    for name in REDRAWN:
        if not (runs / name / "finished.json").exists():
            run_experiment(find_experiment(name), preset="smoke", out=runs / name, cache=cache, progress=False)
        shutil.copytree(runs / name, tmp_path / name)
        for description in (tmp_path / name).glob("*.figure.json"):
            kinds.add(json.loads(description.read_text())["kind"])
            Image.new("RGB", (1, 1)).save(tmp_path / name / f"{description.name.removesuffix('.figure.json')}.png")
    assert kinds == set(KINDS)
    code = (
        "import sys; from tfinv.run import main\n"
        "assert main(['redraw', *sys.argv[1:]]) == 0\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    folders = [str(tmp_path / name) for name in REDRAWN]
    done = subprocess.run([sys.executable, "-c", code, *folders], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "training_range: profile.png, range.png" in done.stdout
    for name in REDRAWN:
        for path in (runs / name).glob("*.png"):
            with Image.open(path) as before, Image.open(tmp_path / name / path.name) as after:
                assert np.array_equal(before, after), f"{name}/{path.name} is drawn otherwise"


def test_redraw_draws_the_numbers_in_the_table_and_refuses_other_folders(tmp_path: Path):
    rows = [
        ("plain", "conv", 0.5, 0.4, 0.6),
        ("plain", "logits", 0.25, 0.2, 0.3),
        ("None", "conv", 0.75, np.nan, np.nan),
    ]
    pd.DataFrame(rows, columns=["line", "layer", "mean", "low", "high"]).to_csv(tmp_path / "profile.csv", index=False)
    (tmp_path / "profile.figure.json").write_text('{"kind": "profile", "options": {"y_label": "share"}}')
    axes = drawing(tmp_path, "profile").axes[0]
    assert [line.get_label() for line in axes.lines[:2]] == ["plain", "None"]
    assert list(axes.lines[0].get_ydata()) == [0.5, 0.25] and axes.lines[1].get_ydata()[0] == 0.75
    assert axes.get_ylabel() == "share"
    (tmp_path / "profile.figure.json").write_text('{"kind": "pie", "options": {}}')
    with pytest.raises(ValueError, match=r"profile.figure.json must describe a figure of kind profile, bars.*'pie'"):
        redraw(tmp_path)
    (tmp_path / "empty").mkdir()
    for folder in ("empty", "missing"):
        assert main(["redraw", str(tmp_path / folder)]) == 2


@pytest.mark.parametrize(("old", "new"), [("Study", StandardStudy), ("agreement", rank_agreement)])
def test_old_names_still_work_and_tell_the_new_ones(old: str, new: Any):
    with pytest.warns(DeprecationWarning, match=f"tfinv.experiments.{old} is called .*{new.__name__}"):
        assert getattr(tfinv.experiments, old) is new
    with pytest.raises(AttributeError, match="no attribute 'Studies'"):
        _ = tfinv.experiments.Studies


OWN = '''
"""Whether more filters make a network more invariant."""

from tfinv.experiment import Experiment, Finding, Run
from tfinv.experiments import StandardStudy, change, conclude, profile_table, save_profiles, standard


def answer(run: Run) -> Finding:
    """Compare narrow and wide networks."""
    study = StandardStudy(run)
    lines = {str(n): study.profiles(lambda seed, n=n: study.trained(seed, filters=n)) for n in run.settings.widths}
    narrow, wide = lines.values()
    gap = change(narrow, wide, "logits")
    save_profiles(run, "profile", lines)
    checks = {f"by {gap}; below zero": gap.below(0)}
    return conclude("Wider is more invariant.", checks, profile_table(lines), "profile")


EXPERIMENT = Experiment("own", "Are wider networks more invariant?", answer, **standard(widths=(4, 5)))
'''


@pytest.mark.usefixtures("undrawn")
def test_an_experiment_outside_the_repository(tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]):
    import tfinv
    from tfinv import datasets, models

    assert len(OWN.splitlines()) <= 40
    (tmp_path / "own.py").write_text(OWN)
    arguments = [str(tmp_path / "own.py"), "--smoke", "--quiet", "--out", str(tmp_path / "out"), "--cache", str(cache)]
    assert main(arguments) == 0
    assert "Are wider networks more invariant?\ninconclusive: By " in capsys.readouterr().out
    # The number in the finding is the one that the library gives for the saved network and the same images.
    settings = json.loads((tmp_path / "out" / "config.json").read_text())["settings"]
    configs = [json.loads(path.read_text()) for path in cache.glob("model/*/config.json")]
    folders = [path.parent for path in cache.glob("model/*/config.json")]
    mine = [f for f, c in zip(folders, configs, strict=True) if c["options"].get("filters") == 5]
    assert len(mine) == 1
    test = datasets.load("digits").test.subset(settings["test_samples"], 0)
    measure = "NormalizedVariance(aggregate='mean')"
    results = tfinv.evaluate(models.load(mine[0] / "model.keras"), test, "rotations(4)", measure, progress=False)
    row = next(line for line in (tmp_path / "out" / "finding.md").read_text().splitlines() if "| logits |" in line)
    assert f"{results[measure]['logits'].mean:.3f} (one seed)" in row.split("|")[3]


def test_a_full_disk_ends_the_run_and_leaves_nothing_half_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """A limit on the size of files stands for the end of the disk: the system refuses the write either way."""
    arguments = ["stratified", "--smoke", "filters=32", "dense=200", "--out", str(tmp_path / "out"), "--quiet"]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        assert main(arguments) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    error = capsys.readouterr().err
    assert "the disk is full" in error and "run the same command again" in error and "Traceback" not in error
    assert not [path for path in (tmp_path / "out" / "cache" / "model").iterdir() if path.is_dir()]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["cache", "config.json", "environment.json"]


def test_a_missing_data_set_says_what_to_put_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.delenv("TFINV_DATA", raising=False)
    assert main(["handshapes", "--out", str(tmp_path), "--quiet"]) == 2
    error = capsys.readouterr().err
    assert "lsa16/lsa16_original_rgb32.npz" in error and "TFINV_DATA" in error
    assert not (tmp_path / "finding.md").exists()


# --- the page of findings ---------------------------------------------------------------------------------------------


def finished(runs: Path, name: str, text: str, **changes: object) -> None:
    """A folder as a run at preset `cpu` leaves it, with settings changed."""
    experiment, folder = find_experiment(name), runs / name
    folder.mkdir(parents=True)
    settings = {**experiment.configure("cpu"), **changes}
    finding = Finding("It was claimed.", "holds", text, figure="profile")
    (folder / "finding.md").write_text(finding.to_markdown(experiment.question, settings))
    Image.new("RGB", (40, 30), "red").save(folder / "profile.png")
    (folder / "finished.json").write_text(json.dumps({"preset": "cpu", "settings": settings, "seconds": 12.4}))


def test_findings_are_collected_from_finished_runs_of_the_same_settings(tmp_path: Path):
    finished(tmp_path / "runs", "complexity", "We found 0.5.")
    finished(tmp_path / "runs", "max_pooling", "We found 0.6.", epochs=1)
    page = tmp_path / "docs" / "findings.md"
    missing = collect(tmp_path / "runs", page)
    text = page.read_text()
    assert len(missing) == len(ORDER) - 1 and "complexity" not in missing and "max_pooling" in missing
    assert "| 8 | [`complexity`](#8-complexity) | holds |" in text and "| 16 | `max_pooling` | not run |" in text
    assert "](figures/complexity.png)" in text and "We found 0.5." in text and "We found 0.6." not in text
    with Image.open(page.parent / "figures" / "complexity.png") as image:
        assert image.size == (40, 30) and image.convert("RGB").getpixel((5, 5)) == (255, 0, 0)


def test_what_no_run_writes_stays_and_the_published_statistic_is_named(tmp_path: Path):
    page = tmp_path / "findings.md"
    finished(tmp_path / "first", "aggregation", "We found 0.5.")
    collect(tmp_path / "first", page)
    assert "*Measured with `statistic='std'`, the published statistic.*\n\nSettings: " in page.read_text()
    written = "## What the published statistic hides\n\nWords of a person.\n\n| a |\n|---|\n| b |\n\n"
    page.write_text(page.read_text().replace("## 19 aggregation", f"{written}## 19 aggregation"))
    finished(tmp_path / "second", "complexity", "We found 0.7.")
    collect(tmp_path / "second", page)
    text = page.read_text()
    assert text.count(written) == 1 and text.index(written) < text.index("## 8 complexity")
    collect(tmp_path / "second", page)
    assert page.read_text() == text
    assert text.split("## 8 complexity")[1].split("## 19")[0].count("statistic='std'") == 0


def test_findings_stay_on_the_page_until_a_newer_run_or_other_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    page = tmp_path / "findings.md"
    finished(tmp_path / "first", "complexity", "We found 0.5.")
    finished(tmp_path / "first", "stratified", "We found 0.6.")
    collect(tmp_path / "first", page)
    before = page.read_text()
    collect(tmp_path / "none", page)
    assert page.read_text() == before
    finished(tmp_path / "second", "stratified", "We found 0.7.")
    collect(tmp_path / "second", page)
    assert page.read_text() == before.replace("0.6", "0.7")
    changed = dataclasses.replace(find_experiment("complexity"), settings={"seeds": 4})
    monkeypatch.setattr("tfinv.experiments.complexity.EXPERIMENT", changed)
    assert "complexity" in collect(tmp_path / "none", page)
    assert "0.5" not in page.read_text() and "We found 0.7." in page.read_text()


def test_the_interval_of_a_share_is_wilsons():
    """Against Newcombe 1998, table I: 81 of 263 gives [0.2553, 0.3662], 0 of 20 gives [0, 0.1611]."""
    interval = wilson(81 / 263, 263)
    assert (interval.low, interval.high) == (pytest.approx(0.2553, abs=5e-5), pytest.approx(0.3662, abs=5e-5))
    interval = wilson(0.0, 20)
    assert (interval.low, interval.high) == (pytest.approx(0, abs=1e-12), pytest.approx(0.1611, abs=5e-5))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("networks=a,b", ("a", "b")),
        ("networks=('a', 'b')", ("a", "b")),
        ("networks=['a']", ("a",)),
        ("networks=a", ("a",)),
        ("networks=M(x='p,q'), N,", ("M(x='p,q')", "N")),
        ("networks='a,b'", ("a,b",)),
        ("sizes=16,32", (16, 32)),
        ("sizes=16", (16,)),
    ],
)
def test_several_values_need_no_quotes(text, expected):
    experiment = Experiment("one", "Which?", lambda run: None, {"networks": ("plain",), "sizes": (8,)})
    assert experiment.configure("cpu", [text])[text.split("=")[0]] == expected
