"""The cache: made once, re-used, rebuilt when damaged, never half there."""

from __future__ import annotations

import json
import multiprocessing
import time
from pathlib import Path

import pytest

from tfinv.support.cache import Cache, config_hash


class Maker:
    def __init__(self, text: str = "value") -> None:
        self.calls, self.text = 0, text

    def __call__(self, folder: Path) -> None:
        self.calls += 1
        (folder / "value.txt").write_text(self.text)


def load(folder: Path) -> str:
    text = (folder / "value.txt").read_text()
    if text == "damaged":
        raise ValueError("damaged")
    return text


def test_a_piece_is_made_once_and_again_for_another_configuration(tmp_path):
    make, cache = Maker(), Cache(tmp_path)
    assert [cache.get("model", {"a": 1}, make, load) for _ in range(3)] == ["value"] * 3
    assert make.calls == 1
    Cache(tmp_path).get("model", {"a": 2}, make, load)
    assert make.calls == 2
    Cache(tmp_path, force=True).get("model", {"a": 1}, make, load)
    assert make.calls == 3


def test_a_damaged_piece_is_rebuilt_and_said(tmp_path):
    make, cache = Maker(), Cache(tmp_path)
    cache.get("model", {"a": 1}, make, load)
    (cache.path("model", {"a": 1}) / "value.txt").write_text("damaged")
    with pytest.warns(UserWarning, match="damaged and is made anew"):
        assert cache.get("model", {"a": 1}, make, load) == "value"
    assert make.calls == 2


def test_an_interrupted_piece_leaves_nothing_behind(tmp_path):
    cache = Cache(tmp_path)

    def interrupted(folder: Path) -> None:
        (folder / "half.txt").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.get("model", {"a": 1}, interrupted, load)
    assert not cache.has("model", {"a": 1})
    assert not [path for path in (tmp_path / "model").iterdir() if path.is_dir()]
    assert cache.get("model", {"a": 1}, Maker(), load) == "value"


def test_what_a_killed_run_left_is_swept_up(tmp_path):
    left = tmp_path / "model" / f".{Cache(tmp_path).path('model', {'a': 1}).name}.x7k2"
    left.mkdir(parents=True)
    (left / "half.txt").write_text("half")
    Cache(tmp_path).get("model", {"a": 1}, Maker(), load)
    assert not left.exists()


def test_it_says_what_it_reuses(tmp_path):
    said: list[str] = []
    for _ in range(2):
        Cache(tmp_path, report=said.append).get("model", {"a": 1}, Maker(), load)
    assert said == [f"re-used model {config_hash({'a': 1})}"]


def _slow(root: str, queue) -> None:
    def make(folder: Path) -> None:
        queue.put("made")
        time.sleep(0.5)
        (folder / "value.txt").write_text("value")

    Cache(root).get("model", {"a": 1}, make, load)


def test_two_runs_at_once_make_a_piece_once(tmp_path):
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    processes = [context.Process(target=_slow, args=(str(tmp_path), queue)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(20)
    assert queue.get(timeout=1) == "made"
    assert queue.empty()


def test_hash_depends_on_values_not_on_order():
    assert config_hash({"a": 1, "b": [2]}) == config_hash({"b": [2], "a": 1}) != config_hash({"a": 1, "b": [3]})


def test_an_entry_that_is_a_file_and_a_lock_that_is_a_folder_are_replaced(tmp_path):
    def make(folder):
        (folder / "value").write_text("7")

    cache = Cache(tmp_path / "cache")
    entry = cache.path("piece", {"size": 1})
    entry.parent.mkdir(parents=True)
    entry.write_text("no folder")
    (entry.parent / f".{entry.name}.lock").mkdir()
    assert cache.get("piece", {"size": 1}, make, lambda folder: (folder / "value").read_text()) == "7"
    assert cache.has("piece", {"size": 1})


def test_a_cache_that_is_a_file_or_below_one_is_said(tmp_path):
    (tmp_path / "file").write_text("kept")
    for root in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ValueError, match=r"^cache must be a folder.*Received: .*file"):
            Cache(root).get("piece", {}, lambda folder: None, lambda folder: None)
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.parametrize("content", ["[1, 2]", "7", '{"other": 1}', "null", '"text"', "[" * 100_000, ""])
def test_a_piece_of_another_form_is_made_anew_whatever_it_holds(tmp_path, content):
    cache, times = Cache(tmp_path), []

    def make_latency(folder: Path) -> None:
        times.append(1)
        (folder / "latency.json").write_text('{"milliseconds": 3.5}')

    def read(folder: Path) -> float:
        return json.loads((folder / "latency.json").read_text())["milliseconds"]

    assert cache.get("tflite", {"a": 1}, make_latency, read) == 3.5
    (cache.path("tflite", {"a": 1}) / "latency.json").write_text(content)
    with pytest.warns(UserWarning, match="damaged and is made anew"):
        assert cache.get("tflite", {"a": 1}, make_latency, read) == 3.5
    assert len(times) == 2


def test_full_memory_does_not_make_a_piece_anew(tmp_path):
    cache = Cache(tmp_path)
    cache.get("model", {"a": 1}, lambda folder: None, lambda folder: "value")

    def full(folder: Path) -> str:
        raise MemoryError

    with pytest.raises(MemoryError):
        cache.get("model", {"a": 1}, lambda folder: pytest.fail("made anew"), full)
