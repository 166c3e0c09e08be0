"""Training in several processes, as `torchrun` starts them."""

import os
import socket
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch", reason="needs the extra onedpiece[torch]")

from onedpiece.training import checkpoint  # noqa: E402
from onedpiece.training.data import Pictures  # noqa: E402
from onedpiece.training.distributed import Process  # noqa: E402
from onedpiece.training.loop import Trainer  # noqa: E402
from onedpiece.training.recipe import Recipe  # noqa: E402

RECIPE = Recipe(steps=2, batch=2, warmup_steps=1)


@pytest.mark.parametrize("recipe", [Recipe(seconds=9, batch=2), Recipe(steps=9, batch=3)])
def test_a_batch_that_cannot_be_divided_and_a_time_limit_are_refused(tiny, tmp_path, recipe):
    with pytest.raises(ValueError, match="several processes"):
        Trainer(tmp_path, tiny, recipe).distribute(Process(0, 2))


def test_two_processes_learn_what_one_learns(tiny, make_picture, tmp_path):
    (tmp_path / "pictures").mkdir()
    for seed in range(4):
        make_picture(256, 256, seed).save(tmp_path / "pictures" / f"{seed}.png")
    for run in ("one", "two"):
        (tmp_path / run).mkdir()
        Trainer(tmp_path / run, tiny, RECIPE).save()
    start = {name: value.clone() for name, value in tiny.state_dict().items()}
    arguments = ["--data", tmp_path / "pictures", "--cache", tmp_path / "cache"]
    train_in_two_processes("--run", tmp_path / "two", *arguments)
    Trainer.resume(tmp_path / "one").run(Pictures.open([arguments[1]], arguments[3]))
    one, two = (checkpoint.read(tmp_path / run) for run in ("one", "two"))
    assert one["step"] == two["step"] == 2
    for name, value in one["model"].items():
        # The size of AdamW's first steps does not depend on the gradient, so that rounding errors
        # may reverse the step of a parameter whose gradient is nearly zero.
        update, other = value - start[name], two["model"][name] - start[name]
        if update.abs().max() > 0:
            cosine = torch.nn.functional.cosine_similarity(update.ravel(), other.ravel(), 0)
            assert cosine > 0.95, name


def train_in_two_processes(*arguments) -> None:
    """The command with the environment that `torchrun --nproc-per-node 2` sets."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    settings = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": 1}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "onedpiece.training", "train", *map(str, arguments)],
            env={
                **os.environ,
                **{name: str(value) for name, value in settings.items()},
                **{"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"},
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for process in processes:
        _, stderr = process.communicate(timeout=120)
        assert process.returncode == 0, stderr
