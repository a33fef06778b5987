"""What is claimed of two-layer autoencoders (arXiv:2212.13468, arXiv:2402.05013), and by this library."""

from aetheory.two_layer.claims import limits, sparse, trajectories

CLAIMS = (*limits.CLAIMS, *sparse.CLAIMS, *trajectories.CLAIMS)
