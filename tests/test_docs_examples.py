"""Every example runs: those of the docstrings, and the code and commands in README.md and docs/.

The blocks of a Markdown file are one story: they run in order, in one folder and one Python namespace. A block below
the line `<!-- test: skip, why -->` is not run.
"""

from __future__ import annotations

import contextlib
import doctest
import importlib
import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from shared_models import shared_folder

from tfinv.run import main

ROOT = Path(__file__).parents[1]
FOLDERS = {"tfinv": ROOT / "tfinv", "tfinv.tflite": ROOT / "tflite", "tfinv.experiments": ROOT / "experiments"}
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
COMMANDS = ("measure", "train", "tflite", "compare", "redraw")
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]

# --- docstrings ------------------------------------------------------------------------------------------------------

NUMBER = re.compile(r"(?<![\w.])[-+]?\d+\.\d*(?:[eE][-+]?\d+)?")


class NumberChecker(doctest.OutputChecker):
    """Decimal numbers may differ by one unit in the last digit that the docstring writes."""

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        if super().check_output(want, got, optionflags):
            return True
        wanted, numbers = NUMBER.findall(want), NUMBER.findall(got)
        if not wanted or len(wanted) != len(numbers):
            return False
        close = all(abs(float(a) - float(b)) <= last_digit(a) * 1.0001 for a, b in zip(wanted, numbers, strict=True))
        return close and super().check_output(NUMBER.sub("#", want), NUMBER.sub("#", got), optionflags)


def last_digit(number: str) -> float:
    """The value of one unit in a number's last written digit: 0.01 for `1.25`."""
    mantissa, _, exponent = number.lower().partition("e")
    return 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))


def modules_with_examples() -> list[str]:
    names = []
    for package, folder in FOLDERS.items():
        for path in sorted(folder.rglob("*.py")):
            if re.search(r"^\s*>>> ", path.read_text(), re.MULTILINE):
                parts = path.relative_to(folder).with_suffix("").parts
                names.append(".".join([package, *(part for part in parts if part != "__init__")]))
    return names


TRAINING = ("tfinv.tflite.studies.choose_bits", "tfinv.tflite.qat.report", "tfinv.tflite.qat.train")
"""Modules whose examples train and convert for seconds."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in TRAINING)) for name in modules_with_examples()]
)
def test_examples_in_docstrings(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # Not `importlib.import_module(name)` alone: a function may bear the name of its module (transformations.warp).
    importlib.import_module(name)
    module = sys.modules[name]
    report: list[str] = []
    runner = doctest.DocTestRunner(NumberChecker(), optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    tests = [test for test in doctest.DocTestFinder(exclude_empty=True).find(module) if test.examples]
    for test in tests:
        runner.run(test, out=report.append)
    assert tests, f"no example of {name} belongs to a public object"
    assert not runner.summarize(verbose=False).failed, "".join(report)


@pytest.mark.parametrize(
    ("want", "got", "equal"),
    [
        ("0.25\n", "0.2500001\n", True),
        ("0.25\n", "0.259\n", True),
        ("0.25\n", "0.27\n", False),
        ("(1, 0.5)\n", "(2, 0.5)\n", False),
        ("array([1. , 2.5])\n", "array([1. , 2.6])\n", True),
        ("1.5e-3\n", "1.6e-3\n", True),
        ("1.5e-3\n", "1.8e-3\n", False),
        ("0.5 cats\n", "0.5 dogs\n", False),
    ],
)
def test_numbers_are_compared_to_the_digits_written(want, got, equal):
    assert NumberChecker().check_output(want, got, 0) == equal


# --- Markdown --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: its language, its text, the line of its first character, and why it is not run."""

    language: str
    text: str
    line: int
    skip: str = ""


def blocks_of(text: str) -> list[Block]:
    blocks, language, start, skip = [], None, 0, ""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if language is None and (fence := re.fullmatch(r"\s*```\s*(\w*).*", line)):
            language, start = fence[1], number + 1
            comment = re.fullmatch(r"\s*<!-- test: skip,? *(.*?) *-->\s*", lines[number - 1] if number else "")
            skip = (comment[1] or "no reason given") if comment else ""
        elif language is not None and line.strip() == "```":
            blocks.append(Block(language, "\n".join(lines[start:number]) + "\n", start + 1, skip))
            language = None
    assert language is None, f"the block that starts on line {start} does not end"
    return blocks


def commands_of(block: Block) -> list[str]:
    """The command lines of a block, continued lines joined; in `console` blocks those behind a `$`."""
    text = block.text.replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines()]
    if block.language == "console":
        return [line[1:].strip() for line in lines if line.startswith("$")]
    return [line for line in lines if line and not line.startswith("#")]


def run_python(block: Block, namespace: dict[str, Any], page: Path) -> None:
    where = f"{page.name}:{block.line}"
    if ">>>" in block.text:
        test = doctest.DocTestParser().get_doctest(block.text, namespace, where, str(page), block.line)
        report: list[str] = []
        runner = doctest.DocTestRunner(NumberChecker(), optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
        assert not runner.run(test, out=report.append, clear_globs=False).failed, "".join(report)
        namespace.update(test.globs)
        return
    exec(compile("\n" * (block.line - 1) + block.text, str(page), "exec"), namespace)  # noqa: S102


def run_tfinv(arguments: list[str], folder: Path) -> int:
    """The exit code of the command line in this process, which has TensorFlow already, within the folder."""
    if not {"--help", "--list", *COMMANDS} & set(arguments):
        # Small, and what one command has trained the next need not train again.
        arguments = [*arguments, *({"--smoke"} - set(arguments)), "--cache", str(shared_folder("experiments"))]
    with contextlib.chdir(folder):
        try:
            return main(arguments)
        except SystemExit as end:  # argparse ends a process after --help and after a mistake
            return int(end.code or 0)


def run_command(command: str, folder: Path) -> None:
    """Run what belongs to the project; of other commands check what can be checked without a network.

    A command that ends in `# exit code 3` must end with that code.
    """
    words = [word for word in shlex.split(command, comments=True) if not re.fullmatch(r"[A-Z_]+=.*", word)]
    if words[0] == "make":
        done = subprocess.run(["make", "--dry-run", *words[1:]], cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
    elif words[:3] == ["python", "-m", "tfinv.run"] or words[0] == "tfinv":
        arguments = words[3:] if words[0] == "python" else words[1:]
        wanted = re.search(r"# exit code (\d+)$", command)
        assert run_tfinv(arguments, folder) == int(wanted[1] if wanted else 0), command
    elif words[0] == "pip" or words[1:3] == ["-m", "pip"]:
        named = {extra for extras in re.findall(r"\[([\w,]+)\]", command) for extra in extras.split(",")}
        assert "install" in words and named <= set(EXTRAS), command
    elif words[0] in ("pytest", "ruff", "pyright", "bash"):
        paths = [word for word in words[1:] if "/" in word and not word.startswith("-")]
        assert all((ROOT / path.split("::")[0]).exists() for path in paths), command
    else:
        harmless = words[0] in ("cd", "git", "source", ".") or words[1:3] == ["-m", "venv"]
        assert harmless, f"how to check `{command}`? Put <!-- test: skip, why --> above its block if it cannot run"


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_code_and_commands_of_a_page_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    skipped = []
    for block in blocks_of(page.read_text()):
        if block.skip:
            skipped.append(f"line {block.line}: {block.skip}")
        elif block.language == "python":
            run_python(block, namespace, page)
        elif block.language in ("bash", "console", "sh", "shell"):
            for command in commands_of(block):
                run_command(command, tmp_path)
    if skipped:
        print(f"{page.name}, not run:", *skipped, sep="\n  ")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_a_page_lead_somewhere(page):
    text = re.sub(r"^\s*```.*?^\s*```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"`[^`\n]*`", "", text)
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if re.match(r"\w+:", target):
            continue
        file = page if not path else (page.parent / path).resolve()
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors_of(file.read_text())):
            broken.append(target)
    assert not broken


def anchors_of(text: str) -> set[str]:
    """The anchors of a page's headings, as code hosts form them."""
    headings = re.findall(r"^#+ +(.+?)\s*$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def test_readme_leads_with_the_two_commands_and_has_an_example():
    blocks = blocks_of((ROOT / "README.md").read_text())
    commands = [
        command.split("#")[0].strip()
        for block in blocks
        if block.language != "python"
        for command in commands_of(block)
    ]
    assert commands[:2] == ["make run", "make test"]
    assert any(block.language == "python" and not block.skip for block in blocks)


def test_blocks_and_commands_are_read_as_documented():
    text = (
        "a\n```python\nx = 1\n```\n<!-- test: skip, needs a network -->\n```bash\n# note\nmake run \\\n  ARGS=1\n```\n"
    )
    python, bash = blocks_of(text)
    assert python == Block("python", "x = 1\n", 3)
    assert bash.skip == "needs a network" and [line.split() for line in commands_of(bash)] == [
        ["make", "run", "ARGS=1"]
    ]
    assert commands_of(Block("console", "$ make run\nDone\n", 1)) == ["make run"]
    assert anchors_of("# What `int8` changed, and why\n") == {"what-int8-changed-and-why"}


@pytest.mark.parametrize(
    "command",
    [
        "make fly",
        "pip install -e .[wings]",
        "python -m tfinv.run nonesuch",
        "python -m tfinv.run --list  # exit code 3",
        "pytest tests/test_nonesuch.py",
        "fly",
    ],
)
def test_wrong_commands_are_found(command, tmp_path):
    with pytest.raises(AssertionError):
        run_command(command, tmp_path)


def test_wrong_code_is_found_with_its_line(tmp_path):
    page = tmp_path / "page.md"
    with pytest.raises(ZeroDivisionError) as caught:
        run_python(Block("python", "x = 1\nx / 0\n", 41), {}, page)
    assert caught.traceback[-1].lineno + 1 == 42
    with pytest.raises(AssertionError, match="Expected"):
        run_python(Block("python", ">>> 1 + 1\n3\n", 1), {}, page)
