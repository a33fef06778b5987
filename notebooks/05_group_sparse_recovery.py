# %% [markdown]
# # 05 Group-sparse recovery and clustering
#
# Signals $y=A^*x^*$ that use a few *groups* of columns of a dictionary: $A^*\in\mathbb R^{n\times m}$ has $\Gamma$
# groups of $d$ columns, and $\gamma$ of them are active in each signal, with norms $B_{\min}\le\|x^*_g\|\le B_{\max}$.
# The *group-sparse autoencoder* has the dictionary as its only weights, $\hat y=Ax$ with the code
#
# $$x=\sigma_\lambda(A^\top y),\qquad \sigma_\lambda(z)_g=\Big(1-\frac{\lambda}{\|z_g\|}\Big)_{+}z_g ,$$
#
# a ReLU for whole groups: it sets groups to zero whose norm is below $\lambda$, and shrinks the others. With $d=1$ it is
# the soft threshold of a sparse autoencoder. Does training find $A^*$, and do the codes find the active groups?
# ([arXiv:2102.07003](https://arxiv.org/abs/2102.07003).)

# %%
# %matplotlib inline
import warnings

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

import aetheory as ae
from aetheory import plotting

plt.rcParams.update({"figure.figsize": (6.4, 3.8), "figure.dpi": 80})

# %% [markdown]
# ## Which threshold?
#
# The pre-activation of an inactive group comes from the active ones, through the block coherence
# $\mu_B=\max_{g\ne h}\|A_g^\top A_h\|_2/d$. If its norm is at most $\kappa$ per unit of code norm and active group, every
# threshold in
#
# $$\big[\,\gamma B_{\max}\kappa,\;\;B_{\min}(1-\delta)-\gamma B_{\max}\kappa\,\big),\qquad \kappa=d\mu_B+\delta ,$$
#
# recovers the active groups of *every* signal, $\delta$ being the distance of $A$ from $A^*$. The published interval
# has $\kappa=\mu_B+\delta$, without the factor $d$ that undoes the $1/d$ inside $\mu_B$; thresholds in it can fail.

# %%
key = jax.random.key(0)
dictionary = ae.orthonormal_groups_dictionary(key, 950, 400, group_size=2)
norms = {"num_active": 2, "min_norm": 4.0, "max_norm": 5.0}
coherence = ae.recovery.block_coherence(dictionary, 2)
for form in ("published", "sound"):
    print(
        f"{form:<10}",
        ae.recovery.threshold_interval(coherence, 0.0, group_size=2, form=form, **norms),
    )
print(
    "this pair ", ae.recovery.support_guarantee(dictionary, dictionary, group_size=2, **norms)
)

# %% [markdown]
# The last line uses the coherences of all pairs of groups instead of one bound. All three are conservative, since they
# hold for the worst signal. Random signals are recovered over a wider range. Panel (a): the probability that all groups
# are right, over noise and the number of active groups; (b): over the threshold, without noise, with the guaranteed
# intervals below the axis.

# %%
known = ae.orthonormal_groups_dictionary(key, 400, 160, group_size=2)
ends = {"min_norm": 4.0, "max_norm": 5.0}


def recovered(parameters, key):
    """The share of 200 signals whose active groups are all found, and no other."""
    noise, threshold = parameters.get("signal_to_noise"), parameters.get("threshold", 2.0)
    active = parameters["num_active"]
    source = ae.GroupSparseSource(known, 2, active, signal_to_noise=noise, **ends)
    samples = source.draw(key, 200)
    found = ae.recovery.active_groups(
        ae.group_relu(samples.observations @ known, threshold, 2), 2
    )
    return {"exact": ae.recovery.support_recovery(found, samples.active).exact}


counts, thresholds = [1, 2, 4], np.linspace(0, 5, 21).tolist()
decibels = np.arange(-15.0, 16, 5).tolist()
noisy = ae.sweep(recovered, {"num_active": counts, "signal_to_noise": decibels}, key)
silent = ae.sweep(recovered, {"num_active": counts, "threshold": thresholds}, key)

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
plotting.plot_phases(decibels, np.arange(3), noisy.exact, left, limits=(0, 1))
left.set_yticks(np.arange(3), counts)
left.set(xlabel="signal-to-noise ratio in dB", ylabel=r"active groups $\gamma$", title="(a)")
for row, (colour, active) in enumerate(zip(plotting.COLOURS, counts, strict=False)):
    probability = silent.exact.sel(num_active=active)
    right.plot(thresholds, probability, color=colour, label=rf"$\gamma={active}$")
    options = {"group_size": 2, "num_active": active, **ends}
    sound = ae.recovery.threshold_interval(
        ae.recovery.block_coherence(known, 2), 0.0, **options
    )
    guaranteed = ae.recovery.support_guarantee(known, known, **options)
    for width, interval in ((5, guaranteed), (2, sound)):
        if not interval.is_empty:
            height = -0.06 - 0.1 * row - 0.01 * width
            limits = [interval.lower, interval.upper]
            right.plot(limits, [height, height], color=colour, linewidth=width)
right.set(xlabel=r"threshold $\lambda$", ylabel="probability, no noise", title="(b)")
_ = right.legend(frameon=False)

# %% [markdown]
# ## Learning the dictionary
#
# The published simulation, at a fifth of its size so that it runs here in seconds: start near the truth (mean
# correlation .56), Adam with fresh signals each epoch. Group ReLU at 5 and 10 dB, soft threshold at 5 dB. (The
# published 1 dB hides more in 190 dimensions than in 950, and learning is then much slower.)

# %%
problems = {
    f"{network}, {decibels:g} dB": ae.RecoveryProblem(
        network=network, signal_to_noise=decibels
    ).scaled(5)
    for network, decibels in (("group", 5.0), ("group", 10.0), ("sparse", 5.0))
}
epochs = range(101)
curves = {name: ae.simulate(one, epochs, key) for name, one in problems.items()}
with warnings.catch_warnings():  # of false positives, which are printed below
    warnings.simplefilter("ignore")
    theories = {name: ae.predict(one, epochs) for name, one in problems.items()}

figure, axes = plt.subplots(2, 2, figsize=(10, 6.4), layout="constrained")
(distance, support), (contraction, norms) = axes
for name, curve in curves.items():
    theory = theories[name]
    (line,) = distance.semilogy(curve.times, curve.distance / 200, label=name)
    distance.plot(theory.times, theory.distance / 200, ":", color=line.get_color())
    support.plot(curve.times, curve.found, label=f"{name}: found")
    support.plot(curve.times, curve.invented, "--", color=line.get_color())
    for one, style in ((curve, "-"), (theory, ":")):
        measured = ae.recovery.measured_contraction(one.distance)
        contraction.plot(one.times[1:], measured, style, color=line.get_color())
        norms.plot(one.times, one.column_norm, style, color=line.get_color())
distance.set_title("(a) distance per column", loc="left")
support.set_title("(b) found, and invented (dashed)", loc="left")
contraction.set_title("(c) contraction per step", loc="left")
norms.set_title("(d) mean column norm", loc="left")
distance.legend(frameon=False, fontsize=7)
support.legend(frameon=False, fontsize=7)
figure.supxlabel("epoch")
figure.set_dpi(65)
for name, theory in theories.items():
    print(f"{name:<14} false positives per active group {theory.false_positives.max():.2f}")

# %% [markdown]
# (a) The squared distance to the true dictionary falls in every run. Dotted: what theory predicts, from two *order
# parameters*. A group of the learnt dictionary is $A_g=qA^*_g+E_g$; the mean gradient is $pY A^*_g+hA_g$, so that
# the overlap $q$ grows while $E_g$ keeps its direction and shrinks. $Y$ and $h$ are integrals over the
# pre-activation of a single group. Adam divides each entry of a gradient by its own size; the prediction then runs Adam on a sample of single
# entries, given $q$ and $\|E_g\|$. No draw enters, and a curve takes a twentieth of a second. `predict` warns where a
# signal activates more inactive groups than active ones (as the groups do at this size): these act on each other, which the theory
# leaves out, so that it is too fast: the worse, the more of them. (b) The group network finds all active groups, and at this size a few that are not
# there; the soft threshold misses about a quarter of the active entries, since entries of an active group can be small
# while its norm is not. (c) Measured and predicted contraction per step. The published theorem has a factor that is
# *negative* for every dictionary (`ae.predict(problem, epochs, "published bound")`) and promises none. (d) The column
# norms do not stay at 1: the loss has no penalty, and columns grow until they undo the shrinkage of the threshold,
# $s^2(1-\lambda/(s\|x_g\|))=1$.
#
# At the published size false positives are rare, and the theory stands beside the published numbers:

# %%
stored, published = ae.reproduce.stored_runs(), ae.reproduce.PUBLISHED_DISTANCES
decibels = jnp.array([1.0, 5.0, 10.0])
theory = ae.predict(ae.RecoveryProblem(signal_to_noise=decibels), list(published[1.0]))
print("epoch              ", *(f"{epoch:>6}" for epoch in published[1.0]))
for row, level in enumerate(published):
    print(
        f"published, {level:>4} dB ", *(f"{value:6.1f}" for value in published[level].values())
    )
    print(f"theory,    {level:>4} dB ", *(f"{value:6.1f}" for value in theory.distance[row]))
at = stored.sel(epoch=[epoch for epoch in published[1.0] if epoch <= int(stored.epoch[-1])])
print("simulated, 1.0 dB  ", *(f"{value:6.1f}" for value in at.distance[0].values))

# %% [markdown]
# ## From where does training get there?
#
# In the flow of the two numbers no barrier surrounds the true dictionary, but the time explodes where the pre-activation
# of a group rarely passes the threshold. Below, the time to a correlation of .9 over the start, in units of $\Gamma/\gamma$, and the least start
# for a budget of 2 such units. More noise helps a start that is far away: it lifts pre-activations above the
# threshold. (Derived for this library; near the critical start groups of a finite dictionary differ, see
# `ae.recovery.population_curve`.)

# %%
starts = jnp.linspace(0.16, 0.88, 19)
levels, thresholds = jnp.array([1.0, 10.0]), jnp.array([2.0, 3.0])
grid = ae.RecoveryProblem(
    start_correlation=starts,
    signal_to_noise=levels[:, None],
    threshold=thresholds[:, None, None],
)
times = ae.recovery.recovery_time(grid)
_, ax = plt.subplots()
for row, threshold in enumerate(thresholds):
    for column, level in enumerate(levels):
        label = rf"$\lambda={threshold:g}$, {level:g} dB"
        ax.semilogy(
            starts, times[row, column], "-" if column else "--", color=f"C{row}", label=label
        )
ax.axhline(2, color="0.6", linewidth=0.8)
ax.set(
    xlabel="start correlation", ylabel=r"time, in units of $\Gamma/\gamma$", ylim=(0.05, 1e4)
)
ax.legend(frameon=False)
problem = ae.RecoveryProblem(signal_to_noise=levels)
print("least start:", ae.recovery.critical_value(problem, "start_correlation", budget=2.0))

# %% [markdown]
# ## Clustering images
#
# If each image used one group, the index of that group would be its cluster. Here the digits: the network starts from
# ten subspaces that are found without labels (K-subspaces), is trained without labels, and its codes of held-out
# digits are clustered.


# %%
def of_norm_one(images):
    """Each image divided by its norm."""
    return images.samples / jnp.linalg.norm(images.samples, axis=1, keepdims=True)


rest, held_out = ae.load_images("digits").split(500, jax.random.key(0))
train, _ = rest.split(rest.num_samples // 6, jax.random.key(1))  # a sixth is for validation
samples, unseen = of_norm_one(train), of_norm_one(held_out)
labels = np.asarray(held_out.labels)
clusters = ae.recovery.k_subspaces(samples, num_clusters=10, subspace_dim=4)
start = ae.subspace_dictionary(samples, clusters.assignments, group_size=4)
scale = ae.recovery.fixed_point_norm(
    2.2, 0.9
)  # the column norm at which λ = 2.2 does not shrink
network = ae.GroupSparseAutoencoder(scale * start, threshold=2.2, group_size=4)
trained = ae.gradient_descent(
    network, ae.reconstruction_loss, optax.adam(1e-3), 300, samples,
    batch_size=100, key=jax.random.key(0),
).module  # fmt: skip
codes = np.asarray(trained.encode(unseen))
for name, features in (
    ("raw pixels", np.asarray(unseen)),
    ("group codes", codes),
):
    scores = ae.recovery.clustering_scores(labels, ae.recovery.cluster(features, 10, seed=0))
    print(f"{name:<12} k-means accuracy {100 * scores.accuracy:.1f} %")
active = jnp.mean(jnp.sum(ae.recovery.active_groups(trained.encode(unseen), 4), axis=1))
print(f"active groups an image: {active:.2f}")

# %%
_, ax = plt.subplots(figsize=(3.2, 6))
_ = plotting.plot_atoms(trained.atoms, train.image_shape, ax, group_size=4)

# %% [markdown]
# Each row is a group: a digit and its leading variations. On these small digits group codes beat raw pixels. On MNIST
# the published accuracies (74.5 and 80.1 %) were **not** reproduced without labels; the page
# *Verified claims* of the documentation has the numbers.
#
# Next: 06 Sweeps and stores.
