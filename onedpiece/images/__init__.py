"""Pictures of every kind to upright 8-bit sRGB, and back."""
