"""The theory of autoencoders, computed, simulated, swept and differentiated in JAX."""

from aetheory.autoencoders import GroupSparseAutoencoder as GroupSparseAutoencoder
from aetheory.autoencoders import LinearAutoencoder as LinearAutoencoder
from aetheory.autoencoders import group_relu as group_relu
from aetheory.autoencoders import reconstruction_loss as reconstruction_loss
from aetheory.sources import GroupSparseSource as GroupSparseSource
from aetheory.sources import ImageSource as ImageSource
from aetheory.sources import data_dictionary as data_dictionary
from aetheory.sources import gaussian_dictionary as gaussian_dictionary
from aetheory.sources import load_images as load_images
from aetheory.sources import orthonormal_groups_dictionary as orthonormal_groups_dictionary
from aetheory.sources import perturbed_dictionary as perturbed_dictionary
from aetheory.sources import subspace_dictionary as subspace_dictionary
from aetheory.theory import expansion as expansion
from aetheory.theory import recovery as recovery
from aetheory.theory import spectra as spectra
from aetheory.theory.prism import REGIMES as REGIMES
from aetheory.theory.prism import LinearProblem as LinearProblem
from aetheory.theory.prism import predict as predict
from aetheory.theory.prism import simulate as simulate
from aetheory.training import Curve as Curve
from aetheory.training import Risks as Risks
from aetheory.training import SolverStats as SolverStats
from aetheory.training import Trajectory as Trajectory
from aetheory.training import gradient_descent as gradient_descent
from aetheory.training import gradient_flow as gradient_flow
