"""The tests themselves: workers that run side by side must find the same ones, each in its process at its time."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent


def collected(seed: int) -> list[str]:
    """Returns the names of all tests, as a fresh process with that seed of its hashes finds them."""
    asked = [sys.executable, "-m", "pytest", str(TESTS), "--collect-only", "-q", "-o", "addopts="]
    told = subprocess.run(
        asked, env=os.environ | {"PYTHONHASHSEED": str(seed)}, cwd=TESTS.parent, capture_output=True, text=True
    )
    assert told.returncode == 0, told.stdout + told.stderr
    return [line for line in told.stdout.splitlines() if "::" in line]


@pytest.mark.slow
def test_names_of_tests_hold_neither_the_time_nor_the_order_of_a_set() -> None:
    first = collected(1)
    assert (
        f"tests/{Path(__file__).name}::{test_names_of_tests_hold_neither_the_time_nor_the_order_of_a_set.__name__}"
        in first
    )
    assert collected(2) == first
