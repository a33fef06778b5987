"""Design questions by gradient: initial scale, early stopping, allocation of units, threshold."""

from aetheory.inference.optimise.allocation import Allocation as Allocation
from aetheory.inference.optimise.allocation import allocation as allocation
from aetheory.inference.optimise.scalar import Minimum as Minimum
from aetheory.inference.optimise.scalar import minimise as minimise
from aetheory.inference.optimise.threshold import ThresholdChoice as ThresholdChoice
from aetheory.inference.optimise.threshold import threshold as threshold
from aetheory.inference.optimise.training import initial_scale as initial_scale
from aetheory.inference.optimise.training import stopping_time as stopping_time
