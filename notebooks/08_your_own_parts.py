# %% [markdown]
# # 08 Your own activation, source or autoencoder
#
# Everything in the toolkit is a pure function of arrays, and its three kinds of parts can be replaced: the *activation*
# of a two-layer autoencoder, the *source* it is trained on, and the *autoencoder* itself. This notebook replaces each.

# %%
import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import optax

import aetheory as ae

jax.config.update("jax_enable_x64", True)
plt.rcParams.update({"figure.figsize": (6.4, 3.8), "figure.dpi": 80})

# %% [markdown]
# ## An activation
#
# A two-layer autoencoder $\hat x = A\,\sigma(Bx)$ with $n=rd$ units depends on its activation through one function,
# the kernel $f(\rho)=\mathbb E\,\sigma(g)\sigma(g')$ of two standard Gaussians of correlation $\rho$, and in the limit
# through one number, $\alpha = f(1)/c_1^2-1$ with $c_1=\mathbb E\,g\,\sigma(g)$: the power of the nonlinear part over
# that of the linear one. On isotropic Gaussian inputs the least risk at rate $r\le1$ is $1-r/(1+\alpha)$
# ([arXiv:2212.13468](https://arxiv.org/abs/2212.13468)).
#
# Any function will do; where it jumps has to be named, so that the quadrature behind $f$ is exact. A quantiser with
# three levels:


# %%
def three_levels(x):
    return jnp.where(jnp.abs(x) < 0.6, 0.0, jnp.sign(x))


ternary = ae.two_layer.from_function(three_levels, breakpoints=(-0.6, 0.6))
for activation in (ternary, *map(ae.two_layer.as_activation, ("sign", "tanh"))):
    limit = ae.limits.gaussian(0.8, activation)
    print(
        f"{activation.name:<14} α = {activation.alpha:.4f}   least risk at rate 0.8: {limit:.4f}"
    )

# %% [markdown]
# Three levels lose less than two. Gradient descent finds it: alternating descent of a random encoder, with the exact
# risk after each step.

# %%
problem = ae.TwoLayerProblem(50, 40, ternary, method="alternating")
run = ae.simulate(problem, jnp.arange(301), jax.random.key(0), return_module=True)
limit = ae.predict(problem, run.times, "gaussian")
print(f"start {run.risk[0]:.4f}, end {run.risk[-1]:.4f} after {run.stats.num_steps[0]} steps, "
      f"limit {limit.risk[-1]:.4f}")  # fmt: skip

# %% [markdown]
# And on samples, without any theory inside:

# %%
samples = ae.GaussianSource.isotropic(50).sample(jax.random.key(1), 20_000)
estimate = ae.two_layer.sampled_risk(run.module, samples)
print(f"{estimate.mean:.4f} ± {estimate.standard_error:.4f}")

# %% [markdown]
# ## A source
#
# A source is anything with `input_dim`, `covariance` and `sample(key, num_samples)`. Here the inputs live near a
# circle in each of 20 planes, a strongly non-Gaussian law of covariance $I$:


# %%
class Circles(eqx.Module):
    num_planes: int = eqx.field(static=True)
    width: float = eqx.field(static=True)

    @property
    def input_dim(self):
        return 2 * self.num_planes

    @property
    def covariance(self):
        return jnp.eye(self.input_dim)

    def sample(self, key, num_samples):
        key_angle, key_radius = jax.random.split(key)
        shape = (num_samples, self.num_planes)
        angle = jax.random.uniform(key_angle, shape, maxval=2 * jnp.pi)
        radius = 1 + self.width * jax.random.normal(key_radius, shape)
        radius = radius * jnp.sqrt(2 / (1 + self.width**2))
        return jnp.concatenate([radius * jnp.cos(angle), radius * jnp.sin(angle)], axis=1)


circles = Circles(num_planes=20, width=0.1)
print(isinstance(circles, ae.sources.Source))
empirical = jnp.cov(circles.sample(jax.random.key(2), 50_000).T)
print(
    f"largest deviation of the covariance from I: {jnp.max(jnp.abs(empirical - circles.covariance)):.3f}"
)

# %% [markdown]
# A code that starts with a random rotation sees hardly more than this covariance: its pre-activations are nearly
# Gaussian, and its risk is close to that of Gaussian inputs. Stochastic gradient descent on the samples turns towards
# the planes and does better.

# %%
rotation = ae.limits.minimiser(jax.random.key(3), circles.covariance, circles.input_dim)
problem = ae.TwoLayerProblem(
    circles.input_dim,
    circles.input_dim,
    method="sgd",
    source=circles,
    start=rotation,
    optimizer=optax.adam(3e-3),
)
trained = ae.simulate(problem, jnp.array([1500]), jax.random.key(4), return_module=True)
test = circles.sample(jax.random.key(5), 20_000)
for name, autoencoder in (("random rotation", rotation), ("trained", trained.module)):
    estimate = ae.two_layer.sampled_risk(autoencoder, test)
    print(f"{name:<15} {estimate.mean:.4f} ± {estimate.standard_error:.4f}")
print(f"{'Gaussian limit':<15} {ae.limits.gaussian(1.0):.4f}")

# %% [markdown]
# ## An autoencoder
#
# Any Equinox module trains on any loss, by gradient flow or by an optimiser of Optax. What is recorded is up to you;
# recorded as `Risks` it becomes a `Curve`, which is compared and drawn like any other. Here the two layers of a linear
# autoencoder are *not* tied, $\hat x = A B x$, on the same data and from the same product $AB=WW^\top$ as a tied one:


# %%
class Untied(eqx.Module):
    decoder: jax.Array
    encoder: jax.Array

    def __call__(self, x):
        return self.decoder @ (self.encoder @ x)


p, H, N = 40, 20, 80
problem = ae.LinearProblem(p, H, N, init_variance=0.2 / p)
times = jnp.linspace(0, 2, 31)
data = jax.random.normal(jax.random.key(6), (N, p))
tied = ae.LinearAutoencoder.initialise(jax.random.key(7), p, H, problem.init_variance)
untied = Untied(tied.weights, tied.weights.T)


def risks(autoencoder, data):
    jacobian = jax.jacobian(autoencoder)(jnp.zeros(p))
    population = jnp.sum((jacobian - jnp.eye(p)) ** 2) / p
    return ae.Values(
        train=2 / p * ae.reconstruction_loss(autoencoder, data), population=population
    )


ax = None
for label, autoencoder in (("tied", tied), ("untied", untied)):
    run = ae.gradient_flow(autoencoder, ae.reconstruction_loss, times, data, metrics=risks)
    ax = ae.plot(run, ax, values=("train", "population"), label=label)
_ = ax.legend()
# %% [markdown]
# Each of the two layers gets one of the two terms of the tied gradient, so the untied network is slower. On white data,
# $S=I$, both terms are equal and it takes exactly twice the time:

# %%
white = jnp.sqrt(N) * jnp.linalg.qr(data)[0]
fast = ae.gradient_flow(tied, ae.reconstruction_loss, times, white, metrics=risks)
slow = ae.gradient_flow(untied, ae.reconstruction_loss, 2 * times, white, metrics=risks)
print(f"largest difference {jnp.max(jnp.abs(fast.train - slow.train)):.0e}")
