# %% [markdown]
# # 01 First curves
#
# A *weight-tied linear autoencoder* maps an input $x\in\mathbb R^p$ to $\hat x = W W^\top x$ with weights
# $W\in\mathbb R^{p\times H}$. It is the simplest model that learns a representation by gradient training, and its
# training is a nonlinear matrix equation. Three numbers set its size: the input dimension $p$, the number of hidden
# units $H$ and the number of training samples $N$. A fourth, $\sigma^2$, is the variance of each weight at the start.
#
# Training follows the gradient flow $\dot W = -\partial L/\partial W$ of $L=\tfrac12\,\mathbb E\|x-\hat x\|^2$. With
# $M = WW^\top$ and the sample covariance $S = XX^\top/N$,
#
# $$\dot W = -\big[(M-I)S + S(M-I)\big]W .$$
#
# Two errors are followed, both divided by $p$:
#
# $$R_{\rm train} = \tfrac1p\operatorname{tr}\big[(M-I)S(M-I)\big],\qquad
#   R_{\rm population} = \tfrac1p\,\|M-I\|_F^2 .$$
#
# This notebook computes such curves twice: by *simulation*, from random weights and samples, and by *theory*, in the
# limit of large dimensions. (E. Golikov, Y. Gusev, D. Yarotsky,
# [arXiv:2606.05335](https://arxiv.org/abs/2606.05335).)

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt

import aetheory as ae
from aetheory import plotting

jax.config.update("jax_enable_x64", True)
plt.rcParams.update({"figure.figsize": (6.4, 3.8), "figure.dpi": 80})

# %% [markdown]
# ## Simulation
#
# A problem is its four numbers. `simulate` draws weights and samples, solves the flow, and averages over repeats; the
# result is a `Curve` with the times, both risks, and their standard deviation over the draws.

# %%
problem = ae.LinearProblem(
    input_dim=200, latent_dim=100, num_samples=40_000, init_variance=1 / 200
)
times = jnp.linspace(0, 1, 41)
simulation = ae.simulate(problem, times, jax.random.key(0), num_repeats=4)
simulation

# %% [markdown]
# Nothing of size $p\times N$ was formed: only the spectrum of $S$ matters, and it can be drawn directly. The cost
# depends on the smaller dimensions alone, so that a million inputs, fifty units and a hundred samples are a small
# problem:

# %%
wide = ae.LinearProblem(input_dim=1_000_000, latent_dim=50, num_samples=100, init_variance=1e-6)
ae.simulate(wide, jnp.linspace(0, 6e-4, 13), jax.random.key(1))

# %% [markdown]
# ## Theory
#
# With many samples per dimension, $N/p\to\infty$, the covariance is $I$ and each eigenvalue $\lambda$ of $M$ moves by
# itself, $\dot\lambda = -4\lambda(\lambda-1)$. At the start the eigenvalues follow the free Poisson law $\mu$ of
# rate $y=H/p$ and jump $x=p\sigma^2$, so that
#
# $$R(t) = \int\left(\frac{\lambda-1}{1+\lambda(e^{4t}-1)}\right)^{2} d\mu(\lambda) .$$
#
# Here are the eigenvalues of $M$ for one draw of the weights beside that law, which has an atom at 0 for the directions
# without a unit:

# %%
weights = ae.LinearAutoencoder.initialise(jax.random.key(4), 200, 100, 1 / 200).weights
law = ae.spectra.free_poisson(rate=0.5, jump=1.0)
_ = plotting.plot_spectrum(
    law, eigenvalues=jnp.clip(jnp.linalg.eigvalsh(weights @ weights.T), 0)
)

# %% [markdown]
# This *large-data* limit has a closed form. `predict` returns it as the same kind of `Curve`, and the two can be drawn
# into one figure: theory as lines, simulation as dots.

# %%
theory = ae.predict(problem, times, regime="large-data")
ax = ae.plot(theory, values=("population",))
ae.plot(simulation, ax)
_ = ax.legend()
# %% [markdown]
# The late risk is $1-H/p=\tfrac12$: half of the directions have no unit. How far apart are the two curves?

# %%
for risk in ("train", "population"):
    deviation = (
        jnp.max(jnp.abs(getattr(simulation, risk) - getattr(theory, risk))) / theory.train[0]
    )
    print(f"{risk:>10}: at most {100 * deviation:.2f} % of the initial risk")

# %% [markdown]
# ## Which regime?
#
# There are more limits than this one. `locate` says which of them a problem is close to, and how far that limit's curve
# may be off; `predict` without a regime takes the best one.

# %%
print(ae.locate(problem))
print()
print(ae.predict(problem, times))

# %% [markdown]
# ## Small sizes
#
# A limit is exact for infinite dimensions. For the large-data curve the first correction in $1/p$ is known (for real
# Gaussian weights), and it is what a small simulation shows:

# %%
small = ae.LinearProblem(
    input_dim=20, latent_dim=10, num_samples=jnp.inf, init_variance=0.3 / 20
)
small_times = jnp.linspace(0, 0.6, 13)
average = ae.simulate(small, small_times, jax.random.key(2), num_repeats=400)
limit = ae.predict(small, small_times, regime="large-data")
corrected = ae.predict(small, small_times, regime="large-data", finite_size=True)

error = average.standard_error.population
print("   t   simulation ± error      limit   corrected")
for k in range(0, 13, 3):
    print(
        f"{small_times[k]:.2f}   {average.population[k]:.4f} ± {error[k]:.4f}     "
        f"{limit.population[k]:.4f}   {corrected.population[k]:.4f}"
    )

# %% [markdown]
# ## Real data
#
# Samples of any origin take the place of Gaussian ones. Here $p=64$ pixels of handwritten digits, with many more
# hidden units than inputs. In that *mean-field* regime ($H/p\to\infty$ at fixed $c=H\sigma^2$) the matrix $M$ stays a
# function of $S$: along an eigenvector of $S$ with eigenvalue $s$,
#
# $$\mu_s(t)-1 = \frac{c-1}{1+c\,(e^{4st}-1)} ,$$
#
# and the theory needs nothing but the spectrum of the data. The population risk is measured on held-out digits.

# %%
training, held_out = ae.load_images("digits").split(500, jax.random.key(0))
scale = 1 / jnp.sqrt(jnp.trace(training.covariance) / training.input_dim)
data, rest = scale * training.samples, scale * held_out.samples

num_samples, input_dim = data.shape
latent_dim = 1000 * input_dim
digits = ae.LinearProblem(input_dim, latent_dim, num_samples, init_variance=0.1 / latent_dim)
digit_times = jnp.concatenate([jnp.zeros(1), jnp.geomspace(1e-2, 10, 25)])

theory = ae.predict(digits, digit_times, regime="mean-field", data=data, held_out=rest)
simulation = ae.simulate(
    digits, digit_times, jax.random.key(3), data=data, held_out=rest, num_repeats=2
)
ax = ae.plot(theory)
ae.plot(simulation, ax)
ax.set_xscale("log")
ax.set_yscale("log")
_ = ax.legend()

# %% [markdown]
# ## Derivatives
#
# All of this is differentiable. How does the final risk answer to the initial scale? One `jax.grad` through the limit,
# and `jax.vmap` over many scales:


# %%
def final_risk(init_variance):
    return ae.predict(
        ae.LinearProblem(200, 100, 400, init_variance), times, regime="mean-field"
    ).population[-1]


scales = jnp.array([0.001, 0.003, 0.01, 0.03])
slopes = jax.vmap(jax.grad(final_risk))(scales)
for variance, slope in zip(scales, slopes, strict=True):
    print(f"σ² = {variance:.3f}: R(1) = {final_risk(variance):.4f}, dR(1)/dσ² = {slope:+.3f}")

# %% [markdown]
# Next: 02 The prism of regimes, all the limits and how they fit together.
