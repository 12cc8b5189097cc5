"""Redis, built by its own Makefile through the compiler look-alike; its releases, and servers.

In: nothing but this directory. Out: for each version of kitsune.yaml a release in the store,
upstream's own programs below build/source, and running ones. Used by scenario.py and own_tests.py;
run alone, it builds.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import redis
import redis_load as load  # type: ignore[import-not-found]  # mypy finds one example's only
import yaml

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import fetch_source  # noqa: E402 - it lies beside the examples
import scenarios  # noqa: E402
from scenarios import KITSUNE  # noqa: E402

SOURCES = HERE / "build/source"
OLD, NEW = VERSIONS = ("8.0.2", "8.0.6")
SAME = f"{NEW}+same"
TIMEOUT_S = 600
SERVER = ("redis-server",)
OPTIONS = (
    "MALLOC=libc",
    "BUILD_TLS=no",
    "USE_SYSTEMD=no",
    "STD=-pedantic -DREDIS_STATIC= -std=gnu11",
    "REDIS_CFLAGS=-fvisibility=hidden",
)
"""libc's allocator is one of those that Redis can be built with, and the one Kitsune knows.
Link-time optimisation, the default with -O3, is left out. `STD` is what it is by default, but for
quotes that the Makefile loses, whereupon its next run would build everything anew. What other
objects could see costs a shared object, as a release is one, instructions: they see nothing."""


SourceUnavailable = fetch_source.SourceUnavailable


class BuildFailed(Exception):
    """Something did not build; the text is what was printed."""


def upstream(version: str) -> Path:
    """Return upstream's server of a version, in which Kitsune's calls do nothing."""
    return source(version) / "src/redis-server"


def release(version: str) -> Path:
    """Return the release of a version."""
    return scenarios.release(HERE, version)


def source(version: str) -> Path:
    """Return upstream's source of a version, which has its own tests."""
    return SOURCES / f"redis_{version}"


def build(cflags: str, programs: Sequence[str] = SERVER) -> int:
    """Build what is not there yet, also other programs of Redis; return 0, 1 or `NOT_HERE`."""
    print(f"== fetching and building Redis {OLD} and {NEW}", flush=True)
    try:
        build_all(cflags, programs)
    except SourceUnavailable as error:
        print(f"redis: {error}", file=sys.stderr)
        return scenarios.NOT_HERE
    except BuildFailed as error:
        print(f"redis: {error}", file=sys.stderr)
        return 1
    return 0


def build_all(cflags: str, programs: Sequence[str] = SERVER) -> None:
    """Fetch and build what is not there yet. Raises `SourceUnavailable` and `BuildFailed`."""
    for version in VERSIONS:
        _make(version, cflags, programs if version == NEW else SERVER)
    # Nobody runs what was released before; a store never changes what is in it.
    shutil.rmtree(scenarios.store(HERE), ignore_errors=True)
    manifest = yaml.safe_load((HERE / "kitsune.yaml").read_text(encoding="utf-8"))
    for each in manifest["versions"]:
        program = upstream(each["version"].partition("+")[0])
        words = ("release", "--publish", "--version", each["version"], "--program", str(program))
        _run([*KITSUNE, *words], HERE)


def _make(version: str, cflags: str, programs: Sequence[str]) -> None:
    """Run Redis's own Makefile. What it has made is made anew if the settings are others."""
    fetch_source.unpack(fetch_source.fetch("redis", version), SOURCES)
    settings = HERE / f"build/{version}.json"
    before = settings.read_bytes() if settings.exists() else b""
    words = ("config", "--version", version, "-o", str(settings))
    _run([*KITSUNE, *words], HERE)
    if settings.read_bytes() != before:
        for old in (source(version) / "src").glob("*.o"):
            old.unlink()
    compiler = f"{sys.executable} -m kitsune_tool.cc --kitsune-config={settings} gcc"
    options = (f"CC={compiler}", f"OPTIMIZATION={cflags}", *OPTIONS)
    _run(["make", "-j1", *options, *programs], source(version) / "src")


def _run(command: list[str], where: Path) -> None:
    done = subprocess.run(
        command, cwd=where, capture_output=True, text=True, timeout=3600, check=False
    )
    if done.returncode != 0:
        raise BuildFailed(f"{' '.join(command)}\n{done.stdout[-3000:]}{done.stderr[-6000:]}")


@contextlib.contextmanager
def running(release: Path, *more: str) -> Iterator[tuple[Path, int, int, contextlib.ExitStack]]:
    """Run a release; yield its directory, port, process id, and what ends other servers first."""
    with tempfile.TemporaryDirectory(prefix="redis-") as place, contextlib.ExitStack() as stack:
        directory = Path(place)
        os.environ["KITSUNE_RUNTIME_DIR"] = f"{directory}/run"
        (directory / "run").mkdir(mode=0o700)
        port = scenarios.free_port()
        command = [*KITSUNE, "run", str(release)]
        pid = stack.enter_context(server(command, port, directory / "server", *more))
        yield directory, port, pid, stack


@contextlib.contextmanager
def server(command: Sequence[str], port: int, where: Path, *more: str) -> Iterator[int]:
    """Run a server; yield its process id when it answers."""
    where.mkdir(exist_ok=True)
    settings = ("--port", str(port), "--dir", str(where), "--save", "", *more)
    settings += ("--enable-debug-command", "yes", "--bind", "127.0.0.1")
    with (where / f"log.{port}").open("wb") as log:
        process = subprocess.Popen([*command, *settings], stdout=log, stderr=log)
    client = load.connect(port, 5)

    def answers() -> bool:
        if process.poll() is not None:
            raise SystemExit((where / f"log.{port}").read_text(errors="replace")[-3000:])
        with contextlib.suppress(redis.RedisError):
            return bool(client.ping())
        return False

    try:
        scenarios.wait_until(answers, "the server does not answer", TIMEOUT_S)
        yield int(client.info("server")["process_id"])
    except BaseException:
        print((where / f"log.{port}").read_text(errors="replace")[-3000:], file=sys.stderr)
        raise
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    sys.exit(build("-O2"))
