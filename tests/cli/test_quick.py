"""Verbs run without Typer where that gives the same, and with Typer for everything else."""

import functools
import importlib
import inspect
import os
import subprocess
import sys

import pytest

PLAIN = [
    "decode a.odp b.png",
    "decode a.odp -",
    "decode -n 16 a.odp b.png --realism 0.5 --device cpu -f",
    "decode --tokens=16 --tokens 8 a.odp b.odp c.odp --out-dir=x -r --json",
    "encode a.png b.odp --bpp 1 --background white --metadata exif,xmp",
    "encode a.png b.odp --bytes 200 --adaptive -e 2 --threads 1",
    "encode --files-from - --out-dir out",
    "truncate a.odp b.odp --bytes 50 --force",
    "info a.odp --json",
    "verify -r folder --quiet",
]

OTHER = [
    "",
    "models",
    "decode --help",
    "--debug decode a.odp b.png",
    "decode a.odp b.png --unknown",
    "decode a.odp b.png --tokens",
    "decode a.odp b.png --tokens -- ",
    "decode a.odp b.png --tokens 0",
    "decode a.odp b.png --tokens 1e3",
    "decode a.odp b.png --realism nan",
    "decode a.odp b.png --realism 1.5",
    "decode a.odp b.png --device tpu",
    "decode a.odp b.png --no-allow-truncated",
    "decode a.odp b.png --quiet=yes",
    "decode -fq a.odp b.png",
    "decode -n16 a.odp b.png",
    "truncate a.odp --bytes 50",
    "truncate a.odp b.odp c.odp --bytes 50",
]


@pytest.fixture
def given_by_typer(monkeypatch):
    """What a verb is called with if Typer reads the arguments."""
    from onedpiece.cli import typed

    def record(arguments: list[str]) -> dict:
        calls = []
        module = importlib.import_module(f"onedpiece.cli.{arguments[0]}")
        verb = getattr(module, arguments[0])
        recorder = functools.wraps(verb)(lambda **values: calls.append(values))
        monkeypatch.setattr(module, arguments[0], recorder)
        typed.build(arguments)(arguments, standalone_mode=False)
        monkeypatch.undo()
        return calls[0]

    return record


@pytest.mark.parametrize("line", PLAIN)
def test_plain_arguments_mean_what_they_mean_to_typer(line, given_by_typer):
    from onedpiece.cli.quick import parse

    arguments = line.split()
    call, expected = parse(arguments), given_by_typer(arguments)
    given = {**_defaults(call.func), **call.keywords}
    assert {**given, "paths": None} == {**expected, "paths": None}
    assert list(given.get("paths") or []) == list(expected.get("paths") or [])


def _defaults(verb) -> dict:
    parameters = inspect.signature(verb).parameters.values()
    return {one.name: one.default for one in parameters if one.default is not one.empty}


@pytest.mark.parametrize("line", OTHER)
def test_everything_else_is_left_to_typer(line):
    from onedpiece.cli.quick import parse

    assert parse(line.split(" ")) is None


def test_a_path_that_looks_odd_is_left_to_typer():
    from onedpiece.cli.quick import parse

    assert parse(["info", ""]) is None and parse(["info", "--model", "", "a.odp"]) is None


def test_wrong_usage_that_a_verb_finds_out_is_reported_by_typer(odp):
    result = odp("decode", "a.odp", "b.odp", "c.odp")
    assert result.code == 2
    assert "odp decode [OPTIONS]" in result.stderr
    assert "--out-dir for several inputs" in result.stderr


def test_a_single_file_is_decoded_without_typer(loaded_modules, one_tile, tmp_path):
    (tmp_path / "x.odp").write_bytes(one_tile)
    argv = ["odp", "decode", str(tmp_path / "x.odp"), str(tmp_path / "x.png")]
    loaded = loaded_modules(f"sys.argv = {argv}; import onedpiece.cli; onedpiece.cli.main()")
    assert (tmp_path / "x.png").exists()
    assert not loaded & {"typer", "click", "pydantic", "rich"}


def test_the_list_of_verbs_says_what_the_verbs_say():
    from typer.main import get_command

    from onedpiece.cli import typed

    for name, command in get_command(typed.build()).commands.items():
        first = " ".join(command.help.split("\n\n")[0].split())
        assert first.startswith(typed.VERBS[name]), name


def test_the_list_of_verbs_imports_no_verb(loaded_modules):
    loaded = loaded_modules("sys.argv = ['odp', '--help']; from onedpiece.cli import main; main()")
    assert "onedpiece.cli.typed" in loaded
    assert not loaded & {"pydantic", "onedpiece.cli.decode", "onedpiece.cli.bench"}


def test_completion_knows_the_options_of_verbs():
    words = {"_ODP_COMPLETE": "complete_bash", "COMP_WORDS": "odp decode --re", "COMP_CWORD": "2"}
    script = "import sys; sys.argv = ['odp']; from onedpiece.cli import main; main()"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env={**os.environ, **words}, capture_output=True, check=True)
    assert b"--realism" in done.stdout
