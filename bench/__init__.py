"""Measurements: speed and memory of the codec, rate-distortion, and how they are made."""
