"""Files of different networks are refused early; files of one network with custom operators are compared."""

from __future__ import annotations

import copy
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from tflite_models import digits, plain_network, residual_network, trained

from tfinv.results import LayerResult, MeasureResult, Results
from tfinv.support.planes import from_planes, to_planes
from tfinv.tflite import Comparison, Subsets, TFLiteModel, compare_files, float32, match, static_int8, weight_int4
from tfinv.tflite.comparison.match_files import partner_share
from tfinv.tflite.files.flatbuffer import editable, pack, read_graph

NV = "NormalizedVariance"


def blurred(rng: np.random.Generator, array: np.ndarray, noise: float) -> np.ndarray:
    return array + noise * array.std() * rng.normal(size=array.shape)


def test_units_of_one_network_are_most_like_themselves(rng):
    """Units that share most of what they do correlate with all others: the mean says nothing, the partners do."""
    shared = rng.normal(size=(400, 1))
    one = shared + 0.5 * rng.normal(size=(400, 16))
    other = shared + 0.5 * rng.normal(size=(400, 16))
    from tfinv.tflite.comparison.match_files import correlation

    assert correlation(one, other) == pytest.approx(0.8, abs=0.05)
    assert partner_share(one, other) < 0.2
    assert partner_share(one, blurred(rng, one, 0.3)) == 1.0
    assert correlation(one, blurred(rng, one, 1.2)) < 0.7 and partner_share(one, blurred(rng, one, 1.2)) > 0.5
    constant = one.copy()
    constant[:, 1:] = 3.0
    assert np.isnan(partner_share(constant, one))


def test_networks_that_differ_by_their_seed_are_refused_before_anything_is_measured():
    import keras

    keras.utils.set_random_seed(21)
    images = digits()[0][:60]
    other = float32(residual_network())
    first = TFLiteModel(float32(trained(residual_network)))
    second = TFLiteModel(other)
    start = time.monotonic()
    with pytest.raises(ValueError, match=r"must be the same network. Received: files whose early layers correlate by"):
        compare_files(first, second, images, "rotations(16)", progress=False)
    assert time.monotonic() - start < 10


def test_files_that_share_few_layers_are_refused():
    first, second = (TFLiteModel(float32(trained(network))) for network in (residual_network, plain_network))
    with pytest.raises(ValueError, match=r"of 9 and 7 layers, of which \d have a partner .*at least 50%"):
        match(first, second)


def test_four_bit_weights_are_still_the_same_network():
    network = trained(residual_network)
    first, second = TFLiteModel(float32(network)), TFLiteModel(weight_int4(network))
    assert len(match(first, second, digits()[0][:32]).pairs) == len(first.layer_shapes)


def test_what_is_said_of_many_layers_is_said_once(monkeypatch):
    network = trained(plain_network)
    first, second = TFLiteModel(float32(network)), TFLiteModel(weight_int4(network))
    first.skipped = {f"layer_{number}": "its shape is not one array per image" for number in range(15)}
    comparison = compare_files(first, second, digits()[0][:12], "rotations(2)", measures=NV, progress=False)
    (said,) = [line for line in comparison.warnings if "not measured" in line]
    assert said.startswith("float32: not measured, its shape is not one array per image: layer_0, layer_1, ")
    assert max(Counter(comparison.warnings).values()) == 1


def test_a_file_with_custom_operators_is_compared_without_the_self_check(data_folder: Path):
    """`Convolution2DTransposeBias` of MediaPipe exists in XNNPACK alone."""
    path = data_folder / "models" / "mediapipe" / "selfie_segmentation.tflite"
    if not path.is_file():
        pytest.skip("the segmentation network of MediaPipe is not there")
    model = TFLiteModel(path, layers="CONV_2D")
    images = np.random.default_rng(0).random((4, *model.input_shape), dtype=np.float32)
    subsets = Subsets(measured_samples=None, fidelity_samples=1)
    comparison = compare_files(
        model, model, images, "rotations(2)", measures=NV, names=("a", "b"), subsets=subsets, progress=False
    )
    said = [line for line in comparison.warnings if "no self-check" in line]
    assert len(said) == 2 and "CUSTOM(Convolution2DTransposeBias)" in said[0]
    assert comparison.models["self_check"].tolist() == ["not run", "not run"]
    assert (comparison.layers["difference"].dropna() == 0).all() and len(comparison.layers) > 5


def with_detections(content: bytes, name: bytes, *, last: bool) -> bytes:
    """The file with a custom operator behind its output, or in front of all others."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    main, code = model.subgraphs[0], schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.customCode, code.version = name, 1
    model.operatorCodes.append(code)
    source = int(main.outputs[0] if last else main.inputs[0])
    tensor = copy.copy(main.tensors[source])
    tensor.name = b"detections"
    main.tensors.append(tensor)
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs = len(model.operatorCodes) - 1, [source]
    operator.outputs = [len(main.tensors) - 1]
    if last:
        main.operators.append(operator)
        main.outputs = operator.outputs
        for signature in model.signatureDefs:
            signature.outputs[0].tensorIndex = operator.outputs[0]
    else:
        for other in main.operators:
            other.inputs = [operator.outputs[0] if index == source else index for index in other.inputs]
        main.operators.insert(0, operator)
    return pack(model)


def test_what_comes_before_an_unknown_custom_operator_is_measured():
    whole = float32(trained(plain_network))
    images = digits()[0][:5]
    model = TFLiteModel(with_detections(whole.content, b"MyDetections", last=True))
    assert model.skipped == {
        "MyDetections": "the interpreter does not know this custom operator: what comes before it is measured"
    }
    assert model.select("logits").skipped == model.skipped
    expected = TFLiteModel(whole.content)(images)
    activations = model(images)
    assert list(activations) == list(expected)
    for layer, values in expected.items():
        np.testing.assert_array_equal(activations[layer], values)
    np.testing.assert_array_equal(model.predict(images), expected["logits"])


def test_a_file_that_begins_with_an_unknown_operator_is_refused_as_what_it_is():
    whole = float32(trained(plain_network)).content
    with pytest.raises(ValueError, match="Received: a file that begins with the custom operator 'MyInput'"):
        TFLiteModel(with_detections(whole, b"MyInput", last=False))
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(whole, 0))
    model.operatorCodes[0].builtinCode = 900
    assert "BUILTIN_900" in read_graph(pack(model)).histogram
    with pytest.raises(ValueError) as refusal:
        TFLiteModel(pack(model))
    assert "corrupt" not in str(refusal.value)


def wide(comparison: Comparison, units: int) -> Comparison:
    """The same comparison with one wide layer besides, of random values."""
    rng = np.random.default_rng(0)
    layer = LayerResult(rng.lognormal(sigma=0.3, size=units), np.zeros(units, np.uint8))

    def widened(results: Results) -> Results:
        measure = results[NV]
        return Results({NV: MeasureResult(NV, {**dict(measure.items()), "wide": layer}, measure.replicates)}, {})

    return replace(comparison, before=widened(comparison.before), after=widened(comparison.after))


def test_saved_comparisons_are_small_and_precise_by_choice(tmp_path):
    network = trained(plain_network)
    files: Any = float32(network), weight_int4(network)
    made = wide(compare_files(*files, digits()[0][:30], "rotations(2)", measures=NV, progress=False), 200_000)
    made.save(tmp_path / "small.npz")
    made.save(tmp_path / "full.npz", full_precision=True)
    sizes = [(tmp_path / f"{name}.npz").stat().st_size for name in ("small", "full")]
    # Two files of 200,000 values: 4 bytes each less a quarter of them, or 8 bytes less little.
    assert sizes[0] < 3.5 * 400_000 and sizes[1] > 2 * sizes[0]
    small, full = (Comparison.load(tmp_path / f"{name}.npz") for name in ("small", "full"))
    for layer in ("first_relu", "logits"):
        assert made.after[NV][layer].effective_samples is not None
        assert small.after[NV][layer].effective_samples is None
        np.testing.assert_array_equal(full.after[NV][layer].effective_samples, made.after[NV][layer].effective_samples)
    for layer in ("wide", "logits"):
        expected = made.after[NV][layer].values
        np.testing.assert_array_equal(full.after[NV][layer].values, expected)
        np.testing.assert_allclose(small.after[NV][layer].values, expected, rtol=6.1e-8)
        np.testing.assert_array_equal(small.after[NV][layer].status, made.after[NV][layer].status)
    ours, theirs = made.after[NV].replicates, small.after[NV].replicates
    assert ours is not None and theirs is not None
    np.testing.assert_array_equal(theirs.means["logits"], ours.means["logits"])


def test_planes_keep_every_float32():
    values = np.array([[0.0, -0.0, 1.0], [np.inf, -np.inf, 1e-45]], np.float32).astype(np.float64)
    back = from_planes(to_planes(values), (2, 3))
    np.testing.assert_array_equal(back, values)
    assert back.dtype == np.float64 and np.signbit(back[0, 1])
    assert np.isnan(from_planes(to_planes(np.array([np.nan])), (1,))).all()


def with_names(content: bytes, names: list[str]) -> bytes:
    """The file with other names of its activations, in their order."""
    model = editable(content)
    for index, name in zip(read_graph(content).activations, names, strict=True):
        model.subgraphs[0].tensors[index].name = name.encode()
    return pack(model)


def test_wrong_names_give_way_to_numbers_and_the_rest_is_explained():
    """A quantized file in which two layers of one shape carry the names of each other, and one layer is new."""
    import keras

    keras.utils.set_random_seed(3)
    inputs = keras.Input((12, 12, 1))
    first = keras.layers.Conv2D(4, 3, padding="same", name="first")(inputs)
    second = keras.layers.Conv2D(4, 3, padding="same", name="second")(first)
    logits = keras.layers.Dense(3, name="logits")(keras.layers.GlobalAveragePooling2D(name="mean")(second))
    network = keras.Model(inputs, logits)
    longer = keras.Model(inputs, keras.layers.Softmax(name="answer")(logits))
    images = np.random.default_rng(1).random((24, 12, 12, 1), np.float32)
    before = TFLiteModel(float32(network))
    after = static_int8(longer, images).content
    names = ["net/second/Conv2D", "net/first/Conv2D", "net/mean/Mean", "net/logits/MatMul", "net/answer/Softmax"]
    swapped = TFLiteModel(with_names(after, names))
    matched = match(before, swapped, images)
    assert matched.pairs == {"first": "second", "second": "first", "mean": "mean", "logits": "logits"}
    assert matched.how["first"] == matched.how["second"] == "numbers"
    assert min(matched.correlations.values()) > 0.95
    assert matched.unmatched_after == ("answer",)
    assert matched.reasons_after["answer"].startswith("SOFTMAX, the other file has no layer of its shape (3,) left")
    assert "matched by their numbers, not by name: first = second" in matched.describe()
    assert match(before, swapped).pairs["first"] == "first"  # names alone cannot tell
