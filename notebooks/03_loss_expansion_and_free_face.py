# %% [markdown]
# # 03 The loss expansion and the free face
#
# The regimes of notebook 02 come from one object: the formal expansion of the expected risk in
# time,
#
# $$\mathbb E R(t)\;\sim\;\sum_{s\ge 0}\mathbb E R^{(s)}(0)\,\frac{t^s}{s!} .$$
#
# Along the flow $\dot M = -\big[2MSM+SM^2+M^2S-2SM-2MS\big]$ every derivative of the risk is a sum of traces of words
# in $M$ and $S$. Their Gaussian expectations follow from Wick's formula, so that each coefficient is an *exact*
# polynomial in $p$, $H$, $\sigma^2$ and $1/N$, at every finite size.

# %%
from fractions import Fraction

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt

import aetheory as ae
from aetheory import plotting

jax.config.update("jax_enable_x64", True)
plt.rcParams.update({"figure.figsize": (6.4, 3.8), "figure.dpi": 80})

# %%
coefficient = ae.expansion.coefficients(order=0, risk="population")
print("E R(0)  =", coefficient)
first = ae.expansion.coefficients(order=1, risk="population")
print("E R'(0) =", first)

# %% [markdown]
# The polynomial takes fractions, and then gives a fraction. At $p=5$, $H=3$, $N=4$, $\sigma^2=3/10$ the slope of the
# loss $L = pR/2$ is

# %%
slope = first.loss(5, 3, Fraction(3, 10), Fraction(1, 4))
print(slope, "=", float(slope))

# %% [markdown]
# A simulation at this very size agrees. Here the slope is that of the mean risk over a short time, from ten times 4000
# draws:

# %%
tiny = ae.LinearProblem(input_dim=5, latent_dim=3, num_samples=4, init_variance=0.3)
step = 1e-4
keys = jax.random.split(jax.random.key(0), 10)
draws = [
    ae.simulate(tiny, jnp.array([0.0, step]), key, num_repeats=4000).population for key in keys
]
slopes = 5 / 2 * jnp.diff(jnp.stack(draws)) / step
second = ae.expansion.coefficients(order=2, risk="population").loss(
    5, 3, Fraction(3, 10), Fraction(1, 4)
)
print(f"simulation {slopes.mean():.1f} ± {slopes.std(ddof=1) / 10**0.5:.1f}")
print(f"expansion  {float(slope) + step / 2 * float(second):.1f}")

# %% [markdown]
# ## Large sizes
#
# As $p$, $H$ and $N$ grow together, only *planar* contributions stay. They depend on $x=p\sigma^2$, $y=H/p$ and
# $z=p/N$, and each face of the prism keeps some of the monomials:

# %%
planar = ae.expansion.planar(order=2, risk="train")
print("all:          ", planar)
for face in ("large-data", "mean-field", "free"):
    print(f"{face + ':':<14}", planar.restrict(face))

# %% [markdown]
# ## Summing the series
#
# The series has a finite radius of convergence, because the curve has poles at complex times. Beyond it, the sum of
# the first terms is useless, but Padé approximants of the same terms go further; best in the variable $1-e^{-4t}$,
# which maps all times to $[0,1)$. In the large-data regime the exact curve is known, and the sums can be compared with
# it. The dotted line is the estimated radius of convergence.

# %%
large = ae.LinearProblem(10**6, 10**6 // 2, jnp.inf, 1e-6)
coefficients = [ae.expansion.planar(order, "population") for order in range(9)]
series = ae.expansion.taylor_series(coefficients, large)
times = jnp.linspace(0, 3, 121)
exact = ae.predict(large, times, "large-data").train
pade, conformal = (
    ae.expansion.resum(series, times, method) for method in ("pade", "conformal-pade")
)
sums = {
    "Taylor": jnp.polyval(series[::-1], times),
    "Padé in $t$": pade.values,
    "Padé in $1-e^{-4t}$": conformal.values,
}
figure, ax = plt.subplots()
ax.plot(times, exact, color="0.6", linewidth=3, label="exact")
for name, values in sums.items():
    ax.plot(times, values, "--", label=name)
    share = jnp.abs(values - exact) / exact[0]
    early = float(jnp.max(jnp.where(times <= pade.radius / 2, share, 0)))
    print(f"{name:<20} up to half the radius {early:.0e}, to t = 3 {float(jnp.max(share)):.0e}")
ax.axvline(float(pade.radius), color="0.5", linestyle=":")
ax.set(xlabel="flow time $t$", ylabel="risk", ylim=(exact.min() - 0.3, exact.max() + 0.3))
_ = ax.legend(frameon=False, fontsize=8)

# %% [markdown]
# ## The free face
#
# For large initial weights, $x=p\sigma^2\to\infty$, the target $I$ drops out and the flow only shrinks $M$:
#
# $$\dot M = -\big[2MSM + SM^2 + M^2S\big],\qquad R_{\rm train}=\tfrac1p\operatorname{tr} MSM .$$
#
# $M$ and $S$ are two *free* random matrices that never commute, and no closed form is known. Two matrices are free when
# the eigenvectors of one are in random position relative to those of the other. So `predict` takes diagonal matrices
# with the limiting spectra of $M(0)$ and $S$, rotates one against the other, solves the same flow, and averages over
# several rotations, whose spread is the error bar. The rotations are chosen so that the lowest mixed moments are those
# of free matrices. A larger size and more rotations make the bracket narrower. (Time in units of $1/x$, risk in units
# of $x^2$.)

# %%
free = ae.LinearProblem(input_dim=200, latent_dim=140, num_samples=250, init_variance=1e4 / 200)
times = jnp.concatenate([jnp.zeros(1), jnp.geomspace(0.02, 1, 20)]) / 1e4
print("size   number   half-width of the bracket, as a share of the initial risk")
for size, number in ((12, 4), (24, 8), (48, 12)):
    curve = ae.predict(free, times, "free", method=ae.Rotations(size, number))
    width = jnp.max(
        jnp.maximum(
            curve.upper.train - curve.lower.train,
            curve.upper.population - curve.lower.population,
        )
    )
    print(f"{size:>4}   {number:>6}   {width / 2 / curve.train[0]:.4f}")

# %% [markdown]
# The last is what `predict` takes by default. Against simulation:

# %%
theory = ae.predict(free, times, regime="free")
simulation = ae.simulate(free, times, jax.random.key(1), num_repeats=4)
ax = ae.plot(theory)
ae.plot(simulation, ax)
ax.set(xscale="log", yscale="log")
_ = ax.legend(fontsize=8)
for risk in ("train", "population"):
    deviation = (
        jnp.max(jnp.abs(getattr(simulation, risk) - getattr(theory, risk))) / theory.train[0]
    )
    print(f"{risk}: at most {100 * deviation:.2f} % of the initial risk")

# %% [markdown]
# The prism shows the face that this problem is close to, and the monomials that count:

# %%
ax = plotting.plot_prism(free)
ax.figure.set_size_inches(5.4, 4.4)

# %% [markdown]
# Next: 04 Limits of compression, autoencoders with a nonlinearity.
