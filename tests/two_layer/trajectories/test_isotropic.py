import re

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from tolerance import rounding

import aetheory as ae
from aetheory.two_layer.network import random_encoder

DIM = 100
FLOWS = ("tied", "joint")
FLOW, STEPS = np.array([0.0, 0.8, 1.6, 4.0]), np.array([0, 10, 150])


def problem(rate, method, activation="sign", **fields):
    return ae.TwoLayerProblem(DIM, rate * DIM, activation, method, **fields)


@pytest.mark.parametrize(
    ("method", "activation", "times", "expected"),
    [
        ("tied", "sign", FLOW, {0.5: [0.7585, 0.7020, 0.6850, 0.6817], 1: [0.6110, 0.4962, 0.4328, 0.3732]}),
        (
            *("alternating", "sign", STEPS),
            {
                0.5: [0.7209, 0.6863, 0.6817],
                1: [0.5222, 0.3992, 0.3634],
                1.5: [0.3906, 0.2982, 0.2756],
                2: [0.3044, 0.2444, 0.2220],
            },
        ),
        pytest.param(
            *("joint", "erf", np.array([1.0, 3.0, 6.0, 30.0])),
            {0.5: [0.7546, 0.5934, 0.5460, 0.5432], 1: [0.5650, 0.2862, 0.1296, 0.0864]},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_the_values_of_the_derivation(method, activation, times, expected, x64):
    """Computed by its independent program; all rates in one batch."""
    curve = ae.predict(problem(jnp.asarray(list(expected), float), method, activation), times)
    assert curve.theory is problem(1, method).default_theory()
    # that program's 400 midpoints resolve the hard edge of r = 1 to 5e-5
    np.testing.assert_allclose(curve.risk, list(expected.values()), atol=1.05e-4)
    assert (np.diff(curve.risk) < 0).all()


class Reference:
    """The equations in NumPy and SciPy on midpoints of the Marchenko–Pastur law."""

    def __init__(self, rate, activation, nodes=400):
        chosen = ae.two_layer.as_activation(activation)
        angles = (np.arange(nodes) + 0.5) * np.pi / nodes
        self.start = 1 + rate + 2 * np.sqrt(rate) * np.cos(angles)
        self.weights = 2 * np.sin(angles) ** 2 / self.start / nodes
        self.rate, self.alpha, self.power = rate, chosen.alpha, chosen.linear_coefficient**2

    def mean(self, values):
        return values @ self.weights

    def observed(self, squares, risk):
        return [risk, self.mean(squares**2), self.mean(np.sqrt(squares * self.start))]

    def best(self, squares):
        return self.observed(squares, 1 - self.rate * self.mean(squares / (squares + self.alpha)))

    def solve(self, velocity, state, times):
        return solve_ivp(velocity, (0, times[-1]), state, t_eval=times, rtol=1e-8, atol=1e-10).y.T

    def tied(self, times):
        def velocity(_, squares):
            moment = self.mean(squares**2)
            return -4 / (moment + self.alpha) ** 2 * squares * (squares - moment)

        path = self.solve(velocity, self.start, times)
        return [self.observed(one, 1 - self.rate / (self.mean(one**2) + self.alpha)) for one in path]

    def alternating(self, times, step):
        squares, found = self.start, []
        for _ in range(int(times[-1]) + 1):
            found.append(self.best(squares))
            pull = self.alpha / (squares + self.alpha) ** 2 + self.mean(squares / (squares + self.alpha) ** 2)
            squares = squares * (1 + 2 * step * pull) ** 2
            squares = squares / self.mean(squares)
        return np.array(found)[times]

    def alternating_flow(self, times):
        def velocity(_, squares):
            pull = self.alpha / (squares + self.alpha) ** 2
            return 2 * squares * (pull - self.mean(squares * pull))

        return [self.best(one) for one in self.solve(velocity, self.start, times)]

    def velocity(self, _, state):
        a, b = np.split(state, 2)
        multiplier = self.mean(a * b - a**2 * b**2)
        return np.concatenate([self.power * (b - a * (b**2 + self.alpha)), a - a**2 * b - multiplier * b])

    def both(self, state):
        a, b = np.split(state, 2)
        return self.observed(b**2, 1 - self.rate * self.mean(2 * a * b - a**2 * (b**2 + self.alpha)))

    def joint(self, times):
        state = np.concatenate([0 * self.start, np.sqrt(self.start)])
        return [self.both(one) for one in self.solve(self.velocity, state, times)]

    def joint_descent(self, times, step):
        state, found = np.concatenate([0 * self.start, np.sqrt(self.start)]), []
        for _ in range(int(times[-1]) + 1):
            found.append(self.both(state))
            a, b = np.split(state + step * self.velocity(0, state), 2)
            state = np.concatenate([a, b / np.sqrt(self.mean(b**2))])
        return np.array(found)[times]


@pytest.mark.parametrize(
    ("rate", "method", "reference", "fields", "options"),
    [
        (0.7, "tied", lambda one: one.tied(FLOW), {}, {}),
        (1.6, "alternating", lambda one: one.alternating(STEPS, 0.5), {"step_size": 0.5}, {}),
        pytest.param(
            *(0.7, "alternating", lambda one: one.alternating_flow(FLOW), {}, {"flow": True}), marks=pytest.mark.slow
        ),
        (1.6, "joint", lambda one: one.joint(FLOW), {}, {}),
        (0.7, "joint", lambda one: one.joint_descent(STEPS, 0.3), {"step_size": 0.3}, {}),
    ],
)
def test_curves_are_those_of_a_program_in_numpy(rate, method, reference, fields, options, x64):
    times = STEPS if (method == "alternating" or fields) and not options else FLOW
    curve = ae.predict(problem(rate, method, "erf", **fields), times, **options)
    expected = np.array(reference(Reference(rate, "erf"))).T
    for name, values in zip(("risk", "second_moment", "overlap"), expected, strict=True):
        np.testing.assert_allclose(getattr(curve, name), values, rtol=0, atol=2e-6)


def test_the_law_of_unit_rows(x64):
    """Its second moment 1 + r − 1/d is exact at every size; at twice the size half of the correction is left."""
    rates = jnp.array([0.5, 2.0])
    for units in (25.0, 50.0):
        made = ae.TwoLayerProblem(units / rates, units, method="alternating")
        found = ae.predict(made, [0], finite_size=True)
        np.testing.assert_allclose(found.second_moment[:, 0], 1 + rates - rates / units, rtol=1e-9)
    rows = np.random.default_rng(0).normal(size=(4000, 10, 20))
    rows /= np.linalg.norm(rows, axis=2, keepdims=True)
    cubes = np.trace(np.linalg.matrix_power(rows @ rows.transpose(0, 2, 1), 3), axis1=1, axis2=2) / 10
    law = ae.spectra.MarchenkoPastur(0.5).edge_quadrature(48, 10.0, unit_rows=True)
    # what is left is of order 1/n²
    assert float(law.integrate(law.nodes**3)) == pytest.approx(cubes.mean(), abs=3 * cubes.std() / 4000**0.5 + 0.02)


def test_quantiles_are_those_of_the_eigenvalues(x64):
    levels = (0.0, 0.2, 0.6, 0.9)
    rows = random_encoder(jax.random.key(4), 30, 60)
    own = ae.predict(problem(2, "tied", start=None), [0.0, 60.0], quantiles=levels).spectrum
    assert own.shape == (2, 4)
    # the atom of r = 2, and the end, where all others are 2
    np.testing.assert_allclose(own[:, :2], 0, atol=1e-12)
    np.testing.assert_allclose(own[1, 2:], 2, atol=1e-5)
    one = ae.TwoLayerProblem(30, 60, method="alternating", start=rows)
    found = ae.predict(one, [0], quantiles=levels).spectrum[0]
    values = np.linalg.eigvalsh(rows @ rows.T)
    np.testing.assert_allclose(found, np.interp(levels, (np.arange(60) + 0.5) / 60, values), atol=0.15)
    np.testing.assert_allclose(found[:2], 0, atol=1e-12)


@pytest.mark.parametrize("method", ["alternating", *(pytest.param(one, marks=pytest.mark.slow) for one in FLOWS)])
def test_one_encoder_is_followed_by_its_own_spectrum(method, x64):
    """Joint training from A(0) = (s/c₁) B(0)ᵀ, s = .5. The limit is off by five times as much at this size."""
    start, times = random_encoder(jax.random.key(1), 40, 20), {"alternating": np.arange(0, 31, 10)}.get(method, FLOW)
    if method == "joint":
        start = ae.TwoLayerAutoencoder(start, 0.5 / np.sqrt(2 / np.pi) * start.T, "sign")
    one = ae.TwoLayerProblem(40, 20, "sign", method, start=start)
    simulated, own = ae.simulate(one, times, jax.random.key(0)), ae.predict(one, times)
    off = np.abs(own.risk - simulated.risk).max()
    assert off < 5e-4
    if method != "joint":
        limit = ae.predict(ae.TwoLayerProblem(40, 20, "sign", method), times)
        assert off < 0.2 * np.abs(limit.risk - simulated.risk).max()
    np.testing.assert_allclose(own.second_moment, simulated.second_moment, rtol=3e-3)
    np.testing.assert_allclose(own.overlap, simulated.overlap, rtol=3e-3)


def test_a_singular_start(x64):
    rows = np.eye(4)[[0, 0, 1]]
    times = np.arange(0, 901, 300)
    curve = ae.predict(ae.TwoLayerProblem(4, 3, "erf", "alternating", start=rows), times)
    assert np.isfinite(curve.risk).all()
    # nothing grows out of an eigenvalue 0: two of three are left, of sum 3
    assert float(curve.second_moment[-1]) == pytest.approx(1.5, abs=0.02)


def test_a_step_of_joint_training_is_that_of_the_risk(x64):
    """By the public risk; and small steps are the flow."""
    rows = random_encoder(jax.random.key(3), 12, 6)
    decoder = 0.3 * rows.T
    step, one = 0.5, ae.TwoLayerAutoencoder(rows, decoder, "erf")
    loss = lambda rows, decoder: 6 * ae.population_risk(ae.TwoLayerAutoencoder(rows, decoder, "erf"))  # noqa: E731
    pulls = jax.grad(loss, argnums=(0, 1))(rows, decoder)
    moved = rows - step * pulls[0]
    expected = ae.TwoLayerAutoencoder(moved, decoder - step * pulls[1], "erf")
    made = ae.TwoLayerProblem(12, 6, "erf", "joint", start=one, step_size=step)
    with jax.numpy_dtype_promotion("standard"):
        run = ae.simulate(made, [0, 1], jax.random.key(0), return_module=True)
    assert float(run.risk[1]) == pytest.approx(float(ae.population_risk(expected)), rel=rounding(jnp.float64, 100))
    np.testing.assert_allclose(jnp.linalg.norm(run.module.encoder, axis=1), 1, rtol=rounding(jnp.float64, 12))


@pytest.mark.parametrize("method", ["alternating", *(pytest.param(one, marks=pytest.mark.slow) for one in FLOWS)])
def test_derivatives_in_the_start_and_the_times(method, x64):
    """In forward mode, which knows traced numbers of steps too; between whole ones the curve is a polygon."""
    if method == "alternating":
        path = ae.predict(problem(0.5, method), [2, 2.25, 3]).risk
        assert float(path[1]) == pytest.approx(0.75 * float(path[0]) + 0.25 * float(path[2]), rel=1e-12)
    rows = random_encoder(jax.random.key(5), 12, 6)
    direction = jnp.asarray(np.random.default_rng(0).normal(size=rows.shape))

    def last(shift, time):
        one = ae.TwoLayerProblem(12, 6, "erf", method, start=rows + shift * direction)
        options = {} if method == "alternating" else {"adjoint": diffrax.ForwardMode(), "rtol": 1e-10}
        return ae.predict(one, jnp.stack([0.0 * time, time]), **options).risk[-1]

    last_jit = jax.jit(last)
    found = jax.jit(jax.jacfwd(last, argnums=(0, 1)))(0.0, 2.5)
    for index, value in enumerate(found):
        ends = [last_jit(sign * 1e-4 * (index == 0), 2.5 + sign * 1e-4 * (index == 1)) for sign in (1.0, -1.0)]
        assert float(value) == pytest.approx(float(ends[0] - ends[1]) / 2e-4, rel=1e-4, abs=1e-8)  # of the differences


def test_sensitivities_of_a_descent(x64):
    made = ae.TwoLayerProblem(DIM, 70.0, "sign", "alternating", step_size=0.2)
    steps = np.arange(0, 13, 2)
    answer = ae.sensitivities(made, steps)
    assert set(answer.derivatives) == {"num_units", "alpha", "step_size"}
    ends = [
        ae.predict(ae.TwoLayerProblem(DIM, 70.0, "sign", "alternating", step_size=0.2 * factor), steps).risk
        for factor in (1 + 1e-5, 1 - 1e-5)
    ]
    np.testing.assert_allclose(answer.derivatives["step_size"].risk, (ends[0] - ends[1]) / 2e-5, atol=1e-8)


@pytest.mark.slow
def test_a_fit_of_a_descent(x64):
    made = ae.TwoLayerProblem(DIM, 70.0, "sign", "alternating", step_size=0.2)
    observed = ae.predict(made, np.arange(0, 13, 2))
    guess = ae.TwoLayerProblem(DIM, 90.0, "sign", "alternating", step_size=0.1)
    alpha = ae.two_layer.as_activation("sign").alpha
    found = ae.fit(observed, problem=guess, fixed={"alpha": alpha}, num_starts=1)
    assert found.values["num_units"] == pytest.approx(70, rel=1e-4)
    assert found.values["step_size"] == pytest.approx(0.2, rel=1e-3)
    assert found.curve(np.linspace(0, 12, 7)).risk.shape == (7,)  # as it is drawn, between steps


OTHER = ae.TwoLayerAutoencoder(np.eye(10)[:5], 0.1 * np.ones((10, 5)), "erf")


@pytest.mark.parametrize(
    ("fields", "times", "options", "message"),
    [
        ({"num_units": 0.0}, FLOW, {}, "Argument `num_units` must be finite and positive, but got 0.0."),
        ({"activation": "relu"}, FLOW, {}, "Argument `activation` must be odd"),
        ({"activation": jnp.cos}, FLOW, {}, "Argument `activation` must have a linear part"),
        ({"start": np.eye(10)[:5] * [[1], [0], [1], [1], [1]]}, FLOW, {}, "Argument `start` must have rows b"),
        ({"covariance": np.arange(1.0, 11)}, FLOW, {"theory": "tied flow"}, "Argument `covariance` must be None or"),
        ({"method": "joint"}, FLOW, {"theory": "tied flow"}, "Argument `theory` must be one of the method 'joint'"),
        (
            {"method": "joint", "activation": "erf", "start": OTHER},
            FLOW,
            {},
            "Argument `start` must be an encoder (A(0",
        ),
        ({"method": "alternating"}, [2, 1], {}, "Argument `times` must be a non-empty vector of finite, nonnegative"),
        ({"method": "joint", "step_size": 4.0}, STEPS, {}, "Argument `step_size` must be small enough"),
        ({"method": "alternating", "step_size": 1e30}, [0, 1], {}, "Argument `step_size` must be small enough"),
        ({}, FLOW, {"quantiles": [1.5]}, "Argument `quantiles` must be a vector of levels between 0 and 1"),
        ({}, FLOW, {"quantiles": [0.5], "finite_size": True}, "Argument `quantiles` must be None with `finite_size`"),
        ({"start": np.eye(10)[:5]}, FLOW, {"finite_size": True}, "Argument `finite_size` must be False with `start`"),
    ],
)
def test_what_is_not_predicted(fields, times, options, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        ae.predict(ae.TwoLayerProblem(**{"input_dim": 10, "num_units": 5} | fields), times, **options)


def test_what_a_traced_program_notices(x64):
    def risk(units, step):
        return ae.predict(ae.TwoLayerProblem(10, units, "erf", "joint", step_size=step), STEPS).risk

    with pytest.raises(RuntimeError, match="finite and positive"):
        jax.block_until_ready(jax.jit(risk)(-1.0, 0.1))
    with pytest.raises(RuntimeError, match="`step_size` must be small enough"):
        jax.block_until_ready(jax.jit(risk)(20.0, 4.0))
    curve = ae.predict(ae.TwoLayerProblem(10, 20, "erf", "joint", step_size=4.0), STEPS, throw=False)
    assert not curve.stats.succeeded
    assert 1 <= int(curve.stats.num_steps) < 150


def test_the_correction_says_where_it_fails():
    with pytest.warns(UserWarning, match="near 1"):
        ae.predict(problem(1, "alternating"), [0], finite_size=True)
