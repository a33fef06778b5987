"""The estimator against scikit-learn's own checks and against what it wraps."""

import pickle

import jax
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import aetheory as ae


@pytest.fixture(scope="module", autouse=True)
def standard_promotion():
    with jax.numpy_dtype_promotion("standard"):  # Optax's own arithmetic mixes types
        yield


@pytest.fixture(scope="module")
def samples():
    """Of a dictionary whose groups are found."""
    with jax.enable_x64(True):
        truth = ae.orthonormal_groups_dictionary(jax.random.key(0), 12, 8, 2)
        return np.asarray(ae.GroupSparseSource(truth, 2, 1).sample(jax.random.key(1), 300))


@pytest.fixture(scope="module")
def fitted(samples):
    return ae.sklearn.GroupSparseCoder(4, 2, threshold=0.2, epochs=60, batch_size=50, random_state=0).fit(samples)


def test_codes_are_those_of_the_network_and_explain_the_samples(fitted, samples):
    codes = fitted.transform(samples)
    assert codes.shape == (300, 8)
    assert codes.dtype == np.float64
    groups = (samples @ fitted.components_.T).reshape(300, 4, 2)
    norms = np.linalg.norm(groups, axis=2, keepdims=True)
    expected = groups * np.maximum(1 - 0.2 / norms, 0)
    np.testing.assert_allclose(codes, expected.reshape(300, 8), atol=1e-12)
    np.testing.assert_allclose(fitted.inverse_transform(codes), codes @ fitted.components_, atol=1e-12)
    missed = np.sum((samples - codes @ fitted.components_) ** 2) / np.sum(samples**2)
    assert fitted.score(samples) == pytest.approx(1 - missed)
    untrained = clone(fitted).set_params(epochs=1, step_size=1e-9).fit(samples)
    assert fitted.score(samples) > max(0.8, untrained.score(samples) + 0.2)


def test_it_is_an_estimator_like_others(fitted, samples):
    assert list(fitted.get_feature_names_out())[-1] == "groupsparsecoder7"
    assert fitted.n_features_in_ == 12
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.transform(samples[:5]), fitted.transform(samples[:5]))
    assert fitted.transform(samples[:5].astype(np.float32)).dtype == np.float32
    pipeline = make_pipeline(StandardScaler(), ae.sklearn.GroupSparseCoder(4, epochs=1, random_state=0))
    assert pipeline.fit_transform(samples).shape == (300, 8)
    with pytest.raises(ValueError, match="`threshold`"):
        ae.sklearn.GroupSparseCoder(threshold=-1.0).fit(samples)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_the_checks_of_scikit_learn_pass():
    check_estimator(ae.sklearn.GroupSparseCoder(epochs=2, random_state=0))
