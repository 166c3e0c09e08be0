"""Tokens in fewer than 12 bits: a range coder, and tables of the frequencies of codes."""

from onedpiece.entropy.range_coder import InvalidStream
from onedpiece.entropy.tables import Tables

__all__ = ["InvalidStream", "Tables"]
