"""Claims that take a second or two are tests: their numbers and oracles stand there, and nowhere else.

`aetheory verify --quick` recomputes the other quick ones.
"""

import pytest

from aetheory.reproduce.verify import CLAIMS

NAMES = (
    "linear/regimes/large-data",
    "linear/regimes/mean-field",
    "linear/regimes/narrow-latent",
    "linear/regimes/small-data",
    "linear/covariance/mean-field",
    "linear/covariance/mean-field-free",
    "linear/penalty/mean-field",
    "linear/expansion/monte-carlo",
    "linear/expansion/any-covariance",
    "two-layer/sparse/rotation",
    "two-layer/sparse/denoised-samples",
    "recovery/gradient/direction",
    "recovery/gradient/at-the-truth",
)


@pytest.mark.parametrize("name", NAMES)
def test_a_claim_stands(x64, name):
    (claim,) = (one for one in CLAIMS if one.name == name)
    deviations = claim.deviations(claim.rows())
    worst = max(deviations, key=deviations.get)
    assert claim.stands(deviations[worst]), f"{worst}: off by {deviations[worst]}"
