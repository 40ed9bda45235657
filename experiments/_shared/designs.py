"""The networks that are invariant by design, and the ones they are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def designs(settings: Any) -> dict[str, Mapping[str, Any]]:
    """Architecture and options of each network by its name, at the sizes that the settings give.

    Args:
        settings: of a run; `filters` and `dense` of SimpleConv, `maps` of P4CNN, and `networks`, the architectures
            that take part.

    Returns:
        Arguments of `StandardStudy.trained`.
    """
    kinds: dict[str, Mapping[str, Any]] = {
        "simple_conv": {"architecture": "simple_conv"},
        "st_cnn": {"architecture": "st_cnn", "filters": settings.filters, "dense": settings.dense},
        "ti_pooling": {"architecture": "ti_pooling", "filters": settings.filters // 2, "dense": settings.dense},
        "z2cnn": {"architecture": "z2cnn", "filters": 2 * settings.maps},
        "p4cnn, pooling in every layer": {
            "architecture": "p4cnn",
            "filters": 2 * settings.maps,
            "pooling": "every_layer",
        },
        "p4cnn": {"architecture": "p4cnn", "filters": settings.maps},
    }
    return {name: options for name, options in kinds.items() if options["architecture"] in settings.networks}
