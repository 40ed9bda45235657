"""Which workers `evaluate(..., distribute=...)` names."""

from __future__ import annotations

from typing import Any

from tfinv.engine.dask_team import OnDask, connected
from tfinv.engine.local_team import Local
from tfinv.engine.ray_team import OnRay
from tfinv.engine.teams import Given, Team


def as_team(distribute: Any) -> Team | None:
    """The workers that `evaluate(..., distribute=...)` names.

    Args:
        distribute: None for none; a number of local processes; `"ray"` or the address of a Dask scheduler; a Dask
            client, the module `ray`, or any object with `submit(function, *arguments)` that gives futures; a `Team`.

    Raises:
        ValueError: a number below 1, an unknown name, an address that does not answer.
        ImportError: an engine that is not installed; the extra is named.
        TypeError: something else.
    """
    if distribute is None or isinstance(distribute, Team):
        return distribute
    if isinstance(distribute, str) and distribute.isdigit():
        distribute = int(distribute)
    if isinstance(distribute, int) and not isinstance(distribute, bool):
        if distribute < 1:
            raise ValueError(f"distribute must be at least 1 process. Received: {distribute}")
        return Local(distribute)
    if isinstance(distribute, str):
        return _named(distribute)
    if getattr(distribute, "__name__", "") == "ray":
        return OnRay()
    if type(distribute).__module__.split(".")[0] == "distributed":
        return OnDask(distribute)
    if callable(getattr(distribute, "submit", None)):
        return Given(distribute)
    raise TypeError(
        "distribute must be a number of processes, 'ray', the address of a Dask scheduler, or an object with submit. "
        f"Received: {distribute!r}"
    )


def _named(text: str) -> Team:
    if text == "ray" or text.startswith("ray://"):
        return OnRay(None if text == "ray" else text)
    if "://" not in text:
        raise ValueError(
            "distribute must be a number of processes, 'ray', or the address of a Dask scheduler such as "
            f"'tcp://host:8786'. Received: {text!r}"
        )
    return connected(text)
