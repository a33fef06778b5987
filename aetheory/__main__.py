"""`python -m aetheory`: the command line."""

from aetheory.cli import app

app(prog_name="aetheory")
