"""The pages on other build tools: their commands, run on the examples, end in a live update."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest
from page import ROOT, run_page

PATH = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
NEEDED = {
    "meson": ("meson", "ninja"),
    "cmake": ("cmake", "make"),
    "make": ("autoreconf", "automake", "make"),
}
"""For each page, which has an example of the same name, the programs that it needs."""
QUOTED = re.compile(r"^```(?:ini|meson|cmake|m4|make)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", NEEDED)
def test_the_page_ends_in_a_live_update(page: str, tmp_path: Path) -> None:
    missing = [name for name in NEEDED[page] if shutil.which(name, path=PATH) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    run_page(f"{page}.md", tmp_path, PATH)


@pytest.mark.parametrize("page", NEEDED)
def test_what_the_page_quotes_is_in_the_example(page: str) -> None:
    text = (ROOT / "docs" / f"{page}.md").read_text()
    files = [path for path in (ROOT / "examples" / page).iterdir() if path.is_file()]
    example = "\n".join(path.read_text() for path in files)
    quoted = QUOTED.findall(text)
    assert quoted
    assert [part for part in quoted if part not in example] == []
