"""`python -m moesaic`: the same as the `moesaic` command."""

from moesaic.cli import main

main()
