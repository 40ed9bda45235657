"""Sigmoid outputs of several units: what their predictions are is said, and each label can be judged by itself."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import tfinv
from tfinv.activations import ActivationModel
from tfinv.activations.outputs import remarks
from tfinv.callbacks import InvarianceCallback
from tfinv.datasets import Dataset, Split, load, on_disk
from tfinv.datasets.given import as_labels
from tfinv.datasets.sampling import stratified_sample, stratified_split
from tfinv.run import main
from tfinv.tflite import Subsets, TFLiteModel, compare_files, float32, qat_int8, static_int8, study
from tfinv.tflite.comparison.gate import check, metric_value
from tfinv.training import accuracy, accuracy_under, label_accuracy, right_under, train
from tfinv.transformations import as_set, warp

pytestmark = pytest.mark.usefixtures("undrawn")

LABELS, SAID = 3, "the output labels has 3 sigmoid units, which may tell several labels of one image"


def network() -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Flatten(name="flat")(keras.layers.Conv2D(4, 3, activation="relu", name="conv")(inputs))
    return keras.Model(inputs, keras.layers.Dense(LABELS, activation="sigmoid", name="labels")(x))


def images() -> np.ndarray:
    return np.random.default_rng(0).random((24, 8, 8, 1), dtype=np.float32)


def test_a_label_by_itself_has_accuracies_by_its_threshold():
    model, data = network(), images()
    outputs = np.asarray(model(data))
    for k in range(LABELS):
        single = keras.Model(model.inputs, model.outputs[0][:, k : k + 1])
        labels = np.arange(24) % 2
        expected = ((outputs[:, k] > 0.5) == labels).mean()
        assert accuracy(single, (data, labels)) == pytest.approx(expected)
        results = tfinv.evaluate(single, data, "rotations(4)", "AccuracyUnder", labels=labels, progress=False)
        upright = [layer.values[2] for layer in results["AccuracyUnder"].values() if layer.values.size]
        assert upright == [pytest.approx(expected)]


def test_comparisons_say_what_the_predictions_of_such_an_output_are():
    file = TFLiteModel(float32(network()))
    assert remarks(file.outputs) and remarks(file.outputs)[0].startswith(SAID)
    assert remarks(ActivationModel(network()).outputs)[0].startswith(SAID)
    found = compare_files(file, file, images(), "rotations(4)", measures="NormalizedVariance", progress=False)
    assert sum(text.startswith(SAID) for text in found.warnings) == 1


def answers_by_hand(model: keras.Model, data: np.ndarray) -> np.ndarray:
    """Yes or no for every label under rotations by quarter turns: bool `(S, T, K)`."""
    members = as_set("rotations(4)")
    warped = np.asarray(warp(data, members))
    return np.stack([np.asarray(model(warped[:, j])) > 0.5 for j in range(len(members))], axis=1)


def with_spread(model: keras.Model) -> keras.Model:
    """Larger weights, so that labels differ between images and turns."""
    kernel, bias = model.layers[-1].get_weights()
    scores = np.asarray(keras.Model(model.inputs, model.layers[-2].output)(images())) @ kernel
    model.layers[-1].set_weights([kernel * 20, bias - 20 * np.median(scores, axis=0)])
    return model


def test_accuracy_of_every_label_and_of_all_at_once():
    model, data = with_spread(network()), images()
    labels = np.random.default_rng(1).integers(0, 2, (24, LABELS))
    right = answers_by_hand(model, data) == labels[:, None]
    found = label_accuracy(model, (data, labels), "rotations(4)", batch_size=7)
    np.testing.assert_allclose(found.labels, right.mean(axis=0))
    np.testing.assert_allclose(found.exact, right.all(axis=-1).mean(axis=0))
    np.testing.assert_allclose(found.mean, right.mean(axis=(0, 2)))
    assert 0.1 < found.labels.min() < found.labels.max() < 0.9 and (found.exact < found.labels.min(axis=1)).all()
    logits = keras.Model(model.inputs, keras.ops.log(model.output / (1 - model.output)))
    for other in (logits, lambda x: np.asarray(logits(x))):  # the threshold of logits is 0
        np.testing.assert_allclose(label_accuracy(other, (data, labels)).labels[0], found.labels[2], atol=1e-9)
    strict = label_accuracy(model, (data, np.zeros_like(labels)), threshold=1.0)
    assert strict.exact.tolist() == [1.0]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros((24, 2)), r"one column for each of the model's 3 outputs. Received: shape \(24, 2\)"),
        (np.zeros(24), r"must be a matrix of 0 and 1.*Received: float64 of shape \(24,\)"),
        (np.full((24, 3), 2), "must be a matrix of 0 and 1.*Received: values from 2 to 2"),
        ([[0, 1, 0], [1]] * 12, "rows of several lengths"),
        (None, "Received: images alone"),
    ],
)
def test_labels_that_are_no_matrix_are_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        label_accuracy(network(), (images(), labels))


def test_labels_that_flip_are_counted_by_label_image_and_set():
    model, data = with_spread(network()), images()
    answers = answers_by_hand(model, data)
    upright = np.asarray(model(data))[:, None] > 0.5
    differs = answers != upright
    found = tfinv.output_change(model, data, "rotations(4)", "labels", progress=False)
    table = found.to_frame().set_index(["quantity", "degrees"])["mean"]
    degrees = sorted(set(table.loc["changed"].index))
    assert len(degrees) == 4
    union, both = (answers | upright).sum(-1), (answers & upright).sum(-1)
    overlap = np.where(union > 0, both / np.maximum(union, 1), 1)
    expected = {"changed": differs.mean((0, 2)), "set_changed": differs.any(-1).mean(0), "overlap": overlap.mean(0)}
    for quantity, values in expected.items():
        np.testing.assert_allclose(np.sort(table.loc[quantity].to_numpy()), np.sort(values), atol=1e-9)
    assert expected["changed"].max() > 0.1 > expected["changed"].min() == 0
    strict = tfinv.output_change(model, data, "rotations(4)", "labels(threshold=1)", progress=False).to_frame()
    assert set(strict.query("quantity == 'changed'")["mean"]) == {0.0}
    with pytest.raises(ValueError, match="threshold must be a number"):
        tfinv.outputs.kind("labels(threshold='half')")


def test_a_file_and_another_are_compared_by_all_their_labels():
    file = TFLiteModel(float32(with_spread(network())))
    found = compare_files(
        file, file, images(), "rotations(4)", measures="NormalizedVariance", subsets=Subsets(outputs="labels"),
        progress=False,
    )  # fmt: skip
    assert found.outputs is not None and not any("several labels of one image" in text for text in found.warnings)
    assert set(found.outputs.summary()["kind"]) == {"labels"}


def many_labels() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 2, (24, LABELS))


def by_hand(right: np.ndarray) -> dict[str, np.ndarray]:
    """Measures of answers `(S, T, K)`, every label of an image counted by itself, in float64."""
    times = np.moveaxis(right, 1, 2).reshape(-1, right.shape[1]).sum(axis=1)
    count = right.shape[1]
    return {
        "AccuracyUnder": right.mean(axis=(0, 2)),
        "WorstCaseAccuracy": np.array([(times == count).mean()]),
        "AccuracyAtLeast": np.array([(times >= least).mean() for least in range(1, count + 1)]),
    }


def test_accuracies_and_measures_count_every_label_by_its_threshold():
    model, data, labels = with_spread(network()), images(), many_labels()
    answers = answers_by_hand(model, data)
    right = answers == labels[:, None]
    upright = np.asarray(model(data)) > 0.5
    assert accuracy(model, (data, labels)) == pytest.approx((upright == labels).mean(), abs=1e-12)
    under = accuracy_under(model, data, labels, "rotations(4)", batch_size=7)
    np.testing.assert_allclose(under, right.mean(axis=(0, 2)), atol=1e-12)
    np.testing.assert_array_equal(right_under(model, data, labels, "rotations(4)"), right.all(axis=-1))
    expected = by_hand(right) | {
        "PredictionConsistency": (answers == upright[:, None]).mean(axis=(0, 2)),
        "ConsistencyUnderAll": np.array([(answers == answers[:, :1]).all(axis=1).mean()]),
    }
    measures = [name for name in expected if name in tfinv.measures.__all__]
    assert len(measures) >= 4
    import tensorflow as tf

    streamed = tf.data.Dataset.from_tensor_slices((data, labels)).batch(5)
    file = TFLiteModel(float32(model))
    for source, given in ((model, Split(data, labels)), (model, streamed), (file, (data, labels))):
        results = tfinv.evaluate(source, given, "rotations(4)", measures, progress=False)
        for name in measures:
            (values,) = (layer.values for layer in results[name].values() if layer.values.size)
            np.testing.assert_allclose(values, expected[name], atol=1e-6, err_msg=name)
    outputs = np.stack([np.asarray(model(np.asarray(warp(data, as_set("rotations(4)")))[:, j])) for j in range(4)], 1)
    of_arrays = tfinv.evaluate_arrays({"labels": np.log(outputs / (1 - outputs))}, measures[:3], labels=labels)
    np.testing.assert_allclose(of_arrays["AccuracyUnder"]["labels"].values, expected["AccuracyUnder"], atol=1e-6)


def test_the_last_activation_decides_what_rows_with_a_single_one_mean():
    model, data = with_spread(network()), images()
    rows = np.eye(LABELS, dtype=int)[np.arange(24) % LABELS]
    softmax = keras.Sequential([model, keras.layers.Softmax()])
    outputs = np.asarray(model(data))
    assert accuracy(model, (data, rows)) == pytest.approx(((outputs > 0.5) == rows).mean())
    assert accuracy(softmax, (data, rows)) == pytest.approx((outputs.argmax(1) == np.arange(24) % LABELS).mean())
    results = tfinv.evaluate(model, data[:2], "rotations(4)", "AccuracyUnder", labels=rows[:2], progress=False)
    expected = (answers_by_hand(model, data[:2]) == rows[:2, None]).mean(axis=(0, 2))
    (values,) = (layer.values for layer in results["AccuracyUnder"].values() if layer.values.size)
    np.testing.assert_allclose(values, expected, atol=1e-7)
    assert as_labels(rows, 24).tolist() == (np.arange(24) % LABELS).tolist()
    assert as_labels(rows, 24, activation="sigmoid").shape == (24, LABELS)
    for call in (
        lambda: accuracy(softmax, (data, many_labels())),
        lambda: tfinv.evaluate(softmax, Split(data, many_labels()), "rotations(4)", "AccuracyUnder", progress=False),
    ):
        with pytest.raises(ValueError, match="for a model that ends in a softmax; several labels of one image need a"):
            call()


@pytest.mark.parametrize(
    "call",
    [
        lambda model, pair: accuracy(model, pair),
        lambda model, pair: tfinv.evaluate(model, Split(*pair), "rotations(4)", "AccuracyUnder", progress=False),
        lambda model, pair: compare_files(float32(model), float32(model), pair, "rotations(4)", progress=False),
    ],
)
def test_another_number_of_labels_than_of_units_is_refused(call):
    with pytest.raises(ValueError, match=r"labels.*3.*Received: .*2"):
        call(network(), (images(), many_labels()[:, :2]))


def test_what_needs_classes_says_so():
    split = Split(images(), many_labels())
    with pytest.raises(ValueError, match=r"must be class numbers for stratified=True.*3 labels per image"):
        tfinv.evaluate(
            network(),
            split,
            "rotations(4)",
            "NormalizedVariance",
            sampling=tfinv.Sampling(stratified=True),
            progress=False,
        )
    with pytest.raises(ValueError, match=r"must be class numbers for a search. Received: 3 labels per image"):
        tfinv.worst_case(network(), split, {"rotation": (-30, 30)}, progress=False)
    with pytest.raises(ValueError, match=r"y must hold 0 and 1 for several labels. Received: values from 0 to 2"):
        Split(images(), 2 * many_labels())
    with pytest.raises(ValueError, match="must have labels of one kind"):
        Dataset("mixed", ("a", "b", "c"), split, Split(images(), many_labels()[:, 0]))


def test_training_minimizes_binary_cross_entropy_of_every_label():
    data, labels = images(), many_labels()
    for activation in ("sigmoid", None):
        keras.utils.set_random_seed(1)
        model = keras.Sequential(
            [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(LABELS, activation=activation)]
        )
        outputs = np.asarray(model(data), np.float64)
        share = outputs if activation else 1 / (1 + np.exp(-outputs))
        loss = -(labels * np.log(share) + (1 - labels) * np.log(1 - share)).mean()
        result = train(model, Split(data, labels), epochs=40, batch_size=24, learning_rate=0.02, progress=False)
        assert result.history["loss"][0] == pytest.approx(loss, rel=1e-5)
        assert result.history["accuracy"][0] == pytest.approx(((share > 0.5) == labels).mean())
        reached = ((np.asarray(model(data)) > (0.5 if activation else 0)) == labels).mean()
        assert result.accuracy == pytest.approx(reached) and reached > 0.85


def test_subsets_and_splits_keep_the_proportions_of_sets_of_labels():
    labels = np.array([[0, 0, 1]] * 40 + [[1, 1, 0]] * 20 + [[1, 1, 1], [0, 1, 0], [1, 0, 1]])
    drawn = labels[stratified_sample(labels, 63, 21, seed=0)]
    sets, counts = np.unique(drawn, axis=0, return_counts=True)
    assert dict(zip(map(tuple, sets.tolist()), counts.tolist(), strict=True))[0, 0, 1] in (13, 14)
    first, second = stratified_split(labels, 63, 12, seed=0)
    assert sorted([*first, *second]) == list(range(63)) and len(second) == 12
    unique = np.array([[int(bit) for bit in f"{number:05b}"] for number in range(32)])
    first, second = stratified_split(unique, 32, 6, seed=0)  # every image has a set of its own
    assert len(second) == 6 and len(first) == 26


@pytest.fixture(scope="module")
def files() -> tuple[keras.Model, TFLiteModel, TFLiteModel]:
    model = with_spread(network())
    return model, TFLiteModel(float32(model)), TFLiteModel(static_int8(model, images()))


def answers_of(file: TFLiteModel, data: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Yes or no of a file upright and under rotations by quarter turns."""
    members = as_set("rotations(4)")
    warped = np.asarray(warp(data, members))
    (layer,) = [name for name in file.layer_shapes if name == file.output_layer]
    upright, *turned = (np.asarray(file(x)[layer]) > 0.5 for x in (data, *np.moveaxis(warped, 1, 0)))
    return upright, np.stack(turned, axis=1)


def test_a_comparison_and_its_gate_judge_every_label(files):
    _, before, after = files
    data, labels = images(), many_labels()
    found = compare_files(
        before, after, Split(data, labels), "rotations(4)", measures="NormalizedVariance", names=("a", "b"),
        progress=False,
    )  # fmt: skip
    assert found.verdict[0].startswith(f"Every image has {LABELS} labels")
    moved = np.array(["identity" not in text for text in as_set("rotations(4)").labels])
    seen = {name: answers_of(file, data) for name, file in (("a", before), ("b", after))}
    expected = {}
    for name, (upright, turned) in seen.items():
        right = turned == labels[:, None]
        row = found.models.set_index("model").loc[name]
        expected[name] = {
            "accuracy": (upright == labels).mean(),
            "transformed_accuracy": right[:, moved].mean(),
            "worst_case_accuracy": right.all(axis=1).mean(),
            "consistency": (turned == upright[:, None])[:, moved].mean(),
        }
        for metric, value in expected[name].items():
            assert row[metric] == pytest.approx(value, abs=1e-9), (name, metric)
            assert row[f"{metric}_low"] <= value <= row[f"{metric}_high"]
    flips = (seen["a"][1] != seen["b"][1])[:, moved].mean()
    worst = (seen["a"][1] == labels[:, None]).mean((0, 2)) - (seen["b"][1] == labels[:, None]).mean((0, 2))
    values = {metric: value for metric, value in expected["b"].items() if metric != "consistency"}
    values |= {f"{metric}_drop": expected["a"][metric] - value for metric, value in expected["b"].items()}
    values |= {"flip_rate": flips, "worst_accuracy_drop": worst.max()}
    for metric, value in values.items():
        assert metric_value(metric, found) == pytest.approx(value, abs=1e-9), metric
    assert any("accuracy is" in text for text in check(["accuracy<0.99"], found).reasons)
    by_label = found.answers.classes.set_index("class_number")
    right = seen["a"][1] == labels[:, None]
    np.testing.assert_allclose(by_label["accuracy_before"], right[:, moved].mean(axis=(0, 1)), atol=1e-9)
    assert by_label["images"].tolist() == [24] * LABELS
    flipped = found.flipped()
    places = np.argwhere(np.moveaxis(seen["a"][1] != seen["b"][1], 1, 2))
    assert flipped[["image", "column", "number"]].to_numpy().tolist() == places.tolist()
    assert found.outputs is not None and set(found.outputs.summary()["kind"]) == {"labels"}


def test_answers_of_one_image_are_drawn_together(files):
    """Labels that repeat tell nothing new: intervals are as wide as with one of them."""
    model, data, label = files[0], images(), many_labels()[:, :1]
    first = keras.Model(model.inputs, model.outputs[0][:, :1])
    twice = keras.Model(model.inputs, keras.layers.Concatenate()([first.outputs[0]] * 2))
    from tfinv.tflite.comparison.behaviour import behaviour
    from tfinv.tflite.comparison.predictions import Predictions

    one, two = np.asarray(first(data)), np.repeat(np.asarray(first(data)), 2, axis=1)
    single = behaviour(Predictions.of(one, one[:, None], from_logits=False), label[:, 0])
    double = behaviour(
        Predictions.of(two, two[:, None], from_logits=False, several=True), np.repeat(label, 2, axis=1)
    )  # fmt: skip
    assert double.accuracy == single.accuracy and twice.output_shape == (None, 2)


def test_flips_of_labels_that_repeat_are_no_surer_than_those_of_one():
    from tfinv.resampling.images import intervals
    from tfinv.tflite.comparison.flips import flips_by_transformation
    from tfinv.tflite.comparison.predictions import Predictions

    scores, label = np.random.default_rng(0).random((2, 60, 1, 1)), np.random.default_rng(1).integers(0, 2, (60, 1))
    before, after = (
        Predictions.of(two[:, 0], two, from_logits=False, several=True) for two in np.repeat(scores, 3, axis=3)
    )
    frame = flips_by_transformation(before, after, np.repeat(label, 3, axis=1).ravel(), ["turned"])
    was, now = (s[:, 0, 0] > 0.5 for s in scores)
    harmful = (was == label[:, 0].astype(bool)) & (now != was)
    (expected,) = intervals(harmful[:, None].astype(np.float64))
    np.testing.assert_allclose(frame.loc[0, ["harmful", "harmful_low", "harmful_high"]].astype(float), expected)
    assert expected[2] - expected[1] > 0.15  # 180 answers as if independent: 0.13


@pytest.mark.slow
def test_study_and_quantization_aware_training_count_every_label():
    model, data, labels = with_spread(network()), images(), many_labels()
    trained = qat_int8(model, (data, labels), epochs=1, progress=False)
    upright = np.asarray(model(data)) > 0.5
    assert trained.report is not None and trained.report.accuracy["float"] == pytest.approx((upright == labels).mean())
    split = Split(data, labels)
    result = study(model, split, split, "rotations(4)", ["static_int8"], progress=False)
    rows = result.recipes.set_index("recipe")
    assert rows.loc["float32", "accuracy"] == pytest.approx((upright == labels).mean())
    with pytest.raises(ValueError, match="route must be 'keras' for several labels"):
        qat_int8(model, (data, labels), epochs=1, route="tfmot", progress=False)


def test_a_callback_measures_the_accuracy_of_all_labels():
    model, data, labels = with_spread(network()), images(), many_labels()
    callback = InvarianceCallback((data, labels), "rotations(4)", "AccuracyUnder", before=True)
    model.compile("sgd", "binary_crossentropy")
    model.optimizer.learning_rate = 0.0
    model.fit(data, labels, epochs=1, verbose=0, callbacks=[callback])
    mean = callback.profiles[-1].set_index("layer").loc["labels", "mean"]
    assert mean == pytest.approx((answers_by_hand(model, data) == labels[:, None]).mean(), abs=1e-6)


def test_a_file_with_a_matrix_of_labels_is_read_and_trained_on(tmp_path, capsys):
    path = tmp_path / "data.npz"
    x, y = np.tile(images(), (3, 1, 1, 1)), np.tile(many_labels(), (3, 1))
    np.savez(path, x=x, y=y, classes=np.array(["red", "round", "big"]))
    data = load(path)
    assert data.classes == ("red", "round", "big") and data.train.y is not None and data.train.y.shape[1:] == (3,)
    stored = on_disk(path)
    assert stored.y is not None and stored.y.tolist() == y.tolist() and stored.classes == data.classes
    arguments = ["train", "--architecture", "ffnet", "--data", str(path), "--epochs", "1", "--quiet"]
    assert main([*arguments, "--augmentation", "rotations(4)", "--out", str(tmp_path / "trained")]) == 0
    capsys.readouterr()
    model = keras.models.load_model(tmp_path / "trained" / "model.keras")
    rows = (tmp_path / "trained" / "accuracy.csv").read_text().split()[1:]
    expected = accuracy_under(model, data.test.x, data.test.y, "rotations(4)")
    np.testing.assert_allclose(np.array(rows, float), expected, atol=1e-9)
    np.savez(tmp_path / "names.npz", x=x, y=y, classes=np.array(["red", "round"]))
    with pytest.raises(ValueError, match=r"one column per label.*2 names"):
        load(tmp_path / "names.npz")
