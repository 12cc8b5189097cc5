"""The release store: a version once, whole or not at all, and never another."""

import json
import threading
from pathlib import Path

import pytest

from kitsune_tool.config import Section, Version
from kitsune_tool.errors import KitsuneError, Location
from kitsune_tool.files import write_if_changed
from kitsune_tool.store import Description, ParentRelease, Store, file_digest

TOOLS = (("compiler", "gcc 12"), ("kitsune", "0.1"))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "releases", "kvd")


def version(name: str = "2.0") -> Version:
    at = Location("kitsune.yaml", 5, 14)
    return Version(name, Path("src"), (), Section(), at, f'  - version: "{name}"')


def build(
    place: Path,
    content: bytes = b"code",
    parents: tuple[ParentRelease, ...] = (),
    toolchain: tuple[tuple[str, str], ...] = TOOLS,
) -> Path:
    place.mkdir(parents=True, exist_ok=True)
    release = place / "kvd.so"
    release.write_bytes(content)
    digest = file_digest(release)
    described = Description("kvd", "2.0", digest[:40], parents, digest, toolchain)
    write_if_changed(place / "release.json", json.dumps(described.to_json()))
    (place / "report.txt").write_text("report\n")
    (place / "report.json").write_text("{}\n")
    (place / "report.html").write_text("<!DOCTYPE html>\n")
    return release


def test_publishing_keeps_release_description_and_reports(store: Store, tmp_path: Path) -> None:
    assert store.publish(build(tmp_path / "build"), version())
    names = sorted(path.name for path in store.directory("2.0").iterdir())
    assert names == ["kvd.so", "release.json", "report.html", "report.json", "report.txt"]
    assert store.release("2.0").read_bytes() == b"code"
    assert store.description("2.0").toolchain == TOOLS


def test_what_is_in_the_store_cannot_be_written_by_mistake(store: Store, tmp_path: Path) -> None:
    store.publish(build(tmp_path / "build"), version())
    modes = {path.stat().st_mode & 0o777 for path in store.directory("2.0").iterdir()}
    assert modes == {0o444}


def written(path: Path) -> tuple[int, int]:
    """Return which file it is and when it was written; when it was read does not matter."""
    status = path.stat()
    return status.st_ino, status.st_mtime_ns


def test_publishing_the_same_again_does_nothing(store: Store, tmp_path: Path) -> None:
    release = build(tmp_path / "build")
    store.publish(release, version())
    before = written(store.release("2.0"))
    assert not store.publish(release, version())
    assert written(store.release("2.0")) == before


def test_an_empty_directory_is_no_release(store: Store, tmp_path: Path) -> None:
    store.directory("2.0").mkdir(parents=True)
    assert not store.has("2.0")
    assert store.publish(build(tmp_path / "build"), version())


@pytest.mark.parametrize(
    ("changed", "difference"),
    [
        ({}, "code, data or types"),
        (
            {"toolchain": (("compiler", "gcc 13"), ("kitsune", "0.1"))},
            "the toolchain: compiler was 'gcc 12', is 'gcc 13'",
        ),
        ({"parents": (ParentRelease("1.0", "aa"),)}, "its parents: none then, 1.0 now"),
    ],
)
def test_other_content_is_refused_at_the_manifest_s_line(
    store: Store, tmp_path: Path, changed: dict[str, object], difference: str
) -> None:
    store.publish(build(tmp_path / "build"), version())
    other = build(tmp_path / "other", b"other code", **changed)  # type: ignore[arg-type]
    with pytest.raises(KitsuneError) as caught:
        store.publish(other, version())
    assert caught.value.report() == (
        "kitsune.yaml:5:14: error[K222]: version 2.0 of kvd has been released with other content\n"
        '      - version: "2.0"\n'
        "                 ^\n"
        f"{store.release('2.0')}: note: the release in the store is here\n"
        f"{other}: note: built now, differing in {difference}\n"
        "hint: a release is never replaced, because a server may be running it: add a new\n"
        "      version to the manifest, or take back what was changed since 2.0"
    )
    assert store.release("2.0").read_bytes() == b"code"


def test_another_build_of_the_parent_is_told(store: Store, tmp_path: Path) -> None:
    store.publish(build(tmp_path / "a", parents=(ParentRelease("1.0", "aa"),)), version())
    other = build(tmp_path / "b", b"x", parents=(ParentRelease("1.0", "bb"),))
    with pytest.raises(KitsuneError, match=r"its parent: another build of 1\.0"):
        store.publish(other, version())


def test_a_release_that_was_altered_is_found(store: Store, tmp_path: Path) -> None:
    store.publish(build(tmp_path / "build"), version())
    store.release("2.0").chmod(0o644)
    store.release("2.0").write_bytes(b"altered")
    with pytest.raises(KitsuneError) as caught:
        store.description("2.0")
    assert caught.value.report() == (
        f"{store.release('2.0')}: error[K221]: release 2.0 of kvd is not what was built\n"
        "hint: take it from a backup: only what a server runs can be its parent"
    )


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"parents": 3}', '{"parents": [{}]}'])
def test_a_damaged_description_is_found(store: Store, tmp_path: Path, text: str) -> None:
    store.publish(build(tmp_path / "build"), version())
    path = store.directory("2.0") / "release.json"
    path.chmod(0o644)
    path.write_text(text)
    with pytest.raises(KitsuneError) as caught:
        store.description("2.0")
    assert caught.value.report() == (
        f"{path}: error[K220]: not the description of a release\n"
        "hint: a release in the store consists of its .so, release.json and three reports;\n"
        "      take the directory from a backup"
    )


def test_a_failed_publication_leaves_nothing(store: Store, tmp_path: Path) -> None:
    release = build(tmp_path / "build")
    (tmp_path / "build" / "report.txt").unlink()
    with pytest.raises(FileNotFoundError):
        store.publish(release, version())
    assert not list((store.root / "kvd").iterdir())


def test_of_two_builds_at_once_the_second_finds_the_first(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = build(tmp_path / "a"), build(tmp_path / "b")
    assert store.publish(first, version())
    # The second looks before the first is done, and again when its rename has failed.
    answers = iter([False, True])
    monkeypatch.setattr(Store, "has", lambda self, name: next(answers))
    assert not store.publish(second, version())
    assert [path.name for path in (store.root / "kvd").iterdir()] == ["2.0"]


def test_a_way_back_is_there_while_it_is_replaced(store: Store, tmp_path: Path) -> None:
    """Whoever reads it meanwhile finds the former or the next, and nothing is left beside it."""
    built = [build(tmp_path / f"build{n}" / "1.0", b"code %d" % n) for n in range(2)]
    target = store.way_back("2.0", "1.0")
    assert store.publish_way_back(built[0], version())
    missing: list[str] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set() and not missing:
            try:
                target.read_bytes()
            except OSError as error:
                missing.append(str(error))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in range(1, 100):
            assert store.publish_way_back(built[number % 2], version())
    finally:
        done.set()
        reader.join()
    assert not missing
    assert target.read_bytes() == b"code 1"
    assert not store.publish_way_back(built[1], version())
    assert [path.name for path in target.parents[1].iterdir()] == ["1.0"]
