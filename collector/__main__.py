"""`python -m collector` is `spanward`."""

from collector.cli import main

main()
