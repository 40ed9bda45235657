"""What gives activations: the protocols that every source of them fulfils."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tfinv.statistics.compiled.stored import Stored
    from tfinv.statistics.resolution import Resolution


class ImageError(ValueError):
    """A model fails on one of the images that it is given.

    Args:
        text: what is wrong, without the image.
        position: of the image, among those given.
    """

    def __init__(self, text: str, position: int) -> None:
        super().__init__(f"{text}, on image {position} of those given")
        self.text, self.position = text, position


LayerChoice = str | type | Sequence[str | type] | None


@runtime_checkable
class ActivationSource(Protocol):
    """Anything that gives activations for images: a Keras sub-model, a TFLite interpreter, a function of one's own.

    `layer_shapes` maps layer names in network order to unit shapes `*U`; `input_shape` is `(H, W, C)`; a call maps
    float32 images `(N, H, W, C)` to `{layer: float32 (N, *U)}`; `select` restricts the layers; `id` names the model.
    """

    @property
    def id(self) -> str: ...
    @property
    def input_shape(self) -> tuple[int, ...]: ...
    @property
    def layer_shapes(self) -> Mapping[str, tuple[int, ...]]: ...
    def select(self, layers: Any) -> ActivationSource: ...
    def __call__(self, images: NDArray[np.float32]) -> Mapping[str, Any]: ...


class Worker(Protocol):
    """Runs a model on a fixed number of images."""

    def run(self, images: NDArray[np.float32]) -> AbstractContextManager[Mapping[str, Stored]]:
        """Activations of images `(N, H, W, C)`, at most as many as the worker was made for, valid within the context.

        They are where the model left them, not copied. Different workers can run at the same time.

        Raises:
            ImageError: the model fails on an image.
            ValueError: a run does not end in time.
        """
        ...

    def stop(self) -> None:
        """Leave a run that another thread waits for."""
        ...


@runtime_checkable
class ResolvedSource(Protocol):
    """An `ActivationSource` that tells what its arithmetic can resolve."""

    def resolutions(self, images: NDArray[np.float32]) -> Mapping[str, Resolution]:
        """By layer the smallest variation that is more than rounding.

        Args:
            images: a few, `(N, H, W, C)`.
        """
        ...


@runtime_checkable
class StreamSource(Protocol):
    """An `ActivationSource` whose activations need not be copied."""

    def workers(self, count: int, images: int) -> Sequence[Worker]:
        """Workers that can run side by side, kept for the next call; none where the model cannot be run so.

        Args:
            count: how many.
            images: how many images each runs at a time.
        """
        ...

    @property
    def threads(self) -> int:
        """How many threads the model may use."""
        ...
