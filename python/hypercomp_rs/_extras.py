"""Packages that only an extra of this one installs, imported when they are first needed."""

from __future__ import annotations

import importlib
from typing import Any

from .errors import MissingExtraError


def imported(name: str, extra: str, what: str) -> Any:
    """The module `name`, which `what` needs and the extra `extra` installs.

    A package that is there but cannot be imported raises what it raises: another extra would not
    mend it.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != name.partition(".")[0]:
            raise
        raise MissingExtraError(
            f"{what} needs {error.name}: pip install 'hypercomp-rs[{extra}]'"
        ) from error
