"""Blocks are dealt out so that workers run, and compile, different programs at the same time."""

import os
import threading

import jax
import pytest

import aetheory as ae
from aetheory.sweeps import Simulation
from aetheory.sweeps.grid import make_grid
from aetheory.sweeps.plan import Plan
from aetheory.sweeps.shares import Shares


def blocks(count):
    return [(slice(number, number + 1),) for number in range(count)]


def taken(shares, worker):
    region = shares.take(worker)
    return None if region is None else region[0].start


def test_each_worker_has_consecutive_blocks_of_its_share_of_the_work():
    shares = Shares(blocks(6), [6.0, 1.0, 1.0, 2.0, 1.0, 1.0], ["first", "second"])
    # the first block is half of the work
    assert [taken(shares, "second") for _ in range(4)] == [1, 2, 3, 4]
    assert taken(shares, "first") == 0


def test_who_has_finished_helps_where_most_is_left_from_the_back():
    shares = Shares(blocks(9), [1.0] * 9, "abc")
    assert [taken(shares, "a") for _ in range(3)] == [0, 1, 2]
    assert taken(shares, "b") == 3
    assert [taken(shares, "a"), taken(shares, "a"), taken(shares, "a")] == [8, 5, 7]
    assert [taken(shares, "b"), taken(shares, "c"), taken(shares, "c")] == [4, 6, None]


def test_every_block_is_taken_once():
    shares = Shares(blocks(50), [0.3] * 50, range(8))
    found = [taken(shares, number % 8) for number in range(50)]
    assert sorted(found) == list(range(50))
    assert all(shares.take(worker) is None for worker in range(8))


THREADS = len(os.sched_getaffinity(0))


@pytest.mark.skipif(THREADS < 2, reason="one thread compiles one program after the other")
def test_threads_compile_different_programs_at_the_same_time():
    both = threading.Barrier(2, timeout=60)

    def traced(parameters, key):
        if parameters["size"] > THREADS:  # the others are compiled before the threads start
            both.wait()
        return jax.numpy.sum(jax.random.normal(key, (parameters["size"],)))

    sizes, devices = list(range(1, THREADS + 3)), jax.devices()[:1]
    dataset = ae.sweep(traced, {"size": sizes}, jax.random.key(0), 8, devices=devices, block_size=2)
    assert dataset.value.shape == (len(sizes), 8)


def test_the_costliest_programs_are_known_first():
    shapes = {"input_dim": [40, 300, 400, 41], "latent_dim": [60, 30, 300, 62], "num_samples": [80, 90, 500, 81]}
    grid = make_grid({"shape": shapes, "init_scale": [0.1, 1.0]})
    plan = Plan(Simulation([0.0, 1.0]), grid, 3)
    ranks = [lanes.program.rank for lanes in plan.costliest(5)]
    assert ranks == [400, 90, 41, 40]
    assert [lanes.program.rank for lanes in plan.costliest(2)] == [400, 90]
    (costliest,) = plan.costliest()
    assert costliest.inputs["init_variance"] == 1.0 / 400
