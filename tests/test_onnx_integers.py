"""Quantized ONNX files are measured as the integers that the runtime computes: against NumPy and the float network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import tfinv
from tfinv.activations import OnnxModel

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

RNG = np.random.default_rng(0)
IMAGES = RNG.random((6, 12, 12, 3), "float32")
LAYERS = ["conv1", "conv2", "sum", "pool", "mean", "flat", "logits"]
FORMATS = ["QDQ", "QOperator"]
Arrays = dict[str, NDArray[Any]]


def float_file(path: Path) -> Path:
    """Two convolutions with a shortcut, pooling and a classifier, channels first."""
    from onnx import helper, numpy_helper

    shapes = {"k1": (4, 3, 3, 3), "b1": (4,), "k2": (4, 4, 3, 3), "b2": (4,), "w": (3, 4), "bw": (3,)}
    weights = [numpy_helper.from_array(0.3 * RNG.normal(size=s).astype("float32"), name) for name, s in shapes.items()]
    nodes = [
        helper.make_node("Conv", ["images", "k1", "b1"], ["c1"], name="/conv1/Conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"], name="/conv1/Relu"),
        helper.make_node("Conv", ["r1", "k2", "b2"], ["c2"], name="/conv2/Conv", pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["c2", "r1"], ["s"], name="/sum/Add"),
        helper.make_node("MaxPool", ["s"], ["m"], name="/pool/MaxPool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("GlobalAveragePool", ["m"], ["p"], name="/mean/Pool"),
        helper.make_node("Flatten", ["p"], ["f"], name="/flat/Flatten"),
        helper.make_node("Gemm", ["f", "w", "bw"], ["out"], name="/logits/Gemm", transB=1),
    ]
    ends = [helper.make_tensor_value_info(*end) for end in (("images", 1, ["n", 3, 12, 12]), ("out", 1, ["n", 3]))]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], weights)
    onnx.save(helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)]), str(path))
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_dynamic,
        quantize_static,
    )

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.batches = iter([{"images": IMAGES.transpose(0, 3, 1, 2)}])

        def get_next(self) -> Any:
            return next(self.batches, None)

    folder = tmp_path_factory.mktemp("onnx")
    made = {"float": float_file(folder / "float.onnx")}
    for kind in FORMATS:
        for numbers in ("QUInt8", "QInt8"):
            made[f"{kind}-{numbers}"] = path = folder / f"{kind}-{numbers}.onnx"
            quantize_static(
                str(made["float"]), str(path), Reader(), quant_format=getattr(QuantFormat, kind),
                weight_type=QuantType.QInt8, per_channel=numbers == "QInt8",
                activation_type=getattr(QuantType, numbers),
            )  # fmt: skip
    made["dynamic"] = folder / "dynamic.onnx"
    quantize_dynamic(str(made["float"]), str(made["dynamic"]))
    return made


def constants(path: Path) -> Arrays:
    from onnx import numpy_helper

    return {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(str(path)).graph.initializer}


def windows(x: NDArray[Any], fill: Any) -> NDArray[Any]:
    """Of `(N, H, W, C)` all 3x3 windows `(N, H, W, C, 3, 3)`, filled at the borders."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=fill)
    return np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))


def quantized(x: NDArray[Any], scale: Any, zero: NDArray[Any]) -> NDArray[np.int64]:
    limits = np.iinfo(zero.dtype)
    return np.clip(np.round(x / scale) + int(zero), limits.min, limits.max).astype(np.int64)


@pytest.mark.parametrize("numbers", ["QUInt8", "QInt8"])
@pytest.mark.parametrize("kind", FORMATS)
def test_a_convolution_is_what_numpy_computes_from_the_integers(files, kind, numbers):
    path = files[f"{kind}-{numbers}"]
    held, source = constants(path), OnnxModel(path)
    images = quantized(IMAGES, held["images_scale"], held["images_zero_point"])
    scale, zero = (held.get(f"r1_{part}", held.get(f"c1_{part}")) for part in ("scale", "zero_point"))
    kernel = held["k1_quantized"].astype(np.int64) - held["k1_zero_point"].astype(np.int64).reshape(-1, 1, 1, 1)
    sums = np.einsum("nhwcij,ocij->nhwo", windows(images - int(held["images_zero_point"]), 0), kernel)
    sums += held["b1_quantized"].astype(np.int64)
    expected = quantized(sums * (held["images_scale"] * held["k1_scale"].astype(np.float64)), scale, zero)
    found = source(IMAGES)["conv1"] / scale + float(zero)
    assert np.abs(found - np.round(found)).max() < 1e-3, "integers times the scale"
    apart = np.abs(np.round(found) - expected)
    assert apart.max() <= 1 and (apart > 0).mean() < 0.001, "ties may be rounded to the other side"
    assert len(np.unique(expected)) > 50


@pytest.mark.parametrize("numbers", ["QUInt8", "QInt8"])
@pytest.mark.parametrize("kind", FORMATS)
def test_every_layer_is_the_float_operation_within_a_step(files, kind, numbers):
    path = files[f"{kind}-{numbers}"]
    held, source = constants(path), OnnxModel(path)
    assert list(source.layer_shapes) == list(OnnxModel(files["float"]).layer_shapes) == LAYERS
    assert not source.skipped and source.output_layer == "logits" and source.notes == ()
    found = {name: value.astype(np.float64) for name, value in source(IMAGES).items()}
    zeros = {name: held[f"{name}_zero_point"].astype(np.float64) for name in ("k2", "w")}
    kernel = (held["k2_quantized"] - zeros["k2"].reshape(-1, 1, 1, 1)) * held["k2_scale"].reshape(-1, 1, 1, 1)
    bias = held["b2_quantized"] * constants(files["float"])["b2"].dtype.type(1)
    read = held.get("r1_scale", held.get("c1_scale"))
    bias = bias * (read * held["k2_scale"].reshape(-1))
    second = np.einsum("nhwcij,ocij->nhwo", windows(found["conv1"], 0), kernel) + bias
    pooled = found["sum"].reshape(6, 6, 2, 6, 2, 4).max(axis=(2, 4))
    weight = held["w_quantized"].T if held["w_quantized"].shape == (4, 3) else held["w_quantized"]
    weight = (weight - zeros["w"].reshape(-1, 1)) * held["w_scale"].reshape(-1, 1)
    last = found["flat"] @ weight.T + held["bw_quantized"] * held["p_scale"] * held["w_scale"].reshape(-1)
    limits = {"conv2": "c2", "sum": "s", "mean": "p", "logits": "out"}
    wanted = {"conv2": second, "sum": found["conv1"] + found["conv2"], "mean": pooled.mean(axis=(1, 2), keepdims=True)}
    wanted["logits"] = last
    np.testing.assert_array_equal(found["pool"], pooled)
    np.testing.assert_array_equal(found["flat"], found["mean"].reshape(6, 4))
    for name, value in wanted.items():
        scale, zero = held[f"{limits[name]}_scale"], held[f"{limits[name]}_zero_point"]
        ends = np.iinfo(zero.dtype)
        low, high = ((end - float(zero)) * float(scale) for end in (ends.min, ends.max))
        apart = np.abs(found[name] - np.clip(value, low, high)).max()
        assert apart <= 1.01 * scale, (name, apart, scale)
        assert found[name].std() > scale, name


@pytest.mark.parametrize("kind", FORMATS)
def test_what_is_measured_is_what_the_file_answers(files, kind):
    source = OnnxModel(files[f"{kind}-QUInt8"])
    np.testing.assert_array_equal(source(IMAGES)["logits"], source.predict(IMAGES))
    resolution = source.resolutions(IMAGES)
    assert all(resolution[name].relative == 0 for name in ("conv1", "conv2", "sum")), "integers are exact"
    assert source.layer_types["conv1"] == ("Conv" if kind == "QDQ" else "QLinearConv")
    found = tfinv.evaluate(source, IMAGES, "rotations(4)", "NormalizedVariance", progress=False)
    of_float = tfinv.evaluate(OnnxModel(files["float"]), IMAGES, "rotations(4)", "NormalizedVariance", progress=False)
    for name in LAYERS[:3]:
        assert found["NormalizedVariance"][name].mean == pytest.approx(
            of_float["NormalizedVariance"][name].mean, rel=0.1
        )


def test_reading_layers_leaves_the_runtime_its_integer_operators(files, tmp_path, monkeypatch):
    """In the format QDQ the integer operators are made by the runtime, unless a real number between them is read."""
    import onnxruntime

    options = onnxruntime.SessionOptions

    def noted() -> Any:
        made = options()
        made.optimized_model_filepath = str(tmp_path / "optimized.onnx")
        return made

    source = OnnxModel(files["QDQ-QUInt8"])
    monkeypatch.setattr(onnxruntime, "SessionOptions", noted)
    source(IMAGES)
    kinds = [node.op_type for node in onnx.load(str(tmp_path / "optimized.onnx")).graph.node]
    assert kinds.count("QLinearConv") == 2 and "QLinearAdd" in kinds and "Conv" not in kinds


def test_scales_chosen_while_it_runs_do_not_mix_images(files):
    source = OnnxModel(files["dynamic"])
    assert source.network.batch == 1 and "one image at a time" in source.notes[0]
    together, alone = source(IMAGES), source(IMAGES[3:4])
    np.testing.assert_array_equal(together["sum"][3:4], alone["sum"])
    assert "int32" in source.skipped["/conv1/Conv_quant"]
