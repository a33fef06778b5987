"""What an accelerator makes of sweeps, single flows, closed forms and an epoch of recovery, beside its peak.

python benchmarks/accelerator.py [--size small|full] [--markdown FILE]

Runs unchanged on a CPU in the small size, which is the default there. The peak is that of the largest matrix product of
the same precision that this device is given here, so that every share is a ratio within the run.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

import aetheory as ae
from aetheory.linear import ensembles

_EVALUATIONS_PER_STEP = 6  # of the first-same-as-last Tsitouras method


class Size(NamedTuple):
    """How much of each is computed.

    Arguments:
        product: rows of the matrices that measure the peak.
        sweep: shapes (p, H, N) of the sweeps, and the number of flows in each.
        flows: shapes of the single flows.
        curves: how many closed-form curves of 100 times.
        recovery: options of the recovery problem.
    """

    product: int
    sweep: tuple[tuple[tuple[int, int, int], int], ...]
    flows: tuple[tuple[int, int, int], ...]
    curves: int
    recovery: dict[str, Any]


SIZES = {
    "small": Size(
        product=1024,
        sweep=(((50, 25, 100), 64), ((100, 50, 200), 16)),
        flows=((200, 100, 400), (400, 200, 800)),
        curves=2_000,
        recovery={"input_dim": 190, "num_groups": 100, "batch_size": 2000},
    ),
    "full": Size(
        product=8192,
        sweep=(((50, 25, 100), 4096), ((100, 50, 200), 2048), ((200, 100, 400), 512)),
        flows=((400, 200, 800), (1000, 500, 2000), (2000, 1000, 4000)),
        curves=200_000,
        recovery={},
    ),
}


def best_time(function: Callable[[], Any], repeats: int = 3) -> tuple[float, Any]:
    """Seconds of the fastest of a few calls, after one that compiles, and what it returned."""
    wait: Any = jax.block_until_ready
    result = wait(function())
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = wait(function())
        times.append(time.perf_counter() - start)
    return min(times), result


def peak(dtype: Any, size: int) -> float:
    """Flops per second of a large product in full precision."""
    matrix = jax.random.normal(jax.random.key(0), (size, size), dtype)
    product = jax.jit(lambda one: jnp.matmul(one, one, precision=jax.lax.Precision.HIGHEST))
    return 2 * size**3 / best_time(lambda: product(matrix))[0]


def sweep_row(shape: tuple[int, int, int], count: int, dtype: Any) -> tuple[str, float, float]:
    """Flows of one shape and many initial scales, vectorised; (name, seconds, flops)."""
    times = jnp.linspace(0, 3, 61, dtype=dtype)
    variances = jnp.geomspace(0.1, 10, count, dtype=dtype) / shape[0]

    @jax.jit
    @jax.vmap
    def flow(variance: Any, key: Any) -> Any:
        curve = ae.simulate(ae.LinearProblem(*shape, variance), times, key, rtol=1e-5, throw=False)
        assert curve.stats is not None
        return curve.population, curve.stats.num_steps

    keys = jax.random.split(jax.random.key(1), count)
    seconds, (_, steps) = best_time(lambda: flow(variances, keys))
    flops = ensembles.reduction(*shape).flops * _EVALUATIONS_PER_STEP * float(jnp.sum(steps))
    return f"sweep, {count} flows of {shape}", seconds, flops


def flow_row(shape: tuple[int, int, int], dtype: Any) -> tuple[str, float, float]:
    """One flow through `simulate`."""
    problem, times = ae.LinearProblem(*shape, 1 / shape[0]), jnp.linspace(0, 3, 61, dtype=dtype)
    seconds, curve = best_time(lambda: ae.simulate(problem, times, jax.random.key(0), rtol=1e-5))
    flops = ensembles.reduction(*shape).flops * _EVALUATIONS_PER_STEP * float(curve.stats.num_steps[0])
    return f"one flow of {shape}", seconds, flops


def curves_row(regime: str, count: int, dtype: Any) -> tuple[str, float, float]:
    """Closed-form curves in one call; no matrix products, so that the rate is in curves."""
    times, scales = jnp.linspace(0, 3, 100, dtype=dtype), jnp.linspace(0.1, 5, count, dtype=dtype)
    seconds, _ = best_time(lambda: ae.predict(ae.LinearRatios(scales, 0.5, 0.5), times, regime).population)
    return f"{count} closed-form curves, {regime}: {count / seconds:.3g} a second", seconds, 0.0


def recovery_row(options: dict[str, Any], dtype: Any) -> tuple[str, float, float]:
    """An epoch of the recovery experiment, by the difference of a long and a short run; five dense products."""
    problem = ae.RecoveryProblem(**options)

    def steps(last: int) -> float:
        return best_time(lambda: ae.simulate(problem, [last], jax.random.key(0)).distance, 2)[0]

    seconds = max((steps(4) - steps(1)) / 3, 1e-9)
    latent_dim = problem.num_groups * problem.group_size
    flops = 5 * 2 * problem.batch_size * problem.input_dim * latent_dim
    return f"an epoch of recovery, n = {problem.input_dim}", seconds, flops


def rows(size: Size, dtype: Any) -> Any:
    """Every row of the table in turn."""
    for shape, count in size.sweep:
        yield sweep_row(shape, count, dtype)
    for shape in size.flows:
        yield flow_row(shape, dtype)
    for regime in ("large-data", "mean-field"):
        yield curves_row(regime, size.curves, dtype)
    yield recovery_row(size.recovery, dtype)


def main() -> None:
    """Measure both precisions and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="small" if jax.default_backend() == "cpu" else "full")
    parser.add_argument("--markdown", type=Path, help="write the table there")
    given = parser.parse_args()
    size, start = SIZES[given.size], time.perf_counter()
    lines = ["| precision | what | seconds | Gflop/s | share of peak |", "| --- | --- | --- | --- | --- |"]
    print(jax.devices()[0].device_kind, *lines, sep="\n")
    for bits in (32, 64):
        with jax.enable_x64(bits == 64):
            dtype = jnp.dtype(f"float{bits}")
            best = peak(dtype, size.product)
            shown = [(f"matrix product, {size.product} rows", 2 * size.product**3 / best, 2.0 * size.product**3)]
            for name, seconds, flops in (*shown, *rows(size, dtype)):
                rate = flops / seconds
                share = f"{rate / 1e9:.3g} | {rate / best:.0%}" if flops else "– | –"
                lines.append(f"| {dtype} | {name} | {seconds:.3g} | {share} |")
                print(lines[-1], flush=True)
    print(f"{time.perf_counter() - start:.0f} s in all")
    if given.markdown is not None:
        given.markdown.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
