"""The interface of a source."""

from typing import Protocol, runtime_checkable

from jaxtyping import Array, Float, PRNGKeyArray


@runtime_checkable
class Source(Protocol):
    """A distribution of samples on which autoencoders are trained."""

    @property
    def input_dim(self) -> int:
        """d, the number of entries of a sample."""

    @property
    def covariance(self) -> Float[Array, "input_dim input_dim"]:
        """Σ, the covariance of a sample."""

    def sample(self, key: PRNGKeyArray, num_samples: int) -> Float[Array, "num_samples input_dim"]:
        """Independent samples, one a row."""
