"""What a sweep over dimensions costs, as ratios against what one would use instead, timed in the same run.

python benchmarks/sweeps.py [--dtype float32|float64] [--fraction F] [--only NAME …] [--json FILE]

The work: eight shapes (p, H, N), eight initial scales from .05 to 2, sixteen repeats, both risks at 61 times on
[0, 3]. A peer runs a stated fraction of the cells of each shape, at least one; its time is scaled to all of them.
"""

import argparse
import json
import math
import os
import platform
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import torch
from scipy.integrate import solve_ivp
from torchdiffeq import odeint

import aetheory as ae
from aetheory.linear.ensembles import Dimensions, gaussian, reduction
from aetheory.linear.flow import evolve
from aetheory.sweeps.run import Sweep

SHAPES = (
    (50, 25, 100),
    (100, 50, 200),
    (200, 20, 400),
    (400, 40, 100),
    (400, 200, 800),
    (400, 800, 400),
    (1000, 50, 100),
    (1000, 20, 2000),
)
SCALES = np.geomspace(0.05, 2, 8)
REPEATS = 16
TIMES = np.linspace(0, 3, 61)
TOLERANCE = 1e-5
"""Wanted of the curves, as a share of the initial risk; rtol of all solvers."""

CELLS = len(SCALES) * REPEATS

_MOST_STEPS = 256
"""Of the p × p flow, three times what any takes that does not break down."""

Draw = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]
Curves = np.ndarray[Any, Any]


def grid() -> dict[str, Any]:
    p, h, n = zip(*SHAPES, strict=True)
    return {"shape": {"input_dim": p, "latent_dim": h, "num_samples": n}, "init_scale": SCALES}


def draw(shape: tuple[int, int, int], scale: float, seed: int, dtype: Any) -> Draw:
    """W(0) and the sample covariance, as anyone would make them."""
    p, h, n = shape
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal((p, h)) * math.sqrt(scale / p)
    samples = rng.standard_normal((n, p))
    return weights.astype(dtype), (samples.T @ samples / n).astype(dtype)


def ours() -> Any:
    task = ae.sweeps.Simulation(TIMES, rtol=TOLERANCE)
    return ae.sweep(task, grid(), jax.random.key(0), REPEATS, progress=False)


def our_error(dtype: Any) -> float:
    """The largest error of our curves of the small shapes, against flows of the same draws in float64 at rtol 1e-9."""
    worst = 0.0
    with jax.enable_x64(True):
        for shape in SHAPES[:3]:
            sizes, times = Dimensions(*(jnp.asarray(size, dtype) for size in shape)), jnp.asarray(TIMES)

            def error(case: Any, shape: Any = shape, sizes: Any = sizes, times: Any = times) -> Any:
                ensemble = gaussian(case[0], sizes, reduction(*shape), case[1])
                options: dict[str, Any] = {"max_steps": 10_000}
                curves, _ = evolve(ensemble, times.astype(dtype), rtol=jnp.asarray(TOLERANCE, dtype), **options)
                double = jax.tree.map(lambda leaf: leaf.astype(times.dtype), ensemble)
                exact, _ = evolve(double, times, rtol=jnp.asarray(1e-9), **options)
                deviations = jax.tree.map(lambda ours, theirs: jnp.abs(ours - theirs) / theirs[0], curves, exact)
                return jnp.max(jnp.stack(jax.tree.leaves(deviations)))

            keys = jax.random.split(jax.random.key(0), CELLS)
            variances = jnp.asarray(np.repeat(SCALES, REPEATS) / shape[0], dtype)
            worst = max(worst, float(jnp.max(jax.jit(lambda *cases: jax.lax.map(error, cases))(keys, variances))))
    return worst


def python_loop() -> float:
    """`simulate` in a loop over the problems, all repeats of one in a call."""
    start = time.perf_counter()
    for number, (p, h, n) in enumerate(SHAPES):
        for place, scale in enumerate(SCALES):
            key = jax.random.key(number * len(SCALES) + place)
            curve = ae.simulate(ae.LinearProblem(p, h, n, scale / p), TIMES, key, num_repeats=REPEATS, rtol=TOLERANCE)
            curve.train.block_until_ready()
    return time.perf_counter() - start


def torch_euler(case: Draw, num_steps: int) -> Curves:
    """Full-batch gradient descent on the full matrices, the step a fraction of the time between two records."""
    weights, covariance = (torch.from_numpy(array) for array in case)
    identity = torch.eye(len(covariance), dtype=weights.dtype)
    per_interval = num_steps // (len(TIMES) - 1)
    step, risks = TIMES[-1] / (per_interval * (len(TIMES) - 1)), []
    for interval in range(len(TIMES)):
        error = weights @ weights.T - identity
        weighted = error @ covariance
        risks.append((float((weighted * error).sum()), float((error * error).sum())))
        if interval == len(TIMES) - 1:
            break
        for _ in range(per_interval):
            weighted = (weights @ weights.T - identity) @ covariance
            weights = weights - step * ((weighted + weighted.T) @ weights)
    return np.array(risks) / len(covariance)


def torch_dopri5(case: Draw, rtol: float) -> Curves:
    weights, covariance = (torch.from_numpy(array) for array in case)
    identity = torch.eye(len(covariance), dtype=weights.dtype)

    def velocity(_: Any, w: Any) -> Any:
        weighted = (w @ w.T - identity) @ covariance
        return -((weighted + weighted.T) @ w)

    times = torch.from_numpy(TIMES.astype(case[0].dtype))
    with torch.no_grad():
        path = odeint(velocity, weights, times, rtol=rtol, atol=rtol * float(weights.square().mean().sqrt()))
        errors = [w @ w.T - identity for w in path]
        risks = [(float(((e @ covariance) * e).sum()), float((e * e).sum())) for e in errors]
    return np.array(risks) / len(covariance)


def scipy_flow(case: Draw, rtol: float) -> Curves:
    weights, covariance = case
    identity = np.eye(len(covariance), dtype=weights.dtype)

    def velocity(_: float, flat: Any) -> Any:
        w = flat.reshape(weights.shape)
        weighted = (w @ w.T - identity) @ covariance
        return (-(weighted + weighted.T) @ w).ravel()

    atol = rtol * float(np.sqrt(np.mean(weights**2)))
    path = solve_ivp(velocity, (0, TIMES[-1]), weights.ravel(), t_eval=TIMES, rtol=rtol, atol=atol).y.T
    errors = [flat.reshape(weights.shape) @ flat.reshape(weights.shape).T - identity for flat in path]
    return np.array([(np.sum((e @ covariance) * e), np.sum(e * e)) for e in errors]) / len(covariance)


@jax.jit
def _map_flow(start: Any, covariance: Any, rtol: Any) -> Any:
    """dM/dt = −(E M + M E), E = (M−I)S + S(M−I): the p × p flow of M = W Wᵀ, by plain Diffrax."""
    identity = jnp.eye(len(start), dtype=start.dtype)

    def velocity(t: Any, m: Any, args: Any) -> Any:
        weighted = (m - identity) @ covariance
        moved = (weighted + weighted.T) @ m
        return -(moved + moved.T)

    def risks(t: Any, m: Any, args: Any) -> Any:
        error = m - identity
        return jnp.stack([jnp.sum((error @ covariance) * error), jnp.sum(error * error)]) / len(m)

    atol = rtol * jnp.sqrt(jnp.mean(start**2))
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(velocity),
        diffrax.Tsit5(),
        0,
        TIMES[-1],
        None,
        start,
        saveat=diffrax.SaveAt(ts=jnp.asarray(TIMES, start.dtype), fn=risks),
        stepsize_controller=diffrax.PIDController(rtol=rtol, atol=atol),
        max_steps=_MOST_STEPS,
        throw=False,
    )
    return solution.ys, solution.result == diffrax.RESULTS.successful


def diffrax_map(case: Draw, rtol: float) -> Curves:
    """NaN where the solver gives up: rounding makes a zero eigenvalue of M negative, and that grows like e^{4st}."""
    weights, covariance = case
    curves, succeeded = _map_flow(weights @ weights.T, covariance, jnp.asarray(rtol, weights.dtype))
    return np.asarray(jnp.where(succeeded, curves, jnp.nan))


def reference(case: Draw) -> Curves:
    return scipy_flow((case[0].astype(float), case[1].astype(float)), 1e-9)


def relative_error(curves: Curves, exact: Curves) -> float:
    """The largest deviation of either risk over the times, as a share of the risk's size at the start."""
    return float(np.max(np.abs(curves - exact) / exact[0]))


def scaled_time(peer: Callable[[Draw], Curves], fraction: float, dtype: Any) -> tuple[float, float]:
    """Seconds for all cells from a fraction of each shape's, spread over the scales, and the largest error seen."""
    total, worst = 0.0, 0.0
    for shape in SHAPES:
        count = max(1, round(fraction * CELLS))
        scales = SCALES[np.linspace(0, len(SCALES) - 1, count + 2).round().astype(int)[1:-1]]
        seconds = 0.0
        for seed, scale in enumerate(scales):
            case = draw(shape, scale, seed, dtype)
            start = time.perf_counter()
            curves = peer(case)
            seconds += time.perf_counter() - start
            if np.isnan(curves).any():
                print(f"  {shape}, x = {scale:.2f}: did not finish")
            elif seed == 0 and max(shape) <= 400:
                worst = max(worst, relative_error(curves, reference(case)))
        total += seconds / count * CELLS
    return total, worst


def euler_steps_needed(dtype: Any) -> int:
    """Euler steps that bring the error to the tolerance, extrapolated from the first-order error of 3000 and 6000."""
    needed = []
    for scale in (SCALES[0], SCALES[-1]):
        case = draw(SHAPES[0], scale, 0, np.float64)
        exact = reference(case)
        errors = [relative_error(torch_euler(case, steps), exact) for steps in (3000, 6000)]
        print(f"  Euler, p=50, x={scale:.2f}: error {errors[0]:.1e} at 3000 steps, {errors[1]:.1e} at 6000")
        needed.append(6000 * errors[1] / TOLERANCE)
    return math.ceil(max(needed) / 60) * 60


def sweep_against_peers(dtype: Any, fraction: float, only: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    rtol = TOLERANCE
    cold = time.perf_counter()
    ours()
    found["ours, end to end"] = time.perf_counter() - cold
    print(f"ours: {len(SHAPES) * CELLS} flows in {found['ours, end to end']:.1f} s, compilation included")
    found["compilation"] = compilation()
    share = found["compilation"] / found["ours, end to end"]
    print(
        f"  to trace and compile all programs, one after the other: {found['compilation']:.1f} s, {share:.0%} of that,"
    )
    print(f"  or {share / len(os.sched_getaffinity(0)):.0%} of the cores' time   wanted: 20 %")
    found["ours, error"] = our_error(dtype)
    print(f"  error of the curves of the three small shapes: {found['ours, error']:.1e}")
    if not only or "e" in only:
        seconds = python_loop()
        found["e  loop over simulate"] = {"seconds": seconds, "ratio": seconds / found["ours, end to end"]}
        print(f"e  loop over simulate: {seconds:.1f} s, {found['e  loop over simulate']['ratio']:.2f}x   wanted: 1.3x")
    peers: dict[str, tuple[Callable[[Draw], Curves], float, float]] = {
        "a  PyTorch Euler, 200 steps": (lambda case: torch_euler(case, 240), 200 / 240, 3),
        "b  torchdiffeq dopri5": (lambda case: torch_dopri5(case, rtol), 1, 5),
        "c  SciPy solve_ivp": (lambda case: scipy_flow(case, rtol), 1, 5),
        "d  Diffrax, p x p map": (lambda case: diffrax_map(case, rtol), 1, 3),
    }
    for name, (peer, share, wanted) in peers.items():
        if only and name[0] not in only:
            continue
        seconds, error = scaled_time(peer, fraction, dtype)
        ratio = seconds * share / found["ours, end to end"]
        found[name] = {"seconds": seconds * share, "ratio": ratio, "error": error}
        print(f"{name}: {seconds * share:.0f} s, {ratio:.1f}x ours, error {error:.1e}   wanted: {wanted}x")
        if name[0] == "a":
            steps = euler_steps_needed(dtype)
            equal = seconds / 240 * steps
            found["a  PyTorch Euler, equal accuracy"] = {"steps": steps, "ratio": equal / found["ours, end to end"]}
            print(f"  at the {steps} steps of equal accuracy: {equal / found['ours, end to end']:.0f}x   wanted: 10x")
    return found


def compilation() -> float:
    """Seconds to trace and compile the programs of all shapes, one after the other."""
    sweep = Sweep(ae.sweeps.Simulation(TIMES, rtol=TOLERANCE), grid(), jax.random.key(0), REPEATS)
    for evaluations in sweep.programs.values():
        sweep.runner.compile(evaluations)
    return sweep.runner.compile_seconds


def overhead(dtype: Any) -> dict[str, float]:
    """The runner and the store against the compiled programs alone, on a mid-sized sweep."""
    task = ae.sweeps.Simulation(TIMES, rtol=TOLERANCE)
    axes = {"input_dim": [100], "latent_dim": [50], "num_samples": [200], "init_scale": np.geomspace(0.05, 2, 250)}
    key = jax.random.key(0)
    sweep = Sweep(task, axes, key, REPEATS, devices=jax.devices()[:1])
    plan, runner = sweep.plan, sweep.runner
    evaluations = plan.evaluations(tuple(slice(0, size) for size in plan.shape), np.ones(plan.shape, bool))
    runner.compile(evaluations)
    cores = len(os.sched_getaffinity(0))
    x64 = dtype == np.float64

    def bare(part: int) -> None:
        with jax.enable_x64(x64):
            runner.run(evaluations.take(slice(part, None, cores)))

    times: dict[str, list[float]] = {"bare": [], "store": []}
    for _ in range(3):
        start = time.perf_counter()
        with ThreadPoolExecutor(cores) as pool:
            list(pool.map(bare, range(cores)))
        times["bare"].append(time.perf_counter() - start)
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            ae.sweep(task, axes, key, REPEATS, Path(folder) / "store", progress=False)
            times["store"].append(time.perf_counter() - start)
    bare_seconds, whole = min(times["bare"]), min(times["store"])
    # a sweep compiles its own program, which the bare run has done before
    compile_seconds = runner.compile_seconds
    share = (whole - compile_seconds - bare_seconds) / bare_seconds
    print(f"{plan.size} flows at p = 100: bare {bare_seconds:.2f} s, through sweep and store {whole:.2f} s,")
    print(f"  of which {compile_seconds:.2f} s to trace and compile; overhead {share:.0%}   wanted: 5 %")
    return {"bare": bare_seconds, "through the store": whole, "compilation": compile_seconds, "overhead": share}


def theory_curves() -> dict[str, float]:
    """Closed-form curves of 100 times a second, through the runner."""
    found, scales = {}, np.geomspace(0.01, 3, 400_000)
    for regime in ("large-data", "mean-field", ("large-data", "free"), ("large-data", "mean-field")):
        task = ae.sweeps.Prediction(np.linspace(0, 3, 100), regime)
        axes = {"input_dim": [300], "latent_dim": [150], "num_samples": [600], "init_scale": scales}
        ae.sweep(task, {**axes, "init_scale": scales[:10]}, jax.random.key(0), progress=False)
        start = time.perf_counter()
        ae.sweep(task, axes, jax.random.key(0), progress=False)
        rate = 400_000 / (time.perf_counter() - start)
        found[str(regime)] = rate
        print(f"closed-form curves, {regime}: {rate:.3g} a second, compilation included   wanted: 1e5")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float64")
    parser.add_argument("--fraction", type=float, default=1 / 64, help="share of the cells that the slow peers run")
    parser.add_argument("--only", nargs="*", default=[], help="peers a to e")
    parser.add_argument("--json", type=Path, help="where to keep the numbers")
    arguments = parser.parse_args()
    jax.config.update("jax_enable_x64", arguments.dtype == "float64")  # type: ignore[no-untyped-call]
    dtype = np.dtype(arguments.dtype)
    machine = f"{platform.processor() or platform.machine()}, {len(os.sched_getaffinity(0))} cores"
    print(f"JAX {jax.__version__} on {jax.devices()[0].device_kind} ({machine}), PyTorch {torch.__version__}, {dtype}")
    numbers: dict[str, Any] = {"machine": machine, "dtype": arguments.dtype}
    for name, part in {
        "sweep": lambda: sweep_against_peers(dtype, arguments.fraction, arguments.only),
        "overhead": lambda: overhead(dtype),
        "theory": theory_curves,
    }.items():
        numbers[name] = part()
        if arguments.json:
            arguments.json.write_text(json.dumps(numbers, indent=2) + "\n")


if __name__ == "__main__":
    main()
