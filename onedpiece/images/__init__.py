"""Read picture files as upright 8-bit sRGB, and write them."""
