"""Recovery by group-sparse autoencoders (arXiv:2102.07003): guarantees, gradients, convergence and metrics."""

from aetheory.theory.recovery.clustering import ClusteringScores as ClusteringScores
from aetheory.theory.recovery.clustering import cluster as cluster
from aetheory.theory.recovery.clustering import cluster_accuracy as cluster_accuracy
from aetheory.theory.recovery.clustering import clustering_scores as clustering_scores
from aetheory.theory.recovery.clustering import sum_to_one as sum_to_one
from aetheory.theory.recovery.coherence import block_coherence as block_coherence
from aetheory.theory.recovery.coherence import closeness as closeness
from aetheory.theory.recovery.coherence import coherence as coherence
from aetheory.theory.recovery.convergence import ExpectedGradient as ExpectedGradient
from aetheory.theory.recovery.convergence import alignment_range as alignment_range
from aetheory.theory.recovery.convergence import contraction_factor as contraction_factor
from aetheory.theory.recovery.convergence import expected_gradient as expected_gradient
from aetheory.theory.recovery.convergence import fixed_point_norm as fixed_point_norm
from aetheory.theory.recovery.convergence import measured_contraction as measured_contraction
from aetheory.theory.recovery.convergence import neighbourhood_radius as neighbourhood_radius
from aetheory.theory.recovery.convergence import published_gradient as published_gradient
from aetheory.theory.recovery.guarantees import ThresholdInterval as ThresholdInterval
from aetheory.theory.recovery.guarantees import support_guarantee as support_guarantee
from aetheory.theory.recovery.guarantees import threshold_interval as threshold_interval
from aetheory.theory.recovery.metrics import SupportRecovery as SupportRecovery
from aetheory.theory.recovery.metrics import active_groups as active_groups
from aetheory.theory.recovery.metrics import dictionary_distance as dictionary_distance
from aetheory.theory.recovery.metrics import squared_distance as squared_distance
from aetheory.theory.recovery.metrics import support_recovery as support_recovery
