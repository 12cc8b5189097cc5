"""Casts that may hide a pointer to what changes are in the report of the step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kitsune_tool import reportpage
from kitsune_tool.pieces import Pieces
from kitsune_tool.report import report

HEADER = """
#include <sys/socket.h>
#include <stdint.h>
typedef unsigned int number_t;
struct base { int kind; };
struct kept { int a; };
"""
FUNCTIONS = """
struct item *from_bytes(char *p) { return (struct item *)p; }
item_t *from_base(struct base *b) { return (item_t *)b; }
char *to_bytes(struct item *i) { return (char *)i; }
void *to_nothing(struct item *i) { return (void *)i; }
struct kept *unchanged(char *p) { return (struct kept *)p; }
struct sockaddr *library(struct sockaddr_storage *s) { return (struct sockaddr *)s; }
static unsigned hash(const struct item *i) { return (number_t)(uintptr_t)i; }
unsigned hashed(struct item *i) { return hash(i) + (unsigned)(uintptr_t)to_bytes(i); }
int main(void) { return items == 0; }
"""
OLD = f"""{HEADER}
typedef struct item {{ struct base base; int n; struct item *next; }} item_t;
struct hidden {{ int n; }};
struct item *items; struct kept *kept;
struct hidden *gone(char *p) {{ return (struct hidden *)p; }}
{FUNCTIONS}"""
NEW = f"""{HEADER}
typedef struct item {{ struct base base; long n; struct item *next; }} item_t;
struct hidden {{ long n; }};
struct item *items; struct kept *kept;
{FUNCTIONS}"""


def test_those_of_changed_types(versions: Callable[..., Any]) -> None:
    data = report(versions(OLD, NEW, widen=True).plan(), Pieces())
    told = {each["what"]: each for each in data["assumed"] if each["kind"] == "cast"}
    assert {
        what: [(c["function"], c.get("from", ""), c["to"], c["version"]) for c in each["casts"]]
        for what, each in told.items()
    } == {
        "struct item": [
            ("from_bytes", "char *", "struct item *", "2"),
            ("from_base", "struct base *", "item_t *", "2"),
            ("to_bytes", "struct item *", "char *", "2"),
            ("hash", "struct item *", "uintptr_t", "2"),
        ],
        "struct hidden": [("gone", "char *", "struct hidden *", "1")],
        "uintptr_t": [("hashed", "", "uintptr_t", "2")],
    }
    at = next(n for n, line in enumerate(NEW.splitlines(), 1) if "*from_bytes" in line)
    text = reportpage.as_text(data)
    assert f"  struct item: cast in from_bytes (main.c:{at}), from_base (main.c:{at + 1})," in text
    assert "  struct hidden: cast in gone (main.c:11 of version 1): what is known only as" in text
    page = reportpage.as_page(data)
    assert "<summary>4 casts</summary>" in page
    assert "<code>gone</code>: <code>char *</code> to <code>struct hidden *</code>" in page


def test_none_if_nothing_changes(versions: Callable[..., Any]) -> None:
    data = report(versions(OLD, OLD).plan(), Pieces())
    assert not [each for each in data["assumed"] if each["kind"] == "cast"]
