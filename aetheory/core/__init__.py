"""The idea the library is built on: problems, theories and curves, and how anything is trained."""
