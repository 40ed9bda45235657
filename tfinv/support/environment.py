"""What a result was made with: versions, machine, revision."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

PACKAGES = (
    "tfinv",
    "tensorflow",
    "keras",
    "numpy",
    "pandas",
    "ai-edge-litert",
    "litert-quantizer",
    "tensorflow-model-optimization",
)


def describe() -> dict[str, Any]:
    """Versions of the packages, Python, the machine and the source revision, all JSON-able; imports nothing heavy."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "revision": _revision(),
        "packages": versions(*PACKAGES),
    }


def versions(*packages: str) -> dict[str, str]:
    """Installed version by package; packages that are not installed are left out."""
    installed = {}
    for package in packages:
        try:
            installed[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return installed


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _revision() -> str | None:
    """The source revision with `-dirty` where files differ from it; None outside a checkout."""
    try:
        return (
            subprocess.run(
                ["git", "describe", "--always", "--dirty", "--abbrev=12"],
                cwd=Path(__file__).parent,
                capture_output=True,
                text=True,
                timeout=10,
                check=True,
            ).stdout.strip()
            or None
        )
    except (OSError, subprocess.SubprocessError):
        return None
