"""Servers that fork: each process of the tree is updated by itself, under the load of clients."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from late import held_child

from kitsune_tool import channel
from kitsune_tool.errors import KitsuneError

FOLDER = Path(__file__).parent / "tree"
PATIENCE_S = 30


class Client:
    """A connection to the server, which a child of its own serves."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(PATIENCE_S)
        self._socket.connect(str(path))
        self._rest = b""

    def ask(self, line: str) -> str:
        """Send a line and return the answer."""
        self.tell(line)
        return self.answer()

    def tell(self, line: str) -> None:
        """Send a line; its answer is left to be read."""
        self._socket.sendall(line.encode() + b"\n")

    def answer(self) -> str:
        """Return the next answer."""
        while b"\n" not in self._rest:
            got = self._socket.recv(4096)
            assert got, "the server closed the connection"
            self._rest += got
        answer, _, self._rest = self._rest.partition(b"\n")
        return answer.decode()

    def pid(self) -> int:
        """Return the process that serves this client."""
        return int(self.ask("pid"))

    def close(self) -> None:
        """Let the child end."""
        self._socket.close()


@dataclass
class Load:
    """Clients that add one again and again, and see each sum."""

    path: Path
    stop: threading.Event = field(default_factory=threading.Event)
    wrong: list[str] = field(default_factory=list)
    served: int = 0

    def run(self) -> None:
        """Talk until told to stop; a new connection after some requests."""
        try:
            while not self.stop.is_set():
                client = Client(self.path)
                for expected in range(1, 20):
                    answer = client.ask("add 1")
                    if answer != str(expected):
                        self.wrong.append(answer)
                    self.served += 1
                    self.stop.wait(0.002)
                client.close()
        except (OSError, AssertionError) as error:
            self.wrong.append(repr(error))


@dataclass
class Tree:
    """A running server, its releases, and how to reach it."""

    server: Any
    scenario: Any
    path: Path
    stack: ExitStack

    def connect(self) -> Client:
        """Return a new client, whose child may not be there yet."""
        client = Client(self.path)
        self.stack.callback(client.close)
        return client

    def client(self) -> Client:
        """Return a new client, whose child has answered."""
        client = self.connect()
        client.pid()
        return client

    def kitsune(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        """Run a command with --json; return its exit status and its last line."""
        done = subprocess.run(
            [sys.executable, "-m", "kitsune_tool.cli", *arguments, "--json"],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            env={**os.environ, "KITSUNE_RUNTIME_DIR": str(self.path.with_name("run"))},
        )
        lines = done.stdout.splitlines()
        return done.returncode, json.loads(lines[-1]) if lines else {"text": done.stderr}

    def update(self, pid: int, version: str, *options: str) -> tuple[int, dict[str, Any]]:
        """Update a process, or with options more of them."""
        return self.kitsune("update", str(pid), str(self.scenario.release(version)), *options)

    def status(self, pid: int = 0) -> dict[str, Any]:
        """Return the answer about the server, or a child of it."""
        status, answer = self.kitsune("status", str(pid or self.server.pid))
        assert status == 0, answer
        found: dict[str, Any] = answer["programs"][0]
        return found

    def versions(self) -> dict[int, str]:
        """Return which version each child runs, as the status tells it."""
        return {child["pid"]: child["version"] for child in self.status()["children"]}


@pytest.fixture
def tree(
    built: Callable[..., Any], start: Callable[..., Any], tmp_path: Path
) -> Iterator[Callable[..., Tree]]:
    """Return what starts the server."""
    with ExitStack() as stack:

        def go(compiler: str = "gcc", **variables: str) -> Tree:
            scenario = built(FOLDER, compiler)
            path = tmp_path / "socket"
            variables = {"FAIL_FILE": str(tmp_path / "fail"), "SOCKET": str(path)} | variables
            server = start(scenario.release("1"), compiler, **variables)
            assert server.ask("version") == "1"
            return Tree(server, scenario, path, stack)

        yield go


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Callable[[], Load]]:
    """Return what starts busy clients; they end with the test, and must have seen nothing wrong."""
    loads: list[tuple[Load, threading.Thread]] = []

    def go() -> Load:
        each = Load(tmp_path / "socket")
        thread = threading.Thread(target=each.run)
        thread.start()
        loads.append((each, thread))
        return each

    yield go
    for each, _ in loads:
        each.stop.set()
    for each, thread in loads:
        thread.join(PATIENCE_S)
        assert not each.wrong, each.wrong
        assert each.served > 0


def until(condition: Callable[[], Any], what: str) -> Any:
    """Wait until `condition` returns something true, and return that."""
    end = time.monotonic() + PATIENCE_S
    while not (value := condition()):
        assert time.monotonic() < end, what
        time.sleep(0.01)
    return value


def test_each_child_is_updated_by_itself(
    tree: Callable[..., Tree], load: Callable[[], Load], tmp_path: Path
) -> None:
    """Child, grandchild and parent, in either order, with a rollback on the way."""
    running = tree()
    load()
    first, second = running.client(), running.client()
    assert first.ask("add 20") == "20"
    child, other, nested = first.pid(), second.pid(), int(first.ask("nest"))
    (tmp_path / "fail").write_text("session segv\n", encoding="ascii")
    status, answer = running.update(child, "2")
    assert (status, answer["code"], answer["pid"]) == (11, "K354", child)
    (tmp_path / "fail").unlink()
    for pid in (child, nested):
        status, answer = running.update(pid, "2")
        assert (status, answer["outcome"], answer["pid"]) == (0, "updated", pid), answer
    assert (first.ask("version"), second.ask("version")) == ("2 session", "1 session")
    assert (first.ask("extra"), second.ask("extra")) == ("40", "none")
    assert running.server.ask("version") == "1"
    versions = running.versions()
    assert (versions[child], versions[nested], versions[other]) == ("2", "2", "1")
    assert running.update(running.server.pid, "2")[0] == 0
    newcomer = running.client()
    assert newcomer.ask("version") == "2 session"
    assert running.versions()[newcomer.pid()] == "2"
    assert running.update(child, "2")[1]["outcome"] == "already-running"
    assert running.update(child, "3")[0] == 0
    assert running.update(other, "3")[1]["code"] == "K345"
    assert first.ask("add 2") == "22"
    history = [update["to"] for update in running.status(child)["updates"]]
    assert history == ["2", "2", "3"]


def test_a_child_that_ends_leaves_no_copy_of_itself_behind(tree: Callable[..., Tree]) -> None:
    """Whoever takes over the children of others would see it end, and may take it for its own."""
    running = tree()
    client = running.client()
    leaver = int(client.ask("nest leaver"))
    until(lambda: leaver in running.versions(), "its place")
    status, answer = running.update(leaver, "2")
    assert (status, client.ask("await leaver")) == (0, "alone"), answer


def test_a_child_has_threads_of_its_own(tree: Callable[..., Tree]) -> None:
    """It is asked for from outside and by one of its threads, while the main one sleeps."""
    running = tree()
    client = running.client()
    child = client.pid()
    assert [client.ask("thread") for _ in range(2)] == ["0", "0"]
    status, answer = running.update(child, "2")
    assert (status, answer["outcome"]) == (0, "updated"), answer
    assert client.ask(f"become {running.scenario.release('3')}") == "noted"
    until(lambda: running.versions()[child] == "3", "the child stays what it is")
    assert client.ask("version") == "1 session", "version 3 has the source of version 1"


def test_children_outlive_helper_and_parent(tree: Callable[..., Tree]) -> None:
    """A helper that is killed is replaced; one whose program ended speaks for the children."""
    running = tree()
    client = running.client()
    child, nested = client.pid(), int(client.ask("nest"))
    former = int(running.status()["helper"])
    os.kill(former, signal.SIGKILL)
    until(lambda: running.kitsune("status", str(child))[0] == 0, "another helper")
    assert running.update(child, "2")[0] == 0
    helper = running.status()["helper"]
    assert helper != former
    os.kill(running.server.pid, signal.SIGKILL)
    until(lambda: running.kitsune("status", str(child))[0] == 0, "the channel of the children")
    assert running.status(child)["helper"] == helper
    assert running.update(nested, "2")[0] == 0
    assert running.update(child, "3")[0] == 0
    assert client.ask("version") == "1 session"
    client.close()
    until(lambda: not Path(f"/proc/{helper}").exists(), "the helper's end")


def test_a_child_that_ends_or_is_stuck_is_told_of(
    tree: Callable[..., Tree], tmp_path: Path
) -> None:
    running = tree()
    client = running.client()
    child = client.pid()
    assert client.ask("stick") == "stuck"
    status, answer = running.update(child, "2", "--wait-ms", "100")
    assert (status, answer["code"]) == (12, "K361"), answer
    who = channel.Channel(tmp_path / "run", running.server.pid)
    words = ["update", str(running.scenario.release("2")), "0", "0", str(child)]

    def kill_when_asked(progress: dict[str, Any]) -> None:
        if progress["event"] == "requested":
            os.kill(child, signal.SIGKILL)

    answer = channel.ask(who, words, PATIENCE_S, kill_when_asked)
    assert (answer["outcome"], answer["code"], answer["pid"]) == ("error", "K363", child)
    status, answer = running.update(child, "2")
    assert (status, answer["code"]) == (13, "K300"), answer


def family(running: Tree) -> tuple[Client, Client, dict[str, int]]:
    """Return two clients and the processes of a tree of three generations."""
    first, second = running.client(), running.client()
    pids = {"child": first.pid(), "other": second.pid(), "nested": int(first.ask("nest"))}
    first.ask("add 7")
    until(lambda: pids["nested"] in running.versions(), "the place of the youngest")
    return first, second, pids | {"parent": running.server.pid}


def outcomes(answer: dict[str, Any], pids: dict[str, int]) -> dict[str, str]:
    """Return what became of the processes that are known by name."""
    found = {each["pid"]: each["outcome"] for each in answer["processes"]}
    return {name: found[pid] for name, pid in pids.items()}


@pytest.mark.parametrize(
    ("order", "compiler"),
    [
        ("parent-first", "gcc"),
        ("children-first", "gcc"),
        ("parent-first", "aarch64-linux-gnu-gcc"),
    ],
)
def test_a_whole_tree_is_updated_under_load(
    order: str, compiler: str, tree: Callable[..., Tree], load: Callable[[], Load]
) -> None:
    """Children that come and go meanwhile belong to it, too."""
    running = tree(compiler)
    first, second, pids = family(running)
    busy = [load(), load()]
    for version in ("2", "3"):
        enough = sum(each.served for each in busy) + 100
        status, answer = running.update(pids["parent"], version, "--tree", "--order", order)
        assert status == 0, json.dumps(answer)
        assert set(outcomes(answer, pids).values()) == {"updated"}, answer
        while sum(each.served for each in busy) < enough:
            assert not any(each.wrong for each in busy)
            time.sleep(0.01)
        assert set(running.versions().values()) == {version}
    assert (running.server.ask("version"), first.ask("version")) == ("1", "1 session")
    assert first.ask("add 1") == "8"
    status, answer = running.update(pids["parent"], "3", "--tree")
    assert (status, answer["outcome"]) == (0, "already-running")
    assert second.ask("add 1") == "1"


def test_a_place_that_another_process_takes_is_not_asked_for_the_one_before(
    tree: Callable[..., Tree],
) -> None:
    """Children that were checked end before they are asked, and newcomers have their places."""
    running = tree()
    parent, lasting = running.server.pid, running.client()
    passing = [(client, client.pid()) for client in [running.client() for _ in range(8)]]
    who = channel.Channel(running.path.with_name("run"), parent)
    words = ["update-tree", str(running.scenario.release("2")), "0", "0", "parent-first"]
    os.kill(parent, signal.SIGSTOP)

    def exchange(progress: dict[str, Any]) -> None:
        if progress["event"] == "checked":
            for client, child in passing:
                client.close()
                while Path(f"/proc/{child}").exists():
                    pass
                lasting.ask("nest")
            os.kill(parent, signal.SIGCONT)

    answer = channel.ask(who, words, PATIENCE_S, exchange)
    assert answer["outcome"] == "updated", answer
    assert set(running.versions().values()) == {"2"}
    assert len(running.versions()) == 1 + len(passing)


def test_a_child_that_runs_late_is_what_its_parent_was(tree: Callable[..., Tree]) -> None:
    """Its parent is in the next update, and through it, before the child takes its place."""
    running = tree()
    with held_child(running.server.pid) as held:
        client = running.connect()
        child = held.pid(PATIENCE_S)
        assert running.update(running.server.pid, "2")[0] == 0
    assert client.ask("version") == "1 session"
    assert running.versions()[child] == "1"
    old_one = running.status(child)["images"]
    assert [image["version"] for image in old_one] == ["1"], old_one
    status, answer = running.update(running.server.pid, "2", "--tree")
    assert (status, running.versions()[child]) == (0, "2"), answer
    assert client.ask("version") == "2 session"


def test_a_child_that_runs_late_belongs_to_the_tree(tree: Callable[..., Tree]) -> None:
    """Its parent waits at its commit already."""
    running = tree()
    who = channel.Channel(running.path.with_name("run"), running.server.pid)
    words = ["update-tree", str(running.scenario.release("2")), "0", "0", "parent-first"]
    with held_child(running.server.pid) as held:
        client = running.connect()
        child = held.pid(PATIENCE_S)

        def let_go(progress: dict[str, Any]) -> None:
            if progress["event"] == "ready":
                held.free()

        answer = channel.ask(who, words, PATIENCE_S, let_go)
    assert (answer["outcome"], running.versions()[child]) == ("updated", "2"), answer
    assert client.ask("version") == "2 session"


def test_a_new_child_that_needs_its_parent_comes_before_it(tree: Callable[..., Tree]) -> None:
    """Forked in the round, before its parent is asked: which answers it, and only then stands."""
    running = tree()
    parent, older = running.server.pid, running.client()
    first = older.pid()
    assert older.ask("stick") == "stuck"
    assert running.server.ask("answer children") == "3"
    who = channel.Channel(running.path.with_name("run"), parent)
    words = ["update-tree", str(running.scenario.release("2")), "0", "60000", "children-first"]
    younger: list[Client] = []
    consulted: list[int] = []

    def act(progress: dict[str, Any]) -> None:
        if progress["event"] == "checked":
            younger.append(running.client())
            assert younger[0].ask("consult") == "waiting"
            older.tell("")
        elif progress["event"] == "ready" and not consulted:
            consulted.append(consult_when_asked(who, younger[0], first))

    answer = channel.ask(who, words, PATIENCE_S, act)
    assert answer["outcome"] == "updated", answer
    assert (older.answer(), younger[0].answer()) == ("free", "answered")
    assert set(running.versions().values()) == {"2"}


@pytest.mark.parametrize("consult", ["consult", "consult without files"])
def test_a_call_that_comes_again_gets_what_it_waits_for(
    consult: str, tree: Callable[..., Tree]
) -> None:
    """Also in a process that may open no files: the kernel lets it poll none, either."""
    running = tree(KITSUNE_INTERRUPT="always")
    client = running.client()
    assert running.server.ask("answer children") == "3"
    # What it waits in is ended by the update, for which it is not ready: it asks its parent again
    # and again, which comes after it.
    assert client.ask(consult) == "waiting"
    status, answer = running.update(
        running.server.pid, "2", "--tree", "--order", "children-first", "--wait-ms", "20000"
    )
    assert (status, answer["outcome"]) == (0, "updated"), answer
    assert client.answer() == "answered"
    assert set(running.versions().values()) == {"2"}


def consult_when_asked(who: channel.Channel, client: Client, older: int) -> int:
    """Let the younger child, the client's, put its question once the round waits for it."""
    child = next(pid for pid in states(who) if pid not in (older, who.pid))
    until(lambda: states(who)[child] == "requested", "the child is asked")
    client.tell("")
    return child


def states(who: channel.Channel) -> dict[int, str]:
    """Return how far each process of a tree is."""
    whole = channel.ask(who, ["status"], PATIENCE_S)
    return {each["pid"]: each["state"] for each in (whole, *whole["children"])}


def test_a_parent_that_forks_after_it_was_asked_comes_later(tree: Callable[..., Tree]) -> None:
    """Its new child needs it: that it stands already would be the end of the round."""
    running = tree()
    parent, older = running.server.pid, running.client()
    first = older.pid()
    assert running.server.ask("answer children") == "3"
    assert running.server.ask("accept late") == "0"
    younger = running.connect()
    who = channel.Channel(running.path.with_name("run"), parent)
    words = ["update-tree", str(running.scenario.release("2")), "0", "60000", "children-first"]

    def act(progress: dict[str, Any]) -> None:
        if progress["event"] == "ready" and len(states(who)) == 2:
            until(lambda: states(who)[parent] == "requested", "the parent is asked")
            younger.tell("consult")
            running.server.send("")
            assert younger.answer() == "waiting"
            consult_when_asked(who, younger, first)

    answer = channel.ask(who, words, PATIENCE_S, act)
    assert answer["outcome"] == "updated", answer
    assert younger.answer() == "answered"
    assert older.ask("version") == "2 session"
    assert set(running.versions().values()) == {"2"}


def test_a_parent_with_threads_that_forks_comes_later(tree: Callable[..., Tree]) -> None:
    """Its threads stood with it when it put the update off, and go on."""
    running = tree()
    client = running.client()
    child = client.pid()
    assert client.ask("thread") == "0"
    assert client.ask("nest late") == "waiting"
    who = channel.Channel(running.path.with_name("run"), running.server.pid)
    words = ["update-tree", str(running.scenario.release("2")), "0", "60000", "children-first"]

    def act(progress: dict[str, Any]) -> None:
        if progress["event"] == "checked":
            until(lambda: states(who)[child] == "requested", "the child is asked")
            client.tell("")

    answer = channel.ask(who, words, PATIENCE_S, act)
    nested = int(client.answer())
    assert answer["outcome"] == "updated", answer
    assert (running.versions()[child], running.versions()[nested]) == ("2", "2")
    assert client.ask(f"become {running.scenario.release('3')}") == "noted"
    until(lambda: running.versions()[child] == "3", "the thread asks for another update")


def test_a_parent_that_always_forks_is_not_waited_for_for_ever(tree: Callable[..., Tree]) -> None:
    running = tree()
    client = running.client()
    assert running.server.ask("fork whenever woken") == "1"
    options = ("--tree", "--order", "children-first")
    status, answer = running.update(running.server.pid, "2", *options, "--wait-ms", "1000")
    assert (status, answer["code"], answer["process"]) == (12, "K361", running.server.pid), answer
    assert "has forked again and again for 1000 ms" in answer["reason"]
    assert client.ask("version") == "1 session"
    assert running.server.ask("fork whenever woken") == "0"
    status, answer = running.update(running.server.pid, "2", *options)
    assert (status, client.ask("version")) == (0, "2 session"), answer


def is_root() -> bool:
    """Tell whether rights can be given up at all."""
    return os.geteuid() == 0


needs_root = pytest.mark.skipif("not is_root()", reason="only root has rights to give up")


def test_a_child_of_a_bare_clone_belongs_to_the_tree(tree: Callable[..., Tree]) -> None:
    """Made by `syscall(SYS_clone)`, of which libc tells nobody; and its own child."""
    running = tree()
    client = running.client()
    cloned = int(client.ask("clone"))
    until(lambda: len(running.versions()) == 3, "the places of both")
    parents = {each["pid"]: each["parent"] for each in running.status()["children"]}
    assert parents[cloned] == client.pid()
    assert cloned in parents.values()
    assert running.update(cloned, "2")[0] == 0
    status, answer = running.update(running.server.pid, "2", "--tree")
    assert (status, set(running.versions().values())) == (0, {"2"}), answer


@needs_root
@pytest.mark.parametrize("order", ["parent-first", "children-first"])
def test_children_in_namespaces_of_their_own_belong_to_the_tree(
    order: str, tree: Callable[..., Tree]
) -> None:
    """To themselves they are processes 1 and 2, in a network where the helper does not listen."""
    running = tree()
    client = running.client()
    cloned = int(client.ask("clone elsewhere"))
    if cloned == -1:
        pytest.skip("this machine gives no namespaces")
    until(lambda: len(running.versions()) == 3, "the places of both")
    parents = {each["pid"]: each["parent"] for each in running.status()["children"]}
    (nested,) = (pid for pid, parent in parents.items() if parent == cloned)
    assert parents[cloned] == client.pid()
    numbers = re.findall(r"NSpid:\s+(\d+)\s+(\d+)", proc_status(cloned) + proc_status(nested))
    assert numbers == [(str(cloned), "1"), (str(nested), "2")]
    assert running.update(nested, "2", "--rehearse")[1]["outcome"] == "rehearsed"
    for pid in (nested, cloned):
        status, answer = running.update(pid, "2")
        assert (status, answer["pid"]) == (0, pid), answer
    for version in ("2", "3"):
        whole = ("--tree", "--order", order)
        status, answer = running.update(running.server.pid, version, *whole)
        assert (status, set(running.versions().values())) == (0, {version}), answer
    client.close()
    until(lambda: not running.versions(), "the end of the namespace")


def proc_status(pid: int) -> str:
    """Return what the kernel tells of a process."""
    return Path(f"/proc/{pid}/status").read_text(encoding="ascii")


@needs_root
def test_a_child_that_ends_with_its_namespace_before_it_runs_is_not_waited_for(
    tree: Callable[..., Tree],
) -> None:
    """Its parent was the first process there, and is killed after the fork."""
    running = tree()
    client = running.client()
    cloned = int(client.ask("clone and fork later"))
    if cloned == -1:
        pytest.skip("this machine gives no namespaces")
    until(lambda: cloned in running.versions(), "its place")
    with held_child(cloned) as held:
        assert client.ask("fork now") == "1"
        child = held.pid(PATIENCE_S)
        os.kill(cloned, signal.SIGKILL)
    until(lambda: not Path(f"/proc/{child}").exists(), "the end of the child that never ran")
    until(lambda: cloned not in running.versions(), "the end of the namespace")
    status, answer = running.update(running.server.pid, "2", "--tree")
    assert (status, client.ask("version")) == (0, "2 session"), answer


@needs_root
def test_a_child_that_has_other_users_is_told_of(tree: Callable[..., Tree]) -> None:
    """It and its child cannot be updated: nor is the tree, until they have ended."""
    running = tree()
    parent, client, other = running.server.pid, running.client(), running.client()
    cloned = int(client.ask("clone stranger"))
    if cloned == -1:
        pytest.skip("this machine gives no namespaces")
    assert running.status()["left_out"] == 1
    assert set(running.versions()) == {client.pid(), other.pid()}
    assert running.update(cloned, "2")[1]["code"] == "K302"
    status, answer = running.update(parent, "2", "--tree")
    assert (status, answer["code"], answer["process"]) == (16, "K370", cloned), answer
    assert "made by a bare clone, in a namespace" in answer["reason"]
    assert (client.ask("version"), running.server.ask("version")) == ("1 session", "1")
    client.close()
    until(lambda: running.status()["left_out"] == 0, "the end of the namespace")
    status, answer = running.update(parent, "2", "--tree")
    assert (status, other.ask("version")) == (0, "2 session"), answer


@pytest.mark.parametrize("order", ["parent-first", "children-first"])
@pytest.mark.parametrize("place", ["serve", "session", "nested"])
def test_the_first_failure_undoes_the_whole_tree(
    order: str, place: str, tree: Callable[..., Tree], tmp_path: Path
) -> None:
    running = tree()
    first, second, pids = family(running)
    (tmp_path / "fail").write_text(f"{place} segv\n", encoding="ascii")
    status, answer = running.update(pids["parent"], "2", "--tree", "--order", order)
    assert (status, answer["outcome"], answer["code"]) == (11, "rolled-back", "K354"), answer
    assert "updated" not in outcomes(answer, pids).values()
    (tmp_path / "fail").unlink()
    assert set(running.versions().values()) == {"1"}
    assert (first.ask("version"), second.ask("version")) == ("1 session", "1 session")
    assert (running.server.ask("version"), first.ask("add 1")) == ("1", "8")
    status, answer = running.update(pids["parent"], "2", "--tree", "--order", order)
    assert set(outcomes(answer, pids).values()) == {"updated"}, answer


def test_a_process_that_does_not_come_undoes_the_whole_tree(tree: Callable[..., Tree]) -> None:
    """Whether it is stopped by itself, waits for one that stands already, or ends meanwhile."""
    running = tree()
    first, second, pids = family(running)
    assert second.ask("stick") == "stuck"
    for order in ("parent-first", "children-first"):
        options = ("--tree", "--wait-ms", "2000", "--order", order)
        status, answer = running.update(pids["parent"], "2", *options)
        assert (status, answer["code"], answer["process"]) == (12, "K361", pids["other"]), answer
        assert first.ask("version") == "1 session"
        assert running.server.ask("version") == "1"
    who = channel.Channel(running.path.with_name("run"), pids["parent"])
    words = ["update-tree", str(running.scenario.release("2")), "0", "0", "parent-first"]

    def kill_one_that_stands(progress: dict[str, Any]) -> None:
        if progress["event"] == "ready" and progress["pid"] == pids["child"]:
            os.kill(pids["child"], signal.SIGKILL)

    answer = channel.ask(who, words, PATIENCE_S, kill_one_that_stands)
    ended = (answer["outcome"], answer["code"], answer["process"])
    assert ended == ("error", "K363", pids["child"]), answer
    assert running.versions()[pids["other"]] == "1"
    assert running.server.ask("version") == "1"

    def kill_one_that_comes(progress: dict[str, Any]) -> None:
        if progress["event"] == "ready" and progress["pid"] == pids["parent"]:
            os.kill(pids["other"], signal.SIGKILL)

    answer = channel.ask(who, words, PATIENCE_S, kill_one_that_comes)
    known = {name: pids[name] for name in ("parent", "other")}
    assert outcomes(answer, known) == {"parent": "updated", "other": "ended"}


def reasons(running: Tree, pid: int) -> list[str]:
    """Return why the updates of a process came to nothing, the last one at the end."""
    return [update["reason"] for update in running.status(pid)["updates"] if "reason" in update]


def settled(running: Tree) -> bool:
    """Tell whether no process has an update under way."""
    whole = running.status()
    return {each["state"] for each in (whole, *whole["children"])} <= {"idle", "updated"}


def test_a_held_process_does_not_wait_for_ever(tree: Callable[..., Tree]) -> None:
    """Its limit runs out, or the helper dies, and all go on as they were."""
    running = tree()
    first, second, pids = family(running)
    assert second.ask("stick") == "stuck"
    options = ("--tree", "--limit-ms", "3000")
    status, answer = running.update(pids["parent"], "2", *options)
    assert (status, answer["code"]) == (11, "K369"), answer
    assert answer["process"] in (pids["parent"], pids["child"])  # who looks first
    assert first.ask("version") == "1 session"
    helper = int(running.status()["helper"])
    who = channel.Channel(running.path.with_name("run"), pids["parent"])
    words = ["update-tree", str(running.scenario.release("2")), "0", "0", "parent-first"]

    def kill_when_ready(progress: dict[str, Any]) -> None:
        if progress["event"] == "ready":
            os.kill(helper, signal.SIGKILL)

    with pytest.raises(KitsuneError):
        channel.ask(who, words, PATIENCE_S, kill_when_ready)
    assert running.server.ask("version") == "1"
    until(lambda: running.kitsune("status", str(pids["child"]))[0] == 0, "another helper")
    assert set(running.versions().values()) == {"1"}

    def blamed() -> list[str]:
        held = (pids["parent"], pids["child"], pids["nested"])
        last = [reason for pid in held for reason in reasons(running, pid)[-1:]]
        return [reason for reason in last if "helper process that updates the tree" in reason]

    until(blamed, "the process that missed the helper first")
    assert len(blamed()) == 1, "it speaks for all"
    second.ask("")
    until(lambda: settled(running), "all to have undone the update")
    status, answer = running.update(pids["parent"], "2", "--tree")
    assert status == 0, answer


def test_one_that_undoes_late_can_be_updated_again(tree: Callable[..., Tree]) -> None:
    """Its outcome, for which a helper waited that is gone, keeps it from nothing."""
    running = tree()
    _, second, pids = family(running)
    assert second.ask("stick") == "stuck"
    helper = int(running.status()["helper"])
    who = channel.Channel(running.path.with_name("run"), pids["parent"])
    words = ["update-tree", str(running.scenario.release("2")), "0", "0", "children-first"]
    held: list[int] = []

    def kill_when_ready(progress: dict[str, Any]) -> None:
        if progress["event"] == "ready" and not held:
            held.append(progress["pid"])
            os.kill(held[0], signal.SIGSTOP)
            os.kill(helper, signal.SIGKILL)

    with pytest.raises(KitsuneError):
        channel.ask(who, words, PATIENCE_S, kill_when_ready)
    assert held[0] != pids["parent"]
    assert running.server.ask("version") == "1"
    until(lambda: running.kitsune("status", str(pids["parent"]))[0] == 0, "another helper")
    assert running.status(held[0])["state"] == "ready"
    os.kill(held[0], signal.SIGCONT)
    second.ask("")
    until(lambda: settled(running), "all to have undone the update")
    status, answer = running.update(pids["parent"], "2", "--tree")
    assert status == 0, answer


def test_a_tree_is_updated_by_one_at_a_time(tree: Callable[..., Tree]) -> None:
    running = tree()
    _, second, pids = family(running)
    assert second.ask("stick") == "stuck"
    release = str(running.scenario.release("2"))
    who = channel.Channel(running.path.with_name("run"), pids["parent"])
    seen: list[str] = []

    def ask_more(progress: dict[str, Any]) -> None:
        if progress["event"] == "ready" and not seen:
            whole = ["update-tree", release, "0", "0", "parent-first"]
            single = ["update", release, "0", "0", str(pids["nested"])]
            seen.extend(channel.ask(who, each, PATIENCE_S)["code"] for each in (whole, single))

    words = ["update-tree", release, "0", "10000", "parent-first"]
    answer = channel.ask(who, words, PATIENCE_S, ask_more)
    assert (seen, answer["code"]) == (["K350", "K350"], "K361")
    status, answer = running.update(pids["child"], "2", "--tree")
    assert (status, answer["code"]) == (13, "K368"), answer


LIMITS = {"files": "Max open files", "processes": "Max processes"}
RIGHTS = {
    "root": ("chroot {empty}",),
    "user": ("user 65534",),
    "capabilities": ("capabilities",),
    "new privileges": ("new privileges",),
    "files": ("files",),
    "networks": ("networks",),
    "processes": ("processes", "user 65534"),
    "all of these": ("files", "processes", "new privileges", "chroot {empty}", "user 65534"),
}


def is_low(pid: int, limit: str) -> bool:
    """Tell whether a process has next to nothing of something."""
    text = Path(f"/proc/{pid}/limits").read_text(encoding="ascii")
    return text.partition(limit)[2].split()[0] == "2"


@needs_root
@pytest.mark.parametrize("what", RIGHTS)
def test_a_server_that_gave_rights_up_is_updated(
    what: str, tree: Callable[..., Tree], tmp_path: Path
) -> None:
    """By the helper, which kept them: the parent, a child, and both together."""
    (tmp_path / "empty").mkdir()
    running = tree()
    client, before = running.client(), running.client()
    for command in RIGHTS[what]:
        assert client.ask(command.format(empty=tmp_path / "empty")) == "0"
        assert running.server.ask(command.format(empty=tmp_path / "empty")) == "0"
    assert running.update(client.pid(), "2")[0] == 0
    assert (client.ask("version"), before.ask("version")) == ("2 session", "1 session")
    status, answer = running.update(running.server.pid, "2", "--tree")
    assert (status, answer["outcome"]) == (0, "updated"), answer
    assert before.ask("version") == "2 session"
    assert running.update(running.server.pid, "3", "--tree")[0] == 0
    assert (running.server.ask("version"), client.ask("add 1")) == ("1", "1")
    for limit in (LIMITS[each] for each in RIGHTS[what] if each in LIMITS):
        for pid in (running.server.pid, client.pid()):
            until(partial(is_low, pid, limit), f"{limit}: it stays lifted")


@needs_root
def test_a_hard_limit_of_files_is_refused(tree: Callable[..., Tree]) -> None:
    """Nothing lifts it, and the process serves on."""
    running = tree()
    client = running.client()
    assert client.ask("files for ever") == "0"
    status, answer = running.update(client.pid(), "2")
    assert (status, answer["outcome"], answer["code"]) == (16, "refused", "K366"), answer
    assert (client.ask("version"), client.ask("add 2")) == ("1 session", "2")


@needs_root
def test_a_new_root_without_proc_and_descriptors_is_refused(
    tree: Callable[..., Tree], tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    running = tree()
    client = running.client()
    assert client.ask("descriptors") == "0"
    assert client.ask(f"chroot {tmp_path / 'empty'}") == "0"
    status, answer = running.update(client.pid(), "2")
    assert (status, answer["outcome"], answer["code"]) == (16, "refused", "K352"), answer
    assert "/proc" in answer["reason"]
    assert client.ask("version") == "1 session"


def test_a_filter_that_may_kill_is_refused(tree: Callable[..., Tree]) -> None:
    """The process is not even kicked; those without a filter are updated."""
    running = tree()
    strict, loose, free = running.client(), running.client(), running.client()
    strict_pid, loose_pid = strict.pid(), loose.pid()
    assert (strict.ask("most calls"), loose.ask("some calls")) == ("0", "0")
    for pid in (strict_pid, loose_pid):
        status, answer = running.update(pid, "2")
        assert (status, answer["outcome"], answer["code"]) == (16, "refused", "K371"), answer
    status, answer = running.update(running.server.pid, "2", "--tree")
    assert (status, answer["code"]) == (16, "K371"), answer
    assert running.update(free.pid(), "2")[0] == 0
    assert (strict.ask("version"), loose.ask("version")) == ("1 session", "1 session")


def test_a_filtered_program_survives_its_helper(tree: Callable[..., Tree]) -> None:
    """Nothing is started in its place, as that might be the program's death."""
    running = tree()
    helper = int(running.status()["helper"])
    assert running.server.ask("most calls of a parent") == "0"
    os.kill(helper, signal.SIGKILL)
    until(lambda: running.kitsune("status", str(running.server.pid))[0] == 13, "no helper")
    client = running.client()
    assert (client.ask("add 4"), running.server.ask("version")) == ("4", "1")


def test_a_process_that_has_forked_survives_its_filter(tree: Callable[..., Tree]) -> None:
    """What an update point would do after the fork is done before the filter stands."""
    client = tree().client()
    assert client.ask("most calls after a fork") == "0"
    assert (client.ask("add 1"), client.ask("add 1")) == ("1", "2")


FILTERS = ("most calls", "most calls by prctl", "most calls unseen")


@pytest.mark.parametrize("command", FILTERS)
def test_a_filtered_process_survives_a_question(tree: Callable[..., Tree], command: str) -> None:
    """Its update points make no system calls to tell where it was."""
    running = tree()
    client = running.client()
    pid = client.pid()
    assert client.ask(command) == "0"
    for total in ("1", "2"):
        assert running.status(pid)["pid"] == pid
        assert client.ask("add 1") == total


@pytest.mark.parametrize("command", FILTERS[:2])
def test_what_an_update_leaves_is_not_freed_behind_a_filter(
    tree: Callable[..., Tree], command: str
) -> None:
    """The new version filters first thing: a look through memory would be its death."""
    running = tree()
    client = running.client()
    assert client.ask(f"next {command}") == "noted"
    assert running.update(client.pid(), "2")[0] == 0
    for total in ("1", "2", "3"):
        assert client.ask("add 1") == total


def test_a_process_is_asked_before_it_sets_a_filter(tree: Callable[..., Tree]) -> None:
    """What was to be noted then is not noted after it."""
    running = tree()
    client = running.client()
    helper = int(running.status()["helper"])
    who = channel.Channel(running.path.with_name("run"), running.server.pid)
    channel.ask(who, ["status", str(client.pid())], PATIENCE_S)
    os.kill(helper, signal.SIGSTOP)  # that it does not end the noting
    try:
        assert client.ask("most calls") == "0"
        assert client.ask("add 4") == "4"
    finally:
        os.kill(helper, signal.SIGCONT)


def test_a_filter_that_is_said_to_allow_it_is_believed(tree: Callable[..., Tree]) -> None:
    running = tree(KITSUNE_SECCOMP="allow")
    client = running.client()
    assert client.ask("some calls") == "0"
    assert running.server.ask("some calls") == "0"
    os.kill(int(running.status()["helper"]), signal.SIGKILL)
    until(lambda: running.kitsune("status", str(client.pid()))[0] == 0, "another helper")
    for version in ("2", "3"):
        status, answer = running.update(running.server.pid, version, "--tree")
        assert status == 0, answer
    assert client.ask("version") == "1 session"
