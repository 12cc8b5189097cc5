"""A test driver of the server that forks: all its processes must be of one version at the end.

It starts $KITSUNE_SERVER and leaves it running: who runs the driver ends it.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_TIMEOUT_S = 60


def main() -> int:
    """Work with the server; return 0 if all was well."""
    path = Path(tempfile.mkdtemp(prefix="kitsune-")) / "socket"
    server = subprocess.Popen(
        [os.environ["KITSUNE_SERVER"]],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"FAIL_FILE": "/nowhere/at-all"} | os.environ | {"SOCKET": str(path)},
    )
    deadline = time.monotonic() + _TIMEOUT_S
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(_TIMEOUT_S)
        client.connect(str(path))
        answers = client.makefile()

        def ask(line: str) -> str:
            client.sendall(line.encode() + b"\n")
            return answers.readline().strip()

        sums = [ask("add 1") for _ in range(3)]
        child, _, _ = ask("version").partition(" ")
        assert server.stdin and server.stdout
        server.stdin.write("version\n")
        server.stdin.flush()
        parent = server.stdout.readline().strip()
        nested = ask("nest")
    # The server ends with its input, which this keeps open until the session is ended.
    subprocess.Popen(["sleep", "600"], stdout=server.stdin)
    path.unlink()
    path.parent.rmdir()
    print(sums, child, parent, nested.isdigit(), file=sys.stderr)
    return 0 if sums == ["1", "2", "3"] and child == parent and nested.isdigit() else 1


if __name__ == "__main__":
    sys.exit(main())
