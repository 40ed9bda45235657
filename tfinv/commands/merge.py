"""``python -m tfinv.run merge``: join the parts that ``measure --part`` wrote."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tfinv.commands import arguments as shared
from tfinv.commands.effects import parse, refuse_idle
from tfinv.commands.parts import FINAL, FIRST, THRESHOLDS
from tfinv.support.safe_text import printable

_EPILOG = """\
writes what measure writes; where measures such as Goodfellow take two rounds, the first merge writes thresholds.npz
beside the parts, and the same array of jobs run once more makes the second round

examples:
  python -m tfinv.run measure --model model.keras --data images/ --part 3/10 --out parts
  python -m tfinv.run merge parts --out runs/whole
"""


def main(arguments: Sequence[str]) -> int:
    """Entry point; returns the exit code."""
    parser = shared.parser("merge", "Join parts of the images that were measured apart.", _EPILOG)
    parser.add_argument("folder", type=Path, help="where measure --part wrote")
    shared.add_full_precision(parser)
    options = parse(parser, arguments)

    from tfinv.commands.measure_report import write_single
    from tfinv.evaluation.merging import merge
    from tfinv.results import Results

    folder: Path = options.folder
    if not folder.is_dir():
        raise ValueError(f"merge must be given a folder of parts. Received: {folder}")
    final, first = (sorted(folder.glob(f"{kind}-*-of-*.npz")) for kind in (FINAL, FIRST))
    files = final or first
    if not files:
        raise ValueError(f"merge must be given a folder with parts that measure --part wrote. Received: {folder}")
    _check_complete(files)
    parts = [Results.load(path) for path in files]
    results = merge(*parts) if len(parts) > 1 else parts[0]
    if not final:
        refuse_idle(options, {"full_precision": "these parts are merged once more"})
        results.save(folder / THRESHOLDS)
        print(f"Written to {folder / THRESHOLDS}: run the same parts once more for the second round, then merge again")
        return 0
    results.save(options.out / "results.npz", full_precision=options.full_precision)
    about = f"{results.metadata['model_file']}, {results.metadata['samples']} images in {len(parts)} parts"
    for line in write_single(results, options.out, about, []):
        print(printable(line))
    print(f"Written to {options.out}")
    return 0


def _check_complete(files: Sequence[Path]) -> None:
    counts = {path.stem.rpartition("-of-")[2] for path in files}
    if len(counts) > 1:
        raise ValueError(f"parts must be of one division. Received: parts of {' and of '.join(sorted(counts))}")
    count = int(counts.pop())
    here = {int(path.stem.partition("-")[2].partition("-")[0]) for path in files}
    missing = sorted(set(range(1, count + 1)) - here)
    if missing:
        from tfinv.evaluation.held_samples import positions

        raise ValueError(f"parts must be complete. Received: {len(here)} of {count}, without {positions(missing)}")
