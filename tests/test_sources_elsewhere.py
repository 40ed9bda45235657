"""Models from elsewhere give the activations that the same network gives in Keras, and refuse what they cannot read."""

from __future__ import annotations

import importlib.util
import pickle
import re
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

import tfinv
from tfinv.activations import ActivationModel, OnnxModel, SavedModel, TorchModel
from tfinv.activations.steps import IMAGES, NetworkStep, first_channels, layer_names, summed_in_scope, told_layout
from tfinv.run import main

pytestmark = pytest.mark.usefixtures("undrawn")

HAS_ONNX = all(importlib.util.find_spec(name) for name in ("onnx", "onnxruntime"))
HAS_TORCH = importlib.util.find_spec("torch") is not None
needs_onnx = pytest.mark.skipif(not HAS_ONNX, reason="onnx and onnxruntime are not installed")
needs_export = pytest.mark.skipif(
    not HAS_ONNX or importlib.util.find_spec("tf2onnx") is None, reason="tf2onnx is not installed"
)
needs_torch = pytest.mark.skipif(not HAS_TORCH, reason="torch is not installed")
RNG = np.random.default_rng(0)
IMAGES_GIVEN = RNG.random((7, 12, 12, 3), "float32")
CLOSE = 1e-5


def network() -> keras.Model:
    """Two convolutions of the names that Keras gives, a sum, batch normalization and a classifier."""
    keras.utils.set_random_seed(4)
    layers = keras.layers
    inputs = keras.Input((12, 12, 3))
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name="conv2d")(inputs)
    y = layers.Conv2D(4, 3, padding="same", name="conv2d_1")(x)
    y = layers.BatchNormalization(name="norm")(layers.ReLU(name="relu")(y))
    x = layers.MaxPooling2D(name="pool")(layers.Add(name="sum")([x, y]))
    x = layers.Dense(8, activation="relu", name="hidden")(layers.Flatten(name="flat")(x))
    model = keras.Model(inputs, layers.Dense(3, activation="softmax", name="classes")(x), name="net")
    for weight in model.weights:
        if weight.path.split("/")[-1] in ("gamma", "moving_variance"):
            weight.assign(RNG.uniform(0.5, 2, weight.shape))
        elif weight.path.split("/")[-1] in ("bias", "beta", "moving_mean"):
            weight.assign(RNG.normal(size=weight.shape))
    return model


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return network()


@pytest.fixture(scope="module")
def folder(model: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "net"
    model.export(path, verbose=False)
    return path


def assert_same_units(source: Any, model: keras.Model, layers: list[str]) -> None:
    """Every unit of every layer, and the answers, within 1e-5 of the largest activation of the layer in Keras."""
    expected, found = ActivationModel(model)(IMAGES_GIVEN), source(IMAGES_GIVEN)
    assert list(found) == layers
    for name in layers:
        wanted = np.asarray(expected[name])
        assert found[name].dtype == np.float32
        np.testing.assert_allclose(found[name], wanted, atol=CLOSE * np.abs(wanted).max(), err_msg=name)
    np.testing.assert_allclose(source.predict(IMAGES_GIVEN), model.predict(IMAGES_GIVEN, verbose=0), atol=CLOSE)


def again_from(source: Any) -> Any:
    """A source as another process gets it."""
    return pickle.loads(pickle.dumps(source))  # noqa: S301


def assert_same_measure(source: Any, model: keras.Model) -> None:
    def measured(one: Any) -> dict[str, float]:
        results = tfinv.evaluate(one, IMAGES_GIVEN, "rotations(4)", "NormalizedVariance", progress=False)
        return dict(results.to_frame().set_index("layer")["mean"])

    expected, found = measured(model), measured(source)
    assert found == pytest.approx({name: expected[name] for name in found}, rel=CLOSE)


class TestSavedModel:
    def test_gives_the_activations_of_keras(self, model: keras.Model, folder: Path) -> None:
        source = SavedModel(folder)
        assert source.layer_shapes == ActivationModel(model).layer_shapes
        assert_same_units(source, model, list(ActivationModel(model).layer_shapes))
        assert_same_measure(source, model)
        assert source.output_layer == "classes" and source.outputs[0].activation == "softmax"
        assert source.layout == "nhwc"

    def test_resolves_what_keras_resolves(self, model: keras.Model, folder: Path) -> None:
        found, expected = SavedModel(folder).resolutions(IMAGES_GIVEN), ActivationModel(model).resolutions(IMAGES_GIVEN)
        for name in ("conv2d", "conv2d_1", "hidden", "pool"):
            assert found[name].relative == pytest.approx(expected[name].relative), name

    def test_one_operation_of_a_layer_can_be_chosen(self, model: keras.Model, folder: Path) -> None:
        source = SavedModel(folder, "conv2d/BiasAdd")
        conv = model.get_layer("conv2d")
        expected = keras.ops.conv(IMAGES_GIVEN, conv.kernel, padding="same") + conv.bias
        np.testing.assert_allclose(source(IMAGES_GIVEN)["conv2d/BiasAdd"], expected, atol=CLOSE)
        assert list(source.select("MaxPool").layer_shapes) == ["pool"]
        with pytest.raises(ValueError, match=r"layers must name layers of the model.*Did you mean 'pool'"):
            source.select("poool")

    def test_input_scale_and_any_number_of_images(self, model: keras.Model, folder: Path) -> None:
        scaled = SavedModel(folder, input_scale="-1..1")
        np.testing.assert_allclose(
            scaled.predict(IMAGES_GIVEN), model.predict(IMAGES_GIVEN * 2 - 1, verbose=0), atol=CLOSE
        )
        many = np.concatenate([IMAGES_GIVEN] * 10)
        np.testing.assert_array_equal(scaled(many)["hidden"][:7], scaled(IMAGES_GIVEN)["hidden"])
        assert scaled(IMAGES_GIVEN[:0])["conv2d"].shape == (0, 12, 12, 4)
        with pytest.raises(ValueError, match=r"images must lie in \[0, 1\]"):
            scaled(IMAGES_GIVEN * 255)
        with pytest.raises(ValueError, match=r"images must have the shape \(N, 12, 12, 3\)"):
            scaled(IMAGES_GIVEN[:, 1:])
        with pytest.raises(ValueError, match="images must be finite"):
            scaled(np.full_like(IMAGES_GIVEN, np.nan))

    def test_survives_pickling(self, folder: Path) -> None:
        source = SavedModel(folder, "hidden")
        again = again_from(source)
        assert again.id == source.id
        np.testing.assert_array_equal(again(IMAGES_GIVEN)["hidden"], source(IMAGES_GIVEN)["hidden"])


class Own(tf.Module):
    """A network that no Keras layer makes."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = tf.Variable(RNG.normal(size=(3, 3, 3, 4)).astype("float32"))

    @tf.function
    def __call__(self, images: Any) -> Any:
        return {"mean": tf.reduce_mean(tf.nn.relu(tf.nn.conv2d(images, self.kernel, 1, "VALID")), (1, 2))}


def saved(module: Own, folder: Path, *specs: tf.TensorSpec, sign: bool = True) -> Path:
    function = module.__call__.get_concrete_function(*specs)
    tf.saved_model.save(module, str(folder), signatures=function if sign else None)
    return folder


def spec(*shape: int | None, dtype: Any = tf.float32) -> tf.TensorSpec:
    return tf.TensorSpec(shape, dtype, "images")


def test_saved_model_without_a_signature_is_called_itself(tmp_path: Path) -> None:
    own = Own()
    source = SavedModel(saved(own, tmp_path, spec(None, 12, 12, 3), sign=False))
    assert source.layer_shapes == {"Conv2D": (10, 10, 4), "Relu": (10, 10, 4), "Mean": (4,)}
    np.testing.assert_allclose(source(IMAGES_GIVEN)["Mean"], own(IMAGES_GIVEN)["mean"], atol=CLOSE)
    np.testing.assert_allclose(source.predict(IMAGES_GIVEN), own(IMAGES_GIVEN)["mean"], atol=CLOSE)


def test_saved_model_of_a_fixed_batch_and_an_open_size(tmp_path: Path) -> None:
    own = Own()
    path = saved(own, tmp_path, spec(2, None, None, 3))
    with pytest.raises(ValueError, match=r"input_size must be given: .* \(None, None, 3\); --input-size"):
        SavedModel(path)
    source = SavedModel(path, input_size=(12, 12))
    assert source.input_shape == (12, 12, 3)
    np.testing.assert_allclose(source(IMAGES_GIVEN)["Mean"], own(IMAGES_GIVEN)["mean"], atol=CLOSE)
    with pytest.raises(ValueError, match="input_size must fit"):
        SavedModel(path, input_size=(0, 12))


def test_saved_models_that_cannot_be_measured(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(ValueError, match=r"path must name a folder with saved_model\.pb"):
        SavedModel(tmp_path)
    with pytest.raises(ValueError, match=r"signature must be one of .*'serving_default'.* Received: 'predict'"):
        SavedModel(folder, signature="predict")
    with pytest.raises(ValueError, match="input_size must be a size that the model leaves open"):
        SavedModel(folder, input_size=(12, 12))

    class Plain(tf.Module):
        @tf.function(input_signature=[spec(None, 4, 4, 3)])
        def run(self, images: Any) -> Any:
            return images * 2

        @tf.function(input_signature=[spec(None, 4, 4, 3), tf.TensorSpec((None, 1), name="age")])
        def two(self, images: Any, age: Any) -> Any:
            return images + age[:, None, None]

        @tf.function(input_signature=[spec(None, 4, 4, 3, dtype=tf.uint8)])
        def integers(self, images: Any) -> Any:
            return tf.cast(images, tf.float32)

    class Writing(tf.Module):
        @tf.function(input_signature=[spec(None, 4, 4, 3)])
        def writes(self, images: Any) -> Any:
            tf.io.write_file(str(tmp_path / "written"), "x")
            return images * 2

    plain = Plain()
    tf.saved_model.save(plain, str(tmp_path / "bare"), signatures={})
    with pytest.raises(ValueError, match=r"must have the signature serving_default.*signatures \(none\)"):
        SavedModel(tmp_path / "bare")
    for name, message in {
        "two": "one input of images, of rank 4; save a tf.function",
        "integers": "model must take real numbers; .* uint8",
        "writes": "model must not touch files or run Python.*WriteFile",
    }.items():
        module = Writing() if name == "writes" else plain
        tf.saved_model.save(module, str(tmp_path / name), signatures=getattr(module, name))
        with pytest.raises(ValueError, match=message):
            SavedModel(tmp_path / name)
    assert not (tmp_path / "written").exists()
    (tmp_path / "bare" / "saved_model.pb").write_bytes(b"no model")
    with pytest.raises(ValueError, match="path must name a readable SavedModel"):
        SavedModel(tmp_path / "bare")


@pytest.fixture(scope="module")
def file(model: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "net.onnx"
    model(np.zeros((1, 12, 12, 3), "float32"))
    model.export(path, format="onnx", verbose=False)
    return path


@needs_export
class TestExportedByKeras:
    def test_gives_the_activations_of_keras(self, model: keras.Model, file: Path) -> None:
        source = OnnxModel(file)
        assert_same_units(source, model, list(ActivationModel(model).layer_shapes))
        assert_same_measure(source, model)
        assert source.output_layer == "classes" and source.outputs[0].activation == "softmax"
        assert source.layout == "nhwc" and source.notes == ()

    @pytest.mark.slow
    def test_measure_takes_models_of_all_kinds(
        self, model: keras.Model, folder: Path, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        model.save(tmp_path / "net.keras")
        np.savez(tmp_path / "data.npz", x=IMAGES_GIVEN, y=np.arange(7) % 3)
        models = [str(tmp_path / "net.keras"), str(file), str(folder)]
        arguments = ["measure", "--model", *models, "--data", str(tmp_path / "data.npz"), "--quiet"]
        assert main([*arguments, "--transformations", "rotations(4)", "--out", str(tmp_path / "out")]) == 0
        assert "0 of 9 compared layers differs" in capsys.readouterr().out
        found = [tfinv.Results.load(path) for path in sorted((tmp_path / "out").glob("results-*.npz"))]
        profiles = [one.to_frame().set_index("layer")["mean"] for one in found]
        assert len(profiles) == 3
        for profile in profiles[1:]:
            np.testing.assert_allclose(profile[profiles[0].index], profiles[0], rtol=CLOSE)


@pytest.mark.slow
@needs_export
def test_a_real_network_has_the_same_layers_and_activations(data_folder: Path, tmp_path: Path) -> None:
    trained = tfinv.models.load(data_folder / "models" / "ic_resnet8" / "model.h5")
    images = RNG.random((16, 32, 32, 3), "float32") * 255
    trained(images[:1])
    trained.export(tmp_path / "saved", verbose=False)
    trained.export(tmp_path / "net.onnx", format="onnx", verbose=False)
    expected = {name: np.asarray(value) for name, value in ActivationModel(trained)(images).items()}
    assert len(expected) == 29
    for source in (SavedModel(tmp_path / "saved"), OnnxModel(tmp_path / "net.onnx")):
        found = source(images)
        assert found.keys() == expected.keys()
        for name, wanted in expected.items():
            np.testing.assert_allclose(found[name], wanted, atol=CLOSE * np.abs(wanted).max(), err_msg=name)


def small_onnx(path: Path, nodes: list[Any], shape: list[Any], weights: dict[str, NDArray[Any]], **how: Any) -> Path:
    """An ONNX file of these nodes, from `images` to `out`."""
    from onnx import TensorProto, helper, numpy_helper, save

    kind = how.get("dtype", TensorProto.FLOAT)
    inputs = [helper.make_tensor_value_info("images", kind, shape)]
    inputs += [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in how.get("more", ())]
    outputs = [helper.make_tensor_value_info("out", how.get("out", TensorProto.FLOAT), None)]
    held = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "net", inputs, outputs, held)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    save(helper.make_model(graph, ir_version=8, opset_imports=opsets), str(path))
    return path


KERNEL = RNG.normal(size=(4, 3, 3, 3)).astype("float32")


def convolved(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Independent of ONNX: a valid convolution of images with `KERNEL`, then ReLU, channels last."""
    windows = np.lib.stride_tricks.sliding_window_view(images.astype("float64"), (3, 3), axis=(1, 2))
    return np.maximum(np.einsum("nhwcij,ocij->nhwo", windows, KERNEL.astype("float64")), 0).astype("float32")


@needs_onnx
class TestOnnx:
    def nodes(self) -> list[Any]:
        from onnx import helper

        return [
            helper.make_node("Conv", ["images", "k"], ["c"], name="/conv/Conv"),
            helper.make_node("Relu", ["c"], ["r"], name="/conv/Relu"),
            helper.make_node("GlobalAveragePool", ["r"], ["p"], name="/pool/Pool"),
            helper.make_node("Flatten", ["p"], ["out"], name="/flat/Flatten"),
        ]

    def test_channels_first_become_last(self, tmp_path: Path) -> None:
        source = OnnxModel(small_onnx(tmp_path / "a.onnx", self.nodes(), ["n", 3, 12, 12], {"k": KERNEL}))
        assert source.layout == "nchw" and source.input_shape == (12, 12, 3)
        assert source.layer_shapes == {"conv": (10, 10, 4), "pool": (1, 1, 4), "flat": (4,)}
        found = source(IMAGES_GIVEN)
        np.testing.assert_allclose(found["conv"], convolved(IMAGES_GIVEN), atol=CLOSE)
        np.testing.assert_allclose(found["flat"], convolved(IMAGES_GIVEN).mean((1, 2)), atol=CLOSE)
        np.testing.assert_allclose(source.predict(IMAGES_GIVEN), found["flat"], atol=CLOSE)
        again = again_from(source.select("Relu"))
        np.testing.assert_array_equal(again(IMAGES_GIVEN)["conv"], found["conv"])

    def test_fixed_batch_and_open_size(self, tmp_path: Path) -> None:
        file = small_onnx(tmp_path / "b.onnx", self.nodes(), [2, 3, "h", "w"], {"k": KERNEL})
        with pytest.raises(ValueError, match="input_size must be given"):
            OnnxModel(file)
        source = OnnxModel(file, input_size=(12, 12))
        np.testing.assert_allclose(source(IMAGES_GIVEN)["conv"], convolved(IMAGES_GIVEN), atol=CLOSE)

    def test_class_numbers_name_the_scores_behind_them(self, tmp_path: Path) -> None:
        from onnx import TensorProto, helper

        nodes = self.nodes()
        nodes[-1] = helper.make_node("Flatten", ["p"], ["f"], name="/flat/Flatten")
        nodes.append(helper.make_node("ArgMax", ["f"], ["out"], axis=1, keepdims=0, name="/best"))
        file = small_onnx(tmp_path / "c.onnx", nodes, ["n", 3, 12, 12], {"k": KERNEL}, out=TensorProto.INT64)
        source = OnnxModel(file)
        assert source.output_layer == "flat" and source.outputs[0].dtype == "int64"
        np.testing.assert_array_equal(source.predict(IMAGES_GIVEN), convolved(IMAGES_GIVEN).mean((1, 2)).argmax(1))

    def test_images_that_a_file_rounds_are_no_layer(self, tmp_path: Path) -> None:
        from onnx import helper

        nodes = [
            helper.make_node("QuantizeLinear", ["images", "s", "z"], ["q"], name="quantize"),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"], name="dequantize"),
            helper.make_node("Conv", ["d", "k"], ["out"], name="conv"),
        ]
        weights = {"k": KERNEL, "s": np.array(1 / 255, "float32"), "z": np.array(0, "uint8")}
        source = OnnxModel(small_onnx(tmp_path / "q.onnx", nodes, ["n", 3, 12, 12], weights))
        assert list(source.layer_shapes) == ["conv"] and not source.skipped and not source.notes
        rounded = (np.round(IMAGES_GIVEN * 255) / 255).astype("float32")
        found = np.maximum(source(IMAGES_GIVEN)["conv"], 0)
        np.testing.assert_allclose(found, convolved(rounded), atol=CLOSE)

    def test_files_that_cannot_be_measured(self, tmp_path: Path) -> None:
        from onnx import TensorProto, helper

        weights = {"k": KERNEL}
        cases: dict[str, tuple[list[Any], list[Any], dict[str, Any]]] = {
            r"one input of images, of rank 4. Received: images \(None, 27\)": (self.nodes(), ["n", 27], {}),
            "one input of images, of rank 4; hold the others": (self.nodes(), ["n", 3, 12, 12], {"more": ["age"]}),
            "model must take real numbers.*tensor.uint8": (
                [helper.make_node("Cast", ["images"], ["x"], to=1), helper.make_node("Relu", ["x"], ["out"])],
                ["n", 3, 12, 12],
                {"dtype": TensorProto.UINT8},
            ),
            "ONNX Runtime runs.*Whirl.*custom operators: Whirl of mine": (
                [helper.make_node("Whirl", ["images"], ["out"], domain="mine")],
                ["n", 3, 12, 12],
                {},
            ),
        }
        for number, (message, (nodes, shape, how)) in enumerate(cases.items()):
            with pytest.raises(ValueError, match=message):
                OnnxModel(small_onnx(tmp_path / f"{number}.onnx", nodes, shape, weights, **how))
        with pytest.raises(ValueError, match="path must name an existing ONNX file"):
            OnnxModel(tmp_path / "none.onnx")
        (tmp_path / "damaged.onnx").write_bytes(b"no model at all")
        with pytest.raises(ValueError, match="path must name a"):
            OnnxModel(tmp_path / "damaged.onnx")


@needs_torch
class TestTorch:
    def twin(self, model: keras.Model) -> Any:
        """The same network in PyTorch, with a ReLU that works in place and is called three times."""
        import torch
        from torch import nn

        class Twin(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.conv2d, self.conv2d_1 = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
                self.norm, self.pool = nn.BatchNorm2d(4, eps=1e-3), nn.MaxPool2d(2)
                self.relu = nn.ReLU(inplace=True)
                self.hidden, self.scores = nn.Linear(144, 8), nn.Linear(8, 3)

            def forward(self, images: Any) -> Any:
                x = self.relu(self.conv2d(images))
                x = self.pool(x + self.norm(self.relu(self.conv2d_1(x))))
                x = self.relu(self.hidden(x.permute(0, 2, 3, 1).flatten(1)))
                return torch.softmax(self.scores(x), 1)

        def tensor(weight: Any, *order: int) -> Any:
            value = np.asarray(weight)
            return torch.from_numpy(np.ascontiguousarray(value.transpose(order) if order else value))

        twin = Twin()
        values = {}
        for name in ("conv2d", "conv2d_1", "hidden", "scores"):
            layer = model.get_layer("classes" if name == "scores" else name)
            order = (3, 2, 0, 1) if name.startswith("conv") else (1, 0)
            values |= {f"{name}.weight": tensor(layer.kernel, *order), f"{name}.bias": tensor(layer.bias)}
        norm = model.get_layer("norm")
        values |= {"norm.weight": tensor(norm.gamma), "norm.bias": tensor(norm.beta)}
        values |= {"norm.running_mean": tensor(norm.moving_mean), "norm.running_var": tensor(norm.moving_variance)}
        twin.load_state_dict({**twin.state_dict(), **values})
        return twin.eval()

    def test_gives_the_activations_of_keras(self, model: keras.Model) -> None:
        source = TorchModel(self.twin(model), (12, 12, 3))
        expected = {name: np.asarray(value) for name, value in ActivationModel(model)(IMAGES_GIVEN).items()}
        partners = {
            "relu@1": "conv2d",
            "conv2d_1": "conv2d_1",
            "relu@2": "relu",
            "norm": "norm",
            "pool": "pool",
            "relu@3": "hidden",
            "output": "classes",
        }
        found = source(IMAGES_GIVEN)
        others = {"conv2d", "hidden", "scores"}
        assert set(found) == others | set(partners) and list(found)[:3] == ["conv2d", "relu@1", "conv2d_1"]
        for name, partner in partners.items():
            wanted = expected[partner]
            np.testing.assert_allclose(found[name], wanted, atol=CLOSE * np.abs(wanted).max(), err_msg=name)
        assert found["conv2d"].min() < 0  # not overwritten by the ReLU in place
        np.testing.assert_allclose(source.predict(IMAGES_GIVEN), expected["classes"], atol=CLOSE)
        assert source.outputs[0].layer == "output" and source.layer_types["relu@2"] == "ReLU"
        measured = tfinv.evaluate(source, IMAGES_GIVEN, "rotations(4)", "NormalizedVariance", progress=False)
        in_keras = tfinv.evaluate(model, IMAGES_GIVEN, "rotations(4)", "NormalizedVariance", progress=False)
        mine, theirs = (one.to_frame().set_index("layer")["mean"] for one in (measured, in_keras))
        for name, partner in partners.items():
            assert mine[name] == pytest.approx(theirs[partner], rel=CLOSE), name

    def test_several_outputs_and_class_numbers(self) -> None:
        import torch

        class Two(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.conv = torch.nn.Conv2d(3, 2, 3)

            def forward(self, images: Any) -> Any:
                maps = self.conv(images)
                return {"maps": maps, "best": maps.mean((2, 3)).argmax(1)}

        source = TorchModel(Two().eval(), (12, 12, 3))
        found = source.predict(IMAGES_GIVEN)
        assert isinstance(found, dict) and [output.layer for output in source.outputs] == ["conv", ""]
        np.testing.assert_array_equal(found["output:maps"], source(IMAGES_GIVEN)["conv"])
        np.testing.assert_array_equal(found["output:best"], found["output:maps"].mean((1, 2)).argmax(1))

    def test_modules_that_cannot_be_measured(self) -> None:
        import torch

        net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.Dropout())
        with pytest.raises(ValueError, match=r"module must be in evaluation mode.*call module.eval\(\)"):
            TorchModel(net, (8, 8, 1))
        with pytest.raises(ValueError, match=r"module must run on inputs \(3, 3, 8, 8\).*expected input"):
            TorchModel(net.eval(), (8, 8, 3))
        with pytest.raises(TypeError, match=r"module must be a torch.nn.Module. Received: 'net.pt'"):
            TorchModel("net.pt", (8, 8, 1))
        with pytest.raises(ValueError, match=r"input_shape must be \(H, W, C\)"):
            TorchModel(net, (8, 8))
        source = TorchModel(net, (8, 8, 1))
        net.train()
        with pytest.raises(ValueError, match="module must be in evaluation mode"):
            source(np.zeros((2, 8, 8, 1), "float32"))


@pytest.mark.parametrize(
    ("package", "make"),
    [
        ("onnxruntime", lambda: OnnxModel("net.onnx")),
        ("onnx", lambda: OnnxModel("net.onnx")),
        ("torch", lambda: TorchModel(None, (8, 8, 1))),
    ],
)
def test_a_missing_package_is_named_with_what_to_install(
    package: str, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    extra = "torch" if package == "torch" else "onnx"
    if package == "onnxruntime" and not HAS_ONNX:
        pytest.skip("onnx is asked for first")
    with pytest.raises(ImportError, match=rf"need the package {package}: pip install 'tfinv\[{extra}\]'"):
        make()


def test_commands_say_which_models_they_take(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "data.npz", x=IMAGES_GIVEN)
    data = ["--data", str(tmp_path / "data.npz"), "--out", str(tmp_path / "out"), "--quiet"]
    (tmp_path / "net.pt").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    cases = {
        "a PyTorch file may run any Python.*TorchModel.*torch.onnx.export": [
            "measure",
            "--model",
            str(tmp_path / "net.pt"),
        ],
        "--input-size has no effect here": ["measure", "--model", str(folder), "--input-size", "12", "12"],
        "--layer-class has no effect here": ["measure", "--model", str(folder), "--layer-class", "A=Dense"],
        "--fixed-inputs takes models of Keras and TFLite": [
            *["measure", "--model", str(folder), "--fixed-inputs", str(tmp_path / "data.npz")]
        ],
        "compare takes two .tflite files; measure takes a SavedModel folder too": [
            *["compare", "--before", str(folder), "--after", "b.tflite"]
        ],
        "tflite takes a Keras model; measure takes an ONNX file too": ["tflite", "--model", "net.onnx"],
    }
    for message, arguments in cases.items():
        assert main([*arguments, *data]) != 0
        text = capsys.readouterr().err
        assert re.search(message, text), text


def test_scopes_are_layers() -> None:
    def steps(*paths: str) -> list[NetworkStep]:
        return [NetworkStep(path, path, "Op", (4,), ()) for path in paths]

    paths = ["net/a_1/Conv", "net/a_1/batchnorm/add", "net/a_1_2/Relu", "net/Mean"]
    assert layer_names(steps(*paths), by_keras=True)[1] == ["a", "a_1", "Mean"]
    assert layer_names(steps(*paths))[1] == ["a_1", "a_1_2", "Mean"]
    assert layer_names(steps("net/b_1/X", "net/b_2/X"), by_keras=True)[1] == ["b_1", "b_2"]
    assert layer_names(steps("X", "X", "a/Y", "b/Y"))[1] == ["X", "X@2", "a", "b"]


def test_channels_are_followed() -> None:
    conv = NetworkStep("c", "l/c", "Conv", (4, 8, 8), (IMAGES,), kernel=27, channels="nchw")
    add = NetworkStep("a", "l/a", "Add", (4, 8, 8), (0, 0))
    moved = NetworkStep("t", "t", "Transpose", (8, 8, 4), (1,), order=(0, 2, 3, 1), copies=True)
    after = NetworkStep("m", "m", "Mul", (8, 8, 4), (2,))
    assert first_channels([conv, add, moved, after], "nchw") == [True, True, False, False]
    assert told_layout([NetworkStep("t", "t", "T", (3, 8, 8), (IMAGES,), order=(0, 3, 1, 2))], (8, 8, 3)) == "nhwc"
    assert summed_in_scope([conv, add], 1) == 27 and summed_in_scope([conv, add, moved, after], 3) == 0
