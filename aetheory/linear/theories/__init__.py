"""The limits of linear autoencoders, a file for each."""
