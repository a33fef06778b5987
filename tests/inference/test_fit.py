import math
import sys
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import curve_fit

import aetheory as ae

TRUTH = {
    "large-data": (ae.LinearRatios(2.0, 0.3, 0.0), 1.0, ("sample_ratio",)),
    "mean-field": (ae.LinearRatios(0.2, 1.0, 2.0), 1.0, ("init_scale", "latent_ratio")),
    "narrow-latent": (ae.LinearRatios(0.5, 0.01, 1.0), 0.5, ()),
    "small-data": (ae.LinearRatios(0.5, 0.2, 100.0), 0.03, ()),
}
"""Each regime's ratios, the last time, and which of them its curve does not tell."""

EDGE = ("large-data", "mean-field", "free")


def limit(regime):
    ratios, latest, _ = TRUTH[regime]
    return ae.predict(ratios, np.linspace(0, latest, 21), regime)


def set_search(monkeypatch, **changes):
    """Other `SearchSettings`; the module has the name of the function in it."""
    module = sys.modules["aetheory.inference.fit"]
    monkeypatch.setattr(module, "SEARCH", replace(module.SEARCH, **changes))


@pytest.mark.parametrize(
    "regime",
    [pytest.param(name, marks=[pytest.mark.slow] * (name in ("narrow-latent", "small-data"))) for name in TRUTH],
)
def test_parameters_of_a_limit_curve(x64, regime):
    curve, (ratios, _, untold) = limit(regime), TRUTH[regime]
    found = ae.fit(curve, regime)
    assert found.converged
    assert found.not_identifiable == untold
    values = {name: getattr(ratios, name) for name in ae.LinearRatios.free_numbers}
    values["init_strength"] = values["init_scale"] * values["latent_ratio"]
    told = {name: one.value for name, one in found.estimates.items() if name not in untold}
    assert told == pytest.approx({name: values[name] for name in told}, rel=1e-3)
    for name in untold:
        assert np.isfinite(found.estimates[name].value)
        assert found.estimates[name].interval == (0.0, math.inf)
        assert any(f"`{name}` is not identifiable" in message for message in found.messages)
    np.testing.assert_allclose(found.curve().train, curve.train, atol=1e-5)


def test_the_regime_is_named_and_what_it_does_not_tell(x64):
    found = ae.fit(limit("mean-field"), ["large-data", "mean-field"])
    assert [one.regime for one in found.candidates] == ["mean-field", "large-data"]
    assert "mean-field regime" in str(found)
    assert set(found.to_dict()["bic"]) == {"large-data", "mean-field"}
    (direction,) = found.uncertainty.null_space
    np.testing.assert_allclose(np.abs(direction), [0.5**0.5, 0.5**0.5, 0], atol=1e-3)


def test_the_estimate_is_that_of_scipy(x64):
    times = np.linspace(0, 1, 30)
    noise = 0.01 * np.random.default_rng(0).standard_normal(30)
    exact = np.asarray(ae.predict(ae.LinearRatios(2.0, 0.3, 0.0), times, "large-data").train)
    found = ae.fit({"time": times, "train": exact + noise}, "large-data", fixed={"sample_ratio": 0.0})

    def curve(t, log_x, log_y):
        return np.asarray(ae.predict(ae.LinearRatios(np.exp(log_x), np.exp(log_y), 0.0), t, "large-data").train)

    best, _ = curve_fit(curve, times, exact + noise, p0=[0.5, -1.0])
    fitted = np.log([found.values["init_scale"], found.values["latent_ratio"]])
    # a hundredth of the standard errors, which SciPy's tolerance of 1e-8 in the cost is good for
    np.testing.assert_allclose(fitted, best, atol=1e-4)


@pytest.mark.parametrize("kind", ["repeats", "bound", "newey-west"])
def test_intervals_cover_noise_that_is_correlated_over_all_times(x64, kind):
    # each repeat is a limit whose initial scale is off by 5 %: the estimate's error is then known, 5 % / √repeats
    times, generator = np.linspace(0, 0.5, 21), np.random.default_rng(3)
    draw = jax.jit(lambda x: ae.predict(ae.LinearRatios(x, 0.5, 0.0), times, EDGE).train)
    covered, count, repeats = 0, 30, 6
    for _ in range(count):
        curves = np.stack([draw(math.exp(0.05 * generator.standard_normal())) for _ in range(repeats)])
        mean, std = (ae.Values(train=jnp.asarray(one)) for one in (curves.mean(axis=0), curves.std(axis=0, ddof=1)))
        observed = {
            "repeats": {"time": times, "train": curves},
            "bound": ae.Curve(jnp.asarray(times), mean, std, num_repeats=repeats),
            "newey-west": {"time": times, "train": draw(1.0) + 0.0025 * generator.standard_normal(21).cumsum()},
        }
        found = ae.fit(observed[kind], [EDGE], fixed={"latent_ratio": 0.5, "sample_ratio": 0.0})
        assert found.uncertainty.method == kind
        lower, upper = found.estimates["init_scale"].interval
        covered += lower <= 1 <= upper
    # three standard deviations of the binomial law below 95 % of 30; a random walk is more than Newey–West undoes
    assert covered >= (20 if kind == "newey-west" else 25)


def test_finite_size_correction(x64):
    observed = ae.predict(ae.LinearRatios(2.0, 0.3, 0.0, 20), np.linspace(0, 1, 21), "large-data", finite_size=True)
    plain = ae.fit(observed, "large-data", fixed={"sample_ratio": 0.0})
    corrected = ae.fit(observed, "large-data", fixed={"sample_ratio": 0.0}, input_dim=20)
    assert corrected.values["init_scale"] == pytest.approx(2.0, rel=1e-4)
    assert abs(plain.values["init_scale"] / 2.0 - 1) > 0.01


def test_simulated_correction_for_finite_size(x64, monkeypatch):
    # the mean of so many draws that what is left of the error is the bias of the limit; in batches as large as those
    # of the simulations that correct it, for all to share a program
    problem, times = ae.LinearProblem(30, 2, 15, 0.6 / 30), np.linspace(0, 0.6, 13)
    batches = [ae.simulate(problem, times, key, num_repeats=100) for key in jax.random.split(jax.random.key(0), 16)]
    options = {"theories": "narrow-latent", "fixed": {"sample_ratio": 2.0}, "num_starts": 1}
    set_search(monkeypatch, num_points=16)
    found = ae.fit(batches, **options, input_dim=30, key=jax.random.key(1), num_simulations=400)
    (plain,) = found.candidates
    assert plain.correction is None
    assert (plain.verdict.answer, found.verdict.answer) == ("does not explain", "explains")
    assert len(found.correction.repeats) == 400
    for name in ("init_scale", "latent_ratio"):
        truth = math.log(getattr(problem, name))
        assert abs(math.log(plain.values[name]) - truth) > 5 * found.estimates[name].standard_error
        assert abs(math.log(found.values[name]) - truth) < 3 * found.estimates[name].standard_error
    # a quarter as many simulations as draws add four times the variance; that of the draws is known to χ²₁₅/15
    of_draws = found.uncertainty.covariance - found.uncertainty.simulations
    shares = np.diag(found.uncertainty.simulations) / np.diag(of_draws)
    assert ((shares > 4 * 15 / 37.7) & (shares < 4 * 15 / 3.48)).all()  # between quantiles of .001 and .999
    np.testing.assert_allclose(found.fitted, found.observations.values, atol=5e-3)
    assert "corrected for finite size by 400 simulations of p = 30" in str(found)
    assert found.correction.settled
    # one correction alone, taken at the uncorrected fit, has not settled, and says so
    set_search(monkeypatch, num_points=16, max_corrections=1)
    early = ae.fit(batches, **options, input_dim=30, key=jax.random.key(1), num_simulations=400)
    assert any("still moved when it was corrected again" in message for message in early.messages)


def test_a_correction_that_cannot_be_made_says_so(x64):
    edge = [("mean-field", "large-data")]
    found = ae.fit(limit("mean-field"), edge, fixed={"sample_ratio": 0.0}, input_dim=30, key=jax.random.key(0))
    assert found.correction is None
    assert any("was not corrected for the finite size" in one for one in found.messages)


@pytest.mark.parametrize("unit", [3.0, 0.05])
def test_a_unit_of_time_and_a_noise_floor_are_found_within_the_default_bounds(x64, unit):
    curve = limit("large-data")
    observed = {"time": np.asarray(curve.times) / unit}
    observed |= {name: np.asarray(risk) + 0.02 for name, risk in curve.values.items()}
    free = ["init_scale", "latent_ratio", "time_unit", "noise_floor"]
    found = ae.fit(observed, "large-data", free, fixed={"sample_ratio": 0})
    truth = {"init_scale": 2.0, "latent_ratio": 0.3, "time_unit": unit, "noise_floor": 0.02}
    assert {name: found.values[name] for name in truth} == pytest.approx(truth, rel=1e-6)
    np.testing.assert_allclose(found.curve().train, observed["train"], rtol=1e-6)


def test_a_minimum_that_one_start_found_is_doubted(x64, monkeypatch):
    """With too few points to start from, a curve is missed, and the fit does not pretend otherwise."""
    set_search(monkeypatch, factor_explicit=1)
    curve = limit("large-data")
    observed = {"time": np.asarray(curve.times) / 3, "train": np.asarray(curve.train) + 0.02}
    free = ["init_scale", "time_unit", "noise_floor"]
    found = ae.fit(observed, "large-data", free, fixed={"latent_ratio": 0.3, "sample_ratio": 0}, num_starts=2)
    assert abs(found.values["time_unit"] / 3 - 1) > 1
    doubts = ("Another minimum is nearly as good", "Only 1 of 2 starts came to", "`time_unit` is not identifiable")
    assert any(message.startswith(doubts) for message in found.messages), found.messages


def test_a_fit_that_did_not_end_inside_its_bounds_says_so(x64, monkeypatch):
    fixed, bounds = {"latent_ratio": 0.3, "sample_ratio": 0}, {"init_scale": (3.0, 10.0)}
    found = ae.fit(limit("large-data"), "large-data", fixed=fixed, bounds=bounds)
    assert found.estimates["init_scale"].at_bound
    assert "`init_scale` ran into an end of its `bounds`" in str(found)
    set_search(monkeypatch, steps_per_round=1, num_rounds=1, num_rounds_of_others=1)
    early = ae.fit(limit("large-data"), "large-data", fixed=fixed, bounds=bounds)
    assert not early.converged
    assert "did not converge" in str(early)


@pytest.mark.slow
@pytest.mark.parametrize("regime", ["large-data", "narrow-latent", "small-data"])
def test_recovery_from_simulations_of_500_inputs(x64, regime):
    from benchmarks.fit import CASES, Counts, draws  # the full count is the benchmark's

    case = CASES[regime]
    truths = {name: float(getattr(case.problem, name)) for name in case.identifiable}
    counts = Counts(case.identifiable)
    for seed in range(4):
        curves = draws(case, jax.random.key(seed))
        counts.add(ae.fit(curves, regime, input_dim=500, key=jax.random.key(100 + seed)), regime, truths)
    # below these lies less than 2 % of the law of four fits whose intervals cover 95 %
    assert all(covered >= 2 for covered in counts.covered.values())
    assert all(np.median(np.abs(errors)) < 0.05 for errors in counts.errors.values())


@pytest.mark.slow
def test_an_ordinary_experiment_is_named_interior(x64):
    """None of the faces explains it, and the interior, tried last, does; its numbers are the true ones."""
    problem = ae.LinearProblem(100, 70, 125, 0.01)
    found = ae.fit(ae.simulate(problem, np.linspace(0, 1.5, 21), jax.random.key(0), num_repeats=16))
    assert (found.regime, found.verdict.answer) == ("interior", "explains")
    for name in ae.LinearRatios.free_numbers:
        assert found.values[name] == pytest.approx(getattr(problem, name), rel=0.15)


def test_what_needs_a_bracket_is_tried_only_where_no_face_explains_the_curve(x64, monkeypatch):
    tried, module = [], sys.modules["aetheory.inference.fit"]
    best = module._best

    def recorded(question, num_starts):
        tried.append(question.theory.name)
        return best(replace(question, theory=ae.LinearProblem.theories["large-data"]), num_starts)

    monkeypatch.setattr(module, "_best", recorded)
    ae.fit(limit("large-data"))
    assert "interior" not in tried
    times = np.linspace(0, 3, 21)
    ae.fit({"time": times, "train": 1 + 0.5 * np.sin(6 * times)})  # like no curve of a flow
    assert tried[-1] == "interior"
    ae.fit(limit("large-data"), ["large-data", "interior"])
    assert tried[-2:] == ["large-data", "interior"]


@pytest.mark.slow
@pytest.mark.parametrize("regime", TRUTH)
def test_the_truth_of_random_problems_is_found(x64, regime):
    """The first eight of the 200 of the claim."""
    from benchmarks.claims.library import truths_missed

    assert truths_missed(regime, 8).max() < 1e-3


def test_bad_input(x64):
    curve, key = limit("large-data"), jax.random.key(0)
    observed = {"time": np.asarray(curve.times), "train": np.asarray(curve.train)}
    for options, message in (
        ({"theories": "laminar"}, "`theory` must be one of"),
        ({"theories": []}, "`theories` must be one or several of"),
        ({"free": ["temperature"]}, "`free` must be one or several of"),
        ({"free": []}, "`free` must be one or several of"),
        ({"free": ["init_scale"]}, "`latent_ratio` must be either free or given"),
        ({"fixed": {"init_scale": -1.0}}, "`init_scale` must be finite and nonnegative"),
        ({"free": ["init_scale"], "fixed": {"init_scale": 1}}, "`fixed` must be made of .* but for the free ones"),
        ({"bounds": {"init_scale": (2.0, 1.0)}}, "`bounds` must be two finite, positive numbers"),
        ({"bounds": {"noise_floor": (0.0, 1.0)}}, "`bounds` must be given for free parameters only"),
        ({"input_dim": 0}, "`input_dim` must be a positive integer"),
        ({"input_dim": 20}, "`key` must be a JAX random key: with `input_dim`, small-data is corrected"),
        ({"key": key}, "must be None without `input_dim`"),
        ({"input_dim": 20, "key": key, "num_simulations": 0}, "`num_simulations` must be a positive"),
        ({"num_starts": 0}, "`num_starts` must be a positive integer"),
    ):
        with pytest.raises(ValueError, match=message):
            ae.fit(observed, **options)
    with pytest.raises(ValueError, match="at least as many observations as free parameters, 3"):
        ae.fit({"time": [0.0, 1.0], "train": [1.0, 0.5]})
    with pytest.raises(ValueError, match="1 of 21 entries are not"):
        ae.fit(observed | {"train": np.where(np.arange(21) == 3, np.nan, observed["train"])})
    with pytest.raises(ValueError, match="`curve` must be observations of train or population"):
        ae.fit({"time": observed["time"], "error": observed["train"]}, "large-data")
    with pytest.raises(ValueError, match="`input_dim` must be None for a TwoLayerProblem"):
        ae.fit({"time": [0, 1], "risk": [1.0, 1.0]}, "gaussian", problem=ae.TwoLayerProblem(4, 9), input_dim=4)


def test_candidates_speak_of_the_problem():
    """All regimes of linear autoencoders, but of another problem the theory that is meant."""
    assert {one.name for one in ae.LinearRatios(1.0, 1.0, 1.0).candidates} == {*TRUTH, "interior"}
    for problem, name in (
        (ae.TwoLayerProblem(20, 10, method="alternating"), "alternating descent"),
        (ae.TwoLayerProblem(20, 10, method="joint", step_size=0.1), "joint training"),
        (ae.RecoveryProblem(optimizer="sgd"), "order-parameter map"),
        (ae.RecoveryProblem(), "single-entry process"),
    ):
        assert [one.name for one in problem.candidates] == [name]
    ended = {"time": [0, 1], "risk": [0.7, 0.7]}
    found = ae.fit(ended, free=["num_units"], problem=ae.TwoLayerProblem(20, 9, method="sgd"), fixed={"alpha": 0.5})
    assert found.theory.name == "gaussian"
    assert found.values["num_units"] == pytest.approx(20 * 0.3 * 1.5, rel=1e-3)  # R = 1 − r/(1+α)


def test_a_fit_of_another_system_advises_what_it_takes(x64):
    times = np.linspace(0, 2, 9)
    problem = ae.TwoLayerProblem(20, 8, alpha=0.5)
    curve = ae.predict(problem, times)
    noise = 1e-3 * np.random.default_rng(0).standard_normal(9)
    observed = {"time": times, "risk": np.asarray(curve.risk) + noise}
    found = ae.fit(observed, free=["alpha"], fixed={"num_units": 8.0}, problem=problem)
    assert "init_strength" not in found.estimates
    (advice,) = [message for message in found.messages if "of this one draw" in message]
    assert "input_dim" not in advice
