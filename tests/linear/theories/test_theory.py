import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import prism as oracle

import aetheory as ae
from aetheory.linear.theories import THEORIES
from aetheory.linear.theories import theory as theory_module

SOLVED = ("large-data", "small-data", "mean-field", "narrow-latent")
SCALES = (0.01, 0.3, 3.0)
TIMES = np.r_[0.0, np.geomspace(0.02, 3.0, 8)]


def problem(scale, latent_ratio=1.0, sample_ratio=0.0, input_dim=10**6):
    """The problem of the given x, y and z, with dimensions large enough for any rational ratio."""
    num_samples = round(input_dim / sample_ratio) if sample_ratio else jnp.inf
    return ae.LinearProblem(input_dim, round(latent_ratio * input_dim), num_samples, scale / input_dim)


@pytest.mark.parametrize(("strength", "sample_ratio"), list(itertools.product((0.01, 10.0), (0.02, 1.0, 50.0))))
def test_the_mean_field_default_holds_its_accuracy_at_the_ends_of_its_range(x64, strength, sample_ratio):
    times = [0.0, 1e-3, 0.1, 1.0, 3.0, 10.0, 30.0, 100.0]
    train, population = oracle.mean_field_risks(times, strength, sample_ratio)
    curve = ae.predict(problem(strength, 1.0, sample_ratio), times, "mean-field")
    np.testing.assert_allclose(curve.train, train, atol=1e-6 * max(1, train[0]))
    np.testing.assert_allclose(curve.population, population, atol=1e-6 * max(1, population[0]))


def test_small_data_stays_at_the_saddle_where_the_map_shrinks(x64):
    """Narrow and strong, all eigenvalues of WᵀW above 2: the sample's own reconstruction decays for good."""
    curve = ae.predict(problem(3.0, 0.02, 100.0), TIMES / 3, "small-data")
    assert float(curve.train[-1]) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("regime", ["mean-field", "narrow-latent"])
def test_infinite_data_is_the_limit_of_small_ratio(x64, regime):
    at_zero = ae.predict(problem(0.3, 0.7), TIMES, regime)
    near_zero = ae.predict(problem(0.3, 0.7, 1e-5), TIMES, regime)
    np.testing.assert_allclose(at_zero.train, near_zero.train, atol=1e-3)
    np.testing.assert_allclose(at_zero.train, at_zero.population, atol=1e-9)


def test_time_zero_is_the_risk_of_the_initial_map(x64):
    """E ‖M−I‖²/p = 1 − 2xy + x²y(1+y) in every regime, each to its own order in y."""
    x, y = 0.6, 0.5
    start = 1 - 2 * x * y + x**2 * y * (1 + y)
    for regime, expected in {
        "large-data": start,
        "small-data": start,
        "mean-field": (x * y - 1) ** 2,
        "narrow-latent": 1 - 2 * x * y + x**2 * y,
    }.items():
        curve = ae.predict(
            problem(x, y, 0.5), TIMES, regime, throw=False
        )  # as many times as elsewhere, and one program
        assert float(curve.population[0]) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("dims", "scale", "time", "uncorrected_error", "num_draws"),
    [
        ((20, 10), 0.3, 0.3, 0.003, 1000),
        pytest.param((20, 30), 0.8, 0.8, 0.001, 4000, marks=pytest.mark.slow),
        pytest.param((50, 50), 0.5, 0.5, 0.0, 4000, marks=pytest.mark.slow),
    ],
)
def test_large_data_correction_meets_the_mean_of_many_draws(x64, dims, scale, time, uncorrected_error, num_draws):
    input_dim, latent_dim = dims
    small = ae.LinearProblem(input_dim, latent_dim, jnp.inf, scale / input_dim)
    simulated = ae.simulate(small, [time], jax.random.key(5), num_repeats=num_draws, rtol=1e-5)
    limit, corrected = (ae.predict(small, [time], "large-data", finite_size=flag) for flag in (False, True))
    tolerance = 3 * float(simulated.standard_error.population[0]) + 5e-4
    assert abs(float(simulated.population[0] - corrected.population[0])) < tolerance
    assert abs(float(simulated.population[0] - limit.population[0])) >= uncorrected_error


@pytest.mark.parametrize(
    ("input_dim", "num_samples", "num_draws"),
    [(8, 16, 1000), *(pytest.param(*dims, 4000, marks=pytest.mark.slow) for dims in ((20, 40), (40, 20)))],
)
def test_mean_field_correction_meets_the_mean_of_many_draws(x64, input_dim, num_samples, num_draws):
    latent_dim = 10**7
    small = ae.LinearProblem(input_dim, latent_dim, num_samples, 0.4 / latent_dim)
    simulated = ae.simulate(small, [0.1, 0.5], jax.random.key(6), num_repeats=num_draws, rtol=1e-5)
    corrected = ae.predict(small, [0.1, 0.5], "mean-field", finite_size=True)
    for risk in ("train", "population"):
        tolerance = 3 * np.asarray(getattr(simulated.standard_error, risk)) + 5e-4
        assert (np.abs(getattr(simulated, risk) - getattr(corrected, risk)) < tolerance).all()


def test_mean_field_on_data_uses_the_data_spectrum(x64):
    rng = np.random.default_rng(1)
    samples = rng.standard_normal((9, 12)) * np.linspace(0.3, 2, 12) + 5.0
    other = rng.standard_normal((30, 12)) + 5.0
    strength, times = 0.3, np.array([0.0, 0.4, 2.0])
    case = ae.LinearProblem(12, 6000, 9, strength / 6000)
    centred = samples - samples.mean(0)
    spectrum, basis = np.linalg.eigh(centred.T @ centred / 9)
    error = (strength - 1) / (1 + strength * np.expm1(4 * np.outer(times, spectrum.clip(0))))
    held_out_variance = (((other - samples.mean(0)) @ basis) ** 2).mean(0)
    train = (error**2 * spectrum).mean(1)
    plain = ae.predict(case, times, "mean-field", data=samples)
    tested = ae.predict(case, times, "mean-field", data=samples, held_out=other)
    np.testing.assert_allclose(plain.train, train, atol=1e-7)
    np.testing.assert_allclose(tested.train, train, atol=1e-7)
    np.testing.assert_allclose(plain.population, (error**2).mean(1), atol=1e-7)
    np.testing.assert_allclose(tested.population, (error**2 * held_out_variance).mean(1), atol=1e-6)


def test_derivative_in_the_latent_ratio_is_smooth_across_one(x64):
    """y = H/p through a traced latent_dim."""

    def risk(latent_dim):
        case = ae.LinearProblem(100, latent_dim, jnp.inf, 0.005)
        return ae.predict(case, [0.4], "large-data").train[0]

    slope = jax.grad(risk)(100.0)
    expected = (oracle.large_data_risk([0.4], 0.5, 1.0005) - oracle.large_data_risk([0.4], 0.5, 0.9995)) / 0.1
    assert float(slope) == pytest.approx(expected[0], rel=1e-4)


def test_accuracy_range_is_announced(x64):
    with pytest.warns(UserWarning, match=r"`init_scale` in \[20, 20\].*num_nodes"):
        ae.predict(problem(20.0, 1.0), [0.1], "large-data")
    with pytest.warns(UserWarning, match="t p/N up to 200"):
        ae.predict(problem(0.5, 1.0, 100.0), [2.0], "small-data")
    ae.predict(problem(20.0, 1.0), [0.1], "large-data", num_nodes=80)  # an explicit choice is taken at its word


@pytest.mark.slow
def test_more_nodes_change_less_than_the_stated_accuracy(x64):
    for regime, case, last in (
        ("mean-field", problem(0.01, 1.0, 1.0), 20.0),
        ("narrow-latent", problem(0.01, 0.1, 5.0), 5.0),
        ("small-data", problem(3.0, 0.1, 100.0), 0.2),
    ):
        times = np.r_[0, np.geomspace(last / 100, last, 20)]
        default = ae.predict(case, times, regime)
        fine = ae.predict(case, times, regime, num_nodes=260 if regime != "small-data" else 48)
        np.testing.assert_allclose(default.train, fine.train, atol=1e-6)
        scale = max(1.0, float(jnp.max(jnp.abs(fine.population))))
        np.testing.assert_allclose(default.population, fine.population, atol=1e-6 * scale)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"regime": "lazy"}, "`theory` must be one of 'large-data', .*, 'interior', .* but got 'lazy'"),
        ({"regime": ("large-data", "small-data")}, "`faces` must be faces that meet"),
        ({"regime": ("large-data", "interior")}, "`regime` must be the name of a regime, or several of"),
        ({"theory": "free", "regime": "free"}, "`theory` and `regime` are two names of one choice"),
        ({"regime": "small-data", "finite_size": True}, "`finite_size` must be False for the small-data regime"),
        ({"regime": "large-data", "num_nodes": 0}, "`num_nodes` must be a positive integer"),
        ({"regime": "large-data", "rtol": 0.0}, "`rtol` must be finite and positive"),
        ({"regime": "large-data", "max_steps": 0}, "`max_steps` must be a positive integer"),
        ({"regime": "large-data", "times": [1.0, 0.5]}, "`times` must be .* increasing order"),
        ({"regime": "large-data", "times": [-1.0, 0.5]}, "`times` must be .* nonnegative"),
        ({"regime": "large-data", "data": np.ones((150, 100))}, "`data` must be None for the large-data regime"),
        ({"regime": "mean-field", "held_out": np.ones((2, 100))}, "`held_out` must be None without `data`"),
        ({"regime": "mean-field", "data": np.ones((9, 100))}, "`num_samples` must be 9, the number of rows of `data`"),
        ({"regime": "mean-field", "data": np.ones((150, 7))}, "`data` must have 100 columns"),
        ({"regime": "mean-field", "data": np.full((150, 100), np.nan)}, "`data` must be .* 15000 entries are NaN"),
        (
            {"regime": "mean-field", "data": np.ones((150, 100)), "held_out": np.ones((3, 4))},
            "`held_out` must have 100 columns",
        ),
        ({"regime": "interior", "method": "flow"}, "`method` must be an `ae.Rotations` or None for the interior"),
    ],
)
def test_bad_input_names_the_argument(options, message):
    options = {"times": [0.0, 1.0], **options}
    with pytest.raises(ValueError, match=message):
        ae.predict(ae.LinearProblem(100, 60, 150, 0.01), **options)


def test_options_of_another_theory_are_refused():
    for regime, option in (("free", "num_nodes"), ("interior", "data"), ("large-data", "method")):
        with pytest.raises(ValueError, match=rf"`{option}` must be one of the options of {regime} \("):
            ae.predict(ae.LinearProblem(100, 60, 150, 0.01), [0.0, 1.0], regime, **{option: 9})


def test_small_data_needs_data():
    with pytest.raises(ValueError, match=r"`sample_ratio` must be positive .* for the small-data regime"):
        ae.predict(ae.LinearProblem(100, 60, jnp.inf, 0.01), [1.0], "small-data")


@pytest.mark.parametrize("regime", SOLVED)
def test_one_compilation_serves_every_problem(x64, monkeypatch, regime):
    traces = []
    original = theory_module.evaluate
    monkeypatch.setattr(theory_module, "evaluate", lambda *args: (traces.append(1), original(*args))[1])
    times = jnp.asarray([0.0, 0.123, 0.456, 0.789])  # a length no other test uses
    counts = []
    for dims in ((50, 30, 70), (60, 90, 40), (1000, 100, 20_000)):
        ae.predict(ae.LinearProblem(*dims, 0.5 / dims[0]), times, regime, throw=False)
        counts.append(len(traces))
    assert counts == [1, 1, 1]


def test_a_flow_that_runs_out_of_steps_says_so(x64):
    case = ae.LinearProblem(100, 60, 150, 0.01)
    with pytest.raises(RuntimeError, match="max_steps"):
        ae.predict(case, [5.0], "narrow-latent", max_steps=3)
    curve = ae.predict(case, [5.0], "narrow-latent", max_steps=3, throw=False)
    assert not bool(curve.stats.succeeded)
    assert "stopped early" in repr(curve)


EXPLICIT = [one for one in THEORIES.values() if isinstance(one, theory_module.LinearTheory) and one.is_explicit]
EXPLICIT = [one for one in EXPLICIT if one.isotropic is not None]


@pytest.mark.filterwarnings("ignore:The default `num_nodes`")
@pytest.mark.parametrize("theory", EXPLICIT, ids=lambda theory: theory.name)
def test_closed_forms_are_finite_from_any_start_at_any_time(precision, theory):
    """Risks of modes that grow freely become negative in the end, infinite at last, and raise; others never do."""
    starts = [0.0, 1e-300, 1e-30, 1e-12, 1e-6, 1e-3, 0.3, 1.0, 10.0, 1e3, 1e6]
    x, y, z = np.meshgrid(starts, [1e-3, 0.7, 1.0, 3.0, 1e3], [1e-3, 0.5, 1.0, 40.0], indexing="ij")
    times = np.r_[0.0, np.geomspace(1e-3, 1e4, 29), 93.0, 150.0, 186.0, 400.0]
    ratios = ae.LinearRatios(*(jnp.asarray(one.ravel(), precision) for one in (x, y, z)))
    curve = theory.curve(ratios, np.sort(times), throw=False)
    grows = {"narrow-latent", "small-data"} <= {*theory.name.split(" ∩ ")} or "1 − 2" in theory.formula
    for risk in ("train", "population"):
        values = np.asarray(getattr(curve, risk))
        assert not np.isnan(values[:, 0]).any()
        if not grows:
            assert np.isfinite(values).all(), risk


def test_a_negative_risk_raises(x64):
    """The small-data curve leaves the data's own share of the directions out, and moves as if they were none."""
    problem = ae.LinearRatios(1e-3, 0.7, 0.5)
    with pytest.raises(RuntimeError, match=r"The small-data curve becomes negative, which no mean square is"):
        ae.predict(problem, [0.0, 20.0], "small-data")
    assert float(ae.predict(problem, [0.0, 20.0], "small-data", throw=False).population[1]) < -0.5
    with pytest.raises(Exception, match=r"The small-data curve becomes negative"):
        jax.jit(lambda x: ae.predict(ae.LinearRatios(x, 0.7, 0.5), [0.0, 20.0], "small-data").train)(1e-3)
