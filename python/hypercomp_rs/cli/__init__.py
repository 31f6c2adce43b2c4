"""The command ``hypercomp-rs``; one file for each of its commands.

It needs the extra ``hypercomp-rs[cli]``: click for the options, rich for progress.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; the entry point of ``hypercomp-rs`` and ``python -m hypercomp_rs``."""
    try:
        try:
            import click  # noqa: F401
        except ImportError:
            sys.stderr.write(
                "hypercomp-rs: the command line needs more packages: "
                "pip install 'hypercomp-rs[cli]'\n"
            )
            sys.exit(1)
        from .program import run
    except KeyboardInterrupt:
        # Ctrl-C ends the imports with the exit code with which it ends a command.
        sys.exit(130)
    sys.exit(run(sys.argv[1:]))
