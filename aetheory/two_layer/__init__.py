"""Two-layer nonlinear autoencoders and the limits of compression (arXiv:2212.13468, arXiv:2402.05013)."""

from aetheory.two_layer.activations import ACTIVATIONS as ACTIVATIONS
from aetheory.two_layer.activations import Activation as Activation
from aetheory.two_layer.activations import as_activation as as_activation
from aetheory.two_layer.activations import from_function as from_function
from aetheory.two_layer.activations import leaky_relu as leaky_relu
from aetheory.two_layer.network import TwoLayerAutoencoder as TwoLayerAutoencoder
from aetheory.two_layer.network import optimal_decoder as optimal_decoder
from aetheory.two_layer.network import optimal_risk as optimal_risk
from aetheory.two_layer.network import population_risk as population_risk
from aetheory.two_layer.network import random_encoder as random_encoder
from aetheory.two_layer.network import sampled_risk as sampled_risk
from aetheory.two_layer.network import tied_autoencoder as tied_autoencoder
from aetheory.two_layer.problem import TwoLayerProblem as TwoLayerProblem
from aetheory.two_layer.theories import THEORIES as THEORIES
