"""What autoencoders are trained on."""

from aetheory.sources.dictionaries import (
    data_dictionary,
    gaussian_dictionary,
    orthonormal_groups_dictionary,
    perturbed_dictionary,
    subspace_dictionary,
)
from aetheory.sources.group_sparse import GroupSparseSamples, GroupSparseSource
from aetheory.sources.images import ImageSource, Whitening, load_images, whiten

__all__ = [
    "GroupSparseSamples",
    "GroupSparseSource",
    "ImageSource",
    "Whitening",
    "data_dictionary",
    "gaussian_dictionary",
    "load_images",
    "orthonormal_groups_dictionary",
    "perturbed_dictionary",
    "subspace_dictionary",
    "whiten",
]
