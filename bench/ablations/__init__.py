"""Experiments behind numbers in the documentation. Run from a checkout; not in the wheel."""
