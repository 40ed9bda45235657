"""What all tests share: the environment of the process, real data, random numbers."""

from __future__ import annotations

import gc
import io
import os
import random
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

# Before anything imports Keras or matplotlib: a quiet log, no windows, nothing written into the home folder.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")
_keras_home = tempfile.TemporaryDirectory(prefix="tfinv-keras-")
os.environ["KERAS_HOME"] = _keras_home.name

# What tests make once for the whole run (shared_models.py). The processes of pytest-xdist inherit the name.
if "PYTEST_XDIST_WORKER" not in os.environ:
    _shared = tempfile.TemporaryDirectory(prefix="tfinv-shared-")
    os.environ["TFINV_TEST_SHARED"] = _shared.name

# Sums of several threads round otherwise than those of one, and after an epoch of training a network is another one:
# one thread in all processes. As many processes as processors share the machine anyway, and the second thread of a
# product of matrices waits for its turn by counting: ten times the processor time.
for _threads in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_threads, "1")

# A run in the background (`nohup make test &`) inherits that Ctrl-C is ignored, and so would what the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import numpy as np
import pytest
from browser import CHROMIUM, Browser, chromium
from PIL import Image

# Tracing makes millions of objects that live as long as the model. Looking through them all for garbage again and
# again takes a fifth of the run, so it is done rarely, and once behind every file of tests.
gc.set_threshold(100_000, 20, 20)


HEAVY = (
    "test_models", "test_tflite_study", "test_run", "test_tflite_convert", "test_tflite_qat_layers",
    "test_docs_examples", "test_evaluation", "test_engine_checkpoint", "test_training", "test_tflite_qat",
    "test_tflite_compare", "test_uncertainty", "test_invariance_loss", "test_measures_local_error",
    "test_measures_distance", "test_layers_group", "test_plots", "test_measures_estimator", "test_choose_bits",
    "test_tflite_kernel_comparison", "test_tflite_real", "test_several_labels", "test_extending", "test_experiments",
    "test_measures_goodfellow", "test_datasets_given", "test_report", "test_outputs", "test_site", "test_one_answer",
    "test_measures_representation", "test_layout", "test_input_scale", "test_one_unit", "test_models_by_path",
    "test_distribute", "test_notebook",
)  # fmt: skip
"""Files that take longest, the longest first: where processes share the files, none of them is left for the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Heavy files first; the order within a file, and of the others, stays."""
    rank = {name: place for place, name in enumerate(HEAVY)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(HEAVY)))


@pytest.fixture(autouse=True, scope="module")
def collected() -> None:
    """What the file of tests before left behind is removed; what stays is not looked through again."""
    if "keras" in sys.modules:
        gc.collect()
        gc.freeze()


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Initial weights and everything else random start from one seed in every test, in whatever order tests run."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    if "keras" in sys.modules:
        sys.modules["keras"].utils.set_random_seed(0)


@pytest.fixture
def rng() -> np.random.Generator:
    """Seeded random numbers, the same in every test."""
    return np.random.default_rng(0)


_png = io.BytesIO()
Image.new("RGB", (1, 1)).save(_png, "PNG")
BLANK = {"png": _png.getvalue(), "svg": b'<svg xmlns="http://www.w3.org/2000/svg"/>', "pdf": b"%PDF-1.4"}


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are made, but blank pictures are saved: for tests that write a report and look at its numbers alone."""
    monkeypatch.setattr("tfinv.plots.saving._render", lambda figure, kind: BLANK[kind])


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real data sets; a test that asks for it is skipped where there is none."""
    folder = os.environ.get("TFINV_DATA")
    if not folder:
        pytest.skip("TFINV_DATA is not set: it names the folder with real data sets")
    return Path(folder)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Headless Chromium; a test that asks for it is skipped where there is none."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed: no page was looked at in a browser")
    with chromium() as started:
        yield started
