"""The limits of two-layer autoencoders (arXiv:2212.13468) and of their extension to sparse sources (2402.05013)."""

from aetheory.two_layer.limits.gaussian import WaterFilling as WaterFilling
from aetheory.two_layer.limits.gaussian import gaussian as gaussian
from aetheory.two_layer.limits.gaussian import principal_components as principal_components
from aetheory.two_layer.limits.gaussian import rate_distortion as rate_distortion
from aetheory.two_layer.limits.gaussian import water_filling as water_filling
from aetheory.two_layer.limits.gaussianity import Gaussianity as Gaussianity
from aetheory.two_layer.limits.gaussianity import gaussianity as gaussianity
from aetheory.two_layer.limits.minimisers import minimiser as minimiser
from aetheory.two_layer.limits.sparse import Denoiser as Denoiser
from aetheory.two_layer.limits.sparse import critical_sparsity as critical_sparsity
from aetheory.two_layer.limits.sparse import denoised_risk as denoised_risk
from aetheory.two_layer.limits.sparse import denoiser as denoiser
from aetheory.two_layer.limits.sparse import identity_risk as identity_risk
from aetheory.two_layer.limits.sparse import rotation_risk as rotation_risk
