"""The free face and the interior through `predict`, with their brackets."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import aetheory as ae
from aetheory.linear.theories import interior, rotations

SETTINGS = ((0.7, 0.8), (1.6, 1.2), (0.5, 2.0), (2.0, 0.5))
TIMES = np.array([0.0, 0.05, 0.2, 1.0, 3.0])  # others are as many: a flow compiles for seconds
DIM = 10**4
INDEPENDENT = {
    (0.7, 0.75, 0.4): (
        [0, 0.10031, 0.39959, 1.2643, 4],
        [[0.59311, 0.46452, 0.28516, 0.13265, 0.087648], [0.59313, 0.49099, 0.3716, 0.26736, 0.25001]],
        [[5.9e-05, 5.3e-05, 9e-05, 0.000142, 7.7e-05], [0.0, 1.4e-05, 5.6e-05, 7.8e-05, 0.0]],
    ),
    (0.3, 0.5, 1.0): (
        [0, 0.10031, 0.39959, 1.2643, 4],
        [[0.76738, 0.64987, 0.35591, 0.1566, 0.11261], [0.7675, 0.72218, 0.60937, 0.5143, 0.5]],
        [[4.9e-05, 0.00011, 0.000435, 0.000208, 4.6e-05], [0.0, 1.9e-05, 0.000115, 0.000126, 0.0]],
    ),
    (1.0, 1.5, 0.5): (
        [0, 0.10031, 0.39959, 1.2643, 4],
        [[1.7508, 0.33783, 0.061726, 0.0048678, 6.0674e-05], [1.75, 0.44793, 0.10933, 0.015889, 0.00037864]],
        [[0.000363, 7.5e-05, 2.3e-05, 1.2e-05, 1e-06], [0.0, 0.000165, 0.000118, 5.3e-05, 5e-06]],
    ),
    (2.0, 1.0, 2.0): (
        [0, 0.10031, 0.39959, 1.2643, 4],
        [[4.9995, 0.42375, 0.075146, 0.009538, 0.00049982], [4.9988, 1.7209, 1.1895, 1.0489, 1.0234]],
        [[0.002353, 0.000235, 0.000104, 1.8e-05, 1e-06], [0.0, 0.002445, 0.002831, 0.002799, 0.00274]],
    ),
    (0.7, 0.5, 2.0): (
        [0, 0.10031, 0.39959, 1.2643, 4],
        [[0.66731, 0.49303, 0.19969, 0.051494, 0.0094602], [0.6675, 0.61754, 0.55272, 0.51578, 0.50264]],
        [[0.0001, 0.000309, 0.000538, 0.000207, 3.8e-05], [0.0, 2.8e-05, 0.000108, 0.000178, 7.1e-05]],
    ),
    (10000.0, 0.7, 0.8): (
        [0, 5.5173e-07, 5.0895e-06, 3.2419e-05, 0.0002065],
        [
            [119010000.0, 105150000.0, 51324000.0, 9631800.0, 849790.0],
            [118990000.0, 108920000.0, 65738000.0, 21029000.0, 4229400.0],
        ],
        [[51435, 39224, 11609, 972, 206], [0.0, 4822, 16775, 17262, 6947]],
    ),
}
"""By (pσ², H/p, p/N): times, both risks, and their standard errors."""


def problem(scale, latent_ratio, sample_ratio, input_dim=DIM):
    return ae.LinearProblem(
        input_dim, round(latent_ratio * input_dim), round(input_dim / sample_ratio), scale / input_dim
    )


def both(values):
    return np.stack([values.train, values.population])


@pytest.mark.parametrize("ratios", INDEPENDENT, ids=str)
def test_curves_agree_with_independent_ensembles(x64, ratios):
    """Means of 128 complex 96 × 96 pairs with the limiting spectra, integrated apart from the library.

    Both risks within .4 % of max(1, R(0)), the promise, and within the bracket or its own half-width and three
    standard errors of the values.
    """
    times, expected, error = map(np.asarray, INDEPENDENT[ratios])
    regime = "free" if ratios[0] > 100 else "interior"
    curve = ae.predict(ae.LinearRatios(*ratios), times, regime)
    scale = max(1.0, expected[0, 0])
    deviation = np.abs(both(curve) - expected)
    assert (deviation < 0.004 * scale).all()
    width = both(curve.upper) - both(curve)
    assert (deviation < 2 * width + 3 * error).all()
    assert (width < 0.01 * scale).all()


def test_late_interior_meets_independent_values(x64):
    """At t = 1 the means of 24 complex 128 × 128 pairs with the limiting spectra, one Haar-rotated.

    They were integrated apart from the library, as shares of the initial risk .79; standard errors are below .001.
    """
    curve = ae.predict(problem(1.0, 0.7, 0.8), TIMES, "interior")
    assert float(curve.train[3]) / 0.79 == pytest.approx(0.1523, abs=0.004)
    assert float(curve.population[3]) / 0.79 == pytest.approx(0.4105, abs=0.004)


@pytest.mark.parametrize(
    ("latent_ratio", "sample_ratio", "error"), [(0.75, 2.0, 2e-5), (1.3, 1.0, 2e-5), (0.63, 1.7, 5e-4)]
)
def test_the_start_is_exact_at_whole_ranks_and_inside_the_bracket(precision, latent_ratio, sample_ratio, error):
    curve = ae.predict(problem(1.0, latent_ratio, sample_ratio), TIMES, "interior")
    ratio = round(latent_ratio * DIM) / DIM
    start = 1 - 2 * ratio + ratio * (1 + ratio)
    for risk in ("train", "population"):
        assert getattr(curve, risk).dtype == precision
        assert float(getattr(curve, risk)[0]) == pytest.approx(start, rel=error)
        assert (getattr(curve.lower, risk) <= getattr(curve, risk)).all()
        assert (getattr(curve, risk) <= getattr(curve.upper, risk)).all()
    assert "interior" in repr(curve)


def test_other_rotations_give_the_same_curve_within_the_brackets(x64):
    case = problem(0.7, 0.63, 1.3)
    first, second = (ae.predict(case, TIMES, "interior", method=ae.Rotations(seed=seed)) for seed in (0, 1))
    assert (np.abs(both(first) - both(second)) < both(first.upper) - both(first.lower)).all()
    assert not np.array_equal(first.train[1:], second.train[1:])


def test_free_curve_scales_with_the_initial_scale(x64):
    """R(t; x) = x² R(xt; 1): the target has no scale of its own."""
    times = np.linspace(0, 0.4, 5)
    unit = ae.predict(problem(1.0, 0.7, 0.8), times, "free", rtol=1e-7)
    scaled = ae.predict(problem(50.0, 0.7, 0.8), times / 50, "free", rtol=1e-7)
    np.testing.assert_allclose(scaled.train, 2500 * unit.train, rtol=1e-5)
    np.testing.assert_allclose(scaled.population, 2500 * unit.population, rtol=1e-5)


def test_one_program_for_all_problems_batches_and_vmap(x64, monkeypatch):
    traces = []
    original = rotations.rotated_risks
    monkeypatch.setattr(interior, "rotated_risks", lambda *args: (traces.append(1), original(*args))[1])
    method, times = ae.Rotations(12, 2), jnp.linspace(0, 0.23, 13)  # as many as in no other test
    for case in (problem(1.0, 0.7, 0.8), problem(0.3, 1.7, 2.8), ae.LinearRatios(4.0, 0.1, 0.0)):
        ae.predict(case, times, "free", method=method)
    assert len(traces) == 1
    latent_dims = jnp.asarray([5_000.0, 7_000.0, 16_000.0])

    def risk(latent_dim):
        case = ae.LinearProblem(DIM, latent_dim, 12_500, 1.0 / DIM)
        return ae.predict(case, times, "free", method=method).population

    mapped = jax.jit(jax.vmap(risk))
    first = mapped(latent_dims)
    mapped(latent_dims + 1000)
    assert len(traces) == 1  # traced once for one problem, and then mapped
    batch = ae.LinearProblem(DIM, latent_dims, 12_500, 1.0 / DIM)
    curve = ae.predict(batch, times, "free", method=method)
    np.testing.assert_allclose(curve.population, first, rtol=1e-8)
    assert curve.lower.train.shape == (3, times.size)


@pytest.mark.slow
@pytest.mark.parametrize(("latent_ratio", "sample_ratio"), SETTINGS)
def test_free_face_is_within_half_a_percent_of_simulation(x64, latent_ratio, sample_ratio):
    """p = 300 with so large a scale that the target drops out, up to t = 1/x, both risks; inside the bracket too."""
    scale = 1e4
    case = problem(scale, latent_ratio, sample_ratio, input_dim=300)
    times = np.r_[0.0, np.geomspace(0.02, 1.0, 12)] / scale
    simulation = ae.simulate(case, times, jax.random.key(0), num_repeats=16)
    curve = ae.predict(case, times, "free")
    start = scale**2 * latent_ratio * (1 + latent_ratio)
    noise = 3 * both(simulation.standard_error) / start
    difference = np.abs(both(curve) - both(simulation)) / start
    assert (difference < 0.005 + noise).all()
    allowed = noise + 1 / 300  # 1/p: the size of the first finite-size correction
    assert (both(simulation) > both(curve.lower) - allowed * start).all()
    assert (both(simulation) < both(curve.upper) + allowed * start).all()
