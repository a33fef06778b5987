# %% [markdown]
# # 07 Fit and design
#
# So far problems gave curves. Here the way back: which hyperparameters, and which regime, are behind an observed loss
# curve? And since all limits are differentiable: which hyperparameters are best?

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt

import aetheory as ae
from aetheory import plotting

jax.config.update("jax_enable_x64", True)
plt.rcParams.update({"figure.figsize": (6.4, 3.8), "figure.dpi": 80})

# %% [markdown]
# ## A curve and what is behind it
#
# The observed curve is a simulation at $p=300$ with $p\sigma^2=.5$, $H/p=.6$ and many samples. `fit` compares it with
# the limits of several regimes, by weighted least squares in the logarithms of $x=p\sigma^2$, $y=H/p$ and $z=p/N$.
# Without a second argument it tries four; here two of them, which have closed forms and take seconds.

# %%
problem = ae.LinearProblem(
    input_dim=300, latent_dim=180, num_samples=30_000, init_variance=0.5 / 300
)
times = jnp.linspace(0, 1.5, 31)
observed = ae.simulate(problem, times, jax.random.key(0), num_repeats=8)
found = ae.fit(observed, ("large-data", "mean-field"), input_dim=300)
print(found)

# %% [markdown]
# The regime is the right one, and scale and ratio of units are within half a per cent. The number of samples cannot be
# told from this curve, for the large-data limit does not depend on it, and the fit says so rather than return a
# number. The interval of $H/p$ is narrow and leaves out .6: intervals say how the noise moves an estimate, not how far
# the limit, here of infinitely many samples, is from the problem. Observed and fitted:

# %%
_ = plotting.plot_fit(found)

# %% [markdown]
# ## Few samples, unknown clock
#
# In the mean-field regime the spectrum of the data matters, and $p/N$ shows. Only the product $c=H\sigma^2$ of the
# first two ratios does. Suppose also that time was recorded in unknown units (a learning rate that nobody wrote down):

# %%
p, H, N = 200, 100_000, 250
problem = ae.LinearProblem(p, H, N, init_variance=0.2 / H)
curve = ae.simulate(problem, jnp.linspace(0, 2, 41), jax.random.key(1), num_repeats=8)
recorded = ae.Curve(
    10 * curve.times,
    ae.Values(train=curve.train, population=curve.population),
    curve.std,
    num_repeats=8,
)
found = ae.fit(
    recorded,
    "mean-field",
    free=("init_scale", "sample_ratio", "time_unit"),
    fixed={"latent_ratio": H / p},
    bounds={"init_scale": (1e-5, 1e-2)},
    input_dim=p,
)
print(found)
print(
    f"true: init_strength {problem.init_variance * H:.3g}, sample_ratio {p / N:.3g}, time_unit 0.1"
)

# %% [markdown]
# A CSV file with the columns `time`, `train` and `population` is fitted by `ae.fit("losses.csv")` as well.
#
# ## Design by gradient
#
# Which initial scale $x=p\sigma^2$ gives the least population risk after a given time? In the large-data limit with
# $H/p=.5$ the risk is a smooth function of $\log x$, and `ae.optimise` looks for the zero of its derivative. Beside it
# the best of 301 scales on a grid:


# %%
def final_risk(scale, budget):
    ratios = ae.LinearRatios(scale, 0.5, 0.0)
    return ae.predict(ratios, jnp.stack([0.0 * budget, budget]), "large-data").population[-1]


grid = jnp.geomspace(0.2, 5, 301)
print("time budget   best scale   risk there   best of 301 scales")
for budget in (0.05, 0.1, 0.2, 0.5):
    best = ae.optimise.initial_scale(budget, 0.5, 0.0, "large-data")
    on_grid = jnp.min(jax.vmap(final_risk, in_axes=(0, None))(grid, jnp.array(budget)))
    print(f"{budget:11.2f}   {best.argument:10.4f}   {best.value:10.6f}   {on_grid:10.6f}")

# %% [markdown]
# The longer the budget, the larger the best start: eigenvalues above 1 cost much at first and relax fast, while small
# ones take long to grow.
#
# Two sources are to be compressed by two-layer autoencoders with the sign, with 120 units in all. How many for each?
# The first has 100 directions of equal variance, the second a power law of the same dimension and total variance:

# %%
deviations = [jnp.ones(100), jnp.sqrt(ae.GaussianSource.power_law(100, 1.0).variances)]
shared = ae.optimise.allocation(deviations, 120)
for name, units in zip(("equal variances", "power law"), shared.units, strict=True):
    print(f"{name:<16} {units:6.1f} units")
for first in (40.0, 60.0, 80.0):
    risks = [
        ae.limits.water_filling(one, n).risk
        for one, n in zip(deviations, (first, 120 - first), strict=True)
    ]
    print(f"{first:.0f} and {120 - first:.0f} units: mean risk {sum(risks) / 2:.4f}")
print(f"allocated:       mean risk {shared.risk / 200:.4f}")

# %% [markdown]
# ## Sensitivities
#
# How much does the risk gain per relative change of a ratio? The derivatives of a limit curve in $\log x$, $\log y$ and
# $\log z$ come with the curve:

# %%
answers = ae.sensitivities(ae.LinearRatios(4e-3, 50.0, 0.8), times, "mean-field")
_ = plotting.plot_sensitivities(answers)

# %% [markdown]
# The curves of $x$ and $y$ are equal, since only the product $c=xy$ enters: what the fit above could not tell apart.
#
# Next: 08 Your own activation, source or autoencoder.
