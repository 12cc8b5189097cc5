"""The engine, the allocator seam and retiring, as C programs without a launcher.

Each scenario is a process of its own; the programs list theirs, so that none is forgotten here.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
RUNTIME = HERE.parents[1] / "runtime"
ENGINE = (
    *("registry", "beside", "blocks", "linkmap", "mappings", "pages", "seek", "side", "claims"),
    *("texts", "transform", "frames"),
    "switch",
    "platform",
)
RETIRE = (*ENGINE, "scan", "retire", "apart", "log")
WARNINGS = ("-std=gnu11", "-g", "-Wall", "-Wextra", "-Werror")
SANITIZED = ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")

# What they check is known of glibc's malloc only, or bounds the address space.
NEEDS_GLIBC_BLOCKS = {
    "block_too_big",
    "block_too_small",
    "inside_block",
    "outside_heap",
    "hostile_heaps",
    "no_memory",
}
VALGRIND_SCENARIOS = (
    "sharing_and_cycles",
    "interior_before_base",
    "functions_and_variables",
    "literals",
    "unnamed_object",
    "large_arrays",
    "flexible_tail",
    "crowded_cells",
    "random_heaps",
)


def compile_program(target: Path, main: str, units: tuple[str, ...], *flags: str) -> Path:
    sources = [RUNTIME / "src" / f"{unit}.c" for unit in units]
    machine = [RUNTIME / "src" / name for name in ("platform_x86_64.S", "machine_x86_64.c")]
    includes = [f"-I{RUNTIME / 'src'}", f"-I{RUNTIME / 'include'}"]
    options = [*WARNINGS, *flags, *includes]
    inputs = [HERE / main, *sources, *machine]
    subprocess.run(["gcc", *options, *inputs, "-o", target], check=True, timeout=300)
    return target


def scenarios_of(main: str) -> list[str]:
    text = (HERE / main).read_text()
    listed = text.split("scenarios[] = {")[1].split("};")[0]
    return [part.split(")")[0] for part in listed.split("SCENARIO(")[1:]]


def run(command: list[str | Path], **environment: str) -> None:
    result = subprocess.run(
        command,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stdout.decode(errors="replace")


@pytest.fixture(scope="session")
def heaps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_program(
        tmp_path_factory.mktemp("engine") / "engine_heaps", "engine_heaps.c", ENGINE, "-O2"
    )


@pytest.fixture(scope="session")
def heaps_sanitized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_program(
        tmp_path_factory.mktemp("engine") / "engine_heaps", "engine_heaps.c", ENGINE, *SANITIZED
    )


@pytest.fixture(scope="session")
def retire(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("retire")
    shared = ["-O2", "-shared", "-fPIC", "-Wl,-Bsymbolic", f"-I{RUNTIME / 'include'}"]
    files: list[str | Path] = [HERE / "engine_release.c", "-o", folder / "release.so"]
    subprocess.run(["gcc", *WARNINGS, *shared, *files], check=True, timeout=300)
    return compile_program(folder / "retire_steps", "retire_steps.c", RETIRE, "-O2")


@pytest.mark.parametrize("scenario", scenarios_of("engine_heaps.c"))
def test_engine(heaps: Path, scenario: str) -> None:
    run([heaps, scenario])


@pytest.mark.parametrize(
    "scenario", [s for s in scenarios_of("engine_heaps.c") if s not in NEEDS_GLIBC_BLOCKS]
)
def test_engine_sanitized(heaps_sanitized: Path, scenario: str) -> None:
    run([heaps_sanitized, scenario], ASAN_OPTIONS="detect_leaks=0", ROUNDS="20")


@pytest.mark.parametrize("scenario", VALGRIND_SCENARIOS)
def test_engine_under_valgrind(heaps: Path, scenario: str) -> None:
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        pytest.skip("valgrind is not installed")
    run([valgrind, "-q", "--error-exitcode=9", heaps, scenario], ROUNDS="3")


@pytest.mark.parametrize("scenario", scenarios_of("retire_steps.c"))
def test_retire(retire: Path, scenario: str) -> None:
    run([retire, scenario, retire.parent / "release.so"])
