"""Inputs whose population covariance is not the identity: draws, limits and refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles.prism import many_matrix_flows
from oracles.spectra import blocks, power_law
from tolerance import rounding

import aetheory as ae
from aetheory.linear.data import population_variances
from aetheory.linear.theories import THEORIES

TIMES = np.array([0.0, 0.1, 0.5, 2.0])
DIM = 30  # of as many variances and times: programs that several tests share


def risks(curve):
    return np.stack([curve.train, curve.population])


EDGES_AS_LIMITS = {
    # an edge or vertex, a problem that lies in it, its face, and by how much the two may differ there
    "mean-field ∩ free": ("mean-field", (3.0, 1e3, 1.3), 4e-3),
    "mean-field ∩ narrow-latent": ("mean-field", (1e-10, 1e3, 1.3), 1e-8),
    "large-data ∩ mean-field": ("mean-field", (1e-3, 300.0, 0.0), 1e-9),
    "large-data ∩ mean-field ∩ narrow-latent": ("mean-field", (1e-10, 1e3, 0.0), 1e-8),
    "large-data ∩ mean-field ∩ free": ("mean-field", (3.0, 1e3, 0.0), 4e-3),
    "large-data ∩ narrow-latent": ("narrow-latent", (0.5, 0.01, 0.0), 1e-9),
}


@pytest.mark.filterwarnings("ignore:The default `num_nodes`")
@pytest.mark.parametrize("edge", EDGES_AS_LIMITS)
def test_an_edge_is_the_limit_of_its_face(x64, edge):
    """As shares of the initial risk; free edges at strengths where the target hardly matters."""
    face, ratios, tolerance = EDGES_AS_LIMITS[edge]
    problem = ae.LinearRatios(*ratios, covariance=power_law(DIM, 0.8))
    times = np.array([0.0, 0.2, 0.5, 1.0]) * (1e-4 if "free" in edge else 0.2)
    near, limit = ae.predict(problem, times, edge), ae.predict(problem, times, face)
    np.testing.assert_allclose(risks(near) / risks(near)[0, 0], risks(limit) / risks(limit)[0, 0], atol=tolerance)


@pytest.mark.parametrize("edge", [name for name in THEORIES if "small-data ∩" in name and name != "small-data ∩ free"])
def test_small_data_edges_of_equal_variances_are_isotropic(x64, edge):
    times = [0.0, 0.01, 0.03]
    given = ae.LinearRatios(0.4, 0.7, 20.0, covariance=np.full(9, 0.5))
    plain = ae.predict(ae.LinearRatios(0.4, 0.7, 20.0), 0.5 * np.asarray(times), edge, throw=False)
    np.testing.assert_allclose(risks(ae.predict(given, times, edge, throw=False)), 0.5 * risks(plain), rtol=1e-12)


def test_decoupled_modes_meet_independent_values(x64):
    """From an independent program; a simulation of 320 dimensions: .6159 .4146 .2411 .1400 .0888 .0623."""
    problem = ae.LinearRatios(0.5, 0.5, 0.0, covariance=power_law(320, 1.5))
    curve = ae.predict(problem, 10 ** np.array([-2.75, -2.125, -1.5, -0.875, -0.375, 0]), "decoupled-modes")
    expected = [0.6126, 0.4093, 0.2384, 0.1359, 0.0828, 0.0545]
    np.testing.assert_allclose(risks(curve), [expected, expected], atol=1e-4)


def test_decoupled_modes_are_a_sum_over_the_directions_of_samples(x64):
    """F and δ against the eigenvalues s_i and variances v_iᵀΣv_i of twelve draws of 256 samples in 320 dimensions."""
    # as many directions and times as above, and one program
    variances, times, rng = power_law(320, 1.5), np.geomspace(0.003, 0.3, 6), np.random.default_rng(0)
    knots = np.append(0, np.geomspace(1e-4, 100, 400))
    one = np.asarray(ae.predict(ae.LinearRatios(0.5, 0.7, 1.0), knots, "small-data").train)
    drawn = []
    for _ in range(12):
        samples = np.sqrt(variances)[:, None] * rng.standard_normal((320, 256))
        spectrum, basis = np.linalg.eigh(samples @ samples.T / 256)
        error = np.interp(np.outer(times, spectrum.clip(0)), knots, one)
        drawn.append([error @ spectrum / 320, error @ (variances @ basis**2) / 320])
    curve = ae.predict(ae.LinearRatios(0.5, 0.7, 1.25, covariance=variances), times, "decoupled-modes")
    allowed = 4 * np.std(drawn, axis=0) / 12**0.5 + 1 / 320
    assert (np.abs(risks(curve) - np.mean(drawn, axis=0)) < allowed).all()


@pytest.mark.slow
def test_decoupled_modes_of_many_columns_are_mean_field(x64):
    times = np.array([0.0, 0.001, 0.01, 0.1])
    problem = ae.LinearRatios(3e-4, 1e3, 0.5, covariance=power_law(200, 1.5))
    modes, limit = (ae.predict(problem, times, name) for name in ("decoupled-modes", "mean-field"))
    np.testing.assert_allclose(risks(modes), risks(limit), atol=2e-3)


@pytest.mark.slow
def test_large_data_are_the_interior_without_noise(x64):
    problem = ae.LinearRatios(0.5, 0.5, 0.3, covariance=blocks(24))
    curve = ae.predict(problem, TIMES[:3], "large-data", num_nodes=24)
    interior = ae.predict(
        ae.LinearRatios(0.5, 0.5, 0.0, covariance=blocks(24)),
        TIMES[:3],
        "interior",
        method=ae.Rotations(24, 8),
    )
    np.testing.assert_allclose(risks(curve), risks(interior), atol=1e-5)
    assert (curve.lower.train <= curve.train).all()
    assert (curve.train <= curve.upper.train).all()


def test_the_choice_follows_the_spectrum():
    """What the expansion says at the problem's own moments; strong anisotropy decouples the modes."""
    strong, weak = power_law(400, 1.8), power_law(400, 0.3)
    for covariance, dims, chosen in (
        (weak, (40_000, 400, 1e-2), "mean-field"),
        (weak, (200, 500, 0.5), "interior"),
        (weak, (200, np.inf, 0.5), "interior"),  # as large data, with N
        (strong, (200, 500, 0.5), "decoupled-modes"),
    ):
        latent_dim, num_samples, scale = dims
        problem = ae.LinearProblem(400, latent_dim, num_samples, scale / 400, covariance=covariance)
        assert problem.default_theory().name == chosen


@pytest.mark.parametrize("ratio", [0.0, 0.5, 2.0])
def test_equal_variances_are_the_isotropic_curve(x64, ratio):
    for theory, finite_size in (("mean-field", False), ("mean-field", True), ("narrow-latent", False)):
        plain = ae.LinearRatios(0.4, 0.7, ratio, input_dim=50.0)
        given = ae.LinearRatios(0.4, 0.7, ratio, input_dim=50.0, covariance=np.ones(DIM))
        options = {"finite_size": True} if finite_size else {"throw": False}  # H/p = .7 is not narrow
        ours, known = (ae.predict(one, TIMES, theory, **options) for one in (given, plain))
        # the closed form's quadrature of the correction holds 1e-6, a thousand shares late .1 % of what has moved
        error = np.where((theory == "narrow-latent") & (TIMES > 1), 3e-3, 1e-6 if finite_size else 1e-7)
        assert (np.abs(ours.train - known.train) < error).all()
        if not finite_size:
            assert (np.abs(ours.population - known.population) < error).all()


@pytest.mark.parametrize(("precision", "exponent"), [(32, 0.5), (32, 1.5), (64, 1.5)], ids=str, indirect=["precision"])
def test_narrow_latents_end_in_the_largest_direction_whatever_the_precision(precision, exponent):
    """Late a = 1 and b = s₁: R_tr = 1 − y s₁."""
    variances = np.arange(1, 151.0) ** -exponent
    ratio = 0.01  # as long as the train risk at the end is positive
    ratios = ae.LinearRatios(0.3, ratio, 1.0, covariance=variances / variances.mean())
    with jax.enable_x64(True):  # one program for both
        law = ae.spectra.SampleCovariance(variances / variances.mean(), 1.0)
        largest = float(law.atoms(150, law.rank(150))[0].max())
    curve = ae.predict(ratios, np.array([0.0, 30, 3000]) / largest, "narrow-latent", num_nodes=96)
    assert float(curve.train[0]) == pytest.approx(1 - ratio * (2 - 0.3) * 0.3, abs=rounding(precision, 150, 2))
    assert float(curve.train[2]) == pytest.approx(1 - ratio * largest, abs=1e-3 * ratio * largest)
    assert float(curve.train[1]) == pytest.approx(float(curve.train[2]), abs=0.02 * ratio * largest)


@pytest.mark.parametrize("dims", [(8, 3, 20), (8, 3, np.inf), (8, 2, 3), (8, 12, 5)])
def test_draws_have_the_law_of_explicit_samples(x64, dims):
    """The mean of both risks, whatever is reduced: against explicit weights and samples."""
    input_dim, latent_dim, num_samples = dims
    variances, repeats, rng = power_law(8, 1.0), 300, np.random.default_rng(1)
    weights = np.sqrt(0.6 / 8) * rng.standard_normal((repeats, input_dim, latent_dim))
    covariances = np.diag(variances)
    if np.isfinite(num_samples):
        samples = np.sqrt(variances)[:, None] * rng.standard_normal((repeats, input_dim, num_samples))
        covariances = samples @ samples.mT / num_samples
    explicit = np.moveaxis(many_matrix_flows(weights, covariances, TIMES[:3], np.diag(variances)), 1, 0)
    problem = ae.LinearProblem(*dims, 0.6 / 8, covariance=variances)
    curve = ae.simulate(problem, TIMES[:3], jax.random.key(0), num_repeats=600)
    error = np.sqrt(np.var(explicit, axis=0) / repeats + risks(curve.standard_error) ** 2)
    assert (np.abs(risks(curve) - np.mean(explicit, axis=0)) < 4 * error + 1e-6).all()


def test_a_matrix_a_source_and_samples_are_their_eigenvalues(x64):
    rng = np.random.default_rng(0)
    samples = rng.standard_normal((30, 5)) * np.linspace(0.5, 2, 5)
    matrix = np.cov(samples.T, bias=True)
    expected = np.linalg.eigvalsh(matrix)[::-1]
    error = rounding(jnp.float64, terms=30, size=expected[0])
    for given in (matrix, samples, ae.GaussianSource(matrix)):
        found = np.sort(np.asarray(population_variances(given)))[::-1]
        np.testing.assert_allclose(found, expected, atol=error)
    source = ae.GaussianSource.power_law(6, 1.5)
    np.testing.assert_array_equal(ae.LinearProblem(6, 3, 9, 0.1, covariance=source).covariance, source.variances)


def test_batches_jit_and_derivatives(x64):
    variances = power_law(DIM, 1.0)

    @jax.jit
    def train(scale, tilt):
        tilted = jnp.asarray(variances) ** tilt
        problem = ae.LinearRatios(scale, 2.0, 0.7, covariance=tilted)
        return ae.predict(problem, TIMES, "mean-field").train

    batch = ae.LinearRatios(jnp.asarray([0.2, 0.5]), 2.0, 0.7, covariance=variances)
    curve = ae.predict(batch, TIMES, "mean-field")
    mapped = jax.vmap(train, in_axes=(0, None))(jnp.asarray([0.2, 0.5]), 1.0)
    np.testing.assert_allclose(curve.train, mapped, rtol=1e-10)
    step = 1e-5
    slope = jax.grad(lambda tilt: train(0.2, tilt).sum())(1.0)
    difference = (train(0.2, 1 + step).sum() - train(0.2, 1 - step).sum()) / (2 * step)
    assert float(slope) == pytest.approx(float(difference), rel=1e-7)


@pytest.mark.filterwarnings("ignore:The default `num_nodes`")
def test_float32_and_the_ends_of_the_scale():
    problem = ae.LinearProblem(DIM, 300, 45, np.float32(0.0013), covariance=power_law(DIM, 1.0).astype(np.float32))
    curve = ae.predict(problem, TIMES.astype(np.float32), "mean-field")
    assert curve.train.dtype == jnp.float32
    with jax.enable_x64(True):
        double = ae.LinearProblem(DIM, 300, 45, 0.0013, covariance=power_law(DIM, 1.0))
        np.testing.assert_allclose(curve.train, ae.predict(double, TIMES, "mean-field").train, atol=3e-5)
        for scale, expected in ((0.0, 1.0), (1 / 300, 0.0)):
            at_end = ae.LinearProblem(DIM, 300, 45, scale, covariance=power_law(DIM, 1.0))
            np.testing.assert_allclose(ae.predict(at_end, TIMES, "mean-field").train[0], expected, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("num_samples", [400, 320, 160, np.inf])
@pytest.mark.parametrize("variances", [power_law(320, 0.5), blocks(320)], ids=["power law", "blocks"])
def test_the_interior_is_met_by_rotations_of_atoms(x64, variances, num_samples):
    problem = ae.LinearProblem(320, 160, num_samples, 0.5 / 320, covariance=variances)
    times = np.array([0.0, 0.1, 0.3, 1.0, 3.0])
    simulated = ae.simulate(problem, times, jax.random.key(0), num_repeats=6)
    limit = ae.predict(problem, times, "interior")
    start = float(limit.train[0])
    difference = np.abs(risks(limit) - risks(simulated)) / start
    assert (difference < 4e-3 + 3 * risks(simulated.standard_error) / start).all()


@pytest.mark.parametrize(
    ("covariance", "message"),
    [
        (np.ones(7), "`covariance` must have `input_dim` = 8 variances, but has 7"),
        (np.zeros(8), "`covariance` must have a mean variance between 0 and 1000, but has 0"),
        (6000 * np.ones(8), "but has 6e.*Rescale your data"),
        (-np.ones(8), "`covariance` must be .* smallest eigenvalue is -1"),
        (np.eye(8) + np.eye(8, k=1), "`covariance` must be .* is not symmetric"),
    ],
)
def test_bad_covariances_are_refused(covariance, message):
    with pytest.raises(ValueError, match=message):
        ae.LinearProblem(8, 3, 20, 0.1, covariance=covariance)


def test_what_is_not_known_for_a_covariance_says_so():
    problem = ae.LinearProblem(8, 3, 20, 0.1, covariance=blocks(8))
    with pytest.raises(ValueError, match=r"`covariance` must be None \(isotropic inputs\) for the narrow-latent ∩"):
        ae.predict(problem, TIMES, ("narrow-latent", "free"))
    with pytest.raises(ValueError, match=r"`covariance` must be given \(anisotropic inputs\) for the decoupled-modes"):
        ae.predict(ae.LinearProblem(8, 3, 20, 0.1), TIMES, "decoupled-modes")
    with pytest.raises(ValueError, match="`finite_size` must be False for inputs with a covariance of their own"):
        ae.predict(problem, TIMES, "large-data", finite_size=True)
    with pytest.raises(ValueError, match="`data` must be None for a problem with a covariance of its own"):
        ae.predict(problem, TIMES, "mean-field", data=np.ones((20, 8)))
    with pytest.raises(ValueError, match="`data` must be None for a problem with a covariance of its own"):
        ae.simulate(problem, TIMES, jax.random.key(0), data=np.ones((20, 8)))
