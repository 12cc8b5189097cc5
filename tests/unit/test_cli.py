"""The command's exit statuses, and what it says when the fault is its own."""

import json
from pathlib import Path

import pytest

from kitsune_tool import cli, config, resources
from kitsune_tool.errors import KitsuneError

MANIFEST = 'kitsune: 1\nprogram: kvd\nversions:\n  - version: "1.0"\n    source: src\n'


@pytest.fixture
def manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "kitsune.yaml"
    path.write_text(MANIFEST)
    return path


def test_config_is_printed(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["config"]) == 0
    assert json.loads(capsys.readouterr().out)["root"] == str(manifest.parent / "src")


def test_config_that_did_not_change_is_not_written_again(manifest: Path) -> None:
    output = manifest.parent / "out" / "front-end.json"
    assert cli.main(["config", "-o", str(output)]) == 0
    before = output.stat()
    assert cli.main(["config", "-o", str(output)]) == 0
    after = output.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_wrong_input_ends_with_1(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["config", "--version", "3.0"]) == 1
    assert "error[K212]" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["nonsense"], ["config", "--nonsense"], ["inspect"]])
def test_wrong_usage_ends_with_2(words: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(words)
    assert caught.value.code == 2


def test_release_without_objects_is_wrong_usage(manifest: Path) -> None:
    assert cli.main(["release", "-o", "x.so"]) == 2
    assert cli.main(["release", "-o", "x.so", "--objects"]) == 2


def test_a_bug_of_ours_ends_with_70_and_says_how_to_report_it(
    manifest: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(config, "load_manifest", lambda path: 1 / 0)
    assert cli.main(["config"]) == 70
    message = capsys.readouterr().err
    assert message.startswith("kitsune: error[K299]: this is a bug of kitsune, not of your input\n")
    assert "please report it" in message
    assert "ZeroDivisionError" in message


def test_an_interrupt_ends_quietly(
    manifest: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(path: Path) -> config.Manifest:
        raise KeyboardInterrupt

    monkeypatch.setattr(config, "load_manifest", interrupt)
    assert cli.main(["config"]) == 130
    assert capsys.readouterr().err == ""


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith("kitsune 0.")


def test_a_damaged_installation_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "lib" / "kitsune_tool"
    monkeypatch.setattr(resources, "_PACKAGE", package)
    with pytest.raises(KitsuneError) as caught:
        resources.templates_dir()
    assert caught.value.report() == (
        f"kitsune: error[K201]: the tool's own directory 'templates' is missing beside {package}\n"
        "hint: the installation is damaged: install the package kitsune-live-update again"
    )


@pytest.mark.parametrize(
    ("words", "own", "lists"),
    [
        (["a", "--objects", "x.o", "-lm"], ["a"], {"objects": ["x.o", "-lm"]}),
        (
            ["--compiler", "cc", "-O2", "--objects", "x.o"],
            [],
            {"compiler": ["cc", "-O2"], "objects": ["x.o"]},
        ),
        (["--objects", "x", "--compiler", "cc"], [], {"objects": ["x"], "compiler": ["cc"]}),
    ],
)
def test_lists_of_the_compiler_are_told_apart(
    words: list[str], own: list[str], lists: dict[str, list[str]]
) -> None:
    assert cli._split_release(words) == (own, lists)
