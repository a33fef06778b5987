"""How seconds and bytes of a simulation grow with p, H, N and repeats, and what a large sweep would cost.

python benchmarks/cost.py [--dtype float32|float64] [--figure FILE] [--json FILE]

Every flow is x = 1, both risks at 61 times on [0, 3] to rtol 1e-6, run by the sweep's own runner on one thread. The
model is seconds = overhead + flops/rate with flops = (evaluations of the vector field) × (products of one). The last
table is an extrapolation from it, with the rate of an accelerator assumed and not measured.
"""

import argparse
import json
import time
from pathlib import Path
from typing import NamedTuple

import jax
import matplotlib as mpl
import numpy as np

import aetheory as ae
from aetheory.linear.ensembles import reduction
from aetheory.sweeps.run import Sweep

mpl.use("agg")
import matplotlib.pyplot as plt

TIMES = np.linspace(0, 3, 61)
EVALUATIONS_PER_STEP = 6  # of the first-same-as-last Tsitouras method

FAMILIES: dict[str, list[tuple[int, int, int]]] = {
    "p, at H = p/2 and N = 2p": [(p, p // 2, 2 * p) for p in (25, 50, 100, 200, 400)],
    "p, at H = 20 and N = 2p": [(p, 20, 2 * p) for p in (50, 100, 200, 400, 800)],
    "H, at p = 200 and N = 400": [(200, h, 400) for h in (5, 20, 50, 100, 200, 400)],
    "N, at p = 400 and H = 20": [(400, 20, n) for n in (10, 40, 100, 200, 800)],
}


class Cost(NamedTuple):
    """Of one flow."""

    seconds: float
    flops: float
    num_bytes: int
    compilation: float


def measure(dims: tuple[int, int, int], repeats: int = 4) -> Cost:
    """Time `repeats` flows in one call."""
    names = ("input_dim", "latent_dim", "num_samples")
    grid = {**{name: [size] for name, size in zip(names, dims, strict=True)}, "init_scale": [1.0]}
    sweep = Sweep(ae.sweeps.Simulation(TIMES), grid, jax.random.key(0), repeats, devices=jax.devices()[:1])
    (one,) = sweep.programs.values()
    evaluations = sweep.plan.evaluations_of(one.group, np.zeros(repeats, int), np.arange(repeats))
    runner = sweep.runner
    results = runner.run(evaluations)
    times = []
    for _ in range(3):
        start = time.perf_counter()
        runner.run(evaluations)
        times.append((time.perf_counter() - start) / repeats)
    sizes = runner.trace(one).lower().compile().memory_analysis()
    num_bytes = sizes.temp_size_in_bytes + sizes.output_size_in_bytes + sizes.argument_size_in_bytes
    num_evaluations = EVALUATIONS_PER_STEP * float(results["num_steps"].mean()) + 2
    return Cost(min(times), num_evaluations * reduction(*dims).flops, num_bytes, runner.compile_seconds)


def draw(costs: dict[str, list[Cost]], overhead: float, rate: float, path: Path) -> None:
    """Seconds and bytes against flops, on logarithmic axes."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for (name, family), marker in zip(costs.items(), "os^D", strict=True):
        flops = [cost.flops for cost in family]
        left.loglog(flops, [cost.seconds for cost in family], marker, label=name, markersize=5)
        right.loglog(flops, [cost.num_bytes for cost in family], marker, markersize=5)
    line = np.geomspace(1e5, 1e11)
    left.loglog(line, overhead + line / rate, color="0.4", linewidth=1, label="overhead + flops/rate")
    left.set(xlabel="flops of the products of one flow", ylabel="seconds a flow")
    right.set(xlabel="flops of the products of one flow", ylabel="bytes the program takes")
    left.legend(fontsize=8, frameon=False)
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float64")
    parser.add_argument("--figure", type=Path, default=Path("cost.png"))
    parser.add_argument("--json", type=Path)
    parser.add_argument(
        "--assumed-rate", type=float, default=2e12, help="flop/s of an accelerator on batches of such products"
    )
    arguments = parser.parse_args()
    jax.config.update("jax_enable_x64", arguments.dtype == "float64")  # type: ignore[no-untyped-call]
    costs: dict[str, list[Cost]] = {}
    for name, family in FAMILIES.items():
        costs[name] = [measure(dims) for dims in family]
        for dims, cost in zip(family, costs[name], strict=True):
            print(
                f"{name:26} {dims!s:18} {cost.seconds:9.4f} s  {cost.flops:8.2g} flops  "
                f"{cost.num_bytes / 1e6:7.2f} MB  compilation {cost.compilation:.1f} s",
                flush=True,
            )
    every = [cost for family in costs.values() for cost in family]
    overhead = min(cost.seconds for cost in every)
    largest = max(every, key=lambda cost: cost.flops)
    rate = largest.flops / (largest.seconds - overhead)
    print(f"model: {overhead * 1e3:.2f} ms + flops / {rate / 1e9:.1f} Gflop/s")
    for repeats in (1, 4, 16, 64):
        cost = measure((100, 50, 200), repeats)
        print(
            f"repeats {repeats:3d} at (100, 50, 200): {cost.seconds * 1e3:.2f} ms each, {cost.num_bytes / 1e6:.2f} MB"
        )
    print("\nA million cells of (200, 100, 400), one repeat, by extrapolation:")
    one = costs["p, at H = p/2 and N = 2p"][3]
    print(f"  this machine, measured: {1e6 * one.seconds / 3600:.1f} h on one thread")
    assumed = arguments.assumed_rate
    for devices in (1, 8, 64):
        minutes = 1e6 * one.flops / assumed / devices / 60
        print(f"  {devices:2d} accelerators at an assumed {assumed / 1e12:.1f} Tflop/s each: {minutes:.2f} min")
    draw(costs, overhead, rate, arguments.figure)
    if arguments.json:
        numbers = {name: [cost._asdict() for cost in family] for name, family in costs.items()}
        arguments.json.write_text(json.dumps({"overhead": overhead, "rate": rate, **numbers}, indent=2) + "\n")


if __name__ == "__main__":
    main()
