"""What every page of a report must be, looked at in a browser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from headless import Browser

from kitsune_tool.reportpage import anchor, visible

_SEEN = """
const element = document.getElementById(arguments[0]);
if (!element) return null;
for (let up = element; up; up = up.parentElement) if (up.tagName === 'DETAILS') up.open = true;
const box = element.getBoundingClientRect();
return [box.width, box.height, element.innerText];
"""
_ROWS = """
return Array.from(document.querySelectorAll(arguments[0]))
  .filter(row => row.getClientRects().length)
  .map(row => row.innerText);
"""
_FAULTS = """
const faults = [];
const ids = Array.from(document.querySelectorAll('[id]')).map(e => e.id);
if (new Set(ids).size !== ids.length) faults.push('an id is there twice');
for (const link of document.querySelectorAll('a[href]')) {
  const target = link.getAttribute('href');
  if (!target.startsWith('#') || !document.getElementById(decodeURIComponent(target.slice(1))))
    faults.push('a link leads nowhere: ' + target);
}
let level = 0;
for (const heading of document.querySelectorAll('h1, h2, h3, h4')) {
  const now = Number(heading.tagName[1]);
  if (now > level + 1) faults.push('a heading is skipped before ' + heading.innerText);
  level = now;
}
for (const table of document.querySelectorAll('table')) {
  if (!table.caption || !table.caption.textContent.trim()) faults.push('a table has no caption');
  for (const cell of table.querySelectorAll('th'))
    if (!cell.scope) faults.push('a heading of a table has no scope');
}
if (!document.documentElement.lang) faults.push('no language');
if (!document.title) faults.push('no title');
if (document.querySelector('script, iframe, object, embed, link, img'))
  faults.push('a foreign part');
if (performance.getEntriesByType('resource').length) faults.push('something was fetched');
if (document.documentElement.scrollWidth > window.innerWidth)
  faults.push('wider than the window: ' + document.documentElement.scrollWidth);
return faults;
"""
_PALE = """
const channel = c => { c /= 255; return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
const light = rgb => 0.2126 * channel(rgb[0]) + 0.7152 * channel(rgb[1]) + 0.0722 * channel(rgb[2]);
const numbers = text => text.match(/[\\d.]+/g).map(Number);
const back = element => {
  for (let up = element; up; up = up.parentElement) {
    const rgb = numbers(getComputedStyle(up).backgroundColor);
    if (rgb.length < 4 || rgb[3] > 0) return rgb;
  }
  return [255, 255, 255];
};
const pale = new Set();
for (const element of document.querySelectorAll('body *')) {
  const own = Array.from(element.childNodes).some(n => n.nodeType === 3 && n.textContent.trim());
  if (!own || !element.getClientRects().length) continue;
  const [one, other] = [light(numbers(getComputedStyle(element).color)), light(back(element))];
  const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
  if (ratio < 4.5) pale.add(element.className + ' ' + element.tagName + ' ' + ratio.toFixed(2));
}
return Array.from(pale);
"""


def check(browser: Browser, page: Path, name: str) -> dict[str, Any]:
    """Look at a page on wide and narrow, light and dark screens and on paper; return its data."""
    data: dict[str, Any] = json.loads(page.with_name("report.json").read_text(encoding="utf-8"))
    browser.open(page)
    assert browser.run(_FAULTS) == []
    assert len(browser.look(f"{name}-light")) > 10_000
    for scheme in ("light", "dark"):
        browser.prefer(scheme)
        assert browser.run(_PALE) == [], scheme
    browser.look(f"{name}-dark")
    browser.resize(390, 800)
    assert browser.run(_FAULTS) == []
    browser.look(f"{name}-narrow")
    browser.resize(1280, 900)
    browser.prefer("light")
    check_contents(browser, data)
    assert browser.complaints() == []
    return data


def check_contents(browser: Browser, data: dict[str, Any]) -> None:
    """Check that each type that changed, each variable and each edit is to be seen."""
    for each in data["types"]:
        text = seen(browser, anchor("t", each["name"]))
        assert visible(each["name"]) in text
        if each["change"] != "same":
            for row in each["members"]:
                for side in ("old", "new"):
                    assert squeezed(visible(row.get(side, ""))) in squeezed(text)
    for each in data["variables"]:
        text = seen(browser, anchor("v", each["name"]))
        assert visible(each["name"]) in text
    edits = browser.run(_ROWS, "tr.edit")
    assert len(edits) == len(data["edits"])
    for edit, row in zip(data["edits"], edits, strict=True):
        assert edit["place"] in row
        assert squeezed(visible(edit["text"])) in squeezed(row)


def seen(browser: Browser, name: str) -> str:
    """Return what is written in a part of the page, its folds opened, if it takes up room."""
    found = browser.run(_SEEN, name)
    assert found is not None, name
    width, height, text = found
    assert width > 0 and height > 0, name
    return str(text)


def squeezed(text: str) -> str:
    """Return a text without spaces: a browser breaks lines where it likes."""
    return "".join(text.split())
