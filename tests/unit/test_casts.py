"""Casts are found by tokens, and nothing else is taken for one."""

from __future__ import annotations

import pytest

from kitsune_tool.casts import FoundCast, find_casts

TYPEDEFS = frozenset(("base_t", "item_t", "uintptr_t", "handle"))
HEAD = "int f(struct item *it, char *b, base_t *bt, const struct sub *q, struct sub s) "


def casts(body: str) -> list[FoundCast]:
    text = f"{HEAD}{{ {body} }}"
    return list(find_casts(text, 0, (len(HEAD), len(text)), TYPEDEFS.__contains__))


@pytest.mark.parametrize(
    ("body", "target", "source"),
    [
        ("g((struct derived *)bt);", "struct derived *", "base_t *"),
        ("return (char *)it;", "char *", "struct item *"),
        ("return (unsigned  char *) & s;", "unsigned char *", "struct sub *"),
        ("x = (struct item const * const *)b;", "struct item **", "char *"),
        ("x = (item_t *)next(it);", "item_t *", ""),
        ("x = (item_t *)(it)->next;", "item_t *", ""),
        ("x = (item_t *)((it)->next);", "item_t *", ""),
        ("x = (item_t *)it[3].next;", "item_t *", ""),
        ("x = (item_t *)((char *)it - 8);", "item_t *", ""),
        ("h = (handle)it;", "handle", "struct item *"),
        ("if (q) n = (long)(q);", "long", "struct sub *"),
        ("n = (unsigned long)&s;", "unsigned long", "struct sub *"),
        ("n = (uintptr_t)it->next;", "uintptr_t", ""),
        ("struct part *local = 0; y = (struct whole *)local;", "struct whole *", "struct part *"),
        ("y = f ? 'a' : '\\''; z = (struct whole *)it;", "struct whole *", "struct item *"),
    ],
)
def test_a_cast(body: str, target: str, source: str) -> None:
    assert [(c.target, c.source) for c in casts(body)][:1] == [(target, source)]


@pytest.mark.parametrize(
    "body",
    [
        'puts("(struct item *)it");',
        'puts("\\"(struct item *)it");',
        "/* (struct item *)it */ // (struct item *)it\n",
        "return sizeof(struct item *) * 2;",
        "int (*p)(struct item *) = k; int w(struct item *);",
        "x = (struct item *)malloc(3); y = (item_t *) realloc (x, 2);",
        "x = (struct item *)0;",
        "x = (b) + 1; x = (b)(1); (void)it; x = (it)->next;",
        "for (struct item *i = it; i; i = (i)->next) { (f)(i); }",
        "v = (struct sub){0}; n = (int)x; n = (double)it->n;",
    ],
)
def test_no_cast(body: str) -> None:
    assert casts(body) == []


def test_an_address_that_becomes_a_number() -> None:
    made = {c.target: c.makes_number for c in casts("x = (uintptr_t)n + (long)n + (char *)it;")}
    assert made == {"uintptr_t": True, "long": False, "char *": False}
    assert [c.makes_number for c in casts("x = (long)it;")] == [True]


def test_a_body_of_odd_text_ends() -> None:
    assert casts("(" * 5000 + "a " * 5000 + "* " * 5000) == []
