"""The theory of autoencoders, computed, simulated, swept and differentiated in JAX."""

from aetheory import group_sparse as group_sparse
from aetheory import plotting as plotting
from aetheory import sources as sources
from aetheory import spectra as spectra
from aetheory import sweeps as sweeps
from aetheory import two_layer as two_layer
from aetheory.core.citation import citation as citation
from aetheory.core.curve import Curve as Curve
from aetheory.core.curve import Values as Values
from aetheory.core.gradient_descent import gradient_descent as gradient_descent
from aetheory.core.gradient_flow import gradient_flow as gradient_flow
from aetheory.core.predict import predict as predict
from aetheory.core.reconstruction import reconstruction_loss as reconstruction_loss
from aetheory.core.simulate import simulate as simulate
from aetheory.core.solve import SolverStats as SolverStats
from aetheory.group_sparse.dictionaries import data_dictionary as data_dictionary
from aetheory.group_sparse.dictionaries import gaussian_dictionary as gaussian_dictionary
from aetheory.group_sparse.dictionaries import orthonormal_groups_dictionary as orthonormal_groups_dictionary
from aetheory.group_sparse.dictionaries import perturbed_dictionary as perturbed_dictionary
from aetheory.group_sparse.dictionaries import subspace_dictionary as subspace_dictionary
from aetheory.group_sparse.kernels import sparse_reconstruction_loss as sparse_reconstruction_loss
from aetheory.group_sparse.network import GroupSparseAutoencoder as GroupSparseAutoencoder
from aetheory.group_sparse.network import group_relu as group_relu
from aetheory.group_sparse.problem import RecoveryProblem as RecoveryProblem
from aetheory.inference import Fit as Fit
from aetheory.inference import Observations as Observations
from aetheory.inference import fit as fit
from aetheory.inference import optimise as optimise
from aetheory.inference.sensitivities import Sensitivities as Sensitivities
from aetheory.inference.sensitivities import sensitivities as sensitivities
from aetheory.linear import expansion as expansion
from aetheory.linear import geometry as geometry
from aetheory.linear.locate import Location as Location
from aetheory.linear.locate import locate as locate
from aetheory.linear.network import LinearAutoencoder as LinearAutoencoder
from aetheory.linear.problem import LinearProblem as LinearProblem
from aetheory.linear.problem import LinearRatios as LinearRatios
from aetheory.linear.theories import REGIMES as REGIMES
from aetheory.linear.theories.interior import Combined as Combined
from aetheory.linear.theories.path_space import PathSpace as PathSpace
from aetheory.linear.theories.rotations import Rotations as Rotations
from aetheory.plotting.curves import plot as plot
from aetheory.sources.gaussian import GaussianSource as GaussianSource
from aetheory.sources.group_sparse import GroupSparseSource as GroupSparseSource
from aetheory.sources.images import ImageSource as ImageSource
from aetheory.sources.images import load_images as load_images
from aetheory.sources.sparse import SparseSource as SparseSource
from aetheory.sweeps import sweep as sweep
from aetheory.two_layer import limits as limits
from aetheory.two_layer.network import TwoLayerAutoencoder as TwoLayerAutoencoder
from aetheory.two_layer.network import population_risk as population_risk
from aetheory.two_layer.problem import TwoLayerProblem as TwoLayerProblem

recovery = group_sparse
"""Guarantees, convergence and metrics of dictionary recovery: the room of arXiv:2102.07003."""
