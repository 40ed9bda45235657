"""The command line: ``python -m tfinv.run`` runs the main job, an experiment or a study."""

from __future__ import annotations

import argparse
import errno
import importlib
import json
import logging
import os
import pkgutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfinv.commands.arguments import add_workers
from tfinv.commands.effects import Whole, parse, refuse_idle
from tfinv.experiment import PRESETS, Experiment, output_folder, run_experiment
from tfinv.support.extensions import load_file
from tfinv.support.faults import one_line
from tfinv.support.files import check_output_folder
from tfinv.support.interrupt import lasting_interrupt
from tfinv.support.lazy import quiet_tensorflow_import, select_tensorflow_backend
from tfinv.support.safe_text import printable

EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_GATE, EXIT_INTERRUPTED = 0, 1, 2, 3, 130
DEFAULT = "quickstart"

_EPILOG = """\
exit codes:
  0  done
  1  the run failed, for instance on a full disk
  2  wrong arguments or input
  3  a --fail-if condition was met
  130  interrupted; run the same command again to go on

examples:
  python -m tfinv.run                              the main job: train, measure, quantize, report
  python -m tfinv.run --smoke --out /tmp/try       the same in seconds, small and rough
  python -m tfinv.run --list                       every experiment, its question and its state

other commands, each with --help:
  train, measure, compare, tflite, merge, redraw
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    quiet_tensorflow_import()
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns of every new network after the fourth
    try:
        with lasting_interrupt():
            _check_surroundings(arguments)
            command = _command(arguments)
            return command(arguments[1:]) if command else _run(parse(_parser(), arguments))
    except KeyboardInterrupt:
        print("\ninterrupted; finished stages are kept, run the same command again to go on", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # whoever reads the output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK
    except MemoryError as error:
        if os.environ.get("TFINV_DEBUG"):
            raise
        print(
            printable(
                f"tfinv: the memory is full ({one_line(error)}); finished stages are kept, use fewer or smaller "
                "images or free memory, and run the same command again"
            ),
            file=sys.stderr,
        )
        return EXIT_FAILED
    except (ValueError, TypeError, OSError) as error:
        if os.environ.get("TFINV_DEBUG"):
            raise
        if _is_full(error):
            print(
                f"tfinv: the disk is full ({one_line(error)}); finished stages are kept, make room and run the same "
                "command again to go on",
                file=sys.stderr,
            )
            return EXIT_FAILED
        print(printable(f"tfinv: {one_line(error)}"), file=sys.stderr)
        return EXIT_USAGE


def _check_surroundings(arguments: Sequence[str]) -> None:
    """Refuse an output folder that cannot be written, and a wrong environment, before anything is computed.

    Raises:
        ValueError: `KERAS_BACKEND`, `MPLBACKEND` or `--out` cannot be used.
    """
    if {"-h", "--help", "--list"} & set(arguments):
        return
    try:
        select_tensorflow_backend()
    except RuntimeError as error:
        raise ValueError(str(error)) from None
    if backend := os.environ.get("MPLBACKEND"):
        try:
            importlib.import_module("matplotlib.rcsetup").validate_backend(backend)
        except ValueError:
            raise ValueError(
                f"MPLBACKEND must name a backend of Matplotlib, such as agg, or be unset. Received: {backend!r}"
            ) from None
    for position, argument in enumerate(arguments):
        if argument == "--out" and position + 1 < len(arguments):
            check_output_folder("--out", arguments[position + 1])
        elif argument.startswith("--out="):
            check_output_folder("--out", argument.removeprefix("--out="))


def _command(arguments: Sequence[str]) -> Any:
    """The sub-command of that name, or None where the first word is an experiment or an option."""
    commands = {
        "measure": "measure",
        "train": "train",
        "tflite": "tflite",
        "compare": "compare",
        "redraw": "redraw",
        "merge": "merge",
    }
    if not arguments or arguments[0] not in commands:
        return None
    return importlib.import_module(f"tfinv.commands.{commands[arguments[0]]}").main


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tfinv.run",
        description="Measure how invariant every layer of a network is, and what quantization does to it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "experiment", nargs="?", default=DEFAULT, help="name or .py file of an experiment; default: the main job"
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings of the experiment to change")
    parser.add_argument("--out", type=Path, help="output folder; default: runs/<experiment>")
    parser.add_argument("--cache", type=Path, help="folder of trained models and results that runs share")
    parser.add_argument("--seed", type=Whole(0), default=0, help="seed of everything random; default: 0")
    parser.add_argument("--preset", choices=PRESETS, default="cpu", help="scale of the run; default: cpu")
    parser.add_argument("--smoke", action="store_true", help="short for --preset smoke: seconds, not a result")
    parser.add_argument("--force", action="store_true", help="make everything anew instead of re-using finished stages")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    add_workers(parser)
    parser.add_argument("--list", action="store_true", help="list the experiments with question, state and duration")
    return parser


def _run(options: argparse.Namespace) -> int:
    everything = [name for name in options.given if name != "list"]
    refuse_idle(options, dict.fromkeys(everything, options.list and "--list runs nothing"))
    refuse_idle(options, {"preset": options.smoke and "--smoke is a preset"})
    if options.list:
        _list()
        return EXIT_OK
    if "=" in options.experiment:
        options.overrides.insert(0, options.experiment)
        options.experiment = DEFAULT
    experiment = find_experiment(options.experiment)
    preset = "smoke" if options.smoke else options.preset
    start = time.monotonic()
    from tfinv.evaluation.distribution import distributed

    with distributed(options.workers):
        finding = run_experiment(
            experiment,
            preset=preset,
            overrides=options.overrides,
            out=options.out,
            cache=options.cache,
            seed=options.seed,
            force=options.force,
            progress=not options.quiet,
        )
    folder = options.out or output_folder(experiment.name, preset)
    if finding is not None:
        print(f"{experiment.question}\n{finding.verdict}: {finding.text}")
    print(f"Written to {folder} in {time.monotonic() - start:.0f} s")
    return EXIT_OK


def find_experiment(name: str) -> Experiment:
    """The experiment of that name in `tfinv.experiments`, or in a `.py` file of the user's own.

    Raises:
        ValueError: no such experiment (the known ones are listed), or a file without one.
    """
    if name.endswith(".py"):
        module = load_file(name, "experiment")
    else:
        if name not in experiment_names():
            raise ValueError(
                f"experiment must be one of {', '.join(experiment_names())}, or a .py file. Received: {name!r}"
            )
        module = importlib.import_module(f"tfinv.experiments.{name}")
    experiment = getattr(module, "EXPERIMENT", None)
    if not isinstance(experiment, Experiment):
        raise ValueError(f"an experiment file must define EXPERIMENT = Experiment(...). Received: {name!r}")
    return experiment


def experiment_names() -> list[str]:
    """Names of the experiments that come with tfinv, the main job first."""
    from tfinv import experiments

    names = [module.name for module in pkgutil.iter_modules(experiments.__path__) if not module.name.startswith("_")]
    return sorted(names, key=lambda name: (name != DEFAULT, name))


def _list() -> None:
    for name in experiment_names():
        experiment = find_experiment(name)
        minutes = ", ".join(f"{preset} {value:g} min" for preset, value in experiment.minutes.items())
        print(f"{name:26} {_state(name):22} {minutes}\n    {experiment.question}")


def _state(name: str) -> str:
    states = []
    for preset in PRESETS:
        marker = output_folder(name, preset) / "finished.json"
        try:
            states.append(f"{preset} done in {json.loads(marker.read_text())['seconds']:.0f} s")
        except (OSError, ValueError, KeyError, TypeError):
            if (marker.parent / "config.json").is_file():
                states.append(f"{preset} unfinished")
    return ", ".join(states) or "not run"


def _is_full(error: BaseException) -> bool:
    """Whether a file could not be written because the disk is full; some libraries lose the number."""
    numbers = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return isinstance(error, OSError) and (error.errno in numbers or os.strerror(errno.ENOSPC) in str(error))


if __name__ == "__main__":
    sys.exit(main())
