"""Claims about sparse inputs, of arXiv:2402.05013."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from scipy import integrate, stats

from aetheory.core.claim import claim, claims_among
from aetheory.core.theory import Citation
from aetheory.sources.sparse import SparseSource
from aetheory.two_layer import limits
from aetheory.two_layer.activations import as_activation

FOLLOW_UP = Citation("kogler2024compression")


@claim(
    "two-layer/sparse/critical",
    r"Sparse inputs: the identity beats a rotation above \(q_{\rm crit}=(2/\pi)/(\mathbb E|u|)^2\).",
    FOLLOW_UP,
    verdict="holds",
    tolerance=5e-5,
    why="four digits",
    published={"rademacher": 0.6366, "uniform": 0.8488, "gaussian": 1.0},
)
def critical():
    return {
        name: limits.critical_sparsity(SparseSource(50, 0.3, name)) for name in ("rademacher", "uniform", "gaussian")
    }


@claim(
    "two-layer/sparse/rotation",
    "A random rotation has the Gaussian risk at every sparsity: d = 300, q = .1, ±1 amplitudes, 4000 samples.",
    FOLLOW_UP,
    verdict="holds",
    tolerance=0.02,
    why="of order 1/(qd)",
    against="the Gaussian limit",
)
def rotation():
    source = SparseSource(300, 0.1, "rademacher")
    turned = np.linalg.qr(np.random.default_rng(0).normal(size=(300, 300)))[0]
    samples = np.asarray(source.sample(jax.random.key(1), 4000))
    errors = (samples - math.sqrt(2 / math.pi) * np.where(samples @ turned.T >= 0, 1.0, -1.0) @ turned) ** 2
    return {"risk": (limits.gaussian(1.0), errors.mean())}


@claim(
    "two-layer/sparse/identity",
    "The risk of the identity on sparse inputs: q = .3, uniform, r = .5, 20 000 samples, in standard errors.",
    FOLLOW_UP,
    verdict="holds",
    tolerance=4,
    why="four standard errors",
    against="0",
    note="It leaves out that a decoder may remove the mean that the sign of an exact zero has; "
    "`limits.identity_risk` follows the paper and says so.",
)
def identity():
    source = SparseSource(20, 0.3, "uniform")
    samples = np.asarray(source.sample(jax.random.key(0), 20_000))
    guess = np.zeros_like(samples)
    guess[:, :10] = float(source.mean_absolute) * np.where(samples[:, :10] >= 0, 1.0, -1.0)
    errors = ((samples - guess) ** 2).mean(axis=1)
    return {"risk": (0, (errors.mean() - float(limits.identity_risk(source, 0.5))) / errors.std() * math.sqrt(20_000))}


@claim(
    "two-layer/sparse/denoised",
    "Sparse Gaussian inputs at r = 1, q = .1 with a posterior-mean denoiser: by sums over both variables.",
    FOLLOW_UP,
    verdict="holds",
    tolerance=1e-6,
    why="of the sums",
    against="trapezoidal rules",
)
def denoised():
    gain, noise, root = math.sqrt(2 / math.pi), math.sqrt(1 - 2 / math.pi), math.sqrt(0.1)
    points = np.linspace(-9, 9, 4001)
    masses = stats.norm.pdf(points) * (points[1] - points[0])
    outputs = np.linspace(-1, 1, 1501) * (gain / root * 9 + 9 * noise)
    likelihood = stats.norm.pdf(outputs[:, None], gain * points / root, noise) * 0.1
    evidence = likelihood @ masses + 0.9 * stats.norm.pdf(outputs, 0, noise)
    means = likelihood @ (masses * points / root) / np.maximum(evidence, 1e-300)
    expected = 1 - integrate.trapezoid(means**2 * evidence, outputs)
    return {"risk": (expected, limits.denoised_risk(SparseSource(50, 0.1, "gaussian")))}


@claim(
    "two-layer/sparse/denoised-samples",
    "The same risk of a rotation on 4000 samples, d = 500.",
    FOLLOW_UP,
    verdict="holds approximately",
    tolerance=0.02,
    why="of order 1/(qd) above it",
    against="the channel's risk",
)
def denoised_samples():
    source = SparseSource(500, 0.1, "gaussian")
    turned = np.linalg.qr(np.random.default_rng(0).normal(size=(500, 500)))[0]
    samples = source.sample(jax.random.key(1), 4000)
    outputs = limits.denoiser(source)(as_activation("sign")(samples @ turned.T) @ turned)
    return {"risk": (limits.denoised_risk(source), jnp.mean((samples - outputs) ** 2))}


CLAIMS = claims_among(vars())
