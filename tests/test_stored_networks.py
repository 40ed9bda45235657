"""The stored networks that other tests share have learned what they were trained on."""

from __future__ import annotations

import numpy as np
import pytest
from qat_models import trained_rich_model
from tflite_models import digits, plain_network, residual_network, trained

from tfinv import datasets


@pytest.mark.parametrize(
    ("build", "name", "least"),
    [(residual_network, "", 0.6), (residual_network, "residual of another seed", 0.25), (plain_network, "", 0.9)],
)
def test_digits_after_the_first_1400_are_told_apart(build, name, least):
    images, classes = digits()
    predicted = trained(build, name).predict(images[1400:], verbose=0).argmax(-1)
    assert np.mean(predicted == classes[1400:]) > least


def test_the_rich_network_tells_test_digits_apart():
    test = datasets.load("digits").test
    predicted = trained_rich_model().predict(test.x, verbose=0).argmax(-1)
    assert np.mean(predicted == test.y) > 0.9
