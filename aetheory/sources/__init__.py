"""Sources, the distributions of samples on which autoencoders are trained."""

from aetheory.sources.amplitudes import DensityAmplitude as DensityAmplitude
from aetheory.sources.gaussian import GaussianSource as GaussianSource
from aetheory.sources.group_sparse import GroupSparseSamples as GroupSparseSamples
from aetheory.sources.group_sparse import GroupSparseSource as GroupSparseSource
from aetheory.sources.images import ImageSource as ImageSource
from aetheory.sources.images import Whitening as Whitening
from aetheory.sources.images import load_images as load_images
from aetheory.sources.images import whiten as whiten
from aetheory.sources.source import Source as Source
from aetheory.sources.sparse import SparseSource as SparseSource
