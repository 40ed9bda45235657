"""What floating-point arithmetic can resolve: variation below it is rounding, so the unit is constant."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

EPSILON = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}
"""Distance from 1 to the next number, by type; integers are exact."""
ROUNDINGS = 2
"""Standard deviation allowed for besides that of a sum, in units of epsilon: that of about fifty roundings."""

SMALLEST = 2.0**-55
"""Smallest standard deviation that sums of squares in float32 hold with about four digits: TensorFlow takes squares
below 2^-126 for zero, and a sum loses those of small deviations long before it is zero itself."""
LARGEST = 2.0**50
"""Largest activation whose sums of squares in float32 stay finite."""


def largest_size(array: NDArray[np.number]) -> float:
    """The largest absolute value, 0 of an empty array; nothing of the array's size is allocated."""
    return max(float(array.max()), -float(array.min())) if array.size else 0.0


def check_size(argument: str, array: NDArray[np.number], place: str = "", way_out: str = "") -> None:
    """Refuse numbers whose squares float32 cannot sum; NaN and infinity are refused elsewhere.

    Args:
        argument: what to call the array in the error.
        array: of any shape.
        place: where the number stands, such as `" in layer 'conv'"`.
        way_out: what to do, such as `", or float64"`.

    Raises:
        ValueError: a number above `LARGEST` in size.
    """
    largest = largest_size(array)
    if LARGEST < largest < np.inf:
        raise ValueError(f"{argument} must be at most {LARGEST:.0e} in size{way_out}. Received: {largest:.0e}{place}")


class Resolution(NamedTuple):
    """The smallest standard deviation that means something, unit by unit.

        r(a) = max(relative |mean(a)|, absolute)

    Args:
        relative: as a share of the size of the activation.
        absolute: whatever the size of the activation, which may be what remains when larger numbers cancel.
    """

    relative: float = 0.0
    absolute: float = 0.0

    def of(self, size: NDArray[np.floating]) -> NDArray[np.float64]:
        """`r` of activations of this size, the same shape.

        Args:
            size: means of the units.
        """
        return np.maximum(self.relative * np.abs(np.asarray(size, np.float64)), self.absolute)

    def in_float32(self) -> Resolution:
        """That of activations whose squares are summed in float32; exact ones stay exact."""
        return Resolution(self.relative, max(self.absolute, SMALLEST)) if self.relative else self


EXACT = Resolution()
"""All variation means something."""


class Unresolved(NamedTuple):
    """Which units vary by rounding alone; both bool `(*U)`.

    Args:
        samples: over samples; transformations may move the unit.
        all: over samples and transformations.
    """

    samples: NDArray[np.bool_]
    all: NDArray[np.bool_]

    def of_units(self, units: NDArray[np.intp], shape: tuple[int, ...]) -> Unresolved:
        """Of some units, by their flat numbers, in another shape."""
        samples, everything = (array.reshape(-1)[units].reshape(shape) for array in self)
        return Unresolved(samples, everything)


def relative_resolution(dtype: str, summed: int = 1) -> float:
    """`2 eps + eps' sqrt(n)`: roundings of a sum of `n` terms add up like a random walk.

    `eps` is that of the type; `eps'` is that of the sum, which is at least of float32 where the type is shorter.

    Args:
        dtype: name of the type that the layer computes in; 0 for integers.
        summed: `n`, how many terms make up one activation.
    """
    epsilon = EPSILON.get(dtype, 0.0)
    return ROUNDINGS * epsilon + min(epsilon, EPSILON["float32"]) * float(np.sqrt(summed))


@dataclass(frozen=True)
class Computed:
    """What one step of a network gives for a few images.

    Args:
        name: of the step.
        value: `(N, *U)`, in whatever type holds its numbers.
        dtype: name of the type that it is computed in.
        inputs: positions of the steps that it reads, in the list of all.
        kernel: how many weights make up one activation; 0 for a step without weights.
    """

    name: str
    value: NDArray[np.floating]
    dtype: str
    inputs: tuple[int, ...] = ()
    kernel: int = 0


def check_activations(layer: str, values: NDArray[np.number]) -> None:
    """Refuse activations that are too large, see `check_size`."""
    check_size("activations", values, f" in layer {layer!r}", "; scale what the layer gives, or choose other layers")


def resolutions(steps: Sequence[Computed], measured: Collection[str] = ()) -> dict[str, Resolution]:
    """The resolution of every step of a network.

    A step without weights that makes few numbers of many, such as a mean over positions, can cancel numbers much
    larger than what it gives: its absolute resolution is the relative one of the numbers that it reads. A step that
    reads nothing but rounding gives rounding.

    Args:
        steps: in the order in which they run.
        measured: names of the steps whose activations are measured.

    Raises:
        ValueError: activations that are measured and too large for sums of squares.
    """
    for step in steps:
        if step.name in measured:
            check_activations(step.name, step.value)
    epsilons: list[str] = []
    known: list[Resolution] = []
    noise: list[float] = []
    with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is refused elsewhere
        for step in steps:
            exact = step.dtype not in EPSILON
            coarsest = max(
                [step.dtype, *(epsilons[read] for read in step.inputs)], key=lambda name: EPSILON.get(name, 0.0)
            )
            sources = [steps[read].value for read in step.inputs]
            many = max((source.size for source in sources), default=0) / max(step.value.size, 1)
            relative = 0.0 if exact else relative_resolution(coarsest, step.kernel or max(1, round(many)))
            reduces = not step.kernel and many > 1
            sizes = [relative * _typical(source) for source in sources if reduces]
            resolution = Resolution(relative, max([0.0, *sizes, *(noise[read] for read in step.inputs if not exact)]))
            values = np.asarray(step.value, np.float64)
            bound = resolution.of(values.mean(axis=0))
            is_noise = len(values) > 1 and bool((values.std(axis=0) <= bound).all()) and bool((bound > 0).any())
            epsilons.append(step.dtype if exact else coarsest)
            known.append(resolution)
            noise.append(float(bound.max()) if is_noise else 0.0)
    return {step.name: resolution for step, resolution in zip(steps, known, strict=True)}


def _typical(values: NDArray[np.floating]) -> float:
    """Median over channels of the root mean square."""
    squares = np.square(np.asarray(values, np.float64))
    return float(np.median(np.sqrt(squares.mean(axis=tuple(range(squares.ndim - 1))))))
