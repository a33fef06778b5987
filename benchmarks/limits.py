"""What alternating descent of two-layer autoencoders costs, as ratios against peers timed in the same run.

python benchmarks/limits.py [--threads 2]

PyTorch (the `benchmarks` extra) runs the same steps on the CPU with autograd.
"""

import argparse
import functools
import math
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from threadpoolctl import threadpool_limits

import aetheory as ae
from aetheory.two_layer.network import random_encoder

_STEP_SIZE = 0.1


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


def simulated(problem: ae.TwoLayerProblem, num_steps: int, num_repeats: int = 1) -> Any:
    """The risks of all steps, without stopping early."""
    times = np.arange(num_steps + 1)
    return ae.simulate(problem, times, jax.random.key(1), num_repeats=num_repeats, tolerance=0.0).risk


def alternating(num_threads: int, dim: int = 200, num_units: int = 300, num_steps: int = 500) -> None:
    """d = 200, n = 300, 500 steps, against its own matrix products and factorisation, and against PyTorch."""
    start = random_encoder(jax.random.key(0), dim, num_units)
    problem = ae.TwoLayerProblem(dim, num_units, "sign", "alternating", start=start)
    descend = functools.partial(simulated, problem, num_steps)
    seconds = best_time(descend)
    risk = float(descend()[-1])

    @jax.jit
    def parts(rows: Any) -> Any:
        """The products and the factorisation of each step, and nothing else."""

        def step(carry: Any, _: Any) -> Any:
            rows, kernel = carry
            correlations = rows @ rows.T
            factor = jax.lax.linalg.cholesky(kernel, symmetrize_input=False)
            decoder = jax.scipy.linalg.cho_solve((factor, True), rows)
            coupling = decoder @ decoder.T
            moved = coupling @ rows
            # a trace of every result, so that none is optimised away
            kernel = kernel.at[0, 0].add(1e-30 * (correlations[0, 1] + moved[0, 0]))
            return (rows, kernel), None

        final, _ = jax.lax.scan(step, (rows, jnp.eye(num_units) + rows @ rows.T), None, length=num_steps)
        return final[1]

    alone = best_time(lambda: parts(start))
    print(f"alternating descent (d={dim}, n={num_units}, {num_steps} steps): {seconds:.2f} s, last risk {risk:.5f}")
    print(f"  {seconds / alone:.2f}x its products, factorisation and solves alone ({alone:.2f} s)   wanted: at most 2x")
    peer, peer_risk = _torch_steps(np.asarray(start), num_steps, num_threads)
    print(f"  {peer / seconds:.1f}x as fast as PyTorch's autograd on the same steps ({peer:.2f} s)   wanted: 3x")
    print(f"    last risks differ by {abs(peer_risk - risk):.1e}")


def _torch_steps(start: Any, num_steps: int, num_threads: int) -> tuple[float, float]:
    """Seconds and the last risk of a straightforward PyTorch implementation, gradient by autograd at fixed decoder."""
    import torch

    torch.set_num_threads(num_threads)
    linear = math.sqrt(2 / math.pi)
    num_units, dim = start.shape
    diagonal = torch.eye(num_units, dtype=torch.bool)

    def kernel(rows: Any) -> Any:
        correlations = torch.where(diagonal, torch.zeros((), dtype=rows.dtype), rows @ rows.T)
        return torch.where(diagonal, torch.ones((), dtype=rows.dtype), 2 / math.pi * torch.arcsin(correlations))

    def best_decoder(rows: Any) -> Any:
        return linear * torch.cholesky_solve(rows, torch.linalg.cholesky(kernel(rows))).T

    def run(count: int) -> float:
        rows = torch.tensor(start)
        for _ in range(count):
            rows.requires_grad_(True)
            with torch.no_grad():
                decoder = best_decoder(rows)
            loss = dim - 2 * linear * torch.trace(decoder @ rows) + torch.trace(decoder @ kernel(rows) @ decoder.T)
            (gradient,) = torch.autograd.grad(loss, rows)
            with torch.no_grad():
                rows = rows - _STEP_SIZE * gradient
                rows = rows / torch.linalg.norm(rows, dim=1, keepdim=True)
        return float(1 - linear * torch.trace(best_decoder(rows) @ rows) / dim)

    run(5)
    begin = time.perf_counter()
    risk = run(num_steps)
    return time.perf_counter() - begin, risk


def seeds(dim: int = 100, num_seeds: int = 32, num_steps: int = 200) -> None:
    """32 seeds at d = 100: as repeats and by `vmap`, against a loop of single runs."""
    keys = jax.random.split(jax.random.key(1), num_seeds)
    starts = jax.vmap(lambda key: random_encoder(key, dim, dim))(keys)

    def single(start: Any) -> Any:
        return simulated(ae.TwoLayerProblem(dim, dim, "sign", "alternating", start=start), num_steps)

    mapped = jax.jit(jax.vmap(single))
    repeated = ae.TwoLayerProblem(dim, dim, "sign", "alternating")
    loop = best_time(lambda: [single(start) for start in starts])
    print(f"{num_seeds} seeds (d=n={dim}, {num_steps} steps), a loop of single runs: {loop:.2f} s")
    for name, run in (
        ("vmap", lambda: mapped(starts)),
        ("repeats", lambda: simulated(repeated, num_steps, num_seeds)),
    ):
        seconds = best_time(run)
        print(f"  {name}: {seconds:.2f} s, {seconds / loop:.2f} of the loop   wanted: below 1")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2, help="of PyTorch and of the BLAS under both")
    arguments = parser.parse_args()
    jax.config.update("jax_enable_x64", True)  # type: ignore[no-untyped-call]
    print(f"JAX {jax.__version__} on {jax.devices()[0].device_kind}, float64, {arguments.threads} threads")
    with threadpool_limits(arguments.threads):
        alternating(arguments.threads)
        seeds()


if __name__ == "__main__":
    main()
