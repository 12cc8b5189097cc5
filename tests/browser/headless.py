"""A real browser that tests look at pages with: Chromium without a window, driven by WebDriver.

`browser` is a fixture; it skips where Chromium or its driver is not installed. KITSUNE_SCREENSHOTS
names a directory in which `Browser.look` leaves what it saw, for people.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--hide-scrollbars",
)  # fmt: skip
_LIMIT_S = 120.0


class Browser:
    """One page at a time."""

    def __init__(self, address: str, session: str) -> None:
        self._address = f"{address}/session/{session}"

    def open(self, page: Path) -> None:
        """Show a file, as on a screen of usual size."""
        self.resize(1280, 900)
        self.prefer()
        self._post("url", {"url": page.as_uri()})

    def run(self, script: str, *arguments: Any) -> Any:
        """Run the body of a function in the page and return its result."""
        return self._post("execute/sync", {"script": script, "args": list(arguments)})

    def command(self, name: str, **parameters: Any) -> Any:
        """Run a command of the DevTools protocol."""
        return self._post("goog/cdp/execute", {"cmd": name, "params": parameters})

    def resize(self, width: int, height: int) -> None:
        """Give the page a width and height in pixels."""
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip

    def prefer(self, scheme: str = "light", media: str = "") -> None:
        """Show the page as on a `dark` or `light` screen, or as on paper (`media="print"`)."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.command("Emulation.setEmulatedMedia", media=media, features=features)
        for query in (media or "screen", f"(prefers-color-scheme: {scheme})"):
            while not self.run("return matchMedia(arguments[0]).matches", query):
                pass  # each question takes a turn of the page's own loop

    def complaints(self) -> list[str]:
        """Return what the browser complained about since it was asked last."""
        return [entry["message"] for entry in self._post("se/log", {"type": "browser"})]

    def look(self, name: str) -> bytes:
        """Return a picture of the whole page, and keep it if that is wanted."""
        shot = self.command("Page.captureScreenshot", captureBeyondViewport=True)
        picture = base64.b64decode(shot["data"])
        if directory := os.environ.get("KITSUNE_SCREENSHOTS"):
            Path(directory).mkdir(parents=True, exist_ok=True)
            (Path(directory) / f"{name}.png").write_bytes(picture)
        return picture

    def _post(self, path: str, data: Any) -> Any:
        return _post(f"{self._address}/{path}", data)

    def close(self) -> None:
        """End the session."""
        request = urllib.request.Request(self._address, method="DELETE")
        with contextlib.suppress(OSError), _opener().open(request, timeout=_LIMIT_S):
            pass


def missing() -> str:
    """Return why there is no browser, "" if there is one."""
    needed = {"chromium": "chromium", "chromedriver": "chromium-driver"}
    lacking = [package for command, package in needed.items() if not shutil.which(command)]
    return f"not installed: {', '.join(lacking)}" if lacking else ""


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser with nothing in its profile."""
    if why := missing():
        pytest.skip(why)
    with started(tmp_path_factory.mktemp("browser")) as found:
        yield found


@contextlib.contextmanager
def started(directory: Path) -> Iterator[Browser]:
    """Start a browser that keeps its files in a directory, and end it."""
    # It puts a socket there, whose path may have 107 bytes: pytest's directories can be too long.
    short = tempfile.mkdtemp(prefix="chromium-")
    environment = os.environ | {"HOME": str(directory), "TMPDIR": short}
    driver = subprocess.Popen(
        ["chromedriver", "--port=0"], stdout=subprocess.PIPE, text=True, env=environment
    )
    try:
        assert driver.stdout is not None
        port = next(found[1] for line in driver.stdout if (found := _PORT.search(line)))
        address = f"http://127.0.0.1:{port}"
        options = {"args": [*_FLAGS, f"--user-data-dir={directory / 'profile'}"]}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        made = _post(f"{address}/session", {"capabilities": {"alwaysMatch": wanted}})
        session = Browser(address, made["sessionId"])
        try:
            yield session
        finally:
            session.close()
    finally:
        driver.terminate()
        driver.wait(30)
        assert driver.stdout is not None
        driver.stdout.close()
        shutil.rmtree(short, ignore_errors=True)


_PORT = re.compile(r"successfully on port (\d+)")


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _post(address: str, data: Any) -> Any:
    body = json.dumps(data).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(address, body, headers)
    try:
        with _opener().open(request, timeout=_LIMIT_S) as answer:
            return json.load(answer)["value"]
    except urllib.error.HTTPError as error:
        raise AssertionError(json.load(error)["value"]["message"]) from error
