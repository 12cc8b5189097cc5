"""How a program was compiled and linked, noted inside it: its release needs no second recipe.

In: a compiler's command line as the build gives it. Out: a section for what it makes, and the words
in it again. Objects carry the options that they were compiled with (`.kitsune.command`, which
linkers leave out), programs the command that linked them (`.kitsune.link`). cc.py and link.py write
them, linked.py reads them.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Sequence

from kitsune_tool import toolchain
from kitsune_tool.toolchain import Command

COMMAND_SECTION = ".kitsune.command"
LINK_SECTION = ".kitsune.link"
_ROW = 4096
_LINE = re.compile(rb"KITSUNE1 ([0-9a-f]*) ([A-Za-z0-9+/=]*)\n")


def command_assembly(digest: str, command: Command) -> str:
    """Return C (top-level `asm`) that notes how the unit of that digest is compiled.

    The section is left out of whatever is linked, so no path of a machine gets into a release.
    """
    rows = _rows(digest, toolchain.unit_options(command))
    quoted = "\n".join('"' + row.replace("\\", "\\\\").replace('"', '\\"') + '\\n"' for row in rows)
    return (
        f'__asm__(".pushsection {COMMAND_SECTION},\\"e\\",%progbits\\n"\n{quoted}\n'
        '".popsection\\n");\n'
    )


def link_assembly(command: Command, directory: str) -> str:
    """Return assembly that notes the command of a link."""
    words = [directory, str(len(command.compiler)), *command.compiler, *command.arguments]
    stack = '.section .note.GNU-stack,"",%progbits'
    return "\n".join([f'.section {LINK_SECTION},"",%progbits', *_rows("0", words), stack, ""])


def _rows(digest: str, words: Sequence[str]) -> list[str]:
    # A word is bytes of the file system, which need not be UTF-8.
    data = json.dumps([word.encode(errors="surrogateescape").decode("latin-1") for word in words])
    body = base64.b64encode(data.encode()).decode()
    rows = [body[start : start + _ROW] for start in range(0, len(body), _ROW)]
    return [f'.ascii "KITSUNE1 {digest} "', *(f'.ascii "{row}"' for row in rows), ".byte 10"]


def read_notes(data: bytes) -> Iterator[tuple[str, list[str]]]:
    """Yield (digest of the unit or 0, words) of each note in a section."""
    for match in _LINE.finditer(data):
        words = json.loads(base64.b64decode(match[2]))
        yield (
            match[1].decode(),
            [word.encode("latin-1").decode(errors="surrogateescape") for word in words],
        )
