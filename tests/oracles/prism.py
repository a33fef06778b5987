"""Slow, direct references for the prism: explicit data, full matrices, SciPy's solver, SciPy's quadrature."""

import itertools

import numpy as np
from scipy.integrate import quad, solve_ivp


def full_matrix_flow(weights, covariance, times, population_covariance=None, decay=0.0, noise=0.0):
    """Both risks along dW/dt = −[(M−I)S + S(M−I)] W − 2ε M W − γ W with p × p matrices, as the paper writes it."""
    p, h = weights.shape
    identity = np.eye(p)
    target = identity if population_covariance is None else population_covariance

    def velocity(_, flat):
        w = flat.reshape(p, h)
        error = w @ w.T - identity
        return (-(error @ covariance + covariance @ error) @ w - 2 * noise * w @ (w.T @ w) - decay * w).ravel()

    solution = solve_ivp(
        velocity, (0, times[-1]), weights.ravel(), t_eval=times, rtol=1e-9, atol=1e-11, method="DOP853"
    )
    train, population = [], []
    for flat in solution.y.T:
        w = flat.reshape(p, h)
        error = w @ w.T - identity
        train.append(np.trace(error @ covariance @ error) / p)
        population.append(np.trace(error @ target @ error) / p)
    return np.array(train), np.array(population)


def many_matrix_flows(weights, covariances, times, population_covariance=None, step=0.02):
    """`full_matrix_flow` of many small problems, by Runge and Kutta's fourth-order steps: (2, draws, times)."""
    p = weights.shape[-2]
    identity = np.eye(p)
    target = identity if population_covariance is None else population_covariance

    def velocity(w):
        weighted = (w @ w.mT - identity) @ covariances
        return -(weighted + weighted.mT) @ w

    found, now = [], 0.0
    for time in times:
        count = int(np.ceil((time - now) / step - 1e-9))
        for _ in range(count):
            h = (time - now) / count
            a = velocity(weights)
            b = velocity(weights + h / 2 * a)
            c = velocity(weights + h / 2 * b)
            weights = weights + h / 6 * (a + 2 * b + 2 * c + velocity(weights + h * c))
        now = time
        error = weights @ weights.mT - identity
        found.append([np.trace(error @ seen @ error, axis1=-2, axis2=-1) / p for seen in (covariances, target)])
    return np.moveaxis(found, 0, -1)


def marchenko_pastur_integral(function, ratio):
    """∫ f dμ_z by adaptive quadrature in the angle, atom included."""
    root = np.sqrt(ratio)

    def integrand(angle):  # from the lower edge, s = |1 − √z e^{i angle}|²
        s = (1 - root) ** 2 + 4 * root * np.sin(angle / 2) ** 2
        return function(s) * 2 * np.sin(angle) ** 2 / (np.pi * s)

    pieces = np.concatenate([[0], np.pi * np.logspace(-10, 0, 24)])
    total = sum(quad(integrand, *ends, epsabs=1e-11, epsrel=1e-11, limit=200)[0] for ends in itertools.pairwise(pieces))
    return total + max(0.0, 1 - 1 / ratio) * function(0.0)


def large_data_risk(times, scale, ratio):
    """∫ ((λ−1)/(1+λ(e^{4t}−1)))² over the law of M(0): scale·ratio times Marchenko–Pastur of ratio 1/ratio."""
    return np.array(
        [
            marchenko_pastur_integral(
                lambda s, t=t: ((scale * ratio * s - 1) / (1 + scale * ratio * s * np.expm1(4 * t))) ** 2, 1 / ratio
            )
            for t in times
        ]
    )


def mean_field_risks(times, strength, ratio):
    def error(s, t):
        return (strength - 1) / (1 + strength * np.expm1(np.minimum(4 * s * t, 700)))

    train = [marchenko_pastur_integral(lambda s, t=t: s * error(s, t) ** 2, ratio) for t in times]
    population = [marchenko_pastur_integral(lambda s, t=t: error(s, t) ** 2, ratio) for t in times]
    return np.array(train), np.array(population)
