"""Lets the tests find the package that they and `./kit failures` are made of."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
