"""The outcome of a measurement: values and status per layer and unit, saved, loaded and shown as tables."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.resampling.jackknife import Replicates
from tfinv.status import Status
from tfinv.support import archive
from tfinv.support.archive import HEADER, member
from tfinv.support.planes import fits, from_planes, to_planes
from tfinv.support.schema import Rule

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

FORMAT = "tfinv-results"
VERSION = 3
OLDER = (1, 2)
"""Versions that are read too: in 1 and 2, all values were float64; in 1, quotients of variances had `statistic="std"`
unless their keys name another."""
_QUOTIENTS = ("NormalizedVariance", "NormalizedVarianceSE")
_LAYER = {
    "name": str,
    "note": str,
    "effective?": bool,
    "weights?": bool,
    "trim?": Rule(float, lambda value: 0 <= value < 0.5, "a number of at least 0 and below 0.5"),
    "replicates?": bool,
    "draws?": bool,
    "float32?": [Rule(int, lambda size: size >= 0, "a whole number of at least 0")],
}
_MEASURE = {
    "key": str,
    "layers": [_LAYER],
    "replicates?": {
        "confidence": Rule(float, lambda value: 0 < value < 1, "a number between 0 and 1"),
        "sizes": [Rule(int, lambda value: value >= 1, "a whole number of at least 1")],
    },
}
_SCHEMA = {
    "metadata": dict,
    "measures": [_MEASURE],
    "classes?": [{"label": int, "measures": [_MEASURE]}],
    "statistics": [{"key": str, "layer": str, "fields": [str], "subset?": str}],
    "samples?": bool,
}
PROFILE_COLUMNS = ("measure", "layer", "mean", "std", "units", "valid", "dead", "sample_constant", "sparse", "left_out")
COUNTED = (Status.DEAD, Status.SAMPLE_CONSTANT, Status.SPARSE)
"""The statuses that a profile counts by name, in the order of its columns."""


@dataclass(frozen=True)
class LayerResult:
    """One measure on one layer.

    Args:
        values: float64 `(*U)`, one number per unit, or `(C,)`, one per feature map, where the measure aggregates.
        status: uint8, same shape, `tfinv.status.Status` codes.
        note: why a layer has no values (then both arrays are empty), or another remark; usually "".
        trim: share of the valid units, at least 0 and below 0.5, that `mean` leaves out at both ends.
        effective_samples: float64, same shape: how many samples of equal response would give as precise a value;
            NaN for a unit that responds to nothing. None where the measure does not compute it.
        weights: float64, same shape, at least 0: how much the square of each unit counts in `mean`. None where `mean`
            is the plain one.
    """

    values: NDArray[np.float64]
    status: NDArray[np.uint8]
    note: str = ""
    trim: float = 0.0
    effective_samples: NDArray[np.float64] | None = None
    weights: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.trim < 0.5:
            raise ValueError(f"trim must be at least 0 and below 0.5. Received: {self.trim!r}")
        values, status = np.asarray(self.values, np.float64), np.asarray(self.status, np.uint8)
        if values.shape != status.shape:
            raise ValueError(f"values and status must have one shape. Received: {values.shape} and {status.shape}")
        for name in ("effective_samples", "weights"):
            if (given := getattr(self, name)) is None:
                continue
            array = np.asarray(given, np.float64)
            if array.shape != values.shape:
                raise ValueError(f"{name} must have the shape of values, {values.shape}. Received: {array.shape}")
            object.__setattr__(self, name, array)
        if self.weights is not None and not (self.weights >= 0).all():
            raise ValueError(f"weights must be at least 0. Received: {float(self.weights.min())}")
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "status", status)

    @classmethod
    def not_applicable(cls, why: str) -> LayerResult:
        """The result of a layer that the measure does not apply to."""
        return cls(np.empty(0), np.empty(0, np.uint8), why)

    @property
    def valid(self) -> NDArray[np.float64]:
        """The values of the valid units, flat."""
        return self.values[self.status == Status.VALID]

    @property
    def mean(self) -> float:
        r"""Mean over valid units, without the lowest and the highest `trim` of them; NaN where there is none.

        With `weights`, the root of the weighted mean of squares:

            \sqrt{\sum_u w_u v_u^2 / \sum_u w_u}
        """
        valid = self.valid
        if not valid.size:
            return float("nan")
        if self.weights is not None:
            weights = self.weights[self.status == Status.VALID]
            total = float(weights.sum())
            return float(np.sqrt(np.square(valid) @ weights / total)) if total > 0 else float("nan")
        cut = int(self.trim * valid.size)
        if cut:  # a partition is enough: which of the units in the middle comes first does not matter
            valid = np.partition(valid, (cut, valid.size - cut - 1))[cut : valid.size - cut]
        return float(valid.mean())


@dataclass(frozen=True)
class MeasureResult(Mapping[str, LayerResult]):
    """One measure on every layer, in the order of the network.

    Args:
        key: the measure's key, such as `"NormalizedVariance"`.
        layers: result by layer name.
        replicates: layer profiles of other samples, where confidence intervals were asked for.
    """

    key: str
    layers: Mapping[str, LayerResult]
    replicates: Replicates | None = None

    def __getitem__(self, layer: str) -> LayerResult:
        if layer not in self.layers:
            raise KeyError(f"no layer {layer!r} in these results; layers are {', '.join(self.layers)}")
        return self.layers[layer]

    def __iter__(self) -> Iterator[str]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def joined(self, other: MeasureResult) -> MeasureResult:
        """One result of these layers and those of another."""
        replicates = self.replicates
        if replicates is not None and other.replicates is not None:
            means = {**replicates.means, **other.replicates.means}
            draws = {**replicates.draws, **other.replicates.draws}
            replicates = Replicates(replicates.confidence, replicates.sizes, means, draws)
        return MeasureResult(self.key, {**self.layers, **other.layers}, replicates)

    def profile(self) -> pd.DataFrame:
        """One row per layer: mean and standard deviation over valid units, and how many units were left out.

        Returns:
            Columns `measure, layer, mean, std, units, valid, dead, sample_constant, sparse, left_out`, in network
            order; and `low, high`, the confidence interval of the mean, where `evaluate` was asked for one.
        """
        import pandas as pd

        rows = []
        for name, layer in self.layers.items():
            valid, count = layer.valid, layer.status.size
            counted = (int((layer.status == code).sum()) for code in COUNTED)
            spread = float(valid.std()) if valid.size else float("nan")
            rows.append((self.key, name, layer.mean, spread, count, valid.size, *counted, count - valid.size))
        frame = pd.DataFrame(rows, columns=list(PROFILE_COLUMNS))
        if self.replicates is not None:
            bounds = [self.replicates.interval(name, layer.mean) for name, layer in self.layers.items()]
            frame["low"], frame["high"] = [low for low, _ in bounds], [high for _, high in bounds]
        return frame


@dataclass(frozen=True)
class Results(Mapping[str, MeasureResult]):
    """All measures of one evaluation, with what is needed to repeat it.

    Example:
        >>> import numpy as np
        >>> import tfinv
        >>> activations = {"dense": np.random.default_rng(0).normal(size=(8, 4, 3))}
        >>> results = tfinv.evaluate_arrays(activations, [tfinv.measures.NormalizedVariance()])
        >>> results["NormalizedVariance"]["dense"].values.shape
        (3,)

    Args:
        measures: results by measure key.
        metadata: JSON-able description: set id, dataset, model, sizes, seed, versions.
        statistics: gathered states by statistic key and layer (kept on request, needed to merge), arrays by field.
        classes: results of the samples of each class by its label, of a stratified evaluation.
        subsets: `statistics` of the samples of each `"shard 3"` or `"class 7"`, where they are kept and there are some.
        samples: int64 `(S, 2)`, position in the whole data and hash of the content of every sample that `statistics`
            hold; `(0, 2)` where that is not known.
    """

    measures: Mapping[str, MeasureResult]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    statistics: Mapping[str, Mapping[str, Mapping[str, NDArray[Any]]]] = field(default_factory=dict)
    classes: Mapping[int, Mapping[str, MeasureResult]] = field(default_factory=dict)
    subsets: Mapping[str, Mapping[str, Mapping[str, Mapping[str, NDArray[Any]]]]] = field(default_factory=dict)
    samples: NDArray[np.int64] = field(default_factory=lambda: np.empty((0, 2), np.int64))

    def __getitem__(self, measure: Any) -> MeasureResult:
        key = measure if isinstance(measure, str) else getattr(measure, "key", measure)
        if key not in self.measures:
            raise KeyError(f"no measure {key!r} in these results; measures are {', '.join(self.measures)}")
        return self.measures[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.measures)

    def __len__(self) -> int:
        return len(self.measures)

    @property
    def layers(self) -> list[str]:
        """Layer names in network order."""
        return list(dict.fromkeys(layer for measure in self.measures.values() for layer in measure))

    def of_class(self, label: int) -> Results:
        """The results of the samples of one class, of a stratified evaluation.

        Raises:
            KeyError: there are no results of this class.
        """
        if label not in self.classes:
            known = ", ".join(map(str, self.classes)) or "none, sampling=Sampling(stratified=True) makes them"
            raise KeyError(f"no class {label!r} in these results; classes are {known}")
        return Results(self.classes[label], {**self.metadata, "class": label})

    def profile(self, measure: Any = None) -> pd.DataFrame:
        """The layer profile of one measure, or of all below each other; see `MeasureResult.profile`."""
        import pandas as pd

        if measure is not None:
            return self[measure].profile()
        return pd.concat([result.profile() for result in self.measures.values()], ignore_index=True)

    def to_frame(self, *, units: bool = False) -> pd.DataFrame:
        """Tidy table: one row per measure and layer, or one row per unit with `units=True`.

        Args:
            units: one row per unit with the columns `measure, layer, unit, value, status, effective_samples`; `unit`
                is the unit's index as text, such as `"3,4,0"` for row 3, column 4, feature map 0;
                `effective_samples` is NaN where a measure does not compute it, see `LayerResult`.

        Returns:
            A pandas frame; without `units` it is `profile()`.
        """
        import pandas as pd

        if not units:
            return self.profile()
        frames = []
        for key, measure in self.measures.items():
            for name, layer in measure.items():
                index = [",".join(map(str, unit)) for unit in np.ndindex(layer.values.shape)]
                names = [Status(code).name.lower() for code in layer.status.ravel()]
                effective = layer.effective_samples
                effective = np.full(len(index), np.nan) if effective is None else effective.ravel()
                columns = {"unit": index, "value": layer.values.ravel(), "status": names}
                columns["effective_samples"] = effective
                frames.append(pd.DataFrame({"measure": key, "layer": name, **columns}))
        return pd.concat(frames, ignore_index=True)

    def save(self, path: str | os.PathLike[str], *, full_precision: bool = True) -> None:
        """Write one `.npz` file (arrays and a JSON header, no pickle), atomically.

        Args:
            path: the file; by convention it ends in `.npz`.
            full_precision: keep the values of units as float64, and `effective_samples`. Otherwise values are float32,
                with a relative error of at most 6e-8, and `effective_samples` are left out: the
                file becomes about a quarter as large. What holds statistics is always kept as it is.
        """
        header, arrays = self._packed(full_precision)
        # Sums of floating-point numbers hardly shrink, and compressing them takes seconds for a few megabytes.
        archive.write(path, FORMAT, VERSION, header, arrays, compress=not (self.statistics or self.subsets))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Results:
        """Read a file that `save` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is damaged, not a results file, or of a version this code does not know.
        """
        what = "a complete results file written by Results.save"
        with archive.opened(path, FORMAT, VERSION, _SCHEMA, what, older=OLDER) as (header, arrays):
            return cls._unpacked(header, arrays)

    def to_arrays(self, *, full_precision: bool = True) -> dict[str, NDArray[Any]]:
        """All of it as named arrays, none of them of objects; `header` holds JSON.

        Args:
            full_precision: see `save`.
        """
        header, arrays = self._packed(full_precision)
        text = json.dumps({"format": FORMAT, "version": VERSION, **header}, allow_nan=False)
        return {**arrays, HEADER: np.frombuffer(text.encode(), np.uint8)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Results:
        """What `to_arrays` gave.

        Raises:
            ValueError: arrays of something else, or of a version this code does not know.
            KeyError: an array is missing.
        """
        return cls._unpacked(archive.parse_header(arrays, FORMAT, VERSION, _SCHEMA, OLDER), arrays)

    def _packed(self, full_precision: bool) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Header and arrays."""
        full = full_precision or bool(self.statistics or self.subsets)
        arrays: dict[str, NDArray[Any]] = {}
        header: dict[str, Any] = {"metadata": dict(self.metadata), "measures": _pack(self.measures, "", arrays, full)}
        header["classes"] = [
            {"label": int(label), "measures": _pack(measures, f"c{label}.", arrays, full)}
            for label, measures in self.classes.items()
        ]
        header["statistics"] = []
        for subset, by_key in (("", self.statistics), *self.subsets.items()):
            for key, by_layer in by_key.items():
                for name, state in by_layer.items():
                    number = len(header["statistics"])
                    entry = {"key": key, "layer": name, "fields": list(state)}
                    header["statistics"].append({**entry, "subset": subset} if subset else entry)
                    arrays.update({f"t{number}.{part}": np.asarray(value) for part, value in state.items()})
        if len(self.samples):
            header["samples"], arrays["samples"] = True, self.samples
        return header, arrays

    @classmethod
    def _unpacked(cls, header: dict[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Results:
        if header.get("version") == 1:
            _name_the_statistic(header)
        held: dict[str, dict[str, dict[str, dict[str, Any]]]] = {"": {}}
        for number, entry in enumerate(header["statistics"]):
            state = {name: arrays[f"t{number}.{name}"] for name in entry["fields"]}
            held.setdefault(entry.get("subset", ""), {}).setdefault(entry["key"], {})[entry["layer"]] = state
        statistics = held.pop("")
        samples = member(arrays, "samples", "int64", (None, 2)) if header.get("samples") else np.empty((0, 2), np.int64)
        classes = {
            entry["label"]: _unpack(entry["measures"], f"c{entry['label']}.", arrays)
            for entry in header.get("classes", ())
        }
        return cls(_unpack(header["measures"], "", arrays), header["metadata"], statistics, classes, held, samples)


def _name_the_statistic(header: dict[str, Any]) -> None:
    """Write out the statistic of quotients of variances in a header of version 1, whose default was `"std"`."""
    for entries in (header["measures"], *(one["measures"] for one in header.get("classes", ()))):
        for entry in entries:
            entry["key"] = _with_statistic(entry["key"])
    floors = header["metadata"].get("interpolation_floor")
    if isinstance(floors, dict):
        header["metadata"]["interpolation_floor"] = {_with_statistic(key): floor for key, floor in floors.items()}


def _with_statistic(key: str) -> str:
    name, _, options = key.partition("(")
    if name not in _QUOTIENTS or "statistic=" in options:
        return key
    return f"{name}(statistic='std'{', ' + options if options else ')'}"


def _pack(
    measures: Mapping[str, MeasureResult], prefix: str, arrays: dict[str, NDArray[Any]], full: bool
) -> list[dict[str, Any]]:
    """Put the arrays of measures into `arrays`; return their description, JSON-able."""
    entries = []
    for number, (key, measure) in enumerate(measures.items()):
        layers, replicates = [], measure.replicates
        for position, (name, layer) in enumerate(measure.items()):
            place = f"{number}.{position}"
            arrays[f"{prefix}v{place}"], arrays[f"{prefix}s{place}"] = layer.values, layer.status
            layers.append({"name": name, "note": layer.note, "trim": layer.trim})
            if not full and layer.values.size and fits(layer.values):
                arrays[f"{prefix}v{place}"] = to_planes(layer.values)
                layers[-1]["float32"] = list(layer.values.shape)
            if layer.effective_samples is not None and full:
                arrays[f"{prefix}e{place}"] = layer.effective_samples
                layers[-1]["effective"] = True
            if layer.weights is not None:
                arrays[f"{prefix}w{place}"] = layer.weights
                layers[-1]["weights"] = True
            if replicates is not None and name in replicates.means:
                arrays[f"{prefix}r{place}"] = replicates.means[name]
                layers[-1]["replicates"] = True
                if name in replicates.draws:
                    arrays[f"{prefix}b{place}"] = replicates.draws[name]
                    layers[-1]["draws"] = True
        entries.append({"key": key, "layers": layers})
        if replicates is not None:
            entries[-1]["replicates"] = {"confidence": replicates.confidence, "sizes": list(replicates.sizes)}
    return entries


def _unpack(
    entries: Sequence[Mapping[str, Any]], prefix: str, arrays: Mapping[str, NDArray[Any]]
) -> dict[str, MeasureResult]:
    """What `_pack` was given, from a checked header and arrays that may be anything."""
    measures = {}
    for number, entry in enumerate(entries):
        layers, means, draws = {}, {}, {}
        about = entry.get("replicates")
        for position, described in enumerate(entry["layers"]):
            name, place = described["name"], f"{number}.{position}"
            layers[name] = _layer(described, prefix, place, arrays)
            if about and described.get("replicates"):
                means[name] = member(arrays, f"{prefix}r{place}", "float64", (len(about["sizes"]),))
            if about and described.get("draws"):
                draws[name] = member(arrays, f"{prefix}b{place}", "float64", (None,))
        replicates = Replicates(about["confidence"], tuple(about["sizes"]), means, draws) if about else None
        measures[entry["key"]] = MeasureResult(entry["key"], layers, replicates)
    return measures


def _layer(described: Mapping[str, Any], prefix: str, place: str, arrays: Mapping[str, NDArray[Any]]) -> LayerResult:
    if "float32" in described:
        shape = tuple(described["float32"])
        numbers = from_planes(member(arrays, f"{prefix}v{place}", "uint8", (4, math.prod(shape))), shape)
    else:
        numbers = member(arrays, f"{prefix}v{place}", "float64")
    codes = member(arrays, f"{prefix}s{place}", "uint8", numbers.shape)
    if codes.size and codes.max() > max(Status):
        raise ValueError(
            f"its array '{prefix}s{place}' must hold codes of Status up to {max(Status)}, and reaches {codes.max()}"
        )
    effective = member(arrays, f"{prefix}e{place}", "float64", numbers.shape) if described.get("effective") else None
    weights = member(arrays, f"{prefix}w{place}", "float64", numbers.shape) if described.get("weights") else None
    return LayerResult(numbers, codes, described["note"], described.get("trim", 0.0), effective, weights)
