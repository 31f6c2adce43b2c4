"""Imports of optional packages, which extras of this package install."""

from __future__ import annotations

import importlib
from typing import Any

from .errors import MissingExtraError


def imported(name: str, extra: str, what: str) -> Any:
    """Import the module `name`, which `what` needs and the extra `extra` installs.

    If the package is installed but fails to import, its own error is raised, as installing the
    extra would not help.

    Raises
    ------
    MissingExtraError
        The package is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != name.partition(".")[0]:
            raise
        raise MissingExtraError(
            f"{what} needs {error.name}: pip install 'hypercomp-rs[{extra}]'"
        ) from error
