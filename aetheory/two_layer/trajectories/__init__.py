"""Predicted training of two-layer autoencoders: the spectrum of K = B Bᵀ along tied, alternating and joint training.

Derived for this library from the exact population risk: a mean-field closure, compared with simulations, and no
theorem.
Source: A. Shevchenko, K. Kögler, H. Hassani, M. Mondelli, arXiv:2212.13468, for the risk and the methods; the
trajectories are derived here.
"""
