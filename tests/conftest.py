"""Run every test under strict types and shapes; both precisions where a test asks for them."""

import gc
import os
import sys

import jaxtyping
import pytest

# Before NumPy is loaded: every worker has a core, and threads of two would wait for each other.
for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(name, "1")
if "--shake" in sys.argv:  # before NumPy loads its library of linear algebra; xdist's workers inherit it
    os.environ["OPENBLAS_CORETYPE"] = "Nehalem"

# Before anything of the library is imported: every annotated call is checked against its shapes at run time.
_hook = jaxtyping.install_import_hook("aetheory", "beartype.beartype")

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import matplotlib as mpl  # noqa: E402
from shake import shake  # noqa: E402

from aetheory.core.compilation import compile_quickly  # noqa: E402

mpl.use("agg")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
# Without a cache its keys would be computed for nothing; a developer who names a folder keeps programs between runs.
jax.config.update("jax_enable_compilation_cache", "JAX_COMPILATION_CACHE_DIR" in os.environ)


def pytest_addoption(parser):
    parser.addoption("--shake", action="store_true", help="round as another processor does")


def pytest_configure(config):
    """The quick tests mostly compile; what runs for minutes is to be compiled well."""
    if config.option.markexpr == "not slow":
        compile_quickly()
    if config.option.shake:
        shake()


def pytest_collection_finish(session):
    """What is imported stays: looking through it again and again takes 4 % of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 50)


@pytest.fixture(scope="module", autouse=True)
def programs_of_a_file():
    """Forget them when it ends: thousands of compiled programs exhaust the memory maps that a process may have."""
    yield
    jax.clear_caches()
    gc.collect()


@pytest.fixture(params=[32, 64], ids=["float32", "float64"])
def precision(request):
    """Run the test in both precisions; the value is the dtype."""
    with jax.enable_x64(request.param == 64):
        yield jnp.dtype(f"float{request.param}")


@pytest.fixture
def x64():
    """Run the test in float64."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def standard_promotion():
    """Let Optax mix precisions, as it does with Python numbers."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture
def mnist_folder():
    """The folder with MNIST's IDX files; skips where there is none."""
    folder = os.path.join(os.environ.get("AETHEORY_DATA", ""), "mnist")
    if not os.path.isdir(folder):
        pytest.skip("set AETHEORY_DATA to a folder with mnist/ to run this")
    return folder
