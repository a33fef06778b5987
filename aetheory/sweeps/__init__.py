"""Many problems at once: grids of parameters, computed in chunks and kept as they finish."""

from aetheory.sweeps.prism import Prediction as Prediction
from aetheory.sweeps.prism import Simulation as Simulation
from aetheory.sweeps.run import sweep as sweep
from aetheory.sweeps.store import open_store as open_store
