"""`kitsune test-update`: the driver runs, the update comes at each arrival, the matrix tells."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
DRIVER = "printf 'add 1\\nadd 2\\nlist\\n' | \"$KITSUNE_SERVER\" > out; grep -q ^2 out"


@pytest.fixture
def field_added(built: Callable[..., Any]) -> Any:
    return built(HERE / "field_added")


def tried(
    scenario: Any, tmp_path: Path, driver: str, *options: str
) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "kitsune_tool.cli", "test-update", "--driver", driver]
    return subprocess.run(
        [*words, "-o", str(tmp_path / "trial"), *options],
        cwd=scenario.directory,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def cells(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    (matrix,) = json.loads(done.stdout)
    found: list[dict[str, Any]] = matrix["cells"]
    return found


def test_an_update_at_every_arrival(field_added: Any, tmp_path: Path) -> None:
    done = tried(field_added, tmp_path, DRIVER, "--json", "--cells", "0")
    assert done.returncode == 0, done.stdout + done.stderr
    (matrix,) = json.loads(done.stdout)
    assert matrix["arrivals"] == {"serve": 4}
    found = [(cell["arrival"], cell["outcome"], cell["objects"]) for cell in matrix["cells"]]
    assert found == [(1, "updated", 0), (2, "updated", 1), (3, "updated", 2), (4, "updated", 2)]
    assert all(cell["pause_ns"] > 0 for cell in matrix["cells"])


def test_the_matrix_as_text_and_a_cell_again(field_added: Any, tmp_path: Path) -> None:
    driver = DRIVER + " && ! grep -q ' 11' out"  # which an item is that was transformed
    done = tried(field_added, tmp_path, driver, "--at", "serve:1", "--at", "serve:3")
    assert done.returncode == 1
    assert "serve                             1 of 4" in done.stdout
    assert "failed at serve:3: the driver ended with status 1\n" in done.stdout
    assert f"output: {tmp_path / 'trial'}" in done.stdout
    assert "1 passed, 1 failed, 0 not reached" in done.stdout
    (again,) = [line for line in done.stdout.splitlines() if line.startswith("  again:")]
    repeated = subprocess.run(
        again.removeprefix("  again:").replace(
            "kitsune", f"{sys.executable} -m kitsune_tool.cli", 1
        ),
        shell=True,
        cwd=field_added.directory,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert repeated.returncode == 1
    assert "0 passed, 1 failed, 0 not reached" in repeated.stdout


def test_an_arrival_that_does_not_come(field_added: Any, tmp_path: Path) -> None:
    done = tried(field_added, tmp_path, DRIVER, "--json", "--at", "serve:99", "--at", "none:1")
    assert done.returncode == 1, "nothing was tried"
    assert [cell["outcome"] for cell in cells(done)] == ["not reached", "not reached"]


def test_a_release_that_cannot_be_installed_fails_the_cell(
    built: Callable[..., Any], tmp_path: Path
) -> None:
    scenario = built(HERE / "rollback_when_a_callback_is_gone")
    driver = "printf 'call\\n' | \"$KITSUNE_SERVER\" > /dev/null"
    done = tried(scenario, tmp_path, driver, "--json", "--cells", "1")
    assert done.returncode == 1
    (cell,) = cells(done)
    assert (cell["verdict"], cell["code"]) == ("failed", "K353")
    assert cell["outcome"] == "went on as the old (K353)"


def test_lines_must_be_of_one_version_or_the_other(field_added: Any, tmp_path: Path) -> None:
    manifest = tmp_path / "kitsune.yaml"
    text = (field_added.directory / "kitsune.yaml").read_text()
    store = field_added.directory / "releases"
    driver = "printf 'list\\nadd 1\\nlist\\n' | \"$KITSUNE_SERVER\""
    section = {"driver": driver, "compare": "lines"}
    manifest.write_text(f"{text}store: {store}\ntest: {json.dumps(section)}\n")
    words = [sys.executable, "-m", "kitsune_tool.cli", "test-update", "--json"]
    done = subprocess.run(
        [*words, "--manifest", str(manifest), "-o", str(tmp_path / "trial")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    found = {cell["arrival"]: (cell["verdict"], cell["why"]) for cell in cells(done)}
    assert found[1] == found[2] == ("passed", "")
    # An old item that was transformed looks like no item of either version alone.
    assert found[3] == ("failed", "its lines are of neither release")


@pytest.mark.parametrize(
    ("driver", "message"),
    [
        ("false", r"error[K250]: the driver fails with "),
        ("true", "error[K251]: the driver leads 1 to no update point"),
    ],
)
def test_a_driver_that_is_none(driver: str, message: str, field_added: Any, tmp_path: Path) -> None:
    done = tried(field_added, tmp_path, driver)
    assert done.returncode == 1
    assert message in done.stderr


def test_a_driver_that_never_ends(field_added: Any, tmp_path: Path) -> None:
    manifest = tmp_path / "kitsune.yaml"
    text = (field_added.directory / "kitsune.yaml").read_text()
    manifest.write_text(
        f"{text}store: {field_added.directory / 'releases'}\n"
        'test: {driver: "sleep 1000 & wait", limit_s: 1}\n'
    )
    done = subprocess.run(
        [sys.executable, "-m", "kitsune_tool.cli", "test-update", "--manifest", str(manifest)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "the driver's time ran out" in done.stderr


TREE_DRIVER = shlex.join([sys.executable, str(HERE / "tree_driver.py")])


def tree_tried(
    scenario: Any, tmp_path: Path, order: str, *arrivals: str, fail: str = "/nowhere/at-all"
) -> tuple[int, dict[str, Any]]:
    """Try version 2 of the server that forks; return the exit status and the matrix."""
    manifest = tmp_path / "kitsune.yaml"
    text = (scenario.directory / "kitsune.yaml").read_text()
    store = scenario.directory / "releases"
    section = {"driver": f"FAIL_FILE={fail} {TREE_DRIVER}", "tree": order}
    manifest.write_text(f"{text}store: {store}\ntest: {json.dumps(section)}\n")
    words = [sys.executable, "-m", "kitsune_tool.cli", "test-update", "--json", "--version", "2"]
    words += ["--manifest", str(manifest), "-o", str(tmp_path / "trial")]
    for arrival in arrivals:
        words += ["--at", arrival]
    done = subprocess.run(
        words, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.stdout, done.stderr
    (matrix,) = json.loads(done.stdout)
    return done.returncode, matrix


@pytest.mark.parametrize("order", ["parent-first", "children-first"])
def test_a_tree_of_processes_is_updated_as_a_whole(
    order: str, built: Callable[..., Any], tmp_path: Path
) -> None:
    arrivals = ("serve:1", "session:8", "nested:1", "session:9999")
    status, matrix = tree_tried(built(HERE / "tree"), tmp_path, order, *arrivals)
    assert status == 0, matrix
    assert {"serve", "session", "nested"} <= matrix["arrivals"].keys(), "its children count"
    outcomes = [(cell["outcome"], cell["objects"] > 0) for cell in matrix["cells"]]
    # Before there is a session, with one, at the end, when the driver has left it; never.
    assert outcomes == [
        ("updated", False), ("updated", True), ("updated", True), ("not reached", False),
    ]  # fmt: skip
    assert all(cell["pause_ns"] > 0 for cell in matrix["cells"][:3])


def test_a_tree_of_which_a_process_cannot_follow_fails_the_cell(
    built: Callable[..., Any], tmp_path: Path
) -> None:
    fail = tmp_path / "fail"
    fail.write_text("session segv\n", encoding="ascii")
    status, matrix = tree_tried(
        built(HERE / "tree"), tmp_path, "children-first", "session:8", fail=str(fail)
    )
    assert status == 1
    (cell,) = matrix["cells"]
    assert (cell["verdict"], cell["code"]) == ("failed", "K354"), cell
