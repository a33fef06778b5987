import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles.prism import marchenko_pastur_integral
from oracles.spectra import power_law
from scipy.integrate import solve_ivp
from tolerance import rounding

import aetheory as ae
from aetheory.linear.theories import THEORIES
from aetheory.linear.theories.edges import EDGES, VERTICES

ORDERS = 6
DIM = 10**6
EXPLICIT = [tuple(theory.name.split(" ∩ ")) for theory in (*EDGES, *VERTICES) if theory.is_explicit]


def problem(scale, latent_ratio, sample_ratio):
    return ae.LinearProblem(DIM, round(latent_ratio * DIM), round(DIM / sample_ratio), scale / DIM)


@pytest.mark.parametrize("faces", EXPLICIT, ids=" ∩ ".join)
def test_derivatives_at_the_start_are_the_restricted_planar_coefficients(x64, faces):
    """Orders 0 to 5, both risks: the closed form sums exactly the monomials of the edge or vertex."""
    case = problem(0.3, 0.7, 1.6)
    parameters, theory = case.ratios(jnp.float64), THEORIES[" ∩ ".join(faces)]

    reach = 0.06

    @jax.jit
    def curve(times):
        return theory.isotropic(times, parameters, theory.num_nodes, False, None)[0][0]

    def coefficients(risk):
        """Of 1, t/reach, …, by Chebyshev interpolation around time 0."""
        series = np.polynomial.Chebyshev.interpolate(
            lambda times: np.asarray(curve(jnp.asarray(times))[risk]), 18, domain=[-reach, reach]
        )
        return series.convert(kind=np.polynomial.Polynomial, domain=[-reach, reach]).coef[:ORDERS]

    for risk in ("train", "population"):
        orders = [ae.expansion.planar(order, risk).restrict(*faces) for order in range(ORDERS)]
        expected = np.asarray(ae.expansion.taylor_series(orders, case)) * reach ** np.arange(ORDERS)
        np.testing.assert_allclose(coefficients(risk), expected, rtol=1e-7, atol=1e-12, err_msg=risk)


NEIGHBOURS = {
    # edge or vertex: (a problem that lies close to it, times in its unit, the faces that meet there)
    ("large-data", "mean-field"): ((0.5e-4, 1e4, 1e-4), 1.0),
    ("large-data", "narrow-latent"): ((0.5, 1e-4, 1e-4), 1.0),
    ("large-data", "free"): ((1e4, 0.7, 1e-4), 1e-4),
    ("small-data", "mean-field"): ((0.5e-4, 1e4, 1e4), 1e-4),
    ("small-data", "narrow-latent"): ((0.5, 1e-4, 1e4), 1e-4),
    ("small-data", "free"): ((1e4, 0.7, 1e4), 1e-8),
    ("mean-field", "narrow-latent"): ((1e-3, 1e-2, 0.8), 0.3),
    ("mean-field", "free"): ((1.0, 1e4, 0.8), 1e-4),
    ("narrow-latent", "free"): ((1e4, 1e-2, 0.8), 1e-4),
    ("large-data", "mean-field", "narrow-latent"): ((1e-3, 1e-2, 1e-4), 0.3),
    ("large-data", "mean-field", "free"): ((1.0, 1e4, 1e-4), 1e-4),
    ("large-data", "narrow-latent", "free"): ((1e4, 1e-3, 1e-4), 1e-4),
    ("small-data", "mean-field", "narrow-latent"): ((1e-3, 1e-2, 1e4), 1e-4),
    ("small-data", "mean-field", "free"): ((1.0, 1e4, 1e4), 1e-8),
    ("small-data", "narrow-latent", "free"): ((1e4, 1e-3, 1e4), 1e-8),
}


@pytest.mark.filterwarnings("ignore:The default `num_nodes`")
@pytest.mark.parametrize("faces", NEIGHBOURS, ids=" ∩ ".join)
def test_an_edge_agrees_with_the_faces_that_meet_in_it(x64, faces):
    """Deep in the corner, each face's own curve is the edge's, to a few parts in a thousand of what moves."""
    ratios, unit = NEIGHBOURS[faces]
    case, times = problem(*ratios), unit * np.array([0.0, 0.1, 0.5, 1.0])
    edge = ae.predict(case, times, faces)
    constant = 0.0 if "free" in faces else 1.0
    for face in faces:
        curve = ae.predict(case, times, face)
        for risk in ("train", "population"):
            ours, theirs = np.asarray(getattr(edge, risk)), np.asarray(getattr(curve, risk))
            # a face that knows of the target starts at 1 − …; on free edges that is far below what moves
            size = max(np.abs(ours - constant).max(), 1e-12)
            np.testing.assert_allclose(ours, theirs, atol=0.012 * size, err_msg=f"{face}, {risk}")


def test_narrow_latent_free_solves_its_scalar_equation(x64):
    """Ȧ = −xφ(A)², φ(A) = ∫ e^{2sA} dμ: R = y (xφ²)², R_tr = y x²φ³φ'/2, by SciPy's quadrature and solver."""
    x, y, z = 3.0, 0.1, 0.6
    times = np.array([0.0, 0.1, 0.5, 2.0])

    def transform(a, power):
        return marchenko_pastur_integral(lambda s: s**power * np.exp(2 * s * a), z)

    path = solve_ivp(lambda _, a: -x * transform(a[0], 0) ** 2, (0, 2), [0.0], t_eval=times, rtol=1e-9, atol=1e-11).y[0]
    length = np.array([x * transform(a, 0) ** 2 for a in path])
    energy = np.array([x * transform(a, 0) * transform(a, 1) for a in path])
    curve = ae.predict(problem(x, y, z), times, ("free", "narrow-latent"))
    np.testing.assert_allclose(curve.population, y * length**2, rtol=1e-6)
    np.testing.assert_allclose(curve.train, y * length * energy, rtol=1e-6)
    assert curve.label == "narrow-latent ∩ free"


def test_large_data_free_is_the_integral_over_the_law_of_the_weights(x64):
    x, y = 2.0, 1.3
    times = np.array([0.0, 0.1, 1.0, 10.0])
    expected = [
        marchenko_pastur_integral(lambda s, t=t: (x * y * s / (1 + 4 * x * y * s * t)) ** 2, 1 / y) for t in times
    ]
    curve = ae.predict(problem(x, y, 1e-6), times, ("large-data", "free"))
    np.testing.assert_allclose(curve.train, expected, rtol=1e-8)
    np.testing.assert_allclose(curve.population, expected, rtol=1e-8)


RELAXING = (
    ("large-data", "mean-field"),
    ("large-data", "narrow-latent"),
    ("large-data", "free"),
    ("small-data", "mean-field"),
)


def scanned(name, num_problems, covariance, dtype):
    """Risks where x, y and z lie between 10⁻⁴ and 10⁴ (of a flow, 10⁻³ and 10³), at times around that of the regime."""
    reach = 4 if THEORIES[name].is_explicit else 3
    x, y, z = 10 ** np.random.default_rng(0).uniform(-reach, reach, (3, num_problems))
    if covariance is not None:
        z = np.minimum(z, len(covariance))  # a sample at least
    top = 1.0 if covariance is None else covariance.max()
    unit = 1 / ((1 + z) * np.maximum(1, x * (1 + y)) * top)
    if name == "untied-modes":
        x = 1e-2 * np.minimum(1, x) / y  # a small start, which they want
    # columns that have aligned are out of the range of narrow-latent curves, and as hard to integrate
    factors = (0.01, 1.0) if "narrow-latent" in name and covariance is not None else (0.01, 1.0, 100.0)

    def risks(numbers, times):
        given = None if covariance is None else jnp.asarray(covariance, numbers.dtype)
        problem = ae.LinearRatios(*numbers, covariance=given, tied=name != "untied-modes")
        curve = ae.predict(problem, times, name, throw=False)
        finished = True if curve.stats is None else curve.stats.succeeded
        return jnp.where(finished, jnp.stack([curve.train, curve.population]), jnp.nan)

    # inputs of either precision are the same
    inputs = [np.float32(array) for array in (np.stack([x, y, z], axis=1), unit[:, None] * np.array(factors))]
    found = jax.jit(lambda *pairs: jax.lax.map(lambda pair: risks(*pair), pairs))(
        *(jnp.asarray(array, dtype) for array in inputs)
    )
    return np.asarray(found, np.float64), np.maximum(1, (x * y) ** 2 + x**2 * y)[:, None, None]


def precisions():
    """Every theory without a bracket, and with a covariance where that is another formula."""
    for theory in THEORIES.values():
        for covariance in (None, power_law(40, 1.0)):
            known = theory.is_approximate or (theory.isotropic if covariance is None else theory.general) is None
            if known or (covariance is not None and theory.name.startswith("large-data")):
                continue  # rotations are drawn anew in either precision
            marks = () if theory.is_explicit and covariance is None else (pytest.mark.slow,)
            label = theory.name if covariance is None else f"{theory.name}, anisotropic"
            yield pytest.param(theory.name, covariance, marks=marks, id=label)


@pytest.mark.filterwarnings("ignore:The default `num_nodes`")
@pytest.mark.parametrize(("name", "covariance"), list(precisions()))
def test_float32_keeps_its_digits_at_any_scale(name, covariance):
    """200 problems of a formula, 20 of a flow; both risks, as shares of the larger of 1, R(0) and R."""
    num_problems = 200 if THEORIES[name].is_explicit else 20
    single, _ = scanned(name, num_problems, covariance, jnp.float32)
    with jax.enable_x64(True):
        double, start = scanned(name, num_problems, covariance, jnp.float64)
    # what grows without bound leaves the range of float32 (and `predict` says so), and no flow reaches it
    in_range = np.abs(double) < 1e-12 * float(jnp.finfo(jnp.float32).max)
    compared = in_range & ~np.isnan(single) if not THEORIES[name].is_explicit else in_range
    assert compared.mean() > 0.7
    size = np.maximum(start, np.abs(double))[compared]
    # what a flow honours in float32 is 16 eps, its risks ten times that
    solved = 10 * 16 * float(jnp.finfo(jnp.float32).eps)
    allowed = rounding(jnp.float32, terms=200) if THEORIES[name].is_explicit else solved
    assert (np.abs(single[compared] - double[compared]) < allowed * size).all()


@pytest.mark.filterwarnings("ignore:The default `num_nodes`")
@pytest.mark.parametrize("faces", [("large-data",), ("mean-field",), *RELAXING], ids=" ∩ ".join)
def test_the_zero_map_stays(x64, faces):
    """x = 0 is a legal scale, and the exponentials underflow late: both risks are that of the zero map at all times."""
    curve = ae.predict(ae.LinearRatios(0.0, 0.5, 1.0), [0.0, 1.0, 200.0, 1e4], faces)
    expected = 0.0 if "free" in faces else 1.0
    np.testing.assert_allclose([curve.train, curve.population], expected, atol=rounding(jnp.float64, terms=200))
