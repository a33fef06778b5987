"""What autoencoders should do: spectra, learning regimes and limits."""
