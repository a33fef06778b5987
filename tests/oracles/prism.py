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


def narrow_latent_risks(times, scale, latent_ratio, sample_ratio):
    """The two-dimensional equation Ȧ = 2 − a, Ḃ = b by SciPy, with a dense midpoint quadrature in the angle."""
    angle = (np.arange(4000) + 0.5) * np.pi / 4000
    s = 1 + sample_ratio + 2 * np.sqrt(sample_ratio) * np.cos(angle)
    weight = 2 * np.sin(angle) ** 2 / s / 4000
    s, weight = np.append(s, 0), np.append(weight, max(0, 1 - 1 / sample_ratio))

    def moments(A, B):
        growth = scale * weight * np.exp(2 * s * A - 2 * B)
        return growth.sum(), (s * growth).sum()

    def velocity(_, state):
        a, b = moments(*state)
        return [2 - a, b]

    solution = solve_ivp(velocity, (0, times[-1]), [0, 0], t_eval=times, rtol=1e-10, atol=1e-12, method="LSODA")
    a, b = np.array([moments(*state) for state in solution.y.T]).T
    mean = (s * weight).sum()
    return mean + 2 * latent_ratio * (-b + a * b / 2), 1 + 2 * latent_ratio * (-a + a**2 / 2)


def small_data_risks(times, scale, latent_ratio, sample_ratio):
    """The finite system for w = Wᵀv and G = WᵀW on Gauss nodes of the law of M(0), as theory describes it."""
    size = 60
    jacobi = scale * (
        np.diag(np.r_[latent_ratio, np.full(size - 1, 1 + latent_ratio)])
        + np.sqrt(latent_ratio) * (np.eye(size, k=1) + np.eye(size, k=-1))
    )
    nodes, vectors = np.linalg.eigh(jacobi)
    nodes = np.maximum(nodes, 0)
    w0, g0 = np.sqrt(nodes) * np.abs(vectors[0]), np.diag(nodes)
    tau = times * sample_ratio

    def velocity(_, flat):
        w, g = flat[:size], flat[size:-1].reshape(size, size)
        gw = g @ w
        m1, m2, m3 = w @ w, w @ gw, gw @ gw
        dw = -(gw - 2 * w + w * m1)
        outer = np.outer(gw, w)
        dg = -(2 * (outer + outer.T) - 4 * np.outer(w, w))
        return np.r_[dw, dg.ravel(), m3 - 2 * m2 + m1]

    solution = solve_ivp(velocity, (0, tau[-1]), np.r_[w0, g0.ravel(), 0], t_eval=tau, rtol=1e-9, atol=1e-11)
    train, population = [], []
    start = 1 - 2 * scale * latent_ratio + scale**2 * latent_ratio * (1 + latent_ratio)
    for flat in solution.y.T:
        w, g = flat[:size], flat[size:-1].reshape(size, size)
        m1, m2 = w @ w, w @ g @ w
        train.append(m2 - 2 * m1 + 1)
        population.append(start - 8 / sample_ratio * flat[-1])
    return np.array(train), np.array(population)
