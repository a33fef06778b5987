"""The free face and the interior through `predict`, with their brackets."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import aetheory as ae
from aetheory.core.curve import Values
from aetheory.linear.claims.interior import bracket as claimed
from aetheory.linear.theories import bracket, path_space
from aetheory.linear.theories import interior as chooser

SETTINGS = ((0.7, 0.8), (1.6, 1.2), (0.5, 2.0), (2.0, 0.5))
TIMES = np.array([0.0, 0.05, 0.2, 1.0, 3.0])  # others are as many: a flow compiles for seconds
PATHS, ROTATIONS = ae.PathSpace(9), ae.Rotations(96, 6)
DIM = 10**4


def problem(scale, latent_ratio, sample_ratio, input_dim=DIM):
    return ae.LinearProblem(
        input_dim, round(latent_ratio * input_dim), round(input_dim / sample_ratio), scale / input_dim
    )


def parts(case, times):
    return [ae.predict(case, times, "interior", method=one, tolerance=10.0) for one in (PATHS, ROTATIONS)]


def estimate(curve):
    return bracket.Estimate(curve.values, curve.lower, curve.upper)


def widths(curve):
    """Half-widths of the bracket of either risk."""
    return {
        risk: (np.asarray(getattr(curve.upper, risk)) - np.asarray(getattr(curve.lower, risk))) / 2
        for risk in ("train", "population")
    }


@pytest.fixture(scope="module")
def curves():
    """Both approximations of the interior at one problem, at times where they can be compared, and both combined.

    The combination asks for what is known already: its five flows would compile for five seconds.
    """
    case, asked = problem(1.0, 0.7, 0.8), []

    def known(method, curve):
        def answer(self, *question):
            assert self == method
            asked.append(question)
            return estimate(curve), curve.stats

        return answer

    with jax.enable_x64(True), pytest.MonkeyPatch.context() as patch:
        paths, rotations = parts(case, TIMES)
        patch.setattr(ae.PathSpace, "estimate", known(PATHS, paths))
        patch.setattr(ae.Rotations, "estimate", known(ROTATIONS, rotations))
        both = ae.predict(case, TIMES, "interior", method=ae.Combined(PATHS, ROTATIONS), tolerance=10.0)
    assert len(asked) == 2
    assert all(mine is theirs for mine, theirs in zip(*asked, strict=True))  # each part is asked the same
    assert asked[0][2] is False  # the target is there
    return {"path-space": paths, "rotations": rotations, "combined": both}


def test_rotations_and_path_space_agree_where_path_space_is_narrow(x64, curves):
    paths, rotations = curves["path-space"], curves["rotations"]
    for risk in ("train", "population"):
        ours, theirs = np.asarray(getattr(paths, risk)), np.asarray(getattr(rotations, risk))
        allowed = 2 * widths(paths)[risk] + 2 * widths(rotations)[risk] + 1e-3
        assert (np.abs(ours - theirs) < allowed)[:4].all(), risk


def test_late_interior_meets_independent_values(x64, curves):
    """At t = 1 the means of 24 complex 128 × 128 pairs with the limiting spectra, one Haar-rotated.

    They were integrated apart from the library, as shares of the initial risk .79; standard errors are below .001.
    """
    combined = curves["combined"]
    assert float(combined.train[3]) / 0.79 == pytest.approx(0.1523, abs=0.005)
    assert float(combined.population[3]) / 0.79 == pytest.approx(0.4105, abs=0.005)


def test_combination_is_narrower_than_both_and_between_them(x64, curves):
    combined = curves["combined"]
    for risk in ("train", "population"):
        parts = np.stack([getattr(curves[name], risk) for name in ("path-space", "rotations")])
        value = np.asarray(getattr(combined, risk))
        assert (value >= parts.min(0) - 1e-12).all()
        assert (value <= parts.max(0) + 1e-12).all()
        for name in ("path-space", "rotations"):
            assert (widths(combined)[risk] <= widths(curves[name])[risk] + 1e-12).all()


def test_bracket_contains_the_curve_and_starts_at_the_initial_risk(x64, curves):
    start = 1 - 2 * 0.7 + 0.7 * 1.7
    for name, curve in curves.items():
        for risk in ("train", "population"):
            assert (np.asarray(getattr(curve.lower, risk)) <= np.asarray(getattr(curve, risk))).all()
            assert (np.asarray(getattr(curve, risk)) <= np.asarray(getattr(curve.upper, risk))).all()
            allowed = 1e-9 if name != "rotations" else 0.01
            assert float(getattr(curve, risk)[0]) == pytest.approx(start, abs=allowed)
    assert "interior" in repr(curves["combined"])


def test_free_curve_scales_with_the_initial_scale(x64):
    """R(t; x) = x² R(xt; 1): the target has no scale of its own."""
    times = np.linspace(0, 0.4, 5)
    unit = ae.predict(problem(1.0, 0.7, 0.8), times, "free", method=ae.PathSpace(9), tolerance=1.0)
    scaled = ae.predict(problem(50.0, 0.7, 0.8), times / 50, "free", method=ae.PathSpace(9), tolerance=1.0)
    np.testing.assert_allclose(scaled.train, 2500 * unit.train, rtol=1e-5)
    np.testing.assert_allclose(scaled.population, 2500 * unit.population, rtol=1e-5)


def test_tolerance_chooses_the_truncation_and_says_when_it_fails(x64, monkeypatch):
    monkeypatch.setattr(chooser, "_LENGTHS", (3, 9))  # the former has two flows to compile, not four
    case, times = problem(1.0, 0.7, 0.8), np.linspace(0, 1, 5)
    loose = ae.predict(case, times, "free", tolerance=0.5)
    tight = ae.predict(case, times, "free", tolerance=0.05)
    scale = 0.7 * 1.7
    assert max(width.max() for width in widths(loose).values()) <= 0.5 * scale
    assert max(width.max() for width in widths(tight).values()) <= 0.05 * scale
    assert widths(tight)["population"].max() < widths(loose)["population"].max()
    with pytest.warns(UserWarning, match=r"bracket of the free curve is ± .* wider than the `tolerance` 1e-06"):
        ae.predict(case, times, "free", method=ae.PathSpace(9), tolerance=1e-6)


def test_batches_and_vmap_reuse_one_program(x64, monkeypatch):
    traces = []
    original = path_space.evolve_paths
    monkeypatch.setattr(path_space, "evolve_paths", lambda *args: (traces.append(1), original(*args))[1])
    times = jnp.linspace(0, 0.23, 13)  # as many as in no other test
    latent_dims = jnp.asarray([5_000.0, 7_000.0, 16_000.0])

    def risk(latent_dim):
        case = ae.LinearProblem(DIM, latent_dim, 12_500, 1.0 / DIM)
        return ae.predict(case, times, "free", method=ae.PathSpace(3)).population

    mapped = jax.jit(jax.vmap(risk))
    first = mapped(latent_dims)
    mapped(latent_dims + 1000)
    assert len(traces) == 2  # two truncations, each traced once
    batch = ae.LinearProblem(DIM, latent_dims, 12_500, 1.0 / DIM)
    curve = ae.predict(batch, times, "free", method=ae.PathSpace(3), tolerance=10.0)
    np.testing.assert_allclose(curve.population, first, rtol=1e-8)
    assert curve.lower.train.shape == (3, times.size)


def test_combine_takes_the_exact_one():
    exact = bracket.Estimate(*(Values(train=jnp.ones(2), population=jnp.ones(2)) for _ in range(3)))
    vague = bracket.Estimate(
        *(Values(train=one, population=one) for one in map(jnp.asarray, ([3.0, 3.0], [2.0, 2.0], [4.0, 4.0])))
    )
    for combined in (bracket.combine(exact, vague), bracket.combine(vague, exact)):
        np.testing.assert_allclose(combined.values.train, 1.0)
        np.testing.assert_allclose(combined.upper.population, 1.0)


@pytest.mark.slow
@pytest.mark.parametrize(("latent_ratio", "sample_ratio"), SETTINGS)
def test_free_face_is_within_one_percent_of_simulation(x64, latent_ratio, sample_ratio):
    """p = 300 with so large a scale that the target drops out, up to t = 1/x, both risks; inside the bracket too."""
    scale = 1e4
    case = problem(scale, latent_ratio, sample_ratio, input_dim=300)
    times = np.r_[0.0, np.geomspace(0.02, 1.0, 12)] / scale
    simulation = ae.simulate(case, times, jax.random.key(0), num_repeats=16)
    curve = ae.predict(case, times, "free")
    start = scale**2 * latent_ratio * (1 + latent_ratio)
    for risk in ("train", "population"):
        difference = np.asarray(getattr(curve, risk) - getattr(simulation, risk)) / start
        noise = 3 * np.asarray(getattr(simulation.standard_error, risk)) / start
        assert (np.abs(difference) < 0.01 + noise).all(), (risk, difference)
        simulated = np.asarray(getattr(simulation, risk)) / start
        allowed = noise + 1 / 300  # 1/p: the size of the first finite-size correction
        assert (simulated > np.asarray(getattr(curve.lower, risk)) / start - allowed).all(), risk
        assert (simulated < np.asarray(getattr(curve.upper, risk)) / start + allowed).all(), risk


def test_truncations_that_go_wrong_together_do_not_outweigh_rotations(x64):
    """At H/p = .12 and late times both truncations are off by more than .2 of the initial risk within their bracket."""
    with pytest.warns(UserWarning, match=r"bracket of path space is too narrow for H/p = 0.12, below 0.5"):
        paths, rotations = parts(ae.LinearRatios(0.26, 0.12, 0.45), [0.0, 0.36, 1.43, 4.0, 12.0])
    both = jax.jit(bracket.combine)(estimate(paths), estimate(rotations))
    for name in ("train", "population"):
        assert (paths.upper[name][3:] < rotations.lower[name][3:] - 0.2).all()
        middle = (rotations.lower[name] + rotations.upper[name]) / 2
        assert (np.abs(both.values[name] - middle) < rotations.upper[name] - middle)[3:].all()
        assert ((both.lower[name] < rotations.upper[name]) & (both.upper[name] > rotations.lower[name])).all()


@pytest.mark.slow
def test_brackets_hold_complex_ensembles(x64):
    """Of which the risks have no term in 1/p: 40 random problems, both risks, to four natural times."""
    assert claimed.stands(max(claimed.deviations(claimed.rows()).values()))


def test_the_bracket_is_as_wide_as_what_remains_to_move(x64):
    """At H/p ≈ 1 and late times the truncations creep up on the curve from one side.

    The value is the mean of 32 complex ensembles of p = 48, H = 54, N = 146 at t = 4/[(1+√z)² max(1, x(1+√y)²)].
    """
    ratios, times = ae.LinearRatios(0.19036, 54 / 48, 48 / 146), np.linspace(0, 1.61581, 5)
    curve = ae.predict(ratios, times, "interior", method=PATHS, tolerance=10.0)
    assert float(curve.lower.train[-1]) < 0.0438 < float(curve.upper.train[-1])
