"""Makes the project that SCons's tests build available to them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from scons_project import make_project, project, released, released_once  # noqa: F401
