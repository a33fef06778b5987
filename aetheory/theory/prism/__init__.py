"""The prism of learning regimes of large weight-tied linear autoencoders (arXiv:2606.05335)."""

from aetheory.theory.prism import geometry as geometry
from aetheory.theory.prism.locate import Location as Location
from aetheory.theory.prism.locate import locate as locate
from aetheory.theory.prism.predict import REGIMES as REGIMES
from aetheory.theory.prism.predict import predict as predict
from aetheory.theory.prism.problem import LinearProblem as LinearProblem
from aetheory.theory.prism.problem import LinearRatios as LinearRatios
from aetheory.theory.prism.sensitivities import Sensitivities as Sensitivities
from aetheory.theory.prism.sensitivities import sensitivities as sensitivities
from aetheory.theory.prism.simulation import simulate as simulate
