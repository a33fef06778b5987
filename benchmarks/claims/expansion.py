"""Claims about the loss expansion and the geometry of the prism (arXiv:2602.04548)."""

from fractions import Fraction
from itertools import combinations
from math import comb, prod

import numpy as np

from aetheory import LinearProblem, LinearRatios, predict
from aetheory.core.theory import Citation
from aetheory.linear import expansion, geometry
from aetheory.linear.faces import FACES, meet
from aetheory.linear.theories import THEORIES
from benchmarks.claims.definitions import claim, detail, verdict

PRISM, EXPANSION = Citation("golikov2026prism"), "yarotsky2026gradient"
OWN = Citation("golikov2026prism", derived=True)
_RISKS = ("train", "population")


@claim("linear/geometry/pareto-set", PRISM, Citation(EXPANSION, "Theorem 4.1, for the triangle"))
@verdict("holds", 0, "an enumeration; numbers of monomials that only one of the two sets has")
@detail(against="the published set")
def test_geometry_pareto_set():
    r"""The Pareto-optimal monomials of \(\mathbb E R^{(s)}(0)\) are \(x^my^nz^j\) with \(1\le n\le m\le s+2\) and
    \(0\le j\le s\) (train) or \(\max(s-1,0)\) (population): a triangular prism."""

    def published(order, risk):
        top = order if risk == "train" else max(order - 1, 0)
        return {(m, n, j) for m in range(1, order + 3) for n in range(1, m + 1) for j in range(top + 1)}

    return {
        f"order {order}, {risk}": (0, len(published(order, risk) ^ set(geometry.pareto_monomials(order, risk))))
        for order in range(5)
        for risk in _RISKS
    }


@claim("linear/geometry/prism", PRISM, Citation(EXPANSION, "Table 2 (App. E), for the triangle's"))
@verdict("holds", 0, "a hull of integers", published={"faces": 5, "edges": 9, "vertices": 6})
def test_geometry_prism():
    """Their hull has five faces (the regimes), nine edges and six vertices."""
    hull = geometry.prism(2)
    return {"faces": len(hull.faces), "edges": len(hull.edges), "vertices": len(hull.vertices)}


@claim("linear/geometry/explicit", OWN)
@verdict("beyond the papers", 0, "a count of theories", against="the statement")
def test_geometry_explicit():
    """Seven of the nine edges and all six vertices have explicit curves (the two others are small flows)."""
    hull = geometry.prism(2)
    counts = {
        kind: sum(THEORIES[place.label].is_explicit for place in places)
        for kind, places in (("edges", hull.edges), ("vertices", hull.vertices))
    }
    return {"edges": (7, counts["edges"]), "vertices": (6, counts["vertices"])}


@claim("linear/expansion/polynomials", Citation(EXPANSION, "Theorem 3.1"))
@verdict("holds", 1e-12, "rational numbers on both sides", relative="each")
@detail(against=r"moments of chi-squared variables, exact at \(p=1\), and an independent program at \(p=5\)")
def test_expansion_polynomials():
    r"""The coefficients of the formal expansion are polynomials in \(p, H, \sigma^2\) (and \(1/N\)), from Wick's
    formula."""
    found = {}
    for risk, values in (("train", (4.075, -162.585, 19109.31075)), ("population", (4.075, -94.14, 8199.72))):
        for order, value in enumerate(values):
            loss = expansion.coefficients(order, risk).loss
            found[f"p = 5, order {order}, {risk}"] = (value, loss(5, 3, Fraction(3, 10), Fraction(1, 4)))
        for order in (1, 3, 5):
            ours = expansion.coefficients(order, risk).polynomial(1, 3, Fraction(2, 7), Fraction(1, 5))
            found[f"p = 1, order {order}, {risk}"] = (_one_dimension(order, risk), ours)
    return found


def _one_dimension(order, risk):
    """p = 1: Ṁ = −4S(M² − M), and M/σ², NS are independent chi-squared variables of H = 3 and N = 5 degrees."""
    powers = {0: 1, 1: -2, 2: 1}  # (M − 1)²
    for _ in range(order):
        derivative = {}
        for m, value in powers.items():
            derivative[m + 1] = derivative.get(m + 1, 0) - 4 * m * value
            derivative[m] = derivative.get(m, 0) + 4 * m * value
        powers = derivative
    samples = order + (risk == "train")
    data = Fraction(prod(5 + 2 * i for i in range(samples)), 5**samples)
    return data * sum(value * Fraction(2, 7) ** m * prod(3 + 2 * i for i in range(m)) for m, value in powers.items())


@claim("linear/expansion/monte-carlo", Citation(EXPANSION, "Theorem 3.1"))
@verdict("holds", 4, "four standard errors of the draws")
def test_expansion_monte_carlo():
    r"""Risk and velocity at the start are the polynomials' values: means over 200 000 draws, \(p=2, H=4, N=3,
    \sigma^2=.15\), in standard errors."""
    rng = np.random.default_rng(0)
    weights = np.sqrt(0.15) * rng.standard_normal((200_000, 2, 4))
    samples = rng.standard_normal((200_000, 2, 3))
    product, data = weights @ weights.swapaxes(1, 2), samples @ samples.swapaxes(1, 2) / 3
    error = product - np.eye(2)
    half = error @ data @ product
    velocity = -(half + half.swapaxes(1, 2) + data @ error @ product + (data @ error @ product).swapaxes(1, 2))
    found = {}
    for risk, seen in (("train", data), ("population", np.eye(2))):
        values = (
            np.trace(error @ seen @ error, axis1=1, axis2=2) / 2,
            np.trace(2 * velocity @ seen @ error, axis1=1, axis2=2) / 2,
        )
        for order, drawn in enumerate(values):
            exact = float(expansion.coefficients(order, risk).polynomial(2, 4, 0.15, 1 / 3))
            found[f"order {order}, {risk}"] = (0, (drawn.mean() - exact) / drawn.std() * np.sqrt(200_000))
    return found


@claim("linear/expansion/any-covariance", OWN)
@verdict("beyond the papers", 6e-7, "the digits that the program printed", against="an independent program")
def test_expansion_any_covariance():
    r"""The expansion for any covariance, polynomials in tr \(\Sigma^k\) too: orders 0 to 3 at variances (2, 1.2, .9,
    .6, .3), \(H=3\), \(N=4\), \(\sigma^2=.3\)."""
    variances = [Fraction(value, 10) for value in (20, 12, 9, 6, 3)]
    known = {
        "train": (4.075, -182.272275, 25886.534411, -7068919.888586),
        "population": (4.075, -108.4761, 11595.555675, -2565927.237999),
    }
    found = {}
    for risk, values in known.items():
        for order, value in enumerate(values):
            moments = [sum(variance**k for variance in variances) / 5 for k in range(1, order + 2)]
            loss = expansion.coefficients(order, risk, any_covariance=True).loss
            found[f"order {order}, {risk}"] = (value, loss(5, 3, Fraction(3, 10), Fraction(1, 4), *moments))
    return found


@claim("linear/expansion/restriction", PRISM, cost="default", against="the sum of the expansion")
@verdict("holds", 1e-9, "the first term that is left out, and the curves' quadratures", relative="each")
def test_expansion_restriction():
    """Restricted to a face, an edge or a vertex, the planar coefficients are those of its own curve: sums to order 8 at
    an early time, wherever the curve is explicit."""
    problem, time = LinearProblem(10**6, 700_000, 625_000, 0.3e-6), 0.004
    found = {}
    every = [faces for number in (1, 2, 3) for faces in combinations(FACES, number) if meet(faces)]
    for faces in every:
        theory = problem.find_theory(faces)
        if len(faces) > 1 and not theory.is_explicit:
            continue
        for risk in _RISKS:
            orders = [expansion.planar(order, risk).restrict(*faces) for order in range(9)]
            series = expansion.taylor_series(orders, problem)
            expected = sum(float(value) * time**order for order, value in enumerate(series))
            found[f"{theory.name}, {risk}"] = (expected, predict(problem, [time], theory).values[risk][0])
    return found


@claim("linear/expansion/resummation", Citation("baker1996pade", derived=True), cost="default")
@verdict("beyond the papers", 0, "shares of the 300 problems that are missing from what is said")
def test_expansion_resummation():
    r"""Padé sums in \(1-e^{-4t}\) go beyond the radius of convergence: of 300 large-data problems with 11 coefficients,
    \(x\in[.01,5]\), \(y\in[.1,10]\), half stay within .5 % of \(R(0)\) up to \(t=3\), nine in ten within 8 %, all
    within 20 %."""
    rng = np.random.default_rng(0)
    x, y = np.exp(rng.uniform(np.log([0.01, 0.1]), np.log([5, 10]), (300, 2))).T
    times = np.linspace(0, 3, 31)
    orders = [expansion.planar(order).restrict("large-data") for order in range(11)]
    series = expansion.taylor_series(orders, LinearProblem(10**6, np.round(1e6 * y), np.inf, x / 1e6))
    sums = expansion.resum(series, times).values
    exact = np.asarray(predict(LinearRatios(x, y.round(6), 0.0), times, "large-data").train)
    error = np.max(np.abs(sums - exact), axis=1) / exact[:, 0]
    shares = {0.005: 0.5, 0.08: 0.9, 0.2: 1.0}
    return {f"within {size:.1%}": (0, max(0.0, share - np.mean(error <= size))) for size, share in shares.items()}


@claim("linear/expansion/narayana", Citation(EXPANSION, "Section 9, App. J"))
@verdict("holds", 1e-6, "the quadrature of our curve")
@detail(against=r"\(\Psi\) as printed, with the sum over Narayana numbers for \(h\) where it converges")
def test_expansion_narayana():
    r"""The large-data curve is \(1+2x\Psi(-t,y,x)\) with the generating function \(h\) of the Narayana numbers."""

    def generating(a, y):
        """Σ_k a^{k−1} Σ_j N(k, j) y^j, closed, without the 0/0 at a = 0."""
        return 2 * y / (1 - a * (y + 1) + np.sqrt(1 - 2 * a * (y + 1) + a**2 * (y - 1) ** 2))

    found, times = {}, np.array([0.0, 0.05, 0.3, 1.0])
    for x, y in ((0.3, 0.5), (1.0, 0.5), (0.8, 1.5)):
        curve = predict(LinearRatios(x, y, 0.0), times, "large-data").train
        for time, ours in zip(times, curve, strict=True):
            a = x * (1 - np.exp(4 * time))
            slope = np.imag(generating(a + 1e-30j, y)) / 1e-30
            published = 1 + 2 * x * (x * np.exp(8 * time) * slope / 2 - np.exp(4 * time) * generating(a, y).real)
            found[f"x = {x}, y = {y}, t = {time}"] = (published, ours)
    numbers = [
        sum(comb(k, j) * comb(k, j - 1) / k * 0.5**j for j in range(1, k + 1)) * (-0.1) ** (k - 1) for k in range(1, 25)
    ]
    found["h(−.1, .5)"] = (sum(numbers), generating(-0.1, 0.5))
    return found
