"""Recovery by group-sparse autoencoders (arXiv:2102.07003): guarantees, gradients, convergence and metrics."""

from aetheory.theory.recovery.metrics import SupportRecovery as SupportRecovery
from aetheory.theory.recovery.metrics import active_groups as active_groups
from aetheory.theory.recovery.metrics import dictionary_distance as dictionary_distance
from aetheory.theory.recovery.metrics import squared_distance as squared_distance
from aetheory.theory.recovery.metrics import support_recovery as support_recovery
