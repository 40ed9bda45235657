"""Boxes of a detector: decoded, thinned out, moved with the image and matched."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from tfinv.outputs.base import OutputKind, OutputValues, Quantities, misfit
from tfinv.outputs.polygons import corners, overlap
from tfinv.support.checks import kind_of, one_of, share, whole_number

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tfinv.outputs.moves import Moves

BoxLayout = Literal["xywh", "xyxy", "yxyx"]
_LARGEST_LOGIT = 80.0
_GRID = re.compile(r"(\d+)x(\d+)x(\d+)")
_FRACTIONS = 3.0
"""Boxes in fractions of the frame hardly reach further than this."""


@dataclass(frozen=True)
class Detections:
    """The boxes that a detector found in one image, the surest first.

    Args:
        boxes: `(N, 4)`, left, top, right, bottom in pixels.
        scores: `(N,)` in [0, 1].
        classes: `(N,)`, the class of each.
        points: `(N, K, 2)` in pixels.
    """

    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]
    classes: NDArray[np.int64]
    points: NDArray[np.float64]


@dataclass(frozen=True)
class Boxes(OutputKind):
    r"""Boxes, and perhaps points in them, that must move with the image.

    A box of `f(x)` becomes a polygon, its moved corners. The boxes of `f(g x)` are matched to the polygons by the
    Hungarian method on `1 - IoU`, so that the sum of overlaps is the largest; a pair counts from an overlap of `match`
    on. Boxes whose centre leaves the frame are left out. A box stays upright while the object in it turns, so even a
    perfect detector has an IoU below 1: `iou_of_moved` is what an upright box of the same size in the right place has.
    The error is the mean over the boxes of `f(x)` of `max(0, 1 - IoU / IoU_{moved})`, 1 for a box that is not found.

    Example:
        >>> import tfinv
        >>> tfinv.outputs.Boxes(scores="classificators", anchors="16x16x2 8x8x6", points=6).text
        "boxes(scores='classificators', anchors='16x16x2 8x8x6', points=6)"

    Args:
        scores: name of the output with the scores, `(N,)` or `(N, K)` for K classes.
        layout: the first four numbers: `"xywh"` (centre and size), `"xyxy"` or `"yxyx"` (two corners).
        unit: `"pixels"` of the input or `"fractions"` of its width and height.
        anchors: grids of anchors as rows x columns x anchors per cell, such as `"16x16x2 8x8x6"`; positions are then
            offsets from the centres of the cells. `""` for none.
        points: so many pairs (x, y) follow the box.
        threshold: score from which a box counts.
        suppression: of two boxes of a class that overlap by more than this IoU the less sure one is dropped.
        match: overlap from which two boxes are the same.
        limit: so many of the surest boxes per image are looked at.

    Raises:
        ValueError: a parameter out of range.
    """

    scores: str = ""
    layout: BoxLayout = "xywh"
    unit: Literal["pixels", "fractions"] = "pixels"
    anchors: str = ""
    points: int = 0
    threshold: float = 0.5
    suppression: float = 0.3
    match: float = 0.3
    limit: int = 100

    error: ClassVar[str] = "box_error"
    words: ClassVar[Mapping[str, str]] = {
        "box_error": "mean share of the attainable overlap that boxes of the untransformed image have lost",
        "missed": "share of the boxes of the untransformed image that are not found again",
        "iou": "mean intersection over union of the matched boxes",
        "iou_of_moved": "that of upright boxes of the same size in the right place",
        "score_change": "mean change of the score of the matched boxes",
        "surplus": "boxes per image that match none of the untransformed image",
        "point_distance": "mean distance of the points in matched boxes from where they should be, over the diagonal",
        "left_out": "boxes per image that the transformation moves out of the frame",
    }

    def __post_init__(self) -> None:
        one_of("layout", self.layout, BoxLayout)
        one_of("unit", self.unit, ("pixels", "fractions"))
        for name in ("threshold", "suppression", "match"):
            share(name, getattr(self, name), "0.5")
        whole_number("points", self.points, 0)
        whole_number("limit", self.limit, 1)
        for name in ("scores", "anchors"):
            kind_of(name, getattr(self, name), str, "text")
        if not self.scores:
            raise ValueError("scores must name the output with the scores of the boxes. Received: ''")
        if self.anchors and (not _grids(self.anchors) or _GRID.sub("", self.anchors).strip(" ,")):
            raise ValueError(f"anchors must read like '16x16x2 8x8x6'. Received: {self.anchors!r}")

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.scores,)

    def check(self, name: str, shape: Sequence[int]) -> None:
        least = 4 + 2 * self.points
        expected = f"the shape (N, {least}) or (N, more)"
        if len(shape) < 2 or shape[-1] < least:
            raise misfit(name, "boxes", expected, shape)
        count = sum(rows * columns * anchors for rows, columns, anchors in _grids(self.anchors))
        if count and int(np.prod(shape[:-1])) != count:
            raise misfit(name, "boxes", f"one row for each of the {count} anchors of {self.anchors!r}", shape)

    def check_values(self, upright: OutputValues, moves: Moves) -> None:
        rows = int(np.prod(upright.array.shape[1:-1]))
        scores = upright.values[self.scores]
        if scores[0].size % rows:
            raise ValueError(
                f"scores must name an output with one row for each of the {rows} boxes of {upright.name!r}. "
                f"Received: {self.scores!r} of shape {scores.shape[1:]}"
            )
        if self.anchors:
            return
        largest = float(np.quantile(np.abs(upright.array[..., :4]), 0.9))
        fits = largest <= _FRACTIONS if self.unit == "fractions" else largest > _FRACTIONS
        if not fits and largest > 0:
            other = "pixels" if self.unit == "fractions" else "fractions"
            raise ValueError(
                f"output {upright.name!r} must be boxes in {self.unit}; unit={other!r} reads {other}. Received: nine "
                f"of ten coordinates up to {largest:.4g}, in a frame of {moves.width}x{moves.height}"
            )

    def changes(self, upright: OutputValues, transformed: OutputValues, moves: Moves) -> Quantities:
        samples, count = transformed.array.shape[:2]
        found = {name: np.full((samples, count), np.nan) for name in self.words}
        for sample in range(samples):
            before = self.detect(upright, (sample,), moves)
            inside = moves.inside(_centres(before)[None])[0]
            polygons = moves.points(corners(before.boxes).reshape(1, -1, 2))[0].reshape(count, -1, 4, 2)
            points = moves.points(before.points.reshape(1, -1, 2))[0].reshape(count, *before.points.shape)
            for place in range(count):
                kept = inside[place]
                after = self.detect(transformed, (sample, place), moves)
                expected = polygons[place][kept]
                row = self._compared(
                    Detections(before.boxes[kept], before.scores[kept], before.classes[kept], points[place][kept]),
                    expected,
                    after,
                    float(moves.zoom[place]),
                    moves.diagonal,
                )
                for name, value in (*row.items(), ("left_out", float((~kept).sum()))):
                    found[name][sample, place] = value
        return found

    def marks(self, upright: OutputValues, transformed: OutputValues, moves: Moves) -> dict[str, NDArray[Any]]:
        samples, count = transformed.array.shape[:2]
        expected, seen = ([[np.empty((0, 4, 2))] * count for _ in range(samples)] for _ in range(2))
        for sample in range(samples):
            before = self.detect(upright, (sample,), moves)
            polygons = moves.points(corners(before.boxes).reshape(1, -1, 2))[0].reshape(count, -1, 4, 2)
            for place in range(count):
                expected[sample][place] = polygons[place]
                seen[sample][place] = corners(self.detect(transformed, (sample, place), moves).boxes)
        return {"boxes_found": _padded(seen), "boxes_expected": _padded(expected)}

    def detect(self, outputs: OutputValues, place: tuple[int, ...], moves: Moves) -> Detections:
        """The boxes of one image, after the threshold and non-maximum suppression.

        Args:
            outputs: of several images.
            place: position of the image in the leading axes.
            moves: in the frame of the images.
        """
        raw = np.asarray(outputs.array[place], np.float64)
        raw = raw.reshape(-1, raw.shape[-1])
        scores = np.asarray(outputs.values[self.scores][place], np.float64).reshape(len(raw), -1)
        activation = outputs.activations.get(self.scores, "")
        if activation not in ("sigmoid", "softmax") and (scores.min() < 0 or scores.max() > 1):
            scores = 1 / (1 + np.exp(-np.clip(scores, -_LARGEST_LOGIT, _LARGEST_LOGIT)))
        classes, sure = scores.argmax(axis=1), scores.max(axis=1)
        order = np.argsort(-sure, kind="stable")
        order = order[sure[order] >= self.threshold][: self.limit]
        boxes, points = self._decoded(raw, moves)
        kept = suppressed(boxes[order], classes[order], self.suppression)
        chosen = order[kept]
        return Detections(boxes[chosen], sure[chosen], classes[chosen], points[chosen])

    def _decoded(self, raw: NDArray[np.float64], moves: Moves) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        size = np.array([moves.width, moves.height], np.float64)
        scale = size if self.unit == "fractions" else np.ones(2)
        origin = anchor_centres(self.anchors) * size if self.anchors else np.zeros((len(raw), 2))
        if self.layout == "xywh":
            centre, half = raw[:, :2] * scale + origin, np.abs(raw[:, 2:4]) * scale / 2
            boxes = np.hstack([centre - half, centre + half])
        else:
            first, second = raw[:, :2], raw[:, 2:4]
            if self.layout == "yxyx":
                first, second = first[:, ::-1], second[:, ::-1]
            boxes = np.hstack([first * scale + origin, second * scale + origin])
        points = raw[:, 4 : 4 + 2 * self.points].reshape(len(raw), self.points, 2) * scale + origin[:, None]
        return boxes, points

    def _compared(
        self, before: Detections, expected: NDArray[np.float64], after: Detections, zoom: float, diagonal: float
    ) -> dict[str, float]:
        if not len(expected):
            return {"surplus": float(len(after.boxes))}
        shapes = corners(after.boxes)
        overlaps = np.array([[overlap(one, other) for other in shapes] for one in expected]).reshape(
            len(expected), len(shapes)
        )
        overlaps *= before.classes[:, None] == after.classes[None]
        rows, columns = matched(overlaps, self.match)
        moved = np.array([_overlap_of_moved(*pair, zoom) for pair in zip(before.boxes, expected, strict=True)])
        kept = np.zeros(len(expected))
        kept[rows] = np.minimum(1, overlaps[rows, columns] / moved[rows])
        row = {
            "box_error": float(1 - kept.mean()),
            "missed": 1 - len(rows) / len(expected),
            "surplus": float(len(shapes) - len(columns)),
            "iou_of_moved": float(moved.mean()),
        }
        if len(rows):
            row["iou"] = float(overlaps[rows, columns].mean())
            row["score_change"] = float((after.scores[columns] - before.scores[rows]).mean())
            if self.points:
                distance = np.linalg.norm(after.points[columns] - before.points[rows], axis=-1)
                row["point_distance"] = float(distance.mean()) / diagonal
        return row


def anchor_centres(grids: str) -> NDArray[np.float64]:
    """Centres (x, y) of anchors in fractions of the frame, in the order of a detector's outputs: `(N, 2)`.

    Example:
        >>> from tfinv.outputs.boxes import anchor_centres
        >>> anchor_centres("1x2x2").tolist()
        [[0.25, 0.5], [0.25, 0.5], [0.75, 0.5], [0.75, 0.5]]

    Args:
        grids: as in `Boxes.anchors`.
    """
    parts = []
    for rows, columns, anchors in _grids(grids):
        y, x = np.meshgrid((np.arange(rows) + 0.5) / rows, (np.arange(columns) + 0.5) / columns, indexing="ij")
        parts.append(np.stack([x.ravel(), y.ravel()], axis=1).repeat(anchors, axis=0))
    return np.concatenate(parts)


def suppressed(boxes: NDArray[np.float64], classes: NDArray[Any], limit: float) -> NDArray[np.intp]:
    """Positions of the boxes that stay: of two of a class that overlap by more than `limit`, the first.

    Args:
        boxes: `(N, 4)`, left, top, right, bottom, the surest first.
        classes: `(N,)`.
        limit: intersection over union.
    """
    kept: list[int] = []
    areas = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1)
    for index, box in enumerate(boxes):
        low, high = np.maximum(boxes[kept, :2], box[:2]), np.minimum(boxes[kept, 2:], box[2:])
        common = np.prod(np.maximum(high - low, 0), axis=1)
        union = areas[kept] + areas[index] - common
        same = classes[kept] == classes[index]
        if not np.any(same & (common > limit * union)):
            kept.append(index)
    return np.array(kept, np.intp)


def matched(overlaps: NDArray[np.float64], least: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the pairs with the largest sum of overlaps, without pairs below `least`."""
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(1 - overlaps)
    kept = overlaps[rows, columns] >= least
    return rows[kept], columns[kept]


def _overlap_of_moved(box: NDArray[np.float64], polygon: NDArray[np.float64], zoom: float) -> float:
    """Overlap of the moved polygon with an upright box of the same size, standing or lying, about the same centre."""
    half, centre = zoom * (box[2:] - box[:2]) / 2, polygon.mean(axis=0)
    sizes = (half, half[::-1])
    return max(overlap(polygon, corners(np.concatenate([centre - one, centre + one]))) for one in sizes)


def _centres(found: Detections) -> NDArray[np.float64]:
    return (found.boxes[:, :2] + found.boxes[:, 2:]) / 2


def _grids(text: str) -> list[tuple[int, int, int]]:
    return [(int(rows), int(columns), int(anchors)) for rows, columns, anchors in _GRID.findall(text)]


def _padded(shapes: Sequence[Sequence[NDArray[np.float64]]]) -> NDArray[np.float64]:
    most = max((len(one) for row in shapes for one in row), default=0)
    padded = np.full((len(shapes), len(shapes[0]), most, 4, 2), np.nan)
    for row, column in np.ndindex(*padded.shape[:2]):
        padded[row, column, : len(shapes[row][column])] = shapes[row][column]
    return padded
