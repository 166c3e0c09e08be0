"""`python -m onedpiece.cli` is `odp`."""

from onedpiece.cli import command

command()
