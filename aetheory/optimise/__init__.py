"""Design questions by gradient: initial scale, early stopping, allocation of units, threshold."""

from aetheory.optimise.allocation import Allocation as Allocation
from aetheory.optimise.allocation import allocation as allocation
from aetheory.optimise.scalar import Minimum as Minimum
from aetheory.optimise.scalar import minimise as minimise
from aetheory.optimise.threshold import ThresholdChoice as ThresholdChoice
from aetheory.optimise.threshold import threshold as threshold
from aetheory.optimise.training import initial_scale as initial_scale
from aetheory.optimise.training import stopping_time as stopping_time
