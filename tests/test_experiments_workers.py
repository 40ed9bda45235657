"""Experiments on workers: the numbers of one process, whatever the rehearsal made of the experiment."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import tfinv
from tfinv import datasets, models
from tfinv.experiment import Experiment, Finding, Run, ahead, run_experiment
from tfinv.experiments._shared.compression import distilled, fine_tuned
from tfinv.experiments._shared.invariance_trainings import figures, tuned_figures
from tfinv.experiments._shared.regression import regressor
from tfinv.experiments._shared.retraining import retrained
from tfinv.experiments._shared.standard import ROTATED, StandardStudy, standard
from tfinv.results import Results
from tfinv.support.cache import config_hash

SETTINGS = {"seeds": 2}
MEASURE = "NormalizedVariance"
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1"
)


def few() -> datasets.Split:
    return datasets.load("digits").test.subset(20, 0)


def values(results: Results) -> dict[str, np.ndarray]:
    return {name: layer.values for name, layer in results[MEASURE].items()}


def assert_same(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> None:
    assert list(one) == list(other)
    for name, layer in one.items():
        np.testing.assert_array_equal(layer, other[name], err_msg=name)


def experiment(answer) -> Experiment:
    return Experiment("mine", "Which?", answer, SETTINGS)


def network(run: Run, seed: int):
    data, options = run.dataset("digits"), {"hidden": (8,)}
    return run.trained("ffnet", data, seed=seed, options=options, epochs=1, batch_size=256)


def measured(run: Run, model, split: datasets.Split, name: str) -> Results:
    return run.measured(model, split, "rotations(2)", [MEASURE], samples=name)


@pytest.fixture
def filled(monkeypatch) -> list[str]:
    """The names of the networks that workers filled."""
    names: list[str] = []

    def fill(common, number, real=ahead.fill):
        names.append(common[1][number].name)
        return real(common, number)

    monkeypatch.setattr(ahead, "fill", fill)
    return names


@pytest.mark.slow
def test_networks_go_to_workers_and_what_is_derived_from_stand_ins_does_not_count(tmp_path, filled, capsys):
    real: list[dict[str, np.ndarray]] = []

    def answer(run: Run) -> Finding:
        kept = [] if run.rehearsal else real
        for seed in range(run.settings.seeds):
            model = network(run, seed)
            results = measured(run, model, few(), "few")
            kept.append(values(results))
            # The images and the network depend on what was trained, their names in the cache do not.
            chosen = np.argsort(model.predict(few().x, verbose=0)[:, 0])[:10]
            kept.append(values(measured(run, model, datasets.Split(few().x[chosen]), "chosen")))
            twice = models.load(model.tfinv_path) if run.rehearsal is None else models.build("ffnet", (16, 16, 1), 10)
            twice.tfinv_config = {"twice": seed}
            kept.append(values(measured(run, twice, few(), "few")))
        print("noise")
        return Finding("", "holds", "")

    run_experiment(experiment(answer), out=tmp_path / "one", progress=False)
    expected, printed = real.copy(), capsys.readouterr().out
    assert len(expected) == 6 and printed == "noise\n" and filled == []
    real.clear()
    with ThreadPoolExecutor(2) as pool, tfinv.distributed(pool):
        run_experiment(experiment(answer), out=tmp_path / "two", progress=False)
    assert capsys.readouterr().out == "noise\n"  # the rehearsal is silent
    assert {"ffnet on digits, seed 0", "ffnet on digits, seed 1"} <= set(filled)
    for one, other in zip(expected, real, strict=True):
        assert_same(one, other)
    assert not (tmp_path / "two" / "cache" / "ahead").exists()
    models_made = [
        sorted(path.parent.name for path in (tmp_path / name).glob("cache/model/*/config.json"))
        for name in ("one", "two")
    ]
    assert models_made[0] == models_made[1] and len(models_made[0]) == 2


def test_what_a_worker_cannot_make_is_said_with_its_name_and_raised_where_it_is_asked_for(tmp_path, capsys):
    def answer(run: Run) -> None:
        for seed in range(2):
            run.trained("ffnet", run.dataset("digits"), seed=seed, options={"hidden": (2,)}, epochs=1, optimiser="none")

    with ThreadPoolExecutor(1) as pool, tfinv.distributed(pool), pytest.raises(TypeError, match="optimiser"):
        run_experiment(experiment(answer), out=tmp_path)
    said = capsys.readouterr().err
    assert "2 networks go to the workers" in said
    assert "failed (TypeError" in said and f"by worker {ahead.worker_name()}" in said


def test_pieces_of_other_makers_end_a_rehearsal_and_are_made_here(tmp_path, filled):
    def answer(run: Run) -> None:
        first = [network(run, seed) for seed in range(2)]
        noted = run.cache.get(
            "note", {}, lambda folder: (folder / "a").write_text("b"), lambda folder: (folder / "a").read_text()
        )
        assert noted == "b"
        for model in first:
            measured(run, model, few(), "few")

    with ThreadPoolExecutor(1) as pool, tfinv.distributed(pool):
        run_experiment(experiment(answer), out=tmp_path, progress=False)
    assert len(filled) == 4  # trained before the note was known, and measured after it


def moved(model, *, by: float, progress: bool):
    """A network with other weights: what an experiment makes in a way of its own."""
    model.set_weights([weight + np.float32(by) for weight in model.get_weights()])
    return model


def built(*, units: int):
    return models.build("ffnet", (16, 16, 1), 10, hidden=(units,))


def alone(*, units: int, seed: int, progress: bool):
    import keras

    keras.utils.set_random_seed(seed)
    return built(units=units)


@pytest.mark.slow
def test_networks_that_an_experiment_makes_in_its_own_way_go_to_workers(tmp_path, filled):
    real: list[dict[str, np.ndarray]] = []

    def answer(run: Run) -> None:
        kept = [] if run.rehearsal else real
        for seed in range(2):
            model = network(run, seed)
            kept.append(values(measured(run, model, few(), "few")))
            for by in (0.1, 0.2):
                config = {"moved": by, "of": model.tfinv_config}
                other = run.derived(f"moved by {by}, seed {seed}", config, moved, base=model, by=by)
                assert config_hash(other.tfinv_config) == config_hash(config)
                kept.append(values(measured(run, other, few(), "few")))
            config = {"alone": seed}
            other = run.derived(f"alone {seed}", config, alone, untrained=lambda: built(units=4), units=4, seed=seed)
            kept.append(values(measured(run, other, few(), "few")))

    run_experiment(experiment(answer), out=tmp_path / "one", progress=False)
    expected = real.copy()
    assert filled == [] and len(expected) == 8
    assert not np.array_equal(expected[0]["logits"], expected[1]["logits"])
    real.clear()
    with ThreadPoolExecutor(2) as pool, tfinv.distributed(pool):
        run_experiment(experiment(answer), out=tmp_path / "two", progress=False)
    assert sorted(filled) == sorted(
        name
        for seed in range(2)
        for name in (
            f"ffnet on digits, seed {seed}",
            f"moved by 0.1, seed {seed}",
            f"moved by 0.2, seed {seed}",
            f"alone {seed}",
        )
    )
    for one, other in zip(expected, real, strict=True):
        assert_same(one, other)
    assert not (tmp_path / "two" / "cache" / "ahead").exists()
    again = len(real)
    run_experiment(experiment(answer), out=tmp_path / "two", progress=False)  # all of it is in the cache
    for one, other in zip(expected, real[again:], strict=True):
        assert_same(one, other)


@pytest.mark.slow
def test_networks_trained_on_distilled_or_told_transformations_are_made_by_workers(tmp_path, filled):
    real: list[list[np.ndarray]] = []

    def answer(run: Run) -> None:
        kept = [] if run.rehearsal else real
        study = StandardStudy(run)
        base = study.trained(0)
        options = {"filters": 1, "dense": 4}
        further = {"epochs": 1, "seed": 0, "batch_size": 64}
        for made in (
            fine_tuned(study, base, 0.5, 0),
            distilled(study, base, "simple_conv", options, 0),
            retrained(run, base, ("conv3",), study.data, ROTATED, **further),
            regressor(study, 0, "rotations(4)"),
        ):
            kept.append([weight.copy() for weight in made.get_weights()])
        for found in (figures(study, base, 0, "weight_int4"), tuned_figures(study, base, "distilled", 0, 0)):
            if not run.rehearsal:
                kept.append([np.array([found[key] for key in ("upright", "mean", "worst")])])
                kept.append([np.array(list(dict(found["profile"]).values()))])

    settings = {"fine_tuning": 1, "regression_epochs": 1, "layers": ("fc1",), "weight": 0.1}
    settings |= {"tuned_epochs": 1, "tuned_rate": 1e-3, "tuned_samples": 100}
    trial = Experiment("trial", "Does it?", answer, **standard(settings, **settings))
    run_experiment(trial, preset="smoke", out=tmp_path / "one", progress=False)
    expected = real.copy()
    real.clear()
    with ThreadPoolExecutor(1) as pool, tfinv.distributed(pool):
        run_experiment(trial, preset="smoke", out=tmp_path / "two", progress=False)
    assert len(filled) == 7 and len(real) == 8
    for one, other in zip(expected, real, strict=True):
        for weight, same in zip(one, other, strict=True):
            np.testing.assert_array_equal(weight, same)


def test_a_run_that_was_cut_short_goes_on_with_what_workers_made(tmp_path, filled):
    cut = [True]

    def answer(run: Run) -> None:
        for seed in range(2):
            network(run, seed)
            if cut and not run.rehearsal:
                raise RuntimeError("power cut")

    with ThreadPoolExecutor(1) as pool, tfinv.distributed(pool):
        with pytest.raises(RuntimeError, match="power cut"):
            run_experiment(experiment(answer), out=tmp_path, progress=False)
        made = {path: path.stat().st_mtime_ns for path in tmp_path.glob("cache/ahead/model/*/model.keras")}
        assert len(filled) == len(made) == 2
        cut.clear()
        run_experiment(experiment(answer), out=tmp_path, progress=False)
    assert len(filled) == 2
    contents = [path.read_bytes() for path in tmp_path.glob("cache/model/*/model.keras")]
    assert len(contents) == 2
