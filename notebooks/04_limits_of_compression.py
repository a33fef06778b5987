# %% [markdown]
# # 04 Limits of compression
#
# A *two-layer autoencoder* $\hat x = A\,\sigma(Bx)$ with $n$ units compresses $d$ numbers into $n$ values of an
# activation $\sigma$; with the sign, into $n$ bits. Let $r=n/d$ be the rate and $R=\frac1d\mathbb E\|x-\hat x\|^2$ the
# risk. How small can $R$ be, and does gradient training get there?
#
# For Gaussian inputs both questions have exact answers
# ([arXiv:2212.13468](https://arxiv.org/abs/2212.13468)). With rows of $B$ of unit norm, $K=BB^\top$ and the kernel
# $f(\rho)=\mathbb E\,\sigma(g)\sigma(g')$ applied entry by entry, the risk needs no sampling,
#
# $$R(A,B) = 1-\frac{2c_1}{d}\operatorname{tr}(AB)+\frac1d\operatorname{tr}\big(A f(K)A^\top\big),\qquad
#   c_1=\mathbb E\,g\,\sigma(g) ,$$
#
# and as $d\to\infty$ its least value over all $A$ and $B$ is, with $\alpha=f(1)/c_1^2-1$,
#
# $$R^*(r) = 1-\frac{r}{1+\alpha}\quad(r\le1),\qquad R^*(r)=1-\frac{r}{r+\alpha}\quad(r>1) .$$

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import aetheory as ae
from aetheory import plotting

jax.config.update("jax_enable_x64", True)
plt.rcParams.update({"figure.figsize": (6.4, 3.8), "figure.dpi": 80})

# %%
print("activation      α      R*(0.5)  R*(1)   R*(2)")
for name in ("sign", "hard_tanh", "tanh", "erf", "sine"):
    alpha = ae.two_layer.as_activation(name).alpha
    half, one, two = ae.limits.gaussian(jnp.array([0.5, 1.0, 2.0]), name)
    print(f"{name:<11} {alpha:8.4f}   {half:.4f}   {one:.4f}  {two:.4f}")

# %% [markdown]
# For the sign $\alpha=\pi/2-1$, so that $R^*(1)=1-2/\pi\approx0.363$. Shannon's bound for any code of one bit a
# coordinate is $2^{-2}=0.25$: a linear decoder after independent signs cannot reach it.

# %%
print(ae.limits.gaussian(1.0), ae.limits.rate_distortion(jnp.ones(1), 1.0))

# %% [markdown]
# ## Gradient methods reach the limit
#
# *Alternating descent* replaces the decoder by the best one for the current encoder, makes one gradient step of the
# encoder, and normalises its rows. From random rows it ends at the limit, at every rate. The left panel draws it as
# dots on the limit (line), with stochastic gradient descent on samples (crosses) and a constructed minimiser
# (diamonds: orthonormal rows for $r\le1$, an incoherent tight frame above). Dashed: a linear autoencoder, whose units
# carry real numbers. Dotted: Shannon. The right panel follows the steps (dots): `ae.predict` of the same problem is the
# whole curve (lines), from a map of the spectrum of $K$ that is derived below.

# %%
dim, rates, steps = 60, (0.5, 0.8, 1.0, 1.5, 2.0), np.arange(201)
fine, keys = np.linspace(0.05, 3, 60), jax.random.split(jax.random.key(0), 3)


def descent(rate, variances):
    """Alternating descent from two random starts."""
    return ae.simulate(alternating(rate, variances), steps, keys[0], num_repeats=2)


def alternating(rate, variances):
    return ae.TwoLayerProblem(dim, round(rate * dim), "sign", "alternating", variances)


def draw_limits(ax, variances, colour):
    """The limit, a linear autoencoder (dashed) and Shannon's bound (dotted) over the rate."""
    limit = ae.limits.water_filling(jnp.sqrt(variances), dim * fine).risk
    ax.plot(fine, limit, color=colour)
    ax.plot(
        fine,
        ae.limits.principal_components(variances, dim * fine),
        "--",
        color=colour,
        alpha=0.5,
    )
    ax.plot(fine, ae.limits.rate_distortion(variances, fine), ":", color=colour, alpha=0.5)
    ax.set(xlabel="rate $r = n/d$", ylabel="risk $R$", ylim=(0, 1))


isotropic = jnp.ones(dim)
figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.8), layout="constrained")
draw_limits(left, isotropic, "black")
for colour, rate in zip(plotting.COLOURS, rates, strict=False):
    units, run = round(rate * dim), descent(rate, isotropic)
    limit = ae.limits.gaussian(rate)
    by_samples = ae.simulate(ae.TwoLayerProblem(dim, units, "sign", "sgd"), [600], keys[1])
    minimiser = ae.population_risk(ae.limits.minimiser(keys[2], isotropic, units))
    left.plot(rate, minimiser, "D", color=colour, markersize=9, markerfacecolor="none")
    left.plot(rate, by_samples.risk[-1], "x", color=colour, markersize=8)
    left.plot(rate, run.risk[-1], "o", color=colour, markersize=4)
    theory, shown = (
        ae.predict(alternating(rate, isotropic), steps),
        (1, 2, 3, 5, 8, 13, 21, 34, 55, 100, 200),
    )
    right.plot(steps, theory.risk, color=colour, label=f"$r={rate}$")
    right.plot(shown, run.risk[jnp.array(shown)], "o", color=colour, markersize=4)
    right.axhline(limit, color=colour, linewidth=0.8, linestyle="--")
    print(f"rate {rate:.1f}: limit {limit:.4f}, descent {run.risk[-1]:.4f}")
right.set(xlim=(1, 200), xscale="log", xlabel="step")
_ = right.legend(frameon=False, fontsize=7)

# %% [markdown]
# At $r\le1$ the limit holds at every finite $d$; at $r>1$ it is approached as $d$ grows.
#
# ## How training gets there
#
# In high dimension $f(K)\approx c_1^2(K+\alpha I)$: every gradient is $B$ times a function of $K$, and only the eigenvalues
# $\lambda$ of $K$ change. They start from the Marchenko–Pastur law, and rows of unit length keep
# $\langle\lambda\rangle=1$. With tied weights, for instance, $m_2=\langle\lambda^2\rangle$ and
#
# $$R=1-\frac r{m_2+\alpha},\qquad \dot\lambda=-\frac{4}{(m_2+\alpha)^2}\,\lambda(\lambda-m_2) .$$
#
# This is derived for the library and not a theorem. Dashed is the limit of random rows; the line starts from the
# singular values of the simulated encoder itself, `start=encoder`, and passes through all dots:

# %%
start = ae.two_layer.random_encoder(keys[1], dim, dim)
times = np.array([0.1, 0.2, 0.4, 0.8, 1.5, 3.0, 6.0, 12.0])
line = np.geomspace(0.1, 12, 60)
figure, ax = plt.subplots()
for colour, method in zip(plotting.COLOURS, ("tied", "joint"), strict=False):
    problem = ae.TwoLayerProblem(dim, dim, "sign", method, start=start)
    run = ae.simulate(problem, times, keys[0])
    ax.plot(line, ae.predict(problem, line).risk, color=colour, label=method)
    limit = ae.predict(ae.TwoLayerProblem(dim, dim, "sign", method), line)
    ax.plot(line, limit.risk, "--", color=colour, linewidth=0.8)
    ax.plot(times, run.risk, "o", color=colour, markersize=4)
    off = float(jnp.max(jnp.abs(run.risk - ae.predict(problem, times).risk)))
    print(f"{method}: simulation off its encoder's own prediction by at most {off:.4f}")
ax.set(xscale="log", xlabel="flow time", ylabel="risk $R$")
_ = ax.legend(frameon=False)

# %% [markdown]
# ## Water-filling
#
# If the inputs have covariance $\Sigma$ with deviations $D_1,\dots,D_d$, units are worth more in directions of large
# variance. Let $s_j$ be the number of units spent on direction $j$. The least risk is
#
# $$R^* = \frac1d\Big[\sum_j D_j^2-\max_{\sum_j s_j=n,\;s_j\ge0}\ \sum_j D_j^2\,\frac{s_j}{s_j+\alpha}\Big],\qquad
#   s_j=\Big(\sqrt{\alpha/\lambda}\,D_j-\alpha\Big)_{+} .$$
#
# It is a water-filling, but on *standard deviations*, where Shannon's is on variances. Two spectra: three blocks of
# equal variance, and a power law.

# %%
spectra = {
    "blocks": jnp.concatenate([jnp.full(18, 2.5), jnp.full(18, 0.7), jnp.full(24, 0.1)]),
    "power law": ae.GaussianSource.power_law(dim, 1.0).variances,
}
figure, ax = plt.subplots()
for colour, (name, variances) in zip(plotting.COLOURS, spectra.items(), strict=False):
    variances /= jnp.mean(variances)
    draw_limits(ax, variances, colour)
    ends = [descent(rate, variances).risk[-1] for rate in (0.5, 1.0, 2.0)]
    ax.plot((0.5, 1.0, 2.0), ends, "o", color=colour, label=name)
ax.legend(frameon=False)
allocation = ae.limits.water_filling(jnp.sqrt(spectra["blocks"]), 60).allocation
print(
    f"units a direction at rate 1 in the three blocks: {allocation[0]:.3f}, {allocation[18]:.3f}, {allocation[-1]:.3f}"
)

# %% [markdown]
# The theorem assumes blocks whose size grows with $d$: descent on the blocks ends a little above the limit, by an
# amount that falls with $d$, and never below it.
#
# ## Real images
#
# Pixels are not Gaussian, but a random rotation of whitened images nearly is. Whitened digits through a rotation come
# close to the isotropic curve:

# %%
images = ae.load_images("digits")
whitened, _ = ae.sources.whiten(images.samples, smallest_variance=1e-3)
dim = whitened.shape[1]
for rate in (0.25, 0.5, 1.0):
    rotation = ae.limits.minimiser(jax.random.key(2), jnp.ones(dim), round(rate * dim))
    risk = ae.two_layer.sampled_risk(rotation, whitened)
    print(
        f"rate {round(rate * dim) / dim:.3f}: digits {risk.mean:.4f} ± {risk.standard_error:.4f}, "
        f"limit {ae.limits.gaussian(round(rate * dim) / dim):.4f}"
    )

# %% [markdown]
# ## Sparse inputs
#
# A random rotation destroys sparsity ([arXiv:2402.05013](https://arxiv.org/abs/2402.05013)). Let each coordinate
# be zero with probability $1-q$. With a linear decoder a random rotation has the Gaussian risk for every $q$. The
# *identity* encoder, which takes the sign of each coordinate, beats it once $\mathbb E|x_1|>\sqrt{2/\pi}$, that is
# above a critical sparsity. And a decoder that denoises each output of the rotation with the posterior mean beats both
# when $q$ is small:

# %%
rotation = ae.limits.minimiser(jax.random.key(3), jnp.ones(240), 240)
figure, ax = plt.subplots(figsize=(7.2, 4.4))
for colour, amplitudes in zip(plotting.COLOURS, ("rademacher", "gaussian"), strict=False):
    sparsities = np.linspace(0.05, 1, 20)
    sources = [ae.SparseSource(240, q, amplitudes) for q in sparsities]
    identity, denoised, bound = (
        [risk(source) for source in sources]
        for risk in (ae.limits.identity_risk, ae.limits.denoised_risk, ae.limits.rotation_risk)
    )
    ax.plot(sparsities, identity, "--", color=colour, label=f"{amplitudes}, identity")
    ax.plot(sparsities, denoised, color=colour, label=f"{amplitudes}, denoised")
    ax.plot(sparsities, bound, color="black")
    for source in sources[1::4]:
        samples = source.sample(jax.random.key(4), 2000)
        outputs = rotation.activation(samples @ rotation.encoder.T) @ rotation.encoder
        risk = jnp.mean((samples - ae.limits.denoiser(source)(outputs)) ** 2)
        ax.plot(source.sparsity, risk, "^", color=colour, markerfacecolor="none")
critical = ae.limits.critical_sparsity(ae.SparseSource(240, 0.5, "rademacher"))
ax.axvline(critical, color="0.5", linestyle=":")
ax.annotate("rotation", (0.12, 0.38))
ax.set(xlabel="sparsity $q$", ylabel="risk", ylim=(0, 1.3))
ax.legend(frameon=False, fontsize=8, ncols=2)
source = ae.SparseSource(100, 0.1, "gaussian")
print(f"Gaussian amplitudes, q = 0.1: rotation {ae.limits.rotation_risk(source):.4f}, "
      f"denoised {ae.limits.denoised_risk(source):.4f}")  # fmt: skip

# %% [markdown]
# Next: 05 Group-sparse recovery and clustering.
