"""Upstream tarballs: which mirror, which version, what is kept. Nothing is downloaded here."""

import importlib.util
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def fetcher() -> Any:
    path = Path(__file__).parents[2] / "examples" / "fetch_source.py"
    spec = importlib.util.spec_from_file_location("fetch_source", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["fetch_source"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def cache(fetcher: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the directory of tarballs, with a PATH in which there is no apt."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    directory = tmp_path / "kitsune" / "sources"
    directory.mkdir(parents=True)
    return directory


STANZAS = """\
# comment
Types: deb
URIs: http://first.example/security
Suites: stable-security
Components: main

Types: deb
Enabled: no
URIs: http://second.example/debian
Suites: stable
Components: main

Types: deb deb-src
# http://elsewhere.example/
URIs: http://third.example/debian/
Suites: stable stable-updates
Components: main contrib
Signed-By: /usr/share/keyrings/x.gpg
"""


@pytest.mark.parametrize(
    ("name", "text", "mirror"),
    [
        ("sources.list", "deb http://a.example/debian/ stable main\n",
         ("http://a.example/debian", "")),
        ("sources.list.d/x.list",
         "# deb http://no.example/ stable main\n"
         "deb http://sec.example/ stable-security main\n"
         "deb http://extra.example/ ./\n"
         "deb http://other.example/ nodistro contrib\n"
         "deb [arch=amd64 signed-by=/k.gpg] http://b.example/debian stable main contrib # x\n",
         ("http://b.example/debian", "[signed-by=/k.gpg]")),
        ("sources.list.d/debian.sources", STANZAS,
         ("http://third.example/debian", "[signed-by=/usr/share/keyrings/x.gpg]")),
    ],
)  # fmt: skip
def test_mirror_is_the_machines(
    fetcher: Any, tmp_path: Path, name: str, text: str, mirror: tuple[str, str]
) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / name).write_text(text)
    assert fetcher.machine_mirror(tmp_path) == fetcher.Mirror(*mirror)


def test_no_mirror(fetcher: Any, tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d" / "old.sources.disabled").write_text(STANZAS)
    with pytest.raises(fetcher.SourceUnavailable, match="no Debian archive with 'main'"):
        fetcher.machine_mirror(tmp_path)


@pytest.mark.parametrize(
    ("prefix", "found"),
    [("27", "27"), ("2", None), ("7.0.15", "7.0.15"), ("7.0", "7.0.15"), ("7.0.1", None)],
)
def test_version_in_the_cache(fetcher: Any, cache: Path, prefix: str, found: str | None) -> None:
    for version in ("27", "28", "7.0.15"):
        (cache / f"prog_{version}.orig.tar.xz").touch()
        (cache / f"prog_{version}.orig.tar.xz.asc").touch()
    if found is None:
        with pytest.raises(fetcher.SourceUnavailable):
            fetcher.fetch("prog", prefix, ("nosuchsuite",))
    else:
        assert fetcher.fetch("prog", prefix) == cache / f"prog_{found}.orig.tar.xz"


def test_what_cannot_be_had_is_named(
    fetcher: Any, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fetcher.main(["prog", "3"]) == 1
    assert capsys.readouterr().err.startswith("fetch_source: cannot be had: ")


def test_unpack_once(fetcher: Any, tmp_path: Path) -> None:
    source = tmp_path / "prog-1.0"
    source.mkdir()
    (source / "a.c").write_text("int a;\n")
    tarball = tmp_path / "prog_1.0.orig.tar.gz"
    with tarfile.open(tarball, "w:gz") as archive:
        archive.add(source, "prog-1.0")
    root = fetcher.unpack(tarball, tmp_path / "out")
    assert root == tmp_path / "out" / "prog_1.0"
    (root / "a.c").write_text("int changed;\n")
    assert fetcher.unpack(tarball, tmp_path / "out") == root
    assert (root / "a.c").read_text() == "int changed;\n"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["prog_1.0"]
