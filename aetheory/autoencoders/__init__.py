"""The autoencoders that are trained."""

from aetheory.autoencoders.linear import LinearAutoencoder as LinearAutoencoder
from aetheory.autoencoders.linear import reconstruction_loss as reconstruction_loss
