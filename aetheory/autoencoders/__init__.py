"""The autoencoders that are trained."""

from aetheory.autoencoders.activations import ACTIVATIONS as ACTIVATIONS
from aetheory.autoencoders.activations import Activation as Activation
from aetheory.autoencoders.activations import as_activation as as_activation
from aetheory.autoencoders.activations import from_function as from_function
from aetheory.autoencoders.activations import leaky_relu as leaky_relu
from aetheory.autoencoders.activations import polynomial as polynomial
from aetheory.autoencoders.activations import sign as sign
from aetheory.autoencoders.group_sparse import GroupSparseAutoencoder as GroupSparseAutoencoder
from aetheory.autoencoders.group_sparse import group_relu as group_relu
from aetheory.autoencoders.linear import LinearAutoencoder as LinearAutoencoder
from aetheory.autoencoders.linear import reconstruction_loss as reconstruction_loss
from aetheory.autoencoders.sparse_loss import sparse_reconstruction_loss as sparse_reconstruction_loss
from aetheory.autoencoders.two_layer import TwoLayerAutoencoder as TwoLayerAutoencoder
from aetheory.autoencoders.two_layer import normalise_rows as normalise_rows
from aetheory.autoencoders.two_layer import optimal_decoder as optimal_decoder
from aetheory.autoencoders.two_layer import optimal_risk as optimal_risk
from aetheory.autoencoders.two_layer import population_risk as population_risk
from aetheory.autoencoders.two_layer import random_encoder as random_encoder
from aetheory.autoencoders.two_layer import sampled_risk as sampled_risk
from aetheory.autoencoders.two_layer import tied_autoencoder as tied_autoencoder
from aetheory.autoencoders.two_layer import tied_risk as tied_risk
