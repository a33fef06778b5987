"""Inference: hyperparameters and regime from an observed loss curve, sensitivities, optimal design."""

from aetheory.inference.finite_size import Correction as Correction
from aetheory.inference.fit import fit as fit
from aetheory.inference.fit_problem import FitProblem as FitProblem
from aetheory.inference.observations import Observations as Observations
from aetheory.inference.result import Estimate as Estimate
from aetheory.inference.result import Fit as Fit
from aetheory.inference.uncertainty import Uncertainty as Uncertainty
from aetheory.inference.uncertainty import uncertainty as uncertainty
