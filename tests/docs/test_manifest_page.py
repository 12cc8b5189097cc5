"""The manifest's page: its examples are manifests, and its tables have every key."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from kitsune_tool import config, switches, yamlfile

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "manifest.md").read_text()
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
HEAD = "kitsune: 1\nprogram: kvd\n"
FIRST = 'versions:\n  - version: "1.0"\n'


def whole(example: str) -> str:
    """Return a manifest of which the example is a part."""
    if example.startswith("kitsune:"):
        return example
    if example.startswith("standing:"):
        return HEAD + example + ("" if "\nversions:" in example else FIRST)
    return HEAD + FIRST + example


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_is_a_manifest(example: str, tmp_path: Path) -> None:
    path = tmp_path / "kitsune.yaml"
    path.write_text(whole(example))
    for name in re.findall(r"\S+\.xf$", example, re.MULTILINE):
        (tmp_path / name).write_text("a -> b\n")
    assert config.load_manifest(path).program == "kvd"


def test_the_examples_are_found() -> None:
    assert len(EXAMPLES) == 10


OPTIONS = {field.name for field in dataclasses.fields(config.Options)} - {"switches"}


@pytest.mark.parametrize("option", sorted({*OPTIONS, *switches.NAMES, "units"}))
def test_every_option_is_described(option: str) -> None:
    assert f"`{option}`" in PAGE


@pytest.mark.parametrize("kind", ["update_point", "guard", "insert", "field"])
def test_every_edit_is_shown(kind: str) -> None:
    assert f"- {kind}: " in PAGE


def test_yaml_of_the_overview_is_a_manifest(tmp_path: Path) -> None:
    overview = (ROOT / "docs" / "architecture.md").read_text()
    (example,) = re.findall(r"^```yaml\n(kitsune: .*?)^```$", overview, re.MULTILINE | re.DOTALL)
    path = tmp_path / "kitsune.yaml"
    path.write_text(example)
    manifest = config.load_manifest(path)
    assert [version.name for version in manifest.versions] == ["1.0", "2.0"]
    assert yamlfile.read_yaml(path, "kitsune.yaml", "the manifest").is_mapping
