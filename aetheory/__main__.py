"""`python -m aetheory`: the command line."""

from aetheory.cli import app

if __name__ == "__main__":
    app(prog_name="aetheory")
