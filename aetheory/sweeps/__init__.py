"""Many problems at once: grids of parameters, computed in blocks and kept as they finish; `engine.py` says how."""

from aetheory.sweeps.grid import cell_key as cell_key
from aetheory.sweeps.problems import Prediction as Prediction
from aetheory.sweeps.problems import Simulation as Simulation
from aetheory.sweeps.run import SweepError as SweepError
from aetheory.sweeps.run import explain as explain
from aetheory.sweeps.run import sweep as sweep
from aetheory.sweeps.store import open_store as open_store
