"""Two devices of one process give what one gives, and nothing passes between them."""

import json
import os
import subprocess
import sys

import pytest

PROGRAM = """
import hashlib, json
import jax
jax.config.update("jax_enable_x64", True)
import numpy as np
import aetheory as ae
from aetheory.sweeps.execute import Executor
from aetheory.sweeps.grid import make_grid
from aetheory.sweeps.plan import Plan

task = ae.sweeps.Simulation([0.0, 0.5, 1.0])
grid = {"input_dim": [8], "latent_dim": [3], "num_samples": [20], "init_scale": [0.1, 0.5, 1.0]}
key = jax.random.key(0)

def digest(devices):
    dataset = ae.sweep(task, grid, key, 3, devices=devices)
    return hashlib.sha256(dataset.train.values.tobytes() + dataset.population.values.tobytes()).hexdigest()

plan = Plan(task, make_grid(grid), 3)
executor = Executor(task, key, None, jax.devices(), 10**9, None, plan.num_evaluations)
text = executor.compiled_text(plan.costliest()[0])
print(json.dumps({"devices": len(jax.devices()), "one": digest(jax.devices()[:1]), "two": digest(jax.devices()),
                  "text": text}))
"""

COLLECTIVES = ("all-reduce", "all-gather", "all-to-all", "collective-permute", "reduce-scatter", "collective-broadcast")


@pytest.fixture(scope="module")
def report():
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True, timeout=600
    )
    return json.loads(run.stdout.splitlines()[-1])


def test_two_devices_give_what_one_gives(report):
    assert report["devices"] == 2
    assert report["one"] == report["two"]


def test_nothing_passes_between_devices(report):
    assert "while" in report["text"]
    assert [name for name in COLLECTIVES if name in report["text"]] == []
