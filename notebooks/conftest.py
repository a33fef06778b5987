"""The notebooks as tests: as for the quick tests, compiling takes most of their time."""

from aetheory.core.compilation import compile_quickly

compile_quickly()
