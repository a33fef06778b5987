"""Two devices of one process give what one gives, and nothing passes between them."""

import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest

from aetheory.sweeps import programs
from aetheory.sweeps.run import Sweep

PROGRAM = """
import hashlib, json
import jax
jax.config.update("jax_enable_x64", True)
import aetheory as ae
from aetheory.sweeps.run import Sweep

def task(cell, key):
    start = cell["scale"] * jax.random.normal(key, (8, 8))
    return jax.lax.fori_loop(0, 20, lambda _, one: one - 0.01 * one @ one.T @ one, start)

grid = {"scale": [0.1, 0.5, 1.0]}
key = jax.random.key(0)

def digest(devices):
    dataset = ae.sweep(task, grid, key, 3, devices=devices)
    return hashlib.sha256(dataset.value.values.tobytes()).hexdigest()

sweep = Sweep(task, grid, key, 3)
text = sweep.runner.compile(next(iter(sweep.programs.values()))).call.as_text()
print(json.dumps({"devices": len(jax.devices()), "one": digest(jax.devices()[:1]), "two": digest(jax.devices()),
                  "text": text}))
"""

SCALES = np.linspace(1, 2, 300)


@pytest.mark.parametrize(("memory", "repeats", "width"), [(2**40, 1, 256), (2**40, 8, 1024), (2**20, 8, 32), (1, 8, 1)])
def test_an_accelerator_runs_together_what_is_estimated_to_fit(memory, repeats, width, monkeypatch):
    """The largest array of the program has 128 × 4 bytes, and 32 such arrays may take half of the memory."""

    def function(parameters, key):
        return parameters["x"] * jax.random.uniform(key, (128,)).sum()

    monkeypatch.setattr(programs, "device_memory", lambda device: memory)
    sweep = Sweep(function, {"x": SCALES}, jax.random.key(0), repeats)
    (evaluations,) = sweep.programs.values()
    assert sweep.runner._accelerator_width(evaluations) == width


COLLECTIVES = ("all-reduce", "all-gather", "all-to-all", "collective-permute", "reduce-scatter", "collective-broadcast")


def test_two_devices_give_what_one_gives_and_exchange_nothing():
    environment = {
        **os.environ,
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2",
    }
    command = [sys.executable, "-c", PROGRAM]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=600)
    report = json.loads(run.stdout.splitlines()[-1])
    assert report["devices"] == 2
    assert report["one"] == report["two"]
    assert "while" in report["text"]
    assert [name for name in COLLECTIVES if name in report["text"]] == []
