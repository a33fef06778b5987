"""Free, pσ² → ∞: the target drops out, R = (1/p) tr MSM; M and S do not commute.

Source: arXiv:2606.05335, free regime. It has no closed form: `interior.BracketedTheory.curve` computes it.
"""

from aetheory.core.theory import Citation
from aetheory.linear.theories.interior import BracketedTheory
from aetheory.linear.theories.theory import Face


def _on_face(m: int, n: int, j: int, order: int, top: int) -> bool:
    return m == order + 2


FREE = BracketedTheory(
    name="free",
    formula="Ṁ = −[2MSM + SM² + M²S] of two free Wishart elements: no closed form is known",
    citations=(
        Citation("golikov2026prism"),
        Citation("yarotsky2026gradient", "Section 7, for the free vertices"),
        Citation("voiculescu1991limit", derived=True),
    ),
    tested="H/p and p/N of order one, simulations at p = 300 and pσ² = 100",
    error="the bracket; within .4 % of R(0) at all times",
    target_free=True,
    face=Face(
        _on_face,
        scaling="pσ² → ∞; H ≍ p ≍ N",
        time_unit="pσ²",
        error_per_share=0.05,
    ),
)
"""Ṁ = −[2MSM + SM² + M²S] from free Wishart elements M and S: arXiv:2606.05335, free regime, pσ² → ∞."""
