"""The weight-tied linear autoencoder's four numbers, and the three ratios that decide its regime."""

import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import diffrax
import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from aetheory.core.checks import as_float, check_dimension, check_real, fail, is_concrete
from aetheory.core.meaning import NONNEGATIVE, POSITIVE, Meaning, check_fields, described
from aetheory.core.solve import DEFAULT_MAX_STEPS
from aetheory.core.theory import AbstractTheory, Citation
from aetheory.linear.data import population_variances
from aetheory.linear.faces import FACES, check_faces
from aetheory.linear.locate import is_single, locate
from aetheory.linear.parameters import AbstractLinear, Real
from aetheory.linear.simulation import LinearExperiment
from aetheory.linear.theories import THEORIES
from aetheory.linear.theories.decoupled_modes import DECOUPLED_MODES, are_decoupled
from aetheory.linear.theories.interior import INTERIOR, UNTIED
from aetheory.linear.theories.large_data import LARGE_DATA
from aetheory.linear.theories.untied_modes import UNTIED_MODES

_PENALTIES = ("weight_decay", "input_noise")
_OPTIONAL = (*_PENALTIES, "tied")

_RISK_AXIS = r"risk $R = \mathbb{E}\,\|x-\hat x\|^2/p$"

_NOTABLE = 0.05
"""Estimated error of a named regime that is worth a warning, as a share of max(1, initial risk)."""

_LARGEST_START = 0.02
"""Hσ² up to which untied modes were measured to hold; beyond, they are off by about Hσ² of the initial risk."""


def _whole(sizes: Any) -> Any:
    """The nearest positive integers, or infinity; one number as Python's own."""
    rounded = np.maximum(np.rint(sizes), 1)
    return rounded if rounded.ndim else float(rounded) if np.isinf(rounded) else int(rounded)


@np.errstate(divide="ignore")
def _samples(input_dim: Any, sample_ratio: Any) -> Any:
    return _whole(np.divide(input_dim, sample_ratio))


_PAIRS: tuple[tuple[str, str, Callable[[Any, Any], Any], Callable[[Any, Any], Any]], ...] = (
    ("latent_dim", "latent_ratio", lambda p, size: size / p, lambda p, ratio: _whole(p * ratio)),
    ("num_samples", "sample_ratio", lambda p, size: p / size, _samples),
    ("init_variance", "init_scale", lambda p, size: p * size, lambda p, ratio: ratio / p),
)
"""Two names each of what a problem may be given by, the second from p and the first, and the first from the second."""


class _AbstractPrism(AbstractLinear):
    """What both ways to give the numbers of a linear autoencoder share."""

    theories: ClassVar = THEORIES
    citations: ClassVar = (Citation("golikov2026prism"), Citation("yarotsky2026gradient"))
    free_numbers: ClassVar = ("init_scale", "latent_ratio", "sample_ratio")
    products: ClassVar = {"init_strength": ("init_scale", "latent_ratio")}
    meanings: ClassVar = {
        "train": Meaning("train risk", r"R_{\mathrm{train}}", axis=_RISK_AXIS),
        "population": Meaning("population risk", r"R_{\mathrm{pop}}", axis=_RISK_AXIS),
    }
    number_meanings: ClassVar = {
        "init_strength": Meaning("initial strength", r"H\sigma^2"),
        "init_scale": Meaning("initial scale", r"p\sigma^2", **NONNEGATIVE),
        "latent_ratio": Meaning("hidden units per input dimension", "H/p", **POSITIVE),
        "sample_ratio": Meaning("input dimensions per sample", "p/N", **NONNEGATIVE),
    }

    def ratios(self, dtype: Any) -> "LinearRatios":
        """x, y, z and p as arrays of one precision and one shape."""
        names = ["init_scale", "latent_ratio", "sample_ratio", "input_dim"]
        names += [name for name in _PENALTIES if getattr(self, name) is not None]
        numbers = jnp.broadcast_arrays(*(jnp.asarray(getattr(self, name)).astype(dtype) for name in names))
        covariance = None if self.covariance is None else self.covariance.astype(dtype)
        return LinearRatios(**dict(zip(names, numbers, strict=True)), covariance=covariance, tied=self.tied)

    def find_theory(self, name: Any) -> AbstractTheory:
        """The regime of that name, or the edge or vertex where several named faces meet."""
        return super().find_theory(name if isinstance(name, str | AbstractTheory) else _meeting(name))

    def default_theory(self) -> AbstractTheory:
        """The regime that `ae.locate` finds; decoupled modes or the interior for inputs with a covariance of their own.

        With a covariance the interior takes the place of large-data: it is as fast, and it knows N, on which late times
        depend. Where few directions carry the variance (`are_decoupled`), decoupled modes take the place of both.
        Untied, untied modes where inputs have a covariance and the start is small.

        Raises:
            ValueError: as `ae.locate`.
        """
        if not self.tied:
            is_small = self.covariance is not None and self._largest_strength() <= _LARGEST_START
            return UNTIED_MODES if is_small else UNTIED
        regime = locate(self).regime
        if self.covariance is None or regime not in (INTERIOR.name, LARGE_DATA.name):
            return THEORIES[regime]
        return DECOUPLED_MODES if are_decoupled(self) else INTERIOR

    def _largest_strength(self) -> float:
        """The largest Hσ² of a batch; infinite where it is traced."""
        scale, ratio = self.init_scale, self.latent_ratio
        if not (is_concrete(scale) and is_concrete(ratio)):
            return math.inf
        return float(np.max(np.asarray(scale) * np.asarray(ratio)))

    def caveat(self, theory: AbstractTheory, options: Mapping[str, Any]) -> str | None:
        """Reason why a theory is inaccurate for this problem: an estimated error beyond 5 % of max(1, initial risk).

        The error of a face is that of `ae.locate`. The mean-field curve takes H for infinite: at time 0 it is
        (1−c)² τ̄, which leaves out c² τ̄ p/H. Every limit leaves out terms in 1/p, at most R(0)/p at time 0. Untied
        modes want a small start.
        """
        if theory is UNTIED_MODES:
            strength = self._largest_strength()
            is_large = _LARGEST_START < strength < math.inf
            return f"The untied-modes curve is of a start Hσ² ≪ 1, but here Hσ² = {strength:g}." if is_large else None
        if self.penalty is not None or options.get("data") is not None or not self.tied or not is_single(self):
            return None
        faces = [face for face in theory.name.split(" ∩ ") if face in FACES]
        location = locate(self) if faces else None
        error = 0.0 if location is None else max(location.errors[face] for face in faces)
        finite_size = 1 / float(self.input_dim)
        if max(error, finite_size) <= _NOTABLE:
            return None
        if location is None or finite_size > error:
            reason = f": it leaves out terms in 1/p, here p = {self.input_dim}"
            return _inaccuracy(theory, finite_size, reason)
        reason = ""
        if faces == ["mean-field"]:
            mean = 1.0 if self.covariance is None else float(np.mean(np.asarray(self.covariance)))
            left_out = mean * float(self.init_scale) ** 2 * float(self.latent_ratio)
            reason = f", at time 0 alone by {left_out:.2g} (c² τ̄ p/H, since it takes H for infinite)"
        if location.regime != theory.name:
            reason += f"; `ae.locate` finds this problem closest to {location.regime!r}"
        return _inaccuracy(theory, error, reason)


def _inaccuracy(theory: AbstractTheory, error: float, reason: str) -> str:
    return f"The {theory.name} curve is estimated to be off by {error:.2g} of max(1, initial risk){reason}."


class LinearProblem(_AbstractPrism):
    """A linear autoencoder x̂ = W Wᵀ x (or untied, x̂ = W₂ W₁ x), its training set and its initialisation.

    W has shape (input_dim, latent_dim) with independent N(0, init_variance) entries at the start; the `num_samples`
    training inputs are independent N(0, Σ), Σ = I unless `covariance` says otherwise. Every other field is a number or
    an array; arrays (of shapes that broadcast) make a batch of problems, and the fields may be traced by `jax.vmap`,
    `jax.jit` and `jax.grad`.

    Arguments:
        input_dim: p, the dimension of an input; a positive integer.
        latent_dim: H, the number of hidden units; a positive integer.
        num_samples: N, the size of the training set; a positive integer, or `jnp.inf` for training on the
            population risk itself.
        init_variance: σ², the variance of each weight at initialisation; finite and nonnegative.
        covariance: Σ, of which only the eigenvalues matter, and are kept, shape (input_dim,): variances, a symmetric
            matrix, a source (`ae.GaussianSource.power_law(p, 1.5)`, an `ae.ImageSource`), or samples, whose own
            covariance it then is. One for the whole batch; isotropic where `None`.
        weight_decay, input_noise: γ and ε of the flow of ½ E‖x − W Wᵀ(x+ξ)‖² + (γ/2) ‖W‖², ξ ~ N(0, εI), nonnegative.
            The risks are measured without either. Simulations, the interior, mean-field and narrow-latent curves know
            them, and large-data ones of isotropic inputs.
        tied: `False` for separate weights, x̂ = W₂ W₁ x, all N(0, init_variance) at the start, trained on
            ½ E‖x − W₂ W₁ (x+ξ)‖² + (γ/2)(‖W₁‖² + ‖W₂‖²): simulations, and the untied-modes curve of a small start.

    Raises:
        ValueError: a field is out of its range (traced fields cannot be looked at and pass).

    Source: E. Golikov, Y. Gusev, D. Yarotsky, "A prism hierarchy of learning regimes in large linear
    autoencoders", arXiv:2606.05335.
    """

    input_dim: Real = eqx.field(metadata=described("input dimension", "p"))
    latent_dim: Real = eqx.field(metadata=described("hidden units", "H"))
    num_samples: Real = eqx.field(metadata=described("training samples", "N"))
    init_variance: Real = eqx.field(metadata=described("initial variance of a weight", r"\sigma^2", **NONNEGATIVE))
    covariance: Float[Array, " input_dim"] | None = eqx.field(converter=population_variances, default=None)
    weight_decay: Real | None = eqx.field(default=None, metadata=described("weight decay", r"\gamma", **NONNEGATIVE))
    input_noise: Real | None = eqx.field(default=None, metadata=described("input noise", r"\varepsilon", **NONNEGATIVE))
    tied: bool = eqx.field(static=True, default=True)

    def __check_init__(self) -> None:
        check_dimension("input_dim", self.input_dim)
        check_dimension("latent_dim", self.latent_dim)
        check_dimension("num_samples", self.num_samples, allow_infinity=True)
        check_fields(self, "init_variance")
        self.check_loss()
        if self.covariance is None or not is_concrete(self.input_dim):
            return
        if np.any(np.asarray(self.input_dim) != len(self.covariance)):
            raise ValueError(
                f"Argument `covariance` must have `input_dim` = {self.input_dim} variances, "
                f"but has {len(self.covariance)}."
            )

    @property
    def init_scale(self) -> Real:
        """x = p σ², the initial scale: an eigenvalue of W Wᵀ is of order x · max(1, H/p) at the start."""
        input_dim, init_variance = _numbers(self.input_dim, self.init_variance)
        value: Real = input_dim * init_variance
        return value

    @property
    def latent_ratio(self) -> Real:
        """y = H / p, hidden units per input dimension."""
        latent_dim, input_dim = _numbers(self.latent_dim, self.input_dim)
        value: Real = latent_dim / input_dim
        return value

    @property
    def sample_ratio(self) -> Real:
        """z = p / N, input dimensions per training sample; 0 when training on the population."""
        input_dim, num_samples = _numbers(self.input_dim, self.num_samples)
        value: Real = input_dim / num_samples
        return value

    def continuous(self) -> "LinearRatios":
        """Its ratios."""
        ratios = (self.init_scale, self.latent_ratio, self.sample_ratio, self.input_dim)
        return LinearRatios(*ratios, self.covariance, self.weight_decay, self.input_noise, self.tied)

    @classmethod
    def from_parameters(
        cls, parameters: Mapping[str, Any], *, continuous: bool = False
    ) -> "LinearProblem | LinearRatios":
        """That of input_dim, latent_dim or latent_ratio, num_samples or sample_ratio, and init_variance or init_scale.

        `weight_decay`, `input_noise` and `tied` may be among them.

        Arguments:
            parameters: numbers or arrays by name, traced ones too, but for ratios that are to be rounded.
            continuous: the ratios themselves; otherwise they are rounded to whole dimensions, at least 1.

        Raises:
            ValueError: not exactly one of each pair, an unknown name, or a value that is out of its range.
        """
        _check_parameters(parameters)
        p, rest = parameters["input_dim"], {name: parameters[name] for name in _OPTIONAL if name in parameters}
        if "tied" in rest:
            rest["tied"] = bool(rest["tied"])
        converted = {
            ratio: parameters[ratio] if ratio in parameters else to_ratio(p, parameters[size])
            for size, ratio, to_ratio, _ in _PAIRS
        }
        ratios = LinearRatios(**converted, input_dim=p, **rest)
        if continuous:
            return ratios
        sizes = {
            size: parameters[size] if size in parameters else to_size(p, converted[ratio])
            for size, ratio, _, to_size in _PAIRS
        }
        return cls(p, **sizes, **rest)

    def experiment(
        self,
        times: Any,
        *,
        data: Any = None,
        held_out: Any = None,
        step_size: float | int | Float[Array, ""] | None = None,
        rtol: float | Float[Array, ""] = 1e-6,
        max_steps: int = DEFAULT_MAX_STEPS,
        adjoint: diffrax.AbstractAdjoint | None = None,
        quantiles: Any = None,
    ) -> LinearExperiment:
        """Gradient flow of the train risk from Gaussian weights on random data; see `LinearExperiment`.

        Arguments:
            times: flow times, shape (num_times,), nonnegative and in increasing order.
            data: samples to train on instead of Gaussian ones, shape (num_samples, input_dim). They are centred; only
                the weights are then drawn.
            held_out: other samples, shape (any, input_dim), centred by the mean of `data`; the population risk is then
                measured on them, otherwise on isotropic inputs of unit variance.
            step_size: `None` for the flow; otherwise plain gradient descent of this step, the explicit Euler scheme of
                the same vector field, recorded by linear interpolation of W between steps.
            rtol: tolerance of the adaptive solver: the train risk is off by that share of its initial value, give or
                take a factor of a few, and the population risk hardly more where rtol is 1e-5 or less. float32 raises
                it to 2e-6, the tightest it can honour.
            max_steps: the most steps the adaptive solver may take.
            adjoint: how Diffrax differentiates the flow; reverse mode when omitted, `diffrax.ForwardMode()` for
                forward.
            quantiles: levels in [0, 1]; adds those of the min(p, H) eigenvalues of W Wᵀ that are not 0 for good, as the
                value `spectrum`, shape (num_times, num_levels). For tied weights.

        Raises:
            ValueError: an argument is out of its range, or a dimension is an array or traced.
        """
        return LinearExperiment.of(self, times, data, held_out, step_size, rtol, max_steps, adjoint, quantiles)


class LinearRatios(_AbstractPrism):
    """The three real numbers that a limit depends on, in place of whole dimensions.

    `predict` takes it wherever it takes a `LinearProblem`; so do optimisation, fits and derivatives, in which H/p and
    p/N vary continuously. Every field is a number or an array (of shapes that broadcast: a batch).

    Arguments:
        init_scale: x = pσ², nonnegative.
        latent_ratio: y = H/p, positive.
        sample_ratio: z = p/N, nonnegative; 0 for training on the population risk itself.
        input_dim: p, for corrections in 1/p only; infinite when omitted.
        covariance, weight_decay, input_noise, tied: as for a `LinearProblem`, Σ as a law whose shape stands for any p.

    Raises:
        ValueError: a field is out of its range (traced fields cannot be looked at and pass).

    Source: arXiv:2606.05335.
    """

    takes_input_dim: ClassVar[bool] = True

    init_scale: Real
    latent_ratio: Real
    sample_ratio: Real
    input_dim: Real = eqx.field(default=math.inf, metadata=described("input dimension", "p"))
    covariance: Float[Array, " input_dim"] | None = eqx.field(converter=population_variances, default=None)
    weight_decay: Real | None = eqx.field(default=None, metadata=described("weight decay", r"\gamma", **NONNEGATIVE))
    input_noise: Real | None = eqx.field(default=None, metadata=described("input noise", r"\varepsilon", **NONNEGATIVE))
    tied: bool = eqx.field(static=True, default=True)

    def __check_init__(self) -> None:
        check_fields(self, *self.free_numbers)
        check_dimension("input_dim", self.input_dim, allow_infinity=True)
        self.check_loss()

    def problem(self, input_dim: int) -> LinearProblem:
        """The problem of this input dimension with the nearest whole H and N, both at least 1.

        Raises:
            ValueError: ratios that are a batch or traced.
        """
        if not all(is_concrete(ratio) and jnp.ndim(ratio) == 0 for ratio in (self.latent_ratio, self.sample_ratio)):
            raise ValueError(
                "Rounding to whole dimensions needs single ratios that are known, but got a batch or traced values."
            )
        check_dimension("input_dim", input_dim)
        sizes = {size: to_size(input_dim, getattr(self, ratio)) for size, ratio, _, to_size in _PAIRS}
        rest = {name: getattr(self, name) for name in ("covariance", *_PENALTIES, "tied")}
        return LinearProblem(input_dim, **sizes, **rest)

    @property
    def candidates(self) -> Sequence[AbstractTheory]:
        """All regimes without a bracket that are no edge, and the interior."""
        faces = [one for one in self.theories.values() if not (one.is_approximate or one.is_special)]
        return [*faces, INTERIOR]

    def experiment(self, times: Any, **options: Any) -> LinearExperiment:
        """None: a simulation needs dimensions.

        Raises:
            ValueError: always.
        """
        raise fail("problem", "a `LinearProblem`, whose dimensions are known; see `LinearRatios.problem`", self)


def _check_parameters(parameters: Mapping[str, Any]) -> None:
    for size, ratio, *_ in _PAIRS:
        if (size in parameters) == (ratio in parameters):
            raise fail("parameters", f"inclusive of exactly one of {size} and {ratio}", list(parameters))
    known = {"input_dim", *(name for size, ratio, *_ in _PAIRS for name in (size, ratio)), *_OPTIONAL}
    if "input_dim" not in parameters or not known.issuperset(parameters):
        raise fail("parameters", f"made of input_dim and of {sorted(known - {'input_dim'})}", list(parameters))
    for name in ("input_dim", "latent_dim", "num_samples"):
        check_dimension(name, parameters.get(name, 1), allow_infinity=name == "num_samples")
    check_real("init_variance", parameters.get("init_variance", 0.0), "finite and nonnegative", minimum=0.0)


def _numbers(*values: Any) -> list[Any]:
    """Python floats where all are Python numbers, otherwise arrays of one shape."""
    if all(isinstance(value, numbers.Real) for value in values):
        return [float(value) for value in values]
    # Python numbers stay weakly typed, so that the arrays decide the precision
    arrays = (as_float(float(value) if isinstance(value, numbers.Real) else value) for value in values)
    return list(jnp.broadcast_arrays(*arrays))


def _meeting(names: Any) -> Any:
    """The name of the face, edge or vertex where the named faces meet."""
    faces = tuple(names) if isinstance(names, tuple | list) else ()
    if not faces or any(not isinstance(name, str) for name in faces) or any(name not in FACES for name in faces):
        raise fail("regime", f"the name of a regime, or several of {', '.join(map(repr, FACES))} that meet", names)
    check_faces(faces)
    return " ∩ ".join(face for face in FACES if face in faces)
