"""Results: profiles, tables, files; damaged and foreign files are refused in words."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from tfinv.measures import parse
from tfinv.results import LayerResult, MeasureResult, Results
from tfinv.status import Status, quotient


def results() -> Results:
    values = np.array([[0.5, 1.0], [np.inf, 2.5]])
    status = np.array([[0, Status.DEAD], [Status.SAMPLE_CONSTANT, 0]])
    layers = {"conv": LayerResult(values, status), "flat": LayerResult.not_applicable("no maps")}
    statistics = {"RowDispersion": {"conv": {"count": np.array(3.0), "mean": np.arange(4.0)}}}
    return Results({"NV": MeasureResult("NV", layers)}, {"set": "rotations(4)", "seed": 1}, statistics)


def test_profile_averages_valid_units_and_counts_the_rest():
    row = results().profile("NV").set_index("layer").loc["conv"]
    assert row["mean"] == 1.5 and row["std"] == 1.0
    assert list(row[["units", "valid", "dead", "sample_constant", "sparse", "left_out"]]) == [4, 2, 1, 1, 0, 2]
    assert np.isnan(results()["NV"]["flat"].mean)


def test_frame_of_units_is_tidy():
    frame = results().to_frame(units=True)
    assert frame["effective_samples"].isna().all()
    assert frame[["unit", "value", "status"]].to_numpy().tolist() == [
        ["0,0", 0.5, "valid"], ["0,1", 1.0, "dead"], ["1,0", np.inf, "sample_constant"], ["1,1", 2.5, "valid"],
    ]  # fmt: skip


def test_save_and_load_keep_everything(tmp_path):
    results().save(tmp_path / "deep" / "r.npz")
    loaded = Results.load(tmp_path / "deep" / "r.npz")
    np.testing.assert_array_equal(loaded["NV"]["conv"].values, results()["NV"]["conv"].values)
    np.testing.assert_array_equal(loaded["NV"]["conv"].status, results()["NV"]["conv"].status)
    assert loaded["NV"]["flat"].note == "no maps"
    assert loaded.metadata == results().metadata
    np.testing.assert_array_equal(loaded.statistics["RowDispersion"]["conv"]["mean"], np.arange(4.0))
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["r.npz"]


def test_effective_samples_are_saved_shown_and_checked(tmp_path):
    status = np.array([0, Status.SPARSE], np.uint8)
    layer = LayerResult(np.array([0.5, 3.0]), status, effective_samples=np.array([12.0, 2.5]))
    saved = Results({"NV": MeasureResult("NV", {"conv": layer})})
    saved.save(tmp_path / "r.npz")
    loaded = Results.load(tmp_path / "r.npz")
    frame = loaded.to_frame(units=True)
    assert frame["effective_samples"].tolist() == [12.0, 2.5] and frame["status"].tolist() == ["valid", "sparse"]
    assert list(loaded.profile()[["valid", "sparse", "left_out"]].iloc[0]) == [1, 1, 1] and layer.mean == 0.5
    with pytest.raises(ValueError, match=r"effective_samples must have the shape of values, \(2,\). Received: \(3,\)"):
        LayerResult(np.array([0.5, 3.0]), status, effective_samples=np.ones(3))


def test_values_of_units_are_small_or_exact_by_choice(tmp_path):
    rng = np.random.default_rng(0)
    values = rng.gamma(2.0, size=(100, 200)) * 10 ** rng.uniform(-6, 6, (100, 200))
    values[0, :3] = np.inf, 0, np.nan
    status = rng.integers(0, 2, values.shape).astype(np.uint8)
    far = LayerResult(np.array([1e40, 1e-42, 0.5]), np.zeros(3, np.uint8))
    layers = {
        "conv": LayerResult(values, status, "a note", 0.1, effective_samples=values),
        "far": far,  # float32 would not hold it
        "none": LayerResult.not_applicable("no maps"),
    }
    measured = {"NV": MeasureResult("NV", layers)}
    made = Results(measured, {"seed": 3}, classes={7: measured})
    for name, full in (("small", False), ("full", True)):
        made.save(tmp_path / f"{name}.npz", full_precision=full)
    small, full = (Results.load(tmp_path / f"{name}.npz") for name in ("small", "full"))
    sizes = [(tmp_path / f"{name}.npz").stat().st_size for name in ("small", "full")]
    assert sizes[0] < 2 * 3.6 * values.size and sizes[1] > 3 * sizes[0]
    for of_class in (lambda one: one, lambda one: one.of_class(7)):
        kept, exact = of_class(small)["NV"], of_class(full)["NV"]
        np.testing.assert_array_equal(exact["conv"].values, values)
        np.testing.assert_array_equal(kept["conv"].values, values.astype(np.float32).astype(np.float64))
        np.testing.assert_allclose(kept["conv"].values, values, rtol=6.1e-8)
        np.testing.assert_array_equal(kept["conv"].status, status)
        np.testing.assert_array_equal(kept["far"].values, far.values)
        assert kept["conv"].effective_samples is None and exact["conv"].effective_samples is not None
        assert (kept["conv"].note, kept["conv"].trim, kept["none"].note) == ("a note", 0.1, "no maps")
    gathered = Results(measured, statistics={"RowDispersion": {"conv": {"mean": np.arange(3.0)}}})
    gathered.save(tmp_path / "kept.npz", full_precision=False)  # to be merged: kept as it is
    np.testing.assert_array_equal(Results.load(tmp_path / "kept.npz")["NV"]["conv"].values, values)


def test_the_mean_leaves_out_the_trimmed_share_of_valid_units_and_the_file_keeps_it(tmp_path):
    values, status = np.array([*range(1, 20), 1e9, 5e9]), np.zeros(21, np.uint8)
    status[-1] = Status.DEAD
    layer = LayerResult(values, status, trim=0.05)
    assert layer.mean == np.arange(2, 20).mean()
    assert LayerResult(values[:19], status[:19], trim=0.05).mean == 10
    Results({"NV": MeasureResult("NV", {"conv": layer})}).save(tmp_path / "r.npz")
    assert Results.load(tmp_path / "r.npz")["NV"]["conv"].mean == layer.mean
    with pytest.raises(ValueError, match=r"trim must be at least 0 and below 0\.5\. Received: 0.5"):
        LayerResult(values, status, trim=0.5)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("NormalizedVariance", "NormalizedVariance(statistic='std')"),
        ("NormalizedVariance(aggregate='mean')", "NormalizedVariance(statistic='std', aggregate='mean')"),
        ("NormalizedVariance(statistic='variance')", "NormalizedVariance(statistic='variance')"),
        ("NormalizedVarianceSE(border='keep')", "NormalizedVarianceSE(statistic='std', border='keep')"),
        ("NormalizedDistance", "NormalizedDistance"),
    ],
)
def test_files_of_version_1_say_which_statistic_they_hold(tmp_path, old, new):
    layer = LayerResult(np.arange(40.0) ** 3, np.zeros(40, np.uint8))
    measures = {old: MeasureResult(old, {"conv": layer})}
    floors = {"interpolation_floor": {old: {"conv": 0.1}}}
    arrays = Results(measures, floors, classes={3: measures}).to_arrays()
    header = json.loads(bytes(arrays["header"]).decode())
    header["version"] = 1
    for entries in (header["measures"], header["classes"][0]["measures"]):
        del entries[0]["layers"][0]["trim"]
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez(tmp_path / "r.npz", **arrays)
    loaded = Results.load(tmp_path / "r.npz")
    assert list(loaded) == list(loaded.of_class(3)) == [new]
    assert loaded.metadata["interpolation_floor"] == {new: {"conv": 0.1}}
    assert loaded[new]["conv"].mean == layer.values.mean()
    assert parse(new).key == new


def test_damaged_and_foreign_files_are_refused(tmp_path):
    path = tmp_path / "r.npz"
    results().save(path)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"nonsense" * 40):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="complete results file"):
            Results.load(path)
    np.savez(path, header=np.frombuffer(json.dumps({"format": "tfinv-results", "version": 99}).encode(), np.uint8))
    with pytest.raises(ValueError, match="version 99, this tfinv reads versions 1 and 2 and 3"):
        Results.load(path)
    np.savez(path, other=np.ones(3))
    with pytest.raises(ValueError, match="complete results file"):
        Results.load(path)
    with pytest.raises(FileNotFoundError):
        Results.load(tmp_path / "none.npz")


def test_pickled_arrays_are_never_loaded(tmp_path):
    np.savez(tmp_path / "evil.npz", header=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match="complete results file"):
        Results.load(tmp_path / "evil.npz")


def test_unknown_measure_and_layer_list_the_known_ones():
    with pytest.raises(KeyError, match="measures are NV"):
        results()["TV"]
    with pytest.raises(KeyError, match="layers are conv, flat"):
        results()["NV"]["dense"]


def test_quotient_conventions():
    values, status = quotient(np.array([0.0, 1.0, 2.0, np.nan, 1.0]), np.array([0.0, 0.0, 4.0, 1.0, np.nan]))
    np.testing.assert_array_equal(values, [1.0, np.inf, 0.5, np.nan, np.nan])
    assert status.tolist() == [Status.DEAD, Status.SAMPLE_CONSTANT, Status.VALID, Status.NON_FINITE, Status.NON_FINITE]


def test_results_load_without_tensorflow(tmp_path):
    results().save(tmp_path / "r.npz")
    code = (
        "import sys; from tfinv.results import Results; r = Results.load(sys.argv[1]); r.profile(); "
        "assert not {'tensorflow', 'keras', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "r.npz")], check=True)
