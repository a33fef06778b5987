"""How autoencoders are trained: gradient flow, gradient descent, and the curves both record."""

from aetheory.training.alternating import alternating_descent as alternating_descent
from aetheory.training.curve import Curve as Curve
from aetheory.training.curve import Risks as Risks
from aetheory.training.flow import SolverStats as SolverStats
from aetheory.training.gradient_descent import gradient_descent as gradient_descent
from aetheory.training.gradient_flow import gradient_flow as gradient_flow
from aetheory.training.trajectory import Trajectory as Trajectory
from aetheory.training.two_layer import sample_descent as sample_descent
from aetheory.training.two_layer import tied_flow as tied_flow
