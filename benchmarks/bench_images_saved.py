"""images_saved: the share of images that an evaluation with a precision leaves out, on two networks of MLPerf Tiny.

    python benchmarks/bench_images_saved.py [--samples 2000] [--precision 0.03] [--out benchmarks/results.json]

Needs TFINV_DATA with CIFAR-10 and the files of MLPerf Tiny. ResNet-8 is shown test images of CIFAR-10, MobileNet the
same images enlarged (its invariance is measured, not its answers). Normalized variance of all layers, and accuracy of
ResNet-8, until every simultaneous interval reaches at most the precision to either side. The smaller share is the
result.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from harness import RESULTS, record

import tfinv
from tfinv.tflite import TFLiteModel


def subjects(samples: int) -> dict[str, tuple[TFLiteModel, np.ndarray, Any, list[str]]]:
    """By name a model, its images, labels and what is measured."""
    folder = os.environ.get("TFINV_DATA")
    if not folder:
        raise SystemExit("TFINV_DATA must name a folder with cifar10 and models, see docs/data.md")
    root = Path(folder) / "models"
    test = tfinv.datasets.load("cifar10").test.subset(samples, 0)
    resnet = TFLiteModel(root / "ic_resnet8" / "int8.tflite", input_scale="0..255")
    mobile = TFLiteModel(root / "vww_mobilenet_v1" / "int8.tflite", input_scale="0..1")
    large = np.repeat(np.repeat(test.x[: max(240, samples // 4)], 3, axis=1), 3, axis=2)
    return {
        "ResNet-8": (resnet, test.x, test.y, ["NormalizedVariance", "AccuracyUnder"]),
        "MobileNet": (mobile, large, None, ["NormalizedVariance"]),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--precision", type=float, default=0.03)
    parser.add_argument("--transformations", default="rotations(8)")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    details: dict[str, Any] = {"precision": options.precision}
    shares = []
    for name, (model, images, labels, measures) in subjects(options.samples).items():
        start = time.perf_counter()
        found = tfinv.evaluate(
            model,
            images,
            options.transformations,
            measures,
            labels=labels,
            sampling=tfinv.Sampling(precision=options.precision),
            progress=False,
        )
        facts = found.metadata["precision"]
        details |= {f"{name} used": facts["used"], f"{name} of": facts["of"], f"{name} widest": facts["half_width"]}
        details[f"{name} seconds"] = time.perf_counter() - start
        shares.append(1 - facts["used"] / facts["of"])
    details["ratio"] = min(shares)
    record(options.out, "images_saved", details, 1, "share of images left out, the larger the better")
    return 0


if __name__ == "__main__":
    sys.exit(main())
