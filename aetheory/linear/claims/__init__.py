"""What is claimed of linear autoencoders (arXiv:2606.05335, arXiv:2602.04548, arXiv:1806.05413), and by this library."""

from aetheory.linear.claims import data, expansion, regimes

CLAIMS = (*expansion.CLAIMS, *regimes.CLAIMS, *data.CLAIMS)
