"""A browser, and what makes releases of small programs to have reports of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from headless import browser  # noqa: F401 - a fixture
from releases import MakeReport, sh


@pytest.fixture
def make_report(tmp_path: Path) -> MakeReport:
    """Return what builds two versions and returns the page of the second one's report."""

    def make(old: Mapping[str, str], new: Mapping[str, str], manifest: str) -> Path:
        (tmp_path / "kitsune.yaml").write_text(manifest, encoding="utf-8")
        parent = ""
        for version, sources in (("1", old), ("2", new)):
            directory = tmp_path / f"v{version}"
            directory.mkdir()
            for name, text in sources.items():
                (directory / name).write_text(text, encoding="utf-8")
            config = f"--kitsune-config={tmp_path}/config{version}.json"
            sh(tmp_path, f"kitsune config --version {version} -o config{version}.json")
            compiled = f"kitsune-cc {config} gcc -w -fPIC -c v{version}/*.c"
            sh(tmp_path, f"{compiled} && mkdir -p o{version} && mv *.o o{version}")
            line = f"kitsune release --version {version} -o r{version}/p.so {parent}"
            sh(tmp_path, f"{line} --objects o{version}/*.o")
            parent = "--parent r1/p.so"
        return tmp_path / "r2/report.html"

    return make
