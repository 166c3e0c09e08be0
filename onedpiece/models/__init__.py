"""Installed models and where to find them."""
