"""Figures show the numbers they were given, readably, and change nothing."""

from __future__ import annotations

import base64
import functools
import io
import itertools
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import matplotlib
import numpy as np
import pandas as pd
import pytest
from gallery import KEY, LONG, SHORT, curves, figures, made_up, recipes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from PIL import Image

from tfinv import plots
from tfinv.plots.axes import short_names, shown_ticks
from tfinv.plots.frames import merged_layers
from tfinv.plots.quantization import frontier
from tfinv.results import LayerResult, MeasureResult, Results
from tfinv.status import Status

MAKERS = figures()


@functools.cache
def drawn(name):
    return MAKERS[name]()


def frame(**columns):
    return pd.DataFrame(columns)


def measure(**layers):
    return MeasureResult(KEY, {name: LayerResult(*pair) for name, pair in layers.items()})


def small_print(figure):
    return " ".join(figure._supxlabel.get_text().split()) if figure._supxlabel else ""


def texts(figure, renderer):
    """Every visible, filled text of a figure with its box."""
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    ticks = [tick for axes in figure.axes for axis in axes._axis_map.values() for tick in axis.get_major_ticks()]
    hidden = {id(label) for tick in ticks for label in (tick.label1, tick.label2) if not _inside(tick, label)}
    return [(text, text.get_window_extent(renderer)) for text in texts if id(text) not in hidden]


def _inside(tick, label):
    """Ticks outside the view are kept by matplotlib and not drawn."""
    axis_limits = (
        tick.axes.get_xlim() if "X" in type(tick).__name__ or "Theta" in type(tick).__name__ else tick.axes.get_ylim()
    )
    low, high = sorted(axis_limits)
    return label.get_visible() and low - 1e-9 <= tick.get_loc() <= high + 1e-9


@pytest.mark.parametrize("name", MAKERS)
def test_every_text_lies_inside_the_figure_and_names_do_not_overlap(name):
    figure = drawn(name)
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()
    width, height = figure.bbox.width, figure.bbox.height
    for text, box in texts(figure, renderer):
        assert box.x0 >= -1 and box.y0 >= -1 and box.x1 <= width + 1 and box.y1 <= height + 1, text.get_text()
    for axes in figure.axes:
        labels = [tick for tick in axes.get_xticklabels() if tick.get_text() and tick.get_rotation() in (0, 90)]
        boxes = sorted((label.get_window_extent(renderer) for label in labels), key=lambda box: box.x0)
        if axes.name != "polar":
            assert all(left.x1 <= right.x0 + 1 for left, right in itertools.pairwise(boxes))
    assert figure.get_figwidth() <= 9.3 and figure.get_figheight() <= 9


@pytest.mark.parametrize("name", MAKERS)
def test_axes_are_labelled(name):
    figure = drawn(name)
    if name not in ("images", "feature-maps", "feature-maps-dense", "accuracy-polar"):
        assert all(axes.get_ylabel() for axes in figure.axes)
        assert any(axes.get_xlabel() for axes in figure.axes)


def test_profile_draws_the_means():
    plain, augmented = made_up(SHORT, 0.0), made_up(SHORT, 0.6)
    figure = plots.profile({"plain": plain, "augmented": augmented})
    axes = figure.axes[0]
    for line, results in zip(axes.lines, (plain, augmented), strict=True):
        np.testing.assert_array_equal(line.get_ydata(), results.profile()["mean"])
        np.testing.assert_array_equal(line.get_xdata(), np.arange(17))
    assert [tick.get_text() for tick in axes.get_xticklabels()] == SHORT
    assert [line.get_label() for line in axes.lines] == ["plain", "augmented"]
    assert axes.get_ylim()[0] == 0
    assert axes.get_ylabel() == f"{KEY}\nmean over units"


def test_profile_lines_differ_without_colour():
    lines = plots.profile({str(i): made_up(SHORT, 0.0) for i in range(16)}).axes[0].lines
    assert len({(line.get_marker(), line.get_linestyle(), line.get_color()) for line in lines}) == 16
    assert len({line.get_marker() for line in lines[:8]}) == 8


def test_profile_shows_gaps_and_says_what_was_left_out():
    holes = frame(
        layer=list("abcd"),
        mean=[0.5, np.nan, np.inf, 0.25],
        units=[4, 4, 4, 8],
        left_out=[1, 4, 4, 0],
        dead=[1, 4, 0, 0],
    )
    figure = plots.profile({"model": holes})
    axes = figure.axes[0]
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [0.5, np.nan, np.nan, 0.25])
    np.testing.assert_array_equal(axes.collections[-1].get_offsets()[:, 0], [1, 2])
    assert small_print(figure) == (
        "Units left out of the means: model 9 of 20 (5 dead). Gaps, layers without a valid unit: model b, c."
    )


def test_profile_without_any_valid_unit_says_so():
    figure = plots.profile({"model": frame(layer=["a", "b"], mean=[np.nan, np.nan])})
    assert "no layer has a valid unit" in [text.get_text() for text in figure.axes[0].texts]


@pytest.mark.parametrize("in_frame", [True, False])
def test_profile_bands_span_low_to_high(in_frame):
    model = frame(layer=["a", "b", "c"], mean=[0.5, 0.6, 0.4])
    ends = frame(layer=["c", "b", "a"], low=[0.3, 0.5, 0.4], high=[0.45, 0.9, 0.7])
    figure = (
        plots.profile({"model": model.merge(ends, on="layer")})
        if in_frame
        else plots.profile({"model": model}, bands={"model": ends})
    )
    band = figure.axes[0].collections[0].get_paths()[0].vertices
    points = {(x, round(y, 6)) for x, y in band}
    assert {(0, 0.4), (0, 0.7), (1, 0.5), (1, 0.9), (2, 0.3), (2, 0.45)} <= points
    assert figure.axes[0].get_ylim()[1] > 0.9


def test_profile_bands_can_be_left_away():
    model = frame(layer=["a", "b"], mean=[0.5, 0.6], low=[0.4, 0.5], high=[0.6, 0.7])
    with_bands, without = plots.profile({"m": model}), plots.profile({"m": model}, bands=False)
    assert len(with_bands.axes[0].collections) == len(without.axes[0].collections) + 1


def test_profile_keeps_network_order_where_a_layer_was_fused_away():
    full, fused = frame(layer=["conv", "bn", "relu"], mean=[0.3, 0.2, 0.1]), frame(layer=["relu"], mean=[0.15])
    figure = plots.profile({"fused": fused, "full": full})
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == ["conv", "bn", "relu"]
    assert figure.axes[0].lines[0].get_xdata().tolist() == [2]
    assert merged_layers([["a", "c"], ["a", "b", "c", "d"]]) == ["a", "b", "c", "d"]


def test_relative_axis_spans_every_network():
    figure = plots.profile({"short": made_up(SHORT, 0.1), "long": made_up(LONG, 0.1)}, relative_axis=True)
    short, long = (line.get_xdata() for line in figure.axes[0].lines)
    assert (short[0], short[-1], long[0], long[-1]) == (0, 100, 0, 100)
    np.testing.assert_allclose(np.diff(short), 100 / 16)
    assert (len(short), len(long)) == (17, 80)


def test_profile_of_several_measures_in_one_model():
    one = made_up(["a", "b"], 0.1)[KEY]
    both = Results({"First": one, "Second": MeasureResult("Second", one.layers)})
    assert [line.get_label() for line in plots.profile(both).axes[0].lines] == ["First", "Second"]
    assert len(plots.profile(both, "Second").axes[0].lines) == 1
    with pytest.raises(ValueError, match=r"one of First, Second\. Received: None"):
        plots.profile({"model": both})
    with pytest.raises(ValueError, match="must be one of First, Second"):
        plots.profile({"model": both.profile().assign(measure=["First", "First", "Second", "Second"])}, "Third")


def test_names_are_never_formulas_nor_hidden():
    figure = plots.profile({"_cost $x$ in $": frame(layer=["a$b", "$c"], mean=[0.1, 0.2])}, title="5 $ and 6 $")
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert [label.strip() for label in labels] == ["_cost $x$ in $"]
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == ["a$b", "$c"]
    plots.to_data_uri(figure)


@pytest.mark.parametrize("count", range(1, 9))
def test_every_entry_of_the_legend_lies_inside_the_figure(count):
    names = ("reference", "untrained", "trained with rotations", "cifar10 images", "scales", "translations", "a", "b")
    figure = plots.profile({name: frame(layer=["a", "b"], mean=[0.1, 0.2]) for name in names[:count]})
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.legends[0].get_texts()]
    assert len(boxes) == count and max(box.x1 for box in boxes) <= figure.bbox.x1


def test_short_names_are_short_distinct_and_without_shared_folders():
    assert short_names(["net/a/conv", "net/a/relu", "net/b"]) == ["a/conv", "a/relu", "b"]
    assert short_names(["a/conv", "a/relu"]) == ["conv", "relu"]
    assert short_names([]) == []
    long = short_names([f"a_very_long_prefix_{i}_and_a_very_long_ending" for i in range(3)])
    assert len(set(long)) == 3 and all(len(name) <= 22 for name in long)
    assert short_names(["block_13_expand_relu_bn"]) == ["block_13…d_relu_bn"]


@pytest.mark.parametrize("count", [1, 2, 17, 40, 41, 80, 155, 1000])
def test_ticks_are_thinned_and_keep_both_ends(count):
    ticks = shown_ticks(count)
    assert ticks[0] == 0 and ticks[-1] == count - 1 and len(ticks) <= 40
    assert ticks == sorted(set(ticks)) and (count > 40 or len(ticks) == count)


def test_heatmap_cells_are_the_values_sorted_and_the_input_stays():
    values = np.array([0.9, 0.1, 1.0, np.inf, 0.5])
    status = np.array([Status.VALID, Status.VALID, Status.DEAD, Status.SAMPLE_CONSTANT, Status.VALID])
    given = values.copy()
    result = measure(dense=(values, status))
    figure = plots.heatmap(result)
    cells = figure.axes[0].images[0].get_array()
    np.testing.assert_array_equal(cells.compressed(), [0.1, 0.5, 0.9])
    np.testing.assert_array_equal(cells.mask[:, 0], [False, False, False, True, True])
    np.testing.assert_array_equal(result["dense"].values, given)
    np.testing.assert_array_equal(values, given)
    unsorted = plots.heatmap(result, sort=False).axes[0].images[0].get_array()
    np.testing.assert_array_equal(unsorted.filled(-1)[:, 0], [0.9, 0.1, -1, -1, 0.5])


def test_heatmap_hatches_units_without_value_where_they_stand():
    values, status = np.array([0.9, 0.1, 1.0, np.inf]), np.array([0, 0, Status.DEAD, Status.SAMPLE_CONSTANT])
    figure = plots.heatmap(measure(dense=(values, status)))
    dead, constant = figure.axes[0].patches
    assert (dead.get_y(), dead.get_height(), constant.get_y(), constant.get_height()) == (50, 25, 75, 25)
    assert dead.get_hatch() != constant.get_hatch()
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["dead (0/0): 1 of 4", "sample-constant (x/0): 1 of 4"]


def test_heatmap_averages_feature_maps_over_their_valid_positions():
    values = np.array([[[1.0, 8.0, 1.0]], [[3.0, np.inf, 1.0]]])
    status = np.array([[[0, 0, Status.DEAD]], [[0, Status.SAMPLE_CONSTANT, Status.DEAD]]])
    cells = plots.heatmap(measure(conv=(values, status)), sort=False).axes[0].images[0].get_array()
    np.testing.assert_array_equal(cells.filled(-1)[:, 0], [2, 8, -1])


def test_heatmap_thins_out_large_layers_evenly_and_says_so():
    figure = plots.heatmap(measure(dense=(np.arange(1001.0)[::-1], np.zeros(1001))), max_units=11)
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array()[:, 0], np.arange(0, 1001, 100))
    assert "Layers with more than 11 units show 11" in small_print(figure)
    assert [text.get_text() for text in figure.axes[0].texts] == ["1,001"]


def test_heatmap_colour_scale_ignores_a_single_outlier_and_names_layers_without_values():
    values = np.append(np.linspace(0, 1, 999), 50.0)
    result = MeasureResult(
        KEY, {"dense": LayerResult(values, np.zeros(1000)), "flat": LayerResult.not_applicable("no space")}
    )
    figure = plots.heatmap(result)
    assert figure.axes[0].images[0].get_clim() == (0, pytest.approx(np.percentile(values, 99)))
    assert "Without values: flat (no space)." in small_print(figure)


def test_change_heatmap_shows_differences_and_what_became_invalid():
    before = measure(
        dense=(np.array([0.5, 0.5, 1.0, 1.0]), np.array([0, 0, Status.DEAD, Status.DEAD])), old=([1.0], [0])
    )
    after = measure(dense=(np.array([0.75, 1.0, 0.5, 1.0]), np.array([0, Status.DEAD, 0, Status.DEAD])))
    figure = plots.change_heatmap(before, after, sort=False)
    image = figure.axes[0].images[0]
    np.testing.assert_array_equal(image.get_array().filled(9)[:, 0], [0.25, 9, 9, 9])
    assert image.get_clim() == (-0.25, 0.25)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "valid only before: 1 of 4",
        "valid only after: 1 of 4",
        "valid in neither: 1 of 4",
    ]
    assert "Only in one of the two: old." in small_print(figure)


def test_relative_error_map_has_its_axes_the_right_way():
    rows = [(400, 16, 0.01), (100, 4, 0.4), (400, 4, 0.2), (100, 25, 0.3)]
    figure = plots.relative_error_map(pd.DataFrame(rows, columns=["samples", "transformations", "error"]))
    axes = figure.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("number of transformations", "number of samples")
    columns = {tick.get_text(): x for x, tick in zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)}
    lines = {tick.get_text(): y for y, tick in zip(axes.get_yticks(), axes.get_yticklabels(), strict=True)}
    shown = {text.get_position(): text.get_text() for text in axes.texts}
    assert shown == {(columns[f"{t}"], lines[f"{s}"]): f"{error:.2g}" for s, t, error in rows}
    assert not axes.yaxis_inverted() and lines["400"] > lines["100"]


def test_accuracy_curve_draws_shares_against_sorted_angles():
    given = curves().sample(frac=1, random_state=0)
    figure = plots.accuracy_curve(given, chance=0.1)
    for line, name in zip(figure.axes[0].lines, given["model"].unique(), strict=False):
        rows = given[given["model"] == name].sort_values("degrees")
        np.testing.assert_array_equal(line.get_xydata(), rows[["degrees", "accuracy"]])
    np.testing.assert_array_equal(figure.axes[0].lines[2].get_ydata(), [0.1, 0.1])
    assert figure.axes[0].get_ylim() == (0, 1)
    assert figure.axes[0].yaxis.get_major_formatter()(0.4) == "40"
    same = plots.accuracy_curve({"plain": {90: 0.3, 0: 0.9}}).axes[0].lines[0]
    assert same.get_xydata().tolist() == [[0, 0.9], [90, 0.3]]


def test_polar_curve_closes_a_whole_turn_only():
    whole = plots.accuracy_curve(curves(), polar=True).axes[0].lines[0]
    np.testing.assert_allclose(whole.get_xdata()[[0, -1]], [-np.pi, np.pi])
    assert whole.get_ydata()[0] == whole.get_ydata()[-1] and len(whole.get_xdata()) == 17
    part = plots.accuracy_curve({"m": {-20: 0.5, 0: 0.9, 20: 0.5}}, polar=True).axes[0].lines[0]
    np.testing.assert_allclose(part.get_xdata(), np.deg2rad([-20, 0, 20]))


def test_bars_have_heights_intervals_and_numbers():
    rows = [("a", "x", 0.5, 0.4, 0.7), ("b", "x", np.nan, np.nan, np.nan), ("a", "y", 0.25, 0.2, 0.3)]
    figure = plots.bars(pd.DataFrame(rows, columns=["m", "g", "v", "low", "high"]), "m", "v", group="g", percent=True)
    axes = figure.axes[0]
    heights = [bar.get_height() for bar in axes.patches]
    np.testing.assert_array_equal(heights, [0.5, np.nan, 0.25, np.nan])
    ends = axes.collections[0].get_segments()[0]
    np.testing.assert_allclose(ends[:, 1], [0.4, 0.7])
    assert [text.get_text() for text in axes.texts] == ["50.0", "n/a", "25.0", "n/a"]
    assert len({bar.get_hatch() for bar in axes.patches}) == 2
    assert axes.get_xlim()[1] >= 1.4  # the last bar, which is missing, ends there


def test_image_grid_shows_every_pixel_in_its_place():
    images = np.random.default_rng(0).random((3, 4, 24, 30, 3))
    figure = plots.image_grid(images, ["r0", "r1", "r2"], ["c0", "c1", "c2", "c3"])
    axes = figure.axes[0]
    canvas = np.asarray(axes.images[0].get_array())
    for row, y in enumerate(axes.get_yticks()):
        for column, x in enumerate(axes.get_xticks()):
            top, left = round(y - 11.5), round(x - 14.5)
            np.testing.assert_array_equal(canvas[top : top + 24, left : left + 30], images[row, column])
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["r0", "r1", "r2"]
    figure.draw_without_rendering()
    box = axes.get_position()
    drawn = box.height * figure.get_figheight() / (box.width * figure.get_figwidth())
    assert drawn == pytest.approx(canvas.shape[0] / canvas.shape[1], rel=0.02)


def test_image_grid_takes_bytes_and_other_limits():
    bytes_ = plots.image_grid(np.full((1, 1, 24, 24, 1), 255, np.uint8)).axes[0].images[0].get_array()
    assert float(bytes_.min()) == 1.0
    scaled = plots.image_grid(np.zeros((1, 1, 24, 24, 1)), limits=(-1, 1)).axes[0].images[0].get_array()
    assert float(scaled.max()) == 0.5


def test_feature_maps_scale_each_row_and_add_mean_and_deviation():
    maps = np.array([[1.0, 3.0, 5.0], [7.0, 7.0, 7.0]])
    figure = plots.feature_maps(maps, [1.5, 0.0], names=["a", "b"], column_labels=["0°", "45°", "90°"])
    axes = figure.axes[0]
    canvas = axes.images[0].get_array()
    cells = [[canvas[round(y), round(x)] for x in axes.get_xticks()] for y in axes.get_yticks()]
    np.testing.assert_allclose(cells[0], [0, 0.5, 1, 0.5, np.std([0, 0.5, 1])])
    np.testing.assert_allclose(cells[1], 0)
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0°", "45°", "90°", "mean", "std"]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["a: 1.5", "b: 0"]
    assert axes.texts[0].get_text() == "1.0 … 5.0"


def test_before_after_draws_profiles_differences_and_zero():
    layers = ["a", "b", "c"]
    before, after = frame(layer=layers, mean=[0.5, 0.4, 0.3]), frame(layer=layers, mean=[0.5, 0.45, 0.2])
    ends = frame(layer=layers, difference=[0.0, 0.05, -0.1], low=[-0.1, 0.01, -0.2], high=[0.1, 0.09, -0.01])
    figure = plots.before_after(before, after, ends, names=("float32", "int8"))
    above, below = figure.axes
    np.testing.assert_array_equal([line.get_ydata() for line in above.lines], [before["mean"], after["mean"]])
    zero, real, noise = below.lines
    assert list(zero.get_ydata()) == [0, 0]
    assert (real.get_xdata().tolist(), real.get_ydata().tolist()) == ([1, 2], [0.05, -0.1])
    assert (noise.get_xdata().tolist(), noise.get_ydata().tolist()) == ([0], [0.0])
    assert noise.get_markerfacecolor() == "white" and real.get_markerfacecolor() != "white"
    segments = np.concatenate([bars.get_segments() for bars in below.collections])
    np.testing.assert_allclose(sorted(map(tuple, segments[:, :, 1])), [(-0.2, -0.01), (-0.1, 0.1), (0.01, 0.09)])
    assert "interval excludes 0" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_frontier_holds_the_points_that_none_dominates():
    xs, ys = np.array([1.0, 2.0, 2.0, 3.0, 1.0]), np.array([0.5, 0.9, 0.8, 0.9, 0.5])
    assert frontier(xs, ys).tolist() == [True, True, False, False, True]
    rng = np.random.default_rng(0)
    xs, ys = rng.random(40), rng.random(40)
    naive = [
        not any(a <= x and b >= y and (a < x or b > y) for a, b in zip(xs, ys, strict=True))
        for x, y in zip(xs, ys, strict=True)
    ]
    assert frontier(xs, ys).tolist() == naive


def test_pareto_names_hide_no_point_and_no_other_name():
    given = recipes()
    figure = plots.pareto(given)
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()
    axes = figure.axes[0]
    names = [text for text in axes.texts if text.get_text()]
    assert sorted(name.get_text() for name in names) == sorted(given["recipe"])
    boxes = [name.get_window_extent(renderer) for name in names]
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[i + 1 :])
        assert not any(box.contains(*point) for point in axes.transData.transform(given[["kib", "accuracy"]]))


def test_pareto_of_one_point_and_of_a_model_without_numbers():
    figure = plots.pareto(frame(recipe=["a", "b"], kib=[1.0, np.nan], accuracy=[0.5, 0.9]))
    assert [text.get_text() for text in figure.axes[0].texts] == ["a"]
    assert small_print(figure) == "Without numbers: b."


def test_save_writes_a_whole_file_or_none(tmp_path):
    figure = plots.accuracy_curve(curves())
    path = plots.save(figure, tmp_path / "new" / "curve.png")
    with Image.open(path) as picture:
        assert picture.info["dpi"] == pytest.approx((150, 150), abs=0.1)
        assert picture.width == round(figure.get_figwidth() * 150)
        assert np.asarray(picture.convert("L")).std() > 10
    assert [file.name for file in path.parent.iterdir()] == ["curve.png"]
    for ending in ("svg", "pdf"):
        assert plots.save(figure, tmp_path / f"curve.{ending}").stat().st_size > 1000
    with pytest.raises(ValueError, match=r"must end in \.png, \.svg or \.pdf\. Received: .*curve\.jpg"):
        plots.save(figure, tmp_path / "curve.jpg")


def test_data_uri_is_a_picture_and_always_the_same():
    uri = plots.to_data_uri(plots.accuracy_curve(curves()))
    head, data = uri.split(",")
    assert head == "data:image/svg+xml;base64"
    assert ElementTree.fromstring(base64.b64decode(data)).tag.endswith("svg")
    assert plots.to_data_uri(plots.accuracy_curve(curves())) == uri
    dots = plots.to_data_uri(plots.accuracy_curve(curves()), "png")
    with Image.open(io.BytesIO(base64.b64decode(dots.split(",")[1]))) as picture:
        assert picture.format == "PNG"


def test_a_heavy_figure_is_embedded_as_dots():
    assert len(plots.to_data_uri(drawn("change-80"))) < 700_000


def test_a_notebook_shows_a_figure_without_pyplot():
    data = plots.accuracy_curve(curves())._repr_png_()
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.format == "PNG"


def test_global_settings_stay_as_they_were():
    before = dict(matplotlib.rcParams)
    plots.to_data_uri(plots.accuracy_curve(curves()))
    assert dict(matplotlib.rcParams) == before


def test_figures_from_saved_results_need_no_tensorflow(tmp_path):
    made_up(SHORT, 0.5).save(tmp_path / "r.npz")
    script = f"""
import sys
import tfinv.plots, tfinv.report
loaded = [name for name in ("matplotlib", "pandas", "tensorflow", "keras", "jinja2") if name in sys.modules]
assert not loaded, loaded
from tfinv.results import Results
results = Results.load({str(tmp_path / "r.npz")!r})
figure = tfinv.plots.profile({{"model": results}})
tfinv.plots.save(figure, {str(tmp_path / "p.png")!r})
report = tfinv.report.Report("t").figure(figure, "c", "a").table(results.profile(), "t")
report.write_html({str(tmp_path / "r.html")!r})
loaded = [name for name in ("tensorflow", "keras", "matplotlib.pyplot") if name in sys.modules]
assert not loaded, loaded
"""
    subprocess.run([sys.executable, "-c", script], check=True)
    assert (tmp_path / "p.png").stat().st_size > 10_000 and (tmp_path / "r.html").stat().st_size > 10_000


ONE = frame(layer=["a"], mean=[0.5])
BAD = {
    "nothing": (lambda: plots.profile({}), TypeError, "at least one name"),
    "an array": (
        lambda: plots.profile({"m": np.zeros(3)}),
        TypeError,
        r"\['m'\] must be a pandas frame",
    ),
    "no mean": (lambda: plots.profile({"m": frame(layer=["a"])}), ValueError, "columns layer, mean. Received: 1 rows"),
    "no rows": (lambda: plots.profile({"m": ONE.iloc[:0]}), ValueError, "must have rows"),
    "repeated layer": (lambda: plots.profile({"m": pd.concat([ONE, ONE])}), ValueError, "one row per layer"),
    "unknown band": (lambda: plots.profile({"m": ONE}, bands={"x": ONE}), ValueError, "names m. Received: x"),
    "band without low": (lambda: plots.profile({"m": ONE}, bands={"m": ONE}), ValueError, "layer, low, high"),
    "bands of True": (
        lambda: plots.profile({"m": ONE}, bands=True),
        TypeError,
        "bands must be .* Received: True",
    ),
    "heat map of a frame": (lambda: plots.heatmap(ONE), TypeError, "measure_result must be Results"),
    "no layers": (lambda: plots.heatmap(MeasureResult(KEY, {})), ValueError, "at least one layer"),
    "no units": (
        lambda: plots.heatmap(made_up(["a"], 0), max_units=0),
        ValueError,
        "max_units must be .* at least 1",
    ),
    "nothing in common": (
        lambda: plots.change_heatmap(made_up(["a"], 0), made_up(["b"], 0)),
        ValueError,
        "must share layers. Received: a and b",
    ),
    "other units": (
        lambda: plots.change_heatmap(measure(a=([1.0], [0])), measure(a=([1.0, 2.0], [0, 0]))),
        ValueError,
        "Received: a with 1 and 2",
    ),
    "repeated pair": (
        lambda: plots.relative_error_map(frame(samples=[1, 1], transformations=[2, 2], error=[0.1, 0.2])),
        ValueError,
        "repeated pairs",
    ),
    "no curves": (lambda: plots.accuracy_curve({}), TypeError, "without entries"),
    "polar scale": (lambda: plots.accuracy_curve({"m": {1.0: 0.5}}, "scale", polar=True), ValueError, "x='scale'"),
    "two at one angle": (
        lambda: plots.accuracy_curve({"m": frame(degrees=[0, 0], accuracy=[0.1, 0.2])}),
        ValueError,
        "one row for each degrees",
    ),
    "two for one bar": (lambda: plots.bars(frame(m=["a", "a"], v=[1, 2]), "m", "v"), ValueError, "repeated rows"),
    "four axes": (lambda: plots.image_grid(np.zeros((2, 8, 8, 1))), ValueError, r"Received: \(2, 8, 8, 1\)"),
    "two channels": (lambda: plots.image_grid(np.zeros((1, 1, 8, 8, 2))), ValueError, "1 or 3"),
    "bytes as floats": (
        lambda: plots.image_grid(np.full((1, 1, 8, 8, 1), 200.0)),
        ValueError,
        "from 200 to 200",
    ),
    "NaN image": (lambda: plots.image_grid(np.full((1, 1, 8, 8, 1), np.nan)), ValueError, "must be finite"),
    "labels": (lambda: plots.image_grid(np.zeros((2, 1, 8, 8, 1)), ["a"]), ValueError, "row_labels must have 2"),
    "scores": (lambda: plots.feature_maps(np.zeros((2, 3)), [1.0]), ValueError, r"shape \(2, 3\), 1 scores"),
    "no shared profile": (
        lambda: plots.before_after(ONE, frame(layer=["b"], mean=[0.5])),
        ValueError,
        "must share layers",
    ),
    "no numbers": (lambda: plots.pareto(recipes().assign(kib=np.nan)), ValueError, "finite kib and accuracy"),
    "data uri": (lambda: plots.to_data_uri(plots.profile({"m": ONE}), "gif"), ValueError, "Received: 'gif'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_named(case):
    call, error, message = BAD[case]
    with pytest.raises(error, match=message):
        call()


def test_one_layer_is_drawn():
    assert plots.profile({"m": ONE}).axes[0].lines[0].get_ydata().tolist() == [0.5]
