# %% [markdown]
# # 02 The prism of regimes
#
# How many different large-size limits does gradient training of a linear autoencoder have? The answer of
# [arXiv:2606.05335](https://arxiv.org/abs/2606.05335) is read off a polytope. Write the risk as a formal power series
# in time, $\mathbb E R(t)\sim\sum_s \mathbb E R^{(s)}(0)\,t^s/s!$. Every coefficient is a polynomial in $p$, $H$,
# $\sigma^2$ and $1/N$, and its largest monomials are
#
# $$x^m\,y^n\,z^j,\qquad x=p\sigma^2,\quad y=H/p,\quad z=p/N,$$
#
# $$1\le m\le s+2,\qquad 1\le n\le m,\qquad 0\le j\le j_{\max} .$$
#
# The exponents $(m,n,j)$ fill a triangular prism. Letting $p$, $H$, $N$ and $\sigma$ grow as powers of each other makes
# the monomials of one face, edge or vertex dominate: that face is a *learning regime*.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt

import aetheory as ae
from aetheory import plotting

jax.config.update("jax_enable_x64", True)
plt.rcParams.update({"figure.figsize": (6.4, 3.8), "figure.dpi": 80})

# %%
ax = plotting.plot_prism(order=3)
ax.figure.set_size_inches(5.4, 4.4)

# %% [markdown]
# The prism is computed, not drawn by hand: the monomials of the exact coefficients are compared, and their convex hull
# is taken.

# %%
prism = ae.geometry.prism(3)
print(f"{len(prism.faces)} faces, {len(prism.edges)} edges, {len(prism.vertices)} vertices")
for face in prism.faces:
    print(f"{face.label:<14} {face.scaling:<34} own time: t × {face.time_unit}")

# %% [markdown]
# ## Five faces, five mechanisms
#
# | face | what decouples | limit curve |
# | --- | --- | --- |
# | large data, $N/p\to\infty$ | the eigenvalues of $M$ | integral over a free Poisson law, closed form |
# | mean field, $H/p\to\infty$ | $M$ is a function of $S$ | integral over the Marchenko–Pastur law $\mu_z$ of $S$ |
# | narrow latent, $H/p\to0$ | the columns of $W$ | two ordinary differential equations |
# | small data, $N/p\to0$ | the samples | a small matrix equation |
# | free, $p\sigma^2\to\infty$ | nothing; the target $I$ drops out | two free random matrices, with a bracket |
#
# Below, one problem near each of the first four faces. Theory as lines, simulation as dots with a band of one standard
# deviation; train risk solid and round, population risk dashed and square.

# %%
problems = {
    "large-data": (ae.LinearProblem(150, 75, 30_000, 1 / 150), jnp.linspace(0, 1, 31)),
    "mean-field": (ae.LinearProblem(150, 150_000, 150, 0.2 / 150_000), jnp.linspace(0, 2, 31)),
    "narrow-latent": (ae.LinearProblem(400, 2, 800, 0.4 / 400), jnp.linspace(0, 1, 31)),
    "small-data": (ae.LinearProblem(1000, 500, 5, 1 / 1000), jnp.linspace(0, 2 / 200, 31)),
}
figure, axes = plt.subplots(2, 2, figsize=(9.5, 6.4), layout="constrained")
for ax, (regime, (problem, times)) in zip(axes.ravel(), problems.items(), strict=True):
    theory = ae.predict(problem, times, regime=regime)
    simulation = ae.simulate(problem, times, jax.random.key(0), num_repeats=8)
    ae.plot(theory, ax, colour=plotting.COLOURS[0])
    ae.plot(simulation, ax, colour=plotting.COLOURS[1])
    ax.set_title(
        f"{regime}: p={problem.input_dim}, H={problem.latent_dim}, N={problem.num_samples}",
        fontsize=10,
    )
    ax.legend(fontsize=8)

# %% [markdown]
# In the narrow-latent panel both risks hardly leave 1: two units can explain two directions of 400. In the small-data
# panel the population risk stands still, for five samples say little about 1000 dimensions, while the train risk falls
# to almost nothing in a time of order $N/p$.
#
# ## Where does a problem lie?
#
# `locate` weighs the monomials of the exact coefficients at the problem's own sizes. The *distance* to a face is the
# share of what moves the risks that its monomials do not account for; the *estimated error* is a calibrated bound on
# how far the face's curve may be off, as a share of the initial risk (or of 1, if that is larger).

# %%
problem = ae.LinearProblem(
    input_dim=300, latent_dim=30_000, num_samples=60_000, init_variance=0.5 / 30_000
)
print(ae.locate(problem))
ax = plotting.plot_prism(problem)
ax.figure.set_size_inches(5.4, 4.4)

# %% [markdown]
# This problem lies on an *edge*, where two regimes meet. There the curve is often explicit:

# %%
times = jnp.linspace(0, 1.5, 31)
edge = ae.predict(problem, times, regime=("large-data", "mean-field"))
ax = ae.plot(edge, values=("population",))
ae.plot(
    ae.simulate(problem, times, jax.random.key(1), num_repeats=2), ax, values=("population",)
)
_ = ax.legend()
# %% [markdown]
# ## The interior
#
# If $x$, $y$ and $z$ are all of order one, no face is close. The curve then has no closed form but can still be
# computed, with a *bracket*: `lower` and `upper` come from rotations of the spectra of M(0) and S against each other, with
# their error bar. It is drawn as a band, and its width is part of the result.

# %%
problem = ae.LinearProblem(
    input_dim=200, latent_dim=140, num_samples=250, init_variance=1 / 200
)
print(ae.locate(problem).kind)
times = jnp.linspace(0, 0.4, 16)
theory = ae.predict(problem, times)
ax = ae.plot(theory)
ae.plot(ae.simulate(problem, times, jax.random.key(2), num_repeats=4), ax)
_ = ax.legend(fontsize=8)
width = jnp.max(theory.upper.train - theory.lower.train) / 2
print(f"train risk: bracket at most ± {width:.1e}")

# %% [markdown]
# Next: 03 The loss expansion and the free face, where these monomials come
# from.
