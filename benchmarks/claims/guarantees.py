"""Claims about support recovery, gradients and convergence (arXiv:2102.07003)."""

import jax
import jax.numpy as jnp
import numpy as np
from oracles.group_sparse import LARGEST, SMALLEST, draws, equiangular

from aetheory import GroupSparseAutoencoder, GroupSparseSource, RecoveryProblem, group_relu, predict
from aetheory.core.theory import Citation
from aetheory.group_sparse import convergence, guarantees, metrics
from aetheory.group_sparse.coherence import block_coherence
from aetheory.group_sparse.dictionaries import orthonormal_groups_dictionary, perturbed_dictionary
from benchmarks.claims.definitions import claim, detail, verdict
from benchmarks.claims.recovery import KEY, OWN, predicted

NORMS = {"min_norm": SMALLEST, "max_norm": LARGEST}


@claim("recovery/guarantees/published-thresholds", Citation(KEY, "Lemma 1, thresholds (22)–(23)"))
@verdict("does not hold as printed", 0, "supports that were recovered, of one that was promised", against="the promise")
@detail(note=r"The 1/d inside \(\mu_B\) is lost: the bound on \(\|A_g^\top A_h\|\) is \(d\mu_B\).")
def test_guarantees_published_thresholds():
    r"""Any threshold in \([\gamma B_{\max}(\mu_B+\delta),\,B_{\min}(1-\delta)-\gamma B_{\max}(\mu_B+\delta)]\) recovers
    the active groups. For groups of more than one column thresholds in it fail on a constructed signal."""
    found = {}
    for size in (2, 3):
        options = {"group_size": size, "num_active": 3, **NORMS}
        sound, printed = (
            guarantees.threshold_interval(0.1 / size, 0.0, form=form, **options) for form in ("sound", "published")
        )
        threshold = 0.5 * (float(printed.lower) + float(sound.lower))
        code, dictionary = np.zeros((5, size)), equiangular(size, 5, 0.1)
        code[:3, 0] = 5.0
        correlations = (dictionary @ code.ravel()) @ dictionary
        active = metrics.active_groups(group_relu(correlations, threshold, size), size)
        recovered = np.flatnonzero(active).tolist() == [0, 1, 2]
        found[f"d = {size}"] = (printed.contains(threshold), recovered)
    return found


@claim("recovery/guarantees/sound-thresholds", Citation(KEY, "Lemma 1", derived=True))
@verdict("holds", 0, "numbers of supports that were missed")
def test_guarantees_sound_thresholds():
    r"""With \(d\mu_B\) in place of \(\mu_B\) the support is exact on all of 10 000 draws: eight random problems, both
    ends and the middle of the interval."""
    missed = 0
    for seed in range(8):
        dictionary, source, drawn = draws(seed, 1250)
        size, active = source.group_size, source.num_active
        mu = block_coherence(dictionary, size)
        interval = guarantees.threshold_interval(mu, 0.0, group_size=size, num_active=active, **NORMS)
        correlations = drawn.observations @ dictionary
        for share in (0.001, 0.5, 0.999):
            threshold = interval.lower + share * (interval.upper - interval.lower)
            found = metrics.active_groups(group_relu(correlations, threshold, size), size)
            missed += int(jnp.sum(jnp.any(found != drawn.active, axis=-1)))
    return {"missed": (0, missed)}


def gradients(learnt_noise, threshold):
    """The exact expected gradient near or at the truth, the published one, the autoencoder's dictionary."""
    truth = orthonormal_groups_dictionary(jax.random.key(0), 60, 16, 2)
    learnt = perturbed_dictionary(jax.random.key(1), truth, learnt_noise) if learnt_noise else truth
    source = GroupSparseSource(truth, 2, 1, min_norm=4, max_norm=4)
    network = GroupSparseAutoencoder(learnt, threshold, 2)
    exact = convergence.expected_gradient(network, source, jax.random.key(0), num_batches=40, batch_size=300).mean
    shrinkage = 1 - threshold / (4 / np.sqrt(1 + learnt_noise**2 * 60))
    printed = convergence.published_gradient(learnt, truth, group_size=2, active_probability=1 / 8, shrinkage=shrinkage)
    return np.asarray(exact), 8 * np.asarray(printed), np.asarray(learnt)


@claim("recovery/gradient/direction", Citation(KEY, "Theorem 1 (33)–(34), (28)–(32)"))
@verdict("holds approximately", 0.05, "the rank-one term of the Jacobian that the paper drops (25)", against="1")
def test_gradient_direction():
    """The approximate gradient points where the exact one does, once what changes the groups' own span is taken out:
    their cosine near the truth."""
    exact, printed, learnt = gradients(0.06, 2.0)
    pairs = []
    for matrix in (exact, printed):
        groups, own = (one.reshape(60, 8, 2).transpose(1, 0, 2) for one in (matrix, learnt))
        bases = np.linalg.qr(own)[0]
        pairs.append((groups - bases @ (bases.transpose(0, 2, 1) @ groups)).ravel())
    return {"cosine": (1, pairs[0] @ pairs[1] / np.linalg.norm(pairs[0]) / np.linalg.norm(pairs[1]))}


@claim("recovery/gradient/at-the-truth", Citation(KEY, "(25)–(27)"))
@verdict("does not hold as printed", 0.02, "well above the noise of the samples", against="the published gradient")
def test_gradient_at_the_truth():
    r"""The Jacobian of the group ReLU is \(\tau I\), so that the gradient vanishes at \(A=A^\star\): its mean along the
    columns."""
    exact, printed, learnt = gradients(0.0, 1.0)
    return {"gradient along a column": (np.mean(np.sum(printed * learnt, 0)), np.mean(np.sum(exact * learnt, 0)))}


@claim("recovery/convergence/factor", Citation(KEY, "Theorem 2", derived=True))
@verdict("beyond the papers", 0, r"\(\rho>0\) needs \(\alpha_{\min}^2>d(d^2+1)\alpha_{\max}^2\)")
def test_convergence_factor():
    r"""Training contracts by the factor \(1-\rho\) a step, \(\rho>0\). The printed factor is never positive: the number
    of positive ones among 3 × 20 000 random arguments."""
    rng = np.random.default_rng(0)
    low = rng.uniform(0.01, 1, 20_000)
    high = low * rng.uniform(1, 3, 20_000)
    tau, probability, delta = rng.uniform(0, 1, (3, 20_000))
    numbers = {"shrinkage": tau, "active_probability": probability, "closeness": delta}
    bounds = {"alpha_min": low, "alpha_max": high, "step_size": 0.1}
    return {
        f"d = {size}": (0, jnp.sum(convergence.contraction_factor(**numbers, **bounds, group_size=size) > 0))
        for size in (1, 2, 5)
    }


@claim("recovery/convergence/rate", Citation(KEY, "Theorem 2"))
@verdict("does not hold as printed", 0.01, "a third of the smallest contraction", against="training")
@detail(note="The theorem promises nothing; training contracts by .03 to .06 a step.")
def test_convergence_rate():
    r"""Linear convergence with the factor \(\rho\): the contraction a step over the first 100 epochs of the published
    simulation, as the single-entry process predicts it, beside ρ at the truth."""
    curve = predict(RecoveryProblem(), range(101)).distance
    measured = np.asarray(convergence.measured_contraction(curve))
    rho = convergence.contraction_factor(
        step_size=1e-3, shrinkage=0.55, active_probability=3 / 500, alpha_min=1.0, alpha_max=1.0, group_size=2
    )
    return {"smallest": (measured.min(), rho), "largest": (measured.max(), rho)}


@claim("recovery/convergence/unit-norm", Citation(KEY, "(10), (14)"))
@verdict("does not hold as printed", 0.05, "well above the spread of the columns", published={"norm": 1.0})
def test_convergence_unit_norm():
    """The columns of the minimiser have norm 1."""
    return {"norm": predicted("group", 1, "column_norm")[300]}


@claim("recovery/convergence/fixed-point", OWN)
@verdict("beyond the papers", 0.01, "the spread of the norms, 4 to 5", against="the end of predicted training")
def test_convergence_fixed_point():
    r"""It has \(s^2(1-\lambda/(s\|x_g\|))=1\), at the middle norm 4.5."""
    return {"norm": (predicted("group", 1, "column_norm")[300], convergence.fixed_point_norm(2.0, 4.5))}
