"""Arguments checked against annotations: what every kind of annotation lets through, and what it says otherwise."""

from __future__ import annotations

import inspect
import os
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import pytest

from tfinv.support.guarded import guarded
from tfinv.transformations import Affine

if TYPE_CHECKING:
    from nowhere import Thing  # pyright: ignore[reportMissingImports]

Size = Literal["small", "large"]


@guarded()
def flagged(value: bool) -> Any:
    return value


@guarded()
def titled(value: str | None = None) -> Any:
    return value


@guarded()
def at(value: str | os.PathLike[str]) -> Any:
    return value


@guarded()
def sized(value: Size = "small") -> Any:
    return value


@guarded()
def shared(value: float | None = None) -> Any:
    return value


@guarded()
def listed(value: Sequence[str] | None = None) -> Any:
    return value


@guarded()
def mapped(value: Mapping[str, Thing]) -> Any:
    return value


@guarded()
def called(value: Callable[[Any], Any]) -> Any:
    return value


@guarded()
def moved(value: Affine | None) -> Any:
    return value


@guarded()
def anything(value: Thing | None) -> Any:
    return value


@guarded(value=2)
def counted(value: int | None = None) -> Any:
    return value


@guarded("title")
def partly(value: bool, title: str = "") -> Any:
    return value


@guarded()
@dataclass(frozen=True)
class Record:
    value: bool


@pytest.mark.parametrize(
    ("function", "values"),
    [
        (flagged, [True, np.bool_(False)]),
        (titled, ["a", "", None]),
        (at, ["a", Path("a")]),
        (sized, ["small", "large"]),
        (shared, [0, 0.5, np.float32(1), np.int64(3), None]),
        (listed, [["a"], ("a",), np.array(["a"]), pd.Index(["a"]), {"a": 1}.keys(), None]),
        (mapped, [{}, {"a": 5}]),
        (called, [print, Record]),
        (moved, [Affine.identity(), None]),
        (anything, [5, "a", None, object()]),
        (counted, [2, np.int64(9), None]),
        (partly, [5, True]),
        (Record, [True]),
    ],
)
def test_what_fits_goes_through_unchanged(function, values):
    for value in values:
        result = function(value)
        assert (result.value if function is Record else result) is value


@pytest.mark.parametrize(
    ("function", "value", "kind", "expected"),
    [
        (flagged, 1, TypeError, "value must be True or False. Received: 1"),
        (flagged, None, TypeError, "value must be True or False. Received: None"),
        (titled, 5, TypeError, "value must be text or None. Received: 5"),
        (at, 5, TypeError, "value must be a path. Received: 5"),
        (sized, "smal", ValueError, "value must be one of 'small', 'large'. Did you mean 'small'? Received: 'smal'"),
        (shared, True, TypeError, "value must be a finite number or None. Received: True"),
        (shared, float("inf"), ValueError, "value must be a finite number or None. Received: inf"),
        (listed, "a", TypeError, "value must be a sequence or None. Received: 'a'"),
        (listed, np.array(5), TypeError, "value must be a sequence or None. Received: ndarray"),
        (mapped, [("a", 5)], TypeError, "value must be a mapping. Received: list"),
        (called, "print", TypeError, "value must be a function. Received: 'print'"),
        (moved, "a", TypeError, "value must be a tfinv.transformations.Affine or None. Received: 'a'"),
        (counted, 1, ValueError, "value must be a whole number of at least 2. Received: 1"),
        (Record, "no", TypeError, "value must be True or False. Received: 'no'"),
    ],
)
def test_what_does_not_fit_is_named(function, value, kind, expected):
    with pytest.raises(kind) as caught:
        function(value)
    assert str(caught.value) == expected
    with pytest.raises(kind):
        function(value=value)


def test_only_named_arguments_are_checked_where_some_are_named():
    with pytest.raises(TypeError, match=r"title must be text\. Received: 5"):
        partly("not checked", title=5)


def test_missing_and_unknown_arguments_are_named_by_python_itself():
    with pytest.raises(TypeError, match=r"flagged\(\) missing 1 required positional argument: 'value'"):
        flagged()
    with pytest.raises(TypeError, match=r"flagged\(\) got an unexpected keyword argument 'other'"):
        flagged(True, other=1)


def test_a_guarded_function_and_class_look_like_themselves():
    assert flagged.__name__ == "flagged" and str(inspect.signature(flagged)) == "(value: 'bool') -> 'Any'"
    assert pickle.loads(pickle.dumps(flagged)) is flagged  # noqa: S301
    assert pickle.loads(pickle.dumps(Record(True))) == Record(True)  # noqa: S301
