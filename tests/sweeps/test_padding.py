"""A problem computed inside a larger one of its kind is the same problem."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aetheory.linear.ensembles import Dimensions, gaussian, reduction
from aetheory.sweeps import Simulation
from aetheory.sweeps.padding import shared_shapes

KINDS = {
    "more samples than dimensions": ((6, 2, 20), (13, 4, 40)),
    "latent factor, full rank": ((5, 8, 20), (7, 9, 30)),
    "latent factor, low rank": ((6, 9, 3), (11, 12, 5)),
    "low rank": ((10, 6, 5), (17, 9, 9)),
    "low rank, outside factor": ((20, 3, 4), (50, 5, 9)),
    "full rank in low rank": ((6, 2, 20), (17, 9, 9)),
    "full rank in low rank, outside factor": ((8, 3, 20), (50, 5, 9)),
    "map, full rank": ((33, 60, 50), (36, 80, 70)),
    "map, low rank": ((33, 60, 8), (40, 80, 10)),
    "map, full rank in low rank": ((33, 60, 50), (50, 80, 34)),
    "population": ((6, 2, jnp.inf), (9, 4, jnp.inf)),
    "population, latent factor": ((6, 9, jnp.inf), (9, 20, jnp.inf)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_padded_flows_are_those_of_the_problem_itself(kind, x64):
    compare(KINDS[kind], jnp.dtype("float64"), 1e-8)


def test_padded_flows_in_float32():
    compare(KINDS["latent factor, low rank"], jnp.dtype("float32"), 3e-5)


def compare(dimensions, precision, tolerance):
    dims, host_dims = dimensions
    shape, host = reduction(*dims), reduction(*host_dims)
    assert host != shape
    task = Simulation([0.0, 0.3, 1.0, 3.0], rtol=1e-9)
    inputs = {name: jnp.asarray(size, precision) for name, size in zip(Dimensions._fields, dims, strict=True)}
    inputs["init_variance"] = jnp.asarray(0.1, precision)
    key = jax.random.key(5)
    own, padded = (
        jax.jit(partial(task.evaluate, program))(inputs, key) for program in (shape, host._replace(padded=True))
    )
    for risk in ("train", "population"):
        np.testing.assert_allclose(padded[risk], own[risk], rtol=tolerance, atol=tolerance)
    # the zeros do not loosen the error control, nor tighten it; in float32, rounding decides as well
    assert precision == jnp.float32 or abs(int(padded["num_steps"]) - int(own["num_steps"])) <= 1


def test_padded_draws_are_the_same_numbers(precision):
    sizes = Dimensions(*(jnp.asarray(size, precision) for size in (10, 6, 5)))
    own = gaussian(jax.random.key(1), sizes, reduction(10, 6, 5), jnp.ones((), precision))
    host = reduction(17, 9, 9)._replace(padded=True)
    padded = gaussian(jax.random.key(1), sizes, host, jnp.ones((), precision))
    rows = [*range(5), *range(9, 14)]
    np.testing.assert_array_equal(padded.weights[np.array(rows), :6], own.weights)
    assert float(jnp.sum(padded.weights**2)) == pytest.approx(float(jnp.sum(own.weights**2)), rel=1e-6)
    np.testing.assert_allclose(padded.spectrum[:5], own.spectrum, rtol=1e-6)
    assert not padded.spectrum[5:].any()


def test_draws_of_full_rank_are_the_same_numbers_beside_an_outside_factor(precision):
    sizes = Dimensions(*(jnp.asarray(size, precision) for size in (8, 3, 20)))
    own = gaussian(jax.random.key(1), sizes, reduction(8, 3, 20), jnp.ones((), precision))
    host = reduction(50, 5, 9)
    assert host.outside_factor
    padded = gaussian(jax.random.key(1), sizes, host._replace(padded=True), jnp.ones((), precision))
    np.testing.assert_array_equal(padded.weights[:8, :3], own.weights)
    assert jnp.count_nonzero(padded.weights) == own.weights.size


def test_shapes_are_shared_where_padding_is_cheaper_than_compiling():
    small, near, large = (reduction(p, p // 2, 2 * p) for p in (20, 24, 400))
    shared = shared_shapes({small: 100, near: 100, large: 100})
    assert shared[small] == shared[near] == near._replace(padded=True)
    assert shared[large] == large
    # of many flows, each gains from its own program
    assert shared_shapes({small: 10**6, near: 10})[small] == small
    # full rank may be computed among shapes that have rows outside the range of S
    low = reduction(200, 12, 24)
    assert shared_shapes({near: 100, low: 100})[near] == low._replace(padded=True)


def test_shapes_are_not_shared_where_draws_or_accuracy_would_differ():
    near = reduction(24, 12, 48)
    for alone in (
        reduction(20, 30, 40),  # W is cut to its factor
        reduction(20, 11, 12),  # all rows outside the range of S are drawn, in the next host only a factor of them
    ):
        assert shared_shapes({alone: 1, near: 1, reduction(200, 13, 24): 1})[alone] == alone
    # as many columns as the rank: the train risk reaches 0
    assert shared_shapes({reduction(40, 4, 4): 1, reduction(50, 5, 9): 1})[reduction(40, 4, 4)] == reduction(40, 4, 4)
