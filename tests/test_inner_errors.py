"""What fails inside a model or a converter comes out as the argument, what was expected, and what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfinv
from tfinv.activations import ActivationModel, SavedModel
from tfinv.support.faults import ModelFault, cause, layer_called, told
from tfinv.tflite import equalize, float32, qat_int8
from tfinv.training import InvarianceLoss, InvarianceTraining, accuracy, label_accuracy, train

IMAGES = np.random.default_rng(0).random((12, 8, 8, 1), "float32")
LABELS = np.arange(12) % 2
MAPS = (6, 6, 2)
"""Shape of what the convolution gives."""


class Moody(keras.layers.Layer):
    """Building a model with it works, running it does not."""

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def call(self, x: Any) -> Any:
        raise NotImplementedError("not today")


def model_with(layer: keras.layers.Layer) -> keras.Model:
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Flatten(name="flat")(layer(keras.layers.Conv2D(2, 3, name="conv")(inputs)))
    return keras.Model(inputs, keras.layers.Dense(2, name="logits")(x))


def with_numpy(x: Any) -> Any:
    return tf.constant(np.sort(np.asarray(x)))


def with_a_check(x: Any) -> Any:
    with tf.control_dependencies([tf.debugging.assert_less(x, -1e9, message="too warm")]):
        return tf.identity(x)


FORWARDS = {
    "evaluate": lambda model: tfinv.evaluate(model, IMAGES, "rotations(4)", "NormalizedVariance", progress=False),
    "accuracy": lambda model: accuracy(model, (IMAGES, LABELS)),
    "worst_case": lambda model: tfinv.worst_case(model, (IMAGES, LABELS), {"rotation": (-30, 30)}, progress=False),
    "output_change": lambda model: tfinv.output_change(model, IMAGES, "rotations(4)", "embedding", progress=False),
    "predict": lambda model: ActivationModel(model).predict(IMAGES),
    "activations": lambda model: ActivationModel(model)(IMAGES),
    "resolutions": lambda model: ActivationModel(model).resolutions(IMAGES),
    "lie_derivative": lambda model: tfinv.lie_derivative(model, IMAGES, progress=False),
    "convert": float32,
}


@pytest.mark.parametrize("forward", FORWARDS)
def test_a_layer_that_raises_is_named_by_every_forward(forward: str) -> None:
    start = "model must be one that TFLite can hold" if forward == "convert" else "model must run on images"
    match = rf"^{start}; try .*Received: NotImplementedError in layer 'moody' \(Moody\): not today$"
    with pytest.raises(ModelFault, match=match) as caught:
        FORWARDS[forward](model_with(Moody(name="moody")))
    assert "\n" not in str(caught.value) and "\x1b" not in str(caught.value)
    assert caught.value.__cause__ is not None


def test_a_lambda_of_numpy_fails_in_graphs_and_the_way_out_is_named() -> None:
    model = model_with(keras.layers.Lambda(with_numpy, output_shape=MAPS, name="sorts"))
    assert ActivationModel(model).predict(IMAGES).shape == (12, 2)  # runs outside of graphs
    for forward in ("accuracy", "convert"):
        match = r"write the layer with keras.ops or TensorFlow in place of NumPy. Received: .*layer 'sorts' \(Lambda\)"
        with pytest.raises(ModelFault, match=match):
            FORWARDS[forward](model)


@pytest.mark.parametrize("forward", ["evaluate", "accuracy"])
def test_what_fails_only_on_numbers_is_told_too(forward: str) -> None:
    model = model_with(keras.layers.Lambda(with_a_check, output_shape=MAPS, name="checks"))
    with pytest.raises(ModelFault, match=r"model must run on images.*InvalidArgumentError.*too warm") as caught:
        FORWARDS[forward](model)
    assert len(str(caught.value)) < 600


def test_an_operator_that_tflite_does_not_have_names_its_layer() -> None:
    def determinant(x: Any) -> Any:
        return tf.linalg.det(x[:, :6, :6, 0])[:, None]

    with pytest.raises(ValueError, match=r"layer 'lambda' \(Lambda\) cannot be converted: TFLite has no operator for"):
        float32(model_with(keras.layers.Lambda(determinant, output_shape=(1,), name="lambda")))


def test_a_saved_model_that_fails_is_told(tmp_path: Path) -> None:
    class Failing(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, 8, 8, 1), name="images")])
        def __call__(self, images: Any) -> Any:
            with tf.control_dependencies([tf.debugging.assert_less(images, 0.5, message="too warm")]):
                return tf.reduce_mean(images, (1, 2))

    failing = Failing()
    tf.saved_model.save(failing, str(tmp_path), signatures=failing.__call__)
    source = SavedModel(tmp_path)
    assert source(IMAGES / 4)
    with pytest.raises(ModelFault, match=r"model must run on images.*too warm"):
        source.predict(IMAGES)


def test_errors_of_ones_own_and_of_memory_pass() -> None:
    for error in (MemoryError("all gone"), ModelFault("known")):
        with pytest.raises(type(error), match=str(error)), told("model must run"):
            raise error
    with pytest.raises(ValueError, match="images must have the shape") as caught, told("model must run"):
        tfinv.evaluate(model_with(keras.layers.ReLU()), IMAGES[0], "rotations(4)", "NormalizedVariance")
    assert not isinstance(caught.value, ModelFault)


def test_words_are_found_among_those_around_them() -> None:
    graph = (
        "Graph execution error:\n\nDetected at node x\n\nsizes differ: 3 vs 4\n\t [[{{node net/conv_1/Add}}]] [Op:f]"
    )
    assert cause(ValueError(graph)) == ("sizes differ: 3 vs 4", "net/conv_1/Add")
    model = model_with(keras.layers.ReLU(name="relu"))
    assert layer_called("net/conv_1/Add", model) == "layer 'conv' (Conv2D)"
    assert layer_called("Dense", model) == "layer 'logits' (Dense)" and layer_called("Nothing", model) == ""


class Tired(Moody):
    """Runs, but not in training."""

    def call(self, x: Any, training: bool = False) -> Any:
        if training:
            raise NotImplementedError("not today")
        return x


class Unalone(Moody):
    """Refuses a single image."""

    def call(self, x: Any) -> Any:
        with tf.control_dependencies([tf.debugging.assert_greater(tf.shape(x)[0], 1)]):
            return tf.identity(x)


class Steep(Moody):
    """Has no gradient."""

    def call(self, x: Any) -> Any:
        @tf.custom_gradient
        def same(values: Any) -> Any:
            def gradient(above: Any) -> Any:
                raise NotImplementedError("not today")

            return tf.identity(values), gradient

        return same(x)


def fitted(model: keras.Model) -> Any:
    training = InvarianceTraining(model, InvarianceLoss("rotations(4)", ["conv"], 0.1))
    training.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return training.fit(IMAGES, LABELS, verbose=0)


TRAININGS = {
    "train": lambda model: train(model, (IMAGES, LABELS), epochs=1, progress=False),
    "invariance": fitted,
    "qat": lambda model: qat_int8(model, (IMAGES, LABELS), epochs=1, progress=False),
}


@pytest.mark.parametrize("kind", [Moody, Tired, Steep])
@pytest.mark.parametrize("training", TRAININGS)
def test_what_fails_in_training_is_told(training: str, kind: type[keras.layers.Layer]) -> None:
    with pytest.raises(ModelFault, match=r"^model must (train|run) on images; try .*NotImplementedError.*: not today$"):
        TRAININGS[training](model_with(kind(name="moody")))


def test_a_model_that_refuses_a_single_image_trains() -> None:
    assert len(TRAININGS["train"](model_with(Unalone(name="unalone"))).history) == 1


@pytest.mark.parametrize("error", [KeyError("no such image"), ValueError("no such image")])
def test_an_augmentation_that_fails_is_told(error: Exception) -> None:
    def augmentation(images: Any) -> Any:
        raise error

    match = r"^augmentation must map a batch of images to one; call it on two .*Received: \w+: '?no such image'?$"
    with pytest.raises(ModelFault, match=match):
        train(model_with(keras.layers.ReLU()), (IMAGES, LABELS), epochs=1, augmentation=augmentation, progress=False)


class Loose(keras.Model):
    """Its layers form no graph."""

    def __init__(self) -> None:
        super().__init__(name="loose")
        self.dense = keras.layers.Dense(2)

    def call(self, x: Any) -> Any:
        return self.dense(tf.reshape(x, (-1, 64)))


def of_two_inputs() -> keras.Model:
    first, second = keras.Input((8, 8, 1)), keras.Input((8, 8, 1))
    added = keras.layers.Add()([first, second])
    return keras.Model([first, second], keras.layers.Dense(2)(keras.layers.Flatten()(added)))


def of_rows() -> keras.Model:
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.GlobalAveragePooling2D()(inputs)
    rows = keras.layers.Lambda(lambda values: tf.RaggedTensor.from_tensor(values), output_shape=(2,))(x)
    return keras.Model(inputs, rows)


def unbuilt() -> keras.Model:
    return keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(2)])


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Loose, "model must be built"),
        (unbuilt, "model must be built"),
        (of_two_inputs, "model must (have one input|take one batch) of images"),
        (of_rows, "model must give a tensor of one shape"),
    ],
)
def test_models_of_another_form_are_refused_in_one_sentence(model: Any, message: str) -> None:
    two = np.stack([LABELS, LABELS], axis=1)
    calls = {
        "accuracy": lambda made: accuracy(made, (IMAGES, LABELS)),
        "worst_case": lambda made: tfinv.worst_case(made, (IMAGES, LABELS), {"rotation": (-9, 9)}, progress=False),
        "label_accuracy": lambda made: label_accuracy(made, (IMAGES, two)),
        "train": lambda made: train(made, (IMAGES, LABELS), epochs=1, progress=False),
    }
    runs = {"worst_case", "label_accuracy"} if model in (Loose, unbuilt) else set()  # that need no graph
    for name in calls.keys() - runs - ({"train"} if model is of_rows else set()):
        with pytest.raises(ValueError, match=message):
            calls[name](model())


def test_a_copy_that_keras_cannot_make_is_told() -> None:
    with pytest.raises(ModelFault, match=r"^model must be one that keras.models.clone_model copies; .*Received: \w+"):
        equalize(model_with(keras.layers.Lambda(with_a_check, output_shape=MAPS, name="checks")))
