"""The manifest's edits in a unit's text, and what is said of those that do not fit."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from kitsune_tool import edits
from kitsune_tool.edits import Edit, Expansion
from kitsune_tool.errors import KitsuneError, KitsuneErrors, Location
from kitsune_tool.insert import apply as insert
from kitsune_tool.model import EditMatch
from kitsune_tool.scan import scan

GUARD = "{ if (!kitsune_is_updating()) { "


def run(
    text: str,
    *items: Mapping[str, Any],
    source: str = "src/a.c",
    expanded: Mapping[str, str] | None = None,
    declarations: str = "",
) -> tuple[str, tuple[EditMatch, ...]]:
    def expand(pieces: Sequence[str]) -> Expansion:
        known = expanded or {}
        return Expansion(tuple(known.get(piece, piece) for piece in pieces), declarations)

    insertions, matches = edits.apply(
        scan(text), edits.read_edits(items), source, expand, lambda file: file.removeprefix("/r/")
    )
    return insert(text, insertions), matches


def edited(text: str, *items: Mapping[str, Any], **rest: Any) -> str:
    return run(text, *items, **rest)[0]


def error(text: str, *items: Mapping[str, Any], **rest: Any) -> KitsuneError:
    with pytest.raises(KitsuneError) as caught:
        run(text, *items, **rest)
    return caught.value


# ---- update points -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "loop", "expected"),
    [
        ("{ for (;;) { a(); } }", "", "{ for (;;) { U a(); } }"),
        ("{ for (;;) a(); }", "1", "{ for (;;) { U a(); } }"),
        ("{ while (1) if (x) a(); else b(); c(); }", "1",
         "{ while (1) { U if (x) a(); else b(); } c(); }"),
        ("{ do { a(); } while (b); }", "1", "{ do { U a(); } while (b); }"),
        ("{ do a(); while (b); }", "while (b)", "{ do { U a(); } while (b); }"),
        ("{ for (;;); }", "1", "{ for (;;){ U ; } }"),
        ("{ while (a) while (b) c(); }", "2", "{ while (a) while (b) { U c(); } }"),
        ("{ do { x(); } while (0); while (1) a(); }", "1",
         "{ do { x(); } while (0); while (1) { U a(); } }"),
        ("{ while (a) {} while( 1 )\n{ b(); } }", "while (1)",
         "{ while (a) {} while( 1 )\n{ U b(); } }"),
        ("{ for (i = 0; i < n; i++) {} }", "i < n", "{ for (i = 0; i < n; i++) { U} }"),
        ("{ x = ({ while (1) a(); 0; }); }", "1", "{ x = ({ while (1) { U a(); } 0; }); }"),
        ("{ switch (x) { case 1: while (1) a(); } }", "1",
         "{ switch (x) { case 1: while (1) { U a(); } } }"),
    ],
)  # fmt: skip
def test_update_point(body: str, loop: str, expected: str) -> None:
    item = {"update_point": "main", "function": "f"} | ({"loop": loop} if loop else {})
    assert edited(f"void f(void) {body}", item) == (
        "void f(void) " + expected.replace("U", 'kitsune_update("main");')
    )


def test_name_of_an_update_point_is_quoted() -> None:
    item = {"update_point": 'a"b\\', "function": "f"}
    assert 'kitsune_update("a\\"b\\\\");' in edited("void f(void) { for (;;) ; }", item)


@pytest.mark.parametrize(
    ("head", "key", "source", "is_it"),
    [
        ("int f(int x)", "f", "a.c", True),
        ("static int f(int x)", "a.c/f", "src/a.c", True),
        ("static int f(int x)", "src/a.c/f", "src/a.c", True),
        ("static int f(int x)", "b.c/f", "src/a.c", False),
        ("static int f(int x)", "a.c/f", "src/aa.c", False),
        ("static int f(int x)", "ns@a.c/f", "src/a.c", True),
        ("int g(int f(int))", "f", "a.c", False),
        ("int (f)(int x)", "f", "a.c", True),
        ("void (*f(int s, void (*h)(int)))(int)", "f", "a.c", True),
        ("__attribute__((noinline)) struct s *f(void)", "f", "a.c", True),
        ("int f(a, b) int a; char *b;", "f", "a.c", True),
        ("int ff(int x)", "f", "a.c", False),
    ],
)
def test_which_function(head: str, key: str, source: str, is_it: bool) -> None:
    item = {"update_point": "p", "function": key}
    text = f"int before;\n{head}\n{{ for (;;) ; }}\n"
    assert ("kitsune_update" in edited(text, item, source=source)) is is_it


def test_function_of_a_header_is_named_by_the_header() -> None:
    text = '# 1 "/r/src/a.c"\n# 1 "/r/inc/x.h" 1\nstatic int f(void)\n{ for (;;) ; }\n'
    item = {"update_point": "p", "function": "x.h/f"}
    _, (match,) = run(text, item)
    assert match == EditMatch(0, "f", Location("inc/x.h", 2), 'kitsune_update("p");')


# ---- guards --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "wanted", "expected"),
    [
        ("{ a(); b(1, 2); c(); }", "b(1,2)", "{ a(); G b(1, 2); } } c(); }"),
        ("{ if (b()) x(); else y(); c(); }", "b()", "{ G if (b()) x(); else y(); } } c(); }"),
        ("{ if (x) b(); else c(); }", "b(", "{ if (x) G b(); } } else c(); }"),
        ("{ if (x) a(); else b(); }", "b(", "{ if (x) a(); else G b(); } } }"),
        ("{ if (x) a(); else if (b()) c(); }", "b()",
         "{ if (x) a(); else G if (b()) c(); } } }"),
        ("{ switch (x) { case 1: b(); break; } }", "b(",
         "{ switch (x) { case 1: G b(); } } break; } }"),
        ("{ while (b()) c(); }", "b()", "{ G while (b()) c(); } } }"),
        ("{ do c(); while (b()); }", "b()", "{ G do c(); while (b()); } } }"),
        ("{ x = b(); }", "b()", "{ G x = b(); } } }"),
        ("{ (void) b(); }", "b", "{ G (void) b(); } } }"),
        ("{ out: b(); }", "b()", "{ out: G b(); } } }"),
        ("{ /* b() */ b (\n); }", "b()", "{ /* b() */ G b (\n); } } }"),
    ],
)  # fmt: skip
def test_guard(body: str, wanted: str, expected: str) -> None:
    text = edited(f"int f(void) {body}", {"guard": wanted, "function": "f"})
    assert text == "int f(void) " + expected.replace("G ", GUARD)


def test_guard_of_a_range() -> None:
    text = edited(
        "int f(void) { a(); b(); c(); d(); }", {"guard": "b()", "to": "c()", "function": "f"}
    )
    assert text == f"int f(void) {{ a(); {GUARD}b(); c(); }} }} d(); }}"


def test_guard_of_a_range_behind_a_label() -> None:
    text = edited(
        "int f(int x) { switch (x) { case 1: b(); c(); break; case 2: d(); } }",
        {"guard": "b()", "to": "c()", "function": "f"},
    )
    assert f"case 1: {GUARD}b(); c(); }} }} break;" in text


def test_guard_matches_what_a_macro_becomes() -> None:
    expanded = {"SET(fd)": "((fd) = 1)"}
    item = {"guard": "SET(fd)", "function": "f"}
    text, (match,) = run("void f(void) { a(); ((fd)=1); }", item, expanded=expanded)
    assert text == f"void f(void) {{ a(); {GUARD}((fd)=1); }} }} }}"
    assert match.text == "((fd)=1);"


def test_count_of_matches_in_one_function() -> None:
    item = {"guard": "a(", "function": "f", "count": 2}
    text, matches = run("void f(void) { a(1); b(); a(2); }", item)
    assert text.count("kitsune_is_updating") == len(matches) == 2


# ---- insertions ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "place", "expected"),
    [
        ("{ a(); }", {"at": "start"}, "{ N(); a(); }"),
        ("{}", {"at": "start"}, "{ N();}"),
        ("{ a(); b(); }", {"before": "b("}, "{ a(); N(); b(); }"),
        ("{ a(); b(); }", {"after": "a()"}, "{ a(); N(); b(); }"),
        ("{ if (x) b(); }", {"before": "b("}, "{ if (x) { N(); b(); } }"),
        ("{ if (x) b(); else c(); }", {"after": "b("}, "{ if (x) { b(); N(); } else c(); }"),
        ("{ for (;;) if (b()) c(); }", {"after": "b()"}, "{ for (;;) { if (b()) c(); N(); } }"),
        ("{ int x = b(); c(); }", {"after": "b()"}, "{ int x = b(); N(); c(); }"),
        ("{ int x = b(); c(); }", {"before": "b()"}, "{ N(); int x = b(); c(); }"),
        ("{ l: b(); }", {"before": "b()"}, "{ l: N(); b(); }"),
        ("{ if (x) l: b(); }", {"before": "b()"}, "{ if (x) l: { N(); b(); } }"),
        ("{ return b(); }", {"before": "b()"}, "{ N(); return b(); }"),
    ],
)
def test_insert(body: str, place: dict[str, str], expected: str) -> None:
    item = {"insert": "N();", "function": "f", **place}
    assert edited(f"int f(void) {body}", item) == "int f(void) " + expected


def test_inserted_code_becomes_one_line_with_macros_expanded() -> None:
    code = 'LOG("a  b");\nif (x)\n  y();'
    text = edited(
        "void f(void) {\n a();\n}\n",
        {"insert": code, "function": "f", "at": "start"},
        expanded={code: 'log_at(7,\n"a  b");\nif (x)\n  y();'},
    )
    assert text == 'void f(void) { log_at(7, "a  b"); if (x) y();\n a();\n}\n'


def test_edits_at_one_place_nest_in_their_order() -> None:
    text = edited(
        "void f(void) { if (x) b(); }",
        {"guard": "b()", "function": "f"},
        {"insert": "one();", "function": "f", "before": "b()"},
        {"insert": "two();", "function": "f", "after": "b()"},
    )
    assert text == f"void f(void) {{ if (x) {GUARD}{{ one(); {{ b(); two(); }} }} }} }} }}"


# ---- fields --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("definition", "record", "expected"),
    [
        ("struct s { int a; };", "struct s", "struct s { int a;  int kt; };"),
        ("struct s { int a; } x, *y;", "struct s", "struct s { int a;  int kt; } x, *y;"),
        ("typedef struct s { int a; } S;", "struct s", "typedef struct s { int a;  int kt; } S;"),
        ("typedef struct { int a; } S;", "typedef S", "typedef struct { int a;  int kt; } S;"),
        ("typedef struct { int a; } *P, S;", "typedef S",
         "typedef struct { int a;  int kt; } *P, S;"),
        ("union u { int a; };", "union u", "union u { int a;  int kt; };"),
        ("struct __attribute__((packed)) s { int a; };", "struct s",
         "struct __attribute__((packed)) s { int a;  int kt; };"),
        ("struct o { struct s { int a; } in; };", "struct s",
         "struct o { struct s { int a;  int kt; } in; };"),
        ("struct s { struct { int b; } in; int n; char f[]; };", "struct s",
         "struct s { struct { int b; } in; int n; int kt;  char f[]; };"),
        ("struct s; struct s *p; int g(struct s *q);", "struct s",
         "struct s; struct s *p; int g(struct s *q);"),
        ("struct t { struct s *p; };", "struct s", "struct t { struct s *p; };"),
        ("struct s *f(void) { return 0; }", "struct s", "struct s *f(void) { return 0; }"),
        ("void f(struct s *p) { p = 0; }", "struct s", "void f(struct s *p) { p = 0; }"),
    ],
)  # fmt: skip
def test_field(definition: str, record: str, expected: str) -> None:
    assert edited(definition, {"field": "int kt;", "record": record}) == expected


def test_field_in_a_header_matches_once_in_a_program() -> None:
    text = '# 1 "/r/a.c"\n# 1 "/r/s.h" 1\nstruct s {\n int a;\n};\n# 2 "/r/a.c" 2\n'
    item = {"field": "int kt;", "record": "struct s"}
    _, first = run(text, item, source="a.c")
    _, second = run(text, item, source="b.c")
    assert first == second == (EditMatch(0, "", Location("s.h", 3), "int kt;"),)
    edits.check_matches(edits.read_edits([item]), first + second, [])


# ---- declarations in front of a function ---------------------------------------------------------


def test_declarations_stand_in_front_of_the_function() -> None:
    text = edited(
        "int x; static void *\nf(void) {\n  go();\n}\n",
        {"declare": "static int n;\nstatic void h(void) { n++; }", "function": "f"},
        {"insert": "h();", "function": "f", "at": "start"},
    )
    assert text == (
        "int x; static int n; static void h(void) { n++; } static void *\nf(void) { h();\n"
        "  go();\n}\n"
    )


def test_what_is_declared_may_call_what_kitsune_declares() -> None:
    result = edited(
        "void f(void) { }",
        {"declare": "int h(void) { return kitsune_is_updating(); }", "function": "f"},
        declarations="extern int kitsune_is_updating(void);\n",
    )
    assert result.index("extern int kitsune_is_updating") < result.index("int h(void)")


def test_declarations_are_whole() -> None:
    raised = error("void f(void) { }", {"declare": "static int n", "function": "f"})
    assert raised.code == "K074"
    assert raised.message.endswith("the inserted text is not made of whole declarations")


# ---- lines and declarations ----------------------------------------------------------------------


def test_declarations_come_before_the_function_and_lines_stay() -> None:
    text = '# 1 "a.c"\nint x; void f(void)\n{\n  for (;;)\n    g();\n}\nint after;\n'
    header = (
        '# 1 "kitsune.h" 1 3\ntypedef struct kitsune_thing { int x; } kitsune_thing;\n'
        "extern int kitsune_is_updating(void);\nextern void kitsune_update(const char *name);\n"
    )
    result = edited(text, {"update_point": "p", "function": "f"}, declarations=header)
    assert '\n# 1 "<kitsune>" 3\nextern void kitsune_update(const char *name);\n# 1 ' in result
    assert "kitsune_is_updating" not in result
    before, after = scan(text), scan(result)
    for what in ("void f(void)", "g();", "int after;"):
        assert after.locate(result.index(what)).line == before.locate(text.index(what)).line
    assert after.locate(result.index("void f(void)")).column == 8


def test_declared_already() -> None:
    text = "void kitsune_update(const char *);\nvoid f(void) { for (;;) ; }\n"
    header = "extern void kitsune_update(const char *name);\n"
    result = edited(text, {"update_point": "p", "function": "f"}, declarations=header)
    assert result.count("kitsune_update(const char *") == 1


def test_declared_once_for_all_functions_of_a_unit() -> None:
    text = "void f(void) { for (;;) ; }\nvoid g(void) { a(); for (;;) ; }\n"
    header = (
        "extern int kitsune_is_updating(void);\n"
        "static inline void kitsune_update(const char *name) { (void)name; }\n"
    )
    items = [
        {"update_point": "p", "function": "f"},
        {"update_point": "p", "function": "g"},
        {"guard": "a()", "function": "g"},
    ]
    result = edited(text, *items, declarations=header)
    assert result.count("void kitsune_update(const char *name)") == 1
    assert result.index("kitsune_is_updating(void);") > result.index("void f(void)")


def test_declarations_bring_what_they_need() -> None:
    header = (
        "typedef struct kitsune_list kitsune_list;\nextern void other(void);\n"
        "void kitsune_list_add(kitsune_list *list, void *p);\n"
    )
    item = {"insert": "kitsune_list_add(l, p);", "function": "f", "at": "start"}
    result = edited("void f(void) { a(); }", item, declarations=header)
    assert "typedef struct kitsune_list kitsune_list;\nvoid kitsune_list_add" in result
    assert "other" not in result


def test_nothing_to_do_expands_nothing() -> None:
    def expand(pieces: Sequence[str]) -> Expansion:
        raise AssertionError(pieces)

    item = {"update_point": "p", "function": "g"}
    text = "void f(void) { g(); }"
    assert edits.apply(scan(text), edits.read_edits([item]), "a.c", expand, str) == ([], ())


# ---- errors --------------------------------------------------------------------------------------


def test_loop_that_is_not_there() -> None:
    text = '# 10 "a.c"\nvoid f(void)\n{\n  for (;;)\n    while (x) a();\n}\n'
    assert error(text, {"update_point": "p", "function": "f", "loop": "3"}).report() == (
        "a.c:10: error[K070]: edit 1 (update_point 'p' in f) matches nothing: 'f' has 2 loops,"
        " not 'loop 3'\n"
        "a.c:12: note: loop 1: for (;;)\n"
        "a.c:13: note: loop 2: while (x)\n"
        "hint: name one of these by its number or its head"
    )


def test_statement_that_is_not_there_shows_the_expanded_ones() -> None:
    text = '# 1 "a.c"\nvoid f(void)\n{\n  set((fd), 1);\n  b();\n}\n'
    item = {"guard": "SET(fd, 2)", "function": "f"}
    assert error(text, item, expanded={"SET(fd, 2)": "set((fd), 2)"}).report() == (
        "a.c:1: error[K071]: edit 1 (guard 'SET(fd, 2)' in f) matches nothing: no statement of 'f'"
        " holds 'SET(fd, 2)', nor 'set((fd), 2)', which it expands to\n"
        "a.c:3: note: set((fd), 1);\n"
        "hint: what is shown here has macros expanded: copy a part of it"
    )


def test_misspelt_call() -> None:
    text = '# 1 "a.c"\nvoid f(void)\n{\n  daemon(0, 0);\n}\n'
    assert error(text, {"insert": "x();", "function": "f", "after": "deamon("}).report() == (
        "a.c:1: error[K071]: edit 1 (insert 'x();' in f) matches nothing: no statement of 'f'"
        " holds 'deamon('\n"
        "hint: did you mean 'daemon'?"
    )


def test_more_places_than_counted() -> None:
    text = '# 1 "a.c"\nvoid f(void)\n{\n  a(1);\n  a(2);\n}\n'
    assert error(text, {"guard": "a(", "function": "f"}).report() == (
        "a.c:1: error[K076]: edit 1 (guard 'a(' in f) matches 2 places in 'f', not 1\n"
        "a.c:3: note: a(1);\n"
        "a.c:4: note: a(2);\n"
        "hint: write more of the statement, or 'count: 2'"
    )


@pytest.mark.parametrize(
    "statement",
    ["int fd = open_it();", "struct s x = { open_it() };", "T fd = open_it();",
     "T *fd = open_it();", "const char *p = open_it();", "static int x = open_it();"],
)  # fmt: skip
def test_guarded_declaration(statement: str) -> None:
    text = f'# 1 "a.c"\nvoid f(void)\n{{\n  {statement}\n  b();\n}}\n'
    assert error(text, {"guard": "open_it()", "function": "f"}).report() == (
        "a.c:3: error[K072]: edit 1 (guard 'open_it()' in f) would hide a declaration from what"
        f" follows: '{statement}'\n"
        "hint: guard only the statements behind it; or let the declared variable keep its\n"
        "      initialiser and insert a statement before it ('insert: … before: …') for the case\n"
        "      that kitsune_is_updating() holds"
    )


def test_declaration_inside_a_guarded_range() -> None:
    text = '# 1 "a.c"\nvoid f(void)\n{\n  a();\n  int x;\n  b();\n}\n'
    raised = error(text, {"guard": "a()", "to": "b()", "function": "f"})
    assert raised.code == "K072"
    assert raised.at == Location("a.c", 4)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("{ b(); a(); }", "'b()' is not behind it in the same block"),
        ("{ a(); { b(); } }", "'b()' is not behind it in the same block"),
        ("{ { a(); } b(); }", "'b()' is not behind it in the same block"),
        ("{ a(); l: b(); }", "the range has a label inside"),
        ("{ switch (x) { case 1: a(); break; case 2: c(); b(); } }",
         "the range has a label inside"),
    ],
)  # fmt: skip
def test_bad_range(body: str, why: str) -> None:
    raised = error(f"void f(int x) {body}", {"guard": "a()", "to": "b()", "function": "f"})
    assert raised.code == "K073"
    assert raised.message == f"edit 1 (guard 'a()' in f): {why}"
    assert raised.hint == "a guarded range begins and ends in the same block, with no label between"


def test_crossing_ranges() -> None:
    raised = error(
        '# 1 "a.c"\nvoid f(void) {\n a();\n b();\n c();\n}',
        {"guard": "a()", "to": "b()", "function": "f"},
        {"guard": "b()", "to": "c()", "function": "f"},
    )
    assert raised.report() == (
        "a.c:3: error[K073]: edit 2 (guard 'b()' in f) crosses edit 1 (guard 'a()' in f)\n"
        "a.c:2: note: the other one begins here\n"
        "hint: let one range contain the other, the outer one first in the manifest"
    )


def test_range_inside_a_range_whose_ends_meet_needs_the_outer_first() -> None:
    text = "void f(void) { a(); b(); c(); }"
    outer = {"guard": "a()", "to": "c()", "function": "f"}
    inner = {"guard": "a()", "to": "b()", "function": "f"}
    assert error(text, inner, outer).code == "K073"
    assert edited(text, outer, inner) == (
        f"void f(void) {{ {GUARD}{GUARD}a(); b(); }} }} c(); }} }} }}"
    )


def test_insertion_that_is_never_reached() -> None:
    raised = error(
        '# 1 "a.c"\nint f(void) {\n return b();\n}',
        {"insert": "x();", "function": "f", "after": "b()"},
    )
    assert raised.report() == (
        "a.c:2: error[K073]: edit 1 (insert 'x();' in f): what stands behind 'return b();' is"
        " never reached\nhint: write 'before:'"
    )


@pytest.mark.parametrize("code", ["x()", "", "f(;", "}", "a(); } {", "if (x) {", "a)(;"])
def test_code_that_is_not_whole(code: str) -> None:
    text = '# 1 "a.c"\nvoid f(void) { }'
    raised = error(text, {"insert": code, "function": "f", "at": "start"})
    assert raised.report() == (
        f"a.c:1: error[K074]: edit 1 (insert '{code}' in f): the inserted text is not made of"
        " whole statements\nhint: end it with ';' and close each bracket in it"
    )


def test_code_with_a_directive() -> None:
    raised = error("void f(void) { }", {"insert": "a();\n#ifdef X\nb();\n#endif", "function": "f"})
    assert raised.code == "K074"
    assert raised.message.endswith("the inserted text has a preprocessor directive")
    assert raised.hint == (
        "put the directive into a header of the program, or write what it stands for"
    )


def test_several_errors_are_told_together() -> None:
    raised = error(
        "void f(void) { }",
        {"guard": "a()", "function": "f"},
        {"update_point": "p", "function": "f"},
    )
    assert isinstance(raised, KitsuneErrors)
    assert [each.code for each in raised.errors] == ["K071", "K070"]


# ---- the whole program ---------------------------------------------------------------------------

AT = Location("kitsune.yaml", 7, 3)


def test_edit_that_matches_nothing_in_the_program() -> None:
    edit = Edit(0, "update_point", "p", function="io.c/io_dispach", at=AT)
    with pytest.raises(KitsuneError) as caught:
        edits.check_matches([edit], [], ["src/io.c/io_dispatch", "main", "struct io"])
    assert caught.value.report() == (
        "kitsune.yaml:7:3: error[K075]: edit 1 (update_point 'p' in io.c/io_dispach) matches"
        " nothing: the program has no function 'io.c/io_dispach'\n"
        "hint: did you mean 'src/io.c/io_dispatch'?"
    )


def test_record_that_matches_nothing_in_the_program() -> None:
    edit = Edit(0, "field", "int x;", record="struct Cilent", at=AT)
    with pytest.raises(KitsuneError) as caught:
        edits.check_matches([edit], [], ["struct Client", "main"])
    assert caught.value.message.endswith("the program has no definition of 'struct Cilent'")
    assert caught.value.hint == "did you mean 'struct Client'?"


def test_edit_that_matches_more_in_the_program() -> None:
    edit = Edit(3, "guard", "x()", function="f", at=AT)
    matches = [EditMatch(3, "f", Location(file, 5), "x();") for file in ("a.c", "b.c")]
    with pytest.raises(KitsuneError) as caught:
        edits.check_matches([edit], matches, [])
    assert caught.value.report() == (
        "kitsune.yaml:7:3: error[K076]: edit 4 (guard 'x()' in f) matches 2 places, not 1\n"
        "a.c:5: note: in f: x();\n"
        "b.c:5: note: in f: x();\n"
        "hint: name one function as file.c/function, or write 'count: 2'"
    )


def test_all_edits_that_fail_are_told() -> None:
    wanted = [Edit(i, "guard", "x()", function=f"f{i}") for i in range(3)]
    with pytest.raises(KitsuneErrors) as caught:
        edits.check_matches(wanted, [EditMatch(1, "f1", Location("a.c", 1), "x();")], [])
    assert len(caught.value.errors) == 2


@pytest.mark.parametrize("item", [{}, {"guard": "x"} | {"nonsense": "y"}, {"function": "f"}])
def test_what_is_no_edit(item: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="not an edit"):
        edits.read_edits([item])
