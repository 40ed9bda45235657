"""Affine maps as data: exact composition and inverse for every image shape."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

Row = tuple[float, float, float, float]


@dataclass(frozen=True)
class Affine:
    """An affine map of image content, independent of the image's size and aspect.

    A point is given by pixel offsets `p = (x, y)` from the image centre, x to the right and y down. The map is

        p  ->  L p + (W/2) a + (H/2) b

    with the 2x2 linear part `L` and two offsets `a`, `b` counted in half widths and half heights. So a rotation is
    rigid on every aspect, a translation is a fraction of the width and the height, and both still compose and
    invert exactly on non-square images, which one 3x3 matrix in `[-1, 1]^2` cannot do.

    Example:
        >>> from tfinv.transformations import Affine
        >>> turn = Affine.rotation(90)
        >>> turn.compose(turn.inverse()) == Affine.identity()
        True

    Args:
        coefficients: `(L | a | b)`, two rows of four numbers. Use the constructors below rather than this.

    Raises:
        ValueError: the coefficients are not two rows of four finite numbers.
    """

    coefficients: tuple[Row, Row]

    def __post_init__(self) -> None:
        object.__setattr__(self, "coefficients", _rows(self.coefficients))

    @classmethod
    def identity(cls) -> Affine:
        """The map that moves nothing."""
        return cls(((1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0)))

    @classmethod
    def rotation(cls, degrees: float) -> Affine:
        """A rigid rotation about the centre; positive `degrees` turn the content counter-clockwise."""
        quarter_turns, remainder = divmod(finite_number("degrees", degrees), 90.0)
        cosine, sine = math.cos(math.radians(remainder)), math.sin(math.radians(remainder))
        for _ in range(int(quarter_turns) % 4):  # exact at multiples of 90 degrees
            cosine, sine = -sine, cosine
        return cls(((cosine, sine, 0.0, 0.0), (-sine, cosine, 0.0, 0.0)))

    @classmethod
    def scale(cls, sx: float, sy: float | None = None) -> Affine:
        """A scaling about the centre; factors above 1 magnify. `sy` defaults to `sx`.

        Raises:
            ValueError: a factor is zero or not finite. A negative factor is a `reflection` as well.
        """
        factors = (finite_number("sx", sx), finite_number("sy", sx if sy is None else sy))
        if 0.0 in factors:
            raise ValueError(f"sx and sy must not be zero. Received: sx={sx}, sy={sy}")
        return cls(((factors[0], 0.0, 0.0, 0.0), (0.0, factors[1], 0.0, 0.0)))

    @classmethod
    def translation(cls, tx: float, ty: float) -> Affine:
        """A shift by `tx` widths to the right and `ty` heights down."""
        return cls(((1.0, 0.0, 2 * finite_number("tx", tx), 0.0), (0.0, 1.0, 0.0, 2 * finite_number("ty", ty))))

    @classmethod
    def shear(cls, x_degrees: float, y_degrees: float = 0.0) -> Affine:
        """A shear: `x` moves by `tan(x_degrees) * y`, `y` by `tan(y_degrees) * x`."""
        x_slope = math.tan(math.radians(finite_number("x_degrees", x_degrees)))
        y_slope = math.tan(math.radians(finite_number("y_degrees", y_degrees)))
        return cls(((1.0, x_slope, 0.0, 0.0), (y_slope, 1.0, 0.0, 0.0)))

    @classmethod
    def reflection(cls, axis: str = "horizontal") -> Affine:
        """A mirror image: `"horizontal"` swaps left and right, `"vertical"` swaps top and bottom."""
        if axis not in ("horizontal", "vertical"):
            raise ValueError(f"axis must be 'horizontal' or 'vertical'. Received: {axis!r}")
        return cls.scale(-1.0, 1.0) if axis == "horizontal" else cls.scale(1.0, -1.0)

    @classmethod
    def from_matrix(cls, matrix: ArrayLike) -> Affine:
        """The map of a 3x3 matrix in `[-1, 1]^2` coordinates: its translation column counts half widths and heights.

        Raises:
            ValueError: not a 3x3 matrix with the last row `(0, 0, 1)`.
        """
        array = np.asarray(matrix)
        if array.shape != (3, 3) or array.dtype.kind not in "iuf" or array[2].tolist() != [0, 0, 1]:
            raise ValueError(f"matrix must be 3x3 with the last row (0, 0, 1). Received: {matrix!r}")
        (xx, xy, tx), (yx, yy, ty) = array[:2].tolist()
        return cls(((xx, xy, tx, 0.0), (yx, yy, 0.0, ty)))

    @property
    def matrix(self) -> NDArray[np.float64]:
        """The 3x3 matrix of the map on a square image, in normalized coordinates `[-1, 1]^2`, x right, y down."""
        return self.pixel_matrix(2.0, 2.0)

    def pixel_matrix(self, height: float, width: float) -> NDArray[np.float64]:
        """The 3x3 matrix of the map in pixel offsets from the centre of a `height` x `width` image."""
        matrix = np.eye(3)
        array = np.asarray(self.coefficients)
        matrix[:2, :2] = array[:, :2]
        matrix[:2, 2] = array[:, 2] * (width / 2) + array[:, 3] * (height / 2)
        return matrix

    def compose(self, then: Affine) -> Affine:
        """The map that does `self` first and `then` second: exactly what two warps in a row would do."""
        return Affine(_rows((then._homogeneous() @ self._homogeneous())[:2]))

    def inverse(self) -> Affine:
        """The exact inverse map.

        Raises:
            ValueError: the linear part is singular.
        """
        if not self.is_invertible:
            raise ValueError(f"This affine map cannot be inverted, its linear part is singular. Received: {self}")
        linear = np.asarray(self.coefficients)[:, :2]
        (a, b), (c, d) = linear
        inverse_linear = np.array([[d, -b], [-c, a]]) / (a * d - b * c)
        offsets = -inverse_linear @ np.asarray(self.coefficients)[:, 2:]
        return Affine(_rows(np.hstack([inverse_linear, offsets])))

    @property
    def determinant(self) -> float:
        """The factor by which the map changes areas."""
        (a, b, *_), (c, d, *_) = self.coefficients
        return a * d - b * c

    @property
    def is_invertible(self) -> bool:
        """Whether `inverse()` exists to working precision: the determinant is not lost in rounding."""
        largest = float(np.abs(np.asarray(self.coefficients)[:, :2]).max())
        return abs(self.determinant) > 1e-12 * largest**2

    @property
    def degrees(self) -> float:
        """The rotation angle in degrees, in (-180, 180], of the rotation nearest to the linear part."""
        (a, b, *_), (c, d, *_) = self.coefficients
        angle = math.degrees(math.atan2(b - c, a + d))
        return 180.0 if angle == -180.0 else angle + 0.0

    def _homogeneous(self) -> NDArray[np.float64]:
        return np.vstack([np.asarray(self.coefficients), np.eye(4)[2:]])

    def __str__(self) -> str:
        return f"Affine({self.coefficients})"


def sampling_matrices(
    transformations: Sequence[Affine], height: int, width: int, *, inverse: bool = False
) -> NDArray[np.float64]:
    """Matrices that give, for each output pixel index `(column, row)`, the input pixel index it is sampled from.

    A warp samples backwards, so this is the inverse of each map, moved from offsets from the centre to pixel indices.

    Args:
        transformations: `T` affine maps.
        height: rows of the image.
        width: columns of the image.
        inverse: sample for the inverse of each map instead.

    Returns:
        float64 array `(T, 3, 3)`.

    Raises:
        ValueError: a map is singular.
    """
    for transformation in transformations:
        if not transformation.is_invertible:
            raise ValueError(f"a warp needs maps that can be inverted. Received: {transformation}")
    backward = [transformation if inverse else transformation.inverse() for transformation in transformations]
    return np.stack(
        [on_pixels(transformation.pixel_matrix(height, width), height, width) for transformation in backward]
    )


def on_pixels(matrix: NDArray[np.float64], height: int, width: int) -> NDArray[np.float64]:
    """A 3x3 matrix on offsets from the centre of an image, as one on pixel indices `(column, row, 1)`."""
    to_centre = np.array([[1.0, 0.0, -(width - 1) / 2], [0.0, 1.0, -(height - 1) / 2], [0.0, 0.0, 1.0]])
    from_centre = np.array([[1.0, 0.0, (width - 1) / 2], [0.0, 1.0, (height - 1) / 2], [0.0, 0.0, 1.0]])
    return from_centre @ matrix @ to_centre


def _rows(values: Any) -> tuple[Row, Row]:
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, OverflowError):  # rows of different lengths
        array = np.empty(0)
    if array.shape != (2, 4) or array.dtype.kind not in "iuf" or not np.isfinite(array).all():
        raise ValueError(f"coefficients must be two rows of four finite numbers. Received: {values!r}")
    # Adding 0.0 turns -0.0 into 0.0, so that equal maps have equal text.
    (xx, xy, xw, xh), (yx, yy, yw, yh) = (array.astype(np.float64) + 0.0).tolist()
    return (xx, xy, xw, xh), (yx, yy, yw, yh)


def finite_number(name: str, value: Any) -> float:
    """`value` as a float, or an error that calls it `name`.

    Raises:
        TypeError: not a number.
        ValueError: NaN, infinite or too large.
    """
    if isinstance(value, (str, bytes, bool)):
        raise TypeError(f"{name} must be a number. Received: {value!r}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number. Received: {value!r}") from None
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite. Received: {value!r}")
    return number
