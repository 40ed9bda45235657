"""Option objects of comparisons: what part of images and layers counts for what, and how it is sampled."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tfinv.activations.source import LayerChoice
from tfinv.evaluation.options import Sampling, checked
from tfinv.evaluation.planning import check_budget
from tfinv.outputs.base import OutputKind
from tfinv.support.checks import kind_of, layer_choice, whole_number
from tfinv.tflite.files.kernels import Kernels, kernel_sets

INTERVALS = Sampling(0.95)
"""How comparisons sample by default: with intervals by the jackknife over 20 parts of the images."""
FIDELITY_SAMPLES = 128
"""Images on which activations are compared number by number; every image counts under every transformation."""

KERNEL_SAMPLES = 100
"""Images on which kernel sets are compared: reference kernels take 10 to 60 times as long as XNNPACK."""


@dataclass(frozen=True)
class Subsets:
    """How many of the test images count for what, and which layers are measured.

    Example:
        >>> from tfinv.tflite import Subsets
        >>> Subsets(measured_samples=200)
        Subsets(max_samples=None, measured_samples=200, fidelity_samples=128, layers=None, memory_budget=None,
                kernels=None, kernel_samples=100, outputs=None)

    Args:
        max_samples: use a stratified subset of so many images, for predictions too; None for all.
        measured_samples: measure layers on a stratified subset of so many of them; None for all.
        fidelity_samples: compare activations number by number on so many images.
        layers: which layers of the first file, and their partners in the others: names, globs or operators; None for
            all.
        memory_budget: see `tfinv.evaluate`.
        kernels: kernel sets that compute the files, such as `"xnnpack,reference"`. All numbers are of the first, which
            is XNNPACK in a study; of several, answers and layers are compared with each other, file by file, see
            `compare_kernels`. None for XNNPACK.
        kernel_samples: compare kernel sets on a stratified subset of so many images.
        outputs: what the outputs of the first file mean, see `tfinv.output_change`; None to guess. Outputs that are no
            classes are measured on the images that layers are measured on.

    Raises:
        ValueError: a number that is not whole or too small, or an unknown kernel set.
    """

    max_samples: int | None = None
    measured_samples: int | None = 1000
    fidelity_samples: int = FIDELITY_SAMPLES
    layers: LayerChoice = None
    memory_budget: int | float | str | None = None
    kernels: Kernels = None
    kernel_samples: int = KERNEL_SAMPLES
    outputs: Any = None

    def __post_init__(self) -> None:
        for name in ("max_samples", "measured_samples"):
            if getattr(self, name) is not None:
                whole_number(name, getattr(self, name), 2)
        whole_number("fidelity_samples", self.fidelity_samples, 1)
        layer_choice(self.layers)
        if self.memory_budget is not None:
            check_budget(self.memory_budget)
        if self.kernels is not None:
            kind_of("kernels", self.kernels, (str, Iterable), "names of kernel sets")
        kernel_sets(self.kernels)
        if self.outputs is not None:
            kind_of("outputs", self.outputs, (str, OutputKind, Mapping), "a kind of output, or kinds by output")
        whole_number("kernel_samples", self.kernel_samples, 2)


SUBSETS = Subsets()
"""How many images count for what by default."""
ALL_MEASURED = Subsets(measured_samples=None)
"""The same, with layers measured on all images."""


def paired_sampling(sampling: Sampling | None) -> Sampling:
    """The sampling of models that are compared with each other.

    Raises:
        TypeError: something else than a `Sampling` or None.
        ValueError: options that comparisons do not have.
    """
    sampling = checked(Sampling, sampling)
    for name in ("stratified", "keep_statistics", "first_sample", "precision"):
        if getattr(sampling, name):
            raise ValueError(
                f"sampling of a comparison must not set {name}. Received: {name}={getattr(sampling, name)}"
            )
    return sampling
