"""What autoencoders are trained on."""

from aetheory.sources.amplitudes import DensityAmplitude
from aetheory.sources.augmentation import augment
from aetheory.sources.dictionaries import (
    data_dictionary,
    gaussian_dictionary,
    orthonormal_groups_dictionary,
    perturbed_dictionary,
    subspace_dictionary,
)
from aetheory.sources.gaussian import GaussianSource
from aetheory.sources.group_sparse import GroupSparseSamples, GroupSparseSource
from aetheory.sources.images import ImageSource, Whitening, load_images, whiten
from aetheory.sources.source import Source
from aetheory.sources.sparse import SparseSource

__all__ = [
    "DensityAmplitude",
    "GaussianSource",
    "GroupSparseSamples",
    "GroupSparseSource",
    "ImageSource",
    "Source",
    "SparseSource",
    "Whitening",
    "augment",
    "data_dictionary",
    "gaussian_dictionary",
    "load_images",
    "orthonormal_groups_dictionary",
    "perturbed_dictionary",
    "subspace_dictionary",
    "whiten",
]
