"""What the linear autoencoder's flow and limits cost, as ratios against peers timed in the same run.

python benchmarks/prism.py [--dtype float32|float64]
"""

import argparse
import functools
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.integrate import solve_ivp

import aetheory as ae
from aetheory.linear import ensembles
from aetheory.linear.flow import evolve

_TOLERANCE = 1e-6
_EVALUATIONS_PER_STEP = 6  # of the first-same-as-last Tsitouras method


def best_time(function: Callable[[], Any], repeats: int = 3) -> float:
    """Seconds of the fastest of a few calls, after one that compiles."""
    wait: Any = jax.block_until_ready
    wait(function())
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        wait(function())
        times.append(time.perf_counter() - start)
    return min(times)


def matrix_product_rate(dtype: Any, size: int = 2048) -> tuple[float, float]:
    """Flops per second of a large product, in JAX and in NumPy."""
    matrix = jax.random.normal(jax.random.key(0), (size, size), dtype)
    product = jax.jit(jnp.matmul)
    copy = np.asarray(matrix)
    return tuple(2 * size**3 / best_time(run) for run in (lambda: product(matrix, matrix), lambda: copy @ copy))  # type: ignore[return-value]


def one_flow(dtype: Any) -> None:
    """One flow at p = 1000, H = 500, N = 2000, 61 times, against matrix products and SciPy."""
    input_dim, latent_dim, num_samples = 1000, 500, 2000
    times = jnp.linspace(0, 3, 61, dtype=dtype)
    dims = (input_dim, latent_dim, num_samples)
    sizes = ensembles.Dimensions(*(jnp.asarray(size, dtype) for size in dims))
    variance = jnp.asarray(1 / input_dim, dtype)
    ensemble = ensembles.gaussian(jax.random.key(1), sizes, ensembles.reduction(*dims), variance)
    flow = jax.jit(lambda ensemble: evolve(ensemble, times, rtol=jnp.asarray(_TOLERANCE, dtype), max_steps=4096))
    risks, stats = flow(ensemble)
    seconds = best_time(lambda: flow(ensemble))
    evaluations = _EVALUATIONS_PER_STEP * int(stats.num_steps) + 2
    rate = 8 * input_dim * latent_dim**2 * evaluations / seconds
    jax_rate, numpy_rate = matrix_product_rate(dtype)
    print(f"one flow (p=1000, H=500, N=2000, 61 times): {seconds:.2f} s, {int(stats.num_steps)} steps")
    print(f"  {rate / 1e9:.1f} Gflop/s counting 8pH² per evaluation and nothing for the risks")
    print(f"  {rate / jax_rate:.0%} of a 2048³ product in JAX ({jax_rate / 1e9:.1f} Gflop/s)   wanted: 60 %")
    print(f"  {rate / numpy_rate:.0%} of a 2048³ product in NumPy ({numpy_rate / 1e9:.1f} Gflop/s)")

    weights, covariance = np.asarray(ensemble.weights), np.diag(np.asarray(ensemble.spectrum))
    identity = np.eye(input_dim, dtype=weights.dtype)

    def published(_: float, flat: Any) -> Any:
        w = flat.reshape(input_dim, latent_dim)
        error = w @ w.T - identity
        return (-(error @ covariance + covariance @ error) @ w).ravel()

    def symmetric(_: float, flat: Any) -> Any:
        w = flat.reshape(input_dim, latent_dim)
        product = (w @ w.T - identity) @ covariance
        return (-(product + product.T) @ w).ravel()

    for name, velocity in {"as published": published, "one p x p product spared by symmetry": symmetric}.items():
        peer, population = _scipy_flow(velocity, weights, covariance, np.asarray(times, float))
        print(f"  {peer / seconds:.1f}x as fast as SciPy on full matrices, {name} ({peer:.1f} s)   wanted: 3x")
        print(f"    last population risks differ by {abs(population - float(risks.population[-1])):.1e}")


def _scipy_flow(
    velocity: Callable[[float, Any], Any], weights: Any, covariance: Any, times: Any
) -> tuple[float, float]:
    """Seconds for both risks at all times at the same tolerances, and the last population risk."""
    start = time.perf_counter()
    size = float(np.sqrt(np.mean(weights**2)))
    solution = solve_ivp(
        velocity, (0, times[-1]), weights.ravel(), t_eval=times, rtol=_TOLERANCE, atol=_TOLERANCE * size
    )
    risks = []
    for flat in solution.y.T:
        w = flat.reshape(weights.shape)
        error = w @ w.T - np.eye(len(w))
        risks.append((np.sum(error * (error @ covariance)) / len(w), np.sum(error**2) / len(w)))
    return time.perf_counter() - start, float(risks[-1][1])


def closed_form_curves(dtype: Any) -> None:
    """10 000 curves of 100 times by vmap."""
    times = jnp.linspace(0, 3, 100, dtype=dtype)
    variances = jnp.geomspace(0.01, 3, 10_000, dtype=dtype) / 300
    for regime in ("large-data", "mean-field"):

        def curve(variance: Any, regime: str = regime) -> Any:
            predicted = ae.predict(ae.LinearProblem(300, 150, 600, variance), times, regime)
            return predicted.train, predicted.population

        seconds = best_time(functools.partial(jax.jit(jax.vmap(curve)), variances))
        print(f"10 000 {regime} curves: {seconds:.3f} s   wanted: 5 s")


def free_curves(dtype: Any) -> None:
    """Curves of the free face up to t = 1/x: the width of their bracket beside the time."""
    times = jnp.concatenate([jnp.zeros(1, dtype), jnp.geomspace(0.01, 1, 60, dtype=dtype)])
    for latent_ratio, sample_ratio in ((0.7, 0.8), (1.6, 1.2), (0.5, 2.0), (2.0, 0.5)):
        problem = ae.LinearProblem(10_000, round(1e4 * latent_ratio), round(1e4 / sample_ratio), 1e-4)

        def curve(problem: ae.LinearProblem = problem) -> Any:
            return ae.predict(problem, times, "free")

        start = time.perf_counter()
        found = curve()
        found.train.block_until_ready()
        first = time.perf_counter() - start
        width = max(
            float(jnp.max(getattr(found.upper, risk) - getattr(found.lower, risk))) / 2 / float(found.train[0])
            for risk in ("train", "population")
        )
        print(
            f"free curve, H/p = {latent_ratio}, p/N = {sample_ratio}, within {width:.2%}: {first:.1f} s with what was "
            f"not compiled before, then {best_time(curve):.2f} s   wanted: 1 % in 10 s"
        )

    def one(latent_dim: Any) -> Any:
        problem = ae.LinearProblem(10_000, latent_dim, 12_500, 1e-4)
        return ae.predict(problem, times, "free").population

    mapped = jax.jit(jax.vmap(one))
    for shift in (0.0, 100.0):  # other values, the same program
        latent_dims = jnp.linspace(5_000, 20_000, 16, dtype=dtype) + shift
        start = time.perf_counter()
        mapped(latent_dims).block_until_ready()
        print(f"16 free curves by vmap: {time.perf_counter() - start:.2f} s")


_FRESH = {
    "import aetheory   wanted: 2.5 s": "import aetheory",
    "first predict, compilation included   wanted: 5 s": (
        "import aetheory as ae, numpy as np, time; start = time.perf_counter(); "
        "ae.predict(ae.LinearProblem(300, 3, 600, 1/300), np.linspace(0, 3, 61), 'narrow-latent').train"
        ".block_until_ready()"
    ),
    "p = 1 000 000, H = 50, N = 100, with import and compilation   wanted: 10 s, 1 GB": (
        "import aetheory as ae, numpy as np, jax, time; start = time.perf_counter(); "
        "ae.simulate(ae.LinearProblem(10**6, 50, 100, 1e-6), np.linspace(0, 1e-3, 61), jax.random.key(0))"
        ".train.block_until_ready()"
    ),
}


def fresh_processes(dtype: str) -> None:
    """What a user waits for in a new interpreter: seconds and peak memory."""
    for name, code in _FRESH.items():
        x64 = "import jax; jax.config.update('jax_enable_x64', True); " if dtype == "float64" else ""
        # not ru_maxrss, which a child inherits from the process that started it
        peak = "[line for line in open('/proc/self/status') if line.startswith('VmHWM')][0].split()[1]"
        program = f"import time; start = time.perf_counter(); {x64}{code}; print(time.perf_counter() - start, {peak})"
        runs = [
            subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
            for _ in range(2)
        ]
        seconds, memory = min((float(run[0]), float(run[1]) / 1e6) for run in runs)
        print(f"{name}: {seconds:.2f} s, {memory:.2f} GB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float64")
    arguments = parser.parse_args()
    jax.config.update("jax_enable_x64", arguments.dtype == "float64")  # type: ignore[no-untyped-call]
    dtype = jnp.dtype(arguments.dtype)
    print(f"JAX {jax.__version__} on {jax.devices()[0].device_kind}, {arguments.dtype}")
    one_flow(dtype)
    closed_form_curves(dtype)
    free_curves(dtype)
    fresh_processes(arguments.dtype)


if __name__ == "__main__":
    main()
