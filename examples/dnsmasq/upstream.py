"""The name server that dnsmasq asks: it can be told to hold its answers, or to give none.

In: questions over UDP, from dnsmasq only. Out: answers made up from the question's name. Used by
scenario.py.
"""

from __future__ import annotations

import contextlib
import enum
import socket
import threading
import time
from collections import Counter

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

ADDRESS = ("127.1.1.1", 53)
ZONE = dns.name.from_text("up.example.")
ROOT = dns.name.from_text("example.")
REVERSE = dns.name.from_text("100.51.198.in-addr.arpa.")
TTL_S = 3600
SOA = f"ns.{ZONE} admin.{ZONE} 1 3600 600 86400 {TTL_S}"
TEXTS = {"short": "ten letters", "long": "a text that is stored in several blocks " * 5}


class Mode(enum.Enum):
    """What is done with a question."""

    ANSWER = 1
    HOLD = 2
    """It is answered when `release` is called."""
    SILENT = 3


class Upstream:
    """A thread that answers; a context manager."""

    def __init__(self) -> None:
        self.mode = Mode.ANSWER
        self.asked: Counter[str] = Counter()
        self._held: dict[str, list[tuple[dns.message.Message, tuple[str, int]]]] = {}
        self._lock = threading.Lock()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(ADDRESS)
        self._socket.settimeout(0.1)
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Upstream:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()
        self._socket.close()

    def wait_for_held(self, count: int, timeout_s: float) -> bool:
        """Wait until so many different names are held; tell whether they came."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            with self._lock:
                if len(self._held) >= count:
                    return True
            time.sleep(0.01)
        return False

    def release(self) -> None:
        """Answer what is held: each name once, as it was asked first."""
        with self._lock:
            held, self._held = self._held, {}
        for questions in held.values():
            self._send(*questions[0])

    def _serve(self) -> None:
        while not self._ends.is_set():
            with contextlib.suppress(TimeoutError):
                data, client = self._socket.recvfrom(65536)
                self._receive(dns.message.from_wire(data), client)

    def _receive(self, query: dns.message.Message, client: tuple[str, int]) -> None:
        # dnsmasq mixes capital letters into a name, so that nobody can guess the question.
        name = query.question[0].name.to_text().lower()
        self.asked[name] += 1
        if self.mode is Mode.ANSWER:
            self._send(query, client)
        elif self.mode is Mode.HOLD:
            with self._lock:
                self._held.setdefault(name, []).append((query, client))

    def _send(self, query: dns.message.Message, client: tuple[str, int]) -> None:
        self._socket.sendto(answer(query).to_wire(), client)


def answer(query: dns.message.Message) -> dns.message.Message:
    """Return the answer to a question: what the name begins with says what there is."""
    response = dns.message.make_response(query, recursion_available=True)
    question = query.question[0]
    kind = question.name.to_text().lower().partition(".")[0].rstrip("0123456789")
    is_known = any(map(question.name.is_subdomain, (ZONE, REVERSE)))
    if kind == "nothing" or not is_known:
        response.set_rcode(dns.rcode.NXDOMAIN)
    elif kind == "alias":
        _add_chain(response, question.name, question.rdtype)
    else:
        text = content(question.name, question.rdtype)
        if text is not None:
            _add(response, question.name, question.rdtype, text)
    if not response.answer:
        apex = next((z for z in (ZONE, REVERSE) if question.name.is_subdomain(z)), ROOT)
        response.authority.append(dns.rrset.from_text(apex, TTL_S, "IN", "SOA", SOA))
    return response


def content(name: dns.name.Name, kind: dns.rdatatype.RdataType) -> str | None:
    """Return what records of a name say, None if it has none of the kind."""
    text = name.to_text().lower()
    number = sum(text.encode()) % 250
    match kind:
        case dns.rdatatype.A:
            return f"198.51.100.{number}"
        case dns.rdatatype.AAAA:
            return None if text.startswith("only4") else f"2001:db8::{number:x}"
        case dns.rdatatype.PTR:
            return f"host{number}.{ZONE}"
        case dns.rdatatype.TXT:
            found = TEXTS.get(text.partition(".")[0])
            return f'"{found}"' if found else None
        case _:
            return None


def _add_chain(
    response: dns.message.Message, name: dns.name.Name, kind: dns.rdatatype.RdataType
) -> None:
    """Add an alias of an alias of a name with an address."""
    for target in ("second", "third", "target-of-aliases"):
        next_name = dns.name.Name(
            (f"{target}-{name.labels[0].decode().lower()}".encode(), *ZONE.labels)
        )
        _add(response, name, dns.rdatatype.CNAME, next_name.to_text())
        name = next_name
    text = content(name, kind)
    if text is not None:
        _add(response, name, kind, text)


def _add(
    response: dns.message.Message, name: dns.name.Name, kind: dns.rdatatype.RdataType, text: str
) -> None:
    response.answer.append(
        dns.rrset.from_text(name, TTL_S, "IN", dns.rdatatype.to_text(kind), text)
    )
