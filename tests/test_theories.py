"""One contract for every theory of every problem: being listed is being tested."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles.spectra import power_law
from tolerance import rounding

import aetheory as ae
from aetheory.core.bibliography import entry
from aetheory.core.problem import AbstractProblem
from aetheory.core.theory import AbstractTheory

STEP = 1e-5


class Case(NamedTuple):
    """A theory where it is used.

    Arguments:
        make: a problem from real numbers, the point's.
        point: where.
        times: when.
        options: of the theory, small where it is a flow.
        flow: whether it is one, with an `adjoint` for forward mode.
        batched: whether arrays of numbers make a batch of problems, besides `vmap`.
        tolerance: of a derivative, relative to the largest: differences of what an adaptive solver computed.
        condition: by how much float32's rounding is magnified.
    """

    make: Callable[..., AbstractProblem]
    point: tuple[float, ...]
    times: tuple[float, ...]
    options: dict
    flow: bool = False
    batched: bool = True
    tolerance: float = 1e-5
    condition: float = 3.5  # of a denoiser, whose posterior magnifies its error


def linear_case(theory: AbstractTheory) -> Case:
    bracketed = theory.name in ("free", "interior", "untied")
    flow = bracketed or not theory.is_explicit
    options = {"rtol": 1e-10} if flow else {}
    # few nodes and small rotations: the same code
    if bracketed:
        options |= {"method": ae.Rotations(4, 2)}
    elif flow:
        options |= {"num_nodes": 6}
    unit = 1 / 40 if "small-data" in theory.name else 1.0
    ratio = 40.0 if "small-data" in theory.name else 1.3
    case = Case(ae.LinearRatios, (0.5, 0.7, ratio), (0.0, 0.1 * unit, 0.4 * unit), options, flow)
    if theory.name == "decoupled-modes":
        # in float32 the spectrum is tabulated 1e-5 above the axis, which blurs its edges by √1e-5
        case = case._replace(make=anisotropic, condition=14.0)
    if "narrow-latent" in theory.name:
        options |= {"throw": False}  # negative risks at so wide a latent layer
    if theory.name == "untied":
        case = case._replace(make=partial(ae.LinearRatios, tied=False))
    if theory.name == "untied-modes":
        case = Case(untied, (1e-2, 0.7), (0.0, 0.3, 1.0), {"num_nodes": 6})
    return case


def anisotropic(*ratios):
    return ae.LinearRatios(*ratios, covariance=power_law(12, 1.5))


def untied(init_scale, latent_ratio):
    return ae.LinearRatios(init_scale, latent_ratio, 0.0, covariance=power_law(12, 1.5), tied=False)


def nonlinear(**inputs):
    return lambda num_units: ae.TwoLayerProblem(20, num_units, activation="erf", **inputs)


def trained(method, **inputs):
    def make(num_units, alpha, step_size=None):
        return ae.TwoLayerProblem(20, num_units, "erf", method, alpha=alpha, step_size=step_size, **inputs)

    return make


def noisy(num_units, step_size):
    return ae.TwoLayerProblem(20, num_units, "erf", "sgd", step_size=step_size)


def sparse(num_units):
    return ae.TwoLayerProblem(20, num_units, activation="erf", source=ae.SparseSource(20, 0.3))


def recovery(*numbers):
    return ae.RecoveryProblem(**dict(zip(ae.RecoveryProblem().free_numbers, numbers, strict=True)))


def descent(*numbers):
    return dataclasses.replace(recovery(*numbers), optimizer="sgd")


PUBLISHED = (2.0, 4.0, 5.0, 0.56, 1e-3, 1.0)
CASES = {theory.name: linear_case(theory) for theory in ae.LinearProblem.theories.values()} | {
    "tied flow": Case(trained("tied"), (12.5, 0.3), (0.0, 1.0), {"rtol": 1e-10}, flow=True),
    "alternating descent": Case(trained("alternating"), (12.5, 0.3, 0.1), (0.0, 3.0), {}),
    "joint training": Case(trained("joint"), (12.5, 0.3), (0.0, 1.0), {"rtol": 1e-10}, flow=True),
    "matrix descent": Case(
        trained("alternating", covariance=np.linspace(0.5, 1.5, 20)), (12.5, 0.3, 0.1), (0.0, 3.0), {}
    ),
    "stationary": Case(noisy, (12.5, 0.05), (0.0, 1.0), {}),
    "gaussian": Case(nonlinear(), (12.5,), (0.0, 1.0), {}),
    "water-filling": Case(nonlinear(covariance=np.linspace(0.5, 1.5, 20)), (12.5,), (0.0, 1.0), {}, batched=False),
    "rotation": Case(sparse, (12.5,), (0.0, 1.0), {}),
    "denoised": Case(sparse, (12.5,), (0.0, 1.0), {}, batched=False),
    "fixed-point norm": Case(recovery, PUBLISHED, (0.0, 2.0), {}),
    "published bound": Case(recovery, PUBLISHED, (0.0, 2.0), {}),
    "order-parameter map": Case(descent, (*PUBLISHED[:4], 2.0, 1.0), (0.0, 2.0), {}),
    "single-entry process": Case(recovery, PUBLISHED, (0.0, 2.0), {}),
}


def all_theories():
    assert {ae.LinearProblem, ae.TwoLayerProblem, ae.RecoveryProblem}  # imported, and so known to the core
    return {theory.name: theory for system in AbstractProblem.__subclasses__() for theory in _theories(system)}


def _theories(system):
    """Of a final class of problems, or of those below an abstract one."""
    own = getattr(system, "theories", None)
    # other tests make problems of their own
    found = list(own.values()) if isinstance(own, dict) and system.__module__.startswith("aetheory") else []
    return found + [theory for below in system.__subclasses__() for theory in _theories(below)]


THEORIES = all_theories()
# a flow compiles for ten seconds: one stands for the others, and tests/linear/theories/test_interior.py for brackets;
# so does the alternating descent for what is stepped, and tests/group_sparse/test_trajectories.py for the map
LONG = {name for name, case in CASES.items() if case.flow} - {"narrow-latent"}
LONG |= {"untied-modes", "matrix descent", "order-parameter map", "single-entry process"}
NAMES = [pytest.param(name, marks=pytest.mark.slow) if name in LONG else name for name in CASES]


def predicted(name, point, dtype=None, **options):
    case = CASES[name]
    times = np.asarray(case.times, dtype or np.dtype(jnp.result_type(float)))  # known in a traced program
    numbers = [point[k] for k in range(len(case.point))]
    curve = ae.predict(case.make(*numbers), times, name, **{**case.options, **options})
    return jnp.stack([jnp.ravel(array) for array in curve.values.arrays])


def test_every_theory_has_a_case():
    assert set(THEORIES) == set(CASES)


@pytest.mark.parametrize("name", THEORIES)
def test_a_theory_says_what_it_is(name):
    theory = THEORIES[name]
    assert theory.formula
    assert theory.tested
    assert theory.error
    assert theory.citations
    for citation in theory.citations:
        assert entry(citation.key).key == citation.key
    assert entry(theory.citations[0].key).key in ae.citation(name)
    assert theory.name in str(theory)


@pytest.mark.filterwarnings("ignore:The bracket")
@pytest.mark.parametrize("name", NAMES)
def test_single_mapped_and_compiled_curves_are_one_with_derivatives_in_both_modes(x64, name):
    """Eager single problems beside `vmap` and `jit`; derivatives in all numbers beside central differences."""
    case = CASES[name]
    points = np.outer([1.0, 1.1], case.point)

    def scalar(point, **options):
        values = predicted(name, point, **options)
        return jnp.sum(jnp.ravel(values) * jnp.cos(1 + jnp.arange(float(values.size)))), values

    single = np.stack([predicted(name, jnp.asarray(point)) for point in points])
    steps = STEP * np.diag(points[0])
    moved = np.concatenate([points, points[0] + steps, points[0] - steps])
    (values, mapped), slopes = jax.jit(jax.vmap(jax.value_and_grad(scalar, has_aux=True)))(jnp.asarray(moved))
    np.testing.assert_allclose(mapped[:2], single, rtol=1e-6, atol=1e-8)
    up, down = np.reshape(values[2:], (2, -1))
    expected = (up - down) / (2 * STEP * points[0])
    close = {"rtol": 0, "atol": case.tolerance * np.abs(expected).max()}
    np.testing.assert_allclose(slopes[0], expected, **close)
    forward = {"adjoint": diffrax.ForwardMode()} if case.flow else {}
    slope = jax.jit(jax.jacfwd(lambda one: scalar(one, **forward)[0]))(jnp.asarray(points[0]))
    np.testing.assert_allclose(slope, expected, **close)
    with jax.enable_x64(False):
        check_float32(name, np.float32(points), single)


def check_float32(name, points, double):
    """A batch of problems in float32, where a theory takes one, and a single problem otherwise."""
    options = {"rtol": 1e-6} if CASES[name].flow else {}
    if CASES[name].batched:
        low = predicted(name, jnp.asarray(points).T, jnp.float32, **options)
        low = np.moveaxis(np.reshape(low, (double.shape[1], 2, -1)), 0, 1)
    else:
        low, double = predicted(name, jnp.asarray(points[0]), jnp.float32, **options), double[0]
    assert low.dtype == jnp.float32
    # the longest sum is that of a denoiser
    error = rounding(jnp.float32, terms=2049, condition=CASES[name].condition, size=max(1.0, np.abs(double).max()))
    np.testing.assert_allclose(low, double, rtol=0, atol=error)
