"""The prism of learning regimes of large weight-tied linear autoencoders (arXiv:2606.05335)."""

from aetheory.theory.prism.problem import LinearProblem as LinearProblem
from aetheory.theory.prism.regimes import REGIMES as REGIMES
from aetheory.theory.prism.regimes import predict as predict
from aetheory.theory.prism.simulation import simulate as simulate
