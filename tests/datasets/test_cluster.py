"""Encoding on a Ray cluster of two nodes on this machine, and what happens if processes die."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'onedpiece[datasets]'")
pytest.importorskip("ray", reason="needs Ray: pip install 'onedpiece[scale]'")

from onedpiece.datasets import encode, encode_on_ray, verify
from onedpiece.errors import OdpError, OutputError

PART = 2  # samples


@pytest.fixture(scope="module")
def cluster():
    """The address of two nodes with a CPU each; every task of the tests needs one."""
    patch = pytest.MonkeyPatch()
    patch.setenv("RAY_USAGE_STATS_ENABLED", "0")  # tests tell nobody that they run
    patch.setenv("RAY_AUTH_MODE", "disabled")
    from ray import cloudpickle
    from ray.cluster_utils import Cluster

    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import tests
    nodes = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    nodes.add_node(num_cpus=1)
    yield nodes.address
    nodes.shutdown()
    patch.undo()


def small(**options):
    return partial(encode, target=16, samples_per_part=PART, **options)


def dies_once(inputs, out, shard, marker, **options):
    """Encode a shard in a process that is killed after its first part, the first time."""

    def report(progress):
        if shard.index == 1 and progress.done > PART and not Path(marker).exists():
            Path(marker).touch()
            os.kill(os.getpid(), signal.SIGKILL)

    from onedpiece.datasets import encoding

    encoding.CHUNK = 1
    return encode(inputs, out, 16, shard=shard, samples_per_part=PART, **options, report=report)


@pytest.mark.skipif(sys.platform == "win32", reason="needs the signals of POSIX")
class TestCluster:
    def test_it_gives_the_rows_of_one_machine(self, cluster, folder, tmp_path, read_rows):
        (folder / "class-0" / "04.jpg").write_bytes(b"not a picture")
        progress = encode_on_ray(
            small(), [str(folder)], tmp_path / "out", shards=3, address=cluster
        )
        assert (progress.done, progress.failed) == (11, 1)
        encode([folder], tmp_path / "here", 16, workers=0)
        by_key = {row["key"]: row for row in read_rows(tmp_path / "here")}
        rows = read_rows(tmp_path / "out")
        assert len(rows) == 11 and all(row == by_key[row["key"]] for row in rows)
        assert list(verify(tmp_path / "out")) == []

        with pytest.raises(OutputError, match="--resume"):
            encode_on_ray(small(), [str(folder)], tmp_path / "out", address=cluster)
        with pytest.raises(OdpError, match="no node of the cluster has 2 CPUs"):
            encode_on_ray(small(), [str(folder)], tmp_path / "new", address=cluster, num_cpus=2)
        with pytest.raises(OdpError, match="no inputs"):
            encode_on_ray(small(), [str(tmp_path / "*.x")], tmp_path / "new", address=cluster)

    def test_a_killed_process_is_replaced(self, cluster, folder, tmp_path, read_rows):
        job = partial(dies_once, marker=str(tmp_path / "died"))
        encode_on_ray(job, [str(folder)], tmp_path / "out", shards=2, address=cluster)
        assert (tmp_path / "died").exists()
        rows = read_rows(tmp_path / "out")
        assert len(rows) == len({row["key"] for row in rows}) == 12
        assert list(verify(tmp_path / "out")) == []

    def test_a_killed_driver_can_resume(self, cluster, folder, tmp_path, jpeg, read_rows):
        for number in range(300):
            (folder / f"{number:03d}.jpg").write_bytes(jpeg(number, 32, 32))
        arguments = ("dataset", "encode", folder, tmp_path / "out", "-n", 16, "--engine", "ray")
        options = ("--address", cluster, "--rows-per-file", 10)
        command = [sys.executable, "-m", "onedpiece.cli", *map(str, arguments + options)]
        run = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while not list((tmp_path / "out").glob("part-*")) and time.monotonic() < deadline:
            time.sleep(0.05)
        run.kill()
        run.wait(60)
        before = len(list((tmp_path / "out").glob("part-*.parquet")))
        assert 1 <= before < 32
        again = subprocess.run([*command, "--resume"], capture_output=True, text=True, timeout=240)
        assert again.returncode == 0, again.stderr
        rows = read_rows(tmp_path / "out")
        assert len(rows) == len({row["key"] for row in rows}) == 312
        assert list(verify(tmp_path / "out")) == []
