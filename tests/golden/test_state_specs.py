"""A state spec as large as that of a large server: both spellings make the same C."""

from __future__ import annotations

import dataclasses
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kitsune_tool import resources, rulefile
from kitsune_tool.render import Identity, render_release
from kitsune_tool.rules import parse_rules

PLUGINS = 24


def old_program() -> dict[str, str]:
    """Return the sources of a server of many plugins, each with its structs, enum and statics."""
    units: dict[str, str] = {"main.c": "int main(void) { return 0; }"}
    for i in range(PLUGINS):
        name = f"plugins{i % 4}.c"
        units[name] = (
            units.get(name, "")
            + f"""
            struct conn{i} {{ struct conn{i} *next; int fd; long listeners; char *peer; }};
            typedef struct {{ int a, b; }} queue{i}_t;
            enum state{i} {{ IDLE{i}, BUSY{i} }};
            struct conn{i} *conns{i};
            static queue{i}_t waiting{i}; static int pending{i};
            enum state{i} state{i};
            int counter{i};
            int next{i}(void) {{ static int id; return ++id + pending{i} + waiting{i}.a; }}
        """
        )
    return units


def new_program() -> dict[str, str]:
    """Return what the sources became."""
    units: dict[str, str] = {"main.c": "int main(void) { return 0; }"}
    for i in range(PLUGINS):
        name = f"plugins{i % 4}.c"
        units[name] = (
            units.get(name, "")
            + f"""
            struct client{i} {{ struct client{i} *next; int sock; unsigned long listeners;
                unsigned long peak_listeners; char *peer; int authenticated, offset; }};
            typedef struct {{ int a, b, c; }} queue{i}_t;
            enum state{i} {{ NEW{i}, IDLE{i}, WORKING{i} }};
            struct client{i} *clients{i};
            queue{i}_t queue{i};
            enum state{i} state{i};
            static int pending_count{i};
            static int own_counter{i};
            int next{i}(void) {{ static int id; return ++id + pending_count{i} + own_counter{i}; }}
        """
        )
    return units


def state_spec() -> str:
    """Return the text of a `.xf` file between them, in the style of those that servers have."""
    return "".join(_parts())


def _parts() -> Iterator[str]:
    yield (
        "{\n#include <errno.h>\n/* a brace: } */\n"
        "static long twice(long value) {\n  return value > '}' ? value : 2 * value; // }\n}\n}\n\n"
    )
    for i in range(PLUGINS):
        yield f"# plugin {i}\nstruct conn{i} -> struct client{i}\n"
        yield f"  struct conn{i}.fd -> struct client{i}.sock\n\n"
        yield f"conns{i} -> clients{i}\n"
        yield f"enum state{i}.BUSY{i} -> enum state{i}.WORKING{i}\n"
    labels = (f"struct conn{i}.listeners -> struct client{i}.listeners" for i in range(PLUGINS))
    yield (
        ",\n  ".join(labels)
        + ": {\n  /* long to unsigned long */\n  $out = (unsigned long)$in;\n}\n"
    )
    for i in range(PLUGINS):
        yield f"struct conn{i} -> struct client{i}.peak_listeners: {{\n"
        yield "  if ($in.listeners < 0)\n    return;\n  $out = twice($in.listeners);\n}\n"
        yield f"INIT struct client{i}.authenticated,\n"
        yield f"INIT struct client{i}.offset: {{ $out = 0; }}\n"
        yield f"plugins{i % 4}.c/waiting{i} -> queue{i}: {{\n"
        yield "\t$out.a = $in.b;\n\t$out.b = local_in->a;\n"
        yield f"\t$out.c = (int)sizeof($oldtype(queue{i}_t)) == 8 && '{{';\n}}\n"
        yield f"plugins{i % 4}.c/pending{i} -> plugins{i % 4}.c/pending_count{i}\n"
        yield f"INIT plugins{i % 4}.c/own_counter{i}: {{/* stick with default init */}}\n"


def generated(made: Any, path: Path) -> dict[str, str]:
    """Return the C that the rules of a file make, less where the rules stand."""
    file = rulefile.load_rules(path)
    preambles = [file.preamble] if file.preamble else []
    planned = dataclasses.replace(made, rules=parse_rules(file.rules, preambles)).plan()
    assert not planned.unused_rules
    files = render_release(planned, Identity("server", "2"))
    place = re.compile(rf"{re.escape(path.name)}:\d+")
    lines = re.compile(r"^#line .*$", re.MULTILINE)
    return {name: lines.sub("#line", place.sub("PLACE", text)) for name, text in files.items()}


def test_150_rules_make_the_same_c_in_both_spellings(
    versions: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = versions(old_program(), new_program())
    original = tmp_path / "server.xf"
    original.write_text(state_spec())
    assert len(rulefile.load_rules(original).rules) >= 150

    first = generated(made, Path(original.name))
    for name, source in (("server.yaml", original), ("again.xf", tmp_path / "server.yaml")):
        (tmp_path / name).write_text(rulefile.convert(source, None))
        assert generated(made, Path(name)) == first, name
    assert (tmp_path / "again.xf").read_text() == rulefile.convert(original, "xf")

    for name, text in first.items():
        (tmp_path / name).write_text(text.replace("#line\n", "\n"))
    command = ["gcc", "-std=gnu11", "-O0", "-Wall", "-Wextra", "-Werror", "-c", "rules.c"]
    subprocess.run([*command, f"-I{resources.include_dir()}"], cwd=tmp_path, check=True, timeout=60)
