"""Limits of two-layer autoencoders by SciPy's optimiser and quadratures."""

import math

import numpy as np
from scipy import integrate, optimize, stats


def constrained_optimum(deviations, num_units, alpha):
    """The gain by SciPy's general constrained optimiser, on the largest min(n, d) deviations."""
    largest = np.sort(deviations)[::-1][:num_units]
    solution = optimize.minimize(
        lambda s: -np.sum(largest**2 * s / (s + alpha)),
        np.full(len(largest), num_units / len(largest)),
        jac=lambda s: -(largest**2) * alpha / (s + alpha) ** 2,
        bounds=[(0, None)] * len(largest),
        constraints={"type": "eq", "fun": lambda s: s.sum() - num_units, "jac": lambda s: np.ones_like(s)},
        method="SLSQP",
        options={"ftol": 1e-15, "maxiter": 1000},
    )
    return (np.sum(deviations**2) + solution.fun) / len(deviations), solution.x, largest


def denoised_risk(density, sparsity, rate, reach):
    """The risk of the posterior mean by trapezoidal rules in u and z; `density` is None for ±1."""
    gain = rate * math.sqrt(2 / math.pi)
    second = rate if rate <= 1 else 2 / math.pi * (rate**2 + (math.pi / 2 - 1) * rate)
    noise, root = math.sqrt(second - gain**2), math.sqrt(sparsity)
    if density is None:
        points, masses = np.array([-1.0, 1.0]), np.array([0.5, 0.5])
    else:
        points = np.linspace(-reach, reach, 4001)
        masses = density(points) * (points[1] - points[0])
        masses[[0, -1]] /= 2
    top = gain / root * reach + 9 * noise
    outputs = np.linspace(-top, top, 1501)
    likelihood = stats.norm.pdf(outputs[:, None], gain * points / root, noise) * sparsity
    evidence = likelihood @ masses + (1 - sparsity) * stats.norm.pdf(outputs, 0, noise)
    means = likelihood @ (masses * points / root) / np.maximum(evidence, 1e-300)
    return 1 - integrate.trapezoid(means**2 * evidence, outputs)
