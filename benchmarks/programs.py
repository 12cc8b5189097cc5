"""What live updates cost the example programs, as the page docs/programs.md.

In: the examples' scenarios, run at three sizes of the heap, and upstream's own build of each
program, made once with gcc and once through the look-alike. Out: the figures of each program below
build/programs, and the page, made of all figures that are there. Run by `./kit programs [NAME…]`;
without names all are run. With `--own-tests` the programs' own tests are run instead. Exit status:
0 done, 1 something was lost, 3 a source cannot be had.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import re
import resource
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, BinaryIO

import callgrind
import fetch_source
import scenarios
from fetch_source import SourceUnavailable

from kitsune_tool import launcher

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"
FIGURES = ROOT / "build/programs"
PAGE = ROOT / "docs/programs.md"
OWN_TESTS = "own_tests.py"
FIRST, COUNTED = 300, 2000
"""Requests that warm a server up, and those that are counted behind them."""
COUNTS = 3
_BUILD_TIMEOUT_S = 7200

Talk = Callable[[int, Callable[[], None]], None]
"""Makes all requests to a port; calls its second argument when it begins to count."""


@dataclass(frozen=True, slots=True)
class Steady:
    """How the first version is started to count instructions, and what it is asked."""

    arguments: tuple[str, ...]
    """`{port}` and `{directory}` are replaced."""
    talk: Talk
    files: tuple[tuple[str, str], ...] = ()
    """What it reads in the directory, by name; the same is replaced."""
    keeps_user: bool = False
    refuses_root: bool = False
    """See `callgrind.counting`."""


@dataclass(frozen=True, slots=True)
class Program:
    """An example, and how it is measured."""

    versions: tuple[str, ...]
    """Whose updates are shown."""
    sizes: tuple[tuple[str, ...], ...]
    """Options of the scenario, for a small, a middle and a large heap."""
    binary: str
    """What upstream's build makes, below the source."""
    make: tuple[str, ...] = ("make", "-j2")
    configure: str = "./configure --quiet"
    package: str = ""
    """Debian's source package, if it has another name."""
    steady: Steady | None = None
    original_lines: int = 0
    """Annotations, calls and rules that the original system's version of the program needed."""
    why_longer: str = ""
    """Behind the program's name: why its manifest is longer than a third of that."""


def _lines(
    request: Callable[[int], bytes],
    answer: bytes,
    more: int = 0,
    hello: tuple[bytes, bytes] | None = None,
    pause_s: float = 0,
) -> Talk:
    """Return what makes one request after the other; each has `1 + more` lines of answer.

    Before them the first part of a `hello` is sent, and a line is awaited that has its second part.
    A pause is for a server that still has something to do when its answer is there already: whether
    the next request meets that would be left to chance, and with it the count.
    """

    def talk(port: int, begin: Callable[[], None]) -> None:
        with socket.create_connection(("127.0.0.1", port), callgrind.TIMEOUT_S) as connection:
            answers = connection.makefile("rb")
            if hello is not None:
                connection.sendall(hello[0])
                if not any(hello[1] in line for line in answers):
                    raise SystemExit(f"no {hello[1]!r} in answer to {hello[0]!r}")
            for number in range(FIRST + COUNTED):
                if number == FIRST:
                    begin()
                time.sleep(pause_s)
                connection.sendall(request(number))
                lines = [answers.readline() for _ in range(1 + more)]
                if not lines[0].startswith(answer):
                    raise SystemExit(f"wrong answer to {request(number)!r}: {lines[0]!r}")

    return talk


def _memcached(number: int) -> bytes:
    key, value = b"key:%d" % (number % 100), b"value-%08d" % number
    return b"set %s 0 0 %d\r\n%s\r\nget %s\r\n" % (key, len(value), value, key)


def _redis(number: int) -> bytes:
    return b"SET key:%d value-%08d\r\nGET key:%d\r\n" % (number % 100, number, number % 100)


def _ngircd(number: int) -> bytes:
    return b"PRIVMSG me :a line of some words, number %08d\r\n" % number


def _dnsmasq(port: int, begin: Callable[[], None]) -> None:
    """Ask for names over UDP, one after the other."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
        connection.settimeout(callgrind.TIMEOUT_S)
        connection.connect(("127.0.0.1", port))
        for number in range(FIRST + COUNTED):
            if number == FIRST:
                begin()
            labels = b"".join(
                bytes((len(part),)) + part for part in _name(number).encode().split(b".")
            )
            head = struct.pack(">6H", number, 0x0100, 1, 0, 0, 0)
            connection.send(head + labels + struct.pack(">BHH", 0, 1, 1))
            answer = connection.recv(512)
            if struct.unpack_from(">H4xH", answer) != (number, 1):
                raise SystemExit(f"wrong answer to {_name(number)}: {answer!r}")


def _name(number: int) -> str:
    return f"host{number % 100}.home.example"


def _icecast(port: int, begin: Callable[[], None]) -> None:
    """Stream to ten listeners, a block as soon as all of them have the one before."""
    block = b"\xff\xfb\x90\x64".ljust(1400, b"x")
    with contextlib.ExitStack() as clients:

        def asked(request: str) -> tuple[socket.socket, BinaryIO]:
            opened = socket.create_connection(("127.0.0.1", port), callgrind.TIMEOUT_S)
            connection = clients.enter_context(opened)
            connection.sendall(f"{request} HTTP/1.0\r\n{_ICECAST_SOURCE}\r\n\r\n".encode())
            answers = clients.enter_context(connection.makefile("rb"))
            if b" 200 " not in answers.readline():
                raise SystemExit(f"{request} is refused")
            while answers.readline() != b"\r\n":
                pass
            return connection, answers

        source, _ = asked("PUT /stream")
        source.sendall(block)
        listeners = [asked("GET /stream")[1] for _ in range(10)]
        for number in range(FIRST + COUNTED):
            if number == FIRST:
                begin()
            if any(listener.read(len(block)) != block for listener in listeners):
                raise SystemExit("a listener hears something else")
            source.sendall(block)


_ICECAST_SOURCE = "Authorization: Basic c291cmNlOmhhY2ttZQ==\r\nContent-Type: audio/mpeg"
_ICECAST_XML = """<icecast>
  <authentication><source-password>hackme</source-password></authentication>
  <hostname>127.0.0.1</hostname>
  <listen-socket><port>{port}</port><bind-address>127.0.0.1</bind-address></listen-socket>
  <paths><logdir>{directory}</logdir><webroot>{directory}</webroot></paths>
</icecast>
"""


def _tor(port: int, begin: Callable[[], None]) -> None:
    """Make and end circuits on one TLS connection, as a client does with its first hop."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", port), callgrind.TIMEOUT_S) as opened,
        context.wrap_socket(opened) as connection,
        connection.makefile("rb") as answers,
    ):
        connection.sendall(struct.pack(">HBHH", 0, _VERSIONS, 2, 4))
        answers.read(struct.unpack(">3xH", answers.read(5))[0])
        while _cell(answers) != _NETINFO:
            pass
        address = bytes((4, 4, 127, 0, 0, 1))
        connection.sendall(struct.pack(">IBI505s", 0, _NETINFO, 0, address))
        end = b""
        for number in range(FIRST + COUNTED):
            if number == FIRST:
                begin()
            circuit = 1 << 31 | number + 1
            create = struct.pack(">IB509s", circuit, _CREATE_FAST, bytes(range(20)))
            connection.sendall(end + create)  # in one record: read at once
            if (answer := _cell(answers)) != _CREATED_FAST:
                raise SystemExit(f"wrong answer to CREATE_FAST: a cell {answer}")
            end = struct.pack(">IB509x", circuit, _DESTROY)


def _cell(answers: BinaryIO) -> int:
    """Read a cell; return its command."""
    command = answers.read(5)[4]
    has_length = command == _VERSIONS or command >= _FIRST_OF_ANY_LENGTH
    answers.read(struct.unpack(">H", answers.read(2))[0] if has_length else 509)
    return command


_DESTROY, _CREATE_FAST, _CREATED_FAST, _VERSIONS, _NETINFO = 4, 5, 6, 7, 8
_FIRST_OF_ANY_LENGTH = 128

_MOSQUITTO = "listener {port} 127.0.0.1\nallow_anonymous true\nuser root\n"


def _mqtt(port: int, begin: Callable[[], None]) -> None:
    """Publish one message after the other, to who publishes."""
    with socket.create_connection(("127.0.0.1", port), callgrind.TIMEOUT_S) as connection:
        answers = connection.makefile("rb")

        def ask(packet: bytes, answer: bytes) -> None:
            connection.sendall(packet)
            if (found := answers.read(len(answer))) != answer:
                raise SystemExit(f"wrong answer to {packet!r}: {found!r}")

        ask(b"\x10\x10\0\4MQTT\4\2\0\0\0\4self", b"\x20\2\0\0")
        ask(b"\x82\x0d\0\1\0\x08steady/+\0", b"\x90\3\0\1\0")
        for number in range(FIRST + COUNTED):
            if number == FIRST:
                begin()
            message = b"\x30\x1a\0\x0asteady/%03dvalue-%08d" % (number % 100, number)
            ask(message, message)


PROGRAMS: dict[str, Program] = {
    "memcached": Program(
        versions=("1.6.18", "1.6.38", "1.6.45"),
        sizes=(("--items=1000",), ("--items=100000",), ("--items=1000000",)),
        binary="memcached",
        steady=Steady(
            (
                *("-l", "127.0.0.1", "-p", "{port}", "-t", "4", "-U", "0", "-u", "root"),
                *("-c", str(callgrind.FILES - callgrind.OWN_FILES)),
            ),
            _lines(_memcached, b"STORED", 3),
        ),
        original_lines=230,
        why_longer="which leads over two releases of several years each (threads that are now made "
        "by objects, members that moved from a connection to its responses)",
    ),
    "redis": Program(
        versions=("8.0.2", "8.0.6"),
        sizes=(("--keys=1000",), ("--keys=100000",), ("--keys=1000000",)),
        binary="src/redis-server",
        make=(
            "make", "-j2", "MALLOC=libc", "OPTIMIZATION=-O2", "BUILD_TLS=no", "USE_SYSTEMD=no",
            "redis-server",
        ),
        configure="",
        steady=Steady(
            ("--port", "{port}", "--save", "", "--appendonly", "no", "--dir", "{directory}"),
            _lines(_redis, b"+OK", 2),
        ),
        original_lines=240,
    ),
    "vsftpd": Program(
        versions=("3.0.5", "3.0.5+field"),
        sizes=(("--idle=2",), ("--idle=6",), ("--idle=20",)),
        binary="vsftpd",
        configure="",
        original_lines=150,
        why_longer="whose sessions wait in the middle of whatever their client has asked for: what "
        "the way back to such a place must not do again is named call by call",
    ),
    "icecast": Program(
        versions=("2.4.4", "2.4.4+field"),
        sizes=tuple(
            (f"--listeners={count}", f"--again={again}")
            for count, again in ((10, 10), (50, 10), (100, 50))
        ),
        binary="src/icecast",
        configure="./configure --quiet --without-theora --without-speex",
        package="icecast2",
        steady=Steady(
            ("-c", "{directory}/icecast.xml"),
            _icecast,
            files=(("icecast.xml", _ICECAST_XML),),
            refuses_root=True,
        ),
        original_lines=780,
    ),
    "tor": Program(
        versions=("0.4.9.11", "0.4.9.11+field"),
        sizes=tuple(
            (f"--streams={count}", f"--rounds={rounds}")
            for count, rounds in ((1, 25), (5, 5), (20, 5))
        ),
        binary="src/app/tor",
        make=("make", "-j2", "src/app/tor"),
        configure="./configure --quiet --disable-unittests --disable-asciidoc --disable-manpage "
        "--disable-html-manual --disable-seccomp --disable-systemd --disable-lzma --disable-zstd "
        "--disable-libscrypt --disable-tool-name-check --disable-dependency-tracking",
        steady=Steady(
            (
                *("--ignore-missing-torrc", "-f", "{directory}/torrc", "--quiet"),
                *("--DataDirectory", "{directory}/data", "--ORPort", "127.0.0.1:{port}"),
                *("--Address", "127.0.0.1", "--AssumeReachable", "1", "--SocksPort", "0"),
                *("--TestingTorNetwork", "1", "--FetchServerDescriptors", "0", "--ExitRelay", "0"),
                *("--PublishServerDescriptor", "0"),
                *("--DirAuthority", f"none 127.0.0.1:1 {'F' * 40}"),
            ),
            _tor,
        ),
        original_lines=250,
    ),
    "mosquitto": Program(
        versions=("2.0.11", "2.0.21"),
        sizes=(
            ("--retained=1000", "--again=10"), ("--retained=3000", "--again=10"),
            ("--retained=10000", "--again=50"),
        ),
        binary="src/mosquitto",
        make=("make", "-j2", "-C", "src", "mosquitto", "WITH_CJSON=no"),
        configure="",
        steady=Steady(
            ("-c", "{directory}/mosquitto.conf"),
            _mqtt,
            files=(("mosquitto.conf", _MOSQUITTO),),
        ),
    ),
    "ngircd": Program(
        versions=("27", "28"),
        sizes=(("--clients=10",), ("--clients=50",), ("--clients=100",)),
        binary="src/ngircd/ngircd",
        configure="./configure --quiet --without-zlib",
        steady=Steady(
            ("-n", "-f", "{directory}/ngircd.conf"),
            _lines(
                _ngircd,
                b":me!",
                hello=(b"NICK me\r\nUSER me 0 * :me\r\n", b" 422 me "),
                pause_s=0.01,
            ),
            files=((
                "ngircd.conf",
                "[Global]\nName=irc.example.net\nListen=127.0.0.1\nPorts={port}\nMotdPhrase=\n"
                "[Limits]\nMaxPenaltyTime=0\n[Options]\nDNS=no\nIdent=no\nPAM=no\n",
            ),),
            keeps_user=True,
        ),
    ),
    "dnsmasq": Program(
        versions=("2.90", "2.91", "2.93"),
        sizes=(("--names=10",), ("--names=50",), ("--names=200",)),
        binary="src/dnsmasq",
        configure="",
        steady=Steady(
            (
                *("--keep-in-foreground", "--conf-file=/dev/null", "--pid-file", "--user=root"),
                *("--port={port}", "--listen-address=127.0.0.1", "--bind-interfaces"),
                *("--no-resolv", "--no-hosts", "--group="),
                *(f"--host-record={_name(number)},10.5.0.{number}" for number in range(100)),
            ),
            _dnsmasq,
        ),
    ),
}  # fmt: skip


@dataclass(slots=True)
class Measured:
    """All that the page says of a program."""

    name: str
    versions: tuple[str, ...]
    units: int
    lines: int
    """Of the C sources of those units, of the first version."""
    heaps: list[dict[str, Any]] = field(default_factory=list)
    """`scenarios.Figures` of each size."""
    build_ratio: float = 0
    """CPU time of upstream's build through the look-alike, over that with gcc."""
    steady_percent: float | None = None
    """How many more instructions a release executes for the same requests."""


def measure(name: str, program: Program) -> Measured:
    """Measure a program. Raises `SourceUnavailable`; what is lost ends the run by `SystemExit`."""
    place = FIGURES / name
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    heaps = [
        run_scenario(name, options, place / f"{n}.json") for n, options in enumerate(program.sizes)
    ]
    plain, build_ratio = build_both(name, program, place)
    return measured_of(name, program, heaps, plain, build_ratio)


def build_both(name: str, program: Program, place: Path) -> tuple[Path, float]:
    """Build a program with gcc and through the look-alike; return the former, and the ratio."""
    plain, plain_s = _build(name, program, place / "plain", "gcc")
    settings = place / "settings.json"
    _run([*scenarios.KITSUNE, "config", "--version", program.versions[0], "-o", str(settings)],
         EXAMPLES / name)  # fmt: skip
    alike = f"{sys.executable} -m kitsune_tool.cc --kitsune-config={settings} gcc"
    _, alike_s = _build(name, program, place / "alike", alike)
    return plain, alike_s / plain_s


def measured_of(
    name: str, program: Program, heaps: list[dict[str, Any]], plain: Path, build_ratio: float
) -> Measured:
    """Put together what was measured, with the sources and instructions of the plain build."""
    release = scenarios.release(EXAMPLES / name, program.versions[0])
    # Who builds without debugging information by default has it in the example's build.
    sources = list(_sources(plain)) or list(_sources(release))
    lines = sum(map(_length, sources))
    measured = Measured(name, program.versions, len(sources), lines, heaps, build_ratio)
    if program.steady is not None:
        commands = ([str(plain)], [str(launcher.launcher_path()), str(release)])
        counts = [_fewest_instructions(each, program.steady, FIGURES / name) for each in commands]
        measured.steady_percent = 100 * (counts[1] / counts[0] - 1)
    return measured


def run_scenario(name: str, options: Sequence[str], target: Path) -> dict[str, Any]:
    """Run a scenario; return its figures."""
    run_for_figures(name, EXAMPLES / name / "scenario.py", options, target)
    figures: dict[str, Any] = json.loads(target.read_text(encoding="utf-8"))
    return figures


def run_for_figures(name: str, script: Path, options: Sequence[str], target: Path) -> None:
    """Run a script of an example, which writes figures."""
    command = [sys.executable, str(script), "--figures", str(target), *options]
    status = subprocess.run(command, check=False).returncode
    if status == scenarios.NOT_HERE:
        raise SourceUnavailable(f"{name}'s {script.name} cannot be run here now")
    if status != 0:
        raise SystemExit(f"{name}'s {script.name} has failed")


def run_own_tests(name: str) -> None:
    """Run a program's own tests, if it has any, and write their figures. Raises as `measure`."""
    script, target = EXAMPLES / name / OWN_TESTS, _own_tests(name)
    if script.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        run_for_figures(name, script, [], target)


def _own_tests(name: str) -> Path:
    return FIGURES / f"{name}.own.json"


def _build(name: str, program: Program, where: Path, compiler: str) -> tuple[Path, float]:
    """Build a program as upstream does; return its executable, and the CPU seconds of `make`."""
    package = program.package or name
    root = fetch_source.unpack(fetch_source.fetch(package, program.versions[0]), where)
    if program.configure:
        _run(program.configure.split(), root)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    _run([*program.make, f"CC={compiler}"], root)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return root / program.binary, seconds


def _run(command: Sequence[str], where: Path) -> None:
    done = subprocess.run(
        command, cwd=where, capture_output=True, text=True, timeout=_BUILD_TIMEOUT_S, check=False
    )
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")


def _sources(executable: Path) -> Iterator[Path]:
    """Yield the C sources of which an executable was made, as its debugging information says."""
    where = executable.parents[4]  # paths in a release are relative to the example
    command = ["readelf", "--wide", "--debug-dump=info", "--dwarf-depth=1", str(executable)]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    for unit in shown.split("(DW_TAG_compile_unit)")[1:]:
        said = dict(re.findall(r"DW_AT_(name|comp_dir) *:.*?([^ :]+)\s*$", unit, re.MULTILINE))
        source = where / said.get("comp_dir", "") / said.get("name", "")
        if source.suffix == ".c" and source.is_file():
            yield source


def _length(source: Path) -> int:
    return source.read_bytes().count(b"\n")


def _fewest_instructions(command: Sequence[str], steady: Steady, place: Path) -> int:
    """Count several times: what threads do that go by time comes on top, now more and now less."""
    return min(_instructions(command, steady, place) for _ in range(COUNTS))


def _instructions(command: Sequence[str], steady: Steady, place: Path) -> int:
    port = scenarios.free_port()
    words = [each.format(port=port, directory=place) for each in steady.arguments]
    for name, text in steady.files:
        (place / name).write_text(text.format(port=port, directory=place), encoding="utf-8")
    running = callgrind.counting(
        [*command, *words], place, keeps_user=steady.keeps_user, refuses_root=steady.refuses_root
    )
    with running as counted:
        scenarios.wait_for_port(port)
        steady.talk(port, counted.zero)
        return counted.total()


# ---- the page ------------------------------------------------------------------------------------

INTRODUCTION = """# Programs that were updated live

This page is made by a command, from runs of the scenarios under `examples/`:

    ./kit programs              # all of them, about an hour; `./kit programs redis` runs one
    ./kit programs --own-tests  # the programs' own tests, on plain builds and amid updates

Each scenario fetches the program's source, builds its releases, starts the first version, loads it,
and updates it under load: to the next versions, to itself and back, and to releases that fail. What
is lost or answered wrongly counts as a failed request. Nothing of a program's source is edited.
"""


def page(measured: Sequence[Measured], left_out: Sequence[str]) -> str:
    """Return the page on what was measured."""
    today = datetime.datetime.now(tz=datetime.UTC).date()
    parts = [INTRODUCTION, f"Made on {today}, on a machine with {os.cpu_count()} processors.\n"]
    parts += [
        "## What is updated, and what had to be said\n",
        _said_table(measured),
        _said_sum(),
    ]
    parts += ["## Updates under load\n", _HEAPS_ABOVE, _heap_table(measured)]
    parts += ["## What it costs beside updates\n", _COSTS_ABOVE, _cost_table(measured)]
    parts += ["## Their own tests\n", _OWN_ABOVE, _own_table()]
    if left_out:
        parts += ["## Left out\n", "\n".join(f"- {line}" for line in left_out) + "\n"]
    return "\n".join(parts)


_HEAPS_ABOVE = """Objects are those that an update has transformed, moved or in place, for each
update between the versions above and to a variant. How many pauses were seen
is told: of updates, and of vsftpd of each process. Requests are those of clients during the whole
run. Memory is the server's resident memory before the first update, at most during one, and after
the last.
"""
_COSTS_ABOVE = f"""Instructions are those of the server for {COUNTED:,} requests on one connection,
counted by callgrind, the fewest of {COUNTS} runs: a release against the plain build. Build time is
CPU time of upstream's own `make` through the look-alike, against the same with gcc.
"""


_OWN_ABOVE = """Tests that upstream distributes and that drive a running server, each run twice:
with the plain build, and with a release that is updated to itself and back as long as the test
runs (tor's: once more for each update, at another moment). What came of each must be the same.
"""


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _said_table(measured: Sequence[Measured]) -> str:
    head = ("program", "versions", "units", "lines of C", "annotations", "edits", "standing rules",
            "rules of an update", "lines of manifest", "the original's")  # fmt: skip
    rows = []
    for each in measured:
        manifest = scenarios.manifest_of(EXAMPLES / each.name)
        by_update = ", ".join(f"{n} for {v}" for v, n in manifest.rules.items() if n) or "0"
        counts = (manifest.annotations, manifest.edits, manifest.standing_rules)
        rows.append([
            f"[{each.name}](../examples/{each.name}/README.md)", " → ".join(each.versions),
            str(each.units), f"{each.lines:,}", *map(str, counts), by_update, str(manifest.lines),
            str(PROGRAMS[each.name].original_lines or "-"),
        ])  # fmt: skip
    return _table(head, rows)


def _said_sum() -> str:
    known = [name for name, program in PROGRAMS.items() if program.original_lines]
    manifests = [scenarios.manifest_of(EXAMPLES / name) for name in known]
    said = sum(each.statements for each in manifests)
    lines = sum(each.lines for each in manifests)
    original = sum(PROGRAMS[name].original_lines for name in known)
    return (
        f"Together the manifests of {', '.join(known)} say {said} things, in {lines} lines. The "
        f"original system's published versions of these programs needed {original} annotations, "
        f"calls and rules, written into their sources: a third of that is {original // 3}. "
        + _above_a_third({name: each.lines for name, each in zip(known, manifests, strict=True)})
        + "\n"
    )


def _above_a_third(lines: dict[str, int]) -> str:
    """Tell of which programs, by lines of their manifests, these are longer, and why."""
    above = [name for name, count in lines.items() if 3 * count > PROGRAMS[name].original_lines]
    if not above:
        return "No manifest is longer than a third of what its program needed there."
    named = "".join(f"- {name}, {PROGRAMS[name].why_longer}.\n" for name in above)
    return f"{_ABOVE_A_THIRD}\n\n{named}\n{_LINES_OF_EDITS}"


_ABOVE_A_THIRD = "Longer than a third of what the original system needed are the manifests of:"
_LINES_OF_EDITS = """An edit takes several lines: it names the function and the place in it, since
it is not written there."""


def _heap_table(measured: Sequence[Measured]) -> str:
    head = ("program", "heap", "objects by update", "pauses", "median", "worst", "requests",
             "failed", "memory before", "at peak", "after")  # fmt: skip
    rows = []
    for each in measured:
        for heap in each.heaps:
            memory = (heap[f"memory_{when}_kb"] for when in ("before", "peak", "after"))
            objects = ", ".join(f"{n:,}" for n in heap["objects"].values())
            rows.append([
                each.name, heap["heap"], objects, str(len(heap["pauses_ms"])),
                f"{median(heap['pauses_ms']):.1f} ms", f"{max(heap['pauses_ms']):.1f} ms",
                f"{heap['requests']:,}", str(heap["failed"]),
                *(f"{kb / 1024:,.1f} MB" for kb in memory),
            ])  # fmt: skip
    return _table(head, rows)


def _cost_table(measured: Sequence[Measured]) -> str:
    rows = []
    for each in measured:
        steady = each.steady_percent
        more = "not counted" if steady is None else f"{steady:+.2f} %"
        rows.append([each.name, more, f"{each.build_ratio:.1f}x"])
    return _table(("program", "instructions", "build time"), rows)


def _own_table() -> str:
    rows, left_out = [], []
    for name in PROGRAMS:
        if not (EXAMPLES / name / OWN_TESTS).is_file():
            rows.append([name, "none that drive a server", "", "", ""])
        elif figures := _figures(_own_tests(name)):
            own = scenarios.OwnTests(**figures)
            counts = (own.tests, own.passed, own.same, own.updates)
            rows.append([name, *(f"{count:,}" for count in counts)])
            left_out += [f"- {name}: {what}: {why}\n" for what, why in own.left_out.items()]
        else:
            rows.append([name, "not run in this place", "", "", ""])
    head = ("program", "tests", "points that pass on a plain build", "tests the same amid updates",
            "updates")  # fmt: skip
    more = "\nNot run:\n\n" + "".join(left_out) if left_out else ""
    return _table(head, rows) + more


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is named, write the page; return the exit status."""
    parser = argparse.ArgumentParser(description="what live updates cost the example programs")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(PROGRAMS))
    parser.add_argument("--own-tests", action="store_true", help="run these, measure nothing")
    options = parser.parse_args(arguments)
    names = options.names or list(PROGRAMS)
    if unknown := [name for name in names if name not in PROGRAMS]:
        parser.error(f"no such program: {', '.join(unknown)}; there are {', '.join(PROGRAMS)}")
    run = run_own_tests if options.own_tests else write_measured
    left_out: dict[str, str] = {}
    status = 0
    for name in names:
        try:
            run(name)
        except SourceUnavailable as error:
            left_out[name] = str(error)
            status = status or scenarios.NOT_HERE
        except SystemExit as error:  # the others are of interest all the same
            left_out[name] = str(error)
            status = 1
            print(f"LOST: {name}: {error}", flush=True)
    measured = [Measured(**figures) for name in PROGRAMS if (figures := _figures(_measured(name)))]
    for name in PROGRAMS.keys() - {each.name for each in measured}:
        left_out.setdefault(name, f"not measured in this place (`./kit programs {name}`)")
    _replace(PAGE, page(measured, [f"{n}: {left_out[n]}" for n in PROGRAMS if n in left_out]))
    print(f"written: {PAGE.relative_to(ROOT)}")
    return status


def write_measured(name: str) -> None:
    """Measure a program and write its figures. Raises as `measure`."""
    _measured(name).unlink(missing_ok=True)
    text = json.dumps(asdict(measure(name, PROGRAMS[name])), indent=1)
    _replace(_measured(name), text + "\n")


def _measured(name: str) -> Path:
    return FIGURES / f"{name}.json"


def _figures(path: Path) -> dict[str, Any]:
    """Return what was written there; nothing if nothing was."""
    found: dict[str, Any] = {}
    with contextlib.suppress(FileNotFoundError):
        found = json.loads(path.read_text(encoding="utf-8"))
    return found


def _replace(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


if __name__ == "__main__":
    sys.exit(main())
