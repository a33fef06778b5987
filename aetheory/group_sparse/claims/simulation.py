"""Claims about the simulation of arXiv:2102.07003, and predicted training: the latter this library's own."""

import dataclasses

import jax

from aetheory.core.claim import claim, claims_among
from aetheory.core.predict import predict
from aetheory.core.simulate import simulate
from aetheory.core.theory import Citation
from aetheory.group_sparse import basin
from aetheory.group_sparse.problem import RecoveryProblem

_KEY = "theodosis2021convergence"
_SIMULATION = Citation(_KEY, "Fig. 3a–d")
OWN = Citation(_KEY, derived=True)
_EPOCHS = (0, 20, 40, 60, 80, 100, 120, 140, 160, 200, 300)
_DISTANCES = {
    f"{level} dB @ {epoch}": value
    for level, values in {
        1: (878.9, 452.0, 199.6, 71.4, 26.5, 12.4, 8.2, 7.0, 6.6, 6.4, 6.6),
        5: (877.2, 443.0, 188.2, 64.9, 23.0, 10.4, 6.6, 5.5, 5.2, 5.1, 5.2),
        10: (880.6, 441.6, 184.3, 62.2, 21.3, 9.3, 5.8, 4.7, 4.4, 4.3, 4.3),
    }.items()
    for epoch, value in zip(_EPOCHS, values, strict=True)
}
_SPARSE = {60: 85.5, 80: 38.0, 100: 23.3, 120: 19.7, 140: 19.6, 160: 20.7, 200: 24.1, 300: 33.2}


def predicted(network, level, name="distance"):
    problem = dataclasses.replace(RecoveryProblem(), network=network, signal_to_noise=float(level))
    return predict(problem, _EPOCHS).values[name]


@claim(
    "recovery/simulation/groups",
    r"Training recovers the dictionary: \(\|A-A^\star\|_F^2\) of 1000 normalised columns falls by two orders of "
    r"magnitude; \(n=950\), \(\Gamma=500\), \(d=2\), \(\gamma=3\). Predicted by the single-entry process, which knows "
    "of no draw.",
    _SIMULATION,
    verdict="holds approximately",
    tolerance=0.02,
    why="shares of the start; the initial draw, and one step of Adam an epoch, which the paper does not say",
    relative="largest",
    published=_DISTANCES,
    axis="epoch",
    log=True,
    note="Ours comes to rest lower, at 4.6, 3.2 and 2.4.",
)
def groups():
    return {
        f"{level} dB @ {epoch}": value
        for level in (1, 5, 10)
        for epoch, value in zip(_EPOCHS, predicted("group", level), strict=True)
    }


@claim(
    "recovery/simulation/rest",
    "It comes to rest at 6.6, 5.2 and 4.3.",
    _SIMULATION,
    verdict="not reproduced",
    tolerance=0.1,
    why="a tenth of the distance at rest",
    relative="each",
    published={f"{level} dB": _DISTANCES[f"{level} dB @ 300"] for level in (1, 5, 10)},
)
def rest():
    return {f"{level} dB": predicted("group", level)[-1] for level in (1, 5, 10)}


@claim(
    "recovery/simulation/sparse",
    "The soft threshold's distance falls to 20 and then rises to 33 at epoch 300 (1 dB).",
    _SIMULATION,
    verdict="not reproduced",
    tolerance=0.1,
    why="shares of the first value; ours falls to the end",
    relative="largest",
    published={f"1 dB @ {epoch}": value for epoch, value in _SPARSE.items()},
    axis="epoch",
    log=True,
)
def sparse():
    curve = dict(zip(_EPOCHS, predicted("sparse", 1), strict=True))
    return {f"1 dB @ {epoch}": curve[epoch] for epoch in _SPARSE}


@claim(
    "recovery/simulation/support",
    "Groups find 99.7 % of the active ones, the soft threshold 78.0 % of the active entries, at 1, 5 and 10 dB.",
    _SIMULATION,
    verdict="holds",
    tolerance=0.015,
    why="the draw of the signals",
    published={
        f"{name}, {level} dB": rate for name, rate in (("groups", 0.997), ("sparse", 0.78)) for level in (1, 5, 10)
    },
)
def support():
    networks = {"groups": "group", "sparse": "sparse"}
    return {
        f"{name}, {level} dB": predicted(network, level, "found")[-1]
        for name, network in networks.items()
        for level in (1, 5, 10)
    }


def trained(network):
    """One training of the published size, in float32."""
    with jax.enable_x64(False):
        problem = dataclasses.replace(RecoveryProblem(), network=network)
        return problem.experiment(range(301)).run(jax.random.key(0)).values


@claim(
    "recovery/simulation/groups-simulated",
    "The same by one training of the published size, 1 dB.",
    _SIMULATION,
    verdict="holds approximately",
    tolerance=0.02,
    why="shares of the start; the draw, and the unpublished number of steps",
    relative="largest",
    published={label: value for label, value in _DISTANCES.items() if label.startswith("1 dB")},
    axis="epoch",
    log=True,
    cost="full",
)
def groups_simulated():
    run = trained("group")
    return {f"1 dB @ {epoch}": run.distance[epoch] for epoch in _EPOCHS}


@claim(
    "recovery/simulation/sparse-simulated",
    "The soft threshold's rise, by one training of the published size.",
    _SIMULATION,
    verdict="not reproduced",
    tolerance=0.1,
    why="shares of the first value; ours falls to the end",
    relative="largest",
    published={f"1 dB @ {epoch}": value for epoch, value in _SPARSE.items()},
    axis="epoch",
    log=True,
    cost="full",
)
def sparse_simulated():
    run = trained("sparse")
    return {f"1 dB @ {epoch}": run.distance[epoch] for epoch in _SPARSE}


@claim(
    "recovery/trajectories/independent",
    "Plain descent at the published size by the order-parameter map.",
    OWN,
    verdict="beyond the papers",
    tolerance=1e-3,
    why="shares of the start; floors of .49 that the other program leaves out",
    relative="largest",
    against="an independent program",
    axis="step",
    log=True,
)
def independent():
    problem = RecoveryProblem(optimizer="sgd", learning_rate=2.0, batch_size=2500)
    known = {0: 880.6, 12: 225.1, 24: 52.6, 38: 18.5, 50: 14.9, 100: 14.3}
    return {
        f"descent @ {step}": pair
        for step, *pair in zip(known, known.values(), predict(problem, [*known]).distance, strict=True)
    }


def followed(sizes, num_steps, **changes):
    """The squared distance of one simulation and its prediction, as shares of the start."""
    problem, steps = RecoveryProblem(*sizes, batch_size=2500, **changes), range(0, num_steps + 1, 10)
    with jax.enable_x64(False):
        run = simulate(problem, steps, jax.random.key(0)).distance
    pairs = zip(steps, run / run[0], predict(problem, steps).distance / run[0], strict=True)
    return {f"{sizes} @ {step}": tuple(pair) for step, *pair in pairs}


_FOLLOWED = {"verdict": "beyond the papers", "against": "one simulation, as shares of its start"}


@claim(
    "recovery/trajectories/descent",
    "Descent follows the order-parameter map: groups of 2 and of 4, n = 475, 10 dB.",
    OWN,
    tolerance=0.01,
    why="stated, .006",
    axis="step",
    cost="default",
    **_FOLLOWED,
)
def descent():
    options = {"optimizer": "sgd", "signal_to_noise": 10.0}
    groups_of_two = followed((475, 250, 2), 80, learning_rate=1.0, **options)
    return groups_of_two | followed((475, 125, 4), 80, learning_rate=0.5, **options)


@claim(
    "recovery/trajectories/adam",
    "Adam follows the single-entry process: groups of 2, n = 475, 10 dB.",
    OWN,
    tolerance=0.02,
    why="stated, .010 to .016",
    axis="step",
    cost="default",
    **_FOLLOWED,
)
def adam():
    return followed((475, 250, 2), 80, learning_rate=1.41e-3, signal_to_noise=10.0)


@claim(
    "recovery/trajectories/published-size",
    "Descent at n = 950, 1 dB.",
    OWN,
    tolerance=0.01,
    why="stated, .006",
    axis="step",
    cost="full",
    **_FOLLOWED,
)
def published_size():
    return followed((950, 500, 2), 60, optimizer="sgd", learning_rate=2.0)


@claim(
    "recovery/trajectories/false-positives",
    "Where there is more than one false positive for each active group the prediction is too fast (`predict` warns): "
    "n = 190, 1 dB, Adam.",
    OWN,
    tolerance=0.05,
    why="well above what the theory states elsewhere",
    axis="step",
    cost="default",
    **_FOLLOWED | {"verdict": "not reproduced"},
)
def false_positives():
    return followed((190, 100, 2), 80, learning_rate=2.2e-3)


@claim(
    "recovery/basin/critical",
    r"The start from which recovery takes a time of \(2\Gamma/\gamma\) at λ = 2, and the threshold up to which it does "
    "from .56.",
    OWN,
    verdict="beyond the papers",
    tolerance=0.03,
    why="the other program's coarser quadrature",
    relative="each",
    against="an independent program",
    cost="default",
)
def critical():
    problem = RecoveryProblem(optimizer="sgd")
    return {
        "correlation": (0.24, basin.critical_value(problem, "start_correlation")),
        "threshold": (3.5, basin.critical_value(problem, "threshold")),
    }


CLAIMS = claims_among(vars())
