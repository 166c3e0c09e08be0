"""The rooms of the package: which may import which, and how large functions and files may be."""

import ast
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
MAX_FUNCTION = 60  # lines
MAX_FILE = 350

# A room may import rooms of lower levels, and of its own level where no circle comes of it.
LEVELS = [
    {"constants", "errors"},
    {"metrics", "entropy", "tiles"},
    {"bitstream", "models", "images"},
    {"description", "encoded_image", "runtime", "tokenizer"},
    {"rate_control", "search"},
    {"encoder"},
    {"decoder"},
    {"codec"},
    {"api", "export", "training", "datasets", "pillow", "placeholder"},
    {"data"},
    {"cli", "bench"},
]
LEVEL_OF = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}

# tokenizer.config names the shapes of networks and imports nothing but constants.
EVERYWHERE = {"onedpiece.tokenizer.config"}
# The public functions of `models` convert what they download, which needs PyTorch.
EXCEPTIONS = {("models/__init__.py", "export")}


def modules(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (REPOSITORY / folder).rglob("*.py"))


def room_of(path: Path) -> str:
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return parts[1] if parts[0] == "onedpiece" else parts[0]


def imported_rooms(path: Path) -> set[str]:
    """Rooms that a module imports when it runs; imports for type checkers do not count."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "onedpiece":
                names |= {f"onedpiece.{alias.name}" for alias in node.names}
            else:
                names.add(node.module)
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {
        name.split(".")[1]
        for name in names
        if name.startswith("onedpiece.") and name not in EVERYWHERE
    }


@pytest.mark.parametrize(
    "path",
    [path for path in modules("onedpiece") if path.name != "__init__.py" or len(path.parts) > 1],
    ids=lambda path: path.relative_to(REPOSITORY).as_posix(),
)
def test_imports_go_one_way(path):
    if path.parent.name == "onedpiece" and path.name == "__init__.py":
        return  # the public names come from everywhere
    room = room_of(path)
    for imported in imported_rooms(path) - {room}:
        if (path.relative_to(REPOSITORY / "onedpiece").as_posix(), imported) in EXCEPTIONS:
            continue
        assert LEVEL_OF[imported] <= LEVEL_OF[room], f"{room} imports {imported}"


def test_the_format_knows_no_registry_and_no_disk():
    for path in modules("onedpiece/bitstream", "onedpiece/entropy"):
        assert not imported_rooms(path) & {"models", "runtime", "images", "tokenizer"}, path
        assert "pathlib" not in path.read_text() and "open(" not in path.read_text(), path


def test_only_the_rooms_of_networks_import_pytorch():
    for path in modules("onedpiece", "cli"):
        if room_of(path) in {"tokenizer", "export", "training", "data"} or path.name == "torch.py":
            continue
        for node in ast.parse(path.read_text()).body:
            assert not ast.unparse(node).startswith(("import torch", "from torch")), path


def test_functions_and_files_are_short():
    for path in modules("onedpiece", "cli"):
        source = path.read_text()
        assert source.count("\n") <= MAX_FILE, path
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < MAX_FUNCTION, f"{path}: {node.name}"
