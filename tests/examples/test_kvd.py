"""The key-value server as an ordinary program, with sanitizers: what its clients may rely on."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable

import pytest
import redis

VERSIONS = ("v1", "v2", "v3")
Start = Callable[[str], int]


@pytest.fixture(params=VERSIONS)
def port(request: pytest.FixtureRequest, kvd_port: Start) -> int:
    return kvd_port(request.param)


@pytest.mark.parametrize("protocol", [2, 3])
def test_commands(port: int, protocol: int) -> None:
    with redis.Redis(port=port, protocol=protocol) as client:
        assert client.ping()
        assert client.set("a", "1")
        assert client.get("a") == b"1"
        assert client.get("none") is None
        assert client.incr("a") == 2
        assert client.incrby("a", 40) == 42
        assert client.decr("a") == 41
        assert client.execute_command("DECR", "a") == 40
        assert client.incr("a") == 41
        assert client.set("a", "x", nx=True) is None
        assert client.set("new", "x", xx=True) is None
        assert client.set("a", "y", get=True) == b"41"
        assert client.append("s", "abc") == 3
        assert client.append("s", "def") == 6
        assert client.strlen("s") == 6
        assert client.mset({"m1": "1", "m2": "2"})
        assert client.mget(["m1", "none", "s"]) == [b"1", None, b"abcdef"]
        assert client.exists("m1", "m2", "none") == 2
        assert client.delete("m1", "m2", "none") == 2
        assert sorted(client.keys("*")) == [b"a", b"s"]
        assert client.keys("[a-c]") == [b"a"]
        assert client.keys("[^a]") == [b"s"]
        assert client.dbsize() == 2
        assert client.client_setname("joe")
        assert client.client_getname() in {"joe", b"joe"}
        assert len(client.command()) == client.command_count()
        assert client.info()["db0"] == {"keys": 2}
        assert client.flushall()
        assert client.dbsize() == 0


def test_expiry(port: int) -> None:
    with redis.Redis(port=port, protocol=2) as client:
        client.set("soon", "x", px=30)
        client.set("late", "x", ex=100)
        assert client.ttl("late") == 100
        assert client.ttl("none") == -2
        assert client.persist("late")
        assert client.ttl("late") == -1
        assert client.expire("late", 10)
        assert 9000 < client.pttl("late") <= 10000
        time.sleep(0.05)
        assert client.get("soon") is None
        client.set("unasked", "x", px=1)
        deadline = time.monotonic() + 10
        while client.dbsize() > 1 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert client.keys("*") == [b"late"]
        assert client.expire("late", 0)
        assert client.dbsize() == 0


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("INCR", "text"), "value is not an integer"),
        (("SET", "a", "b", "NX", "XX"), "syntax error"),
        (("SET", "a", "b", "EX"), "syntax error"),
        (("SET", "a", "b", "EX", "-1"), "invalid expire time"),
        (("GET",), "wrong number of arguments for 'get'"),
        (("NOPE", "x"), "unknown command 'NOPE'"),
        (("SELECT", "1"), "DB index is out of range"),
        (("HELLO", "4"), "unsupported protocol"),
        (("MSET", "a", "b", "c"), "wrong number of arguments"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_wrong_commands_are_refused(
    command: tuple[str, ...], message: str, kvd_port: Start
) -> None:
    with redis.Redis(port=kvd_port("v3"), protocol=2) as client:
        client.set("text", "no number")
        with pytest.raises(redis.ResponseError, match=message):
            client.execute_command(*command)
        assert client.ping()


def test_incr_does_not_overflow(port: int) -> None:
    with redis.Redis(port=port, protocol=2) as client:
        client.set("most", str(2**63 - 1))
        with pytest.raises(redis.ResponseError, match="out of range"):
            client.incr("most")
        assert client.get("most") == str(2**63 - 1).encode()


def test_pipelines_and_big_values(port: int) -> None:
    with redis.Redis(port=port, protocol=2) as client:
        big = random.Random(1).randbytes(5_000_000)
        assert client.set("big", big)
        assert client.get("big") == big
        pipe = client.pipeline(transaction=False)
        for number in range(3000):
            pipe.set(f"k{number}", f"v{number}")
            pipe.get(f"k{number}")
        assert pipe.execute()[1::2] == [f"v{number}".encode() for number in range(3000)]


def test_a_client_that_does_not_read_holds_nobody_up(port: int) -> None:
    value = b"x" * 1_000_000
    with (
        redis.Redis(port=port, protocol=2) as client,
        socket.create_connection(("127.0.0.1", port)) as slow,
    ):
        client.set("big", value)
        slow.sendall(b"GET big\r\n" * 30 + b"PING\r\n")
        for _ in range(100):
            assert client.ping()
        wanted = 30 * (len(b"$1000000\r\n\r\n") + len(value)) + len(b"+PONG\r\n")
        slow.settimeout(20)
        received = bytearray()
        while len(received) < wanted:
            received += slow.recv(1 << 20)
        assert received.endswith(b"x\r\n+PONG\r\n")


def test_requests_may_come_byte_by_byte(port: int) -> None:
    request = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$3\r\na\0b\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in request:
            client.send(bytes([byte]))
        client.settimeout(10)
        received = b""
        while len(received) < len(b"+OK\r\n$3\r\na\0b\r\n"):
            received += client.recv(100)
        assert received == b"+OK\r\n$3\r\na\0b\r\n"


@pytest.mark.parametrize(
    "nonsense",
    [
        b"*x\r\n",
        b"*1\r\n$-5\r\n",
        b"*1\r\nfoo\r\n",
        b"*2000000\r\n",
        b"x" * 70000,
        b"*1\r\n$9e9\r\n",
    ],
    ids=range(6),
)
def test_nonsense_ends_the_connection_only(nonsense: bytes, kvd_port: Start) -> None:
    port = kvd_port("v3")
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.settimeout(10)
        client.sendall(nonsense)
        assert client.recv(200).startswith(b"-ERR Protocol error")
        assert client.recv(200) == b""
    with redis.Redis(port=port, protocol=2) as client:
        assert client.ping()


def test_tables_keep_what_is_put_into_them(port: int) -> None:
    """Random sets, deletes and expiries against a dict of Python."""
    chance = random.Random(7)
    model: dict[str, str] = {}
    with redis.Redis(port=port, protocol=2) as client:
        for _ in range(30):
            pipe = client.pipeline(transaction=False)
            for _ in range(200):
                key = f"k{chance.randrange(400)}"
                if chance.random() < 0.4:
                    model.pop(key, None)
                    pipe.delete(key)
                else:
                    model[key] = str(chance.random())
                    pipe.set(key, model[key])
            pipe.execute()
            assert client.dbsize() == len(model)
        found = client.mget([f"k{number}" for number in range(400)])
        wanted = [model.get(f"k{number}") for number in range(400)]
        assert found == [value and value.encode() for value in wanted]


def test_the_digest_is_of_keys_values_and_expiry(port: int) -> None:
    with redis.Redis(port=port, protocol=2) as client:
        client.mset({"a": "1", "b": "2"})
        digest = client.execute_command("DEBUG", "DIGEST")
        client.set("a", "2")
        assert client.execute_command("DEBUG", "DIGEST") != digest
        client.flushall()
        client.mset({"b": "2", "a": "1"})
        assert client.execute_command("DEBUG", "DIGEST") == digest


def test_what_later_versions_add(kvd_port: Start) -> None:
    with redis.Redis(port=kvd_port("v2"), protocol=2) as second:
        second.set("a", "1")
        assert second.get("a") == b"1"
        assert second.execute_command("OBJECT", "FREQ", "a") == 1
        assert second.touch("a", "none") == 1
        assert second.type("a") == b"string"
        assert len(second.client_list()) == 1
    with redis.Redis(port=kvd_port("v3"), protocol=2) as third:
        assert third.randomkey() is None
        third.set("a", "1")
        assert third.randomkey() == b"a"
        assert third.getdel("a") == b"1"
        assert third.dbsize() == 0


def test_transactions(port: int) -> None:
    with redis.Redis(port=port, protocol=2, single_connection_client=True) as client:
        pipe = client.pipeline(transaction=True)
        pipe.set("a", "1").incr("a").mget(["a", "none"])
        assert pipe.execute() == [True, 2, [b"2", None]]
        with pytest.raises(redis.ResponseError, match="EXEC without MULTI"):
            client.execute_command("EXEC")
        with pytest.raises(redis.ResponseError, match="DISCARD without MULTI"):
            client.execute_command("DISCARD")
        client.execute_command("MULTI")
        with pytest.raises(redis.ResponseError, match="can not be nested"):
            client.execute_command("MULTI")
        with pytest.raises(redis.ResponseError, match="wrong number of arguments"):
            client.execute_command("GET")
        with pytest.raises(redis.ResponseError, match="discarded because of previous errors"):
            client.execute_command("EXEC")
        client.execute_command("MULTI")
        client.execute_command("PING")
    with redis.Redis(port=port, protocol=2) as client:  # its transaction went with the other one
        assert client.get("a") == b"2"
        assert client.execute_command("DBSIZE") == 1
