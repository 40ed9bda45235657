"""Intermediate activations: every layer found and right, names, choices, and errors a user can act on."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import tfinv
from tfinv.activations import ActivationModel
from tfinv.activations.keras_graph import layer_values, taped_calls
from tfinv.activations.layer_graph import flatten
from tfinv.activations.selection import select_names

L = keras.layers


def images(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def nested_model() -> keras.Model:
    inner_inputs = keras.Input((None, None, 4))
    relu = L.ReLU(name="relu")
    inner = keras.Model(inner_inputs, relu(L.Conv2D(4, 3, name="conv")(relu(inner_inputs))), name="inner")
    head = keras.Sequential([keras.Input((4, 4, 4)), L.Flatten(name="flat"), L.Dense(3, name="logits")], name="head")
    inputs = keras.Input((8, 8, 1))
    x = L.Conv2D(4, 3, padding="same", name="stem")(inputs)
    x = inner(inner(x))
    return keras.Model(inputs, head(L.Add(name="sum")([L.Rescaling(2.0, name="double")(x), x])))


def test_every_call_of_nested_and_shared_layers_has_its_own_values():
    model, data = nested_model(), images(2, 8, 8, 1)
    activations = ActivationModel(model)(data)
    assert list(activations) == [
        "stem", "inner/relu@1", "inner/conv@1", "inner/relu@2", "inner/relu@3", "inner/conv@2", "inner/relu@4",
        "double", "sum", "head/flat", "head/logits",
    ]  # fmt: skip
    inner, x = model.get_layer("inner"), model.get_layer("stem")(data)
    conv, relu = inner.get_layer("conv"), inner.get_layer("relu")
    for name, function in [("relu@1", relu), ("conv@1", conv), ("relu@2", relu), ("relu@3", relu), ("conv@2", conv)]:
        x = function(x)
        assert_allclose(activations[f"inner/{name}"], x, rtol=1e-6, err_msg=name)
    assert_allclose(activations["head/logits"], model(data), rtol=1e-6)


def repeated_blocks() -> keras.Model:
    """Two nested blocks whose inner layers have the same names."""

    def block(name: str) -> keras.Model:
        inputs = keras.Input((8, 8, 2))
        x = L.BatchNormalization(name="bn")(L.Conv2D(2, 3, padding="same", name="conv")(inputs))
        return keras.Model(inputs, L.ReLU(name="relu")(x), name=name)

    inputs = keras.Input((8, 8, 2))
    first, second = block("first"), block("second")
    return keras.Model(inputs, L.Add(name="sum")([first(inputs), second(first(inputs))]))


def test_nested_blocks_may_repeat_the_names_of_their_layers():
    model, data = repeated_blocks(), images(2, 8, 8, 2)
    source = ActivationModel(model)
    assert list(source.layer_shapes) == [
        "first/conv@1", "first/bn@1", "first/relu@1", "first/conv@2", "first/bn@2", "first/relu@2",
        "second/conv", "second/bn", "second/relu", "sum",
    ]  # fmt: skip
    activations = source(data)
    once = model.get_layer("first")(data)
    assert_allclose(activations["first/relu@1"], once, rtol=1e-6)
    assert_allclose(activations["second/relu"], model.get_layer("second")(once), rtol=1e-6)
    assert_allclose(activations["sum"], model(data), rtol=1e-6)
    chosen = source.select("second/bn")
    assert_allclose(chosen(data)["second/bn"], activations["second/bn"], rtol=1e-6)


def test_sequential_model_equals_layer_by_layer_calls():
    model = keras.Sequential([keras.Input((6, 6, 2)), L.Conv2D(3, 3, name="conv"), L.BatchNormalization(name="bn")])
    model.get_layer("bn").set_weights([np.full(3, value) for value in (2.0, 1.0, 0.5, 4.0)])
    data = images(3, 6, 6, 2)
    activations = ActivationModel(model)(data)
    conv = model.get_layer("conv")(data)
    assert_allclose(activations["conv"], conv, rtol=1e-6)
    assert_allclose(activations["bn"], 2 * (np.asarray(conv) - 0.5) / np.sqrt(4 + 1e-3) + 1, rtol=1e-5)


def test_layers_with_several_outputs_and_inference_mode():
    inputs = keras.Input((4, 4, 2))
    first, second = keras.ops.split(L.Dropout(0.9, name="drop")(inputs), 2, axis=-1)
    model = keras.Model(inputs, L.Add(name="sum")([first, second]))
    data = images(2, 4, 4, 2)
    activations = ActivationModel(model)(data)
    split = first._keras_history.operation.name  # Keras counts such names over the whole process
    assert list(activations) == ["drop", f"{split}:0", f"{split}:1", "sum"]
    assert_array_equal(activations["drop"], data)
    assert_array_equal(activations[f"{split}:1"], data[..., 1:])


def two_headed(first: str) -> keras.Model:
    """A model whose outputs are `main`, near the images, and `aux`, far from them; `first` says which comes first."""
    inputs = keras.Input((8, 8, 3))
    pooled = L.GlobalAveragePooling2D(name="gap")(L.Conv2D(4, 3, name="conv")(inputs))
    heads = {"main": L.Dense(5, name="main")(pooled)}
    heads["aux"] = L.Dense(5, name="aux")(L.Dense(6, activation="relu", name="hidden")(pooled))
    return keras.Model(inputs, [heads.pop(first), *heads.values()])


@pytest.mark.parametrize(("first", "second"), [("main", "aux"), ("aux", "main")])
def test_the_output_layer_makes_the_first_of_the_models_outputs(first, second):
    model, data = two_headed(first), images(2, 8, 8, 3)
    source = ActivationModel(model)
    assert source.output_layers == (first, second) and source.output_layer == first
    assert source.select("conv").output_layers == (first, second)
    activations = source(data)
    for name, expected in zip(source.output_layers, model(data), strict=True):
        assert_allclose(activations[name], expected, rtol=1e-6)


def test_only_the_first_output_is_the_classifiers():
    data, labels = images(12, 8, 8, 3), np.arange(12) % 5
    for first in ("main", "aux"):
        model = two_headed(first)
        results = tfinv.evaluate(model, data, "rotations(4)", ["AccuracyUnder"], labels=labels, progress=False)
        upright = (np.asarray(model(data)[0]).argmax(1) == labels).mean()  # member 2 turns by 0 degrees
        layers = results["AccuracyUnder"]
        assert [name for name, layer in layers.items() if layer.values.size] == [first]
        assert layers[first].values[2] == upright


def test_outputs_of_nested_models_splits_and_dicts_are_followed():
    inputs = keras.Input((4, 4, 2), name="image")
    conv = L.Conv2D(4, 1, name="conv")(inputs)
    inner = keras.Model(inputs, [L.GlobalMaxPooling2D(name="most")(conv), L.Flatten(name="flat")(conv)], name="inner")
    most, flat = inner(inputs)
    first, second = keras.ops.split(most, 2, axis=-1)
    split = first._keras_history.operation.name
    assert ActivationModel(keras.Model(inputs, most)).output_layers == ("inner/most",)
    assert ActivationModel(keras.Model(inputs, [flat, most])).output_layers == ("inner/flat", "inner/most")
    assert ActivationModel(keras.Model(inputs, first)).output_layers == (f"{split}:0",)
    named = keras.Model({"image": inputs}, {"b": second, "a": flat})
    source = ActivationModel(named)
    assert source.output_layers == ("inner/flat", f"{split}:1")
    data = images(2, 4, 4, 2)
    activations, expected = source(data), named({"image": data})
    assert_allclose(activations["inner/flat"], expected["a"], rtol=1e-6)
    assert_allclose(activations[f"{split}:1"], expected["b"], rtol=1e-6)


def test_nested_models_may_be_called_by_keyword_and_on_dicts():
    side = keras.Input((8, 8, 4))
    inner = keras.Model(side, L.Conv2D(4, 3, name="conv")(side), name="inner")
    left, right = keras.Input((6, 6, 4), name="left"), keras.Input((6, 6, 4), name="right")
    difference = keras.Model({"left": left, "right": right}, L.Subtract(name="minus")([left, right]), name="pair")
    inputs = keras.Input((8, 8, 4))
    x = inner(inputs=inputs)
    x = difference({"right": L.ReLU(name="relu")(x), "left": x})
    model, data = keras.Model(inputs, L.GlobalAveragePooling2D(name="gap")(x)), images(3, 8, 8, 4)
    activations = ActivationModel(model)(data)
    assert list(activations) == ["inner/conv", "relu", "pair/minus", "gap"]
    conv = np.asarray(inner.get_layer("conv")(data))
    assert_allclose(activations["inner/conv"], conv, rtol=1e-6)
    assert_allclose(activations["pair/minus"], np.minimum(conv, 0), atol=1e-6)
    assert_allclose(activations["gap"], model(data), atol=1e-6)
    assert [call.label for call in flatten(model).calls] == list(activations)
    assert [value.name for value in layer_values(model, data)] == list(activations)


def test_a_tensor_read_twice_is_differentiated_once():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, L.Multiply(name="square")([inputs, inputs]))
    (call,), (tape,), (output,) = taped_calls(model, keras.ops.convert_to_tensor(images(2, 4)))
    assert len(call.inputs) == 1
    assert_allclose(tape.gradient(output, call.inputs)[0], 2 * images(2, 4), rtol=1e-6)


def test_only_what_chosen_layers_need_is_run():
    source = ActivationModel(nested_model(), "stem")
    assert [layer.name for layer in source.model.layers] == ["images", "stem"]


def test_choice_by_name_glob_and_type():
    source = ActivationModel(nested_model())
    assert list(source.select("head/*").layer_shapes) == ["head/flat", "head/logits"]
    assert list(source.select(L.Conv2D).layer_shapes) == ["stem", "inner/conv@1", "inner/conv@2"]
    assert list(source.select("Conv2D").layer_shapes) == ["stem", "inner/conv@1", "inner/conv@2"]
    assert list(source.select(["head/logits", "stem"]).layer_shapes) == ["stem", "head/logits"]
    assert list(source.select("inner/conv").layer_shapes) == ["inner/conv@1", "inner/conv@2"]
    assert source.select("head/logits").layer_shapes == {"head/logits": (3,)}


@pytest.mark.parametrize(
    ("choice", "error", "text"),
    [
        ("stemm", ValueError, "Did you mean 'stem'"),
        ([], ValueError, "at least one layer"),
        ([3], TypeError, "names, globs or layer types"),
    ],
)
def test_wrong_choices_are_explained(choice, error, text):
    with pytest.raises(error, match=text):
        ActivationModel(nested_model(), choice)


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match="layers of the model: a, b"):
        select_names({"a": "Dense", "b": "Dense"}, "x")


def test_open_input_sizes_come_from_the_images():
    inputs = keras.Input((None, None, 1))
    model = keras.Model(inputs, L.Conv2D(2, 3, name="conv")(inputs))
    assert ActivationModel(model, input_shape=(9, 7, 1)).layer_shapes == {"conv": (7, 5, 2)}
    with pytest.raises(ValueError, match="input_shape must be given"):
        ActivationModel(model)
    with pytest.raises(ValueError, match=r"fit the model's input .* Received: images of \(9, 7, 3\)"):
        ActivationModel(model, input_shape=(9, 7, 3))


def test_models_without_a_graph_get_advice():
    class Subclassed(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(TypeError, match=r"subclassed model Subclassed.*evaluate_arrays"):
        ActivationModel(Subclassed())
    with pytest.raises(ValueError, match="must be built"):
        ActivationModel(keras.Sequential([L.Dense(2)]))
    with pytest.raises(TypeError, match="Keras 3 model"):
        ActivationModel(lambda x: x)
    inputs = [keras.Input((4, 4, 1)), keras.Input((4, 4, 1))]
    with pytest.raises(ValueError, match="one input of images"):
        ActivationModel(keras.Model(inputs, L.Add()(inputs)))


def test_id_names_model_and_weights():
    model = nested_model()
    before = ActivationModel(model).id
    assert ActivationModel(model).id == before
    weights = model.get_layer("stem").get_weights()
    model.get_layer("stem").set_weights([weights[0] + 1, weights[1]])
    assert ActivationModel(model).id != before


def test_the_users_model_still_saves_and_loads(tmp_path):
    model, data = nested_model(), images(1, 8, 8, 1)
    ActivationModel(model)
    model.save(tmp_path / "model.keras")
    assert_allclose(keras.models.load_model(tmp_path / "model.keras", safe_mode=True)(data), model(data), rtol=1e-6)
