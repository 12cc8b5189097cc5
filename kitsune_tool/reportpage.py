"""A release's report for readers: as text, and as a page of HTML that needs nothing but itself.

In: the data of report.py, as it is in `report.json`. Out: text, HTML. Called by release.py, and by
cli.py for reports that lie in a store. What comes from the program is shown so that nothing in it
can pass for something else: HTML is escaped, and characters that cannot be seen are spelled out.
"""

from __future__ import annotations

import unicodedata
import urllib.parse
from collections.abc import Callable, Iterable
from typing import Any

from kitsune_tool.report import Data
from kitsune_tool.templates import environment

CARRIED = {
    "start": "as it starts",
    "copied": "copied",
    "redirected": "copied, pointers redirected",
    "in-place": "in place",
    "transformed": "transformed",
    "rule": "by rule",
    "initialised": "initialised",
    "by-hand": "by the program itself",
    "initial": "initial value",
    "constant": "constant",
    "left-alone": "left alone",
    "dropped": "dropped",
}
"""The words of `carried`, as they are shown."""

_QUIET = frozenset(("start", "copied", "redirected", "in-place", "constant"))
_UNSEEN = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
_KEPT = frozenset("\n\t")

NOT_KNOWN = (
    "What a function does is not compared: only its name is, and its signature if its address is"
    " taken somewhere.",
    "Casts in function bodies are not followed. Those to types that change are listed as assumed,"
    " and those from them where the operand is a parameter or local. A pointer that is kept as a"
    " number, or in bytes that are copied, is no pointer to Kitsune; numbers of type uintptr_t and"
    " intptr_t are listed as assumed, others cannot be told from numbers.",
    "A pointer to bytes (char *) is taken for a text or a buffer: what looks like pointers in it"
    " is left as it is.",
    "State outside the program's memory (files, the other end of a connection, shared memory) is"
    " not looked at.",
)
"""What no report can tell, whatever the program is."""


def as_page(data: Data) -> str:
    """Return the report as a page of HTML."""
    code = {piece["name"]: piece for piece in data["generated"]}
    pages = environment(escapes=True, finalize=_finalized)
    template = pages.get_template("report.html.j2", globals={"anchor": anchor})
    return template.render(
        report=data,
        code=code,
        carried=CARRIED,
        look=list(_to_look_at(data)),
        loud=[v for v in data["variables"] if not is_quiet(v)],
        quiet=[v for v in data["variables"] if is_quiet(v)],
        changed=[t for t in data["types"] if t["change"] != "same"],
        same=[t for t in data["types"] if t["change"] == "same"],
        not_known=NOT_KNOWN,
    )


def is_quiet(variable: Data) -> bool:
    """Tell whether a variable is carried over as it is."""
    return (
        variable["carried"] in _QUIET
        and "was" not in variable
        and variable.get("old", variable.get("new")) == variable.get("new")
    )


def visible(text: str) -> str:
    """Return a text with characters spelled out that would not be seen, or change the order."""
    return "".join(each if _is_seen(each) else f"\\u{ord(each):04x}" for each in text)


def _is_seen(character: str) -> bool:
    return character in _KEPT or unicodedata.category(character) not in _UNSEEN


def _finalized(value: object) -> object:
    """Return what the template prints for a value; markup of its own macros stays as it is."""
    return visible(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def anchor(kind: str, name: str) -> str:
    """Return the id of a thing's entry in the page."""
    return f"{kind}-{urllib.parse.quote(name, safe='')}"


def _to_look_at(data: Data) -> Iterable[Data]:
    """Yield what a reviewer should look at first: each with a text and where it is told."""
    words = {
        "dropped": "is dropped: nothing of the new version asks for it",
        "initial": "keeps the new version's initial value",
        "initialised": "is initialised by a rule",
        "rule": "gets its value from a rule",
        "by-hand": "gets its value from a function of the program itself",
    }
    for guess in data["likely_renames"]:
        text = f"may be what {guess['was']} was ({guess['likelihood']:.0%} likely), but starts anew"
        yield {"what": guess["name"], "text": text, "to": anchor("v", guess["name"])}
    guessed = {guess["name"] for guess in data["likely_renames"]}
    for variable in data["variables"]:
        if variable["name"] in guessed:
            continue
        word = words.get(variable["carried"])
        if word is not None:
            text = word if variable["carried"] != "initial" else variable["how"]
            yield {"what": variable["name"], "text": text, "to": anchor("v", variable["name"])}
    for each in data["types"]:
        if each.get("carried") in {"rule", "left-alone"}:
            yield {"what": each["name"], "text": each["how"], "to": anchor("t", each["name"])}
    for function in data["functions"]:
        if function["change"] == "gone" and "pointers" in function:
            text = f"is gone; {function['pointers']}"
            yield {"what": function["name"], "text": text, "to": "functions"}
    for point in data["update_points"]:
        if point["change"] in {"gone", "renamed"}:
            text = f"update point {point['change']}"
            yield {"what": point["name"], "text": text, "to": "update-points"}
    for rule in data["rules"]:
        if "unused" in rule:
            text = f"a rule that matches nothing: {rule['unused']}"
            yield {"what": rule["rule"], "text": text, "to": "rules"}


# -- text -----------------------------------------------------------------------------------------


def as_text(data: Data) -> str:
    """Return the report as text."""
    head = f"{data['program']} {data['version']}"
    lines = [f"{head}, follows {data['follows']}" if data["follows"] else f"{head}, first release"]
    if data["follows"]:
        moves = "some get new blocks" if data["objects_move"] else "none gets a new block"
        lines.append(f"Objects: {moves}.")
    for title, show in _SECTIONS:
        entries = list(show(data))
        if entries:
            lines += ["", title, *(f"  {entry}" for entry in entries)]
    return "".join(f"{visible(line)}\n" for line in lines)


def _show_identity(data: Data) -> Iterable[str]:
    identity = data["identity"]
    for key in ("build_id", "digest"):
        if key in identity:
            yield f"{key.replace('_', '-')}: {identity[key]}"
    for parent in identity.get("parents", ()):
        yield f"follows: {parent['version']} (build-id {parent['build_id']})"
    for name, value in identity.get("toolchain", {}).items():
        yield f"{name}: {value}"


def _show_variables(data: Data) -> Iterable[str]:
    yield from map(_named, data["variables"])


def _show_types(data: Data) -> Iterable[str]:
    for each in data["types"]:
        yield _named(each)
        for row in each.get("members", ()):
            text = _member(row)
            if text and each["change"] == "changed":
                yield f"    {text}"


def _named(entry: Data) -> str:
    was = f" (was {entry['was']})" if "was" in entry else ""
    place = entry.get("place") or entry.get("old_place", "")
    how = entry.get("how", "")
    if "change" in entry:
        state = "" if "carried" in entry else "no object of it is carried over"
        how = "; ".join(filter(None, [entry["change"], how or state]))
    if entry.get("carried") == "dropped":
        how = f"dropped: {how}"
    return f"{entry['name']}{was}{f' [{place}]' if place else ''}: {how}"


def _member(row: Data) -> str:
    """Return what is said of a member, "" for one that only stays."""
    if row["change"] in {"", "moved"} and not row.get("how"):
        return ""
    parts = [row["change"], row.get("how", "")]
    return f"{row.get('new') or row.get('old')}: {', '.join(filter(None, parts))}"


def _show_functions(data: Data) -> Iterable[str]:
    for each in data["functions"]:
        becomes = f" -> {each['becomes']}" if "becomes" in each else ""
        pointers = f"; pointers to it: {each['pointers']}" if "pointers" in each else ""
        place = each.get("place") or each.get("old_place", "")
        yield f"{each['name']}{becomes} [{place}]: {each['change']}{pointers}"


def _show_points(data: Data) -> Iterable[str]:
    for each in data["update_points"]:
        was = f" (was '{each['was']}')" if "was" in each else ""
        places = ", ".join(each["places"] or each["old_places"])
        yield f"{each['change']}: {each['name']}{was} in {places}"


def _show_rules(data: Data) -> Iterable[str]:
    for rule in data["rules"]:
        why = rule.get("unused") or rule.get("replaced")
        if why:
            yield f"{rule['rule']} [{rule['place']}]: {why}"


def _show_likely(data: Data) -> Iterable[str]:
    for guess in data["likely_renames"]:
        yield f"{guess['name']}: may be what {guess['was']} was ({guess['likelihood']:.0%} likely)"


def _show_assumed(data: Data) -> Iterable[str]:
    for each in data["assumed"]:
        place = f" [{each['place']}]" if each["place"] else ""
        yield f"{each['what']}{place}: {each['text']}"


def _show_edits(data: Data) -> Iterable[str]:
    for each in data["edits"]:
        where = each["function"] or "the file"
        yield f"{each['place']} in {where}: {each['action']}: {each['text']}"


_Show = Callable[[dict[str, Any]], Iterable[str]]
_SECTIONS: tuple[tuple[str, _Show], ...] = (
    ("Identity", _show_identity),
    ("Variables", _show_variables),
    ("Types", _show_types),
    ("Functions", _show_functions),
    ("Update points", _show_points),
    ("Likely renames that no rule speaks of", _show_likely),
    ("Assumed", _show_assumed),
    ("Not known", lambda data: NOT_KNOWN if data["follows"] else ()),
    ("Rules without effect", _show_rules),
    ("Edits", _show_edits),
)
