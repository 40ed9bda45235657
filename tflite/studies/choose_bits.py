"""`choose_bits`: the smallest `.tflite` file that keeps the invariance that is asked for."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tfinv.activations.outputs import answering_activation
from tfinv.datasets.as_split import as_split, subset
from tfinv.evaluation.arguments import as_measures
from tfinv.evaluation.options import Sampling, Warping, checked
from tfinv.models.opening import as_keras_model
from tfinv.support.cache import Cache
from tfinv.support.environment import describe as describe_environment
from tfinv.support.guarded import guarded
from tfinv.support.types import Images, KerasModel
from tfinv.tflite.comparison.conditions import Condition
from tfinv.tflite.comparison.options import INTERVALS, Subsets, paired_sampling
from tfinv.tflite.convert import recipes as convert
from tfinv.tflite.convert.calibration import calibration_batches
from tfinv.tflite.files.conversion import Conversion
from tfinv.tflite.files.input_scale import input_scale as parse_scale
from tfinv.tflite.files.model import TFLiteModel
from tfinv.tflite.studies import bit_tables as tables
from tfinv.tflite.studies import bit_words as words
from tfinv.tflite.studies.bit_choice import BitChoice
from tfinv.tflite.studies.bit_conditions import parse_keep
from tfinv.tflite.studies.bit_confirmation import on_other_images, two_parts
from tfinv.tflite.studies.bit_finding import FoundBits, find_bits
from tfinv.tflite.studies.bit_measuring import Bench, MeasuredFile
from tfinv.tflite.studies.bit_schemes import MixedFiles, choose_schemes, groups_of
from tfinv.tflite.studies.options import BIT_SUBSETS, OUTPUT, Output
from tfinv.tflite.studies.pieces import Settings, fingerprint
from tfinv.transformations import as_set

SCHEMES = ("int4", "int8", "int16x8", "float16", "float32")
"""What layers may be stored as by default."""


@guarded(seed=0)
def choose_bits(
    model: KerasModel,
    calibration: Images,
    data: Any,
    transformations: Any = "rotations(16)",
    *,
    keep: str | Condition | Iterable[str | Condition],
    schemes: str | Sequence[str] = SCHEMES,
    input_scale: Any = "0..1",
    measures: Any = "NormalizedVariance",
    subsets: Subsets | None = BIT_SUBSETS,
    sampling: Sampling | None = INTERVALS,
    warping: Warping | None = None,
    output: Output | None = OUTPUT,
    seed: int = 0,
    progress: bool = True,
) -> BitChoice:
    """Choose a scheme for every layer so that the file is as small as possible and still meets conditions.

    Every layer is first put into every scheme alone and measured. From the smallest uniform file that holds, layers are
    then changed one at a time, the change first that saves most bytes for what it costs alone. After every change
    the whole file is measured; a change is kept where the real file is smaller and all conditions hold, and undone
    otherwise. A condition holds where its whole 90 % interval meets it, a one-sided test at 5 %: a change that cannot
    be decided is undone. Where `data` holds more images than are searched on, the chosen file is measured once more on
    as many of the others: what the search saw was the best of many files, and flatters it.

    Example:
        >>> from tfinv import datasets, models
        >>> from tfinv.tflite import choose_bits
        >>> digits = datasets.load("digits")
        >>> network = models.build("ffnet", (16, 16, 1), 10, seed=0)
        >>> few = digits.test.subset(40, seed=0)
        >>> found = choose_bits(network, digits.train.x[:50], few, "rotations(4)", keep="output_profile_increase<20%",
        ...     schemes=("int8", "float16"), progress=False)
        >>> found.holds, found.conversion.size < 120_000
        (True, True)

    Args:
        model: a functional or sequential Keras 3 model, the path of its file, or its `Conversion` by `float32`.
        calibration: images in [0, 1] like `data`, for activations that are integers; see `with_transformations`.
        data: images to measure on, see `compare_files`.
        transformations: a set, its id, or a sequence of `Affine`.
        keep: conditions that must hold against the float32 file, in the language of `compare --fail-if`, such as
            `"output_profile_increase<2%"`, `"transformed_accuracy_drop<0.5pt"` (half a point), `"flip_rate<3%"`,
            `"min_sqnr_db>20"` or `"latency_ratio<1"`, which is measured on this machine.
        schemes: names of `tfinv.tflite.BIT_SCHEMES` to choose among; float32 is always one of them.
        input_scale: how images in [0, 1] become model inputs, see `TFLiteModel`.
        measures: measures of invariance; `output_profile_increase` is of the first.
        subsets: how many of the images count for what; by default answers are read on 400 of them and the output is
            measured on 300 of these. `layers` and `kernels` are not read.
        sampling: confidence and kind of the intervals of layer means, see `tfinv.evaluate`.
        warping: padding and interpolation of transformed images, see `tfinv.evaluate`.
        output: a folder for the file; a cache, from which an interrupted search goes on; a function to report to.
        seed: seed of subsets and of resampling.
        progress: report every step to standard error where `output` has no function to report to.

    Returns:
        The file with its recipe, what every step, layer and neighbour cost, and uniform files beside it.

    Raises:
        ValueError: an unknown scheme or condition, conditions that contradict each other or that not even float32
            meets, too few images to decide one, images that do not fit, a model without layers to quantize.
    """
    conditions, names = parse_keep(keep), choose_schemes(schemes)
    transformations, chosen_measures = as_set(transformations), as_measures(measures)
    subsets, output = checked(Subsets, subsets), checked(Output, output)
    sampling, warping = paired_sampling(sampling), checked(Warping, warping)
    say = output.report or (words.to_stderr if progress else lambda _: None)
    scale = parse_scale(input_scale)
    reference = model if isinstance(model, Conversion) else convert.float32(as_keras_model(model))
    opened = TFLiteModel(reference, input_scale=scale, probe=False)
    given = as_split(data, opened.input_shape, None, seed, answering_activation(opened))
    images, others = two_parts(given, subsets.max_samples, seed)
    few = subset(images, subsets.measured_samples, seed)
    batches = list(calibration_batches(calibration, opened.input_shape, 64, scale))
    groups = groups_of(opened)
    if not any(group.outputs for group in groups):
        raise ValueError("model must have a layer with a kernel to be quantized. Received: none")
    files = MixedFiles(reference, groups, batches)
    keys = tuple(measure.key for measure in chosen_measures)
    settings = Settings(
        transformations, keys, sampling, warping, subsets.fidelity_samples, seed, None, subsets.memory_budget
    )
    with tempfile.TemporaryDirectory() as folder:
        store = output.cache if isinstance(output.cache, Cache) else Cache(output.cache or Path(folder))
        bench = Bench(files, conditions, (images, few), settings, fingerprint(*batches), store, scale, say)
        found = find_bits(bench, names, len(images))
        again = None if others is None else on_other_images(bench, found.schemes, others, subsets.measured_samples)
        choice = _choice(
            bench,
            found,
            again,
            {
                "keep": [str(condition) for condition in conditions],
                "schemes": list(names),
                "transformations": transformations.id,
                "measures": list(keys),
                "samples": len(images),
                "measured_samples": len(few),
                "other_samples": 0 if others is None else len(others),
                "calibration_images": sum(len(batch) for batch in batches),
                "confidence": sampling.confidence,
                "padding": warping.padding,
                "interpolation": warping.interpolation,
                "input_scale": scale.text,
                "seed": seed,
                "hashes": {**bench.hashes, "reference": reference.sha256},
                "environment": describe_environment(),
            },
        )
    if output.files is not None:
        choice.save(output.files)
    return choice


def _choice(bench: Bench, found: FoundBits, again: MeasuredFile | None, metadata: Mapping[str, Any]) -> BitChoice:
    """Tables and words of what was found."""
    chosen = bench.look(found.schemes, "chosen")
    files, path = tables.files_table(bench, found), tables.path_table(bench, found)
    others = metadata["other_samples"]
    told, *more = words.verdict(bench.conditions, chosen, files, bench.files.groups, found.steps)
    confirmed = [] if again is None else words.confirmation(bench.conditions, again, others)
    right = words.right_answers(bench.look(bench.float, ""), chosen)
    return BitChoice(
        bench.files.make(found.schemes),
        bench.files.recipe(found.schemes),
        (told, *confirmed, *right, *more),
        tuple(words.warnings(bench.conditions, path, bench.count, metadata["samples"], others)),
        tables.layers_table(bench, found),
        path,
        tables.singles_table(bench, found),
        tables.neighbours_table(bench, found),
        files,
        tables.confirmation_table(again, others),
        {**metadata, "output": bench.output, "files_measured": bench.count},
    )
