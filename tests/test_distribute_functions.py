"""`distribute` of the functions that measure several models: the results of one process, bit for bit."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields

import keras
import numpy as np
import pandas as pd
import pytest
from distributed_evaluation import images, network

import tfinv
from tfinv.activations import ActivationModel
from tfinv.engine import pieces
from tfinv.engine.batches import ImageBatches
from tfinv.evaluation import search
from tfinv.support.cache import Cache
from tfinv.tflite import Output, Subsets, TFLiteModel, compare_files, float32, measure_models, static_int8, study
from tfinv.tflite.comparison.observing import Observer
from tfinv.tflite.comparison.paired_run import PairedRun

LABELS = np.arange(600) % 4


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return network()


@pytest.fixture(scope="module")
def files(model):
    return {"float32": float32(model).content, "int8": static_int8(model, images()[:32]).content}


def assert_same_results(one: tfinv.Results, other: tfinv.Results) -> None:
    assert list(one) == list(other)
    for key, measure in one.items():
        for name, layer in measure.items():
            np.testing.assert_array_equal(layer.values, other[key][name].values, err_msg=f"{key} {name}")
        pd.testing.assert_frame_equal(one.profile(key), other.profile(key))


def assert_same_worst_cases(one, other) -> None:
    assert one.space.names == other.space.names
    for field in [field for field in fields(one) if field.name != "space"]:
        np.testing.assert_equal(getattr(one, field.name), getattr(other, field.name), err_msg=field.name)


def searched(model, x, **options):
    space = {"rotation": 40, "translation": 0.1}
    return tfinv.worst_case(model, (x, LABELS[: len(x)]), space, budget=12, progress=False, batch_size=32, **options)


def test_worst_cases_of_parts_are_those_of_one_process(model, files, monkeypatch):
    monkeypatch.setattr(search, "PART", 16)
    for given in (model, TFLiteModel(files["int8"])):
        alone = searched(given, images()[:40])
        with ThreadPoolExecutor(2) as pool:
            assert_same_worst_cases(searched(given, images()[:40], distribute=pool), alone)
        assert len(alone.targets) == 40
        assert set(alone.shown) <= set(np.flatnonzero(~alone.right & alone.upright))
        # a part is searched as if there were no other images
        first = searched(given, images()[:16])
        np.testing.assert_array_equal(first.parameters, alone.parameters[:16])
        np.testing.assert_array_equal(first.answers, alone.answers[:16])


@pytest.mark.slow
def test_worst_cases_of_processes_are_those_of_one(model, monkeypatch):
    monkeypatch.setattr(search, "PART", 64)
    alone = searched(model, images()[:200], pictures=5)
    assert_same_worst_cases(searched(model, images()[:200], pictures=5, distribute=2), alone)
    assert len(alone.pictures) == len(alone.shown) <= 5


@pytest.mark.parametrize("kind", ["tflite", "keras"])
def test_pairs_shown_by_workers_are_those_of_one_process(model, files, kind, monkeypatch):
    monkeypatch.setattr(pieces, "SAMPLES", 32)
    int8 = TFLiteModel(files["int8"])
    float_model = TFLiteModel(files["float32"]) if kind == "tflite" else ActivationModel(model, list(int8.layer_shapes))
    pairs = {"int8": {name: name for name in int8.layer_shapes}}

    def shown(workers):
        observers = {"float": Observer(float_model, LABELS[:100]), "int8": Observer(int8, LABELS[:100])}
        batches = ImageBatches(images()[:100], 8)
        run = PairedRun(observers, "float", pairs, tfinv.transformations.rotations(4), batches, tfinv.Warping())
        with tfinv.distributed(workers):
            run.run(60, progress=False)  # activations of eight of thirteen blocks
        return run.recorders["int8"], observers

    alone, seen = shown(None)
    with ThreadPoolExecutor(2) as pool:
        tasks = []
        monkeypatch.setattr(pool, "submit", lambda *task, submit=pool.submit: tasks.append(task) or submit(*task))
        shared, seen_by_workers = shown(pool)
    assert len(tasks) == 3
    pd.testing.assert_frame_equal(shared.to_frame(), alone.to_frame(), check_exact=True)
    for name, response in alone.responses.items():
        for one, other in zip(response.results(), shared.responses[name].results(), strict=True):
            assert list(one) == list(other)
            for key in one:
                np.testing.assert_array_equal(one[key].values, other[key].values)
    for name, observer in seen.items():
        for part in ("predictions", "scores"):
            one, other = getattr(observer, part)(), getattr(seen_by_workers[name], part)()
            for field in fields(one):
                np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name), err_msg=field.name)


@pytest.mark.slow
def test_files_measured_and_compared_by_workers_are_those_of_one_process(files):
    x = images()[:60]
    models = {name: TFLiteModel(file) for name, file in files.items()}
    options = {"progress": False, "sampling": tfinv.Sampling(0.9, shards=4)}
    measured = measure_models(models, x, "rotations(4)", "NormalizedVariance", **options)
    settings = {"measures": "NormalizedVariance", "subsets": Subsets(measured_samples=40), **options}
    compared = compare_files(*files.values(), (x, LABELS[:60]), "rotations(4)", **settings)
    with ThreadPoolExecutor(2) as pool:
        for name, one in measure_models(
            models, x, "rotations(4)", "NormalizedVariance", distribute=pool, **options
        ).items():
            assert_same_results(one.results, measured[name].results)
        by_workers = compare_files(*files.values(), (x, LABELS[:60]), "rotations(4)", distribute=pool, **settings)
    pd.testing.assert_frame_equal(by_workers.layers, compared.layers)
    assert by_workers.verdict == compared.verdict


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["threads", "processes"])
def test_a_study_by_workers_is_that_of_one_process(model, tmp_path, workers):
    train = images()[:40], LABELS[:40]
    test = images()[100:160], LABELS[100:160]
    options = {
        "measures": "NormalizedVariance",
        "subsets": Subsets(measured_samples=40),
        "progress": False,
        "sampling": tfinv.Sampling(0.9, shards=4),
    }

    def studied(**more):
        return study(model, train, test, "rotations(4)", ["float16", "static_int8"], **options, **more)

    alone = studied()
    said: list[str] = []
    with ThreadPoolExecutor(2) as pool:
        output = Output(cache=Cache(tmp_path, report=said.append))
        with tfinv.distributed(pool if workers == "threads" else 2):
            by_workers = studied(output=output)
    assert sum("re-used measurement" in line for line in said) == 3  # all that the workers measured
    for name, results in alone.results.items():
        assert_same_results(by_workers.results[name], results)
    pd.testing.assert_frame_equal(by_workers.layers, alone.layers)
    assert by_workers.failed == alone.failed == {}
    assert not list(tmp_path.glob(".*")), "the mark that shows the folder to workers is gone"
