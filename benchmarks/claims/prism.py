"""Claims about isotropic inputs: the limits of arXiv:2606.05335, and how simulations approach them."""

import jax
import numpy as np
from oracles.prism import large_data_risk, mean_field_risks
from scipy.integrate import solve_ivp
from scipy.stats import ks_2samp

from aetheory import LinearProblem, LinearRatios, predict, simulate
from aetheory.core.theory import Citation
from aetheory.linear.theories import THEORIES
from benchmarks.claims.definitions import along, claim, detail, verdict

SIMULATIONS = "the mean of simulations"
PRISM = Citation("golikov2026prism")
OWN = Citation("golikov2026prism", derived=True)
TIMES = np.array([0.0, 0.05, 0.2, 0.6, 1.5, 3.0])
ONE_PER_CENT = "1 % of the initial risk at this size, of order 1/p, with the noise of the draws"


def beside(when, times, train, population, curve):
    """Both expected risks at these times, and the curve's."""
    return {
        f"{when} = {time}, {risk}": pair
        for risk, expected in (("train", train), ("population", population))
        for time, *pair in zip(times, expected, curve.values[risk], strict=True)
    }


@claim("linear/regimes/large-data", *THEORIES["large-data"].citations[:2])
@verdict("holds", 1e-6, "what the theory states of its quadrature", against="SciPy's quadrature of the law")
def test_regimes_large_data():
    r"""Large data: \(R=\int((\lambda-1)/(1+\lambda(e^{4t}-1)))^2d\mu\) over the law of \(M(0)\), train and
    population."""
    found = {}
    for x, y in ((0.01, 1.0), (0.3, 0.3), (0.3, 2.5), (3.0, 1.0)):
        curve = predict(LinearRatios(x, y, 0.0), TIMES, "large-data").train
        for time, expected, ours in zip(TIMES, large_data_risk(TIMES, x, y), curve, strict=True):
            found[f"x = {x}, y = {y}, t = {time}"] = (expected, ours)
    return found


@claim("linear/regimes/large-data-end", Citation("yarotsky2026gradient", "Section 9"))
@verdict("holds", 1e-6, "the curve's quadrature, at t = 1000", against="the formula")
def test_regimes_large_data_end():
    r"""\(R(\infty)=\max(1-H/p,0)\)."""
    return {
        f"H/p = {y}": (max(1 - y, 0), predict(LinearRatios(0.5, y, 0.0), [1000.0], "large-data").train[0])
        for y in (0.2, 0.5, 2.0)
    }


@claim("linear/regimes/mean-field", PRISM)
@verdict("holds", 1e-6, "what the theory states of its quadrature", against="SciPy's quadrature of the law")
def test_regimes_mean_field():
    r"""Mean field: \(R_{tr}=\int s\,e^2d\mu_z\) and \(R=\int e^2d\mu_z\), \(e=(c-1)/(1+c(e^{4st}-1))\), over the
    Marchenko–Pastur law, up to t = 100."""
    found, times = {}, (0.0, 0.1, 1.0, 10.0, 100.0)
    for c, z in ((0.01, 1.0), (0.01, 50.0), (0.3, 0.4), (3.0, 2.5)):
        curve = predict(LinearRatios(c, 1.0, z), times, "mean-field")
        found |= beside(f"c = {c}, z = {z}, t", times, *mean_field_risks(times, c, z), curve)
    return found


@claim("linear/regimes/narrow-latent", PRISM, against="SciPy's solver on 4000 midpoints of the law")
@verdict("holds", 1e-6, "what the theory states of its quadrature and flow")
@detail(note="The curve fails late, when the columns align with the top of the spectrum.")
def test_regimes_narrow_latent():
    r"""Narrow latent: \(\dot A=2-a\), \(\dot B=b\), \((a,b)=x\int(1,s)e^{2sA-2B}d\mu_z\); \(R\simeq1+2y(-a+a^2/2)\),
    \(R_{tr}\simeq\mathrm{tr}S/p+2y(-b+ab/2)\)."""
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

        path = solve_ivp(velocity, (0, 3), [0, 0], t_eval=TIMES, rtol=1e-10, atol=1e-12, method="LSODA").y.T
        curve = predict(LinearRatios(x, y, z), TIMES, "narrow-latent", throw=False)  # negative late, at large y
        a, b = np.transpose([moments(state) for state in path])
        train, population = (s * weight).sum() + 2 * y * (-b + a * b / 2), 1 + 2 * y * (-a + a**2 / 2)
        found |= beside(f"x = {x}, y = {y}, z = {z}, t", TIMES, train, population, curve)
    return found


@claim("linear/regimes/small-data", PRISM, against="SciPy's solver on 40 nodes of the law of M(0)")
@verdict("holds", 1e-6, "what the theory states of its truncation")
def test_regimes_small_data():
    r"""Small data: samples decouple; the moments \(m_k=v^\top M^kv\) of one sample, in time \(tp/N\), and
    \(R(t)-R(0)=-(8N/p)\int(m_3-2m_2+m_1)\)."""
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
        train = [
            w @ g.reshape(size, size) @ w - 2 * w @ w + 1 for w, g in zip(path[:, :size], path[:, size:-1], strict=True)
        ]
        found |= beside(f"x = {x}, y = {y}, tp/N", times, train, initial - 8 / ratio * path[:, -1], curve)
    return found


def deviations(problem, times, theory, repeats, data=None):
    """Theory beside the mean of simulations, both risks at all times, as shares of the initial risk."""
    given = data or {}
    run = simulate(problem, times, jax.random.key(0), num_repeats=repeats, **given)
    limit = predict(problem, times, theory, **given)
    found = {}
    for risk in ("train", "population"):
        start = run.values[risk][0]
        found |= along(risk, times, run.values[risk] / start, limit.values[risk] / start)
    return found


@claim("linear/simulations/large-data", PRISM, cost="full")
@verdict("holds", 0.01, ONE_PER_CENT, against=SIMULATIONS, axis="flow time")
def test_simulations_large_data():
    r"""Simulations approach the large-data curve: \(p=1000\), \(H/p=.5\), \(N=p^2\), \(p\sigma^2=.5\), 8 draws."""
    problem = LinearProblem(1000, 500, 10**6, 0.5 / 1000)
    return deviations(problem, np.r_[0, np.geomspace(1e-3, 2, 12)], "large-data", 8)


@claim("linear/simulations/large-data-without-samples", PRISM)
@verdict("holds", 0.003, "of order 1/p, with the noise of the draws", against=SIMULATIONS, axis="flow time")
def test_simulations_large_data_without_samples():
    r"""The same at \(p=1000\), \(N=\infty\), 16 draws."""
    problem = LinearProblem(1000, 500, np.inf, 0.5 / 1000)
    return deviations(problem, np.r_[0, np.geomspace(1e-3, 2, 12)], "large-data", 16)


@claim("linear/simulations/mean-field", PRISM, cost="default")
@verdict("holds", 0.01, ONE_PER_CENT, against=SIMULATIONS, axis="flow time")
def test_simulations_mean_field():
    r"""Simulations approach the mean-field curve: \(p=200\), \(H=4p^2\), \(N=p\), \(H\sigma^2=.5\), 8 draws."""
    problem = LinearProblem(200, 160_000, 200, 0.5 / 160_000)
    return deviations(problem, np.r_[0, np.geomspace(1e-3, 3, 12)], "mean-field", 8)


@claim("linear/simulations/narrow-latent", PRISM, cost="default")
@verdict("holds", 0.01, ONE_PER_CENT, against=SIMULATIONS, axis="flow time")
def test_simulations_narrow_latent():
    r"""Simulations approach the narrow-latent curve: \(p=1000\), \(H=8\), \(N=2p\), \(p\sigma^2=.5\), 8 draws."""
    problem = LinearProblem(1000, 8, 2000, 0.5 / 1000)
    return deviations(problem, np.r_[0, np.geomspace(1e-2, 1, 12)], "narrow-latent", 8)


@claim("linear/simulations/small-data", PRISM, cost="full")
@verdict("holds", 0.01, ONE_PER_CENT, against=SIMULATIONS, axis="flow time")
def test_simulations_small_data():
    r"""Simulations approach the small-data curve: \(p=1000\), \(H=500\), \(N=4\), \(p\sigma^2=.5\), 64 draws."""
    problem = LinearProblem(1000, 500, 4, 0.5 / 1000)
    return deviations(problem, np.r_[0, np.geomspace(1e-3, 2, 12)] * 4 / 1000, "small-data", 64)


def simulated_free(ratios):
    latent_ratio, sample_ratio = ratios
    problem = LinearProblem(300, round(300 * latent_ratio), round(300 / sample_ratio), 1e4 / 300)
    return deviations(problem, np.r_[0, np.geomspace(0.02, 1.0, 12)] / 1e4, "free", 8)


@claim("linear/simulations/free", OWN, cost="default")
@verdict("beyond the papers", 0.01, "what the theory states of its error", against=SIMULATIONS, axis="flow time")
def test_simulations_free():
    r"""The free face can be computed, by balanced rotations: \(p=300\), \(p\sigma^2=10^4\), up
    to \(tp\sigma^2=1\), \(H/p=.7\), \(p/N=.8\), 8 draws."""
    return simulated_free((0.7, 0.8))


@claim("linear/simulations/free-settings", OWN, cost="full")
@verdict("beyond the papers", 0.01, "what the theory states of its error", against=SIMULATIONS)
def test_simulations_free_settings():
    """The same at three other settings: H/p, p/N = (1.6, 1.2), (.5, 2), (2, .5)."""
    settings = ((1.6, 1.2), (0.5, 2.0), (2.0, 0.5))
    return {f"{one}, {label}": pair for one in settings for label, pair in simulated_free(one).items()}


@claim("linear/interior/independent", OWN, cost="default")
@verdict("beyond the papers", 0.005, "standard errors below .001 there, and our bracket")
@detail(against="24 complex 128 × 128 pairs with the limiting spectra, integrated apart from the library")
def test_interior_independent():
    r"""The interior at \(x=1\), \(y=.7\), \(z=.8\), \(t=1\), as shares of the initial risk."""
    curve = predict(LinearRatios(1.0, 0.7, 0.8), [0.0, 1.0], "interior")
    return {"train": (0.1523, curve.train[1] / 0.79), "population": (0.4105, curve.population[1] / 0.79)}


@claim("linear/finite-size/large-data", Citation("bai2004clt", derived=True), cost="default")
@verdict("beyond the papers", 1.2e-3, "three standard errors (.0007) and terms beyond (5e-4 at p = 20)")
@detail(against="the mean of 4000 draws")
def test_finite_size_large_data():
    """The first correction in 1/p of the large-data curve: means of 4000 draws."""
    found = {}
    for p, latent, x, time in ((20, 10, 0.3, 0.3), (20, 30, 0.8, 0.8), (50, 50, 0.5, 0.5)):
        problem = LinearProblem(p, latent, np.inf, x / p)
        drawn = simulate(problem, [time], jax.random.key(5), num_repeats=4000).population[0]
        ours = predict(problem, [time], "large-data", finite_size=True).population[0]
        found[f"p = {p}, H = {latent}, x = {x}, t = {time}"] = (drawn, ours)
    return found


@claim("linear/finite-size/limit", PRISM)
@verdict("holds approximately", 0.01, "of order 1/p", against="the mean of 4000 draws")
def test_finite_size_limit():
    """Without it the limit itself is visibly off at p = 20."""
    problem = LinearProblem(20, 10, np.inf, 0.3 / 20)
    drawn = simulate(problem, [0.3], jax.random.key(5), num_repeats=4000).population[0]
    return {"p = 20, H = 10, x = .3, t = .3": (drawn, predict(problem, [0.3], "large-data").population[0])}


@claim("linear/simulations/without-a-flow", OWN)
@verdict("beyond the papers", 1.628 * (2 / 400) ** 0.5, "the 1 % level")
def test_simulations_without_a_flow():
    r"""Without samples (\(N=\infty\), \(\Sigma=I\)) a simulation needs no flow: its draws have the law of explicit
    ones, \(p=40\), \(H=20\), \(x=.5\), \(t=.3\); the Kolmogorov–Smirnov statistic of 400 and 400 draws."""
    problem, rng = LinearProblem(40, 20, np.inf, 0.5 / 40), np.random.default_rng(0)
    keys = jax.random.split(jax.random.key(0), 400)
    drawn = jax.vmap(lambda key: simulate(problem, [0.3], key, throw=False).train[0])(keys)
    weights = np.sqrt(0.5 / 40) * rng.standard_normal((400, 40, 20))
    values = np.linalg.eigvalsh(weights @ weights.swapaxes(1, 2))
    explicit = np.mean(((values - 1) / (1 + values * np.expm1(1.2))) ** 2, axis=1)
    return {"statistic": (0, ks_2samp(np.asarray(drawn), explicit).statistic)}


@claim("linear/simulations/stiff", Citation("sommeijer1998rkc", derived=True), cost="default")
@verdict("beyond the papers", 4, "four standard errors")
def test_simulations_stiff():
    r"""Flows with \(N\ll p\) are stiff; a stabilised method follows them: \(p=2000\), \(H=3\), \(N=5\), up to
    \(t\,s_{\max}\approx5000\), means of 100 draws each, in standard errors of their difference."""
    times, rng, drawn = np.array([0.0, 1e-3, 1e-2, 0.1, 1.0, 10.0]), np.random.default_rng(0), []
    for _ in range(100):
        samples, weights = rng.standard_normal((2000, 5)), np.sqrt(0.5 / 2000) * rng.standard_normal((2000, 3))
        span, factor = np.linalg.qr(samples)
        seen = span.T @ weights
        # what lies outside the span of the data enters through its Gram matrix
        start = np.concatenate([seen, np.linalg.qr(weights - span @ seen)[1]])
        covariance = np.zeros((8, 8))
        covariance[:5, :5] = factor @ factor.T / 5
        path = solve_ivp(_descend, (0, 10), start.ravel(), "LSODA", times, args=(covariance,), rtol=1e-7, atol=1e-9).y.T
        errors = [flat.reshape(8, 3) @ flat.reshape(8, 3).T - np.eye(8) for flat in path]
        drawn.append([np.trace(error @ covariance @ error) / 2000 for error in errors])
    run = simulate(LinearProblem(2000, 3, 5, 0.5 / 2000), times, jax.random.key(0), num_repeats=100)
    spread = np.sqrt(np.var(drawn, axis=0) / 100 + np.asarray(run.standard_error.train) ** 2) + 1e-9
    apart = (np.asarray(run.train) - np.mean(drawn, axis=0)) / spread
    return {f"t = {time:g}": (0, value) for time, value in zip(times, apart, strict=True)}


def _descend(_, flat, covariance):
    """Minus the gradient in W, for S that are not zero in its first directions only."""
    weights = flat.reshape(len(covariance), -1)
    error = weights @ weights.T - np.eye(len(covariance))
    return -((error @ covariance + covariance @ error) @ weights).ravel()
