"""A terminal shows what each worker does; anything else gets no more than its one line."""

from __future__ import annotations

import re
import threading
from concurrent.futures import ThreadPoolExecutor

from terminal import shown_on_terminal

from tfinv.engine import watching
from tfinv.engine.teams import Given
from tfinv.engine.watching import Watched, watched
from tfinv.support.progress import Progress

PROGRAM = """
import time
from concurrent.futures import ThreadPoolExecutor
from tfinv.engine import watching
from tfinv.engine.teams import Given
from tfinv.support.progress import Progress

def gather_piece(seconds):
    time.sleep(seconds)

watching.SECONDS = 0.05
with ThreadPoolExecutor(2) as pool, Progress("measuring", 4, "img") as bar, watching.watched(Given(pool), bar) as team:
    for promise in [team.submit(gather_piece, seconds) for seconds in (0.3, 0.3, 0.6)]:
        promise.result()
        bar.advance()
"""


def gather_piece(end: threading.Event) -> None:
    end.wait(10)


def run_task(function, end: threading.Event) -> None:
    function(end)


def weigh_things(end: threading.Event) -> None:
    end.wait(10)


def test_workers_are_busy_in_the_order_of_their_tasks_and_else_idle():
    ends = [threading.Event() for _ in range(4)]
    with ThreadPoolExecutor(2) as pool:
        team = Watched(Given(pool))
        assert team.said() == "2 workers: 2 idle"
        promises = [team.submit(gather_piece, ends[0])]
        assert team.said() == "2 workers: 1 gathering (0 s), 1 idle"
        promises += [team.submit(run_task, weigh_things, end) for end in ends[1:]]
        assert team.said() == "2 workers: 1 gathering, 1 weigh things (0 s); 2 tasks wait"
        for end, promise, said in zip(
            ends,
            promises,
            ("2 weigh things (0 s); 1 task waits", "2 weigh things (0 s)", "1 weigh things (0 s), 1 idle", "2 idle"),
            strict=True,
        ):
            end.set()
            promise.result(10)
            assert team.said() == f"2 workers: {said}"


def test_seconds_are_those_since_a_task_was_seen_to_run(monkeypatch):
    now, end = [100.0], threading.Event()
    monkeypatch.setattr(watching.time, "monotonic", lambda: now[0])
    with ThreadPoolExecutor(1) as pool:
        team = Watched(Given(pool))
        team.submit(gather_piece, end)
        later = team.submit(gather_piece, end)
        assert team.said() == "1 worker: 1 gathering (0 s); 1 task waits"
        now[0] += 7.2
        assert team.said() == "1 worker: 1 gathering (7 s); 1 task waits"
        end.set()
        later.result(10)
    assert team.said() == "1 worker: 1 idle"


def test_of_workers_elsewhere_the_tasks_are_told():
    end = threading.Event()
    with ThreadPoolExecutor(2) as pool:
        given = Given(pool)
        given.size = None
        team = Watched(given)
        assert team.said() == "no task"
        promises = [team.submit(gather_piece, end) for _ in range(3)]
        assert team.said() == "tasks: 3 gathering (0 s)"
        end.set()
        for promise in promises:
            promise.result(10)
        assert team.said() == "no task"


def test_what_is_no_terminal_gets_the_team_itself(capsys):
    with ThreadPoolExecutor(1) as pool, Progress("measuring", 1, "img") as bar:
        given = Given(pool)
        with watched(given, bar) as team:
            assert team is given
        bar.aside("1 worker: 1 idle")
        with watched(None, bar) as team:
            assert team is None
    assert re.fullmatch(r"measuring: 0 img in \d\.\d s\n", capsys.readouterr().err)


def test_a_terminal_shows_what_workers_do():
    text = shown_on_terminal(PROGRAM, 160)
    for words in ("2 workers: 2 gathering (0 s); 1 task waits", "2 workers: 1 gathering (0 s), 1 idle"):
        assert words in text
    assert re.search(r"measuring: +\d+%\|.*\| \d/4 \[.*, 2 workers: ", text)
