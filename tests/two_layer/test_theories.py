import jax
import jax.numpy as jnp
import numpy as np
import pytest
from refusals import refused
from tolerance import assert_rounded, rounding

import aetheory as ae
from aetheory.core.bibliography import bibliography

TIMES = np.array([0, 5, 50])
VARIANCES = np.array([2.0, 1.0, 0.5, 0.5])


def risk(problem, theory=None):
    return ae.predict(problem, TIMES, theory).risk


def test_each_theory_is_its_limit(precision):
    variances = jnp.asarray(VARIANCES, precision)
    sparse = ae.SparseSource(50, 0.2, "rademacher")
    cases = [
        (ae.TwoLayerProblem(4, 6), "gaussian", "gaussian", ae.limits.gaussian(1.5)),
        (
            ae.TwoLayerProblem(4, 6, "tanh", covariance=variances),
            None,
            "water-filling",
            ae.limits.water_filling(np.sqrt(VARIANCES), 6, "tanh").risk,
        ),
        (ae.TwoLayerProblem(50, 40, source=sparse), "rotation", "rotation", ae.limits.rotation_risk(sparse, 0.8)),
        (ae.TwoLayerProblem(50, 40, source=sparse), "denoised", "denoised", ae.limits.denoised_risk(sparse, 0.8)),
    ]
    for problem, asked, name, expected in cases:
        curve = ae.predict(problem, TIMES, asked)
        assert curve.theory.name == curve.label == name
        assert ae.predict(problem, TIMES.tolist(), asked).risk.shape == (3,)
        assert curve.risk.dtype == precision
        np.testing.assert_allclose(curve.risk, np.full(3, expected), rtol=rounding(precision, 2049, condition=2))


def test_a_full_covariance_counts_by_its_eigenvalues(x64):
    axes = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0]
    error = rounding(jnp.float64, terms=4 * 4, condition=VARIANCES.max() / VARIANCES.min())
    full = ae.TwoLayerProblem(4, 6, covariance=axes * VARIANCES @ axes.T)
    np.testing.assert_allclose(risk(full), risk(ae.TwoLayerProblem(4, 6, covariance=VARIANCES)), rtol=error)
    assert full.default_theory().name == "water-filling"


def test_batches_jit_vmap_and_real_dimensions(x64):
    units = jnp.asarray([2.0, 4.5, 9.0])
    for covariance in (None, VARIANCES):

        def of(n, covariance=covariance):
            return risk(ae.TwoLayerProblem(4, n, covariance=covariance), "gaussian" if covariance is None else None)

        expected = [of(float(n)) for n in units]
        for found in (of(units), jax.jit(jax.vmap(of))(units), jax.jit(of)(units)):
            np.testing.assert_allclose(found, expected, rtol=rounding(jnp.float64, 16))
    # dR/dn = −α/(d (r+α)²) beyond r = 1
    alpha = ae.two_layer.as_activation("sign").alpha
    slope = jax.grad(lambda n: risk(ae.TwoLayerProblem(4, n), "gaussian")[0])(9.0)
    assert float(slope) == pytest.approx(-alpha / (4 * (2.25 + alpha) ** 2), rel=rounding(jnp.float64, 16))
    answer = ae.sensitivities(ae.TwoLayerProblem(4, 9), TIMES, "gaussian")
    assert_rounded(answer.derivatives["num_units"].risk, np.full(3, 9 * slope), jnp.float64, 32)


def test_theories_cite_the_bibliography():
    keys = set(bibliography())
    for theory in ae.two_layer.THEORIES.values():
        assert {citation.key for citation in theory.citations} <= keys
        assert theory.tested in str(theory)
    assert {citation.key for citation in ae.TwoLayerProblem.citations} <= keys


PLAIN = ae.TwoLayerProblem(4, 2)
test_what_a_limit_does_not_cover = refused(
    (lambda: risk(ae.TwoLayerProblem(4, 2, covariance=VARIANCES), "gaussian"), "`covariance` must be None or"),
    (lambda: risk(PLAIN, "denoised"), "`source` must be a `SparseSource`, but got None."),
    (lambda: risk(PLAIN, "mean-field"), "`theory` must be one of 'gaussian', 'water-filling'"),
    (lambda: risk(ae.TwoLayerProblem(4, 2, "relu")), "`activation` must be odd"),
)
