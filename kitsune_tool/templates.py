"""The templates, read once: those of generated C, and those of pages.

In: nothing. Out: environments of Jinja2. Called by render.py and reportpage.py, which alone print.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import jinja2

from kitsune_tool import resources


@functools.cache
def environment(
    *, escapes: bool = False, finalize: Callable[[object], object] | None = None
) -> jinja2.Environment:
    """Return the templates. `escapes`: they print HTML; `finalize` is done to each value."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(resources.templates_dir()),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=escapes,
        finalize=finalize,
    )
