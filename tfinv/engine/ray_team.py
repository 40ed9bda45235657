"""Workers of Ray."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tfinv.engine.absence import LOOK_SECONDS, Absence
from tfinv.engine.teams import TRIES, Promise, ended_workers, task_name


class OnRay:
    """The workers of Ray, which runs a task again where its worker dies.

    Args:
        address: of a cluster; None for the one that runs, or else a local one.
    """

    def __init__(self, address: str | None = None) -> None:
        try:
            import ray  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise ImportError("Ray must be installed for distribute='ray': pip install 'tfinv[ray]'") from None
        self.size: int | None = None
        self.holds = True
        self._ray = ray
        if not ray.is_initialized():
            try:
                ray.init(address=address, log_to_driver=False, include_dashboard=None)
            except ConnectionError as error:
                raise ValueError(
                    f"distribute must be the address of a Ray cluster that answers. Received: {address} ({error})"
                ) from None
        self._absence = Absence("Ray", lambda: round(ray.cluster_resources().get("CPU", 0)))
        self._run = ray.remote(num_cpus=1, max_retries=TRIES - 1)(_called)

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Promise:
        return self.hold(function, *arguments)[0]

    def hold(self, function: Callable[..., Any], *arguments: Any, parts: int = 0) -> Sequence[Promise]:
        run = self._run.options(num_returns=max(1, parts), name=task_name(function))
        given = [argument.reference if isinstance(argument, _OfRay) else argument for argument in arguments]
        references: Any = run.remote(function, *given)
        by_part = references if parts > 1 else [references]
        return [_OfRay(self._ray, reference, self._absence) for reference in by_part]

    def share(self, content: bytes) -> Any:
        return self._ray.put(content)

    def close(self) -> None:
        """Nothing to take back: Ray counts references."""


class _OfRay:
    """The result of a task of Ray.

    Args:
        ray: the module.
        reference: of Ray.
        absence: looks after the workers meanwhile.
    """

    def __init__(self, ray: Any, reference: Any, absence: Absence) -> None:
        self._ray, self.reference, self._absence = ray, reference, absence

    def done(self) -> bool:
        return bool(self._ray.wait([self.reference], timeout=0)[0])

    def result(self) -> Any:
        errors = self._ray.exceptions
        while True:
            try:
                value = self._ray.get(self.reference, timeout=LOOK_SECONDS)
                break
            except errors.RayTaskError as error:
                raise error.cause if isinstance(error.cause, Exception) else RuntimeError(str(error)) from None
            except errors.GetTimeoutError:
                self._absence.look()
            except errors.WorkerCrashedError as error:
                raise ended_workers(TRIES, " ".join(str(error).split())[:200]) from None
        self._absence.met()
        return value


def _called(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)
