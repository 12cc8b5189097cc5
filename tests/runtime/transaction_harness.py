"""The launcher with hand-written releases under it: for the tests of the transaction."""

from __future__ import annotations

import os
import select
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kitsune_tool import launcher, resources, seal

COMPILER = ("gcc",)
SOURCE = Path(__file__).parent / "transaction_program.c"
PATIENCE_S = 60.0
EVEN_ID, ODD_ID, OTHER_ID = "aa" * 20, "bb" * 20, "cc" * 20


def build_release(target: Path, *flags: str, build_id: str, parent: str) -> Path:
    """Compile the hand-written release as a release is compiled."""
    exports = target.with_suffix(".exports")
    exports.write_text("{ global: kitsune_release; local: *; };\n")
    command = [
        *COMPILER,
        *("-O1", "-g", "-Wall", "-Wextra", "-Werror", "-fPIC", "-fvisibility=hidden", "-shared"),
        f"-I{resources.include_dir()}",
        f"-DPARENT={bytes_of(parent)}",
        *flags,
        *("-o", str(target), str(SOURCE)),
        *map(str, launcher.release_objects(COMPILER)),
        *launcher.wrap_flags(),
        "-lm",
        f"-Wl,--version-script={exports}",
        f"-Wl,-Bsymbolic,-z,now,-z,defs,--build-id=0x{build_id}",
    ]
    subprocess.run(command, check=True, timeout=120)
    seal.seal(target)
    return target


def bytes_of(build_id: str) -> str:
    """Return a build-id as a C initialiser's contents."""
    return ",".join(f"0x{byte:02x}" for byte in bytes.fromhex(build_id))


@dataclass(slots=True)
class Server:
    """The program under the launcher; one line in, one line out."""

    process: subprocess.Popen[str]
    log_path: Path
    rest: str = ""

    def ask(self, line: str) -> str:
        """Send a command and return its answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.answer()

    def answer(self) -> str:
        """Return the next line of output."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + PATIENCE_S
        while "\n" not in self.rest:
            ready, _, _ = select.select([self.process.stdout], [], [], 1.0)
            if ready:
                text = os.read(self.process.stdout.fileno(), 65536).decode()
                assert text, f"the program ended: {self.process.wait()}\n{self.log()}"
                self.rest += text
            assert time.monotonic() < deadline, f"no answer\n{self.log()}"
        line, _, self.rest = self.rest.partition("\n")
        return line

    def log(self) -> str:
        """Return what the launcher has logged."""
        return self.log_path.read_text() if self.log_path.exists() else ""

    def update(self, release: Path) -> str:
        """Have an update tried and return the line that it logged."""
        before = self.log()
        assert self.ask(f"update {release}") == "asked"
        self.ask("wait")  # answered after the update point that lies between
        return self.log()[len(before) :].strip()

    def end(self) -> int:
        """Have the program end and return its status."""
        assert self.process.stdin is not None
        self.process.stdin.write("quit\n")
        self.process.stdin.flush()
        return self.process.wait(timeout=PATIENCE_S)


@contextmanager
def serving(
    release: Path,
    directory: Path,
    *,
    arguments: Sequence[str] = (),
    environment: dict[str, str] | None = None,
    prefix: Sequence[str] = (),
) -> Iterator[Server]:
    """Run a release under the launcher."""
    log = directory / "log"
    process = subprocess.Popen(
        [*prefix, str(launcher.launcher_path(COMPILER)), str(release), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            "KITSUNE_LOG": str(log),
            "KITSUNE_RUNTIME_DIR": str(directory),
            "KT_PROBE": "as it was",
            **(environment or {}),
        },
    )
    try:
        yield Server(process, log)
    finally:
        process.kill()
        process.communicate()
