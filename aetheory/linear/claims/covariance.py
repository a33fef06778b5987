"""Claims about inputs of any covariance: this library's own."""

import numpy as np

from aetheory.core.claim import claim, claims_among
from aetheory.core.predict import predict
from aetheory.core.theory import Citation
from aetheory.linear.claims.simulations import deviations
from aetheory.linear.problem import LinearProblem, LinearRatios
from aetheory.sources.images import load_images

OWN = Citation("golikov2026prism", derived=True)
_PRETORIUS = Citation("pretorius2018learning", "Fig. 5 (MNIST)")
_PROGRAM = "an independent program"
_SIMULATIONS = "the mean of simulations"


def power_law(dim, exponent):
    """Variances of mean 1."""
    variances = np.arange(1, dim + 1.0) ** -exponent
    return variances / variances.mean()


def blocks(dim):
    """A quarter of 3, the rest of .2, scaled to mean 1."""
    variances = np.where(np.arange(dim) < dim // 4, 3.0, 0.2)
    return variances / variances.mean()


def of_digits(dim):
    """The 64 variances of scikit-learn's digits drawn out to so many, scaled to mean 1."""
    digits = np.linalg.eigvalsh(load_images("digits").covariance)[::-1].clip(0)
    variances = np.interp((np.arange(dim) + 0.5) / dim * 64 - 0.5, np.arange(64), digits)
    return variances / variances.mean()


def beside(when, times, curve, train, population):
    """What was printed of both risks at these times, and the curve's."""
    return {
        f"{when} = {time}, {risk}": pair
        for risk, printed in (("train", train), ("population", population))
        for time, *pair in zip(times, printed, curve.values[risk], strict=True)
    }


@claim(
    "linear/covariance/mean-field",
    r"The mean-field curve for any covariance; \(p=400\), \(z=2\), \(c=.3\), power laws \(i^{-a}\) and blocks.",
    OWN,
    verdict="beyond the papers",
    tolerance=1e-8,
    why="the digits that the program printed",
    against=_PROGRAM,
)
def mean_field():
    known = {
        "a = .5": (power_law(400, 0.5), [0.17723485, 0.0200153, 0.00087686], [0.34580346, 0.24260962, 0.20894778]),
        "a = 1": (power_law(400, 1.0), [0.12917578, 0.0277813, 0.00300749], [0.20456503, 0.13251487, 0.10181906]),
        "a = 1.5": (power_law(400, 1.5), [0.06188319, 0.02294328, 0.0064231], [0.07813973, 0.04405286, 0.02843208]),
        "blocks": (blocks(400), [0.1243084, 0.02331742, 0.00314863], [0.25252533, 0.13266793, 0.10251509]),
    }
    times, found = [0.1, 0.5, 2.0], {}
    for name, (variances, train, population) in known.items():
        curve = predict(LinearRatios(0.003, 100.0, 2.0, covariance=variances), times, "mean-field")
        found |= beside(f"{name}, t", times, curve, train, population)
    return found


@claim(
    "linear/covariance/narrow-latent",
    r"The narrow-latent curve for any covariance; \(p=400\), \(z=2\), \(x=.5\), \(y=.1\).",
    OWN,
    verdict="beyond the papers",
    tolerance=2e-8,
    why="the digits that the program printed",
    against=_PROGRAM,
)
def narrow_latent():
    found = {}
    for name, variances, train, population in (
        ("a = .5", power_law(400, 0.5), [0.90412732, 0.87377005, 0.76116972], [0.9168426, 0.90401937, 0.84957154]),
        ("blocks", blocks(400), [0.79783525, 0.5616453, 0.25293992], [0.8658842, 0.77690893, 0.69463435]),
    ):
        times = np.array([0.25, 0.5, 1])
        curve = predict(LinearRatios(0.5, 0.1, 2.0, covariance=variances), times / variances.max(), "narrow-latent")
        found |= beside(f"{name}, τ₁t", times, curve, train, population)
    return found


@claim(
    "linear/covariance/small-data",
    r"The small-data curve for any covariance: only tr \(\Sigma\) and tr \(\Sigma^2\) enter; \(p=600\), \(H=240\), "
    r"\(N=6\), \(p\sigma^2=.6\).",
    OWN,
    verdict="beyond the papers",
    tolerance=1e-6,
    why="the digits that the program printed",
    against=_PROGRAM,
)
def small_data():
    times, found = np.array([0, 0.2, 0.5, 1, 1.5]), {}
    train = [0.7216, 0.599776, 0.395508, 0.150186, 0.052164]
    for name, variances, population in (
        ("a = .5", power_law(600, 0.5), [0.7216, 0.719838, 0.716904, 0.713489, 0.71224]),
        ("blocks", blocks(600), [0.7216, 0.718664, 0.713761, 0.707981, 0.705787]),
    ):
        curve = predict(LinearProblem(600, 240, 6, 0.001, covariance=variances), times / 100, "small-data")
        found |= beside(f"{name}, tp/N", times, curve, train, population)
    return found


@claim(
    "linear/covariance/mean-field-free",
    r"Mean-field ∩ free for any covariance; \(p=200\), \(i^{-3/4}\), \(z=2\), \(c=1\), without the target.",
    OWN,
    verdict="beyond the papers",
    tolerance=5.1e-6,
    why="the five digits that the program printed",
    against=_PROGRAM,
)
def mean_field_free():
    times = [0.02, 0.2, 2.0]
    curve = predict(LinearRatios(0.005, 200.0, 2.0, covariance=power_law(200, 0.75)), times, "mean-field ∩ free")
    return beside("t", times, curve, (0.57462, 0.12483, 0.00665), (0.73895, 0.45566, 0.33867))


def interior_off(dim, variances, num_samples, repeats):
    """Of the interior at H = p/2, pσ² = .5, from simulations, by risk and time as shares of R(0)."""
    problem = LinearProblem(dim, dim // 2, num_samples, 0.5 / dim, covariance=variances)
    return deviations(problem, np.array([0.0, 0.1, 0.3, 1.0, 3.0]), "interior", repeats, tolerance=0.05)


@claim(
    "linear/covariance/interior",
    r"The interior for any covariance, by rotations of shares of \((F,\delta)\): blocks, \(p=160\), \(H=80\), "
    r"\(N=200\), \(x=.5\), 8 draws.",
    OWN,
    verdict="beyond the papers",
    tolerance=0.02,
    why="the fluctuation of the draws, and 1/p",
    against=_SIMULATIONS,
    axis="flow time",
    cost="default",
)
def interior():
    return interior_off(160, blocks(160), 200, 8)


@claim(
    "linear/covariance/interior-settings",
    r"The same at \(p=320\), \(H=160\): power law \(i^{-1/2}\) and blocks, \(N\) = 400, 320, 160, ∞, 6 draws.",
    OWN,
    verdict="beyond the papers",
    tolerance=0.0125,
    why="4e-3 of the theory, and three standard errors of the draws",
    against=_SIMULATIONS,
    cost="full",
)
def interior_settings():
    return {
        f"{name}, N = {num_samples}, {label}": pair
        for name, variances in (("a = .5", power_law(320, 0.5)), ("blocks", blocks(320)))
        for num_samples in (400, 320, 160, np.inf)
        for label, pair in interior_off(320, variances, num_samples, 6).items()
    }


@claim(
    "linear/covariance/decoupled-modes-values",
    r"Decoupled modes at \(i^{-3/2}\), \(p=320\), \(H=160\), \(N=\infty\), \(x=.5\).",
    Citation("golikov2026prism", "small-data regime", derived=True),
    verdict="beyond the papers",
    tolerance=1e-4,
    why="the digits that the program printed",
    against=_PROGRAM,
    cost="default",
)
def decoupled_modes_values():
    times = 10 ** np.array([-2.75, -2.125, -1.5, -0.875, -0.375, 0])
    curve = predict(LinearRatios(0.5, 0.5, 0.0, covariance=power_law(320, 1.5)), times, "decoupled-modes")
    known = (0.6126, 0.4093, 0.2384, 0.1359, 0.0828, 0.0545)
    return {f"t = {time:.2g}": pair for time, *pair in zip(times, known, curve.train, strict=True)}


def decoupled_off(exponent, latent_dim, num_samples):
    problem = LinearProblem(320, latent_dim, num_samples, 0.5 / 320, covariance=power_law(320, exponent))
    times = np.r_[0, 10 ** np.array([-2.75, -2.125, -1.5, -0.875, -0.375, 0])]
    return deviations(problem, times, "decoupled-modes", 3)


@claim(
    "linear/covariance/decoupled-modes",
    r"Strong anisotropy decouples the modes: \(i^{-2}\), \(p=320\), \(H=80\), \(N=\infty\), \(x=.5\), 3 draws.",
    Citation("golikov2026prism", "small-data regime", derived=True),
    verdict="beyond the papers",
    tolerance=0.012,
    why="what the theory states of its error",
    against=_SIMULATIONS,
    axis="flow time",
    cost="default",
)
def decoupled_modes():
    return decoupled_off(2.0, 80, np.inf)


@claim(
    "linear/covariance/decoupled-modes-samples",
    r"The same at \(i^{-3/2}\), \(H=224\), \(N=400\).",
    Citation("golikov2026prism", "small-data regime", derived=True),
    verdict="beyond the papers",
    tolerance=0.012,
    why="what the theory states of its error",
    against=_SIMULATIONS,
    axis="flow time",
    cost="default",
)
def decoupled_modes_samples():
    return decoupled_off(1.5, 224, 400)


@claim(
    "linear/covariance/decoupled-modes-weak",
    r"At \(i^{-1}\) the modes do not decouple: \(H=160\), \(N=\infty\).",
    Citation("golikov2026prism", "small-data regime", derived=True),
    verdict="not reproduced",
    tolerance=0.03,
    why="well above the noise of three draws; stated: within 9 %",
    against=_SIMULATIONS,
    axis="flow time",
    note="The formula must not be used below an exponent of about 1.5; `predict` takes the interior there.",
    cost="default",
)
def decoupled_modes_weak():
    return decoupled_off(1.0, 160, np.inf)


CLAIMS = claims_among(vars())
