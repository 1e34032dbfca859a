"""`python -m cli` is `mangaassist`."""

from cli.main import main

main()
