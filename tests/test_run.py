"""The command line: the main job end to end, re-use, interruption, wrong input and exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tfinv import run
from tfinv.results import Results

RUN = [sys.executable, "-m", "tfinv.run"]


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory) -> Path:
    """The main job with enough training to show the effect, in seconds."""
    folder = tmp_path_factory.mktemp("quickstart")
    settings = ["epochs=8", "filters=4", "dense=32", "samples=100", "transformations=rotations(8)"]
    assert run.main(["quickstart", *settings, "--out", str(folder / "out"), "--quiet"]) == 0
    return folder / "out"


def test_augmentation_gives_invariance_and_accuracy_under_rotation(quickstart):
    table = pd.read_csv(quickstart / "networks.csv").set_index("network")
    assert table.loc["augmented", "variance at output"] < 0.8 * table.loc["plain", "variance at output"]
    assert table.loc["augmented", "accuracy rotated"] > table.loc["plain", "accuracy rotated"] + 0.1
    assert table.loc["plain", "accuracy upright"] > 0.8


def test_quantized_networks_stay_close_and_get_smaller(quickstart):
    table = pd.read_csv(quickstart / "networks.csv").set_index("network")
    for name in ("TFLite float32", "TFLite dynamic_int8", "TFLite static_int8"):
        assert abs(table.loc[name, "variance at output"] / table.loc["augmented", "variance at output"] - 1) < 0.1
        assert abs(table.loc[name, "accuracy rotated"] - table.loc["augmented", "accuracy rotated"]) < 0.05
    assert table.loc["TFLite static_int8", "size KiB"] < 0.6 * table.loc["TFLite float32", "size KiB"]


def test_float_tflite_measures_the_same_as_keras(quickstart):
    keras, tflite = (Results.load(quickstart / "results" / f"{n}.npz") for n in ("augmented", "TFLite_float32"))
    for layer in ("act1", "pool2", "logits"):
        np.testing.assert_allclose(
            tflite["NormalizedVariance"][layer].mean, keras["NormalizedVariance"][layer].mean, rtol=1e-3
        )


def test_everything_is_written(quickstart):
    for name in ("report.html", "profile.csv", "profile.png", "accuracy.png", "quantization.png", "config.json"):
        assert (quickstart / name).stat().st_size > 100, name
    html = (quickstart / "report.html").read_text()
    summary = json.loads((quickstart / "summary.json").read_text())
    assert len(summary["headlines"]) == 2
    assert "http://" not in html.replace("http://www.w3.org", "") and "<script" not in html
    environment = json.loads((quickstart / "environment.json").read_text())
    assert environment["packages"]["tensorflow"].startswith("2.")


@pytest.mark.usefixtures("undrawn")
def test_a_second_run_reuses_stages(quickstart, capsys):
    settings = json.loads((quickstart / "config.json").read_text())["settings"]
    texts = [f"{key}={value}" for key, value in settings.items() if value is not None]
    first = (quickstart / "profile.csv").read_text()
    assert run.main(["quickstart", *texts, "--out", str(quickstart)]) == 0
    assert "training" not in capsys.readouterr().err
    assert (quickstart / "profile.csv").read_text() == first


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("experiment", ["stratified", "quickstart"])
def test_an_interrupted_run_goes_on_and_a_run_made_anew_gives_the_same_numbers(experiment, tmp_path):
    arguments = [experiment, "--smoke", "--seed", "5", "--out"]
    process = subprocess.Popen([*RUN, *arguments, "out"], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    cache = tmp_path / "out" / "cache" / "model"
    while process.poll() is None and not list(cache.glob("*/config.json")):
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=120)
    assert process.returncode == run.EXIT_INTERRUPTED, error
    assert "run the same command again" in error
    trained = {path.parent.name: path.stat().st_mtime_ns for path in cache.glob("*/config.json")}
    assert not (tmp_path / "out" / "finished.json").exists()
    assert run.main([*arguments, str(tmp_path / "out"), "--quiet"]) == 0
    for name, changed in trained.items():
        assert (cache / name / "config.json").stat().st_mtime_ns == changed
    assert run.main([*arguments, str(tmp_path / "again"), "--quiet"]) == 0
    first, again = (pd.read_csv(tmp_path / name / "profile.csv") for name in ("out", "again"))
    pd.testing.assert_frame_equal(again, first, rtol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["nonsense"], "experiment must be one of quickstart"),
        (["epoch=3"], "Did you mean 'epochs'"),
        (["epochs=three"], "epochs must be of type int"),
        (["none.py"], "experiment must be an existing file"),
        (["dataset=letters", "--out", "out", "--quiet"], "letters"),
        (["transformations=spin(4)", "--out", "out", "--quiet"], "spin(4)"),
        (["measure", "--model", "none.keras", "--data", "digits", "--out", "out"], "none.keras"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(arguments, text, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run.main(arguments) == run.EXIT_USAGE
    error = capsys.readouterr().err.strip()
    assert text in error and "\n" not in error and "Traceback" not in error


def test_overrides_and_options_come_in_any_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(
        "from tfinv.experiment import Experiment\n"
        "EXPERIMENT = Experiment('mine', 'Which?', lambda run: None, {'a': 1, 'b': 1})\n"
    )
    for order in (
        ["mine.py", "a=2", "b=3", "--smoke"],
        ["mine.py", "--smoke", "a=2", "b=3"],
        ["--smoke", "mine.py", "a=2", "b=3"],
    ):
        assert run.main([*order, "--out", "out"]) == 0
        assert json.loads(Path("out/config.json").read_text())["settings"] == {"a": 2, "b": 3}


def test_an_unwritable_folder_is_named(tmp_path, capsys):
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert run.main(["--smoke", "--out", str(blocked / "out")]) == run.EXIT_USAGE
    assert str(blocked) in capsys.readouterr().err


def test_help_and_list_start_without_tensorflow(tmp_path):
    for argument, text in (("--help", "exit codes"), ("--list", "quickstart")):
        code = (
            "import sys; from tfinv import run\n"
            f"try: run.main(['{argument}'])\nexcept SystemExit: pass\n"
            "assert not {'tensorflow', 'keras', 'matplotlib'} & set(sys.modules), 'heavy import'"
        )
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0 and text in done.stdout, done.stderr


def test_the_command_and_the_cache_need_no_module_of_posix_alone(tmp_path):
    """Windows has none of them."""
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['fcntl', 'grp', 'pwd', 'resource', 'termios']))\n"
        "from tfinv import run\n"
        "from tfinv.support.cache import Cache\n"
        "make = lambda folder: (folder / 'text').write_text('made')\n"
        "print(Cache('cache').get('piece', {}, make, lambda folder: (folder / 'text').read_text()))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout == "made\n", done.stderr


def test_an_experiment_of_ones_own_runs_by_path(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(
        '''"""My question."""
from tfinv.experiment import Experiment, Finding

def go(run):
    return Finding("two is more than one", "holds", f"{run.settings.number} against 1")

EXPERIMENT = Experiment("mine", "Is two more than one?", go, {"number": 2})
'''
    )
    assert run.main(["mine.py", "number=3", "--out", "out"]) == 0
    assert "holds: 3 against 1" in capsys.readouterr().out
    assert "**Verdict: holds.**" in Path("out/finding.md").read_text()
    Path("empty.py").write_text("")
    assert run.main(["empty.py"]) == run.EXIT_USAGE


def test_terminal_of_a_run_is_free_of_tensorflow_noise(tmp_path):
    environment = {key: value for key, value in os.environ.items() if not key.startswith("TF_CPP")}
    done = subprocess.run(
        [*RUN, "train", "--data", "digits", "--architecture", "ffnet", "--epochs", "1", "--out", "t", "--quiet"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    assert "accuracy" in done.stdout


def test_memory_that_ends_is_said_in_one_line(tmp_path, monkeypatch, capsys):
    def full(options):
        raise MemoryError("Unable to allocate 7.00 TiB")

    monkeypatch.setattr(run, "_run", full)
    assert run.main(["--out", str(tmp_path / "out")]) == run.EXIT_FAILED
    said = capsys.readouterr().err
    assert said.startswith("tfinv: the memory is full (Unable to allocate 7.00 TiB);")
    assert said.count("\n") == 1
