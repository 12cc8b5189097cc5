"""Places of the processes of a tree, taken without processes that race for them."""

import subprocess
from pathlib import Path

from test_engine import compile_program


def test_a_place_that_is_about_to_be_taken_is_left_alone(tmp_path: Path) -> None:
    """Who lost it to another would go beyond those places that are looked at."""
    program = compile_program(tmp_path / "tree", "tree_places.c", ("tree", "platform"))
    subprocess.run([program], check=True, timeout=60)
