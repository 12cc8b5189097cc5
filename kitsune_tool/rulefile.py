"""Rules in files of their own, in either spelling.

In: a `.xf` file, or the `rules:` and `preamble:` of a YAML one. Out: a `RuleFile`; and the other
way round, the text of one. Called by config.py for a manifest's rules and by cli.py for `convert`.

What a conversion keeps: the rules and their order, their labels and the order of these, code and
preamble to the byte, and the words of the comments in front of rules (not in front of which label
they stood, and not whether they were written with `#`, `//` or stars).
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeVar

from kitsune_tool import files
from kitsune_tool.errors import KitsuneError, Location
from kitsune_tool.rules import Preamble, RuleFile, RuleSource
from kitsune_tool.xf import parse_xf, plain_label, print_xf
from kitsune_tool.yamlfile import Node, read_yaml

Spelling = Literal["xf", "yaml"]
_Word = TypeVar("_Word", bound=str)
_KINDS: tuple[Literal["rename", "transform", "init"], ...] = ("rename", "transform", "init")
SPELLINGS: dict[str, Spelling] = {".xf": "xf", ".yaml": "yaml", ".yml": "yaml"}
"""How a file of rules is spelled, by the end of its name."""
SUFFIX_HINT = "rules stand in files whose name ends in .xf or .yaml"
_PATH = r"(?:(?:struct|union|enum|typedef) )?[A-Za-z_$][\w$./#-]*"
_PLAIN = re.compile(f"(?:INIT )?{_PATH}(?: -> {_PATH})?")
"""Labels that YAML needs no quotes for."""
_LITERAL = re.compile(r"[\t\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd]*")
"""Texts that a YAML block keeps to the byte: no other control characters or line ends."""


def load_rules(path: Path) -> RuleFile:
    """Read a file of rules; its suffix says how it is spelled. Raises K114, K116, K2xx."""
    name = files.shown(path)
    if _spelling(path) == "xf":
        return parse_xf(_read(path, name), name)
    return _file_of(read_yaml(path, name, "the file of rules"))


def _file_of(top: Node) -> RuleFile:
    fields = top.fields(("preamble", "rules"))
    preamble = preamble_of(fields["preamble"]) if "preamble" in fields else None
    items = fields["rules"].items() if "rules" in fields else []
    rules = [rule_of(item) for item in items]
    keys = {key.text(): key for key, _ in top.entries()}
    comments = keys["rules"].comments_above() if "rules" in keys else ()
    if not rules:
        return RuleFile(preamble, (), comments)
    rules[0] = dataclasses.replace(rules[0], comments=comments + rules[0].comments)
    is_last = list(keys)[-1] == "rules"
    return RuleFile(preamble, tuple(rules), items[-1].comments_below() if is_last else ())


def convert(path: Path, to: Spelling | None) -> str:
    """Return the text of a file of rules in the other spelling, or in `to`."""
    rules = load_rules(path)
    to = to or ("yaml" if _spelling(path) == "xf" else "xf")
    if to == "xf":
        return print_xf(rules)
    text = print_yaml(rules)
    if any("\udc80" <= letter <= "\udcff" for letter in text):
        line = next(i for i, each in enumerate(_read(path, "").split("\n"), 1) if _is_odd(each))
        at = Location(files.shown(path), line)
        raise KitsuneError("K116", "this line is not UTF-8, which YAML must be", at=at)
    return text


def preamble_of(node: Node) -> Preamble:
    """Return the C text of a `preamble:`."""
    return Preamble(node.text(), _code_place(node), node.comments_above())


def rule_of(item: Node) -> RuleSource:
    """Return an item of a list of rules. Raises K204 to K206 with its line."""
    kind = action(item, _KINDS, "a rule")
    item = Node(item.document, item.node, f"a rule '{kind}'")
    known = (kind,) if kind == "rename" else (kind, "code")
    required = (kind, "code") if kind == "transform" else (kind,)
    fields = item.fields(known, required=required)
    labels = fields[kind].items() if fields[kind].is_list else [fields[kind]]
    code = fields.get("code")
    text = code.text() if code and not code.is_null else ""
    return RuleSource(
        kind=kind,
        labels=tuple(label.text() for label in labels),
        code=None if kind == "rename" else text,
        at=item.at,
        code_at=_code_place(code) if code else None,
        places=tuple(label.at for label in labels),
        comments=item.comments_above(),
    )


def action(item: Node, known: Sequence[_Word], what: str) -> _Word:
    """Return the one of `known` that is a key of `item`. Raises K206 for none or several."""
    named = Node(item.document, item.node, what)
    keys = [key.text() for key, _ in named.entries()]
    found = [word for word in known if word in keys]
    if len(found) == 1:
        return found[0]
    wanted = ", ".join(known)
    if found:
        raise named.error("K206", f"{what} has {' and '.join(found)}: only one of them is possible")
    near = next((near for key in keys for near in difflib.get_close_matches(key, known, n=1)), None)
    hint = f"did you mean '{near}'?" if near else None
    raise named.error("K206", f"{what} has none of: {wanted}", hint=hint)


def print_yaml(rules: RuleFile) -> str:
    """Return the text of a YAML file of rules."""
    text = ""
    if rules.preamble is not None:
        text += _comments(rules.preamble.comments, "")
        text += f"preamble: {_scalar(rules.preamble.text, '')}\n"
    text += "rules:\n" if rules.rules else "rules: []\n"
    for rule in rules.rules:
        text += _comments(rule.comments, "  ") + _item(rule)
    return text + _comments(rules.comments, "  ")


def _item(rule: RuleSource) -> str:
    labels = [_label(label) for label in rule.labels]
    if len(labels) == 1:
        text = f"  - {rule.kind}: {labels[0]}\n"
    else:
        text = f"  - {rule.kind}:\n" + "".join(f"      - {label}\n" for label in labels)
    if rule.code or (rule.kind == "transform"):
        text += f"    code: {_scalar(rule.code or '', '    ')}\n"
    return text


def _label(text: str) -> str:
    text = plain_label(text)
    return text if _PLAIN.fullmatch(text) else _quoted(text)


def _scalar(text: str, indent: str) -> str:
    """Return a text as YAML's literal block, to the byte; in quotes where a block cannot."""
    if "\n" not in text or not _LITERAL.fullmatch(text) or not text.strip("\n"):
        return _quoted(text)
    body = text.removesuffix("\n")
    keep = "-" if body == text else "+" if body.endswith("\n") else ""
    deeper = indent + "  "
    starts_deep = re.match(r"\n*[ \t]", text) is not None
    lines = "".join(f"\n{deeper}{line}" if line else "\n" for line in body.split("\n"))
    return f"|{'2' if starts_deep else ''}{keep}{lines}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    escaped = escaped.replace("\t", "\\t").replace("\r", "\\r")
    return '"' + "".join(each if _is_printable(each) else _escape(each) for each in escaped) + '"'


def _is_printable(letter: str) -> bool:
    return _LITERAL.fullmatch(letter) is not None or "\udc80" <= letter <= "\udcff"


def _escape(letter: str) -> str:
    code = ord(letter)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else letter


def _comments(comments: Sequence[str], indent: str) -> str:
    return "".join(f"{indent}# {line}".rstrip() + "\n" for line in comments)


def _code_place(node: Node) -> Location:
    return Location(node.at.file, node.text_line())


def _spelling(path: Path) -> Spelling:
    spelling = SPELLINGS.get(path.suffix)
    if spelling is None:
        raise KitsuneError(
            "K116",
            "this is neither a .xf nor a .yaml file",
            at=Location(files.shown(path)),
            hint=SUFFIX_HINT,
        )
    return spelling


def _read(path: Path, name: str) -> str:
    """Return a file's text as it is: line ends and bytes that are no UTF-8 are kept."""
    try:
        return path.read_bytes().decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    except OSError as error:
        reason = error.strerror.lower() if error.strerror else str(error)
        raise KitsuneError("K202", f"cannot read {name}: {reason}") from error


def _is_odd(line: str) -> bool:
    return any("\udc80" <= letter <= "\udcff" for letter in line)
