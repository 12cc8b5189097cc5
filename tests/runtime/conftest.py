"""Makes the harness of control available to the runtime's tests."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from control_harness import control_program, releases, start  # noqa: F401
