"""The theory of autoencoders, computed, simulated, swept and differentiated in JAX."""

from aetheory import autoencoders as autoencoders
from aetheory import sources as sources
from aetheory.autoencoders import LinearAutoencoder as LinearAutoencoder
from aetheory.autoencoders import TwoLayerAutoencoder as TwoLayerAutoencoder
from aetheory.autoencoders import population_risk as population_risk
from aetheory.autoencoders import reconstruction_loss as reconstruction_loss
from aetheory.sources import GaussianSource as GaussianSource
from aetheory.sources import ImageSource as ImageSource
from aetheory.sources import SparseSource as SparseSource
from aetheory.sources import load_images as load_images
from aetheory.theory import expansion as expansion
from aetheory.theory import limits as limits
from aetheory.theory import spectra as spectra
from aetheory.theory.prism import REGIMES as REGIMES
from aetheory.theory.prism import LinearProblem as LinearProblem
from aetheory.theory.prism import predict as predict
from aetheory.theory.prism import simulate as simulate
from aetheory.training import Curve as Curve
from aetheory.training import Risks as Risks
from aetheory.training import SolverStats as SolverStats
from aetheory.training import Trajectory as Trajectory
from aetheory.training import alternating_descent as alternating_descent
from aetheory.training import gradient_descent as gradient_descent
from aetheory.training import gradient_flow as gradient_flow
from aetheory.training import sample_descent as sample_descent
from aetheory.training import tied_flow as tied_flow
