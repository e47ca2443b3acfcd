"""A crew on a Ray cluster, or on a small one that is started here; needs the extra `ray`."""

import logging
import os
from typing import Any, Self

from fastvid.runtime.bulk.crew import Ended, OnFrames, work
from fastvid.runtime.bulk.piece import Piece
from fastvid.runtime.engines.onnx_cpu import limit_threads

log = logging.getLogger(__name__)

LOCAL = "local"


class OnRay:
    """Tasks of Ray; source, target and model must have the same paths on every machine.

    Nothing is said about a piece while it is painted. Ray keeps its processes, and the network
    with them, from one task to the next.

    Args:
        address: of the cluster, or `local` for one that lives as long as this process.
        num_workers: how many pieces at a time; None is one for each processor of the cluster.
        on_gpu: whether tasks ask for their share of a graphics card, where the cluster has some.

    Raises:
        RuntimeError: Ray is not installed, or the cluster does not answer.
    """

    def __init__(self, address: str, num_workers: int | None, on_gpu: bool) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
        except ImportError as error:
            raise RuntimeError(
                f'--ray needs Ray; pip install "fastvid[ray]", or use --workers ({error})'
            ) from None
        self._ray: Any = ray
        settings: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        if address == LOCAL:
            settings |= {"address": "local", "include_dashboard": False}
            settings["num_cpus"] = max(num_workers or 0, os.cpu_count() or 1)
        else:
            settings["address"] = address
        try:
            ray.init(**settings)
        except Exception as error:  # Ray's own errors share no narrower base
            raise RuntimeError(f"--ray {address}: no such cluster ({error})") from error
        resources = ray.cluster_resources()
        cpus, gpus = int(resources.get("CPU", 1)), resources.get("GPU", 0.0)
        self.num_workers = num_workers or max(1, cpus)
        self._num_threads = max(1, cpus // self.num_workers)
        share: dict[str, float] = {"num_cpus": self._num_threads}
        if on_gpu and gpus:
            share["num_gpus"] = min(1.0, gpus / self.num_workers)
        # how often to try again is decided in one place, `schedule`
        remote: Any = ray.remote
        self._work = remote(max_retries=0, **share)(_work)
        self._numbers: dict[Any, int] = {}

    def start(self, number: int, piece: Piece) -> None:
        """See `Crew`."""
        self._numbers[self._work.remote(number, piece, self._num_threads)] = number

    def poll(self, timeout_s: float, on_frames: OnFrames) -> list[Ended]:
        """See `Crew`."""
        if not self._numbers:
            return []
        ready, _ = self._ray.wait(
            list(self._numbers), num_returns=len(self._numbers), timeout=timeout_s
        )
        return [self._end(reference) for reference in ready]

    def _end(self, reference: Any) -> Ended:
        number = self._numbers.pop(reference)
        try:
            ended: Ended = self._ray.get(reference)
            return ended
        except self._ray.exceptions.RayTaskError as error:  # `_work` could not be called
            return Ended(number, RuntimeError(str(error).splitlines()[-1]))
        except self._ray.exceptions.RayError as error:
            return Ended(number, death=type(error).__name__)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for reference in self._numbers:
            self._ray.cancel(reference, force=True)
        self._ray.shutdown()


def _work(number: int, piece: Piece, num_threads: int) -> Ended:
    """What Ray calls; others work on the same machine, and nothing else tells the engine so."""
    limit_threads(num_threads)
    return work(number, piece)
