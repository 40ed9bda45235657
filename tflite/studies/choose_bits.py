"""`choose_bits`: the smallest `.tflite` file that keeps the invariance that is asked for."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfinv.activations.outputs import answering_activation
from tfinv.datasets.as_split import as_split, subset
from tfinv.evaluation.arguments import as_measures
from tfinv.evaluation.options import Sampling, Warping, checked
from tfinv.support.cache import Cache
from tfinv.support.environment import describe as describe_environment
from tfinv.support.files import write_json
from tfinv.support.types import Images, KerasModel
from tfinv.tflite.comparison.gate import Condition
from tfinv.tflite.comparison.options import INTERVALS, Subsets, paired_sampling
from tfinv.tflite.convert import recipes as convert
from tfinv.tflite.convert.calibration import calibration_batches
from tfinv.tflite.files.conversion import Conversion
from tfinv.tflite.files.input_scale import input_scale as parse_scale
from tfinv.tflite.files.model import TFLiteModel
from tfinv.tflite.studies import bit_words as words
from tfinv.tflite.studies.bit_choice import BitChoice
from tfinv.tflite.studies.bit_conditions import OF_FILES, check_reference, parse_keep
from tfinv.tflite.studies.bit_measuring import Bench, MeasuredFile
from tfinv.tflite.studies.bit_schemes import (
    BIT_SCHEMES,
    FLOAT,
    LayerGroup,
    MixedFiles,
    choose_schemes,
    groups_of,
    uniform,
)
from tfinv.tflite.studies.bit_search import (
    Alternatives,
    Judged,
    NoStartHolds,
    Schemes,
    by_noise,
    changed,
    plans,
    search,
)
from tfinv.tflite.studies.options import OUTPUT, SUBSETS, Output
from tfinv.tflite.studies.pieces import Settings, fingerprint
from tfinv.transformations import as_set

if TYPE_CHECKING:
    import pandas as pd

SCHEMES = ("int4", "int8", "int16x8", "float16", "float32")
"""What layers may be stored as by default."""


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
    subsets: Subsets | None = SUBSETS,
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
    be decided is undone.

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
        model: a functional or sequential Keras 3 model, or the `Conversion` of one by `float32`.
        calibration: images as the model takes them, for activations that are integers; see `with_transformations`.
        data: images to measure on, see `compare_files`.
        transformations: a set, its id, or a sequence of `Affine`.
        keep: conditions that must hold against the float32 file, in the language of `compare --fail-if`, such as
            `"output_profile_increase<2%"`, `"transformed_accuracy_drop<0.5%"` (half a point), `"flip_rate<3%"`,
            `"min_sqnr_db>20"` or `"latency_ratio<1"`, which is measured on this machine.
        schemes: names of `tfinv.tflite.BIT_SCHEMES` to choose among; float32 is always one of them.
        input_scale: see `TFLiteModel`.
        measures: measures of invariance; `output_profile_increase` is of the first.
        subsets: how many of the images count for what; by default the output is measured on 300 of them, and answers on
            all. `layers` and `kernels` are not read.
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
    reference = model if isinstance(model, Conversion) else convert.float32(model)
    opened = TFLiteModel(reference, input_scale=scale, probe=False)
    images = as_split(data, opened.input_shape, subsets.max_samples, seed, answering_activation(opened))
    few = subset(images, subsets.measured_samples, seed)
    batches = list(calibration_batches(calibration, opened.input_shape, 64))
    groups = groups_of(opened)
    if not any(group.outputs for group in groups):
        raise ValueError("model must have a layer with a kernel to be quantized. Received: none")
    files = MixedFiles(reference, groups, batches)
    keys = tuple(measure.key for measure in chosen_measures)
    settings = Settings(
        transformations, keys, sampling, warping, subsets.fidelity_samples, seed, None, subsets.memory_budget
    )
    identity = {"test": fingerprint(images.x, images.y), "measured": fingerprint(few.x, few.y)}
    identity["calibration"] = fingerprint(*batches)
    with tempfile.TemporaryDirectory() as folder:
        store = output.cache if isinstance(output.cache, Cache) else Cache(output.cache or Path(folder))
        bench = Bench(files, conditions, (images, few), settings, identity, store, scale, say)
        found = _Found(bench, names)
        found.run(len(images))
        choice = found.choice(
            {
                "keep": [str(condition) for condition in conditions],
                "schemes": list(names),
                "transformations": transformations.id,
                "measures": list(keys),
                "samples": len(images),
                "measured_samples": len(few),
                "calibration_images": sum(len(batch) for batch in batches),
                "confidence": sampling.confidence,
                "padding": warping.padding,
                "interpolation": warping.interpolation,
                "input_scale": scale.text,
                "seed": seed,
                "hashes": {**identity, "reference": reference.sha256},
                "environment": describe_environment(),
            }
        )
    if output.files is not None:
        choice.save(output.files)
    return choice


class _Found:
    """A choice in the making."""

    def __init__(self, bench: Bench, names: Sequence[str]) -> None:
        self.bench, self.names = bench, names
        self.goals: tuple[str, ...] = ()
        self.groups: tuple[LayerGroup, ...] = bench.files.groups
        self.refused = {
            (number, name): reason
            for number in range(len(self.groups))
            for name in names
            if (reason := bench.files.refusal(number, name))
        }
        self.options: Alternatives = {
            number: [name for name in names if (number, name) not in self.refused] for number in range(len(self.groups))
        }

    def run(self, images: int) -> None:
        """Measure float32, uniform files, single layers, then search, and look at the neighbours."""
        bench, size = self.bench, self.bench.files.size
        self.uniform = dict.fromkeys(uniform(self.options, name) for name in self.names)
        single = sum(len(names) - 1 for names in self.options.values())
        bench.expected = len(self.uniform) + 2 * single + 2 * len(self.groups) + 1
        first = bench.look(bench.float, FLOAT)
        check_reference(bench.conditions, first.seen, images)
        self.named = {uniform(self.options, name): f"uniform {name}" for name in reversed(self.names)}
        self.named[bench.float] = FLOAT
        for schemes, name in self.named.items():
            bench.look(schemes, name)
        self.alone = {
            (number, name): bench.look(changed(bench.float, number, name), f"{self.groups[number].name} alone: {name}")
            for number, names in self.options.items()
            for name in names
        }
        costs = {pair: words.cost(bench.conditions, first, measured) for pair, measured in self.alone.items()}
        self.hopeless = frozenset(pair for pair, measured in self.alone.items() if self._fails_alone(measured))
        judge = self._judge
        planned = self.planned = self._planned(costs)
        starts = [*planned, *self.named]
        for self.goals in (OF_FILES[:1], OF_FILES):  # the search makes files small, whatever size is asked for
            try:
                self.schemes, self.steps = search(self.options, starts, size, judge, costs, self.hopeless)
                break
            except NoStartHolds as error:
                none_holds = error
        else:
            raise ValueError(self._none_holds()) from none_holds
        self._by_noise()
        if self.by_noise is not None and judge(self.by_noise).holds and size(self.by_noise) < size(self.schemes):
            self.schemes, further = search(self.options, [self.by_noise], size, judge, costs, self.hopeless)
            self.steps += further
            self._by_noise()
        self.neighbours = list(self._neighbours())

    def _judge(self, schemes: Schemes) -> Judged:
        goals = [str(condition) for condition in self.bench.conditions if condition.metric in self.goals]
        return self.bench.look(schemes, "search").judged_but(goals)

    def _planned(self, costs: Mapping[tuple[int, str], float]) -> list[Schemes]:
        """Plans from every uniform file, kept in the cache: they are made of hundreds of conversions."""
        bench = self.bench
        bench.say("planning by single layers")

        def make(folder: Path) -> None:
            write_json(folder / "plans.json", plans(self.options, list(self.named), bench.files.size, costs))

        def load(folder: Path) -> list[Schemes]:
            return [tuple(schemes) for schemes in json.loads((folder / "plans.json").read_text())]

        config = bench.config(list(self.names))
        config["costs"] = [[*pair, repr(cost)] for pair, cost in costs.items()]
        return bench.store.get("bit_plans", config, make, load)

    def _none_holds(self) -> str:
        """What the smallest file to start from is like, where none holds."""
        bench = self.bench
        best = min((bench.look(schemes, "") for schemes in self.named), key=lambda file: file.size)
        told = "; ".join(words.seen_in_words(condition, best.seen[str(condition)]) for condition in bench.conditions)
        return (
            "keep must be met by some file to start from. Received: conditions that none meets; of the smallest, "
            f"{self.named[best.schemes]}: {told}"
        )

    def _by_noise(self) -> None:
        """The choice that SQNR makes within the bytes of this one."""
        noise = {pair: measured.noise for pair, measured in self.alone.items()}
        size = self.bench.files.size
        self.by_noise = by_noise(self.options, list(self.named), size, noise, size(self.schemes))
        if self.by_noise is not None:
            self.bench.look(self.by_noise, "the same bytes by SQNR")

    def _fails_alone(self, measured: MeasuredFile) -> bool:
        """Whether a layer alone misses a condition, other than one on size or latency, with its whole interval."""
        return any(
            not condition.holds(seen.low if condition.sign in ("<", "<=") else seen.high)
            for condition in self.bench.conditions
            if condition.metric not in OF_FILES
            for seen in (measured.seen[str(condition)],)
        )

    def _neighbours(self) -> Iterable[tuple[int, str, MeasuredFile]]:
        """Files that differ from the chosen one in one group, by the next scheme that takes fewer or more bytes."""
        size = self.bench.files.size
        for number, names in self.options.items():
            others = {name: size(changed(self.schemes, number, name)) for name in names if name != self.schemes[number]}
            here = size(self.schemes)
            fewer = {name: taken for name, taken in others.items() if taken < here}
            more = {name: taken for name, taken in others.items() if taken > here}
            for direction, candidates, pick in (("down", fewer, max), ("up", more, min)):
                if candidates:
                    name = pick(candidates, key=lambda name, known=candidates: known[name])
                    file = self.bench.look(
                        changed(self.schemes, number, name), f"neighbour: {self.groups[number].name} {direction}"
                    )
                    yield number, direction, file

    def choice(self, metadata: Mapping[str, Any]) -> BitChoice:
        """Tables and words."""
        bench = self.bench
        chosen = bench.look(self.schemes, "chosen")
        files = self._files(chosen)
        neighbours = self._neighbour_frame(chosen)
        path = self._path()
        verdict = words.verdict(bench.conditions, chosen, files, self.groups, self.steps)
        warnings = words.warnings(bench.conditions, path, bench.count, metadata["samples"])
        return BitChoice(
            bench.files.make(self.schemes),
            bench.files.recipe(self.schemes),
            tuple(verdict),
            tuple(warnings),
            self._layers(),
            path,
            self._singles(),
            neighbours,
            files,
            {**metadata, "output": bench.output, "files_measured": bench.count},
        )

    def _files(self, chosen: MeasuredFile) -> pd.DataFrame:
        import pandas as pd

        named = [("chosen", chosen)]
        named += [(name, self.bench.look(schemes, name)) for schemes, name in self.named.items()]
        if self.by_noise is not None:
            named.append(("same bytes by SQNR", self.bench.look(self.by_noise, "by SQNR")))
        base = self.bench.files.reference.size
        rows = [{"file": name, "size_ratio": file.size / base, **file.cells()} for name, file in named]
        return pd.DataFrame(rows)

    def _layers(self) -> pd.DataFrame:
        import pandas as pd

        rows = []
        for number, group in enumerate(self.groups):
            name = self.schemes[number]
            alone, scheme = self.alone[number, name], BIT_SCHEMES[name]
            cannot = [
                f"{other}: {self.refused[number, other]}" for other in self.names if (number, other) in self.refused
            ]
            rows.append(
                {
                    "layer": group.name,
                    "operator": group.operator,
                    "weights": group.weights,
                    "calls": max(1, len(group.outputs)),
                    "scheme": name,
                    "weight_bits": scheme.weight_bits,
                    "activation_bits": scheme.activation_bits,
                    "bytes_saved": self.bench.files.reference.size - alone.size,
                    "change_alone": alone.output_change[0],
                    "low": alone.output_change[1],
                    "high": alone.output_change[2],
                    "why": self._why(number),
                    "cannot": "; ".join(cannot),
                }
            )
        return pd.DataFrame(rows)

    def _why(self, number: int) -> str:
        """Why a group has its scheme: what became of those that would make the file smaller."""
        size, here = self.bench.files.size, self.schemes[number]
        smaller = [
            name for name in self.options[number] if size(changed(self.schemes, number, name)) < size(self.schemes)
        ]
        if not smaller:
            return f"no scheme makes the file smaller than {here}, and it holds"
        reasons = []
        for name in smaller:
            step = next((step for step in reversed(self.steps) if (step.group, step.after) == (number, name)), None)
            if (number, name) in self.hopeless:
                why = words.missed(self.bench.conditions, self.alone[number, name])
                reasons.append(f"{name} alone misses {why}")
            elif step is not None:
                why = words.missed(self.bench.conditions, self.bench.look(step.schemes, "undone"))
                reasons.append(f"{name} was undone: {why}")
        return "; ".join(reasons)

    def _path(self) -> pd.DataFrame:
        import pandas as pd

        rows = []
        for number, step in enumerate(self.steps):
            start = step.group < 0
            rows.append(
                {
                    "step": number,
                    "layer": self._called(step.schemes) if start else self.groups[step.group].name,
                    "before": step.before,
                    "after": step.after,
                    "outcome": step.outcome,
                    **self.bench.look(step.schemes, "").cells(),
                }
            )
        return pd.DataFrame(rows)

    def _called(self, schemes: Schemes) -> str:
        """What a file to start from is called."""
        planned = "planned by single layers" if schemes in self.planned else "by SQNR"
        return self.named.get(schemes, planned)

    def _singles(self) -> pd.DataFrame:
        import pandas as pd

        base = self.bench.files.reference.size
        rows = [
            {"layer": self.groups[number].name, "scheme": name, "bytes_saved": base - file.size, **file.cells()}
            for (number, name), file in self.alone.items()
            if name != FLOAT
        ]
        return pd.DataFrame(rows)

    def _neighbour_frame(self, chosen: MeasuredFile) -> pd.DataFrame:
        import pandas as pd

        rows = []
        for number, direction, file in self.neighbours:
            name = file.schemes[number]
            row = {"layer": self.groups[number].name, "direction": direction, "from": self.schemes[number], "to": name}
            rows.append({**row, "bytes_more": file.size - chosen.size, **file.cells()})
        return pd.DataFrame(rows)
