"""`python -m app` is the `verivote` command."""

from app.cli import main

main()
