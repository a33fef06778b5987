"""Claims about inputs of any covariance: this library's own."""

import jax
import numpy as np

from aetheory import LinearProblem, LinearRatios, predict, simulate
from aetheory.core.theory import Citation
from benchmarks.claims.definitions import claim, detail, verdict
from benchmarks.claims.prism import OWN, SIMULATIONS, beside, deviations
from benchmarks.locate import variances

DECOUPLED = Citation("golikov2026prism", "small-data regime", derived=True)
PROGRAM = "an independent program"
LABELS = {"a0.5": "a = .5", "a1": "a = 1", "a1.5": "a = 1.5", "blocks": "blocks"}


@claim("linear/covariance/mean-field", OWN)
@verdict("beyond the papers", 1e-8, "the digits that the program printed", against=PROGRAM)
def test_covariance_mean_field():
    r"""The mean-field curve for any covariance; \(p=400\), \(z=2\), \(c=.3\), power laws \(i^{-a}\) and blocks."""
    known = {
        "a0.5": ([0.17723485, 0.0200153, 0.00087686], [0.34580346, 0.24260962, 0.20894778]),
        "a1": ([0.12917578, 0.0277813, 0.00300749], [0.20456503, 0.13251487, 0.10181906]),
        "a1.5": ([0.06188319, 0.02294328, 0.0064231], [0.07813973, 0.04405286, 0.02843208]),
        "blocks": ([0.1243084, 0.02331742, 0.00314863], [0.25252533, 0.13266793, 0.10251509]),
    }
    times, found = [0.1, 0.5, 2.0], {}
    for spectrum, risks in known.items():
        curve = predict(LinearRatios(0.003, 100.0, 2.0, covariance=variances(spectrum, 400)), times, "mean-field")
        found |= beside(f"{LABELS[spectrum]}, t", times, *risks, curve)
    return found


@claim("linear/covariance/narrow-latent", OWN)
@verdict("beyond the papers", 2e-8, "the digits that the program printed", against=PROGRAM)
def test_covariance_narrow_latent():
    r"""The narrow-latent curve for any covariance; \(p=400\), \(z=2\), \(x=.5\), \(y=.1\)."""
    known = {
        "a0.5": ([0.90412732, 0.87377005, 0.76116972], [0.9168426, 0.90401937, 0.84957154]),
        "blocks": ([0.79783525, 0.5616453, 0.25293992], [0.8658842, 0.77690893, 0.69463435]),
    }
    times, found = np.array([0.25, 0.5, 1]), {}
    for spectrum, risks in known.items():
        spread = variances(spectrum, 400)
        curve = predict(LinearRatios(0.5, 0.1, 2.0, covariance=spread), times / spread.max(), "narrow-latent")
        found |= beside(f"{LABELS[spectrum]}, τ₁t", times, *risks, curve)
    return found


@claim("linear/covariance/small-data", OWN)
@verdict("beyond the papers", 1e-6, "the digits that the program printed", against=PROGRAM)
def test_covariance_small_data():
    r"""The small-data curve for any covariance: only tr \(\Sigma\) and tr \(\Sigma^2\) enter; \(p=600\), \(H=240\),
    \(N=6\), \(p\sigma^2=.6\)."""
    times, found, train = np.array([0, 0.2, 0.5, 1, 1.5]), {}, [0.7216, 0.599776, 0.395508, 0.150186, 0.052164]
    known = {
        "a0.5": [0.7216, 0.719838, 0.716904, 0.713489, 0.71224],
        "blocks": [0.7216, 0.718664, 0.713761, 0.707981, 0.705787],
    }
    for spectrum, population in known.items():
        problem = LinearProblem(600, 240, 6, 0.001, covariance=variances(spectrum, 600))
        curve = predict(problem, times / 100, "small-data")
        found |= beside(f"{LABELS[spectrum]}, tp/N", times, train, population, curve)
    return found


@claim("linear/covariance/mean-field-free", OWN)
@verdict("beyond the papers", 5.1e-6, "the five digits that the program printed", against=PROGRAM)
def test_covariance_mean_field_free():
    r"""Mean-field ∩ free for any covariance; \(p=200\), \(i^{-3/4}\), \(z=2\), \(c=1\), without the target."""
    times = [0.02, 0.2, 2.0]
    curve = predict(LinearRatios(0.005, 200.0, 2.0, covariance=variances("a0.75", 200)), times, "mean-field ∩ free")
    return beside("t", times, (0.57462, 0.12483, 0.00665), (0.73895, 0.45566, 0.33867), curve)


def interior_deviations(dim, spectrum, num_samples, repeats):
    """The interior at H = p/2, pσ² = .5 beside simulations."""
    problem = LinearProblem(dim, dim // 2, num_samples, 0.5 / dim, covariance=variances(spectrum, dim))
    return deviations(problem, np.array([0.0, 0.1, 0.3, 1.0, 3.0]), "interior", repeats)


@claim("linear/covariance/interior", OWN, cost="default")
@verdict("beyond the papers", 0.02, "the fluctuation of the draws, and 1/p", against=SIMULATIONS, axis="flow time")
def test_covariance_interior():
    r"""The interior for any covariance, by rotations of shares of \((F,\delta)\): blocks, \(p=160\), \(H=80\),
    \(N=200\), \(x=.5\), 8 draws."""
    return interior_deviations(160, "blocks", 200, 8)


@claim("linear/covariance/interior-settings", OWN, cost="full", against=SIMULATIONS)
@verdict("beyond the papers", 0.0125, "4e-3 of the theory, and three standard errors of the draws")
def test_covariance_interior_settings():
    r"""The same at \(p=320\), \(H=160\): power law \(i^{-1/2}\) and blocks, \(N\) = 400, 320, 160, ∞, 6 draws."""
    return {
        f"{LABELS[spectrum]}, N = {num_samples}, {label}": pair
        for spectrum in ("a0.5", "blocks")
        for num_samples in (400, 320, 160, np.inf)
        for label, pair in interior_deviations(320, spectrum, num_samples, 6).items()
    }


@claim("linear/covariance/decoupled-modes-values", DECOUPLED, cost="default")
@verdict("beyond the papers", 1e-4, "the digits that the program printed", against=PROGRAM)
def test_covariance_decoupled_modes_values():
    r"""Decoupled modes at \(i^{-3/2}\), \(p=320\), \(H=160\), \(N=\infty\), \(x=.5\)."""
    times = 10 ** np.array([-2.75, -2.125, -1.5, -0.875, -0.375, 0])
    curve = predict(LinearRatios(0.5, 0.5, 0.0, covariance=variances("a1.5", 320)), times, "decoupled-modes")
    known = (0.6126, 0.4093, 0.2384, 0.1359, 0.0828, 0.0545)
    return {f"t = {time:.2g}": pair for time, *pair in zip(times, known, curve.train, strict=True)}


def decoupled_deviations(exponent, latent_dim, num_samples):
    problem = LinearProblem(320, latent_dim, num_samples, 0.5 / 320, covariance=variances(f"a{exponent}", 320))
    times = np.r_[0, 10 ** np.array([-2.75, -2.125, -1.5, -0.875, -0.375, 0])]
    return deviations(problem, times, "decoupled-modes", 3)


@claim("linear/covariance/decoupled-modes", DECOUPLED, cost="default")
@verdict("beyond the papers", 0.012, "what the theory states of its error", against=SIMULATIONS, axis="flow time")
def test_covariance_decoupled_modes():
    r"""Strong anisotropy decouples the modes: \(i^{-2}\), \(p=320\), \(H=80\), \(N=\infty\), \(x=.5\), 3 draws."""
    return decoupled_deviations(2.0, 80, np.inf)


@claim("linear/covariance/decoupled-modes-samples", DECOUPLED, cost="default")
@verdict("beyond the papers", 0.012, "what the theory states of its error", against=SIMULATIONS, axis="flow time")
def test_covariance_decoupled_modes_samples():
    r"""The same at \(i^{-3/2}\), \(H=224\), \(N=400\)."""
    return decoupled_deviations(1.5, 224, 400)


@claim("linear/covariance/decoupled-modes-weak", DECOUPLED, cost="default")
@verdict("not reproduced", 0.03, "well above the noise of three draws; stated: within 9 %", against=SIMULATIONS)
@detail(
    axis="flow time",
    note="The formula must not be used below an exponent of about 1.5; `predict` takes the interior there.",
)
def test_covariance_decoupled_modes_weak():
    r"""At \(i^{-1}\) the modes do not decouple: \(H=160\), \(N=\infty\)."""
    return decoupled_deviations(1.0, 160, np.inf)


DIM = 320
SPECTRA = ("iso", "a0.5", "a1", "a1.5", "blocks", "digits")
SAMPLES = {"N = 2p": 2 * DIM, "N = p": DIM, "N = p/2": DIM // 2, "N = ∞": np.inf}
MISSED = "0: the largest share of R(0) by which it misses the mean of simulations, less two standard errors"


def beyond_noise(problem, times, theory, repeats):
    """The largest share of R(0) by which a prediction misses the mean of draws, less two standard errors of it."""
    run = simulate(problem, times, jax.random.key(0), num_repeats=repeats)
    curve, missed = predict(problem, times, theory), 0.0
    for risk, mean in run.values.items():
        beyond = np.abs(np.asarray(mean - curve.values[risk])) - 2 * np.asarray(run.standard_error[risk])
        missed = max(missed, float(beyond.max() / mean[0]))
    return missed


def missed(theory, latent_dim, init_variance, repeats, samples=SAMPLES, latest=None, scale=1.0, spectra=SPECTRA):
    """A row for each spectrum and number of samples.

    Times are `scale` times our six, or, where `latest` is given, up to `latest` over the largest variance.
    """
    found = {}
    for spectrum in spectra:
        name = {"iso": "isotropic", "a0.5": "a = 0.5", "a1": "a = 1", "a1.5": "a = 1.5"}.get(spectrum, spectrum)
        spread = None if spectrum == "iso" else variances(spectrum, DIM)
        times = scale * np.array([0.0, 0.03, 0.1, 0.3, 1.0, 3.0])
        if latest is not None:
            times = np.linspace(0, latest if spread is None else latest / spread.max(), 5)
        for label, num_samples in samples.items():
            problem = LinearProblem(DIM, latent_dim, num_samples, init_variance, covariance=spread)
            found[f"{name}, {label}"] = (0, beyond_noise(problem, times, theory, repeats))
    return found


@claim("linear/spectra/mean-field", OWN, cost="full")
@verdict("beyond the papers", 0.003, "what the theory states", against=MISSED)
def test_spectra_mean_field():
    r"""The mean-field curve, both risks: isotropic, \(i^{-a}\) with a = .5, 1, 1.5, blocks, and that of scikit-learn's
    digits, \(p=320\); \(H=1000p\), \(H\sigma^2=.5\), \(t\le3\), 12 draws."""
    return missed("mean-field", 1000 * DIM, 0.5 / (1000 * DIM), 12)


@claim("linear/spectra/interior", OWN, cost="full")
@verdict("beyond the papers", 0.0125, "4e-3 of the theory, 1/p, and its bracket", against=MISSED)
def test_spectra_interior():
    r"""The interior: isotropic, \(i^{-a}\) with a = .5, 1, 1.5, blocks, and that of scikit-learn's digits, \(p=320\);
    \(H=p/2\), \(p\sigma^2=.5\), \(t\le3\), 12 draws."""
    return missed("interior", DIM // 2, 0.5 / DIM, 12)


@claim("linear/spectra/narrow-latent", OWN, cost="full")
@verdict("beyond the papers", 0.0125, "of order H/p, and 1 % at this size", against=MISSED)
def test_spectra_narrow_latent():
    r"""The narrow-latent curve: isotropic, \(i^{-a}\) with a = .5, 1, 1.5, blocks, and that of scikit-learn's digits,
    \(p=320\); \(H=3\), \(p\sigma^2=.5\), up to one time unit of the largest variance."""
    return missed("narrow-latent", 3, 0.5 / DIM, 48, latest=1.0)


@claim("linear/spectra/free", OWN, cost="full")
@verdict("beyond the papers", 0.0125, "1 % that the theory states, and 1/p", against=MISSED)
def test_spectra_free():
    r"""The free face: isotropic, \(i^{-a}\) with a = .5, 1, 1.5, blocks, and that of scikit-learn's digits, \(p=320\);
    \(H=.7p\), \(p\sigma^2=10^4\), up to \(tp\sigma^2=1\), 8 draws."""
    return missed("free", round(0.7 * DIM), 1e4 / DIM, 8, scale=1e-4 / 3)


@claim("linear/spectra/large-data", OWN, cost="full")
@verdict("beyond the papers", 0.0125, "1/p and its quadrature", against=MISSED)
def test_spectra_large_data():
    r"""The large-data curve, \(N=\infty\): isotropic, \(i^{-a}\) with a = .5, 1, 1.5, blocks, and that of
    scikit-learn's digits, \(p=320\); \(H=p/2\), \(p\sigma^2=.5\), \(t\le3\), 12 draws."""
    return missed("large-data", DIM // 2, 0.5 / DIM, 12, {"N = ∞": np.inf})


@claim("linear/spectra/small-data", OWN, cost="full")
@verdict("beyond the papers", 0.0125, "of order N/p at this size", against=MISSED)
def test_spectra_small_data():
    r"""The small-data curve, \(N=4\): isotropic, \(i^{-1/2}\) and blocks
    (\(\mathrm{tr}\,\Sigma^2\ll(\mathrm{tr}\,\Sigma)^2\)), \(p=320\), \(H=p/2\), \(p\sigma^2=.5\), \(tp/N\le3\), 200
    draws."""
    options = {"samples": {"N = 4": 4}, "scale": 4 / DIM, "spectra": ("iso", "a0.5", "blocks")}
    return missed("small-data", DIM // 2, 0.5 / DIM, 200, **options)


@claim("linear/spectra/decoupled-modes", OWN, cost="full")
@verdict("beyond the papers", 0.0125, "what the theory states", against=MISSED)
def test_spectra_decoupled_modes():
    r"""Decoupled modes at a = 1.5 and \(p=320\), \(H=.7p\), \(p\sigma^2=.5\), \(t\le3\), 12 draws."""
    return missed("decoupled-modes", round(0.7 * DIM), 0.5 / DIM, 12, spectra=("a1.5",))
