"""The documents agree with the code and with each other."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted([*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/*.md")])


def anchors(document: Path) -> set[str]:
    """Anchors of the headings, as forges make them."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_page_of_the_api_is_that_of_the_docstrings():
    script = "import make_api; print(make_api.render(), end='')"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY / "docs", capture_output=True, check=True
    )
    assert done.stdout.decode() == (REPOSITORY / "docs" / "api.md").read_text(), (
        "run python docs/make_api.py"
    )


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document):
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if target.startswith(("http", "mailto:")):
            continue
        name, _, anchor = target.partition("#")
        path = (document.parent / name) if name else document
        assert path.exists(), target
        if anchor and path.suffix == ".md":
            assert anchor in anchors(path), target


def test_readme_is_short():
    assert (REPOSITORY / "README.md").read_text().count("\n") <= 120


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_numbers_are_of_what_ships(document):
    assert "model before" not in document.read_text()


def test_the_command_line_is_described_in_full():
    """Every verb and every option has its place in docs/cli.md."""
    import typer
    from typer.main import get_command

    from onedpiece.cli.typed import build

    text = (REPOSITORY / "docs" / "cli.md").read_text()
    command = get_command(build())
    assert isinstance(command, typer.core.TyperGroup)
    for name, verb in command.commands.items():
        assert f"| `{name}` |" in text, name
        for parameter in verb.params:
            options = [*parameter.opts, *parameter.secondary_opts]
            if options[0].startswith("-") and name not in {"bench", "analyze"}:
                assert any(option in text for option in options), f"{name} {options}"
