"""Fitting and training. `python -m onedpiece.training` runs it; docs/training.md explains it."""
