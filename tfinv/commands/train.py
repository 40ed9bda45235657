"""``python -m tfinv.run train``: train a reference network, plain or augmented, and save it."""

from __future__ import annotations

import argparse
import ast
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfinv.commands import arguments as shared
from tfinv.commands.effects import Whole, parse, refuse_idle
from tfinv.support.files import write_json, write_text

_EPILOG = """\
writes model.keras, history.csv, training.json and accuracy.csv into --out

example:
  python -m tfinv.run train --architecture simple_conv filters=16 --data mnist --augmentation "rotations(16)" \\
      --epochs 5 --out runs/mnist-rotated
  python -m tfinv.run train --data mnist --invariance-loss 0.1 --invariance-layers fc1_act \\
      --invariance-transformations "rotations(16)" --out runs/mnist-invariant
"""


def main(arguments: Sequence[str]) -> int:
    """Entry point; returns the exit code."""
    parser = shared.parser("train", "Train a network of tfinv.models on images.", _EPILOG)
    parser.add_argument(
        "--architecture",
        nargs="+",
        default=["simple_conv"],
        help="name of tfinv.models or your own file.py:function, and key=value options, keras.applications.NAME, or a "
        ".keras or .h5 file, of which the architecture is taken with new weights; default: simple_conv",
    )
    parser.add_argument("--data", required=True, help=shared.DATA_HELP)
    parser.add_argument("--augmentation", help=f"train on random members of {shared.TRANSFORMATIONS_HELP}")
    parser.add_argument("--epochs", type=Whole(1), default=10, help="default: 10")
    parser.add_argument("--batch-size", type=Whole(1), default=64, help="default: 64")
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="default: 0.001")
    parser.add_argument("--min-accuracy", type=float, help="start again, at most 3 times, below this test accuracy")
    parser.add_argument("--patience", type=Whole(1), help="stop after so many epochs without a lower test loss")
    parser.add_argument(
        "--invariance-loss",
        type=float,
        metavar="WEIGHT",
        help="add this times the change of layers under transformations, in units of their variance, to the loss",
    )
    parser.add_argument("--invariance-layers", nargs="+", help="whose change: names, globs or types of layers")
    parser.add_argument(
        "--invariance-transformations",
        help="under which transformations: an id as of --augmentation, which is the default",
    )
    options = parse(parser, arguments)
    invariance = _invariance(options)

    import keras

    from tfinv import datasets, models
    from tfinv.training.invariance import InvarianceLoss
    from tfinv.training.train import accuracy_under, train
    from tfinv.transformations.set_augmentation import augmentation_layer

    name, *pairs = options.architecture
    name = shared.architecture(name)
    augmented = shared.transformations(options.augmentation) if options.augmentation else None
    tested, loss = augmented, None
    if invariance is not None:
        tested = shared.transformations(invariance)
        loss = InvarianceLoss(tested, options.invariance_layers, options.invariance_loss)
    data = datasets.load(options.data)
    keras.utils.set_random_seed(options.seed)
    model = models.build(name, data.input_shape, data.num_classes, **parse_options(pairs))
    augmentation = augmentation_layer(augmented, seed=options.seed) if augmented else None
    result = train(
        model,
        data.train,
        epochs=options.epochs,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        augmentation=augmentation,
        validation=data.test,
        seed=options.seed,
        patience=options.patience,
        min_accuracy=options.min_accuracy,
        progress=not options.quiet,
        invariance=loss,
    )
    options.out.mkdir(parents=True, exist_ok=True)
    model.save(options.out / "model.keras")
    write_text(options.out / "history.csv", result.history.to_csv(index=False))
    summary = {"accuracy": float(result.accuracy), "restarts": result.restarts, "seconds": round(result.seconds, 1)}
    if tested and data.test.y is not None:
        under = accuracy_under(model, data.test.x, data.test.y, tested)
        write_text(options.out / "accuracy.csv", "accuracy\n" + "".join(f"{value}\n" for value in under))
        summary["accuracy_transformed"] = float(np.mean(under))
    write_json(options.out / "training.json", {**summary, "arguments": {k: str(v) for k, v in vars(options).items()}})
    print(", ".join(f"{key} {value:.4g}" for key, value in summary.items()))
    print(f"Written to {options.out}")
    return 0


def _invariance(options: argparse.Namespace) -> str | None:
    """The id of the set of the invariance loss; None where none was asked for.

    Raises:
        ValueError: a loss without layers or without transformations, or options that need it.
    """
    if options.invariance_loss is None:
        needs = "it belongs to --invariance-loss"
        refuse_idle(options, {"invariance_layers": needs, "invariance_transformations": needs})
        return None
    if not options.invariance_layers:
        raise ValueError("--invariance-layers must name the layers of --invariance-loss. Received: none")
    text = options.invariance_transformations or options.augmentation
    if not text:
        raise ValueError("--invariance-transformations must be given without --augmentation. Received: none")
    return text


def parse_options(pairs: Sequence[str]) -> dict[str, Any]:
    """`key=value` texts as keyword arguments; values are Python literals, or text.

    Raises:
        ValueError: a text without `=`.
    """
    options = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator:
            raise ValueError(f"architecture options must be key=value. Received: {pair!r}")
        try:
            options[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            options[key] = value
    return options
