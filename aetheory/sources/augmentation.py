"""More images from few: random shifts, rotations and mirror images."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Array, Float, Key, PRNGKeyArray

from aetheory.core.checks import check_real, fail, static_integer
from aetheory.sources.images import ImageSource


def augment(
    source: ImageSource,
    key: PRNGKeyArray,
    num_copies: int,
    *,
    max_shift: float | int = 1.0,
    max_rotation: float | int = 0.0,
    mirror: bool = False,
) -> ImageSource:
    """`num_copies` random variants of each image: shifted, rotated about the centre, and mirrored left to right.

    Each variant is an independent uniform shift along both axes and an independent uniform angle, in one bilinear
    interpolation; beyond the border the nearest pixel goes on. Whiten after augmenting, not before.

    Arguments:
        source: images with rows and columns, not whitened ones.
        key: a random key.
        num_copies: variants of each image, a positive integer; the originals are not among them.
        max_shift: the largest shift, in pixels, nonnegative.
        max_rotation: the largest angle, in degrees, nonnegative.
        mirror: whether to mirror half of the variants.

    Returns:
        A source of num_copies · num_samples images, the variants of one image after one another.

    Raises:
        ValueError: an argument is out of its range, or the samples are no images.
    """
    copies = static_integer("num_copies", num_copies)
    check_real("max_shift", max_shift, "finite and nonnegative", minimum=0.0)
    check_real("max_rotation", max_rotation, "finite and nonnegative", minimum=0.0)
    if len(source.image_shape) not in (2, 3):
        raise fail("source", "images of shape (height, width) or (height, width, colours)", source.image_shape)
    images = source.samples.reshape(source.num_samples, *source.image_shape[:2], -1)
    keys = jax.random.split(key, (source.num_samples, copies))
    limits = jnp.asarray([max_shift, math.radians(max_rotation)], images.dtype)
    variants = _variants(keys, images, limits, mirror)
    samples = variants.reshape(copies * source.num_samples, source.input_dim)
    return ImageSource(samples, jnp.repeat(source.labels, copies), source.image_shape, source.name)


@eqx.filter_jit
def _variants(
    keys: Key[Array, "num_samples copies"],
    images: Float[Array, "num_samples height width colours"],
    limits: Float[Array, "2"],
    mirror: bool,
) -> Float[Array, "num_samples copies height width colours"]:
    many = jax.vmap(jax.vmap(_vary, (0, None, None, None)), (0, 0, None, None))
    variants: Float[Array, "num_samples copies height width colours"] = many(keys, images, limits, mirror)
    return variants


def _vary(
    key: PRNGKeyArray, image: Float[Array, "height width colours"], limits: Float[Array, "2"], mirror: bool
) -> Float[Array, "height width colours"]:
    key_shift, key_angle, key_mirror = jax.random.split(key, 3)
    dtype = image.dtype
    max_shift, max_angle = limits
    shift = max_shift * jax.random.uniform(key_shift, (2,), dtype, -1, 1)
    angle = max_angle * jax.random.uniform(key_angle, (), dtype, -1, 1)
    height, width = image.shape[:2]
    rows, columns = jnp.meshgrid(
        jnp.arange(height, dtype=dtype) - (height - 1) / 2,
        jnp.arange(width, dtype=dtype) - (width - 1) / 2,
        indexing="ij",
    )
    if mirror:
        columns = jnp.where(jax.random.bernoulli(key_mirror), -columns, columns)
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    places = [
        cosine * rows - sine * columns + (height - 1) / 2 + shift[0],
        sine * rows + cosine * columns + (width - 1) / 2 + shift[1],
    ]
    planes = [map_coordinates(image[..., plane], places, order=1, mode="nearest") for plane in range(image.shape[2])]
    return jnp.stack(planes, axis=-1)
