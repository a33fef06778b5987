"""What `fit` recovers from simulated curves at p = 500: regime, parameters, and the coverage of its intervals.

Each fit sees its own simulated draws as single repeats, and with `--averages` once more as their mean and standard
deviation only. Counts are printed every ten fits. About an hour for all on two cores.
"""

import argparse
import sys
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

import aetheory as ae

INPUT_DIM = 500
WITHIN = 0.05


class Case(NamedTuple):
    """A problem deep in one regime, whose limit is off by much less than the noise of `num_repeats` draws."""

    problem: ae.LinearProblem
    latest_time: float
    identifiable: tuple[str, ...]
    num_repeats: int = 8


CASES = {
    "large-data": Case(ae.LinearProblem(INPUT_DIM, 100, jnp.inf, 2 / INPUT_DIM), 1.0, ("init_scale", "latent_ratio")),
    "mean-field": Case(
        ae.LinearProblem(INPUT_DIM, 10_000_000, 200, 0.2 / 10_000_000), 1.0, ("init_strength", "sample_ratio"), 4
    ),
    "narrow-latent": Case(
        ae.LinearProblem(INPUT_DIM, 2, 125, 0.5 / INPUT_DIM), 1.0, ("init_scale", "latent_ratio", "sample_ratio"), 96
    ),
    "small-data": Case(
        ae.LinearProblem(INPUT_DIM, 200, 1, 1 / INPUT_DIM), 0.005, ("init_scale", "latent_ratio", "sample_ratio"), 96
    ),
}


def draws(case: Case, key: jax.Array) -> list[ae.Curve]:
    """Independent simulations of one problem."""
    times = jnp.linspace(0, case.latest_time, 41)
    return [ae.simulate(case.problem, times, one) for one in jax.random.split(key, case.num_repeats)]


def averaged(curves: list[ae.Curve]) -> ae.Curve:
    """Their mean and standard deviation, as `simulate(num_repeats=…)` returns them."""
    train, population = (jnp.stack([getattr(curve, risk) for curve in curves]) for risk in ("train", "population"))
    std = ae.Values(train=jnp.std(train, axis=0, ddof=1), population=jnp.std(population, axis=0, ddof=1))
    mean = ae.Values(train=jnp.mean(train, axis=0), population=jnp.mean(population, axis=0))
    return ae.Curve(curves[0].times, mean, std, num_repeats=len(curves))


class Counts:
    """What is counted over the fits of one regime and one kind of observation."""

    def __init__(self, identifiable: tuple[str, ...]) -> None:
        self.fits, self.named, self.within = 0, 0, 0
        self.covered = dict.fromkeys(identifiable, 0)
        self.errors: dict[str, list[float]] = {name: [] for name in identifiable}
        self.widths: dict[str, list[float]] = {name: [] for name in identifiable}

    def add(self, fit: ae.Fit, regime: str, truth: dict[str, float], *, corrected: bool = True) -> None:
        """Count one fit, with or without its correction by simulations."""
        named = fit.regime == regime
        own = fit if named and corrected else next(one for one in fit.candidates if one.regime == regime)
        self.fits += 1
        self.named += named
        for name, errors in self.errors.items():
            estimate = own.estimates[name]
            errors.append(np.log(estimate.value / truth[name]))
            self.widths[name].append(np.log(estimate.interval[1] / estimate.interval[0]) / 2)
            self.covered[name] += estimate.interval[0] <= truth[name] <= estimate.interval[1]
        self.within += all(abs(errors[-1]) <= WITHIN for errors in self.errors.values())

    def report(self, title: str) -> None:
        """Print the counts."""
        print(f"{title}: of {self.fits} fits {self.named} name the regime, {self.within} are within {WITHIN:.0%}")
        for name, errors in self.errors.items():
            print(
                f"    {name:<14} covered {self.covered[name]:>3}; error mean {np.mean(errors):+.4f}, "
                f"spread {np.std(errors):.4f}, largest {np.abs(errors).max():.4f}; "
                f"half-width of the interval {np.median(self.widths[name]):.4f}",
                flush=True,
            )


def run(regime: str, num_fits: int, averages: bool) -> None:
    """Simulate and fit."""
    case, started = CASES[regime], time.perf_counter()
    problem = case.problem
    truth = {name: float(getattr(problem, name)) for name in ("init_scale", "latent_ratio", "sample_ratio")}
    truth["init_strength"] = truth["init_scale"] * truth["latent_ratio"]
    counts = {
        f"{case.num_repeats} single repeats": Counts(case.identifiable),
        "the same, not corrected by simulations": Counts(case.identifiable),
        f"mean of {case.num_repeats} (only this regime was tried)": Counts(case.identifiable),
    }
    single, uncorrected, mean = counts.values()
    key = jax.random.fold_in(jax.random.key(7), list(CASES).index(regime))
    for index in tqdm(range(num_fits), unit="fit", disable=not sys.stderr.isatty()):
        key_draws, key_fit = jax.random.split(jax.random.fold_in(key, index))
        curves = draws(case, key_draws)
        found = ae.fit(curves, input_dim=INPUT_DIM, key=key_fit)
        single.add(found, regime, truth)
        uncorrected.add(found, regime, truth, corrected=False)
        if averages:
            mean.add(ae.fit(averaged(curves), regime, input_dim=INPUT_DIM, key=key_fit), regime, truth)
        if (index + 1) % 10 == 0 or index + 1 == num_fits:
            for kind, counted in counts.items():
                if counted.fits:
                    counted.report(f"{regime}, {kind}")
            print(f"    {(time.perf_counter() - started) / (index + 1):.1f} s a fit, simulation included", flush=True)


def main() -> None:
    """Measure and report."""
    jax.config.update("jax_enable_x64", True)  # type: ignore[no-untyped-call]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--regime", action="append", choices=list(CASES), help="repeatable; all when omitted")
    parser.add_argument("--fits", type=int, default=100, help="fits a regime")
    parser.add_argument("--averages", action="store_true", help="fit means and standard deviations as well")
    given = parser.parse_args()
    for regime in given.regime or CASES:
        run(regime, given.fits, given.averages)


if __name__ == "__main__":
    main()
