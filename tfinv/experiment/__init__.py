"""Experiments: a research question with its settings, the run that answers it, and networks made ahead by workers."""

from __future__ import annotations

from tfinv.experiment.description import PRESETS, Experiment, Finding, settings_line
from tfinv.experiment.running import Run, output_folder, run_experiment

__all__ = ["PRESETS", "Experiment", "Finding", "Run", "output_folder", "run_experiment", "settings_line"]
