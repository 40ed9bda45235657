"""The search for bits against all choices there are, conditions, and the files that schemes give."""

from __future__ import annotations

import itertools
import math
import re

import keras
import numpy as np
import pytest
from litert_quantizer import quantizer
from tflite_models import digits, plain_network, trained

from tfinv.resampling.shares import paired_interval
from tfinv.tflite import TFLiteModel, float32, sensitivity, static_int8, weight_int4
from tfinv.tflite.comparison.conditions import parse_condition
from tfinv.tflite.studies.bit_conditions import Seen, check_reference, in_words, parse_keep
from tfinv.tflite.studies.bit_schemes import (
    BIT_SCHEMES,
    REST,
    MixedFiles,
    choose_schemes,
    groups_of,
    stored_types,
    uniform,
)
from tfinv.tflite.studies.bit_search import Judged, by_noise, plans, search, total

BITS = {"float32": 4.0, "int8": 1.0, "int4": 0.5}
NOISE = {"float32": 0.0, "int8": 0.02, "int4": 0.3}


def problem(seed: int):
    """Sizes and costs of five layers that add up."""
    rng = np.random.default_rng(seed)
    weights, sensitive = rng.integers(50, 2000, 5), rng.uniform(0.1, 3, 5)
    options = {number: list(BITS) for number in range(5)}
    costs = {(number, name): NOISE[name] * sensitive[number] for number in options for name in BITS}

    def size(schemes):
        return int(sum(BITS[name] * count for name, count in zip(schemes, weights, strict=True)))

    return options, costs, size


@pytest.mark.parametrize("seed", range(5))
def test_the_search_comes_close_to_the_best_of_all_choices(seed):
    options, costs, size = problem(seed)
    judged = []

    def judge(schemes):
        judged.append(schemes)
        return Judged(total(schemes, costs) <= 1, total(schemes, costs) > 1)

    starts = [(name,) * 5 for name in BITS]
    chosen, steps = search(options, [*plans(options, starts, size, costs), *starts], size, judge, costs)
    best = min((s for s in itertools.product(BITS, repeat=5) if total(s, costs) <= 1), key=size)
    assert total(chosen, costs) <= 1 and size(best) <= size(chosen) <= 1.1 * size(best)
    assert all(step.schemes in judged for step in steps), "every step is verified on the whole file"
    kept = [step.size for step in steps if step.outcome != "undone"]
    assert kept == sorted(kept, reverse=True) and kept[-1] == size(chosen)
    for group, taken in options.items():  # nothing that holds is smaller by one change
        for name in taken:
            other = (*chosen[:group], name, *chosen[group + 1 :])
            assert size(other) >= size(chosen) or total(other, costs) > 1


def test_a_choice_by_noise_stays_within_its_bytes_and_near_the_least_noise():
    options, costs, size = problem(1)
    budget = 3000
    chosen = by_noise(options, [(name,) * 5 for name in BITS], size, costs, budget)
    best = min((s for s in itertools.product(BITS, repeat=5) if size(s) <= budget), key=lambda s: total(s, costs))
    assert chosen is not None and size(chosen) <= budget
    assert total(best, costs) <= total(chosen, costs) <= 1.2 * total(best, costs)
    assert by_noise(options, [("float32",) * 5], size, costs, 10) is None


def test_a_change_that_makes_the_real_file_larger_is_never_measured():
    options, costs, size = problem(2)

    def real(schemes):  # every layer beside a float one takes room
        return size(schemes) + 500 * sum(a != b for a, b in itertools.pairwise(schemes))

    seen = []

    def judge(schemes):
        seen.append(schemes)
        return Judged(True, False)

    chosen, steps = search(options, [("int8",) * 5], real, judge, costs)
    sizes = [step.size for step in steps]
    assert sizes == sorted(sizes, reverse=True) and real(chosen) == sizes[-1] and len(seen) == len(steps)
    with pytest.raises(ValueError, match="conditions that none meets"):
        search(options, [("int8",) * 5], real, lambda _: Judged(False, True), costs)


def test_conditions_that_cannot_be_kept_are_refused():
    for keep, message in {
        "flip_rat<5%": "Did you mean 'flip_rate'",
        "flips": "keep must read like",
        "changed<1": "keep must name one of output_profile_increase",
        "transformed_accuracy_drop<0.5": r"keep must have a unit: .*drop<0.5pt is 0.5 points and .*<50pt is 50 points",
    }.items():
        with pytest.raises(ValueError, match=message):
            parse_keep(keep)
    with pytest.raises(ValueError, match="keep must name one of") as refused:
        parse_keep("no_such_thing<1%")
    assert not any(name in str(refused.value) for name in ("kernel_", "output_error", "inconclusive"))
    with pytest.raises(ValueError, match=r"must not contradict itself. Received: accuracy<80% and accuracy>90%"):
        parse_keep(["accuracy>90%", "accuracy<0.8"])
    with pytest.raises(ValueError, match="at least one condition"):
        parse_keep([])
    (condition,) = parse_keep("transformed_accuracy_drop<0.5%")
    assert in_words(condition) == "transformed_accuracy_drop < 0.5 points"
    with pytest.raises(ValueError, match=r"accuracy > 95 % cannot be met: .* Received: accuracy 93 % of float32"):
        check_reference(parse_keep("accuracy>0.95"), {"accuracy>95%": Seen(0.93, 0.9, 0.96, "fails")}, 100)
    with pytest.raises(ValueError, match="schemes must be names among int4, int8"):
        choose_schemes(["int3"])


def test_so_many_images_are_said_to_be_needed_as_an_interval_takes_when_nothing_changes():
    text = "flip_rate<1%"
    low, high = paired_interval(np.zeros(100), 0.9)
    seen = {text: Seen(0.0, low, high, "inconclusive", math.ceil(1.6448536 / 0.01) - 1)}
    with pytest.raises(ValueError, match=r"it takes about 164 images, or a wider margin. Received: 100 images"):
        check_reference([parse_condition(text)], seen, 100)
    assert paired_interval(np.zeros(164), 0.9)[1] < 0.01 <= paired_interval(np.zeros(162), 0.9)[1]


@pytest.fixture(scope="module")
def mixed():
    reference = float32(trained(plain_network))
    groups = groups_of(TFLiteModel(reference, probe=False))
    return MixedFiles(reference, groups, [digits()[0][:64]])


def test_uniform_choices_are_the_files_of_the_recipes(mixed):
    images = digits()[0][:64]
    options = {
        number: [name for name in BIT_SCHEMES if not mixed.refusal(number, name)] for number in range(len(mixed.groups))
    }
    assert mixed.make(uniform(options, "int8")).content == static_int8(mixed.reference, images).content
    assert mixed.make(uniform(options, "weight_int4")).content == weight_int4(mixed.reference).content
    assert mixed.make(uniform(options, "float32")) is mixed.reference
    names = [group.name for group in mixed.groups]
    assert names == ["first_relu", "depthwise_relu", "second", "hidden", "logits", REST]
    assert [group.weights for group in mixed.groups] == [72, 72, 576, 4608, 160, 0]
    assert "DEPTHWISE_CONV_2D" in mixed.refusal(1, "int4") and mixed.refusal(5, "int4") == (
        "these operators have no weights"
    )
    types = {
        group.name: stored_types(mixed.make(uniform(options, "int4")).graph, group.kernels)
        for group in mixed.groups
        if group.kernels
    }
    assert types == {name: {"int8" if name == "depthwise_relu" else "int4"} for name in names[:-1]}


def test_a_file_depends_neither_on_those_made_before_nor_on_how_its_recipe_is_followed(mixed):
    schemes = ("int8", "float16", "int4", "int16x8", "float32", "int8")
    fresh = MixedFiles(mixed.reference, mixed.groups, [digits()[0][:64]])
    content = fresh.make(schemes).content
    for name in ("int8", "int16x8"):
        mixed.make((name,) * 6)
    assert mixed.make(schemes).content == content
    tool = quantizer.Quantizer(mixed.reference.content, mixed.recipe(schemes))
    assert bytes(tool.quantize(fresh._ranges, enable_progress_bar=False).quantized_model) == content


def test_layers_that_share_a_kernel_are_tied_and_names_that_others_begin_with_are_not_mixed_up():
    inputs = keras.Input((8, 8, 1))
    shared = keras.layers.Conv2D(1, 3, padding="same", name="shared")
    x = shared(keras.layers.ReLU(name="between")(shared(inputs)))
    x = keras.layers.Dense(3, name="logits")(keras.layers.Flatten(name="flat")(x))
    model = keras.Model(inputs, x)
    reference = float32(model)
    opened = TFLiteModel(reference, probe=False)
    first, last, rest = groups_of(opened)
    assert len(first.outputs) == 2 and first.weights == 9 and len(last.outputs) == 1 and rest.name == REST
    images = np.random.default_rng(0).random((20, 8, 8, 1), "float32")
    files = MixedFiles(reference, (first, last, rest), [images])
    for name in ("weight_int8", "weight_int4", "float16", "int8"):
        for other in ("float32", "int8", "weight_int8"):
            assert files.make((name, other, "float32")).size, f"{name} beside {other}"
    frame = sensitivity(model, images, "rotations(4)", scheme="weight_int8", progress=False)
    assert sorted(frame["layer"]) == sorted([first.name, "logits"])
    scope = first.scope
    assert all(re.search(scope, "".join(f"{name};" for name in names)) for names in first.outputs)
    assert not re.search(scope, f"{first.outputs[0][0]}2;") and not re.search(scope, f"x{first.outputs[0][0]};")


def test_a_wrong_name_lists_those_that_keep_takes():
    with pytest.raises(ValueError, match="keep must name one of") as caught:
        parse_keep("flip_rat<5%")
    listed = str(caught.value).split("one of ")[1].split(". ")[0].split(", ")
    assert "flip_rate" in str(caught.value) and "changed" not in listed
    for metric in listed:
        assert parse_keep(f"{metric}<0.5")[0].metric == metric
    with pytest.raises(ValueError, match="keep must read like"):
        parse_keep("flip_rate")
