"""The layers: arrows point down, and only named modules know the outside."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "zramfs"

# From below to above; a module imports only from the layers below its own.
LAYERS = (
    ("zramfs",),
    ("zramfs.errors",),
    ("zramfs.units",),
    ("zramfs.core",),
    ("zramfs.core.header",),
    (
        "zramfs.core.slots",
        "zramfs.core.codecs",
        "zramfs.core.chunks",
        "zramfs.core.stats",
        "zramfs.core.disk",
        "zramfs.core.lifecycle",
        "zramfs.core.steps",
    ),
    ("zramfs.core.pool", "zramfs.core.halves"),
    ("zramfs.core.table", "zramfs.core.zsmalloc", "zramfs.core.spilled"),
    ("zramfs.core.blocks", "zramfs.core.claims", "zramfs.core.layout"),
    (
        "zramfs.core.compaction",
        "zramfs.core.backing",
        "zramfs.core.reader",
        "zramfs.core.recovery",
        "zramfs.core.spilling",
        "zramfs.core.writer",
    ),
    ("zramfs.core.store",),
    (
        "zramfs.core.postprocess",
        "zramfs.core.ranges",
        "zramfs.core.config",
        "zramfs.core.named_files",
    ),
    ("zramfs.core.writeback",),
    ("zramfs.core.device",),
    (
        "zramfs.core.algorithms",
        "zramfs.core.writeback_files",
        "zramfs.core.block_state",
    ),
    ("zramfs.core.attributes",),
    ("zramfs.core.block_layer",),
    ("zramfs.memory", "zramfs.seal"),
    ("zramfs.spill",),
    ("zramfs.mount",),
    ("zramfs.cli",),
    ("zramfs.__main__",),
)
# Their modules may import each other, but not in a circle.
LOOSE = ("zramfs.mount", "zramfs.cli")

# Who alone may import what.
BORDERS = {
    "blosc": "zramfs.core.chunks",
    "cramjam": "zramfs.core.codecs",
    "cryptography": "zramfs.seal",
    "xxhash": "zramfs.seal",
    "lz4": "zramfs.core.codecs",
    "zstandard": "zramfs.core.codecs",
    "zlib": "zramfs.core.codecs",
    "trio": "zramfs.mount.",
    "pyfuse3": "zramfs.mount.",
}
# What the core does not do: wait, tell the time, touch files, start anything.
FOREIGN_TO_CORE = {
    *("asyncio", "concurrent", "ctypes", "io", "mmap", "multiprocessing", "pathlib"),
    *("select", "signal", "socket", "subprocess", "threading", "time", "datetime"),
    *("logging", "random", "sys", "trio", "pyfuse3"),
}
OS_IN_CORE = {"fsdecode", "fsencode"}

MAX_LINES = 400


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


TREES = {
    module_of(path): ast.parse(path.read_text(), filename=str(path))
    for path in sorted(PACKAGE.rglob("*.py"))
}
CORE = [module for module in TREES if module.startswith("zramfs.core")]


def imports_of(module: str) -> Iterator[str]:
    """Yield the absolute names of what *module* imports."""
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}: imports are absolute"
            assert node.module
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in TREES else node.module


def layer_of(module: str) -> int:
    for rank, names in enumerate(LAYERS):
        if module in names or any(
            name in LOOSE and module.startswith(f"{name}.") for name in names
        ):
            return rank
    raise AssertionError(f"{module} has no layer: put it into LAYERS")


def is_loose(module: str) -> bool:
    return module.startswith(tuple(f"{name}." for name in LOOSE))


@pytest.mark.parametrize("module", TREES)
def test_a_module_imports_only_from_below(module: str) -> None:
    for target in imports_of(module):
        if target.split(".")[0] != "zramfs":
            continue
        below = layer_of(target) < layer_of(module)
        beside = is_loose(module) and layer_of(target) == layer_of(module)
        assert below or beside, f"{module} imports {target}"


def test_no_imports_go_in_a_circle() -> None:
    waiting = {module: set(imports_of(module)) & set(TREES) for module in TREES}
    while waiting:
        free = {module for module, targets in waiting.items() if not targets}
        assert free, f"these import each other: {sorted(waiting)}"
        waiting = {
            module: targets - free
            for module, targets in waiting.items()
            if module not in free
        }


@pytest.mark.parametrize("library", BORDERS)
def test_a_library_is_known_to_one_place_only(library: str) -> None:
    for module in TREES:
        if any(target.split(".")[0] == library for target in imports_of(module)):
            assert module.startswith(BORDERS[library]), f"{module} imports {library}"


@pytest.mark.parametrize("module", CORE)
def test_the_core_imports_nothing_that_waits_or_does_io(module: str) -> None:
    roots = {target.split(".")[0] for target in imports_of(module)}
    if module == "zramfs.core.header":
        roots -= {"ctypes"}  # words by name, and nothing else of it

    assert not roots & FOREIGN_TO_CORE


@pytest.mark.parametrize("module", CORE)
def test_the_core_asks_nothing_of_the_system(module: str) -> None:
    for node in ast.walk(TREES[module]):
        match node:
            case ast.Attribute(value=ast.Name(id="os"), attr=name):
                assert name in OS_IN_CORE, f"{module}: os.{name}"
            case ast.Call(func=ast.Name(id="open" | "print" | "input" as name)):
                raise AssertionError(f"{module} calls {name}()")
            case _:
                pass


@pytest.mark.parametrize("module", CORE)
def test_the_core_is_synchronous(module: str) -> None:
    for node in ast.walk(TREES[module]):
        assert not isinstance(
            node, ast.Await | ast.AsyncFor | ast.AsyncWith | ast.AsyncFunctionDef
        ), f"{module}: line {node.lineno}"


@pytest.mark.parametrize("module", TREES)
def test_the_first_line_of_a_module_says_what_it_is_for(module: str) -> None:
    docstring = ast.get_docstring(TREES[module])

    assert docstring
    first, *others = docstring.splitlines()
    assert first.endswith("."), first
    assert not others or not others[0]


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=module_of)
def test_a_file_can_be_read_in_one_sitting(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MAX_LINES


def test_modules_are_ascii() -> None:
    for path in PACKAGE.rglob("*.py"):
        assert path.read_bytes().isascii(), path
