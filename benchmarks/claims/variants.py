"""Claims about penalties, separate weights (arXiv:1806.05413) and scaling laws."""

import jax
import jax.numpy as jnp
import numpy as np
from oracles.prism import marchenko_pastur_integral
from oracles.spectra import power_law

from aetheory import LinearProblem, LinearRatios, load_images, predict, simulate
from aetheory.core.theory import Citation
from aetheory.linear.scaling import PowerLaw, fit_exponent, tail_risk, unseen_risk
from benchmarks.claims.definitions import along, claim, detail, verdict
from benchmarks.claims.prism import OWN, SIMULATIONS, beside, deviations

PRETORIUS = Citation("pretorius2018learning", "Fig. 5 (MNIST)")


@claim("linear/penalty/mean-field", OWN)
@verdict("beyond the papers", 1e-6, "the quadrature of the theory", against="SciPy's quadrature of the modes")
def test_penalty_mean_field():
    r"""Weight decay and input noise in mean field, \(\gamma=.7\), \(\varepsilon=.3\), \(c=.3\)."""
    found, decay, noise, times = {}, 0.7, 0.3, (0.1, 0.5, 1.5)
    for ratio in (0.5, 2.0):
        problem = LinearRatios(0.003, 100.0, ratio, weight_decay=decay, input_noise=noise)
        curve = predict(problem, times, "mean-field")
        train, population = [], []
        for time in times:

            def squared(s, time=time):
                rest = (s - decay / 2) / (s + noise)
                return (rest / (1 + (rest / 0.3 - 1) * np.exp(-4 * (s - decay / 2) * time)) - 1) ** 2

            train.append(marchenko_pastur_integral(lambda s, squared=squared: s * squared(s), ratio))
            population.append(marchenko_pastur_integral(squared, ratio))
        found |= beside(f"z = {ratio}, t", times, train, population, curve)
    return found


def penalised(name, dims, scale):
    found, times = {}, np.array([0.0, 0.1, 0.5])
    for label, covariance in (("isotropic", None), ("a = .5", power_law(200, 0.5))):
        problem = LinearProblem(200, *dims, scale / 200, covariance, 0.3, 0.2)
        for where, pair in deviations(problem, times, name, 8).items():
            found[f"{label}, {where}"] = pair
    return found


PENALISED = verdict(
    "beyond the papers", 0.025, "1 % of the theory, and three standard errors of eight draws", against=SIMULATIONS
)


@claim("linear/penalty/simulations-mean-field", OWN, cost="default")
@PENALISED
def test_penalty_simulations_mean_field():
    r"""With \(\gamma=.3\), \(\varepsilon=.2\) simulations follow the mean-field curve: \(p=200\), \(H=40000\),
    \(N=250\)."""
    return penalised("mean-field", (40_000, 250), 0.002)


@claim("linear/penalty/simulations-narrow-latent", OWN, cost="default")
@PENALISED
def test_penalty_simulations_narrow_latent():
    r"""And the narrow-latent curve: \(p=200\), \(H=2\), \(N=400\)."""
    return penalised("narrow-latent", (2, 400), 0.5)


@claim("linear/penalty/simulations-interior", OWN, cost="full")
@PENALISED
def test_penalty_simulations_interior():
    r"""And the interior: \(p=200\), \(H=100\), \(N=250\)."""
    return penalised("interior", (100, 250), 0.5)


STEPS = (0, 100, 300, 500, 1000, 2000, 4900)
CURVES = {
    "plain": ({}, (44.0294, 24.846, 16.752, 13.759, 9.822, 6.616, 3.936)),
    "γ = .5": ({"weight_decay": 0.5}, (44.0304, 25.368, 20.274, 18.916, 17.865, 17.426, 17.317)),
    "ε = .5": ({"input_noise": 0.5}, (44.0294, 25.093, 17.953, 15.718, 13.113, 11.622, 10.869)),
}


def mnist_losses(answer):
    """Published losses with penalties beside ours: half a sum over pixels, of 50 000 images that are not centred."""
    images = jnp.asarray(load_images("mnist", split="train").samples[:50_000], jnp.float32)
    moment = np.asarray(images.T @ images / len(images), np.float32)
    found = {}
    with jax.enable_x64(False):
        for name, (penalty, losses) in CURVES.items():
            problem = LinearProblem(784, 256, np.inf, 1e-8, moment, tied=False, **penalty)
            objective = answer(problem, np.float32(0.01) * np.array(STEPS, np.float32)).objective
            found |= along(name, STEPS, losses, 784 / 2 * objective)
    return found


@claim("linear/untied/mnist-modes", PRETORIUS, cost="default", against="published")
@verdict("holds", 0.01, "another seed was within .4 %; the modes start at their mean", relative="each", axis="step")
def test_untied_mnist_modes():
    r"""The mode dynamics of separate weights predict the stored MNIST losses: \(H=256\), \(\sigma=10^{-4}\), descent of
    step .01, penalties included."""
    return mnist_losses(predict)


@claim("linear/untied/mnist-simulation", PRETORIUS, cost="full")
@verdict("holds", 0.01, "another seed was within .4 %", relative="each", axis="step", against="published")
def test_untied_mnist_simulation():
    """The same by one simulation of the descent."""
    return mnist_losses(lambda problem, times: simulate(problem, times, jax.random.key(0), step_size=0.01))


@claim("linear/untied/power-law", Citation("pretorius2018learning", derived=True), cost="default", axis="flow time")
@verdict("beyond the papers", 0.0125, "stated: 1 % of R(0), with the noise of four draws", against=SIMULATIONS)
def test_untied_power_law():
    r"""Untied modes start at \((H-n+1)\sigma^2/2\): power law \(i^{-3/2}\), \(p=100\), \(H=150\), \(N=\infty\),
    \(H\sigma^2=.01\), four simulations."""
    problem = LinearProblem(100, 150, np.inf, 0.01 / 150, power_law(100, 1.5), tied=False)
    return deviations(problem, np.array([0.0, 0.1, 0.3, 1.0, 3.0, 10.0]), "untied-modes", 4)


@claim("linear/scaling/samples", OWN)
@verdict("beyond the papers", 0.02, "the draws: standard errors of .3 %", relative="each")
@detail(against="the share of the variance outside of the span of N samples, means of 4000/N draws")
def test_scaling_samples():
    r"""The risk over samples, \(t=H=\infty\): \(R(N)\) at \(p=1000\), \(i^{-3/2}\)."""
    variances, rng, found = power_law(1000, 1.5), np.random.default_rng(0), {}
    for size in (10, 30, 100):
        draws = (rng.standard_normal((1000, size)) for _ in range(4000 // size))
        spans = (np.linalg.qr(np.sqrt(variances)[:, None] * draw)[0] for draw in draws)
        unseen = [1 - np.sum(variances[:, None] * span**2) / 1000 for span in spans]
        found[f"N = {size}"] = (np.mean(unseen), unseen_risk(variances, size, 0.0))
    return found


@claim("linear/scaling/latents", OWN, against="the ends of simulations (stored)")
@verdict("beyond the papers", 0.02, "the last directions of the descent are slow", relative="each")
@detail(stored="one `ae.simulate` at each H, .34580 .24427 .16857 .11312")
def test_scaling_latents():
    r"""The risk over latent units, \(t=N=\infty\): \(R(H)\) at \(p=1000\), \(i^{-3/2}\)."""
    ends = {4: 0.34580, 8: 0.24427, 16: 0.16857, 32: 0.11312}
    return {f"H = {size}": (end, tail_risk(power_law(1000, 1.5), size)) for size, end in ends.items()}


@claim("linear/scaling/exponents", OWN)
@verdict("beyond the papers", 0.02, "of the fits over three decades; the laws are asymptotic", against="the law")
def test_scaling_exponents():
    r"""Exponents over three decades, \(i^{-2}\), \(p=10^5\): \((a-1)/a\) in time, \(a-1\) in samples and latent
    units."""
    law, sizes = PowerLaw(2.0, 100_000), np.unique(np.geomspace(5, 5000, 13).round())
    ratios = LinearRatios(1e-5, 1000.0, 0.0, covariance=law.variances)
    curves = {
        "time": (0.5, predict(ratios, sizes / law.top, "mean-field").population),
        "samples": (1.0, jax.jit(jax.vmap(lambda one: unseen_risk(law.variances, one, 0.01)))(sizes)),
        "latent units": (1.0, np.array([tail_risk(law.variances, int(one)) for one in sizes])),
    }
    return {name: (exponent, fit_exponent(sizes, curve).exponent) for name, (exponent, curve) in curves.items()}
