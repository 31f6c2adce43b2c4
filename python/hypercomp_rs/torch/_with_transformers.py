"""Whether transformers is there, and knows of compressed modules. Imports it for nobody."""

from __future__ import annotations

import sys
import warnings
from functools import cache

from ..errors import MissingExtraError, UnknownTransformersWarning


def transformers_knows() -> bool:
    """Have transformers save and load compressed modules, where it is imported. Whether it does.

    A model of transformers may get compressed layers in many ways, and each of them must make sure
    that ``save_pretrained`` says so: see ``transformers/saving.py``.
    """
    return "transformers.modeling_utils" in sys.modules and _is_known()


@cache
def _is_known() -> bool:
    try:
        from . import transformers as _  # noqa: F401
    except MissingExtraError as error:
        warnings.warn(
            f"models of transformers can be compressed, but not saved by save_pretrained: {error}; "
            "until then, save the state dict and read it with hypercomp_rs.torch.load_compressed",
            UnknownTransformersWarning,
            stacklevel=3,
        )
        return False
    return True
