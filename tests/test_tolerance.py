"""The one tolerance against sums in several orders, and `--shake`, which brings another order about."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerance import rounding

TERMS = 1000


@pytest.fixture
def factors(precision):
    rng = np.random.default_rng(0)
    return [jnp.asarray(rng.normal(size=shape), precision) for shape in ((30, TERMS), (TERMS, 20))]


def scanned(left, right):
    return jax.lax.scan(
        lambda total, row: (total + jnp.sum(row[None, :] @ right), None), jnp.zeros((), left.dtype), left
    )


def test_only_the_option_turns_sums_around(factors, request):
    product, total = jax.jit(jnp.matmul).lower(*factors), jax.jit(jnp.sum).lower(factors[0])
    derivative = jax.jit(jax.vmap(jax.grad(lambda a, b: scanned(a, b)[0]), (0, None))).lower(
        factors[0][None], factors[1]
    )
    for lowered in (product, total, derivative):
        assert ("stablehlo.reverse" in lowered.as_text()) == request.config.option.shake


def test_another_order_rounds_differently_but_within_the_tolerance(factors, precision, request):
    left, right = factors
    exactly = partial(jnp.matmul, precision="highest")
    product, reversed_ = exactly(left, right), exactly(left[:, ::-1], right[::-1])
    assert (product != reversed_).any()
    exact = np.asarray(left, np.longdouble) @ np.asarray(right, np.longdouble)
    error = rounding(precision, TERMS, size=(np.abs(left) @ np.abs(right)).max())
    for other in (np.asarray(reversed_), exact):
        assert np.abs(np.asarray(product) - other).max() < error
    # an accelerator rounds factors in float32 unless it is told not to
    rounded = np.abs(np.asarray(jnp.matmul(left, right)) - exact).max() > error
    emulated = request.config.option.shake or jax.default_backend() != "cpu"
    assert rounded == (emulated and precision == jnp.float32)
    total, size = np.asarray(left, np.longdouble).sum(axis=1), np.abs(left).sum(axis=1).max()
    for sums in (jnp.sum(left, axis=1), jnp.cumsum(left, axis=1)[:, -1]):
        assert np.abs(np.asarray(sums) - total).max() < rounding(precision, TERMS, size=size)


def test_transformations_see_what_they_did(factors, precision):
    left, right = factors
    error = rounding(precision, 2 * TERMS, size=np.abs(np.asarray(right)).sum())
    expected = np.broadcast_to(np.asarray(right).sum(axis=1), left.shape)
    gradient = jax.vmap(jax.grad(lambda a, b: scanned(a, b)[0]), (0, None))(left[None], right)[0]
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=error)
