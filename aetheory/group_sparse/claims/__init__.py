"""What is claimed of group-sparse autoencoders (arXiv:2102.07003), and by this library."""

from aetheory.group_sparse.claims import guarantees, simulation

CLAIMS = (*simulation.CLAIMS, *guarantees.CLAIMS)
