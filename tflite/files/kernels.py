"""Which code computes a `.tflite` file: the kernel sets, what they stand for, and whether they are installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Sequence

from tfinv.support.checks import close_match, kind_of, received

XNNPACK, BUILTIN, REFERENCE, TFLM = "xnnpack", "builtin", "reference", "tflm"
KERNELS: dict[str, str] = {
    XNNPACK: "what LiteRT runs unless told otherwise, on phones and computers",
    BUILTIN: "LiteRT's optimized kernels without XNNPACK, for phones and computers that switch XNNPACK off",
    REFERENCE: "LiteRT's plain loops, the definition of what an operator computes; they stand in for a microcontroller",
    TFLM: "TensorFlow Lite for Microcontrollers, as it runs on a microcontroller without a vendor's own kernels",
}
"""The kernel sets, and what each stands for."""
DEVICES: dict[str, str] = {
    XNNPACK: "phone",
    BUILTIN: "phone without XNNPACK",
    REFERENCE: "stand-in for a microcontroller",
    TFLM: "microcontroller",
}
"""The device that a number of each kernel set belongs to."""
SLOW = (REFERENCE, TFLM)
"""Kernel sets that take 10 to 60 times as long as XNNPACK."""
DEFAULT = (XNNPACK,)

Kernels = str | Sequence[str] | None
"""One kernel set, several with commas between them, or a sequence; None for XNNPACK alone."""


def kernel_sets(kernels: Kernels) -> tuple[str, ...]:
    """The named kernel sets, checked.

    Example:
        >>> from tfinv.tflite.files.kernels import kernel_sets
        >>> kernel_sets("xnnpack, reference"), kernel_sets(None)
        (('xnnpack', 'reference'), ('xnnpack',))

    Args:
        kernels: names with commas between them, a sequence of names, or None for `("xnnpack",)`.

    Raises:
        TypeError: neither text nor a sequence of texts.
        ValueError: no name, an unknown or repeated one, or one that is not installed.
    """
    if kernels is None:
        return DEFAULT
    kind_of("kernels", kernels, (str, Iterable), "names of kernel sets")
    names = [name.strip() for name in kernels.split(",")] if isinstance(kernels, str) else list(kernels)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"kernels must be names of kernel sets. Received: {received(name)}")
        if name not in KERNELS:
            hint = close_match(name, KERNELS)
            raise ValueError(f"kernels must be among {', '.join(KERNELS)}.{hint} Received: {name!r}")
    if not names or len(set(names)) < len(names):
        raise ValueError(f"kernels must name one kernel set or several different ones. Received: {kernels!r}")
    for name in names:
        check_installed(name)
    return tuple(names)


def is_installed(name: str) -> bool:
    """Whether a kernel set can run here."""
    return name != TFLM or importlib.util.find_spec("tflite_micro") is not None


def check_installed(name: str) -> None:
    """Refuse a kernel set that cannot run here.

    Raises:
        ValueError: it is not installed, with what to install.
    """
    if not is_installed(name):
        raise ValueError(
            "kernels tflm needs the package tflite-micro: pip install 'tfinv[tflm]', or name reference, which stands "
            "in for it. Received: 'tflm'"
        )
