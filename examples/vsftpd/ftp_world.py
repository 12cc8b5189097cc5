"""The world that vsftpd is started in: its users, their files, its configuration.

In: a directory, in network and mount namespaces that are the caller's own. Out: two users, with
files, and a configuration there. Called by scenario.py and check.py.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from pathlib import Path

import ftp_clients
from ftp_clients import USER

PASSWD = """
ftp:x:4001:4001::{directory}/ftp:/bin/sh
{user}:x:4002:4002::{directory}/home:/bin/sh
"""
CONFIGURATION = """
listen=YES
listen_address=127.0.0.1
listen_port={port}
background=NO
anonymous_enable=YES
local_enable=YES
write_enable=YES
anon_upload_enable=YES
ascii_download_enable=YES
chroot_local_user=YES
allow_writeable_chroot=YES
secure_chroot_dir={directory}/empty
setproctitle_enable=YES
xferlog_enable=YES
vsftpd_log_file={directory}/log
max_per_ip=200
"""
ISOLATED = {"isolate": "YES", "isolate_network": "YES", "seccomp_sandbox": "NO"}
"""Each session in namespaces of its own, as vsftpd is without a word; but for the filters."""
TOGETHER = ISOLATED | {"isolate": "NO", "isolate_network": "NO"}
FILTERED = ISOLATED | {"seccomp_sandbox": "YES"}


def prepare(directory: Path, megabytes: int) -> None:
    """Make the users, in this namespace, and their files."""
    directory.chmod(0o755)
    for name, owner in (("ftp", 0), ("ftp/incoming", 4001), ("home", 4002), ("empty", 0)):
        (directory / name).mkdir()
        os.chown(directory / name, owner, owner)
    contents = ftp_clients.contents(megabytes << 20)
    for place in ("ftp", "home"):
        (directory / place / "big").write_bytes(contents)
        (directory / place / "text").write_bytes(ftp_clients.TEXT)
        (directory / place / "sub").mkdir()
        os.chown(directory / place / "sub", 4002, 4002)
    (directory / "home/old name").write_text("renamed", encoding="ascii")
    secret = encrypted(ftp_clients.PASSWORD)
    additions = {
        "passwd": PASSWD.format(directory=directory, user=USER),
        "shadow": f"{USER}:{secret}:19000:0:99999:7:::\n",
        "group": f"ftp:x:4001:\n{USER}:x:4002:\n",
    }
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    for name, lines in additions.items():
        copy = directory / name
        copy.write_text(Path("/etc", name).read_text(encoding="utf-8") + lines, encoding="utf-8")
        subprocess.run(["mount", "--bind", copy, f"/etc/{name}"], check=True)


def encrypted(password: str) -> str:
    """Return a password as it stands in /etc/shadow; Python has no module for that any more."""
    library = ctypes.CDLL("libcrypt.so.1")
    library.crypt.restype = ctypes.c_char_p
    result: bytes = library.crypt(password.encode(), b"$6$saltsalt$")
    return result.decode()


def configure(directory: Path, settings: dict[str, str]) -> Path:
    """Write the configuration, with some settings more; return the file."""
    config = directory / "vsftpd.conf"
    text = CONFIGURATION.format(directory=directory, port=ftp_clients.PORT)
    text += "".join(f"{name}={value}\n" for name, value in settings.items())
    config.write_text(text, encoding="ascii")
    return config
