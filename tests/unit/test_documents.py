"""README.md and ARCHITECTURE.md: what they say of the code is so."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
SOURCES: Final = "\n".join(
    path.read_text()
    for folder in ("zramfs", "tests")
    for path in sorted((ROOT / folder).rglob("*.py"))
)
NAMES: Final = re.findall(r"`([A-Za-z_.]+)`", (ROOT / "ARCHITECTURE.md").read_text())


def _readme_tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("readme", ROOT / "tools/readme.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_attribute_table_of_the_readme_is_the_table_of_the_code() -> None:
    text = (ROOT / "README.md").read_text()

    assert _readme_tool().rendered(text) == text


@pytest.mark.parametrize("name", sorted(set(NAMES)))
def test_every_name_in_the_architecture_exists(name: str) -> None:
    word = name.rpartition(".")[2]

    assert re.search(rf"\b{re.escape(word)}\b", SOURCES) or (ROOT / name).exists()


@pytest.mark.parametrize(
    "path",
    re.findall(r"`([a-z_]+/[a-z_/]+\.py)`", (ROOT / "ARCHITECTURE.md").read_text()),
)
def test_every_file_in_the_architecture_exists(path: str) -> None:
    assert (ROOT / path).exists() or (ROOT / "zramfs" / path).exists()


@pytest.mark.parametrize(
    ("name", "most"), [("README.md", 200), ("ARCHITECTURE.md", 300)]
)
def test_a_document_is_no_longer_than_one_reads(name: str, most: int) -> None:
    assert len((ROOT / name).read_text().splitlines()) <= most
