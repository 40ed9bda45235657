"""Every argument of every public function refuses what it cannot be; functions without a call here say why."""

from __future__ import annotations

import re
from typing import Any

import pytest
from public_calls import CALLS, call, parameters, public

PUBLIC = public()
NO_CHECK: dict[str, str] = {
    **dict.fromkeys(
        (
            "tfinv.LayerResult", "tfinv.MeasureResult", "tfinv.Results", "tfinv.WorstCase",
            "tfinv.outputs.OutputChange", "tfinv.outputs.OutputComparison", "tfinv.outputs.OutputMeasured",
            "tfinv.outputs.OutputValues", "tfinv.outputs.Moves", "tfinv.tflite.Agreement", "tfinv.tflite.BitChoice",
            "tfinv.tflite.Comparison", "tfinv.tflite.Conversion", "tfinv.tflite.KernelComparison",
            "tfinv.tflite.LayerMap", "tfinv.tflite.Match", "tfinv.tflite.Materials", "tfinv.tflite.Measured",
            "tfinv.tflite.QatConversion", "tfinv.tflite.QatReport", "tfinv.tflite.StudyResult",
            "tfinv.training.LabelAccuracy", "tfinv.training.TrainingResult", "tfinv.datasets.ChannelStatistics",
            "tfinv.datasets.StoredImages",
        ),
        "a record that functions of tfinv make and return",
    ),
    **dict.fromkeys(
        ("tfinv.activations.ActivationSource", "tfinv.measures.Measure", "tfinv.outputs.OutputKind"),
        "a base class, without arguments of its own",
    ),
    **dict.fromkeys(
        (
            "tfinv.datasets.names", "tfinv.measures.names", "tfinv.models.names", "tfinv.transformations.identity",
            "tfinv.outputs.Classes", "tfinv.outputs.Embedding", "tfinv.outputs.Map", "tfinv.outputs.Vector",
        ),
        "takes no arguments",
    ),
    **dict.fromkeys(
        ("tfinv.layers.sampler.sample", "tfinv.layers.straight_through.sign"),
        "runs inside of models, on tensors whose errors are those of TensorFlow",
    ),
    "tfinv.Status": "an enumeration, whose errors are those of Python",
}  # fmt: skip
"""Public names that nothing here calls, and why."""
STATISTICS = re.compile(r"tfinv\.statistics\.")
"""What measures hand on to the engine; the measures check the options."""

CALLED: dict[tuple[str, str], str] = {
    ("tfinv.outputs.kind", "text"): "outputs",
    ("tfinv.training.accuracy_under", "y"): "x",
    ("tfinv.training.right_under", "y"): "x",
    ("tfinv.transformations.groups.TurnGroup", "name"): "group",
}
"""By function and argument what an error calls it, where that is another word."""


class Odd:
    """An object that is nothing."""

    def __repr__(self) -> str:
        return "Odd()"


def wrong_values(parameter: Any) -> list[Any]:
    """Values that an argument cannot take, read from its annotation."""
    kind = str(parameter.annotation)
    words = {*re.findall(r"\w+", kind)}
    values: list[Any] = [Odd()]
    if parameter.default is not None and not words & {"None", "Any", "Images", "ArrayLike", "Model", "Kernels"}:
        values.append(None)
    if words & {"int", "float"} and not words & {"str", "Any"}:
        values.append("text")
    if "int" in words and not words & {"bool", "Any", "Sequence", "tuple", "str", "ArrayLike"}:
        values.append(True)
    if words & {"float"} and "Mapping" not in words:
        values.append(float("nan"))
    if kind == "bool":
        values.append("no")
    if words & {"str", "Mapping", "Literal"} and not words & {"int", "float"}:
        values.append(5)
    if parameter.name == "seed":
        values.append(-1)
    return values


def test_every_public_function_is_called_or_says_why_not():
    missing = [name for name in PUBLIC if name not in {*CALLS, *NO_CHECK} and not STATISTICS.match(name)]
    assert not missing, "add a valid call to public_calls.CALLS, or a reason to NO_CHECK"
    assert {*CALLS, *NO_CHECK} <= {*PUBLIC}, "names that are gone"
    assert not {*CALLS} & {*NO_CHECK}


@pytest.mark.parametrize("name", CALLS)
def test_every_argument_refuses_what_it_cannot_be(name, tmp_path, monkeypatch):
    if name == "tfinv.activations.TorchModel":
        pytest.importorskip("torch", reason="PyTorch is not installed")
    monkeypatch.chdir(tmp_path)
    function, accepted = PUBLIC[name], []
    for parameter in parameters(function):
        argument = parameter.name
        called = "|".join({argument, CALLED.get((name, argument), argument)})
        form = re.compile(rf"(the \w+ of )?({called}) must .*[.?] Received: .+", re.DOTALL)
        for value in wrong_values(parameter):
            given = (value,) * 2 if parameter.kind is parameter.VAR_POSITIONAL else value
            try:
                call(function, {**CALLS[name](), argument: given})
            except (TypeError, ValueError) as error:
                if not form.match(str(error)):
                    accepted.append(f"{argument}={value!r}: {type(error).__name__}: {str(error)[:150]}")
            except Exception as error:
                accepted.append(f"{argument}={value!r}: {type(error).__name__}: {str(error)[:150]}")
            else:
                accepted.append(f"{argument}={value!r}: no error")
    assert not accepted, "\n".join(accepted)
