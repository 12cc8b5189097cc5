"""The published API where no launcher runs, and its headers in every C that programs use.

During updates it is shown by the scenarios of tests/update.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from kitsune_tool import launcher, resources

HERE = Path(__file__).parent
INCLUDE = resources.include_dir()
COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]
INTERNAL = {"kitsune_abi.h", "kitsune_release.h"}
HEADERS = sorted(path.name for path in INCLUDE.glob("*.h") if path.name not in INTERNAL)
STEPS = (
    "raw", "pointers", "arrays", "ended", "functions", "closures", "names", "assignments",
    "heap_lists",
)  # fmt: skip


@pytest.fixture(scope="session")
def steps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the program of `published_steps.c`, which watches its memory."""
    target = tmp_path_factory.mktemp("published") / "steps"
    sources = [HERE / "published_steps.c", *launcher.plain_sources()]
    options = ["-std=gnu11", "-g", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined"]
    command = ["gcc", *options, f"-I{INCLUDE}", *map(str, sources), "-o", str(target)]
    subprocess.run(command, check=True, timeout=120)
    return target


@pytest.mark.parametrize("step", STEPS)
def test_without_a_launcher(steps: Path, step: str) -> None:
    # The table of closures lives as long as the process.
    done = subprocess.run(
        [steps, step],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={"ASAN_OPTIONS": "detect_leaks=0"},
    )
    assert (done.returncode, done.stdout) == (0, f"{step} done\n"), done.stderr


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("standard", ["c99", "gnu99", "c11", "gnu17", "c2x"])
def test_headers_alone_twice_and_forced(compiler: str, standard: str, tmp_path: Path) -> None:
    flags = [f"-std={standard}", "-Wall", "-Wextra", "-Werror", f"-I{INCLUDE}", "-fsyntax-only"]
    for header in HEADERS:
        (tmp_path / f"{header}.c").write_text(f"#include <{header}>\n#include <{header}>\n")
    (tmp_path / "empty.c").write_text("typedef int nothing;\n")
    files = [f"{header}.c" for header in HEADERS]
    subprocess.run([compiler, *flags, *files], cwd=tmp_path, check=True, timeout=60)
    forced = [part for header in HEADERS for part in ("-include", header)]
    subprocess.run([compiler, *flags, *forced, "empty.c"], cwd=tmp_path, check=True, timeout=60)


OWN_NAMES = """
#define KITSUNE_NO_TRANSFORM
#include <kitsune.h>
typedef struct { int closure; } closure;
static int xf(closure *copy_opt) { return copy_opt->closure; }
static int transform_raw(int transform_ptr) { return transform_ptr; }
int main(void) { closure one = {0}; return xf(&one) + transform_raw(0); }
"""

FUNCTIONS_OF_THOSE_NAMES = """
int transform_ptr(int in) { return in; }
int transform_make_closure(int in) { return in; }
int main(void) { return transform_ptr(0) + transform_make_closure(0); }
"""


@pytest.mark.parametrize("text", [OWN_NAMES, FUNCTIONS_OF_THOSE_NAMES])
def test_a_program_may_use_the_names_for_its_own(text: str, tmp_path: Path) -> None:
    (tmp_path / "own.c").write_text(text)
    sources = ["own.c", *map(str, launcher.plain_sources())]
    command = ["gcc", "-std=gnu11", f"-I{INCLUDE}", *sources, "-o", "own"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=60)
    assert subprocess.run([tmp_path / "own"], check=False, timeout=10).returncode == 0
