import math
import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerance import rounding

from aetheory.linear.problem import LinearProblem

GOOD = {"input_dim": 30, "latent_dim": 12, "num_samples": 60, "init_variance": 0.02}


def test_the_three_ratios():
    problem = LinearProblem(**GOOD)
    assert problem.init_scale == pytest.approx(0.6)
    assert problem.latent_ratio == pytest.approx(0.4)
    assert problem.sample_ratio == pytest.approx(0.5)
    assert all(type(value) is float for value in (problem.init_scale, problem.latent_ratio, problem.sample_ratio))


@pytest.mark.parametrize("infinity", [jnp.inf, math.inf, np.float64("inf"), jnp.asarray(jnp.inf)])
def test_training_on_the_population_is_ratio_zero(infinity):
    assert LinearProblem(30, 12, infinity, 0.02).sample_ratio == 0


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("input_dim", 0, "a positive integer, but got 0."),
        ("input_dim", 2.5, "a positive integer, but got 2.5."),
        ("input_dim", math.inf, "a positive integer, but got inf."),
        ("latent_dim", -2, "a positive integer, but got -2."),
        ("latent_dim", math.nan, "a positive integer, but got nan."),
        ("latent_dim", True, "a positive integer, but got True."),
        ("latent_dim", math.inf, "a positive integer, but got inf."),
        ("num_samples", 0, "a positive integer or infinity, but got 0."),
        ("num_samples", -math.inf, "a positive integer or infinity, but got -inf."),
        ("num_samples", 0.5, "a positive integer or infinity, but got 0.5."),
        ("num_samples", jnp.array([5, 0]), "a positive integer or infinity, but got [5 0]."),
        ("init_variance", -0.1, "finite and nonnegative, but got -0.1."),
        ("init_variance", math.nan, "finite and nonnegative, but got nan."),
        ("init_variance", math.inf, "finite and nonnegative, but got inf."),
        ("init_variance", jnp.array([0.5, -1.0]), "finite and nonnegative, but got [ 0.5 -1. ]."),
    ],
)
def test_a_field_out_of_range(field, value, message):
    with pytest.raises(ValueError, match=f"^{re.escape(f'Argument `{field}` must be {message}')}$"):
        LinearProblem(**{**GOOD, field: value})


def test_the_ends_of_the_ranges_are_allowed():
    problem = LinearProblem(1, 1, 1, 0)
    assert (problem.init_scale, problem.latent_ratio, problem.sample_ratio) == (0, 1, 1)


def test_arrays_make_a_batch_of_problems(precision):
    p, N = np.array([[30], [40]]), np.array([10.0, 80.0, np.inf])
    problem = LinearProblem(jnp.asarray(p), 12, jnp.asarray(N, precision), 0.02)
    for value, expected in [
        (problem.init_scale, p * 0.02),
        (problem.latent_ratio, 12 / p),
        (problem.sample_ratio, p / N),
    ]:
        assert value.dtype == precision
        assert value.shape == expected.shape
        np.testing.assert_allclose(value, expected, rtol=rounding(precision, terms=4))


def test_vmap_over_problems():
    problems = LinearProblem(30.0, 12.0, jnp.array([10.0, jnp.inf]), jnp.array([0.1, 0.2]))
    ratios = eqx.filter_vmap(lambda problem: (problem.init_scale, problem.sample_ratio))(problems)
    np.testing.assert_allclose(ratios, [[3, 6], [3, 0]], rtol=rounding(jnp.float32, terms=2))


def test_vmap_and_jit_over_fields():
    scale = jax.jit(jax.vmap(lambda p, variance: LinearProblem(p, 12, 60, variance).init_scale))
    np.testing.assert_allclose(
        scale(jnp.array([30, 40]), jnp.array([0.1, 0.2])), [3, 8], rtol=rounding(jnp.float32, terms=2)
    )


def test_static_fields_stay_static_under_filter_jit():
    problem = LinearProblem(30, 12, 60, 0.02)
    assert eqx.filter_jit(lambda problem: jnp.zeros((problem.input_dim, problem.latent_dim)))(problem).shape == (30, 12)


def test_gradients_through_every_field(x64):
    def ratios(p, H, N, variance):
        problem = LinearProblem(p, H, N, variance)
        return jnp.stack([problem.init_scale, problem.latent_ratio, problem.sample_ratio])

    p, H, N, variance = 30.0, 12.0, 60.0, 0.02
    jacobian = jnp.stack(jax.jacobian(ratios, argnums=(0, 1, 2, 3))(p, H, N, variance), axis=1)
    exact = [[variance, 0, 0, p], [-H / p**2, 1 / p, 0, 0], [1 / N, 0, -p / N**2, 0]]
    np.testing.assert_allclose(jacobian, exact, rtol=rounding(jnp.float64, terms=4))


def test_the_gradient_at_infinitely_many_samples_is_zero():
    ratio = jax.value_and_grad(lambda N: LinearProblem(30, 12, N, 0.02).sample_ratio)
    assert ratio(jnp.inf) == (0, 0)


def test_a_problem_is_a_pytree_of_its_numbers():
    problem = LinearProblem(30, 12, 60, 0.02)
    doubled = jax.tree.map(lambda value: 2 * value, problem)
    assert jax.tree.leaves(doubled) == [60, 24, 120, 0.04]
    assert repr(problem) == "LinearProblem(input_dim=30, latent_dim=12, num_samples=60, init_variance=0.02)"


def test_a_problem_from_dimensions_or_from_ratios():
    whole = LinearProblem.from_parameters(
        {"input_dim": 30, "latent_ratio": 0.41, "sample_ratio": 0.5, "init_scale": 0.6}
    )
    assert (whole.input_dim, whole.latent_dim, whole.num_samples, whole.init_variance) == (30, 12, 60, 0.02)
    real = LinearProblem.from_parameters({**GOOD, "input_dim": np.array([30, 60])}, continuous=True)
    np.testing.assert_allclose(real.latent_ratio, [0.4, 0.2])
    np.testing.assert_allclose(real.sample_ratio, [0.5, 1.0])
    population = {"input_dim": 30, "latent_dim": 12, "sample_ratio": 0, "init_scale": 0.6}
    assert LinearProblem.from_parameters(population).num_samples == math.inf
    assert not LinearProblem.from_parameters({**GOOD, "tied": False}).tied
    with pytest.raises(ValueError, match="exactly one of latent_dim and latent_ratio"):
        LinearProblem.from_parameters({**GOOD, "latent_ratio": 0.4})
    with pytest.raises(ValueError, match="made of input_dim and of"):
        LinearProblem.from_parameters({**GOOD, "speed": 1.0})
