"""Weight-tied linear autoencoders and the prism of their learning regimes (arXiv:2606.05335, arXiv:2602.04548)."""
