"""A PyTorch module as a source of activations, through forward hooks."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.activations.foreign import End, ForeignModel, Network, Runs
from tfinv.activations.foreign_inputs import needed
from tfinv.activations.input_scale import InputScale
from tfinv.activations.layout import Layout, as_inputs, checked_layout
from tfinv.activations.source import LayerChoice
from tfinv.activations.steps import IMAGES, NetworkStep
from tfinv.support.checks import kind_of, whole_number
from tfinv.support.faults import SHOWN, one_line
from tfinv.support.guarded import guarded

if TYPE_CHECKING:
    from numpy.typing import NDArray

Module = Any
"""A `torch.nn.Module`."""
TorchTensor = Any
"""A `torch.Tensor`."""
_FIRST = ("AdaptiveAvgPool", "AdaptiveMaxPool", "AvgPool", "BatchNorm", "Conv", "GroupNorm", "InstanceNorm", "MaxPool")
"""How the names of modules begin that have channels first."""
_LAST = ("LayerNorm", "Linear", "RMSNorm")
_COPIES = ("Dropout", "Dropout2d", "Identity")
_OUTPUT = "output"
_TRIED = 3
"""Images of the run that tells shapes."""


@guarded()
class TorchModel(ForeignModel):
    """A PyTorch module that gives the activations of its layers; needs `pip install 'tfinv[torch]'`.

    Layers are the modules without modules inside, under PyTorch's names (`features.0`). The calls of a module that is
    called several times are `relu@1`, `relu@2`. Functions such as `torch.nn.functional.relu` are no modules, and nobody
    sees what they give, except at the end of a larger module: that is a layer under this module's name, and `output`
    at the end of the network.

    Example:
        >>> import torch  # doctest: +SKIP
        >>> from tfinv.activations import TorchModel  # doctest: +SKIP
        >>> net = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(inplace=True))  # doctest: +SKIP
        >>> TorchModel(net.eval(), (8, 8, 1)).layer_shapes  # doctest: +SKIP
        {'0': (6, 6, 4), '1': (6, 6, 4)}

    Args:
        module: the module, in evaluation mode.
        input_shape: `(H, W, C)` of the images, channels last.
        layers: which layers: a name, a glob such as `"features.*"`, a class such as `"Conv2d"`, or several; None for
            all.
        input_scale: what becomes of images in [0, 1] before the model sees them, see `tfinv.tflite.TFLiteModel`.
        layout: where the module has the channels of its images: first, unless it is `"nhwc"`.

    Raises:
        ImportError: PyTorch is not installed.
        TypeError: not a PyTorch module.
        ValueError: a module in training mode, one that does not run on such images, or an unknown layer.
    """

    def __init__(
        self,
        module: Module,
        input_shape: Sequence[int],
        layers: LayerChoice = None,
        *,
        input_scale: str | Sequence[Any] | InputScale = "0..1",
        layout: Layout | None = None,
    ) -> None:
        torch = needed("torch", "torch", "PyTorch modules")
        kind_of("module", module, torch.nn.Module, "a torch.nn.Module")
        layout = checked_layout(layout) or "nchw"
        kind_of("input_shape", input_shape, (tuple, list), "(H, W, C)")
        if len(input_shape) != 3:
            raise ValueError(f"input_shape must be (H, W, C). Received: {tuple(input_shape)}")
        shape = as_inputs([whole_number("input_shape", size, 1) for size in input_shape], layout)
        self.module = module
        trace = _trace(module, np.zeros((_TRIED, *shape), np.float32), whole=True)
        steps, skipped = _steps(trace)
        places = {step.key: position for position, step in enumerate(steps)}
        ends = []
        for name, key, tensor in trace.ends:
            shape_of_end = tuple(tensor.shape[1:])
            ends.append(End(name, places.get(key, IMAGES), shape_of_end, str(tensor.dtype).removeprefix("torch.")))
        network = Network(_id(module), shape, None, steps, ends, skipped)
        super().__init__(network, layers, input_scale, layout)

    def _prepare(self, keys: tuple[str, ...] | None) -> Runs:
        def compute(inputs: NDArray[np.float32]) -> list[NDArray[Any]]:
            trace = _trace(self.module, inputs, keys=keys)
            found = [tensor for _, _, tensor in trace.ends] if keys is None else [trace.tensors[key] for key in keys]
            return [_array(tensor) for tensor in found]

        return compute


class _Trace:
    """What one run of a module gives: tensors by key in the order in which they come, and where each comes from."""

    def __init__(self) -> None:
        self.tensors: dict[str, TorchTensor] = {}
        self.kinds: dict[str, Module] = {}
        self.reads: dict[str, tuple[str, ...]] = {}
        self.odd: dict[str, str] = {}
        self.ends: list[tuple[str, str, TorchTensor]] = []
        self.makers: dict[int, str] = {}
        """The key of the last module that gave a tensor, by the tensor's `id`; what they name is kept alive."""
        self.alive: list[TorchTensor] = []
        self.calls: Counter[str] = Counter()


def _trace(
    module: Module, inputs: NDArray[np.float32], *, keys: tuple[str, ...] | None = None, whole: bool = False
) -> _Trace:
    """Run a module on inputs as it takes them, and keep what its layers give.

    Args:
        module: the module.
        inputs: `(N, ...)`.
        keys: of the tensors to keep; None for none.
        whole: keep all.
    """
    import torch  # pyright: ignore[reportMissingImports]

    _check_mode(module)
    trace = _Trace()
    wanted = None if whole else frozenset(keys or ())
    first = next((value for value in module.parameters() if value.is_floating_point()), None)
    given = torch.from_numpy(np.ascontiguousarray(inputs))
    given = given if first is None else given.to(first.device, first.dtype)
    try:
        with _hooked(module, trace, wanted, whole or bool(keys)), torch.inference_mode():
            outputs = module(given)
    except Exception as error:  # a module is code of the user's own
        raise ValueError(
            f"module must run on inputs {tuple(given.shape)}, of the input_shape that was given. Received: "
            f"{type(error).__name__}: {one_line(error, SHOWN)}"
        ) from error
    named = list(_tensors(_OUTPUT, outputs))
    if not named:
        raise ValueError(f"module must give tensors. Received: {type(outputs).__name__}")
    for name, tensor in named:
        trace.ends.append((name, trace.makers.get(id(tensor), name), tensor))
    return trace


@contextmanager
def _hooked(module: Module, trace: _Trace, wanted: frozenset[str] | None, active: bool) -> Iterator[None]:
    """Hooks on every module that write into a trace, removed at the end."""
    handles = []
    if active:
        for name, part in module.named_modules():
            handles.append(part.register_forward_hook(_hook(trace, name or _OUTPUT, wanted, not [*part.children()])))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _hook(trace: _Trace, name: str, wanted: frozenset[str] | None, leaf: bool) -> Callable[..., None]:
    def hook(part: Module, given: Any, outputs: Any) -> None:
        found = list(_tensors(name, outputs))
        if not found and leaf:
            trace.odd[name] = f"it gives no tensor but {type(outputs).__name__}"
        if not leaf:  # what the last module inside gave is known; what a function made of it is not
            found = [(label, tensor) for label, tensor in found if id(tensor) not in trace.makers]
            if not found:
                return
        trace.calls[name] += 1
        reads = tuple(trace.makers.get(id(one), "") for _, one in _tensors("", given))
        for label, tensor in found:
            key = f"{label}@{trace.calls[name]}"
            trace.makers[id(tensor)] = key
            trace.alive.append(tensor)
            if wanted is None or key in wanted:
                # A copy, because a module that works in place overwrites what the one before it gave.
                trace.tensors[key] = tensor.detach().clone()
                trace.kinds[key], trace.reads[key] = part, reads

    return hook


def _tensors(name: str, value: Any) -> Iterator[tuple[str, TorchTensor]]:
    """The tensors of an output, by name: of several `name:0`, `name:1`, or `name:key`."""
    import torch  # pyright: ignore[reportMissingImports]

    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, (list, tuple, Mapping)):
        parts = value.items() if isinstance(value, Mapping) else enumerate(value)
        for label, part in parts:
            yield from _tensors(f"{name}:{label}", part)


def _steps(trace: _Trace) -> tuple[list[NetworkStep], dict[str, str]]:
    """The real tensors, and what cannot be measured and why."""
    calls = Counter(key.rpartition("@")[0] for key in trace.tensors)
    steps: list[NetworkStep] = []
    skipped = dict(trace.odd)
    places: dict[str, int] = {}
    for key, tensor in trace.tensors.items():
        base = key.rpartition("@")[0]
        name, part, shape = (base if calls[base] == 1 else key), trace.kinds[key], tuple(tensor.shape)
        if not tensor.is_floating_point():
            skipped[name] = f"it holds no real numbers but {tensor.dtype}, such as class numbers"
            continue
        if len(shape) < 2 or shape[0] != _TRIED:
            skipped[name] = f"its shape {shape} is not one array per image of a batch of {_TRIED}"
            continue
        kind = type(part).__name__
        reads = tuple(places[read] for read in trace.reads[key] if read in places)
        step = NetworkStep(key, name.replace("/", "."), kind, shape[1:], reads or (IMAGES,), _kernel(part))
        channels: Layout | None = "nhwc" if kind.startswith(_LAST) else "nchw" if kind.startswith(_FIRST) else None
        dtype = str(tensor.dtype).removeprefix("torch.")
        # What reads the output of a function is taken to have channels first, as PyTorch's modules do.
        unknown = not reads and len(shape) == 4 and places
        places[key] = len(steps)
        steps.append(replace(step, channels=channels or ("nchw" if unknown else None), dtype=dtype))
    return steps, skipped


def _kernel(part: Module) -> int:
    """How many weights make up one activation."""
    weight = getattr(part, "weight", None)
    shape = () if weight is None else tuple(weight.shape)
    return int(np.prod(shape[1:])) if len(shape) > 1 and "Transpose" not in type(part).__name__ else 0


def _array(tensor: TorchTensor) -> NDArray[Any]:
    import torch  # pyright: ignore[reportMissingImports]

    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def _check_mode(module: Module) -> None:
    training = [name or type(module).__name__ for name, part in module.named_modules() if part.training]
    if training:
        more = f" and {len(training) - 1} more" if len(training) > 1 else ""
        raise ValueError(
            "module must be in evaluation mode, or dropout and batch normalization answer otherwise than in use: call "
            f"module.eval(). Received: {training[0]}{more} in training mode"
        )


def _id(module: Module) -> str:
    """Class of the module, and a hash of its weights."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(_array(value).tobytes())
    return f"{type(module).__name__}-{digest.hexdigest()[:12]}"
