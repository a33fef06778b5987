"""Claims about the limits of isotropic inputs, and how simulations approach them."""

from itertools import pairwise

import numpy as np
from scipy.integrate import quad, solve_ivp

from aetheory.core.claim import claim, claims_among
from aetheory.core.predict import predict
from aetheory.core.theory import Citation
from aetheory.linear.problem import LinearRatios
from aetheory.linear.theories import THEORIES

PRISM = Citation("golikov2026prism")
OWN = Citation("golikov2026prism", derived=True)
_RISKS = ("train", "population")
_TIMES = np.array([0.0, 0.05, 0.2, 0.6, 1.5, 3.0])


def marchenko_pastur_integral(function, ratio):
    """∫ f dμ_z by SciPy's adaptive quadrature in the angle, atom included."""

    def integrand(angle):
        s = (1 - np.sqrt(ratio)) ** 2 + 4 * np.sqrt(ratio) * np.sin(angle / 2) ** 2
        return function(s) * 2 * np.sin(angle) ** 2 / (np.pi * s)

    pieces = np.concatenate([[0], np.pi * np.logspace(-10, 0, 24)])
    total = sum(quad(integrand, *ends, epsabs=1e-11, epsrel=1e-11)[0] for ends in pairwise(pieces))
    return total + max(0.0, 1 - 1 / ratio) * function(0.0)


@claim(
    "linear/regimes/large-data",
    r"Large data: \(R=\int((\lambda-1)/(1+\lambda(e^{4t}-1)))^2d\mu\) over the law of \(M(0)\), train and population.",
    *THEORIES["large-data"].citations[:2],
    verdict="holds",
    tolerance=1e-6,
    why="what the theory states of its quadrature",
    against="SciPy's quadrature of the law",
)
def large_data():
    found = {}
    for x, y in ((0.01, 1.0), (0.3, 0.3), (0.3, 2.5), (3.0, 1.0)):
        curve = predict(LinearRatios(x, y, 0.0), _TIMES, "large-data").train
        for time, ours in zip(_TIMES, curve, strict=True):

            def squared(s, x=x, y=y, t=time):
                return ((x * y * s - 1) / (1 + x * y * s * np.expm1(4 * t))) ** 2

            found[f"x = {x}, y = {y}, t = {time}"] = (marchenko_pastur_integral(squared, 1 / y), ours)
    return found


@claim(
    "linear/regimes/large-data-end",
    r"\(R(\infty)=\max(1-H/p,0)\).",
    Citation("yarotsky2026gradient", "Section 9"),
    verdict="holds",
    tolerance=1e-6,
    why="the curve's quadrature, at t = 1000",
    against="the formula",
)
def large_data_end():
    return {
        f"H/p = {y}": (max(1 - y, 0), predict(LinearRatios(0.5, y, 0.0), [1000.0], "large-data").train[0])
        for y in (0.2, 0.5, 2.0)
    }


@claim(
    "linear/regimes/mean-field",
    r"Mean field: \(R_{tr}=\int s\,e^2d\mu_z\) and \(R=\int e^2d\mu_z\), \(e=(c-1)/(1+c(e^{4st}-1))\), over the "
    "Marchenko–Pastur law, up to t = 100.",
    PRISM,
    verdict="holds",
    tolerance=1e-6,
    why="what the theory states of its quadrature",
    against="SciPy's quadrature of the law",
)
def mean_field():
    found, times = {}, (0.0, 0.1, 1.0, 10.0, 100.0)
    for c, z in ((0.01, 1.0), (0.01, 50.0), (0.3, 0.4), (3.0, 2.5)):
        curve = predict(LinearRatios(c, 1.0, z), times, "mean-field")
        for place, time in enumerate(times):

            def squared(s, c=c, t=time):
                return ((c - 1) / (1 + c * np.expm1(np.minimum(4 * s * t, 700)))) ** 2

            train = marchenko_pastur_integral(lambda s, squared=squared: s * squared(s), z)
            found[f"c = {c}, z = {z}, t = {time}, train"] = (train, curve.train[place])
            found[f"c = {c}, z = {z}, t = {time}, population"] = (
                marchenko_pastur_integral(squared, z),
                curve.population[place],
            )
    return found


@claim(
    "linear/regimes/narrow-latent",
    r"Narrow latent: \(\dot A=2-a\), \(\dot B=b\), \((a,b)=x\int(1,s)e^{2sA-2B}d\mu_z\); "
    r"\(R\simeq1+2y(-a+a^2/2)\), \(R_{tr}\simeq\mathrm{tr}S/p+2y(-b+ab/2)\).",
    PRISM,
    verdict="holds",
    tolerance=1e-6,
    why="what the theory states of its quadrature and flow",
    against="SciPy's solver on 4000 midpoints of the law",
    note="The curve fails late, when the columns align with the top of the spectrum.",
)
def narrow_latent():
    found = {}
    for x, y, z in ((0.01, 0.01, 0.4), (0.3, 1.5, 2.5), (3.0, 0.1, 0.4)):
        angle = (np.arange(4000) + 0.5) * np.pi / 4000
        s = 1 + z + 2 * np.sqrt(z) * np.cos(angle)
        weight = np.append(2 * np.sin(angle) ** 2 / s / 4000, max(0, 1 - 1 / z))
        s = np.append(s, 0)

        def moments(state, s=s, weight=weight, x=x):
            growth = x * weight * np.exp(2 * s * state[0] - 2 * state[1])
            return growth.sum(), (s * growth).sum()

        def velocity(_, state, moments=moments):
            a, b = moments(state)
            return [2 - a, b]

        path = solve_ivp(velocity, (0, 3), [0, 0], t_eval=_TIMES, rtol=1e-10, atol=1e-12, method="LSODA").y.T
        curve = predict(LinearRatios(x, y, z), _TIMES, "narrow-latent")
        for place, state in enumerate(path):
            a, b = moments(state)
            label = f"x = {x}, y = {y}, z = {z}, t = {_TIMES[place]}"
            found[f"{label}, train"] = ((s * weight).sum() + 2 * y * (-b + a * b / 2), curve.train[place])
            found[f"{label}, population"] = (1 + 2 * y * (-a + a**2 / 2), curve.population[place])
    return found


@claim(
    "linear/regimes/small-data",
    r"Small data: samples decouple; the moments \(m_k=v^\top M^kv\) of one sample, in time \(tp/N\), and "
    r"\(R(t)-R(0)=-(8N/p)\int(m_3-2m_2+m_1)\).",
    PRISM,
    verdict="holds",
    tolerance=1e-6,
    why="what the theory states of its truncation",
    against="SciPy's solver on 40 nodes of the law of M(0)",
)
def small_data():
    found, size, ratio, times = {}, 40, 100.0, np.array([0.0, 0.2, 0.6, 1.5])
    for x, y in ((0.3, 0.4), (1.0, 2.5)):
        jacobi = x * (
            np.diag(np.r_[y, np.full(size - 1, 1 + y)]) + np.sqrt(y) * (np.eye(size, k=1) + np.eye(size, k=-1))
        )
        nodes, vectors = np.linalg.eigh(jacobi)
        start = np.r_[np.sqrt(np.maximum(nodes, 0)) * np.abs(vectors[0]), np.diag(np.maximum(nodes, 0)).ravel(), 0]

        def velocity(_, flat):
            w, g = flat[:size], flat[size:-1].reshape(size, size)
            gw = g @ w
            outer = np.outer(gw, w)
            moved = -(2 * (outer + outer.T) - 4 * np.outer(w, w))
            return np.r_[-(gw - 2 * w + w * (w @ w)), moved.ravel(), gw @ gw - 2 * w @ gw + w @ w]

        path = solve_ivp(velocity, (0, 1.5), start, t_eval=times, rtol=1e-9, atol=1e-11).y.T
        curve = predict(LinearRatios(x, y, ratio), times / ratio, "small-data")
        initial = 1 - 2 * x * y + x**2 * y * (1 + y)
        for place, flat in enumerate(path):
            w, g = flat[:size], flat[size:-1].reshape(size, size)
            label = f"x = {x}, y = {y}, tp/N = {times[place]}"
            found[f"{label}, train"] = (w @ g @ w - 2 * w @ w + 1, curve.train[place])
            found[f"{label}, population"] = (initial - 8 / ratio * flat[-1], curve.population[place])
    return found


CLAIMS = claims_among(vars())
