import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles.spectra import blocks, power_law
from refusals import refused
from tolerance import rounding

from aetheory.spectra import MarchenkoPastur, SampleCovariance

DIM = 64  # of as many variances: programs that several tests share
# by root finding, whose eager programs are of one call each
edges = eqx.filter_jit(lambda law: law.edges)
atom = eqx.filter_jit(lambda law: law.atom)
null_variance = eqx.filter_jit(lambda law: law.null_variance)


def rule(law, num_nodes=96):
    """In NumPy, as what is integrated is."""
    return jax.tree.map(np.asarray, law.contour(jnp.asarray(0.3), jnp.asarray(0.9), num_nodes))


def integral(quadrature, function):
    return float(quadrature.integrate(jnp.asarray(function(np.asarray(quadrature.nodes)))))


@pytest.mark.parametrize("ratio", [0.5, 1.0, 2.0])
def test_equal_variances_are_the_closed_form(x64, ratio):
    law, exact = SampleCovariance(1.3 * np.ones(DIM), ratio), MarchenkoPastur(ratio, 1.3)
    np.testing.assert_allclose(edges(law), exact.edges, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(law.moments(4), exact.moments(4), rtol=1e-10)
    assert float(atom(law)) == pytest.approx(float(exact.atom), abs=rounding(jnp.float64))
    lower, upper = map(float, exact.edges)
    points = jnp.asarray(np.linspace(lower + 0.05, upper - 0.05, 9))
    np.testing.assert_allclose(law.density(points), exact.density(points), rtol=1e-8)
    found, fine = rule(law), exact.edge_quadrature(400)
    for function in (lambda s: 1 / (1 + s) ** 2, lambda s: np.exp(-3 * s)):
        expected = integral(fine, function)
        assert (function(found.points) @ found.weights).real == pytest.approx(expected, abs=1e-9)
        # Ledoit and Péché's δ is 1.3 everywhere
        assert (function(found.points) @ found.population).real == pytest.approx(1.3 * expected, abs=1e-9)


def test_the_correction_for_finite_samples_is_that_of_equal_variances(x64):
    law, exact, dim = SampleCovariance(np.ones(DIM), 0.6), MarchenkoPastur(0.6), 30.0
    found = rule(law)
    fine, plain = exact.edge_quadrature(400, dim), exact.edge_quadrature(400)
    for function in (lambda s: 1 / (1 + s) ** 2, lambda s: np.exp(-3 * s)):
        expected = dim * (integral(fine, function) - integral(plain, function))
        assert (function(found.points) @ found.correction).real == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize(
    ("variances", "ratio"),
    [(blocks(200), 0.5), (power_law(200, 1.0), 2.0), (np.r_[np.zeros(50), 4 / 3 * np.ones(150)], 0.5)],
)
def test_the_law_is_that_of_large_sample_covariances(x64, variances, ratio):
    """Distribution and population variance against 12 draws at p = 200; their error is of order 1/p."""
    rng, num_samples = np.random.default_rng(0), int(200 / ratio)
    eigenvalues, seen = [], []
    for _ in range(12):
        samples = np.sqrt(variances)[:, None] * rng.standard_normal((200, num_samples))
        spectrum, basis = np.linalg.eigh(samples @ samples.T / num_samples)
        eigenvalues.append(spectrum)
        seen.append(variances @ basis**2)
    eigenvalues, seen = np.concatenate(eigenvalues), np.concatenate(seen)
    law = SampleCovariance(variances, ratio)
    assert float(atom(law)) == pytest.approx(np.mean(eigenvalues < 1e-9), abs=rounding(jnp.float64, terms=4))
    points = np.quantile(eigenvalues, [0.8, 0.9, 0.97])
    measured = [np.mean(eigenvalues <= point) for point in points]
    np.testing.assert_allclose(law.distribution(jnp.asarray(points)), measured, atol=0.005)
    for point, expected in zip(points, law.population_variance(jnp.asarray(points)), strict=True):
        near = np.abs(np.log(np.maximum(eigenvalues, 1e-12) / point)) < 0.05
        error = 4 * seen[near].std() / np.sqrt(near.sum())
        assert abs(seen[near].mean() - expected) < error + 0.02 * expected
    assert edges(law)[1] <= law.top * (1 + 1e-12)
    assert eigenvalues.max() < 1.2 * float(edges(law)[1])


def test_edges_and_the_null_space_where_formulas_vanish(x64):
    """z = 0, where S = Σ; variances of 0; and z at which the samples just span the positive ones."""
    np.testing.assert_allclose(edges(SampleCovariance(np.array([0.0, 1.0, 2.0]), 0.0)), [1, 2], rtol=1e-12)
    law = SampleCovariance(np.array([0.0, 1.0, 1.0]), 1.5)  # as two equal variances at z = 1
    np.testing.assert_allclose(edges(law), [0, 4], atol=1e-12)
    assert float(null_variance(law)) == 0
    assert float(null_variance(SampleCovariance(np.ones(3), 0.5))) == 0


def test_directions_without_samples(x64):
    """The sum of the population's variance over them, N κ/p, at p = 400, N = 100."""
    for exponent, expected in ((1.0, 0.353067935), (1.5, 0.083694113)):
        law = SampleCovariance(power_law(400, exponent), 4.0)
        assert float(null_variance(law) * atom(law)) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("ratio", [0.0, 0.5, 2.0])
def test_atoms_keep_the_mean_and_the_second_moment(x64, ratio):
    law, size = SampleCovariance(blocks(DIM), ratio), 60
    rank = round(size * (1 - float(atom(law))))
    spectrum, seen = map(np.asarray, law.atoms(size, jnp.asarray(float(rank))))
    for values in (spectrum, seen):
        assert values.mean() == pytest.approx(1.0, rel=rounding(jnp.float64, terms=1000))
    assert (spectrum[rank:] == 0).all()
    assert (np.diff(spectrum[:rank]) >= -rounding(jnp.float64, terms=64, size=64)).all()
    second = float(law.moments(2)[1])  # within the shares' own spread
    assert 0.985 * second < np.mean(spectrum**2) <= second * (1 + 1e-12)
    if ratio > 1:
        assert float(seen[-1]) == pytest.approx(float(null_variance(law)), rel=5e-3)


def test_derivatives_are_differences(x64):
    variances = jnp.asarray(power_law(DIM, 1.0))

    @jax.jit
    def integral(ratio, scale):
        found = SampleCovariance(scale * variances, ratio).contour(jnp.asarray(0.3), jnp.asarray(0.9), 96)
        return (found.population @ jnp.exp(-2 * found.points)).real

    step = 1e-5
    slopes = jax.jit(jax.grad(integral, argnums=(0, 1)))(1.0, 1.0)
    places = 1 + step * np.array([[1, 0], [-1, 0], [0, 1], [0, -1]])
    values = np.array([float(integral(*place)) for place in places])
    np.testing.assert_allclose(slopes, (values[::2] - values[1::2]) / (2 * step), rtol=1e-7)
    several = jax.vmap(integral)(*jnp.asarray(places).T)
    np.testing.assert_allclose(several, values, rtol=1e-12)


def test_float32_keeps_its_digits():
    law = SampleCovariance(power_law(50, 1.0).astype(np.float32), 0.7)
    found = rule(law)
    assert found.points.dtype == jnp.complex64
    assert float(found.weights.real.sum()) == pytest.approx(1, abs=1e-5)
    assert float(law.moments(1)[0]) == pytest.approx(1, abs=1e-5)


test_bad_input = refused(
    (([1.0, -0.1], 0.5), "`variances` must be nonnegative and not all 0"),
    (([0.0, 0.0], 0.5), "`variances` must be nonnegative and not all 0"),
    (([1.0, np.nan], 0.5), "`variances` must be … 1 entries are NaN"),
    (([1.0], -1.0), "`ratio` must be finite and nonnegative"),
    by=lambda given: SampleCovariance(np.array(given[0]), given[1]),
)
