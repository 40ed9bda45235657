"""The networks that are invariant by design, and the ones they are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tfinv.support.checks import close_match


def designs(settings: Any) -> dict[str, Mapping[str, Any]]:
    """Architecture and options of each network by its name, at the sizes that the settings give.

    Args:
        settings: of a run; `filters` and `dense` of SimpleConv, `maps` of P4CNN, `dropout` of Z2CNN, and `networks`,
            the architectures that take part.

    Returns:
        Arguments of `StandardStudy.trained`.

    Raises:
        ValueError: another architecture, or none.
    """
    kinds: dict[str, Mapping[str, Any]] = {
        "simple_conv": {"architecture": "simple_conv"},
        "st_cnn": {"architecture": "st_cnn", "filters": settings.filters, "dense": settings.dense},
        "ti_pooling": {"architecture": "ti_pooling", "filters": settings.filters // 2, "dense": settings.dense},
        "z2cnn": {"architecture": "z2cnn", "filters": 2 * settings.maps, "dropout": settings.dropout},
        "p4cnn, pooling in every layer": {
            "architecture": "p4cnn",
            "filters": 2 * settings.maps,
            "pooling": "every_layer",
        },
        "p4cnn": {"architecture": "p4cnn", "filters": settings.maps},
    }
    known = list(dict.fromkeys(options["architecture"] for options in kinds.values()))
    unknown = [name for name in settings.networks if name not in known]
    if unknown or not settings.networks:
        hint = close_match(unknown[0], known) if unknown else ""
        raise ValueError(f"networks must be among {', '.join(known)}.{hint} Received: {settings.networks!r}")
    return {name: options for name, options in kinds.items() if options["architecture"] in settings.networks}
