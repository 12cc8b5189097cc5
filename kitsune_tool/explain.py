"""The page of a diagnosis: what a code means, an example, what to do.

In: docs/diagnostics.md, which comes with the tool and is the one place where codes are explained.
Out: `Page`s, and their text for a terminal. Called by cli.py.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from kitsune_tool import resources
from kitsune_tool.errors import KitsuneError

_HEADING = re.compile(r"^### (K\d{3}): (.+)$")
_FENCE = "```"


@dataclass(frozen=True, slots=True)
class Page:
    """What is said of one code. `body` is Markdown without the heading."""

    code: str
    title: str
    body: str


def read_pages() -> dict[str, Page]:
    """Return all pages by their codes, in the order of the document."""
    text = (resources.docs_dir() / "diagnostics.md").read_text(encoding="utf-8")
    return {page.code: page for page in _pages(text)}


def explain(code: str) -> str:
    """Return the page of a code as plain text. Raises K241 if there is none."""
    pages = read_pages()
    page = pages.get(code.strip().upper())
    if page is None:
        near = difflib.get_close_matches(code.strip().upper(), pages, n=3)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise KitsuneError(
            "K241",
            f"there is no diagnosis '{code}'",
            hint=f"{hint}'kitsune explain' without a code lists all",
        )
    return "\n".join([_plain(f"{page.code}: {page.title}"), "", *_for_terminal(page.body)]) + "\n"


def listing() -> str:
    """Return a line for each code."""
    return "".join(f"{page.code}  {_plain(page.title)}\n" for page in read_pages().values())


def _pages(text: str) -> Iterator[Page]:
    """Yield the sections that a code heads; any other heading ends one."""
    heading: re.Match[str] | None = None
    body: list[str] = []
    fenced = False
    for line in [*text.splitlines(), "## end"]:
        fenced ^= line.startswith(_FENCE)
        if line.startswith("#") and not fenced:
            if heading is not None:
                yield Page(heading[1], heading[2], "\n".join(body).strip())
            heading, body = _HEADING.match(line), []
        else:
            body.append(line)


def _for_terminal(markdown: str) -> Iterator[str]:
    """Yield the lines with examples indented and without marks of emphasis."""
    fenced = False
    for line in markdown.splitlines():
        if line.startswith(_FENCE):
            fenced = not fenced
        elif fenced:
            yield f"    {line}" if line else ""
        else:
            yield _plain(line)


def _plain(text: str) -> str:
    return text.replace("**", "").replace("`", "")
