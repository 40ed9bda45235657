"""The warp: exact where it can be, else equal to SciPy and to a float64 reference, on every kind of image."""

from __future__ import annotations

import numpy as np
import pytest
import references
import tensorflow as tf
from scipy import ndimage

from tfinv.transformations import Affine, ImageFunction, TransformationSet, product, rotations, translations, warp

INTERPOLATIONS = ("bilinear", "nearest", "cubic")
PADDINGS = {"constant": "grid-constant", "nearest": "nearest", "reflect": "reflect"}
SHAPES = [(12, 12, 1), (9, 17, 3), (21, 8, 32)]


def random_maps(rng: np.random.Generator, count: int, height: int, width: int) -> tuple[list[Affine], np.ndarray]:
    """Maps, and beside them what they do in pixels from the centre, `(count, 2, 3)`, worked out without `Affine`."""
    maps, matrices = [], []
    for _ in range(count):
        degrees, slope = rng.uniform(-180, 180), rng.uniform(-25, 25)
        sx, sy = rng.uniform(0.6, 1.6, 2)
        tx, ty = rng.uniform(-0.3, 0.3, 2)
        turned = Affine.shear(slope).compose(Affine.scale(sx, sy)).compose(Affine.rotation(degrees))
        maps.append(turned.compose(Affine.translation(tx, ty)))
        shear = np.array([[1.0, np.tan(np.radians(slope))], [0.0, 1.0]])
        linear = references.rotation(degrees) @ np.diag([sx, sy]) @ shear
        matrices.append(np.column_stack([linear, [tx * width, ty * height]]))
    return maps, np.array(matrices)


def scipy_warp(image: np.ndarray, moved: np.ndarray, mode: str, fill: float) -> np.ndarray:
    """SciPy's affine_transform of one image `(H, W, C)` by `(2, 3)` in pixels from the centre, order 1."""
    linear, shift = moved[:, :2], moved[:, 2]
    back = np.linalg.inv(linear)[::-1, ::-1]  # from (x, y) to (row, column)
    centre = (np.array(image.shape[:2]) - 1) / 2
    offset = centre - back @ (centre + shift[::-1])
    planes = [
        ndimage.affine_transform(plane, back, offset, order=1, mode=mode, cval=fill)
        for plane in np.moveaxis(image.astype(np.float64), -1, 0)
    ]
    return np.stack(planes, axis=-1)


# --- exact -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("size", [1, 2, 15, 16, 64])
def test_quarter_turns_are_rot90(rng, size, padding, interpolation):
    images = rng.random((3, size, size, 5), dtype=np.float32)
    out = warp(images, rotations(4), interpolation=interpolation, padding=padding).numpy()
    for member, quarters in enumerate((2, -1, 0, 1)):
        np.testing.assert_allclose(out[:, member], np.rot90(images, quarters, axes=(1, 2)), atol=1e-5)


def test_quarter_turns_with_many_channels_are_rot90(rng):
    images = rng.random((2, 14, 14, 512), dtype=np.float32)
    out = warp(images, rotations(4)).numpy()
    np.testing.assert_allclose(out[:, 3], np.rot90(images, 1, axes=(1, 2)), atol=1e-5)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_a_quarter_turn_of_an_oblong_image_turns_its_middle_rigidly(rng, interpolation):
    images = rng.random((2, 10, 24, 3), dtype=np.float32)
    out = warp(images, Affine.rotation(90), interpolation=interpolation, fill_value=7.0).numpy()[:, 0]
    np.testing.assert_allclose(out[:, :, 7:17], np.rot90(images[:, :, 7:17], 1, axes=(1, 2)), atol=1e-5)
    assert (out[:, :, :7] == 7).all() and (out[:, :, 17:] == 7).all()


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize(("height", "width"), [(16, 16), (10, 24), (7, 30)])
def test_shifts_by_whole_pixels_are_exact(rng, height, width, interpolation):
    images = rng.random((2, height, width, 3), dtype=np.float32)
    steps = [(0, 0), (3, 0), (0, -2), (-5, 4), (height - 1, width - 1), (0, width)]
    maps = [Affine.translation(right / width, down / height) for down, right in steps]
    out = warp(images, maps, interpolation=interpolation, fill_value=-1.0).numpy()
    for member, (down, right) in enumerate(steps):
        expected = np.full_like(images, -1.0)
        source = images[:, max(-down, 0) : height - max(down, 0), max(-right, 0) : width - max(right, 0)]
        expected[:, max(down, 0) : height - max(-down, 0), max(right, 0) : width - max(-right, 0)] = source
        np.testing.assert_allclose(out[:, member], expected, atol=1e-6)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("padding", PADDINGS)
def test_identity_and_mirror_images_are_exact(rng, padding, interpolation):
    images = rng.random((2, 9, 14, 3), dtype=np.float32)
    maps = [Affine.identity(), Affine.reflection(), Affine.reflection("vertical")]
    out = warp(images, maps, padding=padding, interpolation=interpolation).numpy()
    np.testing.assert_allclose(out[:, 0], images, atol=1e-6)
    np.testing.assert_allclose(out[:, 1], images[:, :, ::-1], atol=1e-6)
    np.testing.assert_allclose(out[:, 2], images[:, ::-1], atol=1e-6)


def test_magnifying_a_linear_ramp_halves_its_slope():
    column = np.arange(21.0) - 10
    ramp = np.broadcast_to(column[None, :, None], (9, 21, 1))[None]
    for interpolation in ("bilinear", "cubic"):
        out = warp(ramp, Affine.scale(2.0), interpolation=interpolation).numpy()[0, 0]
        np.testing.assert_allclose(out, ramp[0] / 2, atol=1e-5)


# --- against SciPy and the reference ---------------------------------------------------------------------------------


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_bilinear_equals_scipy(rng, shape, padding):
    images = rng.random((2, *shape), dtype=np.float32)
    maps, moved = random_maps(rng, 25, *shape[:2])
    fill = 0.25 if padding == "constant" else 0.0
    out = warp(images, maps, padding=padding, fill_value=fill).numpy()
    for sample, member in np.ndindex(2, len(maps)):
        expected = scipy_warp(images[sample], moved[member], PADDINGS[padding], fill)
        np.testing.assert_allclose(out[sample, member], expected, atol=1e-4)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("interpolation", ["bilinear", "cubic"])
@pytest.mark.parametrize("shape", [(9, 14, 2), (11, 6, 3)], ids=str)
def test_bilinear_and_cubic_equal_the_float64_reference(rng, shape, interpolation, padding):
    images = rng.random((1, *shape), dtype=np.float32)
    maps, moved = random_maps(rng, 6, *shape[:2])
    out = warp(images, maps, interpolation=interpolation, padding=padding, fill_value=0.5).numpy()
    for member, matrix in enumerate(moved):
        expected = references.warp(images[0], matrix[:, :2], matrix[:, 2], interpolation, padding, 0.5)
        np.testing.assert_allclose(out[0, member], expected, atol=5e-5)


@pytest.mark.parametrize("padding", PADDINGS)
def test_nearest_equals_the_float64_reference(rng, padding):
    # Between two pixels rounding decides, so the share of equal pixels counts rather than the largest difference.
    images = rng.random((1, 13, 20, 1), dtype=np.float32)
    maps, moved = random_maps(rng, 10, 13, 20)
    out = warp(images, maps, interpolation="nearest", padding=padding, fill_value=0.5).numpy()
    expected = np.stack(
        [references.warp(images[0], matrix[:, :2], matrix[:, 2], "nearest", padding, 0.5) for matrix in moved]
    )
    assert np.isclose(out[0], expected, atol=1e-6).mean() > 0.999


def test_large_images_keep_their_precision(rng):
    images = references.smooth_images(rng, (1, 400, 600, 1), waves=20)
    maps, moved = random_maps(rng, 2, 400, 600)
    for interpolation in ("bilinear", "cubic"):
        out = warp(images, maps, padding="reflect", interpolation=interpolation).numpy()
        for member, matrix in enumerate(moved):
            expected = scipy_warp(images[0], matrix, "reflect", 0.0)
            limit = 1e-4 if interpolation == "bilinear" else 2e-2
            np.testing.assert_allclose(out[0, member], expected, atol=limit)


# --- laws ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("interpolation", "limit"), [("bilinear", 0.012), ("cubic", 0.0004)])
@pytest.mark.parametrize(("height", "width"), [(64, 64), (48, 96)])
def test_inverse_after_forward_is_the_identity_inside_the_frame(rng, height, width, interpolation, limit):
    images = references.smooth_images(rng, (2, height, width, 3)).astype(np.float32)
    members = product(rotations(3), translations(1, 0.1))[::3]
    members = TransformationSet(tuple(member.compose(Affine.scale(0.9, 1.1)) for member in members))
    there = warp(images, members, interpolation=interpolation).numpy()
    frame = warp(np.ones((1, height, width, 1)), members).numpy()
    for member, affine in enumerate(members):
        back = warp(there[:, member], [affine], interpolation=interpolation, inverse=True).numpy()[:, 0]
        again = warp(there[:, member], [affine.inverse()], interpolation=interpolation).numpy()[:, 0]
        np.testing.assert_allclose(back, again, atol=1e-4)
        inside = warp(frame[:, member], [affine], inverse=True).numpy()[0, 0, :, :, 0] > 0.9999
        inside = ndimage.binary_erosion(inside, iterations=3)
        assert inside.mean() > 0.2
        np.testing.assert_allclose(back[:, inside], images[:, inside], atol=limit)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (40, 96)])
def test_one_warp_by_the_composition_is_two_warps(rng, height, width):
    images = references.smooth_images(rng, (1, height, width, 2)).astype(np.float32)
    for _ in range(5):
        first = Affine.rotation(rng.uniform(-180, 180)).compose(Affine.translation(*rng.uniform(-0.1, 0.1, 2)))
        then = Affine.scale(*rng.uniform(0.8, 1.25, 2)).compose(Affine.rotation(rng.uniform(-180, 180)))
        twice = warp(warp(images, first, interpolation="cubic")[:, 0], then, interpolation="cubic").numpy()[0, 0]
        once = warp(images, first.compose(then), interpolation="cubic").numpy()[0, 0]
        frame = warp(warp(np.ones_like(images), first)[:, 0], then).numpy()[0, 0, :, :, 0] > 0.9999
        inside = ndimage.binary_erosion(frame, iterations=3)
        assert inside.mean() > 0.2
        np.testing.assert_allclose(once[inside], twice[inside], atol=0.002)


def test_samples_and_transformations_do_not_mix(rng):
    images = rng.random((5, 8, 11, 3), dtype=np.float32)
    members = rotations(7)
    out = warp(images, members).numpy()
    for sample, member in np.ndindex(5, 7):
        alone = warp(images[sample : sample + 1], members[member]).numpy()[0, 0]
        np.testing.assert_array_equal(out[sample, member], alone)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_channels_do_not_mix(rng, interpolation):
    images = rng.random((1, 9, 9, 40), dtype=np.float32)
    out = warp(images, rotations(5), interpolation=interpolation).numpy()
    for channel in (0, 17, 39):
        alone = warp(images[..., channel : channel + 1], rotations(5), interpolation=interpolation).numpy()
        np.testing.assert_allclose(out[..., channel], alone[..., 0], atol=1e-6)


# --- kinds of images, graphs and pipelines ---------------------------------------------------------------------------


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("dtype", ["uint8", "int32", "float16", "float64", "bool"])
def test_every_real_dtype_is_computed_as_float32(rng, dtype, interpolation):
    images = (rng.random((2, 8, 8, 1)) * (1 if dtype == "bool" else 200)).round().astype(dtype)
    out = warp(images, rotations(6), interpolation=interpolation)
    assert out.dtype == tf.float32
    expected = warp(images.astype(np.float32), rotations(6), interpolation=interpolation)
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_an_empty_batch_stays_empty(interpolation):
    assert warp(np.zeros((0, 8, 9, 2)), rotations(4), interpolation=interpolation).shape == (0, 4, 8, 9, 2)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_a_graph_is_traced_once_and_equals_eager(rng, interpolation):
    traces = []

    @tf.function(input_signature=[tf.TensorSpec([None, 9, 14, 2])])
    def graph(images):
        traces.append(images.shape)
        return warp(images, "rotations(6)", interpolation=interpolation)

    for samples in (4, 4, 1, 7):
        images = rng.random((samples, 9, 14, 2), dtype=np.float32)
        expected = warp(images, rotations(6), interpolation=interpolation)
        np.testing.assert_allclose(graph(images), expected, atol=1e-6)
    assert len(traces) == 1
    assert graph.get_concrete_function().output_shapes.as_list() == [None, 6, 9, 14, 2]


def test_a_pipeline_with_a_short_last_batch_equals_eager(rng):
    images = rng.random((10, 8, 8, 1), dtype=np.float32)
    batches = tf.data.Dataset.from_tensor_slices(images).batch(4).map(lambda batch: warp(batch, rotations(3)))
    assert batches.element_spec.shape.as_list() == [None, 3, 8, 8, 1]
    np.testing.assert_array_equal(np.concatenate(list(batches)), warp(images, rotations(3)))


@pytest.mark.parametrize(("interpolation", "limit"), [("bilinear", 1e-2), ("cubic", 1e-5)])
def test_gradients_reach_the_images(rng, interpolation, limit):
    images = tf.constant(rng.random((1, 8, 8, 1), dtype=np.float32))
    weights = rng.random((1, 2, 8, 8, 1), dtype=np.float32)
    maps = [Affine.rotation(20), Affine.translation(0.1, 0)]
    with tf.GradientTape() as tape:
        tape.watch(images)
        total = tf.reduce_sum(warp(images, maps, interpolation=interpolation) * weights)
    gradient = tape.gradient(total, images).numpy()
    direction = rng.random(images.shape, dtype=np.float32)
    change = tf.reduce_sum(warp(direction, maps, interpolation=interpolation) * weights)  # the warp is linear
    assert float((gradient * direction).sum()) == pytest.approx(float(change), rel=limit)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_in_a_graph_the_warp_is_placed_on_the_gpu_where_there_is_one(rng, interpolation):
    wanted = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
    options = tf.compat.v1.RunOptions(output_partition_graphs=True)
    record = tf.compat.v1.RunMetadata()
    images = rng.random((2, 8, 8, 1), dtype=np.float32)
    with tf.Graph().as_default() as graph:
        fed = tf.compat.v1.placeholder(tf.float32, [None, 8, 8, 1])
        out = warp(fed, rotations(4), interpolation=interpolation)
        with tf.compat.v1.Session(graph=graph) as session:
            warped = session.run(out, {fed: images}, options=options, run_metadata=record)
    np.testing.assert_allclose(warped, warp(images, rotations(4), interpolation=interpolation), atol=1e-6)
    kernel = "GatherV2" if interpolation == "cubic" else "ImageProjectiveTransformV3"
    devices = [node.device for part in record.partition_graphs for node in part.node if node.op == kernel]
    assert devices and all(f"device:{wanted}:" in device for device in devices)


# --- functions of images ---------------------------------------------------------------------------------------------


def test_functions_and_affine_maps_mix_in_one_set(rng):
    images = rng.random((3, 8, 8, 2), dtype=np.float32)
    members = [Affine.rotation(90), ImageFunction(lambda batch: batch * 0.5, "darker"), tf.square, Affine.identity()]
    out = warp(images, members).numpy()
    expected = [np.rot90(images, 1, axes=(1, 2)), images * 0.5, images**2, images]
    np.testing.assert_allclose(out, np.stack(expected, axis=1), atol=1e-6)


def test_functions_run_in_a_graph_of_unknown_batch_size(rng):
    @tf.function(input_signature=[tf.TensorSpec([None, 4, 4, 1])])
    def graph(images):
        in_numpy = ImageFunction(lambda batch: tf.numpy_function(np.negative, [batch], tf.float32), "negative")
        return warp(images, [in_numpy, Affine.identity()])

    images = rng.random((3, 4, 4, 1), dtype=np.float32)
    np.testing.assert_array_equal(graph(images), np.stack([-images, images], axis=1))


# --- wrong arguments -------------------------------------------------------------------------------------------------

IMAGES = np.zeros((1, 4, 4, 1), np.float32)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: warp(IMAGES[0], "rotations(4)"), r"\(S, H, W, C\).* Received: shape \(4, 4, 1\)"),
        (lambda: warp(IMAGES, "rotations(4)", interpolation="lanczos"), "interpolation must be one of .*'lanczos'"),
        (lambda: warp(IMAGES, "rotations(4)", padding="wrap"), "padding must be one of .*'wrap'"),
        (lambda: warp(IMAGES, "spins(4)"), "Received: 'spins"),
        (lambda: warp(IMAGES, []), "at least one transformation"),
        (lambda: warp(IMAGES, Affine.shear(45, 45)), "can be inverted"),
        (lambda: warp(IMAGES, Affine.shear(45, 45), inverse=True), "can be inverted"),
        (lambda: warp(IMAGES, tf.square, inverse=True), "say where they move positions"),
        (lambda: warp(IMAGES, lambda batch: batch[:, :2]), r"must keep the shape \(1, 4, 4, 1\).*\(1, 2, 4, 1\)"),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("shape", [None, [None, None, None, 3], [2, 8, 8, None]])
def test_images_of_unknown_size_are_refused_while_the_graph_is_built(shape):
    graph = tf.function(lambda images: warp(images, "rotations(4)"), input_signature=[tf.TensorSpec(shape)])
    with pytest.raises(ValueError, match="only S may be unknown"):
        graph.get_concrete_function()
