"""Which rules hold where: renames together, rules together, and what each names."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kitsune_tool import resources
from kitsune_tool.errors import KitsuneError
from kitsune_tool.pairs import Copy, Fields, LeftAlone, MapEnum, Point
from kitsune_tool.planned import Migration, Plan
from kitsune_tool.render import Identity, render_release
from kitsune_tool.rules import parse_rules
from kitsune_tool.xf import parse_xf

Make = Callable[..., Any]


def planned(versions: Make, old: Any, new: Any, spec: str, standing: str = "", **said: Any) -> Plan:
    """Plan the step with the rules of a `.xf` text, and generate its C."""
    own = parse_xf(spec, "own.xf")
    always = [
        dataclasses.replace(r, standing=True) for r in parse_xf(standing, "standing.xf").rules
    ]
    made = versions(old, new, **said)
    preambles = [own.preamble] if own.preamble else []
    rules = parse_rules((*own.rules, *always), preambles)
    plan = dataclasses.replace(made, rules=rules).plan()
    for name, text in render_release(plan, Identity("sample", "2")).items():
        (made.directory / name).write_text(text)
    assert isinstance(plan, Plan)
    return plan


def compiles(directory: Path, compiler: str = "gcc", standard: str = "gnu11") -> None:
    """Compile all that was generated, and warn of what a user's own compiler would."""
    done = compiled(directory, compiler, standard)
    assert done.returncode == 0, done.stderr


def compiled(
    directory: Path, compiler: str = "gcc", standard: str = "gnu11"
) -> subprocess.CompletedProcess[str]:
    files = sorted(path.name for path in directory.glob("*.c"))
    command = [compiler, f"-std={standard}", "-O0", "-fsyntax-only", "-Wall", "-Wextra", "-Werror"]
    command += [*files, f"-I{resources.include_dir()}"]
    return subprocess.run(
        command, cwd=directory, capture_output=True, text=True, check=False, timeout=60
    )


def origins(plan: Plan) -> dict[str, str | None]:
    """Return the old key of each new variable."""
    return {m.new.key: m.old.key if m.old else None for m in plan.migrations if m.new}


def of(plan: Plan, key: str) -> Migration:
    return next(m for m in plan.migrations if m.new and m.new.key == key)


def fields(plan: Plan, key: str) -> dict[str, str | None]:
    """Return the old member of each member of the struct that a variable is or points to."""
    pair = of(plan, key).pair
    assert pair is not None
    op = pair.op.target.op if isinstance(pair.op, Point) and pair.op.target else pair.op
    assert isinstance(op, Fields)
    return {step.new.name: step.old.name if step.old else None for step in op.steps}


# -- renames ---------------------------------------------------------------------------------------


def test_variables_that_swap_and_chain(versions: Make) -> None:
    old = {"main.c": "int a = 1, b = 2, c = 3, d = 4; static int s = 5; int main(void) {return s;}"}
    new = {"main.c": "int a, b, c, e; static int s, d; int main(void) { return s + d; }"}
    spec = "a -> b  b -> a\n c -> e  d -> c  main.c/s -> main.c/d  INIT main.c/s: {}"
    plan = planned(versions, old, new, spec)
    assert origins(plan) == {
        "a": "b", "b": "a", "c": "d", "e": "c", "main.c/d": "main.c/s", "main.c/s": None,
    }  # fmt: skip
    assert not plan.unused_rules


def test_types_that_swap_and_chain(versions: Make) -> None:
    old = """struct a { int x; }; struct b { long y; }; struct c { char z; };
             struct a *pa; struct b *pb; struct c *pc; int main(void) { return 0; }"""
    new = """struct b { int x; }; struct a { long y; }; struct d { char z; };
             struct b *pa; struct a *pb; struct d *pc; int main(void) { return 0; }"""
    spec = "struct a -> struct b  struct b -> struct a  struct c -> struct d"
    plan = planned(versions, old, new, spec)
    assert not plan.unused_rules
    assert plan.nothing_moves


def test_a_chain_of_types_with_one_at_its_end(versions: Make) -> None:
    old = "struct a { int x; }; struct b { long y; }; struct a *p; struct b *q; int main(void);"
    new = "struct b { int x; }; struct c { long y; }; struct b *p; struct c *q; int main(void);"
    plan = planned(versions, old, new, "struct a -> struct b  struct b -> struct c")
    assert not plan.unused_rules
    assert plan.nothing_moves


def test_fields_that_swap_and_chain(versions: Make) -> None:
    old = "struct s { int a, b, c, d; } s; int main(void) { return 0; }"
    new = "struct s { int a, b, c, e; } s; int main(void) { return 0; }"
    spec = """struct s.a -> struct s.b struct s.b -> struct s.a
              struct s.c -> struct s.e struct s.d -> struct s.c"""
    plan = planned(versions, old, new, spec)
    assert fields(plan, "s") == {"a": "b", "b": "a", "c": "d", "e": "c"}
    assert not plan.unused_rules


def test_enumerators_that_swap_and_chain(versions: Make) -> None:
    old = "enum e { A, B, C, D } e; int main(void) { return 0; }"
    new = "enum e { A, B, C, E } e; int main(void) { return 0; }"
    spec = "enum e.A -> enum e.B enum e.B -> enum e.A enum e.C -> enum e.E enum e.D -> enum e.C"
    plan = planned(versions, old, new, spec)
    pair = of(plan, "e").pair
    assert pair is not None
    assert isinstance(pair.op, MapEnum)
    assert pair.op.cases == (("A", 0, 1), ("B", 1, 0), ("C", 2, 3), ("D", 3, 2))


def test_update_points_that_swap(versions: Make) -> None:
    old = '#include <kitsune.h>\nint main(void) { kitsune_update("a"); kitsune_update("b c"); }'
    new = '#include <kitsune.h>\nint main(void) { kitsune_update("b c"); kitsune_update("a"); }'
    plan = planned(versions, old, new, "'a' -> 'b c'\n'b c' -> 'a'")
    assert plan.update_point_renames == (("a", "b c"), ("b c", "a"))


def test_functions_that_swap(versions: Make) -> None:
    text = """static int f(void) { return %d; } static int g(void) { return %d; }
              int (*p)(void) = f, (*q)(void) = g; int main(void) { return p() + q(); }"""
    spec = "main.c/f -> main.c/g main.c/g -> main.c/f"
    plan = planned(versions, text % (1, 2), text % (2, 1), spec)
    changes = {c.old.key: c.new.key for c in plan.functions if c.new}
    assert changes == {"main.c/f": "main.c/g", "main.c/g": "main.c/f"}


def test_a_name_that_a_rename_took_is_new(versions: Make) -> None:
    old = "int a = 1; int main(void) { return 0; }"
    new = "int a = 2, b = 3; int main(void) { return 0; }"
    with pytest.raises(KitsuneError, match="K122"):
        planned(versions, old, new, "a -> b")
    plan = planned(versions, old, new, "a -> b INIT a: {}")
    assert origins(plan)["b"] == "a"


def test_a_field_whose_name_a_rename_took_is_new(versions: Make) -> None:
    old = "struct s { int a; } s; int main(void) { return 0; }"
    new = "struct s { int a, b; } s; int main(void) { return 0; }"
    with pytest.raises(KitsuneError, match="K121"):
        planned(versions, old, new, "struct s.a -> struct s.b")


# -- two rules for one place -----------------------------------------------------------------------

ONE = "struct s { int a; } s; int v; int main(void) { return 0; }"


def test_the_versions_own_rule_goes_first(versions: Make) -> None:
    plan = planned(versions, ONE, ONE, "INIT v: { $out = 2; }", standing="v -> v: { $out = $in; }")
    rule = of(plan, "v").rule
    assert rule is not None
    assert rule.rule.kind == "init"
    assert not plan.unused_rules
    ((rule_replaced, why),) = plan.replaced_rules
    assert rule_replaced.label == "v -> v"
    assert why == "the version's own rule at own.xf:1:1 replaces it"


def test_rules_that_say_the_same_are_told(versions: Make) -> None:
    plan = planned(versions, ONE, ONE, "v -> v: {$out = $in;}\nv -> v: {$out = $in;}")
    assert [(str(rule.at), why) for rule, why in plan.unused_rules] == [
        ("own.xf:2:1", "the rule at own.xf:1:1 says the same")
    ]


@pytest.mark.parametrize(
    "spec",
    [
        "v -> v: {$out = $in;}\nINIT v: {}",
        "v -> v: {$out = 1;}\nv -> v: {$out = 2;}",
        "v -> v\nv -> v: {$out = 2;}",
        "struct s -> struct s\nstruct s -> struct s: {}",
    ],
)
def test_rules_that_contradict(versions: Make, spec: str) -> None:
    with pytest.raises(KitsuneError) as caught:
        planned(versions, ONE, ONE, spec)
    report = caught.value.report()
    assert report.startswith("own.xf:2:1: error[K113]: two rules for '")
    assert "\nown.xf:1:1: note: the other one is here" in report


def test_one_rule_names_a_type_by_tag_and_typedef(versions: Make) -> None:
    text = "typedef struct s { int a; } t; t *p; int main(void) { return 0; }"
    plan = planned(versions, text, text, "typedef t -> typedef t, struct s -> struct s: {}")
    assert not plan.unused_rules


# -- what rules can name ---------------------------------------------------------------------------


def test_rules_on_types_of_each_kind(versions: Make, tmp_path: Path) -> None:
    old = """
        typedef struct { int a; } tagless; typedef struct tagged { int a; } alias;
        typedef unsigned long word; union u { int i; float f; }; enum e { A, B };
        tagless t1; alias *t2; word t3[2]; struct { union u u; enum e e; } t4;
        int main(void) { return 0; }"""
    new = """
        typedef struct { long a; } tagless; typedef struct tagged { long a; } alias;
        typedef unsigned char word; union u { int i; double f; }; enum e { B, C };
        tagless t1; alias *t2; word t3[2]; struct { union u u; enum e e; } t4;
        int main(void) { return 0; }"""
    spec = """
        typedef tagless -> typedef tagless, typedef alias -> typedef alias: { $out.a = $in.a; }
        typedef word -> typedef word: { $out = (unsigned char)$in; }
        union u -> union u: { $out.f = $in.i; }
        enum e -> enum e: { $out = $in == _kitsune_old_rename_A ? _kitsune_new_rename_B
                                                                 : _kitsune_new_rename_C; }
    """
    plan = planned(versions, old, new, spec)
    assert not plan.unused_rules
    compiles(tmp_path)


def test_rules_on_nested_members(versions: Make, tmp_path: Path) -> None:
    old = """
        struct in { int g, h; }; struct s { struct in f; struct { int x; } anon; struct in *p; };
        struct s s; struct s *heap; struct in alone; int main(void) { return 0; }"""
    new = """
        struct in { int g, h; }; struct s { struct in f; struct { int x; } anon; struct in *p; };
        struct s s; struct s *heap; struct in alone; int main(void) { return 0; }"""
    spec = """
        struct s.f.g -> struct s.f.g: { $out = $in + 1; }
        struct s.anon.x -> struct s.anon.x: { $out = $in + $base.x; }
        INIT s.f.h: { $out = 5; }
    """
    plan = planned(versions, old, new, spec)
    assert not plan.unused_rules
    compiles(tmp_path)


def test_a_member_from_the_whole_old_object(versions: Make, tmp_path: Path) -> None:
    old = "struct s { int a, b; } *p, v; int main(void) { return 0; }"
    new = "struct s { int a, b, sum, c; } *p, v; int main(void) { return 0; }"
    spec = """
        struct s -> struct s.sum: { $out = $in.a + $in.b; }
        INIT struct s.c: { $out = $base.a; }
    """
    plan = planned(versions, old, new, spec)
    assert not plan.unused_rules
    assert fields(plan, "v") == {"a": "a", "b": "b", "sum": None, "c": None}
    compiles(tmp_path)


def test_labels_of_one_code_have_types_of_their_own(versions: Make, tmp_path: Path) -> None:
    old = "struct s { int a; char *n; } s; short v; int main(void) { return 0; }"
    new = "struct s { long a; char *n; double d; } s; float v; int main(void) { return 0; }"
    spec = "struct s.a -> struct s.a, v -> v, struct s.a -> struct s.d: { $out = $in; }"
    plan = planned(versions, old, new, spec)
    assert not plan.unused_rules
    compiles(tmp_path)


def test_objects_that_are_left_alone(versions: Make, tmp_path: Path) -> None:
    text = "struct s { int a%s; } s, *p; struct o { struct s s; int k; } o; int main(void);"
    plan = planned(versions, text % "", text % ", b", "struct s -> struct s: {}")
    pair = of(plan, "s").pair
    assert pair is not None
    assert isinstance(pair.op, LeftAlone)
    compiles(tmp_path)


def test_init_reads_the_old_value(versions: Make, tmp_path: Path) -> None:
    old = "int v = 1; struct s { int a; } *p; int main(void) { return 0; }"
    new = "int v = 2; struct s { int a; } *p; int main(void) { return 0; }"
    spec = "INIT v: { $out = $base + $in; } INIT struct s.a: { $out = $base.a; }"
    plan = planned(versions, old, new, spec)
    assert not plan.unused_rules
    compiles(tmp_path)


def test_a_published_anonymous_union(versions: Make, tmp_path: Path) -> None:
    text = """struct mp { struct mp *next; union { char mem[1]; void *p; } u; int n%s; } *mp;
              int main(void);"""
    spec = "union __anonunion_u_57 -> union __anonunion_u_57: {} INIT struct mp.k: {}"
    plan = planned(versions, text % "", text % ", k", spec)
    assert not plan.unused_rules
    compiles(tmp_path)


# -- code ------------------------------------------------------------------------------------------

COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]


@pytest.mark.parametrize("compiler", COMPILERS)
def test_messages_of_the_compiler_name_the_rules_line(
    versions: Make, tmp_path: Path, compiler: str
) -> None:
    spec = """{
int f(void) { return in_the_preamble; }
}
v -> v: {
  $out = $in;

  $out += in_the_code;
}
INIT struct s.a: { $out = in_a_line; }
"""
    planned(versions, ONE, ONE, spec)
    done = compiled(tmp_path, compiler)
    assert done.returncode != 0
    errors = [line for line in done.stderr.splitlines() if "error: " in line]
    places = [(line.split(":")[0], int(line.split(":")[1])) for line in errors]
    assert sorted(places) == [("own.xf", 2), ("own.xf", 7), ("own.xf", 9)]


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("standard", ["gnu11", "gnu2x"])
def test_code_of_new_and_old_c(
    versions: Make, tmp_path: Path, compiler: str, standard: str
) -> None:
    old = "struct s { int a; char *n; } *p; long v; int main(void) { return 0; }"
    new = "struct s { int a; char *n; short k; } *p; long v; int main(void) { return 0; }"
    new_code = "[[maybe_unused]] int none[1] = {}; $out = 1'000 + $in + '$';"
    old_code = "$out = _Generic($in, long: $in, default: 0);"
    spec = f"""
        INIT struct s.k: {{
          uint8_t byte = (uint8_t)strlen($base.n ? $base.n : "");
          char *copy = malloc(2);
          assert(copy);
          free(copy);
          if (!byte)
            return;
          printf("%d\\n", byte);
          $out = byte;
        }}
        v -> v: {{ {new_code if standard == "gnu2x" else old_code} }}
    """
    planned(versions, old, new, spec)
    compiles(tmp_path, compiler, standard)


@pytest.mark.parametrize("compiler", COMPILERS)
def test_generated_names_clash_with_nothing(versions: Make, tmp_path: Path, compiler: str) -> None:
    old = """struct xf { struct xf *next; int type, in, out; }; typedef struct xf closure;
             closure *list; enum kind { kind, move } k; int main(void) { return 0; }"""
    new = old.replace("out; }", "out, count; }").replace("{ kind,", "{ first, kind,")
    (tmp_path / "server.h").write_text(new.partition("int main")[0].replace("closure *list;", ""))
    spec = """{
#include <errno.h>
#include <sys/stat.h>
#include "server.h"
#define transform oops(
#define name ]
#define parts ]
#define old_size ]
static int of(const closure *one) { return one->in; }
static int xf_count(struct xf *xf) { return xf->out; }
}
struct xf -> struct xf.count: { closure c = { .in = $in.in }; $out = of(&c) + xf_count(&c); }
list -> list: { XF_INVOKE(XF_PTR($xform(struct xf, struct xf)), &$in, &$out); }
"""
    plan = planned(versions, old, new, spec)
    assert not plan.unused_rules
    compiles(tmp_path, compiler)


def test_the_size_of_a_type_that_only_a_binding_names_is_checked(
    versions: Callable[..., Any],
) -> None:
    text = "void *number; int main(void) { return 0; }"
    plan = versions(text, text, annotations={"number": "element(long double)"}).plan()
    types = render_release(plan, Identity("sample", "2", (b"x" * 20,)))["kitsune_types.h"]
    assert types.count("_Static_assert(sizeof(long double) == 16, ") == 2


OF_TWO_UNITS = """
struct node {{ {member} struct node *next; }};
enum state {{ {state} }};
static struct node *{name}; static enum state state;
int use_{name}(void) {{ return {name} == 0 && state == 0; }}
"""


def of_two_units(member_a: str, member_b: str, state_a: str, state_b: str) -> dict[str, str]:
    """Return two units, each with a `struct node` and an `enum state` of its own."""
    return {
        "main.c": "int main(void) { return 0; }",
        "a.c": OF_TWO_UNITS.format(member=member_a, state=state_a, name="one"),
        "sub/b.c": OF_TWO_UNITS.format(member=member_b, state=state_b, name="other"),
    }


def test_types_of_one_name_are_told_apart_by_their_units(versions: Make) -> None:
    plan = planned(
        versions,
        of_two_units("int a;", "long b;", "A, LOST", "B"),
        of_two_units("int a; int fresh;", "long b; int fresh; int more;", "A, FOUND", "B, C"),
        """
        INIT a.c/struct node.fresh: { $out = 1; }
        INIT struct node.fresh: { $out = 2; }
        INIT sub/b.c/struct node.more: { $out = 3; }
        a.c/enum state.LOST -> a.c/enum state.FOUND
        """,
    )
    found = {
        (pair.where.root, step.new.name): (step.rule.rule.code or "").strip()
        for pair in plan.pairs
        if isinstance(pair.op, Fields)
        for step in pair.op.steps
        if step.rule is not None
    }
    assert found == {
        ("a.c/one", "fresh"): "$out = 1;",
        ("sub/b.c/other", "fresh"): "$out = 2;",
        ("sub/b.c/other", "more"): "$out = 3;",
    }
    assert plan.unused_rules == ()


def test_a_type_of_one_unit_is_renamed(versions: Make) -> None:
    old = of_two_units("int a;", "long b;", "A", "B")
    new = of_two_units("int a;", "long b;", "A", "B")
    new["sub/b.c"] = new["sub/b.c"].replace("struct node", "struct knot")
    spec = "b.c/struct node -> struct knot"
    assert planned(versions, old, new, spec).nothing_moves
    with pytest.raises(KitsuneError, match=r"'struct knot'"):
        planned(versions, old, new, "a.c/struct node -> struct knot")


def test_a_type_of_one_unit_is_annotated(versions: Make) -> None:
    text = of_two_units("void *p;", "long b; void *p;", "A", "B")
    annotations = {"a.c/struct node.p": "opaque", "b.c/struct node.p": "element(long)"}
    plan = planned(versions, text, text, "", annotations=annotations)
    said = {p.where.path: p.op for p in plan.pairs if p.where.path.endswith("->p")}
    assert said["one->p"] == Copy("opaque")
    assert isinstance(said["other->p"], Point) and said["other->p"].target is not None


def test_a_unit_without_the_type_is_an_error(versions: Make) -> None:
    text = of_two_units("int a;", "long b;", "A", "B")
    with pytest.raises(KitsuneError, match=r"has no 'main\.c/struct node\.a'"):
        planned(versions, text, text, "INIT main.c/struct node.a: { }", strict=True)
    with pytest.raises(KitsuneError, match=r"no 'main\.c/struct node\.a' to annotate"):
        versions(text, text, annotations={"main.c/struct node.a": "ignore"})
