"""Checks of arguments: values pass as they are, mistakes give one sentence with what was expected and received."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from tfinv.support.checks import close_match, one_of, share, whole_number


@pytest.mark.parametrize("value", [1, 5, np.int64(3), np.uint8(2)])
def test_whole_numbers_pass_as_int(value):
    assert whole_number("n", value, 1) == value and type(whole_number("n", value, 1)) is int


@pytest.mark.parametrize("value", [0, True, 1.0, "1", None, np.float32(2), np.array([1])])
def test_everything_else_is_no_whole_number(value):
    with pytest.raises(ValueError, match=r"n must be a whole number of at least 1. Received: "):
        whole_number("n", value, 1)


def test_whole_numbers_have_an_upper_limit_too():
    assert whole_number("n", 9, 1, 9) == 9
    with pytest.raises(ValueError, match=r"n must be a whole number from 1 to 9. Received: 10"):
        whole_number("n", 10, 1, 9)


@pytest.mark.parametrize("value", [0, 1, 1.5, -0.1, True, "0.5", None, float("nan")])
def test_shares_lie_between_0_and_1(value):
    assert share("p", 0.25) == 0.25
    with pytest.raises(ValueError, match=r"p must be a number above 0 and below 1, such as 0\.95. Received: "):
        share("p", value, "0.95")


def test_a_value_is_one_of_those_known_and_a_near_one_is_named():
    one_of("mode", "fast", ("fast", "slow"))
    one_of("mode", "slow", Literal["fast", "slow"])
    with pytest.raises(ValueError, match=r"mode must be one of 'fast', 'slow'. Did you mean 'fast'. Received: 'fats'"):
        one_of("mode", "fats", Literal["fast", "slow"])
    assert close_match("zzz", ["fast"]) == "" and close_match(3, [3, 4]) == " Did you mean '3'?"
