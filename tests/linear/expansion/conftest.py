"""An oracle that shares nothing with the library: Taylor series of the flow, matrix by matrix."""

import numpy as np
import pytest


@pytest.fixture(scope="session", autouse=True)
def private_cache(tmp_path_factory):
    """The tests neither trust nor touch the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AETHEORY_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def flow_series():
    """(M, S, order) → Taylor coefficients of M(t) along the flow; leading axes are a batch of matrices."""

    def series(M, S, order):
        terms = [M]
        for k in range(order):
            squares = [
                (2 * terms[i] @ S @ terms[k - i] + S @ terms[i] @ terms[k - i] + terms[i] @ terms[k - i] @ S)
                for i in range(k + 1)
            ]
            terms.append(-(sum(squares) - 2 * S @ terms[k] - 2 * terms[k] @ S) / (k + 1))
        return terms

    return series


@pytest.fixture(scope="session")
def quadratic_series():
    """(terms of M, A) → Taylor coefficients of (M−I) A (M−I)."""

    def series(terms, A):
        target = [terms[0] - np.eye(A.shape[-1]), *terms[1:]]
        return [sum(target[i] @ A @ target[k - i] for i in range(k + 1)) for k in range(len(terms))]

    return series


@pytest.fixture(scope="session")
def free_poisson():
    """(rate, jump, size) → truncated Jacobi matrix of the free Poisson law."""

    def jacobi(rate, jump, size):
        diagonal = np.full(size, jump * (1 + rate))
        diagonal[0] = jump * rate
        off = np.full(size - 1, jump * np.sqrt(rate))
        return np.diag(diagonal) + np.diag(off, 1) + np.diag(off, -1)

    return jacobi
