"""The two-layer problem: a two-layer autoencoder, its inputs, its training method and its start."""

from dataclasses import replace
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float
from jaxtyping import Real as Real_

from aetheory.core.checks import (
    check_choice,
    check_covariance,
    check_samples,
    fail,
    is_concrete,
    keyword_only,
    static_integer,
)
from aetheory.core.meaning import NONNEGATIVE, POSITIVE, Meaning, check_fields, described
from aetheory.core.problem import AbstractExperiment, AbstractProblem
from aetheory.core.theory import AbstractTheory, Citation
from aetheory.two_layer.activations import as_activation
from aetheory.two_layer.alternating import STEP_SIZE, AlternatingDescent
from aetheory.two_layer.descent import Descent, RiskFlow
from aetheory.two_layer.limits.gaussian import limit_alpha
from aetheory.two_layer.network import Covariance, Rows, TwoLayerAutoencoder, checked_encoder
from aetheory.two_layer.theories import GAUSSIAN, STATIONARY, THEORIES, WATER_FILLING
from aetheory.two_layer.trajectories.covariance import MATRIX
from aetheory.two_layer.trajectories.theories import ALTERNATING, JOINT, TIED

Real = float | int | np.number | Real_[Array, "..."] | Real_[np.ndarray, "..."]

_EXPERIMENTS: dict[str, Any] = {
    "tied": RiskFlow, "joint": RiskFlow, "alternating": AlternatingDescent, "sgd": Descent,
}  # fmt: skip
METHODS = tuple(_EXPERIMENTS)
_TRAJECTORIES: dict[str, AbstractTheory] = {"tied": TIED, "joint": JOINT, "alternating": ALTERNATING}
_STEPWISE = ("alternating", "joint", "sgd")
_METHODS_WITH = {"step_size": _STEPWISE, "batch_size": ("sgd",), "optimizer": ("sgd",)}
_TRAINING_THE_DECODER = ("joint", "sgd")


class TwoLayerProblem(AbstractProblem):
    """A two-layer autoencoder x̂ = A σ(B x), its inputs, and a gradient method with its start.

    Simulated curves have the values `risk`, R of Gaussian inputs with this covariance; `second_moment`, tr K²/n of
    K = B Σ Bᵀ; and `overlap`, (1/n) tr B(t) Σ B(0)ᵀ; all for normalised rows.

    | method | what is trained | times | see |
    | --- | --- | --- | --- |
    | "tied" | B by gradient flow on spheres, A = β Bᵀ with the best β | flow times | `RiskFlow` |
    | "joint" | A and B by that flow | flow times | `RiskFlow` |
    | "joint", `step_size` | A and B by steps of one size | step numbers | `Descent` |
    | "alternating" | B by steps, each after the best A | step numbers | `AlternatingDescent` |
    | "sgd" | A and B by steps on fresh samples | step numbers | `Descent` |

    Flow times are in units of the flow of L = (d/2) R. The options of `simulate` are those of `of` of the class on the
    right.

    Arguments:
        input_dim: d; a positive integer for a simulation, any positive number for a limit.
        num_units: n; likewise.
        activation: σ: a name (see `aetheory.two_layer.ACTIVATIONS`), an `Activation`, or any function.
        method: one of the four above.
        covariance: Σ of the inputs: `None` for the identity, a vector of variances, a positive semidefinite matrix, or
            a source, from which "sgd" then draws its samples.
        source: source of the samples of "sgd", in place of `covariance`; Gaussian when omitted.
        start: B(0), shape (num_units, input_dim), no zero row, or an autoencoder where A is trained too. By default
            every repeat draws random unit rows, and A(0) is 0 ("joint") or (c₁/f(1)) Bᵀ ("sgd").
        step_size: positive step size on d·R in "alternating", .1 when omitted; on L = (d/2) R in "joint", which is a
            flow when omitted; on ½ mean ‖x − x̂‖² in "sgd", where it replaces Adam by plain steps.
        batch_size: batch size of "sgd", a positive integer; 256 when omitted.
        optimizer: any Optax optimiser for "sgd"; when omitted Adam, with a learning rate that decreases from .005 to 0
            along a cosine until the last time.
        alpha: α ≥ 0 of the theories, for instance to fit it; α of the activation when omitted. A problem with a given α
            cannot be simulated.

    Raises:
        ValueError: an argument is out of its range, or does not belong to the method.

    Source: A. Shevchenko, K. Kögler, H. Hassani, M. Mondelli, arXiv:2212.13468; sparse sources: arXiv:2402.05013.
    """

    input_dim: Real = eqx.field(metadata=described("input dimension", "d", **POSITIVE))
    num_units: Real = eqx.field(metadata=described("hidden units", "n", **POSITIVE))
    activation: Any = "sign"
    method: str = eqx.field(static=True, default="tied")
    covariance: Any = None
    source: Any = None
    start: Any = None
    step_size: Real | None = eqx.field(default=None, metadata=described("step size", r"\eta", **POSITIVE))
    batch_size: int | None = eqx.field(static=True, default=None)
    optimizer: optax.GradientTransformation | None = eqx.field(static=True, default=None)
    alpha: Real | None = eqx.field(
        default=None, metadata=described("nonlinearity of the activation", r"\alpha", **NONNEGATIVE)
    )

    theories: ClassVar = THEORIES
    meanings: ClassVar = {
        "risk": Meaning("risk", "R", axis=r"risk $R = \mathbb{E}\,\|x-\hat x\|^2/d$"),
        "second_moment": Meaning("second moment of the kernel", r"\mathrm{tr}\,K^2/n"),
        "overlap": Meaning("overlap with the start", r"\mathrm{tr}\,B(t)\Sigma B(0)^\top/n"),
    }
    citations: ClassVar = (Citation("shevchenko2023fundamental", "eq. (1.1)"), Citation("kogler2024compression"))

    def __post_init__(self) -> None:
        check_choice("method", self.method, _EXPERIMENTS)
        self.activation = as_activation(self.activation)
        self.activation.require_linear_part()
        if self.source is not None and self.covariance is not None:
            raise fail("covariance", "None beside `source`, which has its own", self.covariance)
        if hasattr(self.covariance, "covariance"):
            self.source = self.covariance
        self.covariance = _as_covariance(self.covariance if self.source is None else self.source.covariance)
        self._check_numbers()
        self._check_start()

    def _check_numbers(self) -> None:
        check_fields(self, "input_dim", "num_units", "step_size", "alpha")
        for name, methods in _METHODS_WITH.items():
            if self.method not in methods and (value := getattr(self, name)) is not None:
                raise fail(name, f"None for the method {self.method!r}", value)
        if self.batch_size is not None:
            self.batch_size = static_integer("batch_size", self.batch_size)
        if self.optimizer is not None and self.step_size is not None:
            raise fail("optimizer", "None beside `step_size`, which stands for it", self.optimizer)
        if self.covariance is not None and is_concrete(self.input_dim) and len(self.covariance) != self.input_dim:
            raise fail("input_dim", f"{len(self.covariance)}, the dimension of the covariance", self.input_dim)

    def _check_start(self) -> None:
        if isinstance(self.start, TwoLayerAutoencoder):
            if self.method not in _TRAINING_THE_DECODER:
                raise fail("start", f"an encoder alone for the method {self.method!r}", self.start)
            if self.start.activation != self.activation:
                raise fail("activation", "the activation of `start`", self.activation.name)
            self.start = eqx.tree_at(lambda one: one.encoder, self.start, self._checked(self.start.encoder))
        elif self.start is not None:
            self.start = self._checked(self.start)

    def _checked(self, encoder: Any) -> Rows:
        encoder = check_samples("start", encoder, shape="(num_units, input_dim)")
        for size, name in zip(encoder.shape, ("num_units", "input_dim"), strict=True):
            if is_concrete(getattr(self, name)) and size != getattr(self, name):
                raise fail("start", f"of {name} {getattr(self, name)}", encoder.shape)
        return checked_encoder(encoder, self.covariance, "start")[0]

    @property
    def encoder(self) -> Float[Array, "num_units input_dim"] | None:
        """B(0), where it is given."""
        return self.start.encoder if isinstance(self.start, TwoLayerAutoencoder) else self.start

    @property
    def decoder(self) -> Float[Array, "input_dim num_units"] | None:
        """A(0), where it is given."""
        return self.start.decoder if isinstance(self.start, TwoLayerAutoencoder) else None

    @property
    def rate(self) -> Real:
        """r = n/d, units per input dimension."""
        value: Real = self.num_units / self.input_dim
        return value

    @property
    def is_descent(self) -> bool:
        """Whether times are numbers of steps."""
        return self.method != "tied" and (self.method != "joint" or self.step_size is not None)

    @property
    def nonlinearity(self) -> Any:
        """Activation for the limits, or α where it is given."""
        return self.activation if self.alpha is None else self.continuous().alpha

    @property
    def free_numbers(self) -> tuple[str, ...]:  # type: ignore[override]  # some methods have a step size
        """Names of n, α and, for a descent with a step size, η."""
        steps = self.method == "alternating" or self.step_size is not None
        return ("num_units", "alpha", "step_size") if steps else ("num_units", "alpha")

    @property
    def numbers(self) -> tuple[Any, ...]:
        """Numbers that may be traced or a batch."""
        return (self.input_dim, self.num_units, self.alpha, self.step_size)

    def continuous(self) -> "TwoLayerProblem":
        """The problem with α and the default step size filled in.

        Raises:
            ValueError: the activation is not odd.
        """
        alpha, step = limit_alpha(self.activation), self.step_size
        if step is None and self.method == "alternating":
            step = STEP_SIZE
        return replace(self, alpha=alpha if self.alpha is None else self.alpha, step_size=step)

    @property
    def is_isotropic(self) -> bool:
        """Whether the covariance is known to be the identity."""
        return self.covariance is None or (is_concrete(self.covariance) and bool((self.covariance == 1).all()))

    @property
    def deviations(self) -> Float[Array, " input_dim"]:
        """Standard deviations D_j, the square roots of the eigenvalues of Σ."""
        if self.covariance is None:
            return jnp.ones(static_integer("input_dim", self.input_dim))
        variances = self.covariance if self.covariance.ndim == 1 else jnp.linalg.eigvalsh(self.covariance)
        return jnp.sqrt(jnp.maximum(variances, 0))

    def default_theory(self) -> AbstractTheory:
        """Theory of the training of the method where one exists, otherwise of where training ends.

        Isotropic inputs: the theory of the method, "stationary" for plain steps on samples up to n = d, otherwise
        "gaussian". Other inputs: "matrix descent" for the alternating method, otherwise "water-filling".
        """
        if not self.is_isotropic:
            return MATRIX if self.method == "alternating" else WATER_FILLING
        if self.method == "sgd":
            noisy = self.step_size is not None and is_concrete(self.rate) and bool((np.asarray(self.rate) <= 1).all())
            return STATIONARY if noisy else GAUSSIAN
        return _TRAJECTORIES[self.method]

    @property
    def options(self) -> tuple[str, ...]:
        """Options of the method."""
        return keyword_only(self._experiment.of)

    @property
    def _experiment(self) -> Any:
        return Descent if self.method == "joint" and self.is_descent else _EXPERIMENTS[self.method]

    def experiment(self, times: Any, **options: Any) -> AbstractExperiment:
        """Experiment of the method, with its options.

        Raises:
            ValueError: a dimension (for a descent also a time) is traced, or α is given.
        """
        if self.alpha is not None:
            raise fail("alpha", "None for a simulation, whose activation determines α", self.alpha)
        experiment: AbstractExperiment = self._experiment.of(self, times, **options)
        return experiment


def _as_covariance(covariance: Any) -> Covariance:
    """Checked covariance, as variances where it is diagonal."""
    if covariance is None:
        return None
    sigma = check_covariance("covariance", covariance)
    if sigma.ndim == 2 and is_concrete(sigma):
        values = np.asarray(sigma)
        if np.array_equal(values, np.diag(np.diag(values))):
            return jnp.diag(sigma)
    return sigma
