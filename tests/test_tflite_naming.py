"""Names of layers in TFLite files, their map to Keras layers, and the pairing of two files."""

from __future__ import annotations

import numpy as np
import pytest
from tflite_models import digits, plain_network, residual_network, trained

from tfinv.activations import ActivationModel
from tfinv.activations.keras_graph import layer_values
from tfinv.tflite import LayerMap, TFLiteModel, float16, float32, layer_map, match, static_int8, weight_int4
from tfinv.tflite.comparison.match_files import correlation
from tfinv.tflite.files.flatbuffer import read_graph
from tfinv.tflite.files.tensor_names import base_name, mentions, short_names

LAYERS = ["stem_relu", "pool", "depthwise_relu", "point_norm", "sum_relu", "wide", "average", "hidden_relu", "logits"]


@pytest.fixture(scope="module")
def network():
    return trained(residual_network)


@pytest.fixture(scope="module")
def float_file(network):
    return float32(network)


@pytest.fixture(scope="module")
def images():
    return digits()[0][1400:1440]


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("net/relu/Relu", "net/relu/Relu"),
        ("PartitionedCall:0_dequant", "PartitionedCall:0"),
        ("serving_default_image:0_quantized", "serving_default_image:0"),
        ("Identity_int8", "Identity"),
        ("net/int8_layer/Relu", "net/int8_layer/Relu"),
    ],
)
def test_base_name(name, base):
    assert base_name(name) == base


@pytest.mark.parametrize(
    ("name", "path", "expected"),
    [
        ("net_1/relu_1/Relu;net_1/conv_1/convolution", "relu", True),
        ("net_1/relu_1/Relu;net_1/conv_1/convolution", "conv", True),
        ("model/quant_conv/Conv2D", "conv", True),
        ("net_1/inner_1/conv_1/convolution", "inner/conv", True),
        ("net_1/inner_1/conv_1/convolution", "other/conv", False),
        ("net_1/norm_1/batchnorm/add_1", "add", False),  # the last part is an operation, no layer
        ("net_1/re_lu_1_2/Relu", "re_lu_1", True),
        ("net_1/conv_transpose_1/conv", "conv", False),
    ],
)
def test_mentions(name, path, expected):
    assert mentions(name, path) is expected


def test_short_names_without_the_keras_model(network, float_file):
    """The file alone tells what survives fusion, in every storage type."""
    images, _ = digits()
    conversions = [float_file, float16(network), weight_int4(network), static_int8(network, images[:50])]
    for conversion in conversions:
        names = short_names(conversion.graph)
        assert list(names) == LAYERS
        for layer, index in conversion.layers.matched.items():
            assert names[layer] == index


def test_layer_map_tells_what_became_of_every_layer(network, float_file):
    layers = float_file.layers
    assert list(layers.matched) == LAYERS
    assert layers.fused_into == {
        "stem": "stem_relu",
        "stem_norm": "stem_relu",
        "depthwise": "depthwise_relu",
        "depthwise_norm": "depthwise_relu",
        "point": "point_norm",
        "sum": "sum_relu",
        "hidden": "hidden_relu",
    }
    assert layers.same_as == {"dropout": "average"}
    assert (layers.inner, layers.unmatched_layers, layers.unmatched_tensors) == ({}, (), ())
    assert set(layers.agreement) == set(LAYERS) and min(layers.agreement.values()) > 100
    told = {*layers.matched, *layers.fused_into, *layers.same_as}
    assert told == {layer.name for layer in network.layers} - {"image"}
    assert "stem_norm is fused into stem_relu" in layers.describe()


def test_layer_map_survives_storage(float_file):
    import json

    stored = json.loads(json.dumps(float_file.layers.to_json()))
    assert LayerMap.from_json(stored) == float_file.layers
    assert list(LayerMap.from_json(stored).matched) == LAYERS
    with pytest.raises(ValueError, match="fields of a LayerMap"):
        LayerMap.from_json({"matched": []})


def test_layer_map_of_shared_nested_and_composite_layers():
    import keras

    layers = keras.layers
    inner_inputs = keras.Input((8, 8, 4))
    x = layers.ReLU(name="inside")(layers.Conv2D(4, 3, padding="same", name="bend")(inner_inputs))
    inner = keras.Model(inner_inputs, x, name="inner")
    shared = layers.ReLU(name="shared")
    inputs = keras.Input((8, 8, 3))
    x = inner(shared(layers.Conv2D(4, 1, name="stem")(inputs)))
    x = shared(layers.Conv2D(4, 3, name="conv")(x))
    x = layers.Activation("swish", name="swish")(layers.Dropout(0.3, name="drop")(x))
    x = layers.Dense(5, activation="softmax", name="classes")(layers.Flatten(name="flat")(x))
    mapped = float32(keras.Model(inputs, x, name="outer")).layers
    assert list(mapped.matched) == ["shared@1", "inner/inside", "shared@2", "swish", "flat", "classes"]
    assert mapped.fused_into == {"stem": "shared@1", "inner/bend": "inner/inside", "conv": "shared@2"}
    assert mapped.same_as == {"drop": "shared@2"}
    assert set(mapped.inner.values()) == {"swish", "classes"}
    assert not mapped.unmatched_layers and not mapped.unmatched_tensors


def test_blocks_may_repeat_their_inner_names():
    import keras

    def block(name):
        inputs = keras.Input((8, 8, 4))
        x = keras.layers.Conv2D(4, 3, padding="same", name="conv")(inputs)
        return keras.Model(inputs, keras.layers.ReLU(name="relu")(x), name=name)

    inputs = keras.Input((8, 8, 4))
    x = block("two")(block("one")(inputs))
    layers = float32(keras.Model(inputs, keras.layers.GlobalMaxPooling2D(name="top")(x))).layers
    assert list(layers.matched) == ["one/relu", "two/relu", "top"]
    assert layers.fused_into == {"one/conv": "one/relu", "two/conv": "two/relu"}


def test_layer_values_are_those_of_the_activation_model():
    """Same names, same values, random layers at rest."""
    import keras

    layers = keras.layers
    body = keras.Sequential(
        [keras.Input((6, 6, 2)), layers.Conv2D(3, 1, name="conv"), layers.ReLU(name="relu")], name="body"
    )
    shared = layers.ReLU(name="shared")
    inputs = keras.Input((6, 6, 2))
    x = shared(layers.RandomRotation(0.2, name="turn")(inputs))
    x = layers.Concatenate(name="join")([shared(body(x)), layers.Dropout(0.5, name="drop")(x)])
    model = keras.Model(inputs, layers.GlobalMaxPooling2D(name="top")(x) + 1.0)
    images = np.random.default_rng(0).normal(size=(3, 6, 6, 2)).astype(np.float32)
    calls = layer_values(model, images)
    expected = ActivationModel(model)(images)
    assert [call.name for call in calls] == list(expected)
    for call in calls:
        np.testing.assert_allclose(call.value, np.asarray(expected[call.name]), atol=1e-6, err_msg=call.name)
    by_name = {call.name: call for call in calls}
    assert [calls[i].name for i in by_name["join"].inputs] == ["shared@2", "drop"]
    assert by_name["turn"].inputs == ()


def test_steps_inside_a_layer_are_no_layers():
    import keras

    inputs = keras.Input((4, 4, 2))
    x = keras.layers.Activation("swish", name="swish")(keras.layers.Conv2D(3, 1, name="conv")(inputs))
    conversion = float32(keras.Model(inputs, keras.layers.GlobalMaxPooling2D(name="top")(x)))
    assert list(TFLiteModel(conversion).layer_shapes) == ["conv", "swish", "top"]
    alone = TFLiteModel(conversion.content)
    assert list(alone.layer_ops.items()) == [
        ("conv", "CONV_2D"),
        ("swish/logistic", "LOGISTIC"),
        ("swish", "MUL"),
        ("top", "REDUCE_MAX"),
    ]


def test_automatic_layer_names_that_collide_are_told_apart():
    """Keras calls the scopes of `re_lu` and `re_lu_1` `re_lu_1` and `re_lu_1_2`."""
    import keras

    keras.backend.clear_session()
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.ReLU()(keras.layers.Conv2D(3, 3)(inputs))
    x = keras.layers.ReLU()(keras.layers.Conv2D(3, 3)(x))
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x))
    layers = float32(model).layers
    assert list(layers.matched) == ["re_lu", "re_lu_1", "global_average_pooling2d"]
    assert layers.fused_into == {"conv2d": "re_lu", "conv2d_1": "re_lu_1"}
    assert min(layers.agreement.values()) > 100


def test_match_of_float_and_quantized(network, float_file, images):
    for conversion in (static_int8(network, digits()[0][:100]), weight_int4(network)):
        matched = match(float_file, conversion, images)
        assert matched.pairs == {name: name for name in LAYERS}
        assert set(matched.how.values()) == {"name"}
        assert matched.unmatched_before == matched.unmatched_after == ()
        assert set(matched.correlations) == set(LAYERS)
        assert min(matched.correlations.values()) > 0.8
        assert matched.describe() == "9 layers matched"


def test_match_after_equalization(images):
    """The scale of the channels changed, the network did not."""
    network = trained(plain_network)
    balanced = static_int8(network, digits()[0][:100], equalize=True)
    matched = match(float32(network), balanced, images)
    assert min(matched.correlations.values()) > 0.99


def test_match_by_order_when_names_are_gone(float_file, network, images):
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(weight_int4(network).content, 0))
    for number, tensor in enumerate(model.subgraphs[0].tensors):
        tensor.name = f"t{number}".encode()
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    nameless = TFLiteModel(bytes(builder.Output()))
    assert not set(nameless.layer_shapes) & set(LAYERS)
    matched = match(float_file, nameless, images)
    assert list(matched.pairs) == LAYERS
    assert set(matched.how.values()) == {"order"}
    index = {name: tensor.index for name, tensor in nameless.layer_tensors.items()}
    assert [index[other] for other in matched.pairs.values()] == [float_file.layers.matched[name] for name in LAYERS]
    assert min(matched.correlations.values()) > 0.8


def test_match_by_order_pairs_layers_of_one_shape():
    """The second file lacks the narrow convolution, and calls the wide one otherwise."""
    import keras

    def small(**filters: int) -> bytes:
        x = inputs = keras.Input((8, 8, 1))
        for name, count in filters.items():
            x = keras.layers.Conv2D(count, 3, padding="same", name=name)(x)
        x = keras.layers.GlobalMaxPooling2D(name="top")(x)
        return float32(keras.Model(inputs, keras.layers.Dense(3, name="logits")(x))).content

    matched = match(small(narrow=4, wide=8), small(other=8))
    assert matched.pairs == {"wide": "other", "top": "top", "logits": "logits"}
    assert matched.how == {"wide": "order", "top": "name", "logits": "name"}
    assert (matched.unmatched_before, matched.unmatched_after) == (("narrow",), ())


def test_match_lists_what_has_no_partner(network, float_file, images):
    import keras

    longer = keras.Model(
        network.inputs, keras.layers.Softmax(name="probabilities")(network.outputs[0]), name="residual"
    )
    matched = match(float_file, float32(longer), images)
    assert list(matched.pairs) == LAYERS
    assert (matched.unmatched_before, matched.unmatched_after) == ((), ("probabilities",))
    assert "only in the second file: probabilities" in matched.describe()


def test_different_networks_are_refused(network, float_file, images):
    other = float32(trained(residual_network, "residual of another seed"))
    with pytest.raises(ValueError, match="before and after must be the same network"):
        match(float_file, other, images)
    assert len(match(float_file, other).pairs) == len(LAYERS)  # names and order alone cannot tell
    with pytest.raises(ValueError, match="check that both take the same input scale"):
        match(float_file, TFLiteModel(float_file, input_scale=(0.9, 0.001)), images)


def test_files_without_common_ground_are_refused(float_file):
    import keras

    small = keras.Input((8, 8, 1))
    other_shape = float32(keras.Model(small, keras.layers.Conv2D(2, 3, name="conv")(small)))
    with pytest.raises(ValueError, match=r"images of one shape. Received: \(16, 16, 1\) and \(8, 8, 1\)"):
        match(float_file, other_shape)
    same = keras.Input((16, 16, 1))
    nothing_shared = float32(keras.Model(same, keras.layers.Conv2D(2, 3, name="conv")(same)))
    with pytest.raises(ValueError, match="must have a layer in common"):
        match(float_file, nothing_shared)


def test_correlation_is_the_mean_over_channels():
    generator = np.random.default_rng(0)
    one = generator.normal(size=(6, 4, 4, 3))
    other = one * np.array([1.0, -2.0, 0.5]) + generator.normal(size=one.shape)
    expected = np.mean([np.corrcoef(one[..., c].ravel(), other[..., c].ravel())[0, 1] for c in range(3)])
    assert correlation(one, other) == pytest.approx(expected, abs=1e-12)
    one[..., 1] = 3.0  # constant: left out
    expected = np.mean([np.corrcoef(one[..., c].ravel(), other[..., c].ravel())[0, 1] for c in (0, 2)])
    assert correlation(one, other) == pytest.approx(expected, abs=1e-12)
    assert np.isnan(correlation(np.zeros((4, 2)), np.ones((4, 2))))


# --- real files ------------------------------------------------------------------------------------------------------


def test_mlperf_resnet_is_mapped_to_its_keras_model(data_folder):
    import keras

    folder = data_folder / "models" / "ic_resnet8"
    model = keras.models.load_model(folder / "model.h5", compile=False)
    for name, least in (("float.tflite", 100), ("int8.tflite", 10)):
        layers = layer_map(folder / name, model)
        told = {*layers.matched, *layers.fused_into, *layers.same_as}
        assert told == {layer.name for layer in model.layers if layer.name != "input_1"}
        assert not layers.unmatched_layers and not layers.unmatched_tensors
        assert layers.fused_into["conv2d_2"] == "batch_normalization_2"  # its name also stands in the first tensor
        assert layers.fused_into["add_2"] == "activation_6"
        assert {"conv2d_5", "conv2d_8", "flatten", "dense"} <= set(layers.matched)
        assert min(layers.agreement.values()) > least


def test_mlperf_wake_word_files_match(data_folder):
    folder = data_folder / "models" / "vww_mobilenet_v1"
    images = np.random.default_rng(0).random((8, 96, 96, 3), dtype=np.float32)
    matched = match(folder / "float.tflite", folder / "int8.tflite", images)
    assert len(matched.pairs) == 31 and not matched.unmatched_before and not matched.unmatched_after
    assert list(matched.pairs)[:3] == ["activation", "activation_1", "activation_2"]
    assert list(matched.pairs)[-3:] == ["flatten", "dense", "softmax"]
    resnet = data_folder / "models" / "ic_resnet8" / "float.tflite"
    with pytest.raises(ValueError, match="images of one shape"):
        match(folder / "float.tflite", resnet)


def test_names_of_a_foreign_file(data_folder):
    path = data_folder / "models" / "coral" / "mobilenet_v1_0.25_128_quant.tflite"
    names = list(short_names(read_graph(path.read_bytes())))
    assert names[:2] == ["MobilenetV1/Conv2d_0", "MobilenetV1/Conv2d_1_depthwise"]
    assert names[-3:] == ["Logits/Conv2d_1c_1x1", "Logits", "Predictions"]
    assert len(set(names)) == len(names) == 31
