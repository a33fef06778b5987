"""The claim of the interior's bracket, beside complex Gaussian ensembles, whose risks have no term in 1/p."""

import numpy as np

from aetheory import LinearRatios, predict
from benchmarks.claims.definitions import claim, verdict
from benchmarks.claims.prism import OWN
from benchmarks.locate import runge_kutta

DIM, DRAWS, RISKS = 48, 32, ("train", "population")
STEPS = ((0.0, 0.25, 10), (0.25, 0.5, 8), (0.5, 1.0, 12), (1.0, 2.0, 20), (2.0, 4.0, 36))
"""Stretches of the time, in natural times, and the steps of the classical Runge–Kutta method on each."""


def complex_factor(rng, columns):
    """G of `DIM` rows with standard complex Gaussian entries, or where it is wide a square one of the same G Gᴴ."""
    normal = rng.standard_normal((2, DIM, min(columns, DIM)))
    entries = (normal[0] + 1j * normal[1]) / np.sqrt(2)
    if columns < DIM:
        return entries
    diagonal = np.sqrt(rng.chisquare(2 * (columns - np.arange(DIM))) / 2)
    return np.tril(entries, -1) + np.diag(diagonal)


def traces(matrices):
    return np.trace(matrices, axis1=-2, axis2=-1).real


def both_risks(weights, spectrum):
    adjoint = np.conj(np.swapaxes(weights, -1, -2))
    gram, energy = adjoint @ weights, adjoint @ (spectrum * weights)
    train = traces(energy @ gram) - 2 * traces(energy) + spectrum.sum((-2, -1))
    return np.stack([train, traces(gram @ gram) - 2 * traces(gram) + DIM], axis=-1) / DIM


def complex_draws(rng, scale, latent_dim, num_samples, unit):
    """Both risks at the starts and ends of the stretches, shape (draws, times, 2), and what is known of each start.

    The latter are traces less their means, shape (draws, 6).
    """
    variance, starts, spectra = scale / DIM, [], []
    for _ in range(DRAWS):
        samples = complex_factor(rng, num_samples) / np.sqrt(num_samples)
        values, vectors = np.linalg.eigh(samples @ samples.conj().T)
        spectra.append(np.maximum(values, 0)[:, None])
        starts.append(vectors.conj().T @ (np.sqrt(variance) * complex_factor(rng, latent_dim)))
    weights, spectrum = np.stack(starts), np.stack(spectra)
    adjoint, size = np.conj(np.swapaxes(weights, -1, -2)), DIM * latent_dim
    gram, energy = adjoint @ weights, adjoint @ (spectrum * weights)
    quartic = variance**2 * size * (DIM + latent_dim)
    known = [
        *(traces(one) - variance * size for one in (gram, energy)),
        *(traces(one @ gram) - quartic for one in (gram, energy)),
        spectrum.sum((-2, -1)) - DIM,
        (spectrum**2).sum((-2, -1)) - DIM * (1 + DIM / num_samples),
    ]
    found = [both_risks(weights, spectrum)]
    for start, end, number in STEPS:
        for _ in range(number):
            weights = runge_kutta(weights, spectrum[..., 0], unit * (end - start) / number)
        found.append(both_risks(weights, spectrum))
    return np.stack(found, axis=1), np.stack(known, axis=1)


def controlled_mean(values, known):
    """The mean of draws and its error by regression on what is known to have mean 0, shape (draws, …) each."""
    design = np.hstack([np.ones((len(values), 1)), known / known.std(axis=0)])
    flat, inverse = values.reshape(len(values), -1), np.linalg.pinv(design)
    fitted = inverse @ flat
    freedom = len(values) - design.shape[1]
    error = np.sqrt(((flat - design @ fitted) ** 2).sum(0) / freedom * (inverse[0] @ inverse[0]))
    return fitted[0].reshape(values.shape[1:]), error.reshape(values.shape[1:])


def outside(number):
    """The share of random problems whose bracket leaves the mean out by more than two standard errors and 1/min²."""
    rng, missed, worst = np.random.default_rng(8), 0, 0.0
    for _ in range(number):
        x, y, z = 10 ** rng.uniform((-1, -0.5, -0.5), (1, 0.5, 0.5))
        latent_dim, num_samples = round(y * DIM), round(DIM / z)
        y, z = latent_dim / DIM, DIM / num_samples
        unit = 1 / ((1 + np.sqrt(z)) ** 2 * max(1, x * (1 + np.sqrt(y)) ** 2))
        mean, error = controlled_mean(*complex_draws(rng, x, latent_dim, num_samples, unit))
        times = unit * np.array([0.0, *(end for _, end, _ in STEPS)])
        curve = predict(LinearRatios(x, y, z), times, "interior")
        lower, upper = (np.stack([end[risk] for risk in RISKS], axis=-1) for end in (curve.lower, curve.upper))
        start = 1 - 2 * x * y + x**2 * y * (1 + y)
        allowed = 2 * error + start / min(DIM, latent_dim, num_samples) ** 2
        excess = float((np.maximum(lower - mean, mean - upper) - allowed).max()) / start
        missed, worst = missed + (excess > 0), max(worst, excess)
    return {f"outside, of {number}": (0, missed / number), "farthest, as a share of R(0)": (0, worst)}


@claim("linear/interior/bracket", OWN, cost="full")
@verdict("beyond the papers", 0.02, "stated for 98 of 100")
def test_interior_bracket():
    r"""The interior's bracket holds the limit: 200 random problems, \(.1\le p\sigma^2\le10\), H/p and p/N within
    \(\sqrt{10}\) of 1, both risks, times to four natural ones, against complex Gaussian ensembles of \(p=48\) with two
    standard errors and 1/min(p, H, N)² of R(0)."""
    return outside(200)
