"""An Icecast that is started with a configuration of its own, for the scenario and the test driver.

In: the command that starts it, a directory, the port of the servers that it asks. Out: its process
id and its ports, once all its threads are there; it is ended when its user is done with it.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import radio_clients as clients

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import scenarios  # noqa: E402 - it lies beside the examples

SOURCE = HERE / "build/source/icecast2_2.4.4"
TIMEOUT_S = 120
MORE = """
  <relay>
    <server>127.0.0.1</server><port>{other}</port><mount>/master</mount>
    <local-mount>/relayed.mp3</local-mount><on-demand>0</on-demand>
  </relay>
  <mount>
    <mount-name>/relayed.mp3</mount-name>
    <authentication type="url">
      <option name="listener_add" value="http://127.0.0.1:{other}/auth"/>
    </authentication>
  </mount>
  <mount>
    <mount-name>/stream.mp3</mount-name><fallback-mount>/fallback.mp3</fallback-mount>
  </mount>
"""
"""Comes when all threads are there: 2.4.4 may crash if one counts before that of the statistics."""
CONFIGURATION = """
<icecast>
  <limits><clients>2000</clients><sources>10</sources><burst-size>4096</burst-size>
    <header-timeout>3600</header-timeout><source-timeout>600</source-timeout>
    <queue-size>4000000</queue-size></limits>
  <authentication>
    <source-password>{password}</source-password>
    <admin-user>admin</admin-user><admin-password>{password}</admin-password>
  </authentication>
  <hostname>127.0.0.1</hostname>
  <listen-socket><port>{port}</port><bind-address>127.0.0.1</bind-address></listen-socket>
  <listen-socket>
    <port>{private_port}</port><bind-address>127.0.0.1</bind-address><ssl>1</ssl>
  </listen-socket>
  <directory><yp-url>http://127.0.0.1:{other}/yp</yp-url></directory>
  {more}
  <fileserve>1</fileserve>
  <paths>
    <ssl-certificate>{directory}/certificate.pem</ssl-certificate>
    <logdir>{directory}/log</logdir><webroot>{directory}/web</webroot><adminroot>{directory}/admin</adminroot>
  </paths>
  <logging><accesslog>access.log</accesslog><errorlog>error.log</errorlog><loglevel>3</loglevel></logging>
  <security><changeowner><user>nobody</user><group>nogroup</group></changeowner></security>
</icecast>
"""


@contextlib.contextmanager
def started(command: Sequence[str], directory: Path, other: int) -> Iterator[tuple[int, int, int]]:
    """Run what a command starts, which asks at a port; yield its pid, its port, that of TLS."""
    directory.chmod(0o755)
    (directory / "run").mkdir(mode=0o700)
    (directory / "log").mkdir()
    (directory / "log").chmod(0o777)
    for part in ("web", "admin"):
        shutil.copytree(SOURCE / part, directory / part)
    (directory / "web/large.bin").write_bytes(os.urandom(4 << 20))
    (directory / "web/fallback.mp3").write_bytes(bytes(1 << 20))
    make_certificate(directory / "certificate.pem")
    ports = {"port": scenarios.free_port(), "private_port": scenarios.free_port(), "other": other}
    configure(directory, ports, "")
    with (directory / "output").open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            [*command, "-c", str(directory / "icecast.xml")], stdout=output, stderr=output
        )
    try:
        wait_for_log(directory, "server started")
        scenarios.wait_until(lambda: all_wait(process.pid), "Icecast's threads do not come to rest")
        configure(directory, ports, MORE.format(other=other))
        process.send_signal(signal.SIGHUP)
        wait_for_log(directory, "mountpoint /fallback.mp3 is reserved")
        yield process.pid, ports["port"], ports["private_port"]
    except BaseException:
        for log in (directory / "output", *(directory / "log").iterdir()):
            print(f"-- {log}\n{log.read_text(encoding='utf-8')[-3000:]}", file=sys.stderr)
        raise
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(TIMEOUT_S)


def make_certificate(path: Path) -> None:
    """Make a certificate and its key, in one file that the server's user may read."""
    key = path.with_suffix(".key")
    command = ["openssl", "req", "-x509", "-nodes", "-subj", "/CN=localhost"]
    command += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    subprocess.run(
        [*command, "-keyout", str(key), "-out", str(path)], check=True, capture_output=True
    )
    path.write_text(path.read_text(encoding="ascii") + key.read_text(encoding="ascii"))
    path.chmod(0o644)


def configure(directory: Path, ports: dict[str, int], more: str) -> None:
    """Write the configuration."""
    text = CONFIGURATION.format(password=clients.PASSWORD, directory=directory, more=more, **ports)
    if os.geteuid() != 0:
        text = re.sub(r"<security>.*</security>", "", text)
    (directory / "icecast.xml").write_text(text, encoding="utf-8")


def wait_for_log(directory: Path, line: str, times: int = 1) -> None:
    """Wait until the server has said something so often."""
    log = directory / "log/error.log"
    scenarios.wait_until(
        lambda: log.exists() and log.read_text(encoding="utf-8").count(line) >= times,
        f"Icecast does not say {line!r}",
    )


def all_wait(pid: int) -> bool:
    """Whether each thread of a process waits for something."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    states = [(each / "stat").read_text(encoding="ascii").rpartition(")")[2] for each in threads]
    return all(state.split()[0] == "S" for state in states)
