import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles.prism import marchenko_pastur_integral
from scipy import stats
from scipy.integrate import quad
from tolerance import assert_rounded, rounding

from aetheory.spectra.marchenko_pastur import MarchenkoPastur, free_poisson
from aetheory.spectra.sampling import _sample_chi, sample_bartlett_factor, sample_wishart_spectrum

sample_chi = jax.jit(_sample_chi)
RATIOS = (0.05, 0.5, 1.0, 1.3, 6.0)


def wishart_trace_moments(dim, num_samples):
    """E tr Sᵏ, k = 1, 2, 3, of the real Wishart matrix S = XXᵀ/N: exact."""
    p, n = dim, num_samples
    return np.array([p, p * (n + p + 1) / n, p * (n**2 + 3 * n * (p + 1) + p**2 + 3 * p + 4) / n**2])


def trace_moments(eigenvalues):
    return np.stack([(eigenvalues**k).sum(-1) for k in (1, 2, 3)], axis=-1)


@pytest.mark.parametrize("ratio", RATIOS)
def test_moments_are_integrals_of_the_law(x64, ratio):
    expected = [marchenko_pastur_integral(lambda s, k=k: (2 * s) ** k, ratio) for k in range(1, 6)]
    np.testing.assert_allclose(MarchenkoPastur(ratio, mean=2.0).moments(5), expected, rtol=1e-8)


@pytest.mark.parametrize("ratio", RATIOS)
def test_density_and_atom_make_a_probability(x64, ratio):
    law = MarchenkoPastur(ratio, mean=0.7)
    lower, upper = (float(edge) for edge in law.edges)
    centre, half = (lower + upper) / 2, (upper - lower) / 2

    def integrand(angle):  # the angle takes the inverse square root at a hard edge away
        return float(law.density(jnp.asarray(centre + half * np.cos(angle)))) * half * np.sin(angle)

    mass, _ = quad(integrand, 0, np.pi, epsabs=1e-8)
    assert mass + float(law.atom) == pytest.approx(1, abs=1e-6)
    outside = law.density(jnp.asarray([-1.0, 0.0, lower / 2, upper * 1.01]))
    np.testing.assert_array_equal(outside, 0)


@pytest.mark.parametrize("ratio", [0.0, *RATIOS])
def test_quadratures_are_exact_to_their_degree(precision, ratio):
    law = MarchenkoPastur(ratio, mean=1.5)
    degrees = np.arange(1, 9)
    expected = np.asarray(law.moments(8))
    for rule in (law.radau_quadrature(4), law.edge_quadrature(96)):
        assert rule.nodes.dtype == precision
        # an eigendecomposition; the highest moment magnifies an error of the largest node eightfold
        tolerance = rounding(precision, terms=rule.nodes.size**2, condition=8)
        nodes, weights = np.asarray(rule.nodes), np.asarray(rule.weights)
        moments = np.sum(weights * nodes ** degrees[:, None], axis=1)
        np.testing.assert_allclose(moments, expected, rtol=tolerance if rule.nodes.size < 90 else max(tolerance, 1e-9))
        assert weights.sum() == pytest.approx(1, abs=tolerance)
        assert (nodes >= 0).all()


def test_radau_quadrature_of_too_few_nodes_is_not_exact(x64):
    law = MarchenkoPastur(0.5)
    rule = law.radau_quadrature(2)
    assert np.asarray(rule.weights) @ np.asarray(rule.nodes) ** 6 != pytest.approx(float(law.moments(6)[-1]), rel=1e-4)


@pytest.mark.parametrize("ratio", RATIOS)
def test_the_factor_carries_the_moments(x64, ratio):
    law = MarchenkoPastur(ratio, mean=0.8)
    moments = np.asarray(law.moments(6))
    factor = np.asarray(law.factor(4))
    powers = [np.linalg.matrix_power(factor @ factor.T, k)[0, 0] for k in range(1, 7)]
    np.testing.assert_allclose(powers, moments, rtol=rounding(jnp.float64, terms=4, condition=6))


@functools.partial(jax.jit, static_argnames=("law", "rule", "num_nodes"))
@functools.partial(jax.grad, argnums=(0, 1))
def slopes(one, other, law, rule, num_nodes):
    """Of the mean of e^{−s} in the two parameters of a law."""
    quadrature = getattr(law(one, other), rule)(num_nodes)
    return quadrature.integrate(jnp.exp(-quadrature.nodes))


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("rule", ["radau_quadrature", "edge_quadrature"])
def test_expectations_differentiate_in_ratio_and_mean_also_across_one(x64, ratio, rule):
    """Against central differences of SciPy's integral; at ratio 1 the atom appears but the expectation is smooth."""
    step = 1e-4
    by_ratio, by_mean = slopes(ratio, 1.2, MarchenkoPastur, rule, 80)
    exact = [marchenko_pastur_integral(lambda s: np.exp(-1.2 * s), ratio + sign * step) for sign in (1, -1)]
    assert float(by_ratio) == pytest.approx((exact[0] - exact[1]) / (2 * step), abs=1e-5)
    expected = marchenko_pastur_integral(lambda s: -s * np.exp(-1.2 * s), ratio)
    assert float(by_mean) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("scale", [1.0, 1e4, 1e12])
def test_edge_quadrature_resolves_a_hard_edge(x64, scale):
    """1/(1 + scale·s)² on the law of ratio 1, whose density diverges at 0."""
    quadrature = MarchenkoPastur(1.0).edge_quadrature(160)
    measured = quadrature.integrate(jnp.asarray(1 / (1 + scale * np.asarray(quadrature.nodes)) ** 2))
    # from the Stieltjes transform m(w) = (−1 + √(1 + 4/w))/2 at w = 1/scale: ∫ (s + w)⁻² dμ = 1/(w² √(1 + 4/w))
    assert float(measured) == pytest.approx(1 / np.sqrt(1 + 4 * scale), rel=1e-6)


@pytest.mark.parametrize(("dim", "num_samples"), [(30, 60), (30, 30), (60, 30)])
def test_correction_gives_the_moments_of_the_finite_matrix_to_next_order(x64, dim, num_samples):
    ratio = dim / num_samples
    exact = wishart_trace_moments(dim, num_samples)
    rule = MarchenkoPastur(ratio).edge_quadrature(96, correction_dim=dim)
    corrected = dim * np.array([np.asarray(rule.weights) @ np.asarray(rule.nodes) ** k for k in (1, 2, 3)])
    limit = dim * np.asarray(MarchenkoPastur(ratio).moments(3))
    np.testing.assert_allclose(corrected[:2], exact[:2], rtol=1e-9)
    # what remains of the third moment is 4p/N², the order after
    assert corrected[2] == pytest.approx(exact[2] - 4 * dim / num_samples**2, rel=1e-9)
    assert abs(limit[2] - exact[2]) > 10 * abs(corrected[2] - exact[2])


@pytest.mark.parametrize(("dim", "num_samples", "bits"), [(4, 7, 32), (5, 5, 64), (7, 4, 64), (1, 3, 64), (3, 1, 32)])
def test_sampled_wishart_spectra_have_the_exact_moments(dim, num_samples, bits):
    with jax.enable_x64(bits == 64):
        keys = jax.random.split(jax.random.key(3), 20_000)
        spectra = np.asarray(jax.jit(jax.vmap(lambda key: sample_wishart_spectrum(key, dim, num_samples)))(keys))
    assert spectra.shape == (20_000, min(dim, num_samples))
    assert spectra.dtype == f"float{bits}"
    draws = trace_moments(spectra.astype(float))
    error = draws.std(0) / np.sqrt(len(draws))
    assert (np.abs(draws.mean(0) - wishart_trace_moments(dim, num_samples)) < 4 * error).all()


def test_sampled_wishart_extremes_match_explicit_matrices(x64):
    rng = np.random.default_rng(0)
    explicit = rng.standard_normal((4000, 6, 9))
    explicit = np.linalg.eigvalsh(explicit @ explicit.transpose(0, 2, 1) / 9)
    keys = jax.random.split(jax.random.key(1), 4000)
    sampled = np.asarray(jax.jit(jax.vmap(lambda key: sample_wishart_spectrum(key, 6, 9)))(keys))
    error = np.sqrt((explicit.var(0) + sampled.var(0)) / 4000)
    assert (np.abs(explicit.mean(0) - sampled.mean(0)) < 4 * error).all()
    assert (np.abs(np.log(explicit.var(0) / sampled.var(0))) < 4 * np.sqrt(4 / 4000) * 1.5).all()


def test_bartlett_factor_has_the_law_of_the_gaussian_gram_matrix(x64):
    keys = jax.random.split(jax.random.key(2), 20_000)
    factors = np.asarray(jax.jit(jax.vmap(lambda key: sample_bartlett_factor(key, 3, jnp.asarray(5.0))))(keys))
    np.testing.assert_array_equal(np.triu(factors, 1), 0)
    grams = factors @ factors.transpose(0, 2, 1)
    draws = trace_moments(np.linalg.eigvalsh(grams / 5))
    error = draws.std(0) / np.sqrt(len(draws))
    assert (np.abs(draws.mean(0) - wishart_trace_moments(3, 5)) < 4 * error).all()
    # rotation invariant: no entry of the Gram matrix is special
    diagonal = np.diagonal(grams, axis1=1, axis2=2)
    assert (np.abs(diagonal.mean(0) - 5) < 4 * np.sqrt(10 / 20_000)).all()
    assert (np.abs(diagonal.var(0) - 10) < 1.0).all()


@pytest.mark.parametrize("degrees", [1.0, 1.5, 2.0, 3.0, 40.0, 5000.0])
def test_chi_variables_have_their_law(precision, degrees):
    chi = sample_chi(jax.random.key(4), jnp.full(20_000, degrees, precision))
    assert chi.dtype == precision
    assert stats.kstest(np.asarray(chi, float), stats.chi(degrees).cdf).pvalue > 1e-3
    # neighbours are independent
    assert abs(np.corrcoef(chi[:-1], chi[1:])[0, 1]) < 4 / np.sqrt(20_000)


def test_chi_variables_depend_on_their_place_alone(precision):
    degrees = jnp.arange(1, 200, dtype=precision)
    every = sample_chi(jax.random.key(5), degrees)
    np.testing.assert_array_equal(sample_chi(jax.random.key(5), degrees[:70]), every[:70])
    none = sample_chi(jax.random.key(5), jnp.asarray([0.0, -3.0, jnp.nan], precision))
    np.testing.assert_array_equal(none, 0)


def test_free_poisson_is_the_scaled_law(x64):
    law = free_poisson(rate=0.4, jump=3.0)
    assert float(law.atom) == pytest.approx(0.6)
    # free cumulants of a free Poisson law are rate·jumpᵏ: m₁ = κ₁, m₂ = κ₂ + κ₁²
    assert_rounded(law.moments(2), [1.2, 0.4 * 9 + 1.2**2], jnp.float64, terms=4, condition=6)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: MarchenkoPastur(-0.1), "ratio"),
        (lambda: MarchenkoPastur(float("nan")), "ratio"),
        (lambda: MarchenkoPastur(0.5, mean=-1.0), "mean"),
        (lambda: free_poisson(0.0, 1.0), "rate"),
        (lambda: free_poisson(1.0, -1.0), "jump"),
        (lambda: MarchenkoPastur(0.5).radau_quadrature(0), "num_nodes"),
        (lambda: MarchenkoPastur(0.5).moments(-1), "order"),
        (lambda: sample_wishart_spectrum(jax.random.key(0), 0, 3), "dim"),
        (lambda: sample_wishart_spectrum(jax.random.key(0), 3, -2), "num_samples"),
    ],
)
def test_bad_input_names_the_argument(call, name):
    with pytest.raises(ValueError, match=f"Argument `{name}` must be"):
        call()


@pytest.mark.parametrize("rate", [0.5, 1.0, 2.0])
def test_free_poisson_expectations_differentiate_in_rate_and_jump(x64, rate):
    """Against central differences of SciPy's integral, also where the atom at 0 disappears."""
    jump, step = 0.7, 1e-4

    def exact(rate, jump):
        return marchenko_pastur_integral(lambda s: np.exp(-rate * jump * s), 1 / rate)

    by_rate, by_jump = slopes(rate, jump, free_poisson, "edge_quadrature", 96)
    in_rate = (exact(rate + step, jump) - exact(rate - step, jump)) / (2 * step)
    in_jump = (exact(rate, jump + step) - exact(rate, jump - step)) / (2 * step)
    assert float(by_rate) == pytest.approx(in_rate, abs=1e-5)
    assert float(by_jump) == pytest.approx(in_jump, abs=1e-5)


@pytest.mark.parametrize("ratio", [0.0, 0.3, 1.0, 2.5])
def test_shares_are_means_of_equal_parts_of_the_law(x64, ratio):
    """Against adaptive quadrature of the law below each share's upper end; zeros for the atom."""
    size = 40
    rank = round(size * min(1, 1 / ratio)) if ratio else size
    shares = np.asarray(MarchenkoPastur(jnp.asarray(ratio), 1.5).shares(size, jnp.asarray(float(rank))))
    assert (np.diff(shares[:rank]) >= -1e-5).all()  # the table's own error, where all shares are alike
    np.testing.assert_array_equal(shares[rank:], 0)
    assert shares.mean() == pytest.approx(1.5, rel=rounding(jnp.float64, terms=4097))
    if ratio == 0:
        np.testing.assert_allclose(shares, 1.5, rtol=1e-5)
        return
    second = marchenko_pastur_integral(lambda s: (1.5 * s) ** 2, ratio)
    assert np.mean(shares**2) == pytest.approx(second, rel=3e-3)
    lower, upper = (float(edge) for edge in MarchenkoPastur(jnp.asarray(ratio), 1.5).edges)
    assert lower <= shares[0] < shares[rank - 1] <= upper
    # the mass below the midpoint between two neighbouring shares is a whole number of shares
    middle = rank // 2
    below = (shares[middle - 1] + shares[middle]) / 2 / 1.5
    mass = marchenko_pastur_integral(lambda s: float(s <= below), ratio) - max(0.0, 1 - 1 / ratio)
    assert mass == pytest.approx(middle / size, abs=0.1 / size)


def test_shares_can_be_differentiated_in_ratio_and_mean(x64):
    def second_moment(ratio, mean):
        return jnp.mean(MarchenkoPastur(ratio, mean).shares(60, jnp.asarray(60.0)) ** 2)

    slopes = jax.jit(jax.grad(second_moment, argnums=(0, 1)))(0.4, 1.5)
    np.testing.assert_allclose(slopes, [1.5**2, 2 * 1.5 * 1.4], rtol=0.01)  # mean² (1 + ratio)
