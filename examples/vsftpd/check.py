"""A test driver of vsftpd: starts it, works through a session of each kind, checks each answer.

In: the command that starts the server. Out: a line per step, and exit status 0 if all was right.
The answers stay right if the whole tree of processes is updated at any moment on the way: `kitsune
test-update` tries that. The server is left running, so that an update that comes last can end; who
runs this ends it. Only root can run it, where there are namespaces (unshare --net --mount).
"""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import ftp_clients
import ftp_world
from ftp_clients import PASSWORD, TEXT, USER, World

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import scenarios

_INSIDE = "--inside"
_MEGABYTES = 1
_BIG, _SHORT = 400_000, TEXT[:20_000]


def main(arguments: Sequence[str]) -> int:
    """Check the server that `arguments` start; return 0 if every answer was right."""
    if arguments[0] != _INSIDE:
        again = [sys.executable, "-W", "ignore", __file__, _INSIDE, *arguments]
        return subprocess.run(["unshare", "--net", "--mount", *again], check=False).returncode
    scenarios.bring_loopback_up()
    with tempfile.TemporaryDirectory(prefix="vsftpd-") as place:
        directory = Path(place)
        ftp_world.prepare(directory, _MEGABYTES)
        config = ftp_world.configure(directory, ftp_world.TOGETHER)
        subprocess.Popen([*arguments[1:], str(config)], stdin=subprocess.DEVNULL)
        ftp_clients.wait_for_port(ftp_clients.TIMEOUT_S)
        try:
            _anybody(World(directory))
            _user(World(directory))
        except ftp_clients.WRONG as error:
            print(f"    is wrong: {type(error).__name__}: {error}")
            return 1
    return 0


def _step(what: str, is_right: bool) -> None:
    print(f"{what}: {'right' if is_right else 'wrong'}", flush=True)
    assert is_right, what


def _anybody(world: World) -> None:
    """Be a client without a name, who looks round and gets files in each way."""
    ftp = ftp_clients.connect()
    ftp.login()
    ftp.cwd("sub")
    _step("directory", ftp.pwd() == "/sub")
    ftp.cwd("/")
    _step("names", "big" in ftp.nlst())
    got = bytearray()
    ftp.retrbinary("RETR big", got.extend)
    _step("a file", bytes(got) == world.big)
    got.clear()
    ftp.retrbinary("RETR big", got.extend, rest=_BIG)
    _step("the rest of it", bytes(got) == world.big[_BIG:])
    ftp.set_pasv(False)
    lines: list[str] = []
    ftp.retrlines("LIST", lines.append)
    _step("a listing, by a connection of the server's", any(x.endswith(" big") for x in lines))
    ftp.quit()


def _user(world: World) -> None:
    """Be one with a name, who puts files, gets them as text, and renames them."""
    ftp = ftp_clients.connect()
    ftp.login(USER, PASSWORD)
    ftp.storbinary("STOR mine", io.BytesIO(world.big))
    _step("a file that was put", (world.directory / "home/mine").read_bytes() == world.big)
    ftp.storbinary("APPE mine", io.BytesIO(_SHORT))
    _step("a file that was appended to", ftp.size("mine") == len(world.big) + len(_SHORT))
    ftp.storlines("STOR short", io.BytesIO(_SHORT))
    lines: list[str] = []
    ftp.retrlines("RETR short", lines.append)
    _step("a text", lines == _SHORT.decode().split("\n")[: len(lines)] and len(lines) > 500)
    ftp.rename("short", "shorter")
    ftp.delete("shorter")
    ftp.delete("mine")
    _step("nothing is left", not {"mine", "short", "shorter"} & set(ftp.nlst()))
    ftp.quit()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
