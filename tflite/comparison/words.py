"""How verdicts write numbers, and how large a change is that is worth a word."""

from __future__ import annotations

MATERIAL = 0.02
"""A layer's relative change that counts as more than a trifle."""


def percent(value: float) -> str:
    """One decimal; two significant digits below one per cent.

    Example:
        >>> from tfinv.tflite.comparison.words import percent, signed
        >>> percent(0.1234), percent(0.00042), signed(0.1234)
        ('12.3 %', '0.042 %', '+12.3 %')
    """
    scaled = 100 * value
    return f"{scaled:.1f} %" if abs(scaled) >= 0.095 or scaled == 0 else f"{scaled:.2g} %"


def signed(value: float) -> str:
    """`percent` with a plus sign where there is an increase."""
    return ("+" if value > 0 else "") + percent(value)
