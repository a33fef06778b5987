import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage
from tolerance import rounding

from aetheory import ImageSource
from aetheory.sources.augmentation import augment

KEY = jax.random.key(6)


def images(num_images=3, shape=(6, 5)):
    pixels = np.random.default_rng(0).uniform(size=(num_images, int(np.prod(shape))))
    return ImageSource(pixels, np.arange(num_images), shape, "noise")


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 3)])
def test_without_freedom_the_images_are_repeated(shape, precision):
    source = images(shape=shape)
    same = augment(source, KEY, 2, max_shift=0.0)
    assert same.samples.dtype == precision
    np.testing.assert_allclose(
        same.samples, np.repeat(source.samples, 2, axis=0), rtol=0, atol=rounding(precision, terms=4, condition=6)
    )
    assert same.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert (same.image_shape, same.name) == (shape, "noise")


def test_half_of_the_variants_are_mirrored(x64):
    source = images(1)
    variants = np.asarray(augment(source, KEY, 400, max_shift=0.0, mirror=True).samples).reshape(-1, 6, 5)
    picture = np.asarray(source.samples).reshape(6, 5)
    plain = np.isclose(variants, picture).all(axis=(1, 2))
    mirrored = np.isclose(variants, picture[:, ::-1]).all(axis=(1, 2))
    assert (plain ^ mirrored).all()
    assert abs(plain.mean() - 0.5) < 4 * 0.5 / 20


def test_shifts_are_bilinear_and_go_on_at_the_border(x64):
    ramp = np.add.outer(2.0 * np.arange(8), np.arange(8))
    source = ImageSource(ramp.reshape(1, -1), np.zeros(1, int), (8, 8), "ramp")
    variants = np.asarray(augment(source, KEY, 200, max_shift=1.5).samples).reshape(-1, 8, 8)
    changes = (variants - ramp)[:, 2:-2, 2:-2]
    error = rounding(jnp.float64, terms=4, condition=8, size=ramp.max())
    np.testing.assert_allclose(changes, np.broadcast_to(changes[:, :1, :1], changes.shape), rtol=0, atol=error)
    assert np.abs(changes).max() <= 2 * 1.5 + 1.5
    assert changes[:, 0, 0].std() == pytest.approx(np.sqrt(5 * 1.5**2 / 3), rel=0.15)
    assert variants.min() >= ramp.min() - error
    assert variants.max() <= ramp.max() + 1e-12


def test_rotations_turn_about_the_centre(x64):
    rows, columns = np.meshgrid(np.arange(21) - 10, np.arange(21) - 10, indexing="ij")
    disc = np.exp(-(rows**2 + columns**2) / 60)
    spot = np.exp(-(rows**2 + (columns - 5) ** 2) / 6)
    source = ImageSource(np.stack([disc.ravel(), spot.ravel()]), np.arange(2), (21, 21), "shapes")
    variants = np.asarray(augment(source, KEY, 50, max_shift=0.0, max_rotation=60.0).samples).reshape(2, 50, 21, 21)
    near = rows**2 + columns**2 < 80
    np.testing.assert_allclose(variants[0][:, near], np.broadcast_to(disc[near], (50, near.sum())), atol=0.01)
    angles = []
    for variant in variants[1]:
        centre = np.asarray(ndimage.center_of_mass(variant)) - 10
        assert np.hypot(*centre) == pytest.approx(5, abs=0.1)
        angles.append(np.degrees(np.arctan2(*centre)))
    assert np.abs(angles).max() < 61
    assert np.ptp(angles) > 60


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_copies": 0}, "`num_copies` must be a positive integer, but got 0."),
        ({"max_shift": -1.0}, "`max_shift` must be finite and nonnegative, but got -1.0."),
        ({"max_rotation": float("inf")}, "`max_rotation` must be finite and nonnegative, but got inf."),
        (
            {"source": ImageSource(jnp.ones((2, 4)), jnp.zeros(2, int), (4,), "flat")},
            "`source` must be images of shape",
        ),
    ],
)
def test_a_bad_argument(options, message):
    arguments = {"source": images(), "num_copies": 1} | options
    with pytest.raises(ValueError, match=f"^Argument {message}"):
        augment(arguments.pop("source"), KEY, **arguments)
