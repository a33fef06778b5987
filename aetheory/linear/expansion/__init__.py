"""The formal loss expansion E R(t) ~ Σ_s E R^{(s)}(0) tˢ/s! of weight-tied linear autoencoders, exact and planar.

Source: E. Golikov, Y. Gusev, D. Yarotsky, "A prism hierarchy of learning regimes in large linear autoencoders",
arXiv:2606.05335; method: arXiv:2602.04548 (ICML 2026).
"""

from aetheory.linear.expansion.polynomial import Polynomial as Polynomial
from aetheory.linear.expansion.resummation import Resummation as Resummation
from aetheory.linear.expansion.resummation import resum as resum
from aetheory.linear.expansion.series import ExactCoefficient as ExactCoefficient
from aetheory.linear.expansion.series import PlanarCoefficient as PlanarCoefficient
from aetheory.linear.expansion.series import coefficients as coefficients
from aetheory.linear.expansion.series import planar as planar
from aetheory.linear.expansion.series import taylor_series as taylor_series
