"""`python -m imagemint`."""

from imagemint.cli import main

main()
