"""The bytes of an .odp file. Nothing in this package uses a network, the registry or the disk.

docs/format.md is the specification. `front` reads and writes everything before the tokens,
`payload` the tokens.
"""
