"""``python -m hypercomp_rs`` is the command ``hypercomp-rs``."""

from .cli import main

main()
