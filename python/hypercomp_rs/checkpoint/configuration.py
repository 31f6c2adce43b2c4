"""``config.json``, the configuration of a model of transformers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .._durable import written
from ..errors import FormatError

CONFIG = "config.json"


def read_config(path: Path) -> dict[str, Any]:
    """Read a configuration. It must be a JSON object."""
    try:
        config = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path}: {error}") from None
    if not isinstance(config, dict):
        raise FormatError(f"{path}: a JSON object is accepted")
    return config


def write_config(folder: Path, config: Mapping[str, Any]) -> None:
    """Write a configuration in the form that transformers uses."""
    with written(folder / CONFIG) as file:
        file.write((json.dumps(config, indent=2, ensure_ascii=False) + "\n").encode())
