"""What travels together through an evaluation: options of its samples, and options of its warp."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import inspect
import logging
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, ParamSpec, TypeVar, get_args

from tfinv.engine.measuring import Intervals
from tfinv.results import Results
from tfinv.support.checks import finite, flag, public_name, share, whole_number
from tfinv.transformations.warp import Interpolation, Padding

P = ParamSpec("P")
R = TypeVar("R")
Options = TypeVar("Options")
_PRINTING = logging.StreamHandler(sys.stdout)

IntervalKind = Literal["jackknife", "bootstrap"]


@dataclass(frozen=True)
class Sampling:
    """What an evaluation does with its samples: confidence intervals, classes, and statistics to merge later.

    Example:
        >>> import numpy as np
        >>> import tfinv
        >>> activations = {"conv": np.random.default_rng(0).normal(size=(40, 4, 3))}
        >>> results = tfinv.evaluate_arrays(activations, "NormalizedVariance", sampling=tfinv.Sampling(0.95))
        >>> row = results.profile().iloc[0]
        >>> bool(row.low < row["mean"] < row.high)
        True

    Args:
        confidence: add confidence intervals of the layer means, such as 0.95: `profile()` then has the columns `low`
            and `high`. They hold for other samples under the same transformations, and come from the statistics of
            `shards` random parts of the samples (no further forward passes); a `tf.data.Dataset` is read into memory.
        shards: number of parts, at least 2; each costs one more copy of the accumulators, of those of 16,384 units in
            wider layers.
        interval: `"jackknife"` leaves out each part in turn; `"bootstrap"` draws as many parts with replacement
            `resamples` times, for intervals that need not be symmetric, and computes the measures each time.
        resamples: at least 50.
        stratified: measure the samples of each class apart, in one run over shuffled data: the results hold the mean
            over classes, and `results.of_class(label)` those of each class. A `tf.data.Dataset` is read into memory.
        keep_statistics: keep the accumulators in `Results.statistics`, so that `tfinv.merge` can join the results of
            disjoint samples. These may then be as few as one: a measure that needs more has no values until then.
        first_sample: position of the first image in the whole data, where these images are one part of them: measures
            that draw samples draw the same ones as an evaluation of all.
        whole: number of images in the whole data, where these images are one part of them: intervals then come from
            the shards of an evaluation of all, and `tfinv.merge` can tell which images are missing.
        first_pass: gather only what measures of two passes, such as `Goodfellow`, need of the first one. The results
            have no measures; merged, they are the `thresholds` of the second pass.
        thresholds: results of `first_pass` evaluations of all parts, merged: the second pass then measures every part
            with the thresholds of the whole data.
        precision: take images in random order only until every interval reaches at most this far to either side, in
            the unit of the measure: 0.02 is 2 points for `AccuracyUnder`. There are at most five looks, each after
            twice as many images; the intervals hold for all measures, layers and looks together, with the confidence
            of `confidence` (default 0.95). `metadata["precision"]` tells how many images it took. None: all images.

    Raises:
        ValueError: a number out of range, an unknown kind of interval, `stratified` together with `confidence`, or
            `first_pass` without `keep_statistics` or with `thresholds`.
        TypeError: thresholds that are no `Results`.
    """

    confidence: float | None = None
    shards: int = 20
    interval: IntervalKind = "jackknife"
    resamples: int = 1000
    stratified: bool = False
    keep_statistics: bool = False
    first_sample: int = 0
    whole: int | None = None
    first_pass: bool = False
    thresholds: Results | None = None
    precision: float | None = None

    def __post_init__(self) -> None:
        confidence = self.confidence
        if confidence is not None:
            share("confidence", confidence, "0.95")
        if self.interval not in get_args(IntervalKind):
            raise ValueError(f"interval must be 'jackknife' or 'bootstrap'. Received: {self.interval!r}")
        for name, least in (("shards", 2), ("resamples", 50), ("first_sample", 0)):
            whole_number(name, getattr(self, name), least)
        if self.whole is not None:
            whole_number("whole", self.whole, self.first_sample + 1)
        for name in ("stratified", "keep_statistics", "first_pass"):
            flag(name, getattr(self, name))
        if self.precision is not None:
            finite("precision", self.precision, above=0, hint=", such as 0.02")
        if self.stratified and confidence is not None:
            raise ValueError("stratified cannot be combined with confidence. Received: both")
        if self.first_pass and (not self.keep_statistics or self.thresholds is not None):
            other = "thresholds" if self.thresholds is not None else "keep_statistics=False"
            raise ValueError(f"first_pass must come with keep_statistics=True alone. Received: {other}")
        if self.thresholds is not None and not isinstance(self.thresholds, Results):
            raise TypeError(f"thresholds must be Results or None. Received: {type(self.thresholds).__name__}")

    @property
    def parts(self) -> int:
        """How many parts of the samples have statistics of their own, 0 without intervals."""
        return 0 if self.confidence is None else self.shards

    @property
    def intervals(self) -> Intervals | None:
        """How confidence intervals are made; None without them."""
        return None if self.confidence is None else Intervals(self.confidence, self.draws)

    @property
    def draws(self) -> int:
        """How often the bootstrap draws, 0 for the jackknife."""
        return self.resamples if self.interval == "bootstrap" else 0


@dataclass(frozen=True)
class Warping:
    """How images are warped.

    Example:
        >>> import tfinv
        >>> tfinv.Warping(padding="reflect")
        Warping(padding='reflect', interpolation='bilinear')

    Args:
        padding: what lies outside the frame, `"constant"`, `"nearest"` or `"reflect"`: see `transformations.warp`.
        interpolation: `"bilinear"`, `"nearest"` or `"cubic"`: see `transformations.warp`.

    Raises:
        ValueError: an unknown padding or interpolation.
    """

    padding: Padding = "constant"
    interpolation: Interpolation = "bilinear"

    def __post_init__(self) -> None:
        for name, known in (("padding", get_args(Padding)), ("interpolation", get_args(Interpolation))):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {known}. Received: {getattr(self, name)!r}")


OBJECTS: dict[str, type[Sampling] | type[Warping]] = {"sampling": Sampling, "warping": Warping}
"""By parameter the class of its option object."""

FOLDED = {field.name: name for name, kind in OBJECTS.items() for field in dataclasses.fields(kind)}
"""By option the parameter whose object holds it."""


def as_objects(options: Mapping[str, Any]) -> dict[str, Any]:
    """The same options, those that belong to an option object as that object.

    Example:
        >>> as_objects({"padding": "nearest", "batch_size": 4})
        {'batch_size': 4, 'warping': Warping(padding='nearest', interpolation='bilinear')}
    """
    result = {name: value for name, value in options.items() if name not in FOLDED}
    for parameter, kind in OBJECTS.items():
        values = {name: value for name, value in options.items() if FOLDED.get(name) == parameter}
        if values:
            result[parameter] = kind(**values)
    return result


def checked(kind: type[Options], value: Options | None) -> Options:
    """An option object, the default one for None.

    Raises:
        TypeError: something else.
    """
    if value is None:
        return kind()
    if not isinstance(value, kind):
        raise TypeError(f"{kind.__name__.lower()} must be a {public_name(kind)} or None. Received: {value!r}")
    return value


def accepts_folded(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function that takes option objects also take their options as keywords, with a warning.

    Its option objects are `sampling` and `warping`, and every parameter whose default is a dataclass. Keywords change
    the default.

    Raises:
        TypeError: when called with a keyword that is neither, or with an option beside the object that holds it.
    """
    known = inspect.signature(function).parameters
    objects = _defaults(known)
    home = {field.name: name for name, value in objects.items() for field in dataclasses.fields(value)}

    def form(name: str) -> str:
        return f"{home[name]}={public_name(type(objects[home[name]]))}({name}=...)"

    def hint(name: str) -> str:
        close = difflib.get_close_matches(name, [*known, *home], n=1)
        return f" Did you mean {close[0] if close[0] in known else form(close[0])}?" if close else ""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        if kwargs.pop("verbose", False):
            logging.getLogger("tfinv").addHandler(_PRINTING)
            logging.getLogger("tfinv").setLevel(logging.INFO)
            warnings.warn(
                "verbose: deprecated, and gone in the next release; the logger 'tfinv' tells which layers are measured "
                "together at the level INFO",
                DeprecationWarning,
                stacklevel=2,
            )
        folded = [name for name in kwargs if name not in known]
        if not folded:
            return function(*args, **kwargs)
        for name in folded:
            if name not in home:
                raise TypeError(f"{function.__name__} has no argument {name!r}.{hint(name)} Received: {name}=")
            if home[name] in kwargs:
                raise TypeError(f"{name} belongs into {home[name]}. Received: both {name}= and {home[name]}=")
        forms = ", ".join(form(name) for name in folded)
        warnings.warn(
            f"{', '.join(folded)}: deprecated as keywords of {function.__name__}, and gone in the next release; "
            f"write {forms}",
            DeprecationWarning,
            stacklevel=2,
        )
        given: dict[str, Any] = {name: value for name, value in kwargs.items() if name in known}
        for parameter in dict.fromkeys(home[name] for name in folded):
            values = {name: kwargs[name] for name in folded if home[name] == parameter}
            given[parameter] = dataclasses.replace(objects[parameter], **values)
        call: Any = function
        return call(*args, **given)

    return wrapper


def _defaults(parameters: Mapping[str, inspect.Parameter]) -> dict[str, Any]:
    """By parameter that takes an option object its default."""
    defaults: dict[str, Any] = {name: kind() for name, kind in OBJECTS.items() if name in parameters}
    for name, parameter in parameters.items():
        if dataclasses.is_dataclass(parameter.default):
            defaults[name] = parameter.default
    return defaults
