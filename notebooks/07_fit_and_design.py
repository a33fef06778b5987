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
from aetheory import inference

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
found = inference.fit(observed, ("large-data", "mean-field"), input_dim=300)
print(found)

# %% [markdown]
# The regime is the right one, and scale and ratio of units are within half a per cent. The number of samples cannot be
# told from this curve, for the large-data limit does not depend on it, and the fit says so rather than return a
# number. The interval of $H/p$ is narrow and leaves out .6: intervals say how the noise moves an estimate, not how far
# the limit, here of infinitely many samples, is from the problem. `curve` is the fitted limit:

# %%
ax = observed.plot(label="observed")
_ = found.curve().plot(ax=ax).legend(fontsize=8)

# %% [markdown]
# ## Few samples, unknown clock
#
# In the mean-field regime the spectrum of the data matters, and $p/N$ shows. Only the product $c=H\sigma^2$ of the
# first two ratios does. Suppose also that time was recorded in unknown units (a learning rate that nobody wrote down):

# %%
p, H, N = 200, 100_000, 250
problem = ae.LinearProblem(p, H, N, init_variance=0.2 / H)
curve = ae.simulate(problem, jnp.linspace(0, 2, 41), jax.random.key(1), num_repeats=8)
recorded = ae.Curve(10 * curve.times, curve.train, curve.population, curve.std, num_repeats=8)
found = inference.fit(
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
# A CSV file with the columns `time`, `train` and `population` is fitted by `inference.fit("losses.csv")` as well.
#
# ## Design by gradient
#
# Which initial scale $x=p\sigma^2$ gives the least risk after a given time? In the large-data limit with $H/p=.5$ the
# risk is a smooth function of $\log x$; its first two derivatives come from `jax.grad`, and Newton's method finds
# where the first one vanishes. `LinearRatios` gives a limit its three ratios directly, as real numbers.


# %%
def final_risk(log_scale, budget):
    ratios = ae.LinearRatios(jnp.exp(log_scale), 0.5, 0.0)
    return ae.predict(ratios, jnp.stack([0.0 * budget, budget]), "large-data").population[-1]


slope = jax.grad(final_risk)
newton = jax.jit(lambda u, budget: u - slope(u, budget) / jax.grad(slope)(u, budget))
candidates = jnp.linspace(-1.5, 1.5, 301)
print("time budget   best scale   risk there   best of 301 scales")
for budget in (0.05, 0.1, 0.2, 0.5):
    log_scale = jnp.array(0.0)
    for _ in range(6):
        log_scale = newton(log_scale, jnp.array(budget))
    best = jnp.min(jax.vmap(lambda u: final_risk(u, jnp.array(budget)))(candidates))  # noqa: B023
    print(
        f"{budget:11.2f}   {jnp.exp(log_scale):10.4f}   {final_risk(log_scale, jnp.array(budget)):10.6f}   {best:10.6f}"
    )

# %% [markdown]
# Next: 08 Your own activation, source or autoencoder.
