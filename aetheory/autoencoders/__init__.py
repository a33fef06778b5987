"""The autoencoders that are trained."""

from aetheory.autoencoders.group_sparse import GroupSparseAutoencoder as GroupSparseAutoencoder
from aetheory.autoencoders.group_sparse import group_relu as group_relu
from aetheory.autoencoders.linear import LinearAutoencoder as LinearAutoencoder
from aetheory.autoencoders.linear import reconstruction_loss as reconstruction_loss
