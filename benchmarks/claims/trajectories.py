"""Claims about predicted training of two-layer autoencoders: this library's own, no paper has them."""

import dataclasses

import jax
import numpy as np

from aetheory import TwoLayerProblem, limits, predict, simulate
from aetheory.core.theory import Citation
from aetheory.two_layer.network import random_encoder
from benchmarks.claims.definitions import along, claim, verdict
from benchmarks.claims.limits import blocks

OWN = Citation("shevchenko2023fundamental", derived=True)
TIMES = {"tied": np.linspace(0, 8, 9), "alternating": np.arange(0, 61, 6), "joint": np.geomspace(0.5, 20, 8)}
SIMULATION = "a simulation of the same problem"


def followed(problem, label):
    """The risk of one simulation, and the predicted one."""
    times = TIMES[problem.method]
    options = {"tolerance": 0.0} if problem.method == "alternating" else {}
    run = simulate(problem, times, jax.random.key(0), **options)
    return along(label, times, run.risk, predict(problem, times).risk)


def trained(method, rates, activation="sign", dim=200, one_encoder=False):
    """Trainings from random rows beside the limit; of one encoder, followed from its own spectrum."""
    found = {}
    for rate in rates:
        problem = TwoLayerProblem(dim, round(rate * dim), activation, method)
        if one_encoder:
            problem = dataclasses.replace(problem, start=random_encoder(jax.random.key(0), dim, problem.num_units))
        found |= followed(problem, f"{activation}, r = {rate:g}")
    return found


@claim("two-layer/trajectories/alternating", OWN, cost="default", axis="step")
@verdict("beyond the papers", 0.004, "the draw, mostly at the start", against=SIMULATION)
def test_trajectories_alternating():
    """Alternating descent is a map of the spectrum at any step size: random rows, d = 200, r = .5, 1, 1.5."""
    return trained("alternating", (0.5, 1, 1.5))


@claim("two-layer/trajectories/tied", OWN, cost="default", against=SIMULATION, axis="flow time")
@verdict(
    "beyond the papers", 0.004, "the draw moves R by up to .0026 at this size, with the second moment of its start"
)
def test_trajectories_tied():
    """The tied flow, d = 200, r = .5, 1."""
    return trained("tied", (0.5, 1))


@claim("two-layer/trajectories/joint", OWN, cost="default", axis="flow time")
@verdict("beyond the papers", 0.006, "the draw, .0047 at this size", against=SIMULATION)
def test_trajectories_joint():
    r"""The joint flow from \(A(0)=0\), erf, d = 100, r = .5, 1."""
    return trained("joint", (0.5, 1), "erf", 100)


@claim("two-layer/trajectories/settings", OWN, cost="full")
@verdict("beyond the papers", 0.005, "the draw", against=SIMULATION)
def test_trajectories_settings():
    """All three methods, sign, erf, tanh and hard tanh, d = 200, r = .5, 1, 2."""
    return {
        f"{method}, {label}": pair
        for method in TIMES
        for activation in ("sign", "erf", "tanh", "hard_tanh")
        for label, pair in trained(method, (0.5, 1, 2), activation).items()
    }


@claim("two-layer/trajectories/one-encoder", OWN, against=SIMULATION, axis="step")
@verdict("beyond the papers", 2e-4, "what f(K) has beyond its linear part at finite n; measured up to 5e-5 at d = 100")
def test_trajectories_one_encoder():
    """One encoder is followed from its own spectrum: alternating descent, d = 60, r = .5, 1."""
    return trained("alternating", (0.5, 1), dim=60, one_encoder=True)


@claim("two-layer/trajectories/one-encoder-flows", OWN, cost="default")
@verdict("beyond the papers", 5e-4, "the same; measured up to 3e-4", against=SIMULATION)
def test_trajectories_one_encoder_flows():
    """And the two flows, r = .5, 1."""
    return {
        f"{method}, {label}": pair
        for method in ("tied", "joint")
        for label, pair in trained(method, (0.5, 1), dim=100, one_encoder=True).items()
    }


def corrections(rate, num_encoders):
    """d (R − R∞) at steps of alternating descent, the mean over encoders followed by their own spectra."""
    steps, dim = np.array([0, 5, 10, 20, 40]), 50
    problem = TwoLayerProblem(dim, round(rate * dim), method="alternating")
    limit, corrected = (predict(problem, steps, finite_size=finite_size) for finite_size in (False, True))

    @jax.jit
    def follow(key):
        return predict(dataclasses.replace(problem, start=random_encoder(key, dim, problem.num_units)), steps).risk

    runs = jax.lax.map(follow, jax.random.split(jax.random.key(0), num_encoders), batch_size=50)
    measured = dim * (np.asarray(runs).mean(axis=0) - np.asarray(limit.risk))
    predicted = dim * (np.asarray(corrected.risk) - np.asarray(limit.risk))
    return along(f"r = {rate}", steps, measured, predicted)


@claim("two-layer/finite-size/alternating", OWN, axis="step")
@verdict("beyond the papers", 0.03, "three standard errors of .010", against="means of 400 encoders of d = 50")
def test_finite_size_alternating():
    r"""The correction of order \(1/n\), \(d\,(R-R_\infty)\): alternating descent, sign, r = .9 and 2."""
    return corrections(0.9, 400) | corrections(2, 400)


@claim("two-layer/finite-size/hard-edge", OWN, axis="step")
@verdict("not reproduced", 0.03, "three standard errors of .010", against="means of 400 encoders of d = 50")
def test_finite_size_hard_edge():
    """At r = 1 the correction is wrong late: the hard edge (`predict` warns)."""
    return corrections(1, 400)


@claim("two-layer/stationary/values", OWN)
@verdict("beyond the papers", 5e-6, "the digits printed", against="the derivation's own program")
def test_stationary_values():
    r"""The stationary excess of plain SGD, erf, \(\eta=.2\), \(\tau=\eta d/b=.1\)."""
    found = {}
    for units, expected in ((25, 0.0444), (50, 0.0366)):
        problem = TwoLayerProblem(50, units, "erf", "sgd", step_size=0.2, batch_size=100)
        excess = predict(problem, [0]).risk[0] - limits.gaussian(units / 50, "erf")
        found[f"r = {units / 50}"] = (0.1 * expected, excess)
    return found


@claim("two-layer/stationary/descent", OWN, cost="full", against="a descent of 5500 steps")
@verdict("beyond the papers", 0.2, "windows of steps, and terms of the next order in τ", relative="each")
def test_stationary_descent():
    """Descent on samples stays there: means of 400 late steps, d = 50."""
    found = {}
    for units in (25, 50):
        problem = TwoLayerProblem(50, units, "erf", "sgd", step_size=0.2, batch_size=100)
        limit = limits.gaussian(units / 50, "erf")
        run = simulate(problem, np.arange(1500, 5500, 10), jax.random.key(0)).risk.mean() - limit
        found[f"r = {units / 50}"] = (run, predict(problem, [0]).risk[0] - limit)
    return found


@claim("two-layer/trajectories/covariance", OWN, cost="default", against=SIMULATION)
@verdict("beyond the papers", 0.005, "the draw, mostly at the start; measured .0025", axis="step")
def test_trajectories_covariance():
    """Any covariance: a d × d map; three blocks, sign, d = 200, r = .5, four rotations of size 64."""
    problem = TwoLayerProblem(200, 100, "sign", "alternating", blocks(200))
    return followed(problem, "blocks")
