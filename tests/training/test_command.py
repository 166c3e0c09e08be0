"""`python -m onedpiece.training`."""

import pytest

torch = pytest.importorskip("torch", reason="needs the extra onedpiece[torch]")

from onedpiece.training import __main__ as command  # noqa: E402
from onedpiece.training import checkpoint  # noqa: E402
from onedpiece.training.loop import Trainer  # noqa: E402
from onedpiece.training.recipe import Recipe  # noqa: E402


@pytest.fixture
def call(monkeypatch):
    """Runs the command in this process."""

    def call(*arguments):
        monkeypatch.setattr("sys.argv", ["training", *map(str, arguments)])
        command.main()

    return call


@pytest.fixture
def data(tmp_path, make_picture):
    """Options that name a folder of pictures and a cache."""
    (tmp_path / "data").mkdir()
    for seed in range(6):
        make_picture(256, 256, seed).save(tmp_path / "data" / f"{seed}.png")
    return ["--data", tmp_path / "data", "--cache", tmp_path / "cache"]


@pytest.fixture
def run(tmp_path, fitted):
    """A run at step 0."""
    folder = tmp_path / "run"
    folder.mkdir()
    Trainer(folder, fitted, Recipe(steps=2)).save()
    return folder


def test_fit_writes_a_checkpoint_at_step_0(call, data, tmp_path):
    call("fit", "--run", tmp_path / "new", *data, "--config", "tiny")
    state = checkpoint.read(tmp_path / "new")
    assert state["step"] == 0 and state["ema"]["quantize.codebooks"].any()


def test_train_starts_a_recipe_and_resumes_it(call, run, data, tmp_path):
    (tmp_path / "quick.toml").write_text("steps = 2\nbatch = 2\n")
    train = ["train", "--run", run, *data, "--stop", 1]
    call(*train, "--recipe", tmp_path / "quick.toml")
    assert checkpoint.read(run)["step"] == 1
    for _ in range(2):  # a run that has ended is left as it is
        call(*train)
        state = checkpoint.read(run)
        assert (state["step"], state["recipe"]["batch"]) == (2, 2)


def test_start_takes_the_weights_of_a_run(call, run, tmp_path):
    call("start", "--run", tmp_path / "other", "--config", "tiny", "--from", run)
    state = checkpoint.read(tmp_path / "other")
    assert state["step"] == 0
    codebooks = "quantize.codebooks"
    assert torch.equal(state["model"][codebooks], checkpoint.read(run)["ema"][codebooks])


def test_start_takes_the_weights_of_an_installed_model(call, tmp_path):
    from onedpiece.models.registry import find

    default = find("default").path
    call("start", "--run", tmp_path / "other", "--config", "default", "--from", default)
    state = checkpoint.read(tmp_path / "other")
    assert state["step"] == 0 and state["model"]["quantize.codebooks"].any()


def test_start_needs_weights(call, tmp_path):
    with pytest.raises(SystemExit, match="needs --from, or --vq"):
        call("start", "--run", tmp_path / "other", "--config", "tiny")


def test_tables_are_measured_without_the_networks_of_the_recipe(call, run, data):
    before = checkpoint.read(run)
    before["recipe"]["vgg"] = 1.0
    checkpoint.write(run, before)
    call("tables", "--run", run, *data)
    after = checkpoint.read(run)
    table = after["ema"].pop("quantize.frequency")
    assert not torch.equal(table, before["ema"].pop("quantize.frequency"))
    assert torch.equal(table, after["model"]["quantize.frequency"])
    assert all(torch.equal(after["ema"][name], value) for name, value in before["ema"].items())


def test_evaluate_prints_a_line_for_each_number_of_tokens(call, run, data, capsys):
    call("evaluate", "--run", run, data[1], "--tokens", 16, 256)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [(int(line[0]), line[3]) for line in lines] == [(16, "dB"), (256, "dB")]


def test_entropy_is_printed_by_position_and_for_static_tables(call, run, data, capsys):
    call("entropy", "--run", run, *data)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("entropy of a token position: ")
    assert lines[1].startswith("static tables, held out: ")


def test_export_writes_a_model_and_then_adds_decoders_to_it(call, run, data, tmp_path, monkeypatch):
    pytest.importorskip("onnxscript", reason="needs the extra onedpiece[torch]")
    from onedpiece.errors import OutputError
    from onedpiece.export import model_directory
    from onedpiece.models.registry import read_model

    def stand_in(*arguments):
        graphs = [argument for argument in arguments if str(argument).endswith(".onnx")]
        graphs[-1].write_bytes(b"graph")

    # Graphs take a minute (tests/export).
    for name in ("write_graph", "_write_search", "quantise_activations"):
        monkeypatch.setattr(model_directory, name, stand_in)
    export = ["export", "--run", run, tmp_path / "model", "--name", "mine", *data]
    call(*export)
    first = read_model(tmp_path / "model")
    call(*export, "--decoder", "other", "--version", 3)
    both = read_model(tmp_path / "model")
    assert [(one.name, one.version) for one in both.decoders] == [("repair", 1), ("other", 3)]
    assert first.files.items() < both.files.items()
    with pytest.raises(OutputError, match="decoders never change"):
        call(*export)


def test_training_needs_torch_numpy_and_pillow_only(loaded_modules):
    loaded = loaded_modules("import onedpiece.training.__main__")
    assert {"torch", "numpy", "PIL"} <= loaded
    assert not loaded & {"safetensors", "onnx", "onnxscript", "onnxruntime", "typer", "rich"}
