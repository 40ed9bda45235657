"""The job files of docs/scale.md: they can be read, and their options exist."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tfinv import run

PAGE = (Path(__file__).parents[1] / "docs" / "scale.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    lines = PAGE.replace("\\\n", " ")
    return sorted(set(re.findall(r"python -m tfinv\.run [a-z][^`\n]*", lines)))


def test_shell_is_shell():
    scripts = [*blocks("sh"), *blocks("bash")]
    assert len(scripts) >= 4
    for script in scripts:
        done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_the_job_of_ray_is_yaml_with_a_command_for_ray():
    yaml = pytest.importorskip("yaml")
    (job,) = (yaml.safe_load(block) for block in blocks("yaml"))
    assert job["kind"] == "RayJob" and "--workers ray" in job["spec"]["entrypoint"]
    cluster = job["spec"]["rayClusterSpec"]
    (workers,) = cluster["workerGroupSpecs"]
    assert workers["template"] == cluster["headGroupSpec"]["template"]
    assert workers["minReplicas"] <= workers["replicas"] <= workers["maxReplicas"]


def test_options_of_the_commands_exist(capsys):
    named: dict[str, set[str]] = {}
    for command in commands():
        words = shlex.split(command, comments=True)[3:]
        named.setdefault(words[0], set()).update(word for word in words if word.startswith("--"))
    assert {"measure", "merge", "compare", "initialisation"} <= set(named)
    for name, options in named.items():
        with pytest.raises(SystemExit):
            run.main([name, "--help"])
        known = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
        assert options <= known, name
