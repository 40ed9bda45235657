"""Kernel sets of one `.tflite` file: what each computes, read with all tensors preserved; needs no second file."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from tflite_models import digits, residual_network

from tfinv.support.quiet import quiet
from tfinv.tflite import TFLiteModel, latency, static_int8
from tfinv.tflite.files import kernels as kernels_module
from tfinv.tflite.files.flatbuffer import editable, pack, read_graph
from tfinv.tflite.files.kernels import DEVICES, KERNELS, is_installed, kernel_sets
from tfinv.tflite.files.runners import new_runner

needs_tflm = pytest.mark.skipif(not is_installed("tflm"), reason="tflite-micro is not installed: tfinv[tflm]")
LITERT = ("xnnpack", "builtin", "reference")


@pytest.fixture(scope="module")
def images():
    return digits()[0][:4]


@pytest.fixture(scope="module")
def model(images):
    return TFLiteModel(static_int8(residual_network(), digits()[0][:50]), num_threads=1)


@pytest.fixture(scope="module")
def photos(data_folder):
    with np.load(data_folder / "cifar10" / "cifar10_train_first4000.npz") as stored:
        return stored["x"][:48].astype(np.float32) / 255


@pytest.fixture(scope="module")
def resnet(data_folder):
    return TFLiteModel(data_folder / "models/ic_resnet8/int8.tflite", input_scale="0..255", num_threads=1)


def alone(content: bytes, index: int) -> bytes:
    """The file with one tensor as its only output, so that nothing needs to be preserved to read it."""
    changed = editable(content)
    changed.subgraphs[0].outputs, changed.signatureDefs = [index], []
    return pack(changed)


def test_kernel_sets_are_read_and_refused():
    assert kernel_sets("reference,builtin") == ("reference", "builtin") and kernel_sets(["xnnpack"]) == ("xnnpack",)
    assert set(KERNELS) == set(DEVICES) == {"xnnpack", "builtin", "reference", "tflm"}
    with pytest.raises(ValueError, match=r"kernels must be among xnnpack, .* Did you mean 'reference'\? .*'refrence'"):
        kernel_sets("xnnpack,refrence")
    with pytest.raises(ValueError, match=r"several different ones. Received: 'xnnpack,xnnpack'"):
        kernel_sets("xnnpack,xnnpack")
    with pytest.raises(TypeError, match=r"kernels must be names of kernel sets. Received: 3"):
        kernel_sets([3])  # type: ignore[list-item]


def test_a_kernel_set_that_is_not_installed_says_what_to_install(monkeypatch, model):
    monkeypatch.setattr(kernels_module, "is_installed", lambda name: name != "tflm")
    with pytest.raises(ValueError, match=r"pip install 'tfinv\[tflm\]', or name reference, which stands in for it"):
        model.with_kernels("tflm")


@pytest.mark.parametrize("kernels", [*LITERT, pytest.param("tflm", marks=needs_tflm)])
def test_every_tensor_is_what_a_file_that_ends_there_gives(kernels, model, images):
    """The trap: unless all tensors are preserved, memory of one is used by another, and reads are silently wrong."""
    chosen = model.with_kernels(kernels)
    inputs = model.model_inputs(images)
    read = chosen(images)
    assert list(read) == list(model.layer_shapes) and chosen.metadata["kernels"] == kernels
    for layer, tensor in model.layer_tensors.items():
        cut = new_runner(read_graph(alone(model.graph.content, tensor.index)), 1, 1, kernels=kernels, preserve=False)
        assert_array_equal(cut.read(inputs, {"it": tensor.index})["it"], read[layer], layer)
    assert chosen.self_check(images).passed


def test_kernels_are_told_and_timed(model):
    reference = model.with_kernels("reference")
    assert reference.with_kernels("reference") is reference and model.kernels == "xnnpack"
    assert "XNNPACK" in model.metadata["delegate"] and reference.metadata["delegate"] == "reference kernels"
    assert latency(reference, repeats=2, warm_up=0).delegate == "reference kernels"
    with pytest.raises(ValueError, match=r"kernels of a model must be one kernel set. Received: 'xnnpack,builtin'"):
        model.with_kernels("xnnpack,builtin")


def test_a_copy_for_another_process_keeps_its_kernels(model, images):
    reference = model.with_kernels("reference")
    copied = pickle.loads(pickle.dumps(reference))  # noqa: S301
    assert copied.runner.delegate == "reference kernels"
    assert_array_equal(copied(images)["logits"], reference(images)["logits"])


def test_interpreters_side_by_side_use_the_kernels_of_the_model(model, images):
    """The engine runs interpreters of its own where it can."""
    for kernels in ("reference", "xnnpack"):
        chosen = model.with_kernels(kernels)
        _, worker = chosen.workers(2, len(images))
        with worker.run(images) as stored:
            values = stored["logits"].real().copy()
        assert_array_equal(values, chosen(images)["logits"])
    assert np.abs(model(images)["logits"] - model.with_kernels("reference")(images)["logits"]).max() > 0


def test_lines_that_end_as_on_a_serial_console_are_kept():
    with quiet() as log:
        print("first\r\nprogress 1\rprogress 2\r\n")
    assert log.text == "first\nprogress 2"


@pytest.mark.parametrize(("kernels", "wrong"), [("builtin", 6), ("reference", 10)])
def test_without_preserved_tensors_resnet_is_read_wrongly(kernels, wrong, resnet, photos):
    inputs = resnet.model_inputs(photos[:1])
    wanted = {layer: tensor.index for layer, tensor in resnet.layer_tensors.items()}
    kept, bare = (
        new_runner(resnet.graph, 1, 1, kernels=kernels, preserve=preserve).read(inputs, wanted)
        for preserve in (True, False)
    )
    assert sum(not np.array_equal(kept[layer], bare[layer]) for layer in wanted) == wrong


@needs_tflm
def test_tflm_equals_reference_but_for_the_integer_dense_layer(resnet, data_folder, photos):
    steps = _steps(resnet, photos, "reference", "tflm")
    unequal = {layer for layer, found in steps.items() if found.any()}
    assert unequal <= {"dense", "softmax"} and "dense" in unequal
    assert steps["dense"].max() == 1
    per_image = steps["dense"].reshape(len(photos), -1).any(axis=1)
    assert 0.05 < per_image.mean() < 0.30, "16 % of 400 images"
    assert steps["softmax"].max() <= 6
    answers = [resnet.with_kernels(kernels).predict(photos).argmax(1) for kernels in ("reference", "tflm")]
    assert_array_equal(*answers)
    float_file = TFLiteModel(data_folder / "models/ic_resnet8/float.tflite", input_scale="0..255", num_threads=1)
    first, second = (float_file.with_kernels(kernels)(photos[:4]) for kernels in ("reference", "tflm"))
    for layer in first:
        assert_array_equal(first[layer], second[layer], layer)


@needs_tflm
def test_tflm_equals_reference_on_the_wake_word_file(data_folder, rng):
    model = TFLiteModel(data_folder / "models/vww_mobilenet_v1/int8.tflite", num_threads=1)
    steps = _steps(model, rng.random((4, 96, 96, 3), "float32"), "reference", "tflm")
    unequal = {layer: int(found.max()) for layer, found in steps.items() if found.any()}
    dense = [layer for layer, kind in model.layer_ops.items() if kind == "FULLY_CONNECTED"]
    assert set(unequal) <= {*dense, list(model.layer_ops)[-1]} and all(
        unequal[layer] <= 1 for layer in dense if layer in unequal
    )


@needs_tflm
def test_tflm_refuses_in_its_own_words_in_one_line(data_folder):
    path = data_folder / "models/coral/mobilenet_v1_0.25_128_quant.tflite"
    with pytest.raises(ValueError, match=r"TFLM refuses this model: .*Hybrid models are not supported") as refused:
        TFLiteModel(path).with_kernels("tflm")
    assert "\n" not in str(refused.value)


@needs_tflm
def test_tflm_runs_small_files_and_any_number_of_images(images):
    """The package's default memory, ten times the file, is too small for a small file with large images."""
    import keras

    inputs = keras.Input((96, 96, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3, name="conv")(inputs))
    large = np.random.default_rng(0).random((5, 96, 96, 3), "float32")
    model = TFLiteModel(static_int8(keras.Model(inputs, keras.layers.Dense(3)(x)), large), num_threads=1)
    micro = model.with_kernels("tflm")
    assert micro.batch_size == 1 and micro.threads == 1
    assert_array_equal(micro(large)["conv"], model.with_kernels("reference")(large)["conv"])
    assert latency(micro, repeats=2, warm_up=0).delegate == "TensorFlow Lite for Microcontrollers"


def _steps(model, images, first: str, second: str) -> dict:
    """By layer how many steps of its integers two kernel sets differ by."""
    one, other = (model.with_kernels(kernels)(images) for kernels in (first, second))
    scales = {layer: float(tensor.scales[0]) for layer, tensor in model.layer_tensors.items()}
    return {layer: np.rint(np.abs(one[layer] - other[layer]) / scales[layer]).astype(int) for layer in one}
