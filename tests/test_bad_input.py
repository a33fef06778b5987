"""Bad input is told in the library's own words, whichever public function gets it, and never answered by NaN."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ATTACK = Path(__file__).parents[1] / "benchmarks" / "attack.py"
UNCLEAR = 5
"""Calls that may end in somebody else's words."""


def attacked(*names):
    """How many calls were made, and what is not told clearly; in a process whose annotations are not checked."""
    run = [sys.executable, str(ATTACK), *names, "--list"]
    lines = subprocess.run(run, capture_output=True, text=True, check=True).stdout.splitlines()
    return int(lines[-1].split()[0]), [line for line in lines if re.match(r" +(unclear|silent): ", line)]


def test_the_cheapest_functions():
    calls, bad = attacked(
        "LinearProblem", "RecoveryProblem", "predict", "locate", "flow_time", "sample", "group_relu", "GaussianSource"
    )
    assert calls > 400
    assert bad == []


@pytest.mark.slow
def test_every_function():
    calls, bad = attacked()
    assert calls > 3000
    assert not [line for line in bad if "silent" in line]
    assert len(bad) < UNCLEAR, "\n".join(bad)
