"""Sizes of maps and receptive fields of chains of convolutions and poolings."""

from __future__ import annotations

from collections.abc import Iterable

from tfinv.support.checks import whole_number


def effective_kernel(kernel: int, dilation: int = 1) -> int:
    """Side of the square that a dilated kernel spans, `d (k - 1) + 1`."""
    return dilation * (kernel - 1) + 1


def conv_output_size(size: int, kernel: int, stride: int = 1, dilation: int = 1, padding: int = 0) -> int:
    r"""Side of the map that a convolution or a pooling makes, `floor((W + P - d (k - 1) - 1) / s) + 1`.

    Args:
        size: side `W` of its input.
        kernel: side `k` of the kernel or window.
        stride: `s`.
        dilation: `d`.
        padding: rows `P` added on both sides together, `2 p` where both sides get `p`.

    Raises:
        ValueError: a kernel that is larger than the padded input, or numbers below 1.
    """
    for name, value in (("size", size), ("kernel", kernel), ("stride", stride), ("dilation", dilation)):
        whole_number(name, value, 1)
    spare = size + padding - effective_kernel(kernel, dilation)
    if spare < 0:
        raise ValueError(
            f"kernel must fit into the padded input of {size + padding}. "
            f"Received: {kernel} with dilation {dilation}, which spans {effective_kernel(kernel, dilation)}"
        )
    return spare // stride + 1


def receptive_field(layers: Iterable[tuple[int, int, int]]) -> int:
    """Side of the square of input pixels that one position of the last layer sees.

        r = 1 + sum_l d_l (k_l - 1) s_1 ... s_{l-1}

    Args:
        layers: kernel, stride and dilation of each, first to last.
    """
    side, step = 1, 1
    for kernel, stride, dilation in layers:
        side += dilation * (kernel - 1) * step
        step *= stride
    return side


def two_convolutions(size: int, kernel: int, dilation: int = 1) -> dict[str, str]:
    """What `tutorial_cnn` sees, for a table: sides of its maps, the effective first kernel and the receptive field.

    Args:
        size: side of the image.
        kernel: side of both kernels.
        dilation: of the first convolution; both keep the size of their input.
    """
    sides = [size]
    for _ in range(2):
        sides.append(conv_output_size(sides[-1], 2, 2))
    return {
        "sides of the maps": " ".join(map(str, sides)),
        "effective first kernel": str(effective_kernel(kernel, dilation)),
        "receptive field": str(receptive_field(((kernel, 1, dilation), (2, 2, 1), (kernel, 1, 1), (2, 2, 1)))),
    }
