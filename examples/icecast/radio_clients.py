"""Clients of an Icecast: sources at a steady rate, listeners that check each byte, readers.

A stream is made of numbered blocks of one size, so that a listener sees what is missing, comes
twice, or is not what was sent. One thread with an event loop serves them all; what goes wrong is
kept as a complaint.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import hashlib
import json
import re
import socket
import ssl
import struct
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from types import TracebackType
from typing import TypeVar

TIMEOUT_S = 120
TICK_S = 0.05
COME_AT_ONCE = 4
"""So many listeners wait for an answer at a time. Icecast's queue of new connections holds six: if
hundreds come at once, most are dropped, try again at the same moments, and are reset in the end."""
RELAYED = "/relayed.mp3"
PASSWORD = "hackme"
"""Of the source, and of the administrator `admin`."""


class Mpeg:
    """What looks like MPEG audio to Icecast, which passes it on as it comes."""

    content_type = "audio/mpeg"
    opening = b""
    size = 512
    mark = b"\xff\xfb\x90\x64"

    def __init__(self, mount: str) -> None:
        """Say where it is to be heard."""
        self.mount = mount

    def block(self, number: int) -> bytes:
        """Return a block of the stream."""
        return (self.mark + b"%012d" % number).ljust(self.size, b"%d" % (number % 10))

    def number(self, block: bytes) -> int:
        """Return which block this seems to be."""
        return int(block[4:16])


class Opus:
    """A stream of Ogg pages, which Icecast takes apart; it does not look into the packets."""

    content_type = "application/ogg"
    mark = b"OggS\0\0"

    def __init__(self, mount: str) -> None:
        """Make the pages with which the stream, and each listener's, begins."""
        self.mount = mount
        head = b"OpusHead" + struct.pack("<BBHIhB", 1, 2, 0, 48000, 0, 0)
        tags = b"OpusTags" + struct.pack("<I", 7) + b"kitsune" + struct.pack("<I", 0)
        self.opening = _ogg_page(0, 2, head, 0) + _ogg_page(1, 0, tags, 0)
        self.size = len(self.block(0))

    def block(self, number: int) -> bytes:
        """Return a page of the stream."""
        return _opus_page(number)

    def number(self, block: bytes) -> int:
        """Return which page this seems to be."""
        return int.from_bytes(block[18:22], "little") - 2


@functools.lru_cache(maxsize=4096)
def _opus_page(number: int) -> bytes:
    """Return a page of every such stream; each listener asks for the same ones."""
    packet = (b"\xfc%012d" % number).ljust(400, b"%d" % (number % 10))
    return _ogg_page(number + 2, 0, packet, (number + 1) * 960)


def _ogg_page(sequence: int, kind: int, packet: bytes, granule: int) -> bytes:
    lacing = bytes([255] * (len(packet) // 255) + [len(packet) % 255])
    page = bytearray(b"OggS" + struct.pack("<BBqIII", 0, kind, granule, 7, sequence, 0))
    page += bytes([len(lacing)]) + lacing + packet
    page[22:26] = struct.pack("<I", _ogg_sum(bytes(page)))
    return bytes(page)


def _ogg_sum(page: bytes) -> int:
    checksum = 0
    for byte in page:
        checksum = (checksum << 8) & 0xFFFFFFFF ^ _OGG_TABLE[checksum >> 24 ^ byte]
    return checksum


def _ogg_table() -> list[int]:
    table = []
    for byte in range(256):
        remainder = byte << 24
        for _ in range(8):
            remainder = (remainder << 1) ^ (0x04C11DB7 if remainder & 0x80000000 else 0)
        table.append(remainder & 0xFFFFFFFF)
    return table


_OGG_TABLE = _ogg_table()
_YP_ANSWER = b"YPResponse: 1\r\nSID: 1\r\nTouchFreq: 30"
Stream = Mpeg | Opus
Made = TypeVar("Made")


class Checker:
    """What a listener has got: the stream's opening, then every block from some block on."""

    def __init__(self, stream: Stream) -> None:
        """Expect the beginning."""
        self._stream = stream
        self._pending = b""
        self._opened = not stream.opening
        self._last: int | None = None
        self.blocks = 0

    def feed(self, data: bytes) -> None:
        """Check what has come; raise `ValueError` if it is not what must come next."""
        data, size = self._pending + data, self._stream.size
        if not self._opened:
            opening = self._stream.opening
            if not data.startswith(opening[: len(data)]):
                raise ValueError("the stream does not begin as it must")
            self._opened = len(data) >= len(opening)
            data = data[len(opening) :] if self._opened else data
        at = 0
        if self._opened and self._last is None:
            at = data.find(self._stream.mark)
            at = max(0, len(data) - len(self._stream.mark)) if at < 0 else at
        while self._opened and len(data) - at >= size and data.startswith(self._stream.mark, at):
            self._check(data[at : at + size])
            at += size
        if self._last is not None and len(data) - at >= size:
            raise ValueError(f"after block {self._last} comes no block")
        self._pending = data[at:]

    def _check(self, block: bytes) -> None:
        number = self._stream.number(block)
        if block != self._stream.block(number):
            raise ValueError(f"block {number} is damaged")
        if self._last is not None and number != self._last + 1:
            raise ValueError(f"after block {self._last} comes {number}")
        self._last = number
        self.blocks += 1


class Titles:
    """Takes what is said of a stream out of it: after each so many bytes a length, and a text."""

    def __init__(self, interval: int) -> None:
        """Say after how many bytes."""
        self._interval = self._left = interval
        self._pending = b""
        self.last = ""

    def without(self, data: bytes) -> bytes:
        """Return the stream's own bytes of what has come."""
        data, parts = self._pending + data, []
        while data:
            parts.append(data[: self._left])
            data, self._left = data[self._left :], self._left - len(parts[-1])
            if self._left or not data:
                break
            length = 16 * data[0]
            if len(data) <= length:
                break
            if length:
                self.last = data[1 : 1 + length].rstrip(b"\0").decode()
            data, self._left = data[1 + length :], self._interval
        self._pending = data
        return b"".join(parts)


class Listener:
    """Somebody who listens for ever, and how long he has waited for more at most."""

    def __init__(self, stream: Stream, is_private: bool = False) -> None:
        """Has heard nothing yet."""
        self.checker = Checker(stream)
        self.is_in = False
        """Was let in."""
        self.is_private = is_private
        """By TLS."""
        self.silence = 0.0
        self.stream = stream


class Radio:
    """Sources, listeners and readers at a running Icecast, and the servers that it asks."""

    def __init__(self, listeners: int, bytes_per_s: int) -> None:
        """Say how many listen to each of the streams."""
        self._port = self._private_port = 0
        self._rate = bytes_per_s
        self._sources: tuple[Stream, ...] = (Mpeg("/stream.mp3"), Opus("/stream.ogg"))
        self._streams: tuple[Stream, ...] = (*self._sources, Mpeg(RELAYED))
        self.listeners = [Listener(stream) for stream in self._streams for _ in range(listeners)]
        self.listeners += [Listener(stream, is_private=True) for stream in self._streams]
        self.complaints: list[str] = []
        self.requests = 0
        self.asked: Counter[str] = Counter()
        """What Icecast has asked of others: `/master` to relay, `/auth` of who may listen, …"""
        self.titles = 0
        """Of which a stream was said to have them."""
        self.events = 0
        """Of the statistics, as a client of `STATS` gets them."""
        self._may_answer = asyncio.Event()
        self._may_come = asyncio.Semaphore(COME_AT_ONCE)
        self._wanted: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Radio:
        """Begin to serve what Icecast will ask for."""
        self._may_answer.set()
        self._thread.start()
        return self

    def serve_others(self) -> int:
        """Serve what Icecast asks for; return the port."""
        return self._run(self._serve_others())

    def begin(self, port: int, private_port: int) -> None:
        """Begin to stream to an Icecast, and to listen."""
        self._port, self._private_port = port, private_port
        for stream in self._sources:
            self._run(self._begin(stream))
        self._run(self._known())
        for listener in self.listeners:
            self._go_on(self._listen, listener)
        self._run(self._all_are_in())
        for stream in self._streams:
            self._go_on(self._come_and_go, stream)
        for page in (self._status_page, self._status_json, self._admin_stats):
            self._go_on(self._read_again_and_again, page)
        self._go_on(self._told_of_changes)
        self._go_on(self._read_titles)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop all of it; what ends now is no complaint."""
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(TIMEOUT_S)

    def wait_for(self, blocks: int) -> None:
        """Wait until every listener has got that many blocks more, and some pages were read."""
        targets = [listener.checker.blocks + blocks for listener in self.listeners]
        requests, events = self.requests + 10, self.events + 1
        deadline = time.monotonic() + TIMEOUT_S
        while not self.complaints:
            late = sum(
                listener.checker.blocks < target
                for listener, target in zip(self.listeners, targets, strict=True)
            )
            if late == 0 and self.requests >= requests and self.events >= events:
                return
            if time.monotonic() > deadline:
                self.complaints.append(f"{late} listeners wait, {self.requests} requests answered")
                return
            time.sleep(0.01)

    @contextlib.contextmanager
    def silent_authenticator(self) -> Iterator[None]:
        """Have Icecast wait for an answer about a listener meanwhile."""
        answered = self._run(self._answer_no_more())
        deadline = time.monotonic() + TIMEOUT_S
        while self.asked["/auth"] == answered:
            if time.monotonic() > deadline:
                raise SystemExit("nobody is asked about a listener")
            time.sleep(0.01)
        yield
        self._loop.call_soon_threadsafe(self._may_answer.set)

    def blocks(self) -> int:
        """Return how many blocks all listeners together have got."""
        return sum(listener.checker.blocks for listener in self.listeners)

    def longest_silence_ms(self) -> float:
        """Return how long a listener waited for more at most since this was asked before."""
        longest = max(listener.silence for listener in self.listeners)
        for listener in self.listeners:
            listener.silence = 0.0
        return longest * 1000

    # ---- in the event loop

    def _run(self, what: Coroutine[None, None, Made]) -> Made:
        """Have something done in the event loop, and wait until it is."""
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(TIMEOUT_S)

    async def _serve_others(self) -> int:
        server = await asyncio.start_server(self._other, "127.0.0.1", 0)
        return int(server.sockets[0].getsockname()[1])

    async def _answer_no_more(self) -> int:
        self._may_answer.clear()
        return self.asked["/auth"]

    async def _other(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Be the server that is relayed, the one that knows who may listen, or a directory."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                path = head.split()[1]
                self.asked[path] += 1
                length = re.search(r"(?i)^content-length: (\d+)", head, re.MULTILINE)
                await reader.readexactly(int(length[1]) if length else 0)
                if path == "/master":
                    writer.write(b"HTTP/1.0 200 OK\r\nContent-Type: audio/mpeg\r\n\r\n")
                    await self._stream_to(writer, Mpeg(RELAYED))
                if path == "/auth":
                    await self._may_answer.wait()
                said = b"icecast-auth-user: 1" if path == "/auth" else _YP_ANSWER
                writer.write(b"HTTP/1.1 200 OK\r\n%s\r\nContent-Length: 0\r\n\r\n" % said)

    async def _begin(self, stream: Stream) -> None:
        begun = asyncio.Event()
        self._start(self._source, stream, begun)
        await begun.wait()

    def _go_on(self, client: Callable[..., Awaitable[None]], *arguments: object) -> None:
        self._loop.call_soon_threadsafe(lambda: self._start(client, *arguments))

    def _start(self, client: Callable[..., Awaitable[None]], *arguments: object) -> None:
        self._wanted.add(asyncio.ensure_future(self._watched(client, *arguments)))

    async def _watched(self, client: Callable[..., Awaitable[None]], *arguments: object) -> None:
        try:
            await client(*arguments)
        except (OSError, ValueError, EOFError) as error:
            what = client.__name__.strip("_").replace("_", " ")
            self.complaints.append(f"{what}: {type(error).__name__}: {str(error)[:300]}")

    async def _stop(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(
        self, request: str, *headers: str, is_private: bool = False
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Send a request; return the connection when it was answered with 200."""
        port = self._private_port if is_private else self._port
        tls = _any_certificate() if is_private else None
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
        lines = [request, "Host: 127.0.0.1", *headers, "", ""]
        writer.write("\r\n".join(lines).encode())
        answer = await reader.readuntil(b"\r\n\r\n")
        if answer.split(b" ")[1] != b"200":
            raise ValueError(f"{request} was answered {answer.splitlines()[0]!r}")
        return reader, writer

    async def _source(self, stream: Stream, begun: asyncio.Event) -> None:
        """Log in as a source, and stream."""
        _, writer = await self._ask(
            f"PUT {stream.mount} HTTP/1.0",
            authorization("source"),
            f"Content-Type: {stream.content_type}",
            "Ice-Public: 1",
        )
        writer.write(stream.opening)
        begun.set()
        await self._stream_to(writer, stream)

    async def _stream_to(self, writer: asyncio.StreamWriter, stream: Stream) -> None:
        """Stream at a steady rate; behind time, as after a pause, catch up."""
        start, sent = time.monotonic(), 0
        while True:
            due = (time.monotonic() - start) * self._rate / stream.size
            while sent < due and not writer.is_closing():
                writer.write(stream.block(sent))
                sent += 1
            await writer.drain()
            await asyncio.sleep(TICK_S)

    async def _listen(self, listener: Listener) -> None:
        request = f"GET {listener.stream.mount} HTTP/1.0"
        async with self._may_come:
            reader, _ = await self._ask(request, is_private=listener.is_private)
        listener.is_in = True
        last = time.monotonic()
        while data := await reader.read(65536):
            now = time.monotonic()
            listener.silence = max(listener.silence, now - last)
            last = now
            listener.checker.feed(data)
        raise EOFError(f"{listener.stream.mount} ended")

    async def _all_are_in(self) -> None:
        """Wait until everybody who listens for ever was let in."""
        while not self.complaints and not all(each.is_in for each in self.listeners):
            await asyncio.sleep(TICK_S)

    async def _come_and_go(self, stream: Stream) -> None:
        """Listen for a while, again and again."""
        while True:
            reader, writer = await self._ask(f"GET {stream.mount} HTTP/1.0")
            checker = Checker(stream)
            while checker.blocks < 20:
                data = await reader.read(65536)
                if not data:
                    raise EOFError(f"{stream.mount} ended")
                checker.feed(data)
            writer.close()
            self.requests += 1

    async def _read_again_and_again(self, page: Callable[[], Awaitable[None]]) -> None:
        while True:
            await page()
            self.requests += 1
            await asyncio.sleep(TICK_S)

    async def _page(self, path: str, *headers: str) -> str:
        reader, writer = await self._ask(f"GET {path} HTTP/1.0", *headers)
        text = (await reader.read()).decode()
        writer.close()
        return text

    async def _known(self) -> None:
        """Wait until the statistics, which a thread of their own writes, know the streams."""
        while True:
            text = await self._page("/admin/stats", _ADMIN)
            if all(f'<source mount="{stream.mount}"' in text for stream in self._streams):
                return
            await asyncio.sleep(TICK_S)

    async def _status_page(self) -> None:
        """Read the page that a style sheet makes."""
        if RELAYED not in (text := await self._page("/status.xsl")) or "</html>" not in text:
            raise ValueError(f"the status page is {text!r}")

    async def _status_json(self) -> None:
        stats = json.loads(await self._page("/status-json.xsl"))
        urls = [source["listenurl"] for source in stats["icestats"]["source"]]
        if not all(any(url.endswith(stream.mount) for url in urls) for stream in self._streams):
            raise ValueError(f"the status is {stats}")

    async def _read_titles(self) -> None:
        """Listen, have the title changed again and again, and wait until it is heard."""
        request = (f"GET {self._sources[0].mount} HTTP/1.0", "Icy-MetaData: 1")
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write("\r\n".join([*request, "", ""]).encode())
        answer = (await reader.readuntil(b"\r\n\r\n")).decode()
        interval = re.search(r"(?i)^icy-metaint:\s*(\d+)", answer, re.MULTILINE)
        if interval is None:
            raise ValueError(f"no titles come with {answer!r}")
        titles, checker = Titles(int(interval[1])), Checker(self._sources[0])
        while True:
            self.titles += 1
            song = f"title-{self.titles}"
            path = f"/admin/metadata?mount={self._sources[0].mount}&mode=updinfo&song={song}"
            await self._page(path, _ADMIN)
            while not titles.last.startswith(f"StreamTitle='{song}';"):
                data = await reader.read(65536)
                if not data:
                    raise EOFError("the stream with titles ended")
                checker.feed(titles.without(data))

    async def _told_of_changes(self) -> None:
        """Be told of each change of the statistics; none may be missing."""
        reader, _ = await self._ask("STATS / HTTP/1.0", _ADMIN)
        last = None
        while line := (await reader.readline()).decode():
            self.events += 1
            if found := re.match(r"EVENT global client_connections (\d+)$", line):
                if last not in (None, int(found[1]) - 1):
                    raise ValueError(f"connection {found[1]} is told of after {last}")
                last = int(found[1])
        raise EOFError("the statistics ended")

    async def _admin_stats(self) -> None:
        text = await self._page("/admin/stats", _ADMIN)
        if not all(f'<source mount="{stream.mount}"' in text for stream in self._streams):
            raise ValueError(f"the statistics are {text!r}")


def _any_certificate() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def authorization(user: str) -> str:
    """Return the header with which a user says who he is."""
    return "Authorization: Basic " + base64.b64encode(f"{user}:{PASSWORD}".encode()).decode()


_ADMIN = authorization("admin")


def updated_listeners(port: int, mount: str) -> tuple[int, int]:
    """Return how many listen, and how many of them the variant with the fields has taken over."""
    with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as connection:
        request = f"GET /admin/listclients?mount={mount} HTTP/1.0\r\n{_ADMIN}\r\n\r\n"
        connection.sendall(request.encode())
        answer = _read_to_end(connection)
    return answer.count(b"<listener>"), answer.count(b"<Updated>1</Updated>")


class HalfSent:
    """A request of which a part was sent."""

    def __init__(self, port: int) -> None:
        """Send that part."""
        self._socket = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
        self._socket.sendall(b"GET /status-json.xsl HT")

    def finish(self) -> bool:
        """Send the rest; return whether the answer is right."""
        with self._socket:
            self._socket.sendall(b"TP/1.0\r\n\r\n")
            answer = _read_to_end(self._socket)
        return answer.startswith(b"HTTP/1.0 200 ") and b'"icestats"' in answer


class HalfRead:
    """A file of which a part was read."""

    def __init__(self, port: int, file: Path) -> None:
        """Ask for it, and read the beginning."""
        self._expected = hashlib.sha256(file.read_bytes()).hexdigest()
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.settimeout(TIMEOUT_S)
        self._socket.connect(("127.0.0.1", port))
        self._socket.sendall(b"GET /%s HTTP/1.0\r\n\r\n" % file.name.encode())
        self._answer = self._socket.recv(2048)

    def finish(self) -> bool:
        """Read the rest; return whether it is the file."""
        with self._socket:
            answer = self._answer + _read_to_end(self._socket)
        return hashlib.sha256(answer.partition(b"\r\n\r\n")[2]).hexdigest() == self._expected


def _read_to_end(connection: socket.socket) -> bytes:
    parts = []
    with contextlib.suppress(TimeoutError):
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)
