"""Annotations of the manifest, put onto a merged program.

In: a `Program` and `AnnotationSource`s (config.py reads them from the manifest). Out: the `Program`
with the annotations in place, as if they had stood in the source. Called by release.py before the
program is stored in the release and compared.
"""

from __future__ import annotations

from dataclasses import dataclass

from kitsune_tool.errors import Location


@dataclass(frozen=True, slots=True)
class AnnotationSource:
    """An entry of the manifest's `annotations:`: a path, the text behind it, its place."""

    path: str
    text: str
    at: Location
