import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import aetheory as ae
from aetheory.sklearn import GroupSparseCoder

pytestmark = pytest.mark.usefixtures("standard_promotion")
RNG = np.random.default_rng(0)
ATOMS = np.linalg.qr(RNG.standard_normal((12, 6)))[0]
CHOSEN = RNG.integers(3, size=300)
SAMPLES = np.einsum("nid,nd->ni", ATOMS.reshape(12, 3, 2)[:, CHOSEN].swapaxes(0, 1), RNG.standard_normal((300, 2)) + 3)


@pytest.mark.slow
def test_scikit_learn_finds_nothing_wrong(x64):
    results = check_estimator(GroupSparseCoder(2, num_iterations=2, num_epochs=2), on_fail=None, on_skip=None)
    assert [one["check_name"] for one in results if one["status"] == "failed"] == []


def test_a_mixture_of_subspaces_is_learnt_and_coded():
    start = ae.recovery.k_subspaces(SAMPLES, 3, 2).dictionary + 0.1 * RNG.standard_normal((12, 6))
    coder = GroupSparseCoder(3, 2, threshold=0.3, init=start, learning_rate=0.02, num_epochs=20, random_state=0)
    codes = coder.fit_transform(SAMPLES)
    assert codes.shape == (300, 6)
    assert codes.dtype == SAMPLES.dtype
    assert coder.loss_[-1] < 0.5 * coder.loss_[0]
    network = ae.GroupSparseAutoencoder(coder.components_.T, 0.3, 2, num_iterations=15)
    np.testing.assert_allclose(codes, network.encode(jnp.asarray(SAMPLES, jnp.float32)), atol=1e-4)
    np.testing.assert_allclose(coder.inverse_transform(codes), codes @ coder.components_, atol=1e-4)
    kept = 1 - np.sum((SAMPLES - codes @ coder.components_) ** 2) / np.sum(SAMPLES**2)
    assert coder.score(SAMPLES) == pytest.approx(kept, abs=1e-5)
    assert kept > 0.9
    assert (
        ae.recovery.clustering_scores(CHOSEN, np.linalg.norm(codes.reshape(300, 3, 2), axis=2).argmax(1)).accuracy > 0.9
    )
    assert list(coder.get_feature_names_out()[:2]) == ["groupsparsecoder0", "groupsparsecoder1"]


def test_it_fits_in_a_pipeline_and_repeats_itself():
    pipeline = make_pipeline(StandardScaler(), GroupSparseCoder(3, 2, num_epochs=2, random_state=1))
    first, second = (clone(pipeline).fit_transform(SAMPLES[:50]) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"init": "zeros"}, "`init` must be"),
        ({"init": ATOMS[:, :4]}, "`init` must have shape"),
        ({"threshold": -1.0}, "`threshold` must be"),
        ({"learning_rate": 0.0}, "`learning_rate` must be finite and positive"),
        ({"num_epochs": 0}, "`num_epochs` must be"),
        ({"num_groups": 0}, "`num_groups` must be"),
    ],
)
def test_a_bad_parameter_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        GroupSparseCoder(**{"num_groups": 3} | options).fit(SAMPLES)
