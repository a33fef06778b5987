"""Sources, the distributions of samples on which autoencoders are trained."""

from aetheory.sources.amplitudes import DensityAmplitude
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
    "load_images",
    "whiten",
]
