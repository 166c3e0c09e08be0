"""Encode a token dataset on a Ray cluster: Ray Data hands out its shards to actors.

It starts the actors where there is room, gives each one shard at a time, and repeats a shard whose
process or node dies. The repetition goes on after the last part of the shard, as every run does, so
that each key is there once.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from onedpiece.datasets.encoding import Progress, Report, Shard
from onedpiece.datasets.parts import NAME
from onedpiece.datasets.places import HUB, is_url
from onedpiece.datasets.survey import describe
from onedpiece.errors import OdpError, OutputError

SHARDS_AN_ACTOR = 4  # so that all nodes end together

EncodeShard = Callable[..., Progress]
"""`encode` with everything but inputs, output, shard, resume and workers."""


def encode_on_ray(
    encode: EncodeShard,
    inputs: list[str],
    out: str | os.PathLike[str],
    *,
    shards: int | None = None,
    resume: bool = False,
    address: str | None = None,
    num_cpus: int = 1,
    num_gpus: float = 0,
    report: Report | None = None,
) -> Progress:
    """Encode all shards of a dataset; needs the extra `scale`, and a folder that all nodes share.

    encode:  `onedpiece.datasets.encode`, or a partial of it with options.
    inputs, out: as `encode` takes them.
    shards:  how many; by default some for each actor, or as many as there were.
    resume:  continue after the parts that are there.
    address: of the cluster; by default, that in RAY_ADDRESS, else a new one on this machine.
    num_cpus, num_gpus: what an actor needs; it has a worker process for each CPU.
    report:  called after each shard.

    Raises OdpError if no node has what an actor needs, and what `encode` raises.
    """
    ray = _import_ray()
    folder = Path(os.path.abspath(out))
    before = _shards_of(folder)
    if before and not resume:
        raise OutputError(f"{folder} has parts already: --resume continues after them")
    ray.init(address=address, log_to_driver=False, configure_logging=False)
    try:
        actors = _room(ray, num_cpus, num_gpus)
        count = before or shards or SHARDS_AN_ACTOR * actors
        encoder = (encode, [_absolute(path) for path in inputs], folder, count, num_cpus)
        needs = {"num_cpus": num_cpus, "num_gpus": num_gpus}
        results = _results(ray, encoder, count, min(actors, count), needs)
        progress = _sum(ray, results, report)
    finally:
        ray.shutdown()
    if _shards_of(folder) != count or describe(folder)["incomplete_shards"]:
        raise OutputError(f"{folder} is not complete: it must be a folder that all nodes share")
    return progress


class _Encoder:
    """An actor that encodes shards."""

    def __init__(
        self, encode: EncodeShard, inputs: list[str], out: Path, shards: int, workers: int
    ) -> None:
        self._encode = partial(encode, inputs, out, resume=True, workers=workers)
        self._shards = shards

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Encode the shards with the numbers `batch["id"]`; what was done, for each of them."""
        progress = [self._encode(shard=Shard(int(i), self._shards)) for i in batch["id"]]
        return {
            "done": [one.done for one in progress],
            "failed": [one.failed for one in progress],
            "before": [one.before for one in progress],
            "left_out": [json.dumps(one.left_out) for one in progress],
        }


def _results(
    ray: Any, encoder: tuple[Any, ...], shards: int, actors: int, needs: dict[str, float]
) -> Iterable[dict[str, Any]]:
    """What was done in each shard, as they end.

    encoder: arguments of `_Encoder`. needs: of an actor.
    """
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    ray.data.DataContext.get_current().enable_progress_bars = False
    # A reader such as `ray.data.range` would wait for a CPU that the actors hold.
    numbers = ray.data.from_items([{"id": i} for i in range(shards)], override_num_blocks=shards)
    data = numbers.map_batches(
        _Encoder,
        fn_constructor_args=encoder,
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=actors, max_tasks_in_flight_per_actor=1),
        **needs,
    )
    results: Iterable[dict[str, Any]] = data.iter_rows()
    return results


def _sum(ray: Any, results: Iterable[dict[str, Any]], report: Report | None) -> Progress:
    """Wait for all shards, and add up what was done. Raises OdpError."""
    progress, start = Progress(), time.monotonic()
    try:
        for one in results:
            progress.done += one["done"]
            progress.failed += one["failed"]
            progress.before += one["before"]
            for extension, number in json.loads(one["left_out"]).items():
                progress.left_out[extension] = progress.left_out.get(extension, 0) + number
            progress.seconds = time.monotonic() - start
            if report:
                report(progress)
    except ray.exceptions.RayError as error:
        raise OdpError(str(_cause(error))) from error
    return progress


def _cause(error: BaseException) -> BaseException:
    """What an actor raised, or Ray's own error."""
    inner: BaseException | None = error
    while inner is not None and not isinstance(inner, OdpError):
        inner = getattr(inner, "cause", None) or inner.__cause__
    return inner or error


def _room(ray: Any, num_cpus: int, num_gpus: float) -> int:
    """How many actors the cluster has room for. Raises OdpError for none: Ray would wait."""
    room = 0
    for node in ray.nodes():
        has = node["Resources"] if node["Alive"] else {}
        fits = [has.get("CPU", 0) // num_cpus]
        fits += [has.get("GPU", 0) // num_gpus] if num_gpus else []
        room += int(min(fits))
    if not room:
        raise OdpError(f"no node of the cluster has {num_cpus} CPUs and {num_gpus:g} GPUs")
    return room


def _shards_of(folder: Path) -> int:
    """The number of shards of the parts in a folder, 0 if there are none."""
    matches = [NAME.fullmatch(path.name) for path in folder.glob("*.parquet")]
    return max((int(match[2]) for match in matches if match), default=0)


def _absolute(path: str) -> str:
    """The path as other processes see it."""
    if is_url(path) or (path.startswith(HUB) and not os.path.exists(path.removeprefix(HUB))):
        return path
    return os.path.abspath(path.removeprefix(HUB))


def _import_ray() -> Any:
    try:
        import ray
        import ray.data
        import ray.exceptions
    except ImportError as error:
        raise OdpError(
            f"a cluster needs the extra: pip install 'onedpiece[scale]' ({error})"
        ) from error
    return ray
