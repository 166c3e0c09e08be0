"""The bytes of an .odp file, and nothing else: no network, no registry, no disk.

docs/format.md is the specification. `Front` is everything before the tokens; `payload` holds them.
"""
