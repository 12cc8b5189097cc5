"""What language.md calls an error when the release is built, each with its exact report.

A folder of `diagnoses/` holds `v1/` and `v2/`, the two versions, `case.yaml` (rules, annotations,
options) and `expected.txt`. KITSUNE_WRITE_GOLDEN=1 writes what is expected: look at the difference.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from kitsune_tool.errors import KitsuneError
from kitsune_tool.render import Identity, render_release

HERE = Path(__file__).parent / "diagnoses"
CASES = sorted(path.parent for path in HERE.glob("*/case.yaml"))


def sources(directory: Path) -> dict[str, str]:
    found = sorted(directory.rglob("*.c"))
    return {str(path.relative_to(directory)): path.read_text() for path in found}


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.name))
def test_report(case: Path, versions: Callable[..., Any]) -> None:
    said = yaml.safe_load((case / "case.yaml").read_text()) or {}
    with pytest.raises(KitsuneError) as caught:
        made = versions(
            sources(case / "v1"),
            sources(case / "v2"),
            said.get("rules", ()),
            said.get("annotations"),
            said.get("preamble", ""),
            said.get("unions"),
            **said.get("options", {}),
        )
        render_release(made.plan(), Identity("sample", "2"))
    report = caught.value.report() + "\n"
    if os.environ.get("KITSUNE_WRITE_GOLDEN"):
        (case / "expected.txt").write_text(report)
    assert report == (case / "expected.txt").read_text()
