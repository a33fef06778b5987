# %% [markdown]
# # 06 Sweeps and stores
#
# How does an answer change with dimension, data and initialisation? A *sweep* evaluates one function on every cell of
# a grid, with repeats, and returns a labelled dataset. Cells that compile to the same program share it; random keys
# are derived from the cell and the repeat, so that results do not depend on the order of the cells, on how they were
# grouped or on interruptions.

# %%
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import aetheory as ae
from aetheory import plotting
from aetheory.sweeps import Prediction, Simulation, open_store

jax.config.update("jax_enable_x64", True)
plt.rcParams.update({"figure.figsize": (6.4, 3.8), "figure.dpi": 80})

# %% [markdown]
# ## A grid
#
# Each name is an axis, and the grid is their product: 3 numbers of hidden units by 5 initial scales $x=p\sigma^2$. A
# problem is given by `input_dim`, by `latent_dim` or `latent_ratio` $=H/p$, by `num_samples` or `sample_ratio` $=p/N$,
# and by `init_variance` or `init_scale`. `Simulation(times)` is `simulate` in every cell, `Prediction(times, regime)`
# is `predict`.

# %%
grid = {
    "input_dim": [100],
    "num_samples": [10_000],
    "latent_dim": [10, 50, 100],
    "init_scale": jnp.array([0.1, 0.3, 1.0, 2.0, 3.0]),
}
times = jnp.linspace(0, 1, 21)
simulated = ae.sweep(Simulation(times), grid, jax.random.key(0), num_repeats=4)
predicted = ae.sweep(Prediction(times, "large-data"), grid, jax.random.key(0))
simulated.sizes

# %% [markdown]
# The datasets are those of [xarray](https://docs.xarray.dev): select by name, subtract, average. The largest deviation
# between theory and the mean of four simulations, in per cent of the initial risk, over the grid:

# %%
difference = abs(simulated.population.mean("repeat") - predicted.population).max("time")
share = 100 * difference / predicted.population.isel(time=0)
print(share.squeeze(drop=True).to_pandas().round(2).to_string())

# %% [markdown]
# Any cell is a curve to draw:

# %%
figure, ax = plt.subplots()
for colour, latent_dim in zip(plotting.COLOURS, (10, 50, 100), strict=False):
    cell = {"latent_dim": latent_dim, "init_scale": 1.0}
    for data, repeats in ((predicted, 0), (simulated.mean("repeat"), 4)):
        one = data.sel(cell).squeeze(drop=True)
        curve = ae.Curve(
            times,
            ae.Values(
                train=jnp.asarray(one.train.values),
                population=jnp.asarray(one.population.values),
            ),
            num_repeats=repeats,
        )
        label = f"H = {latent_dim}, {'simulation' if repeats else 'theory'}"
        ae.plot(curve, ax, values=("population",), colour=colour, label=label)
ax.set_ylim(0, 1.5)
_ = ax.legend(fontsize=8, ncols=2, loc="upper right")

# %% [markdown]
# ## Your own function
#
# A function of (parameters, key) that returns arrays is swept in the same way. Parameters with integer values are
# compiled for, each combination by itself; real ones are traced and share a program. Here the risk that alternating
# descent reaches over the rate of a two-layer autoencoder, on spectra $\propto j^{-a}$:


# %%
def reached(parameters, key):
    source = ae.GaussianSource.power_law(40, parameters["exponent"])
    problem = ae.TwoLayerProblem(
        40, parameters["num_units"], method="alternating", covariance=source.variances
    )
    run = ae.simulate(problem, np.array([100]), key)
    return {
        "risk": run.risk[-1],
        "limit": ae.predict(problem, run.times, "water-filling").risk[-1],
    }


table = ae.sweep(
    reached,
    {"num_units": [20, 40], "exponent": [0.0, 0.5, 1.0, 2.0]},
    jax.random.key(1),
    num_repeats=2,
)
print(table.risk.mean("repeat").to_pandas().round(4).to_string())
print("limit")
print(table.limit.isel(repeat=0).to_pandas().round(4).to_string())

# %% [markdown]
# ## A store
#
# With a path, every block is written as it finishes. The same call continues where a killed run stopped, and a finished
# store is only opened. With a further value on an axis, or more repeats, the new cells only are computed. A store that was
# made with other settings is refused with the difference named, never mixed.

# %%
small = grid | {"latent_dim": [10]}
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "risks.zarr"
    first = ae.sweep(
        Simulation(times), small, jax.random.key(0), num_repeats=2, store=path
    ).load()
    again = ae.sweep(
        Simulation(times), small, jax.random.key(0), num_repeats=2, store=path
    ).load()
    print("opened again, the same:", first.equals(again))
    print("read from the store, the same:", open_store(path).load().equals(first))
    before = simulated.sel(latent_dim=[10]).isel(repeat=slice(2))
    print(f"against the sweep above: {float(abs(first.train - before.train).max()):.0e}")
    try:
        ae.sweep(Simulation(times), small, jax.random.key(1), num_repeats=2, store=path)
    except ValueError as error:
        print("refused:", str(error).replace(str(path), "risks.zarr"))

# %% [markdown]
# The draws of a cell and a repeat depend on their own values and not on what else is in the sweep. On a cluster pass
# `client=`, a Dask client; blocks then run on its workers, and the result is the same to the last bit.
#
# Next: 07 Fit and design, from curves back to hyperparameters.
