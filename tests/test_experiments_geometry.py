"""Sizes of maps and receptive fields, against what Keras computes."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfinv import models
from tfinv.experiments._shared.geometry import (
    conv_output_size,
    effective_kernel,
    receptive_field,
    two_convolutions,
)


@pytest.mark.parametrize("kernel", [2, 3, 5])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (3, 1), (1, 2), (1, 3)])
def test_output_size_is_that_of_keras(kernel: int, stride: int, dilation: int):
    layer = keras.layers.Conv2D(1, kernel, strides=stride, dilation_rate=dilation)
    for size in (13, 16):
        assert layer.compute_output_shape((1, size, size, 1))[1] == conv_output_size(size, kernel, stride, dilation)
    same = keras.layers.Conv2D(1, kernel, dilation_rate=dilation, padding="same")
    padding = effective_kernel(kernel, dilation) - 1
    assert same.compute_output_shape((1, 13, 13, 1))[1] == conv_output_size(13, kernel, 1, dilation, padding) == 13


def test_a_kernel_must_fit():
    with pytest.raises(
        ValueError, match=r"must fit into the padded input of 4. Received: 3 with dilation 2, .* spans 5"
    ):
        conv_output_size(4, 3, 1, 2)
    with pytest.raises(ValueError, match=r"stride must be a whole number of at least 1. Received: 0"):
        conv_output_size(4, 3, 0)


@pytest.mark.parametrize("layers", [((3, 1, 1), (2, 2, 1), (3, 1, 1), (2, 2, 1)), ((2, 1, 2), (2, 2, 1), (2, 1, 1))])
def test_receptive_field_is_where_gradients_reach(layers: tuple[tuple[int, int, int], ...]):
    image = tf.Variable(np.ones((1, 40, 40, 1), np.float32))
    with tf.GradientTape() as tape:
        x: tf.Tensor = image * 1.0
        for kernel, stride, dilation in layers:
            ones = keras.layers.Conv2D(1, kernel, strides=stride, dilation_rate=dilation, kernel_initializer="ones")
            x = ones(x)
        middle = x[0, 3, 3, 0]
    touched = np.flatnonzero(np.asarray(tape.gradient(middle, image))[0].any(axis=(1, 2)))
    assert np.ptp(touched) + 1 == receptive_field(layers)


def test_the_table_tells_the_sides_that_the_network_has():
    network = models.build("tutorial_cnn", (30, 30, 1), 10, filters=2, dense=4, kernel_size=2, dilation=3)
    told = two_convolutions(30, 2, 3)
    sides = [network.get_layer(name).output.shape[1] for name in ("conv1", "pool1", "pool2")]
    assert told["sides of the maps"] == " ".join(map(str, sides)) == "30 15 7"
    assert (told["effective first kernel"], told["receptive field"]) == ("4", "9")
