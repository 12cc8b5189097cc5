"""Lines of source for places in a release: found, and never believed without a look."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from kitsune_tool import lines, objects

SOURCE = """\
static inline __attribute__((always_inline)) int inner(int *at)
{
    return *at;
}
int outer(int *at)
{
    return inner(at) + 1;
}
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("lines")
    source = directory / "code.c"
    source.write_text(SOURCE)
    target = directory / "code.so"
    command = ["gcc", "-g", "-O0", "-shared", "-fPIC", "-Wl,--build-id=sha1", "-o", str(target)]
    subprocess.run([*command, source.name], check=True, timeout=60, cwd=directory)
    return target


def frame_of(library: Path) -> dict[str, Any]:
    symbols = subprocess.run(
        ["nm", str(library)], check=True, timeout=60, capture_output=True, text=True
    ).stdout
    (start,) = (line.split()[0] for line in symbols.splitlines() if line.endswith(" T outer"))
    return {
        "function": "outer+0x4",
        "offset": int(start, 16),
        "build_id": objects.build_id(library).hex(),
        "release": str(library),
    }


def test_each_frame_of_an_answer_gets_its_line(library: Path) -> None:
    first = frame_of(library)
    every = [first | {"offset": first["offset"] + distance} for distance in range(24)]
    holder = {"stack": every[12:]}
    lines.add_lines({"stack": every[:2], "threads": [{"stack": every[2:12], "holder": holder}]})
    assert {frame["source"] for frame in every} == {"inner", "outer"}
    (*_, inner) = (frame for frame in every if frame["source"] == "inner")
    file = library.with_name("code.c")
    assert lines.text_of(inner) == f"inner at {file}:3\nouter at {file}:7"


@pytest.mark.parametrize("what", ["gone", "fifo", "another build", "no ELF file", "a directory"])
def test_what_is_not_that_release_tells_nothing(what: str, library: Path, tmp_path: Path) -> None:
    frame = frame_of(library)
    other = tmp_path / "other.so"
    frame["release"] = str(other)
    if what == "fifo":
        os.mkfifo(other)
    elif what == "another build":
        other.write_bytes(library.read_bytes())
        frame["build_id"] = "00" * 20
    elif what == "no ELF file":
        other.write_bytes(b"x" * 5000)
    elif what == "a directory":
        other.mkdir()
    lines.add_lines({"stack": [frame]})
    assert lines.text_of(frame) == "outer+0x4"


def test_without_addr2line_the_function_is_told(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = frame_of(library)
    monkeypatch.setenv("PATH", str(tmp_path))
    lines.add_lines({"stack": [frame]})
    assert lines.text_of(frame) == "outer+0x4"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root reads other users' releases")
def test_root_reads_another_users_release_with_that_users_rights(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file may be made to break whoever reads it."""
    release = tmp_path / "code.so"
    release.write_bytes(library.read_bytes())
    os.chown(release, 12345, 12345)
    reader = tmp_path / "bin/addr2line"
    reader.parent.mkdir()
    reader.write_text("#!/bin/sh\nid -u; id -G\necho 0x1; id -u; echo /x.c:$(id -u)\n")
    reader.chmod(0o755)
    for directory in (tmp_path, *tmp_path.parents):
        if directory.is_relative_to("/tmp") and directory != Path("/tmp"):
            directory.chmod(directory.stat().st_mode | 0o055)
    monkeypatch.setenv("PATH", f"{reader.parent}:{os.environ['PATH']}")
    frame = frame_of(library) | {"release": str(release)}
    lines.add_lines({"stack": [frame]})
    assert (frame["source"], frame["file"], frame["line"]) == ("12345", "/x.c", 12345)
