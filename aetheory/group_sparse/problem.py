"""The recovery problem: a group-sparse autoencoder, started near the truth, learns the dictionary of its source."""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array
from jaxtyping import Real as RealArray

from aetheory.core.checks import check_choice, check_steps, common_float_dtype, fail, static_integer
from aetheory.core.dictionary import normalise_columns
from aetheory.core.meaning import NONNEGATIVE, POSITIVE, Meaning, check_fields, described
from aetheory.core.problem import AbstractProblem
from aetheory.core.theory import AbstractTheory, Citation
from aetheory.group_sparse.coherence import check_pair
from aetheory.group_sparse.network import GroupSparseAutoencoder
from aetheory.group_sparse.simulation import RecoveryExperiment, measure
from aetheory.group_sparse.theories import THEORIES
from aetheory.sources.group_sparse import GroupSparseSource, check_law

NETWORKS = ("group", "sparse", "relu")
OPTIMIZERS = ("adam", "sgd")

_MAX_EXAMPLES_PER_PASS = 1000

Real = float | int | np.number | RealArray[Array, "..."] | RealArray[np.ndarray, "..."]


def _whole(name: str, default: int) -> Any:
    """Field of a positive integer that decides shapes."""
    return eqx.field(static=True, default=default, converter=functools.partial(static_integer, name))


def _number(default: float, long_name: str, symbol: str = "", **more: Any) -> Any:
    """Field of a number that may be traced, with its meaning."""
    return eqx.field(default=default, metadata=described(long_name, symbol, **more))


class RecoveryProblem(AbstractProblem):
    """A source y = A* x* + noise, a network that starts near A*, and its training on fresh samples.

    The defaults are the published simulation, whose batch size is not published: one step of Adam for 10 000 examples,
    the published epoch, gives the published distances within 4 % up to epoch 40, and smaller ones later.
    Whole numbers, names and the optimiser are static; every other field is a number or an array, which may be traced.

    Arguments:
        input_dim: n, the entries of an example.
        num_groups: Γ, the groups of the dictionary, which has Gaussian columns of norm 1.
        group_size: d, the columns of a group.
        num_active: γ ≤ Γ, the active groups of an example.
        min_norm, max_norm: B_min and B_max, the ends of the uniform law of an active group's norm; positive.
        signal_to_noise: in dB; None for no noise.
        threshold: λ ≥ 0 of the network.
        start_correlation: c in (0, 1], the mean correlation of the first columns with the true ones.
        optimizer: `"adam"`, `"sgd"`, or an Optax transformation, which brings its own learning rate.
        learning_rate: η, positive.
        batch_size: number of fresh examples of each step.
        network: `"group"`; or the baselines with groups of one entry, `"sparse"` and (one-sided) `"relu"`.
        given: source and network to train instead of random ones; see `of`.

    Source: arXiv:2102.07003, model (1)–(2) with the norms (15), network (11)–(13), update (14), simulation of Fig. 3.
    """

    input_dim: int = _whole("input_dim", 950)
    num_groups: int = _whole("num_groups", 500)
    group_size: int = _whole("group_size", 2)
    num_active: int = _whole("num_active", 3)
    min_norm: Real = _number(4.0, "smallest norm of a group", r"B_{\min}", **POSITIVE)
    max_norm: Real = _number(5.0, "largest norm of a group", r"B_{\max}", **POSITIVE)
    signal_to_noise: Real | None = _number(1.0, "signal-to-noise ratio", unit="dB")
    threshold: Real = _number(2.0, "threshold", r"\lambda", **NONNEGATIVE)
    start_correlation: Real = _number(0.56, "correlation of the start", "c", maximum=1.0, **POSITIVE)
    optimizer: str | optax.GradientTransformation = eqx.field(static=True, default="adam")
    learning_rate: Real = _number(1e-3, "learning rate", r"\eta", **POSITIVE)
    batch_size: int = _whole("batch_size", 10_000)
    network: str = eqx.field(static=True, default="group")
    given: tuple[GroupSparseSource, GroupSparseAutoencoder] | None = None

    theories: ClassVar = THEORIES
    meanings: ClassVar = {
        "distance": Meaning("squared distance of the dictionaries", r"\|A-A^*\|_F^2"),
        "correlation": Meaning("mean correlation with the true columns", r"\langle a_i, a_i^*\rangle"),
        "column_norm": Meaning("mean norm of a column"),
        "found": Meaning("active groups that are found", axis="rate"),
        "invented": Meaning("inactive groups that are taken for active ones", axis="rate"),
        "exact": Meaning("samples with the exact support", axis="rate"),
    }
    citations: ClassVar = (Citation("theodosis2021convergence", "(1)–(2), (11)–(15), Fig. 3"),)

    def __check_init__(self) -> None:
        check_law(self.num_active, self.num_groups, self.min_norm, self.max_norm, self.signal_to_noise)
        check_fields(self, "learning_rate", "threshold")
        if self.given is None:
            check_fields(self, "start_correlation")
        check_choice("network", self.network, NETWORKS)
        named = isinstance(self.optimizer, str) and self.optimizer in OPTIMIZERS
        if not (named or isinstance(self.optimizer, optax.GradientTransformation)):
            raise fail("optimizer", "one of 'adam', 'sgd', or an Optax transformation", self.optimizer)

    @property
    def free_numbers(self) -> tuple[str, ...]:  # type: ignore[override]
        """Names of its real numbers; the signal-to-noise ratio is one of them where it is given."""
        noise = () if self.signal_to_noise is None else ("signal_to_noise",)
        return ("threshold", "min_norm", "max_norm", "start_correlation", "learning_rate", *noise)

    @property
    def is_descent(self) -> bool:
        """True: times are numbers of steps."""
        return True

    @classmethod
    def of(cls, source: GroupSparseSource, network: GroupSparseAutoencoder, **training: Any) -> "RecoveryProblem":
        """Problem of a given source and network; a simulation then draws the batches only.

        The fields take the values of source and network. Norms, noise and threshold may be replaced; the measured
        `start_correlation` may not.

        Arguments:
            source: a source with the true dictionary.
            network: a network with a dictionary of the same shape; unfolded ones too.
            training: `optimizer`, `learning_rate` and `batch_size`.
        """
        learnt, truth = map(normalise_columns, check_pair(network.dictionary, source.dictionary))
        single = "relu" if network.nonnegative else "sparse"
        return cls(
            *(source.input_dim, source.num_groups, source.group_size, source.num_active),
            *(source.min_norm, source.max_norm, source.signal_to_noise, network.threshold),
            start_correlation=jnp.mean(jnp.sum(learnt * truth, axis=0)),
            network="group" if network.group_size == source.group_size else single,
            given=(source, network),
            **training,
        )

    def scaled(self, factor: int) -> "RecoveryProblem":
        """The problem with dimension, groups and batch size divided by `factor`, and η times √factor."""
        whole = {name: getattr(self, name) // factor for name in ("input_dim", "num_groups", "batch_size")}
        return dataclasses.replace(self, learning_rate=self.learning_rate * math.sqrt(factor), **whole)

    def as_arrays(self) -> "RecoveryProblem":
        """The problem with its numbers as arrays of one precision."""
        dtype = common_float_dtype(*jax.tree.leaves(self))
        arrays: RecoveryProblem = jax.tree.map(lambda leaf: jnp.asarray(leaf).astype(dtype), self)
        return arrays

    def default_theory(self) -> AbstractTheory:
        """The order-parameter map for "sgd", and the single-entry process for any other optimiser."""
        return THEORIES["order-parameter map" if self.optimizer == "sgd" else "single-entry process"]

    def experiment(
        self, times: Any, *, examples_per_pass: int | None = None, metrics: Callable[..., Any] = measure
    ) -> RecoveryExperiment:
        """Descent on fresh batches, recorded on held-out examples; see `RecoveryExperiment`.

        Arguments:
            times: numbers of steps, shape (num_times,), whole and increasing, the last one positive.
            examples_per_pass: number of examples in memory; the gradient of a step is accumulated over passes. A
                divisor of `batch_size`; when omitted, the largest one up to 1000.
            metrics: function of the network and (A*, held-out samples) whose values are recorded.
        """
        steps, size = check_steps(times), self.batch_size
        if steps[-1] == 0:
            raise fail("times", "numbers of steps, the last one positive", times)
        if examples_per_pass is None:
            examples_per_pass = max(k for k in range(1, min(size, _MAX_EXAMPLES_PER_PASS) + 1) if size % k == 0)
        if size % static_integer("examples_per_pass", examples_per_pass):
            raise fail("examples_per_pass", f"a divisor of `batch_size` = {size}", examples_per_pass)
        for name in self.free_numbers:
            if np.ndim(getattr(self, name)) and self.given is None:
                raise fail(name, "a scalar (map over several with `jax.vmap`)", getattr(self, name))
        return RecoveryExperiment(jnp.asarray(steps), self.as_arrays(), steps, examples_per_pass, metrics)
