"""Invariance while a model trains: profiles per epoch in the history, TensorBoard and CSV."""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfinv.activations.source import LayerChoice
from tfinv.activations.sub_model import ActivationModel
from tfinv.datasets.given import as_array, first, is_dataset, unpack
from tfinv.evaluation.arguments import as_measures, check_before_training
from tfinv.evaluation.evaluate import evaluate
from tfinv.support.checks import layer_choice, path_like, whole_number
from tfinv.support.files import write_text
from tfinv.support.guarded import guarded
from tfinv.support.lazy import select_tensorflow_backend
from tfinv.support.safe_text import to_csv
from tfinv.support.types import Images
from tfinv.transformations import as_set

select_tensorflow_backend()


@guarded("before")
class InvarianceCallback(keras.callbacks.Callback):
    """Measures a model every few epochs of `model.fit`.

    Costs `max_samples * T` forward passes of the model and as many updates each time; the seconds spent are in
    `seconds`, and a first measurement before training is made with `before=True`.

    Example:
        >>> import keras, numpy as np
        >>> from tfinv.callbacks import InvarianceCallback
        >>> x, y = np.random.default_rng(0).random((16, 8, 8, 1), dtype="float32"), np.arange(16) % 2
        >>> layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(name="flat"), keras.layers.Dense(2, name="logits")]
        >>> model = keras.Sequential(layers)
        >>> model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> callback = InvarianceCallback(x, "rotations(4)", ["NormalizedVariance"])
        >>> history = model.fit(x, y, epochs=2, verbose=0, callbacks=[callback])
        >>> sorted(history.history)
        ['NormalizedVariance/flat', 'NormalizedVariance/logits', 'loss']

    Args:
        images: array `(S, H, W, C)`, a `Split` or a `tf.data.Dataset`.
        transformations: a set or its id.
        measures: measures or their keys.
        every: measure after every so many epochs.
        max_samples: at most so many of the images, the first ones; None for all.
        layers: see `tfinv.evaluate`.
        before: also measure the untrained model, as epoch 0.
        csv: a file to write the profiles to, rewritten after each measurement.
        tensorboard: a log folder for scalars, and a heat map as an image.

    Raises:
        ValueError: `every` or `max_samples` out of range, a bad set or measure, images with NaN, too few for a measure
            or without the labels that it needs. When training begins: an unknown layer, or images that do not fit.
        ImportError: `tensorboard` was given and TensorBoard is not installed.
    """

    def __init__(
        self,
        images: Images,
        transformations: Any,
        measures: Any = "NormalizedVariance",
        *,
        every: int = 1,
        max_samples: int | None = 100,
        layers: LayerChoice = None,
        before: bool = False,
        csv: str | os.PathLike[str] | None = None,
        tensorboard: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__()
        if tensorboard is not None and importlib.util.find_spec("tensorboard") is None:
            raise ImportError("tensorboard needs the package of that name: pip install 'tfinv[tensorboard]'")
        whole_number("every", every, 1)
        if max_samples is not None:
            whole_number("max_samples", max_samples, 1)
        for name, value in (("csv", csv), ("tensorboard", tensorboard)):
            if value is not None:
                path_like(name, value)
        if not is_dataset(images):
            as_array(unpack(images)[0])
        layer_choice(layers)
        self.transformations, self.measures = as_set(transformations), as_measures(measures)
        self.images = first(images, max_samples)
        check_before_training(self.images, self.transformations, self.measures)
        self.every, self.layers, self.before = every, layers, before
        self.csv = None if csv is None else Path(csv)
        self.tensorboard = tensorboard
        self.profiles: list[Any] = []
        """One frame a measurement, the columns of `Results.profile()` and `epoch`."""
        self.seconds = 0.0
        """Time spent measuring so far."""
        self._source: ActivationModel | None = None
        self._writer: Any = None

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Refuse layers and images that do not fit the model; measure it untrained where asked."""
        if self.model.built:
            check_before_training(self.images, self.transformations, self.measures, self._of_model())
        if self.before:
            self._measure(0)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Measure, and add the profile to the epoch's logs; epochs in between repeat the last profile."""
        if (epoch + 1) % self.every == 0:
            self._measure(epoch + 1)
        if logs is not None and self.profiles:
            rows = self.profiles[-1].itertuples()
            logs.update({f"{row.measure}/{row.layer}": float(row.mean) for row in rows})

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Close the TensorBoard writer."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _measure(self, epoch: int) -> None:
        import pandas as pd

        start = time.perf_counter()
        results = evaluate(self._of_model(), self.images, self.transformations, self.measures, progress=False)
        self.profiles.append(results.profile().assign(epoch=epoch))
        if self.csv is not None:
            write_text(self.csv, to_csv(pd.concat(self.profiles, ignore_index=True)))
        if self.tensorboard is not None:
            self._log(results, epoch)
        self.seconds += time.perf_counter() - start

    def _of_model(self) -> ActivationModel:
        """The chosen layers of the model in training."""
        if self._source is None or self._source.keras_model is not self.model:
            self._source = ActivationModel(self.model, self.layers)
        return self._source

    def _log(self, results: Any, epoch: int) -> None:
        import tensorflow as tf

        from tfinv import plots

        if self._writer is None:
            self._writer = tf.summary.create_file_writer(os.fspath(self.tensorboard or ""))
        with self._writer.as_default():
            for row in self.profiles[-1].itertuples():
                tf.summary.scalar(f"{row.measure}/{row.layer}", row.mean, step=epoch)
            for key, measure in results.items():
                tf.summary.image(key, _pixels(plots.heatmap(measure)), step=epoch)
        self._writer.flush()


def _pixels(figure: Any) -> np.ndarray:
    """A figure as uint8 `(1, H, W, 4)`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[None]


__all__: Sequence[str] = ["InvarianceCallback"]
