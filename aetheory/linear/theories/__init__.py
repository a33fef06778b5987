"""The limits of linear autoencoders, a file for each; here, the list of them."""

from aetheory.core.theory import AbstractTheory
from aetheory.linear.theories.decoupled_modes import DECOUPLED_MODES
from aetheory.linear.theories.edges import EDGES, VERTICES
from aetheory.linear.theories.free import FREE
from aetheory.linear.theories.interior import INTERIOR, UNTIED
from aetheory.linear.theories.large_data import LARGE_DATA
from aetheory.linear.theories.mean_field import MEAN_FIELD
from aetheory.linear.theories.narrow_latent import NARROW_LATENT
from aetheory.linear.theories.small_data import SMALL_DATA
from aetheory.linear.theories.untied_modes import UNTIED_MODES

_FACES = (LARGE_DATA, SMALL_DATA, MEAN_FIELD, NARROW_LATENT, FREE)

FACES = {theory.name: theory.face for theory in _FACES if theory.face is not None}
"""The five faces of the prism by name, in the order in which edges and vertices name them."""

REGIMES = (*FACES, INTERIOR.name)
"""The regimes that are no edge or vertex."""

THEORIES: dict[str, AbstractTheory] = {
    theory.name: theory for theory in (*_FACES, INTERIOR, DECOUPLED_MODES, UNTIED, UNTIED_MODES, *EDGES, *VERTICES)
}
"""Every limit of the linear system by name."""
