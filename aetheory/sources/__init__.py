"""What autoencoders are trained on."""

from aetheory.sources.images import ImageSource, Whitening, load_images, whiten

__all__ = ["ImageSource", "Whitening", "load_images", "whiten"]
