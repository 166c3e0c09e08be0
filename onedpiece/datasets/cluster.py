"""Encode the shards of a token dataset on a Ray cluster: each shard is a task.

Ray places the tasks, and repeats one whose process or node dies. A repeated task goes on after the
last part of its shard, as every run does, so that each key is there once.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from onedpiece.datasets.encoding import Progress, Report, Shard
from onedpiece.datasets.parts import NAME
from onedpiece.datasets.places import HUB, is_url
from onedpiece.datasets.survey import describe
from onedpiece.errors import OdpError, OutputError

RETRIES = 10  # of a task whose process or node dies
SHARDS_A_TASK = 4  # shards for each task that runs at once, so that all nodes end together

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
    shards:  how many; by default some for each task that runs at once, or as many as there were.
    resume:  continue after the parts that are there.
    address: of the cluster; by default, that in RAY_ADDRESS, else a new one on this machine.
    num_cpus, num_gpus: what a task needs; it has a worker process for each CPU.
    report:  called after each shard.

    Raises OdpError if no node has what a task needs, and what `encode` raises.
    """
    ray = _import_ray()
    folder = Path(os.path.abspath(out))
    before = _shards_of(folder)
    if before and not resume:
        raise OutputError(f"{folder} has parts already: --resume continues after them")
    ray.init(address=address, log_to_driver=False, configure_logging=False)
    try:
        slots = _slots(ray, num_cpus, num_gpus)
        count = before or shards or SHARDS_A_TASK * slots
        needs = {"num_cpus": num_cpus, "num_gpus": num_gpus, "max_retries": RETRIES}
        task = ray.remote(**needs)(_encode_shard)
        paths = [_absolute(path) for path in inputs]
        shards_of_run = [Shard(index, count) for index in range(count)]
        tasks = [task.remote(encode, paths, folder, one, num_cpus) for one in shards_of_run]
        progress = _collect(ray, tasks, report)
    finally:
        ray.shutdown()
    if _shards_of(folder) != count or describe(folder)["incomplete_shards"]:
        raise OutputError(f"{folder} is not complete: it must be a folder that all nodes share")
    return progress


def _encode_shard(
    encode: EncodeShard, inputs: list[str], out: Path, shard: Shard, workers: int
) -> Progress:
    return encode(inputs, out, shard=shard, resume=True, workers=workers)


def _collect(ray: Any, tasks: list[Any], report: Report | None) -> Progress:
    """Wait for all tasks, and add up what they did. Raises OdpError."""
    progress, start = Progress(), time.monotonic()
    while tasks:
        (done, *_), tasks = ray.wait(tasks, num_returns=1)
        try:
            one: Progress = ray.get(done)
        except ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None)
            raise OdpError(str(cause if isinstance(cause, OdpError) else error)) from error
        progress.done += one.done
        progress.failed += one.failed
        progress.before += one.before
        for extension, number in one.left_out.items():
            progress.left_out[extension] = progress.left_out.get(extension, 0) + number
        progress.seconds = time.monotonic() - start
        if report:
            report(progress)
    return progress


def _slots(ray: Any, num_cpus: int, num_gpus: float) -> int:
    """How many tasks the cluster can run at once. Raises OdpError for none: Ray would wait."""
    slots = 0
    for node in ray.nodes():
        has = node["Resources"] if node["Alive"] else {}
        fits = [has.get("CPU", 0) // num_cpus]
        fits += [has.get("GPU", 0) // num_gpus] if num_gpus else []
        slots += int(min(fits))
    if not slots:
        raise OdpError(f"no node of the cluster has {num_cpus} CPUs and {num_gpus:g} GPUs")
    return slots


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
        import ray.exceptions
    except ImportError as error:
        raise OdpError(
            f"a cluster needs the extra: pip install 'onedpiece[scale]' ({error})"
        ) from error
    return ray
