"""What a prediction costs beside the simulation that it replaces: first call, warm call, many at once, and accuracy.

Run `python benchmarks/predict.py`. Each line is a ratio of times that were measured in this run; a first call is that
of a fresh process, with its import.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import aetheory as ae

PROBLEMS = {
    "(100, 50, 100, .3/100)": ae.LinearProblem(100, 50, 100, 0.3 / 100),
    "(200, 60, 400, .5/200)": ae.LinearProblem(200, 60, 400, 0.5 / 200),
    "(200, 80, 300, 1/200)": ae.LinearProblem(200, 80, 300, 1 / 200),
    "(500, 200, 800, .6/500)": ae.LinearProblem(500, 200, 800, 0.6 / 500),
    "(1000, 600, 1500, .5/1000)": ae.LinearProblem(1000, 600, 1500, 0.5 / 1000),
}
_LARGE = ("(500, 200, 800, .6/500)", "(1000, 600, 1500, .5/1000)")
TIMES = np.linspace(0, 2, 41)
NUM_REPEATS = 8

FIRST_CALLS = {
    "interior": "200, 60, 400, .5 / 200",
    "large-data": "300, 150, 60_000, 1 / 300",
    "mean-field": "100, 10_000, 100, .5 / 10_000",
    "narrow-latent": "1000, 2, 2000, .5 / 1000",
    "small-data": "1000, 500, 5, .5 / 1000",
}
_FIRST_CALL = """
import time
start = time.perf_counter()
import jax, numpy as np
jax.config.update("jax_enable_x64", True)
import aetheory as ae
curve = ae.predict(ae.LinearProblem({}), np.linspace(0, 2, 41))
curve.train.block_until_ready()
print(curve.theory.name, time.perf_counter() - start)
"""


def best_time(function: Callable[[], Any], number: int = 5) -> float:
    """The least of several times of a call, after one that compiles."""
    jax.block_until_ready(function())  # type: ignore[no-untyped-call]
    times = []
    for _ in range(number):
        start = time.perf_counter()
        jax.block_until_ready(function())  # type: ignore[no-untyped-call]
        times.append(time.perf_counter() - start)
    return min(times)


def warm() -> None:
    """A prediction beside a simulation of the same problem."""
    key = jax.random.key(0)
    for name, problem in PROBLEMS.items():
        theory = best_time(partial(ae.predict, problem, TIMES, "interior"))
        number = 2 if name in _LARGE else 5
        simulation = best_time(partial(ae.simulate, problem, TIMES, key, num_repeats=NUM_REPEATS), number)
        print(
            f"{name:<28} predict {theory:.3f} s, simulate with {NUM_REPEATS} repeats {simulation:.3f} s, "
            f"ratio {theory / simulation:.2f}   wanted: .6, and .15 s"
        )


def batches() -> None:
    """Sixty-four problems by vmap beside one."""
    one = best_time(lambda: ae.predict(ae.LinearRatios(0.5, 0.6, 0.7), TIMES, "interior").train)

    @jax.jit
    def curve(scale: Any) -> Any:
        return ae.predict(ae.LinearRatios(scale, 0.6, 0.7), TIMES, "interior").train

    scales = jnp.linspace(0.2, 2.0, 64)
    mapped = best_time(lambda: jax.vmap(curve)(scales), 2)
    batch = best_time(lambda: ae.predict(ae.LinearRatios(scales, 0.6, 0.7), TIMES, "interior").train, 2)
    print(f"64 problems by vmap {mapped:.2f} s, as one batch {batch:.2f} s, one {one:.3f} s: ", end="")
    print(f"ratios {mapped / one:.0f} and {batch / one:.0f}   wanted: 16, or 16 times .15 s")


def first_calls() -> None:
    """Import and first curve of a fresh process without a compilation cache."""
    for name, numbers in FIRST_CALLS.items():
        found = [
            subprocess.run(
                [sys.executable, "-c", _FIRST_CALL.format(numbers)], capture_output=True, text=True, check=True
            ).stdout.split()
            for _ in range(3)
        ]
        assert all(theory == name for theory, _ in found), found
        seconds = sorted(float(time) for _, time in found)
        print(f"first {name:<14} {seconds[0]:.2f} to {seconds[-1]:.2f} s   wanted: {4 if name == 'interior' else 2} s")


def derivatives() -> None:
    """A gradient in all three ratios beside a curve."""

    @jax.jit
    def risk(ratios: Any) -> Any:
        return ae.predict(ae.LinearRatios(*ratios), TIMES, "interior").train[-1]

    ratios = [jnp.asarray(one) for one in (0.5, 0.6, 0.7)]
    curve, gradient = best_time(lambda: risk(ratios)), best_time(lambda: jax.grad(risk)(ratios), 3)
    print(f"gradient in pσ², H/p and p/N {gradient:.2f} s, curve {curve:.3f} s, ratio {gradient / curve:.1f}")


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)  # type: ignore[no-untyped-call]
    print(f"JAX {jax.__version__}, {jax.devices()[0].device_kind}, float64")
    first_calls()
    warm()
    batches()
    derivatives()
