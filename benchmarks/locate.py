"""How far the faces' curves are from simulations, for `locate` to state: a wide draw of problems, stored by `--out`.

Run as `python benchmarks/locate.py --seed 2 --number 850 --out aetheory/reproduce/locate_errors.json` for the problems
that the statement is tested on (seed 1, 450 problems, gave the factors): about five minutes on an idle core. Without
`--out` it says how many of `locate`'s statements hold.

Simulations are plain NumPy, many draws of a problem at a time, by 32 steps of the classical Runge–Kutta method up to
the natural time. The mean is corrected by traces whose means are known exactly (control variates), which lowers its
standard error three to twenty times.
"""

import argparse
import json
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

import aetheory as ae
from aetheory.linear.faces import FACES
from aetheory.linear.theories import THEORIES

_STEPS = 32
_TIMES = np.array([0, 1, 2, 4, 8, 16, 24, 32])
"""Of the steps, those at which risks are compared."""

_SPECTRA = ("a0.5", "a1", "a1.5", "blocks", "digits")
_AT_ONCE = 25


def variances(spectrum: str, input_dim: int) -> Any:
    """Variances of mean 1: "iso", a power law "a1.5", "blocks" (a quarter is 3, the rest .2), or "digits"."""
    if spectrum == "digits":  # the 64 of scikit-learn's images, interpolated
        digits = np.linalg.eigvalsh(ae.load_images("digits").covariance)[::-1].clip(0)
        found = np.interp((np.arange(input_dim) + 0.5) / input_dim * 64 - 0.5, np.arange(64), digits)
    elif spectrum == "blocks":
        found = np.where(np.arange(input_dim) < input_dim // 4, 3.0, 0.2)
    else:
        exponent = 0.0 if spectrum == "iso" else float(spectrum[1:])
        found = np.arange(1, input_dim + 1.0) ** -exponent
    return found / found.mean()


def located(input_dim: int, latent_dim: int, num_samples: int, init_variance: float, spectrum: str) -> ae.LinearProblem:
    """A problem of one of these spectra."""
    covariance = None if spectrum == "iso" else variances(spectrum, input_dim)
    return ae.LinearProblem(input_dim, latent_dim, num_samples, init_variance, covariance)


class Case(NamedTuple):
    """One problem."""

    input_dim: int
    latent_dim: int
    num_samples: int
    init_variance: float
    spectrum: str

    @property
    def problem(self) -> ae.LinearProblem:
        """As the library has it."""
        return located(*self)


def draw_case(rng: np.random.Generator) -> Case:
    """p log-uniform from 20 to 100, one in twenty to 400; x, y and z from .01 to 100; one in three anisotropic."""
    while True:
        ends = (20, 100) if rng.random() < 0.95 else (100, 400)
        p = int(np.exp(rng.uniform(*np.log(ends))))
        x, y, z = 10 ** rng.uniform(-2, 2, 3)
        latent_dim, num_samples = round(y * p), round(p / z)
        if latent_dim and num_samples:
            break
    spectrum = "iso" if rng.random() < 0.67 else _SPECTRA[rng.integers(5)]
    if spectrum != "iso":  # of few sizes, which compile once each
        p = (24, 48, 96)[rng.integers(3)]
        latent_dim, num_samples = max(1, round(y * p)), max(1, round(p / z))
    return Case(p, latent_dim, num_samples, x / p, spectrum)


def factor(rng: np.random.Generator, rows: int, columns: int) -> Any:
    """A Gaussian matrix, or for more columns than rows the triangular one of the same product (Bartlett)."""
    if columns < rows:
        return rng.standard_normal((rows, columns))
    lower = np.tril(rng.standard_normal((rows, rows)), -1)
    lower[np.diag_indices(rows)] = np.sqrt(rng.chisquare(columns - np.arange(rows)))
    return lower


def draw(rng: np.random.Generator, case: Case, spread: Any) -> tuple[Any, Any, Any]:
    """W and P = Σ in the eigenbasis of S, and its eigenvalues; only in the span of W and the samples."""
    p, latent_dim, num_samples, variance, _ = case
    weights = np.sqrt(variance) * factor(rng, p, latent_dim)
    samples = np.sqrt(spread)[:, None] * factor(rng, p, num_samples) / np.sqrt(num_samples)
    population = np.diag(spread)
    if samples.shape[1] + weights.shape[1] < p:
        basis, _ = np.linalg.qr(np.hstack([samples, weights]))
        samples, weights, population = basis.T @ samples, basis.T @ weights, (basis.T * spread) @ basis
    spectrum, vectors = np.linalg.eigh(samples @ samples.T)
    return vectors.T @ weights, spectrum.clip(0), vectors.T @ population @ vectors


def velocity(weights: Any, spectrum: Any) -> Any:
    """dW/dt = −[(M−I)S + S(M−I)] W, M = W Wᴴ."""
    scaled, adjoint = spectrum[..., None] * weights, np.conj(np.swapaxes(weights, -1, -2))
    return 2 * scaled - weights @ (adjoint @ scaled) - scaled @ (adjoint @ weights)


def runge_kutta(weights: Any, spectrum: Any, step: Any) -> Any:
    """W after one step of the classical method of order 4."""
    first = velocity(weights, spectrum)
    second = velocity(weights + step / 2 * first, spectrum)
    third = velocity(weights + step / 2 * second, spectrum)
    last = velocity(weights + step * third, spectrum)
    return weights + step / 6 * (first + 2 * second + 2 * third + last)


def traces(weights: Any, spectrum: Any, population: Any) -> list[Any]:
    """tr S, tr WᵀSW, tr WᵀPW, tr SMM, tr PMM, tr M, tr M² and tr S² of every draw."""
    weights = weights.astype(float)
    transposed = np.swapaxes(weights, -1, -2)
    gram, seen = transposed @ weights, transposed @ (population @ weights)
    scaled = transposed @ (spectrum[..., None] * weights)
    matrices = (scaled, seen, gram @ scaled, gram @ seen, gram, gram @ gram)
    of_weights = [np.trace(one, axis1=-2, axis2=-1) for one in matrices]
    return [spectrum.sum(-1, dtype=float), *of_weights, (spectrum.astype(float) ** 2).sum(-1)]


def risks(found: list[Any], case: Case, total: float) -> Any:
    """(1/p) tr (M−I)S(M−I) and (1/p) tr (M−I)Σ(M−I)."""
    return np.stack([found[0] - 2 * found[1] + found[3], total - 2 * found[2] + found[4]]) / case.input_dim


def controls(found: list[Any], case: Case, spread: Any) -> Any:
    """Traces at the start less their exact means."""
    p, latent_dim, num_samples, variance, _ = case
    first, second, strength = spread.sum(), (spread**2).sum(), latent_dim * variance
    means = {
        0: first,
        5: strength * p,
        6: strength * variance * p * (p + latent_dim + 1),
        1: strength * first,
        7: second * (1 + 1 / num_samples) + first**2 / num_samples,
    }
    if case.spectrum != "iso":
        means[2] = strength * first
    return np.stack([found[place] - mean for place, mean in means.items()], axis=-1)


def simulate(rng: np.random.Generator, case: Case, time: float) -> tuple[Any, Any]:
    """Mean and standard error of both risks at the compared times."""
    p, latent_dim, num_samples, *_ = case
    spread, size = variances(case.spectrum, p), min(p, latent_dim + num_samples)
    repeats = 96 if size < 40 else 48 if size < 70 else 32 if size < 101 else 8
    draws = [draw(rng, case, spread) for _ in range(repeats)]
    weights, spectrum, population = (np.stack(one).astype(np.float32) for one in zip(*draws, strict=True))
    start, step, curves = traces(weights, spectrum, population), np.float32(time / _STEPS), []
    for count in range(_STEPS + 1):
        if count in _TIMES:
            curves.append(risks(traces(weights, spectrum, population), case, spread.sum()))
        weights = runge_kutta(weights, spectrum, step)
    return corrected(np.stack(curves, axis=-1), controls(start, case, spread))


def corrected(curves: Any, known: Any) -> tuple[Any, Any]:
    """The mean over draws, by regression on what has mean 0 where that lowers the standard error."""
    repeats, count = curves.shape[1], min(known.shape[1], curves.shape[1] // 4)
    scaled = known[:, :count] / np.maximum(known[:, :count].std(0), 1e-30)
    design, values = np.hstack([np.ones((repeats, 1)), scaled]), np.moveaxis(curves, 1, 0).reshape(repeats, -1)
    inverse = np.linalg.pinv(design)
    left = values - design @ (inverse @ values)
    error = np.sqrt((left**2).sum(0) / (repeats - count - 1) * (inverse[0] @ inverse[0]))
    plain = values.std(0, ddof=1) / repeats**0.5
    mean = np.where(error < plain, (inverse @ values)[0], values.mean(0))
    return mean.reshape(2, -1), np.minimum(error, plain).reshape(2, -1)


def worth_measuring(face: str, case: Case) -> bool:
    """Whether a face can be near, and its curve has no bracket of its own there."""
    problem, isotropic = case.problem, case.spectrum == "iso"
    if not isotropic and face in ("large-data", "free"):
        return False
    return bool(ae.locate(problem).distances[face] <= 0.3)


def limits(face: str, cases: list[Case], times: Any) -> Any:
    """Both risks of one spectrum and size in a face's limit."""
    options: dict[str, Any] = {"rtol": 1e-6} if face in ("narrow-latent", "small-data") else {}
    if face == "free":
        options = {"method": ae.Rotations()}
    spread = None if cases[0].spectrum == "iso" else jnp.asarray(variances(cases[0].spectrum, cases[0].input_dim))
    numbers = [[float(getattr(one.problem, name)) for name in ae.LinearRatios.free_numbers] for one in cases]

    @jax.jit
    def curves(numbers: Any, times: Any) -> Any:
        def one(given: Any) -> Any:
            ratios = ae.LinearRatios(given[0][0], given[0][1], given[0][2], covariance=spread)
            found = THEORIES[face].curve(ratios, given[1] * _TIMES / _STEPS, throw=False, **options)
            return jnp.stack([found.train, found.population])

        return jax.lax.map(one, (numbers, times))

    places = np.arange(len(cases) + -len(cases) % _AT_ONCE) % len(cases)
    chunks = [curves(np.array(numbers)[one], times[one]) for one in places.reshape(-1, _AT_ONCE)]
    return np.concatenate(chunks)[: len(cases)]


def measure(seed: int, number: int) -> list[list[Any]]:
    """Every problem with, by face, its largest error beyond twice the simulation's standard error, and that error."""
    rng = np.random.default_rng(seed)
    cases = [draw_case(rng) for _ in range(number)]
    times = np.array([ae.locate(one.problem).time for one in cases])
    runs = [simulate(np.random.default_rng([seed, k]), one, times[k]) for k, one in enumerate(tqdm(cases))]
    means, errors = (np.array(one) for one in zip(*runs, strict=True))
    scale, found = np.maximum(1, means[:, 1, 0])[:, None, None], [dict[str, Any]() for _ in cases]
    for face in FACES:
        groups: dict[Any, list[int]] = {}
        for k, one in enumerate(cases):
            if worth_measuring(face, one):
                groups.setdefault(one.spectrum if one.spectrum == "iso" else (one.spectrum, one.input_dim), []).append(
                    k
                )
        for group in groups.values():
            off = np.abs(limits(face, [cases[k] for k in group], times[group]) - means[group])
            beyond = ((off - 2 * errors[group]) / scale[group]).max(axis=(1, 2))
            largest = (np.maximum(off, 2 * errors[group]) / scale[group]).max(axis=(1, 2))
            for k, *both in zip(group, beyond, largest, strict=True):
                found[k][face] = [float(f"{value:.3g}") for value in both]
    return [[*one, errors] for one, errors in zip(cases, found, strict=True)]


def main() -> None:
    """Measure, and store or report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--number", type=int, default=100)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    jax.config.update("jax_enable_x64", True)  # type: ignore[no-untyped-call]
    warnings.simplefilter("ignore", UserWarning)  # far from a face its curve is a poor one, and says so
    rows = measure(given.seed, given.number)
    if given.out is not None:
        given.out.write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n")
    stated = [(ae.locate(located(*case)).errors[face], *both) for *case, by in rows for face, both in by.items()]
    held, close = (np.mean([one[0] >= one[1] for one in stated]), np.mean([one[0] <= 5 * one[2] for one in stated]))
    print(f"{len(stated)} statements on {len(rows)} problems: {held:.1%} hold, {close:.1%} within a factor of 5")


if __name__ == "__main__":
    main()
