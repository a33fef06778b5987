import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles.prism import marchenko_pastur_integral
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
    unit = np.array([reach**order / math.factorial(order) for order in range(ORDERS)])

    @jax.jit
    def curve(times):
        return theory.isotropic(times, parameters, theory.num_nodes, False, None)[0][0]

    def derivatives(risk):
        """Of orders 0, 1, …, by Chebyshev interpolation around time 0."""
        series = np.polynomial.Chebyshev.interpolate(
            lambda times: np.asarray(curve(jnp.asarray(times))[risk]), 18, domain=[-reach, reach]
        )
        return [series.deriv(order)(0.0) if order else series(0.0) for order in range(ORDERS)]

    for risk in ("train", "population"):
        expected = [float(ae.expansion.planar(order, risk).restrict(*faces).evaluate(case)) for order in range(ORDERS)]
        np.testing.assert_allclose(unit * derivatives(risk), unit * expected, rtol=1e-7, atol=1e-12, err_msg=risk)


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

# paths as long as the free face takes there
SLOW = {faces: [pytest.mark.slow] if {"narrow-latent", "free"} <= {*faces} else [] for faces in NEIGHBOURS}


@pytest.mark.filterwarnings("ignore:The default `num_nodes`", "ignore:The bracket")
@pytest.mark.parametrize("faces", [pytest.param(one, marks=SLOW[one]) for one in NEIGHBOURS], ids=" ∩ ".join)
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


@pytest.mark.parametrize("faces", RELAXING, ids=" ∩ ".join)
def test_float32_keeps_its_digits_at_any_scale(faces):
    """200 problems with x, y and z between 10⁻⁴ and 10⁴, at times around that in which their regime unfolds."""
    x, y, z = 10 ** np.random.default_rng(0).uniform(-4, 4, (3, 200))
    unit = 1 / ((1 + z) * np.maximum(1, x * (1 + y)))

    @jax.jit
    @jax.vmap
    def risks(numbers, time):
        curve = ae.predict(ae.LinearRatios(*numbers), time[None], faces)
        return jnp.stack([curve.train[0], curve.population[0]])

    for factor in (0.01, 1.0, 100.0):
        inputs = [np.float32(array) for array in (np.stack([x, y, z], axis=1), factor * unit)]
        single = np.asarray(risks(*map(jnp.asarray, inputs)), np.float64)
        with jax.enable_x64(True):
            double = np.asarray(risks(*(jnp.asarray(array, jnp.float64) for array in inputs)))
        start = np.maximum(np.maximum(1, (x * y) ** 2 + x**2 * y)[:, None], np.abs(double))
        assert (np.abs(single - double) < rounding(jnp.float32, terms=200) * start).all()


@pytest.mark.filterwarnings("ignore:The default `num_nodes`")
@pytest.mark.parametrize("faces", [("large-data",), ("mean-field",), *RELAXING], ids=" ∩ ".join)
def test_the_zero_map_stays(x64, faces):
    """x = 0 is a legal scale, and the exponentials underflow late: both risks are that of the zero map at all times."""
    curve = ae.predict(ae.LinearRatios(0.0, 0.5, 1.0), [0.0, 1.0, 200.0, 1e4], faces)
    expected = 0.0 if "free" in faces else 1.0
    np.testing.assert_allclose([curve.train, curve.population], expected, atol=rounding(jnp.float64, terms=200))
