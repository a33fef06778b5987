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
import dataclasses

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt

import aetheory as ae
from aetheory.reproduce import limits as experiment
from aetheory.reproduce import limits_figure

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
# carry real numbers. Dotted: Shannon. The right panel follows the steps.

# %%
scale = experiment.Scale(
    dim=60, rates=(0.5, 0.8, 1.0, 1.5, 2.0), num_seeds=2, num_steps=200, num_sample_steps=600, num_samples=2000,
    num_images=None,
)  # fmt: skip
isotropic = experiment.gaussian_panel("isotropic", jnp.ones(60), scale, jax.random.key(0))
figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.8), layout="constrained")
limits_figure.draw_rates(axes[0], isotropic)
axes[0].set_ylabel("risk $R$")
limits_figure.draw_steps(axes[1], isotropic)
for rate in isotropic.rate.values:
    at_rate = isotropic.sel(rate=rate)
    print(
        f"rate {rate:.1f}: limit {float(at_rate.limit):.4f}, descent {float(at_rate.alternating[:, -1].mean()):.4f}"
    )

# %% [markdown]
# At $r\le1$ the limit holds at every finite $d$; at $r>1$ it is approached as $d$ grows.
#
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
    "power-law": ae.GaussianSource.power_law(60, 1.0).variances,
}
few_rates = dataclasses.replace(scale, rates=(0.5, 1.0, 2.0))
results = {
    name: experiment.gaussian_panel(
        name, variances / jnp.mean(variances), few_rates, jax.random.key(1)
    )
    for name, variances in spectra.items()
}
figure, ax = plt.subplots()
limits_figure.draw_spectra(ax, results)
ax.set_ylabel("risk $R$")
allocation = ae.limits.water_filling(jnp.sqrt(spectra["blocks"]), 60).allocation
print(
    f"units a direction at rate 1 in the three blocks: {allocation[0]:.3f}, {allocation[18]:.3f}, {allocation[-1]:.3f}"
)

# %% [markdown]
# The theorem asks for blocks whose size grows with $d$: descent on the blocks ends a little above the limit, by an
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
# Structure that a rotation forgets is lost ([arXiv:2402.05013](https://arxiv.org/abs/2402.05013)). Let each coordinate
# be zero with probability $1-q$. With a linear decoder a random rotation has the Gaussian risk for every $q$. The
# *identity* encoder, which takes the sign of each coordinate, beats it once $\mathbb E|x_1|>\sqrt{2/\pi}$, that is
# above a critical sparsity. And a decoder that denoises each output of the rotation with the posterior mean beats both
# when $q$ is small:

# %%
sparse = experiment.sparse_panel(scale, jax.random.key(3))
figure, ax = plt.subplots(figsize=(7.2, 4.4))
limits_figure.draw_sparse(ax, sparse)
source = ae.SparseSource(100, 0.1, "gaussian")
print(f"Gaussian amplitudes, q = 0.1: rotation {ae.limits.rotation_risk(source):.4f}, "
      f"denoised {ae.limits.denoised_risk(source):.4f}")  # fmt: skip

# %% [markdown]
# Next: 05 Group-sparse recovery and clustering.
