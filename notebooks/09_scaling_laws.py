# %% [markdown]
# # 09 Scaling laws
#
# The variances of natural data fall as a power law, $\tau_i\propto i^{-a}$. What does that do to learning curves? They
# become power laws too: the risk of a linear autoencoder falls as a power of training time, of the number of samples
# and of the number of latent units, each where the other two are no limit. This notebook shows the three laws, their
# exponents and prefactors, and where one gives way to the other. They were derived for this library from its limit
# curves; no paper states them for this model.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt

import aetheory as ae
from aetheory import plotting

jax.config.update("jax_enable_x64", True)
plt.rcParams.update({"figure.figsize": (6.4, 3.8), "figure.dpi": 80})

# %% [markdown]
# ## From one mode to a power law
#
# With many latent units and small initial weights, $M=WW^\top$ starts at $cI$, and each direction of variance $\tau$ is
# learnt on its own, in a sudden step at a time of order $1/\tau$:
#
# $$\mu_\tau(t)-1=\frac{c-1}{1+c\,(e^{4\tau t}-1)}.$$
#
# The risk is the sum of the steps, weighted by $\tau$. For equal variances it is one step and ends exponentially. For a
# power law the steps follow each other at ever longer times, and their sum has no scale. At time $t$ the directions with
# $\tau_i\gtrsim1/t$ are learnt, that is $i\lesssim t^{1/a}$, and the others carry $\sum_{i>t^{1/a}}i^{-a}\propto
# t^{-(a-1)/a}$.

# %%
p, c = 20_000, 0.01
law = ae.scaling.PowerLaw(2.0, p)
times = jnp.geomspace(1, 1e5, 51) / law.top


def many_units(covariance):
    """H/p = 1000 and every input there is: what limits the risk is time alone."""
    return ae.LinearRatios(c / 1000, 1000.0, 0.0, covariance=covariance)


power = ae.predict(many_units(law.variances), times, "mean-field").population
equal = ae.predict(many_units(jnp.ones(100)), times, "mean-field").population
predicted = law.over_time(times, c)

_, ax = plt.subplots()
ax.loglog(times, equal, color=plotting.COLOURS[0], label="equal variances")
ax.loglog(times, power, color=plotting.COLOURS[1], label="$i^{-2}$")
ax.loglog(times, predicted, "k--", linewidth=1, label="the law")
ax.set(xlabel="flow time $t$", ylabel="population risk", ylim=(1e-3, 1.5))
_ = ax.legend(frameon=False)

# %% [markdown]
# Early one sees the steps of the first few directions; later the curve is the law, prefactor included. The exponent
# depends on $a$ alone. `fit_exponent` takes it from any curve in a window:

# %%
print("   a    fitted   (a−1)/a   curve over law, first and last")
for a in (1.5, 2.0, 3.0):
    law_a = ae.scaling.PowerLaw(a, p)
    late = jnp.geomspace(30, 3e3, 21) / law_a.top
    risk = ae.predict(many_units(law_a.variances), late, "mean-field").population
    fitted = ae.scaling.fit_exponent(late, risk)
    ratio = risk / law_a.over_time(late, c)
    print(f"{a:5.1f}  {fitted.exponent:7.3f}  {law_a.time_exponent:7.3f}    {ratio[0]:.3f}  {ratio[-1]:.3f}")  # fmt: skip

# %% [markdown]
# The prefactor is that of infinitely many directions, and is approached as $(i/p)^{1-1/a}$ is small: slowly for $a$
# close to 1, where far directions carry much of the variance.
#
# ## Samples and latent units
#
# Trained to the end, the risk is limited by what the samples do not span, or by what the latent units cannot hold:
#
# - **samples**, $R(N)=(1-c)^2N\kappa/p$ with $\sum_i\tau_i/(\tau_i+\kappa)=N$. It falls as $N^{-(a-1)}$.
# - **latent units**, $R(H)=\sum_{i>H}\tau_i/p$, what $H$ principal components leave. It falls as $H^{-(a-1)}$.
#
# Here is all of it against training: a flow that is simulated until nothing changes, for three sizes of each.

# %%
p = 100
law = ae.scaling.PowerLaw(2.0, p)
sizes = jnp.array([3, 6, 10])
key, c = jax.random.key(0), 0.01


def train_to_the_end(size, latents, samples, late):
    problem = ae.LinearProblem(p, latents, samples, c / latents, covariance=law.variances)
    end = late * law.crossover_time(size)[None]
    return ae.simulate(problem, end, key, num_repeats=6)


over_samples = [train_to_the_end(int(size), 1000 * p, int(size), 4.0) for size in sizes]
over_latents = [train_to_the_end(int(size), int(size), jnp.inf, 12.0) for size in sizes]

# %%
every = jnp.arange(1, 31)
exact = {
    "samples $N$": jnp.stack([ae.scaling.unseen_risk(law.variances, n, c) for n in every]),
    "latent units $H$": jnp.stack([ae.scaling.tail_risk(law.variances, int(n)) for n in every]),
}
laws = (law.over_samples(every, c), law.over_latents(every))
_, ax = plt.subplots()
for (label, curve), line, runs, colour in zip(
    exact.items(), laws, (over_samples, over_latents), plotting.COLOURS, strict=False
):
    ax.loglog(every, curve, color=colour, label=label)
    ax.loglog(every, line, "--", color=colour, linewidth=1)
    ends = jnp.concatenate([run.population for run in runs])
    errors = jnp.concatenate([run.standard_error.population for run in runs])
    ax.errorbar(sizes, ends, errors, color=colour, linestyle="none", marker="o", markersize=5)
    at_sizes = curve[sizes - 1]
    print(f"{label:<17}", "  ".join(f"{end:.4f} ± {error:.4f} ({one:.4f})" for end, error, one in zip(ends, errors, at_sizes, strict=True)))  # fmt: skip
ax.set(xlabel="$N$ or $H$", ylabel="population risk at the end")
_ = ax.legend(frameon=False)

# %% [markdown]
# In brackets the theory. Solid lines are exact for this $p$; the dashes are the laws for $p\to\infty$, from which they
# depart as $N$ or $H$ comes near $p$. That of samples is exact as $N$ grows: of 3, 6 and 10 samples it is 7, 5 and 4 %
# below the mean over many draws. Both laws have one exponent but not one prefactor: $N$ samples leave
# $(a-1)\left[\frac{\pi/a}{\sin(\pi/a)}\right]^a$ times as much as $N$ latent units do, since the directions that samples
# span are not the principal ones.

# %%
for a in (1.5, 2.0, 3.0):
    law_a = ae.scaling.PowerLaw(a, 10**6)
    print(f"a = {a}: {law_a.over_samples(100.0, 0.0) / law_a.over_latents(100.0):.3f}")

# %% [markdown]
# ## Crossovers
#
# Which of the three limits the risk? $N$ samples let it follow the law of time until $t\sim N^a/\tau_1$, `crossover_time`.
# More training is of no use after that, as more samples are of none before it.

# %%
p, c = 500, 0.01
law = ae.scaling.PowerLaw(2.0, p)
times = jnp.geomspace(10, 1e4, 31) / law.top
_, ax = plt.subplots()
ax.loglog(times, law.over_time(times, c), "k--", linewidth=1, label="law of time")
for samples, colour in zip((10, 20, 40), plotting.COLOURS, strict=False):
    ratios = ae.LinearRatios(c / 1000, 1000.0, p / samples, covariance=law.variances)
    risk = ae.predict(ratios, times, "mean-field").population
    floor = ae.scaling.unseen_risk(law.variances, samples, c)
    ax.loglog(times, risk, color=colour, label=f"$N={samples}$")
    ax.axhline(floor, color=colour, linewidth=0.6)
    crossing = law.crossover_time(samples)
    ax.plot(crossing, law.over_time(crossing[None], c)[0], "o", color=colour)
    risk_there = jnp.interp(crossing, times, risk)
    total = law.over_time(crossing[None], c)[0] + floor
    print(
        f"N = {samples}: at the crossover risk {risk_there:.5f}, sum of both laws {total:.5f}"
    )
ax.set(xlabel="flow time $t$", ylabel="population risk")
_ = ax.legend(frameon=False)

# %% [markdown]
# Dots mark the crossover on the law of time, thin lines the floors. The laws do not add up: where they meet, the risk
# is well below their sum, since a direction that is not learnt yet is not also missing from the samples.
#
# ## No law without a heavy tail
#
# For $a<1$ the far directions carry the variance, the spectrum has a lower edge, and there is no law of this kind: the
# fitted slope keeps growing.

# %%
variances = ae.GaussianSource.power_law(p, 0.5).variances
variances = variances / variances.mean()
times = jnp.geomspace(0.1, 3, 31)
risk = ae.predict(many_units(variances), times, "mean-field").population
for window in ((0.1, 0.3), (0.3, 1.0), (1.0, 3.0)):
    slope = ae.scaling.fit_exponent(times, risk, window).exponent
    print(f"t from {window[0]} to {window[1]}: exponent {slope:.2f}")
