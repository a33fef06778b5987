"""The explorer: a local page on which problems are moved by sliders, and their curves follow."""

from aetheory.explore.page import serve as serve
