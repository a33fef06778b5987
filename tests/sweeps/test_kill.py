"""A sweep that is killed at any moment goes on to what an undisturbed one gives."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest
import xarray

import aetheory as ae

PROGRAM = """
import sys
import jax
jax.config.update("jax_enable_x64", True)
import aetheory as ae

grid = {"shape": {"input_dim": [20, 60], "latent_dim": [30, 30]}, "num_samples": [80], "init_scale": [.1, .2, .5, 1.]}
task = ae.sweeps.Simulation([0.0, 0.5, 1.0, 3.0], rtol=1e-8)
ae.sweep(task, grid, jax.random.key(0), 160, sys.argv[1], block_size=2)
"""


def run(store, cache):
    environment = {
        **os.environ,
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    return subprocess.Popen([sys.executable, "-c", PROGRAM, str(store)], env=environment)


@pytest.mark.slow
def test_killed_at_ten_random_moments(tmp_path):
    cache, killed = tmp_path / "cache", tmp_path / "killed"
    assert run(tmp_path / "whole", cache).wait() == 0
    delays = random.Random(0)
    done = []
    for _ in range(10):
        process = run(killed, cache)
        while process.poll() is None and not killed.exists():
            time.sleep(0.01)
        time.sleep(delays.uniform(0.0, 5.0))
        process.send_signal(signal.SIGKILL)
        process.wait()
        dataset = ae.sweeps.open_store(killed)
        done.append(int(dataset.done.sum()) if "done" in dataset else -1)
    # otherwise nothing was interrupted
    assert done[0] >= 0
    assert done[:3] == sorted(done[:3])
    assert run(killed, cache).wait() == 0
    both = [ae.sweeps.open_store(tmp_path / name).load() for name in ("whole", "killed")]
    xarray.testing.assert_identical(*both)
