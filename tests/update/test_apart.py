"""Where images are loaded: each in 4 GiB of its own, elsewhere only if that cannot be."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kitsune_tool import launcher

HERE = Path(__file__).parent
RELEASE = re.compile("/memfd:kitsune-release|.*/scenario.so$")
"""What an image is mapped from: a copy of the release, the first one from the release itself."""
REGION_BITS = 32
END = 0x9B000000
"""Of an image, from the start of its region: apart.c says why."""

Span = tuple[int, int]


def spans(pid: int) -> tuple[dict[str, Span], list[Span]]:
    """Return what each image spans, by inode, and what lies outside of all of them."""
    images: dict[str, Span] = {}
    all_spans = []
    for line in Path(f"/proc/{pid}/maps").read_text(encoding="utf-8").splitlines():
        addresses, _, _, _, inode, *name = line.split(maxsplit=5)
        start, end = (int(each, 16) for each in addresses.split("-"))
        all_spans.append((start, end))
        if name and RELEASE.match(name[0]):
            images[inode] = (images.get(inode, (start, end))[0], end)
    others = [
        (start, end)
        for start, end in all_spans
        if not any(first <= start and end <= last for first, last in images.values())
    ]
    return images, others


def regions(span: Span) -> set[int]:
    """Return the regions of 4 GiB that it touches."""
    start, end = span
    return set(range(start >> REGION_BITS, (end - 1 >> REGION_BITS) + 1))


def test_each_image_has_a_region_of_its_own(
    built: Callable[..., Any], start: Callable[..., Any]
) -> None:
    """Also while the one before stays mapped, and with all else that is there."""
    scenario = built(HERE / "old_code")
    server = start(scenario.release("1"), KITSUNE_OLD_CODE="keep")
    server.ask("set")
    assert len(spans(server.pid)[0]) == 1
    assert server.update_now(scenario.release("2")).committed
    images, others = spans(server.pid)
    assert len(images) == 2
    assert {end % (1 << REGION_BITS) for _, end in images.values()} == {END}
    first, second = (regions(each) for each in images.values())
    elsewhere = set[int]().union(*(regions(each) for each in others))
    assert (len(first), len(second)) == (1, 1)
    assert not first & second and not (first | second) & elsewhere


@pytest.mark.parametrize("limit", ["-v 4000000", "-s unlimited"])
def test_update_where_addresses_are_limited(
    limit: str, built: Callable[..., Any], start: Callable[..., Any]
) -> None:
    limited = ["bash", "-c", f'ulimit {limit} && exec "$@"', "bash", str(launcher.launcher_path())]
    scenario = built(HERE / "chain_of_four")
    server = start(scenario.release("1"), command=limited)
    server.ask("add 1")
    for version in ("2", "3", "4"):
        assert server.update_now(scenario.release(version)).committed
    images, _ = spans(server.pid)
    assert END not in {end % (1 << REGION_BITS) for _, end in images.values()}
    assert server.ask("add 4") == "4 4008 made by 4 | 1 4002 made by 1"
