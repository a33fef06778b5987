"""The limits of two-layer autoencoders (arXiv:2212.13468) and of their extension to sparse sources (2402.05013)."""

from aetheory.theory.limits.gaussian import WaterFilling as WaterFilling
from aetheory.theory.limits.gaussian import gaussian as gaussian
from aetheory.theory.limits.gaussian import principal_components as principal_components
from aetheory.theory.limits.gaussian import rate_distortion as rate_distortion
from aetheory.theory.limits.gaussian import water_filling as water_filling
from aetheory.theory.limits.minimisers import minimiser as minimiser
from aetheory.theory.limits.sparse import Denoiser as Denoiser
from aetheory.theory.limits.sparse import critical_sparsity as critical_sparsity
from aetheory.theory.limits.sparse import denoised_risk as denoised_risk
from aetheory.theory.limits.sparse import denoiser as denoiser
from aetheory.theory.limits.sparse import identity_risk as identity_risk
from aetheory.theory.limits.sparse import rotation_risk as rotation_risk
