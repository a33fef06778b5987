"""How far the curve of the regime that `locate` chooses is from simulation, and how often the estimate covers that.

Run as `python benchmarks/locate.py` for the coverage on 216 problems that the estimate was not fitted to, with `--fit`
for the 320 problems that gave its factors, or with `--covariance` for 40 problems of four population spectra, of which
those near mean-field, narrow-latent or small-data are measured. Ten to twenty minutes on two cores, five for the last.
"""

import sys
import warnings
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

import aetheory as ae
from aetheory.linear.faces import FACES
from aetheory.linear.locate import Location, natural_time

_REPEATS = 8


class Outcome(NamedTuple):
    """One problem: where it lies, and every face's error beyond twice the simulation's standard error."""

    location: Location
    errors: dict[str, float]


def problems(fit: bool) -> list[ae.LinearProblem]:
    """A grid over x, y and z from deep in one regime to deep in another."""
    if fit:
        input_dim, scales = 128, [0.05, 0.3, 1.0, 3.0, 20.0]
        latent_dims = [2, 8, 32, 64, 128, 256, 1024, 8192]
        sample_sizes = [2, 8, 32, 64, 128, 512, 2048, 16384]
    else:
        input_dim, scales = 100, [0.02, 0.1, 0.5, 2.0, 8.0, 50.0]
        latent_dims, sample_sizes = [3, 12, 50, 110, 500, 20_000], [3, 12, 50, 110, 1000, 20_000]
    return [
        # beyond H = p the eigenvalues of W Wᵀ are of order Hσ²
        ae.LinearProblem(input_dim, latent_dim, num_samples, scale / max(input_dim, latent_dim))
        for latent_dim in latent_dims
        for num_samples in sample_sizes
        for scale in scales
    ]


def anisotropic_problems() -> list[ae.LinearProblem]:
    """Power laws and blocks at p = 64, in ten corners."""
    decreasing = np.arange(1, 65.0)
    spectra = [decreasing**-0.5, 1 / decreasing, decreasing**-2.0, np.where(decreasing <= 16, 3.0, 0.2)]
    corners = [(6400, 64, 0.003), (6400, 16, 0.01), (6400, 256, 0.03), (640, 128, 0.05), (2, 64, 0.5)]
    corners += [(1, 256, 0.5), (2, 640, 0.1), (32, 2, 0.5), (128, 1, 0.3), (32, 6400, 0.5)]
    return [
        ae.LinearProblem(64, latent_dim, num_samples, scale / 64, spectrum / spectrum.mean())
        for spectrum in spectra
        for latent_dim, num_samples, scale in corners
    ]


def measure(problem: ae.LinearProblem, key: jax.Array) -> Outcome:
    """Simulation up to the natural time against every face's curve; with a covariance, against the chosen one's."""
    location = ae.locate(problem)
    faces: list[str] = [*FACES]
    if problem.covariance is not None:
        faces = [location.regime] if location.regime in ("mean-field", "narrow-latent", "small-data") else []
        if not faces:
            return Outcome(location, {})
    times = jnp.concatenate([jnp.zeros(1), natural_time(problem) * jnp.geomspace(0.02, 1, 10)])
    simulation = ae.simulate(problem, times, key, num_repeats=_REPEATS)
    scale = max(1.0, float(simulation.population[0]))
    errors = {}
    for face in faces:
        theory = ae.predict(problem, times, face, **({"method": ae.PathSpace()} if face == "free" else {}))
        errors[face] = max(
            float(
                jnp.max(
                    jnp.abs(getattr(theory, risk) - getattr(simulation, risk))
                    - 2 * getattr(simulation.standard_error, risk)
                )
            )
            / scale
            for risk in ("train", "population")
        )
    return Outcome(location, errors)


def report(outcomes: list[Outcome], fit: bool) -> None:
    """Coverage of the estimate for the chosen faces, and with `fit` the factors that would cover nine in ten."""
    chosen = [outcome for outcome in outcomes if outcome.location.regime in outcome.errors]
    print(f"{len(outcomes)} problems, {len(outcomes) - len(chosen)} of them in the interior, or not measured.")
    for name in ("all", *FACES):
        group = [outcome for outcome in chosen if name in ("all", outcome.location.regime)]
        if not group:
            continue
        found = np.array([outcome.errors[outcome.location.regime] for outcome in group])
        estimated = np.array([outcome.location.error for outcome in group])
        best = np.array([min(outcome.errors.values()) for outcome in group])
        print(
            f"{name:<14} {len(group):>4} problems: estimate covers {np.mean(found <= estimated):.0%}; error median "
            f"{max(np.median(found), 0):.4f}, 90 % {np.quantile(found, 0.9):.4f}, largest {found.max():.4f}; largest "
            f"error / estimate {np.max(found / estimated):.2f}; best of all faces chosen within .01 in "
            f"{np.mean(found - np.maximum(best, 0) <= 0.01):.0%}"
        )
    if fit:
        for face in FACES:
            near = [outcome for outcome in outcomes if outcome.location.distances[face] <= 0.3]
            ratios = [outcome.errors[face] / outcome.location.errors[face] for outcome in near]
            print(
                f"{face:<14} {len(near):>4} near; factor for 90 %: {np.quantile(ratios, 0.9):.2f} times the present one"
            )


def main() -> None:
    """Measure and report."""
    jax.config.update("jax_enable_x64", True)  # type: ignore[no-untyped-call]
    warnings.simplefilter("ignore", UserWarning)  # far from a face its curve is a poor one, and says so
    fit, anisotropic = ("--" + name in sys.argv[1:] for name in ("fit", "covariance"))
    key = jax.random.key(0)
    cases = tqdm(
        anisotropic_problems() if anisotropic else problems(fit), unit="problem", disable=not sys.stderr.isatty()
    )
    outcomes = [measure(problem, jax.random.fold_in(key, index)) for index, problem in enumerate(cases)]
    report(outcomes, fit)


if __name__ == "__main__":
    main()
