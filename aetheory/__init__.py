"""The theory of autoencoders, computed, simulated, swept and differentiated in JAX."""

from aetheory.autoencoders import LinearAutoencoder as LinearAutoencoder
from aetheory.autoencoders import reconstruction_loss as reconstruction_loss
from aetheory.sources import ImageSource as ImageSource
from aetheory.sources import load_images as load_images
from aetheory.theory import expansion as expansion
from aetheory.theory import spectra as spectra
from aetheory.theory.prism import REGIMES as REGIMES
from aetheory.theory.prism import LinearProblem as LinearProblem
from aetheory.theory.prism import Location as Location
from aetheory.theory.prism import geometry as geometry
from aetheory.theory.prism import locate as locate
from aetheory.theory.prism import predict as predict
from aetheory.theory.prism import simulate as simulate
from aetheory.training import Curve as Curve
from aetheory.training import Risks as Risks
from aetheory.training import SolverStats as SolverStats
from aetheory.training import Trajectory as Trajectory
from aetheory.training import gradient_descent as gradient_descent
from aetheory.training import gradient_flow as gradient_flow
