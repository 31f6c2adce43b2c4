"""Makes diffusers save compressed models with a configuration that says so.

``from_pretrained`` of diffusers ignores entries that it does not know. It would load a compressed
folder and leave the layers as they were initialised. But it refuses a folder whose configuration
names a quantiser that it does not know. So the configuration of a compressed model names this
package.
"""

from __future__ import annotations

import functools
import sys
from typing import Any, NoReturn

from ..checkpoint.load_guard import METHOD, QUANTIZATION
from ..checkpoint.shard_writer import FORMAT
from ..errors import FormatError
from . import _integrations
from .compressed_module import CompressedModule

_patched = False


class _Refusal:
    """Registered as a quantiser's configuration: raises an error that says what to do."""

    @classmethod
    def from_dict(cls, said: dict[str, Any]) -> NoReturn:
        raise FormatError(
            "the weights are compressed by hypercomp-rs, which diffusers does not load: "
            "model = Model.from_config(Model.load_config(folder)), then "
            "hypercomp_rs.torch.load_compressed(model, folder)"
        )


def patch_diffusers() -> None:
    """Wrap ``save_pretrained`` if diffusers is imported.

    Only the first call after that does anything.
    """
    global _patched
    if _patched or "diffusers" not in sys.modules:
        return
    try:
        from diffusers import ModelMixin
        from diffusers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING
    except ImportError:
        # diffusers is being imported, or is a version without quantisers.
        return
    _patched = True
    save = ModelMixin.save_pretrained

    @functools.wraps(save)
    def save_pretrained(self: Any, *args: Any, **kwargs: Any) -> Any:
        _mark_configuration(self)
        return save(self, *args, **kwargs)

    ModelMixin.save_pretrained = save_pretrained
    AUTO_QUANTIZATION_CONFIG_MAPPING[METHOD] = _Refusal


def _mark_configuration(model: Any) -> None:
    if any(isinstance(module, CompressedModule) for module in model.modules()):
        model.register_to_config(**{QUANTIZATION: {"quant_method": METHOD, "format": FORMAT}})
    elif (model.config.get(QUANTIZATION) or {}).get("quant_method") == METHOD:
        rest = {name: value for name, value in model.config.items() if name != QUANTIZATION}
        model._internal_dict = type(model.config)(rest)


_integrations.on_module(patch_diffusers)
