"""The papers' figures and numbers, as panels of problems: `panel` says how, the other modules say what."""

from aetheory.reproduce.recovery_theory import PUBLISHED_DISTANCES as PUBLISHED_DISTANCES
from aetheory.reproduce.recovery_theory import PUBLISHED_SPARSE as PUBLISHED_SPARSE
from aetheory.reproduce.recovery_theory import stored_runs as stored_runs
