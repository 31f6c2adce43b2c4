"""The quantiser for transformers: ``from_pretrained`` compresses, and loads what is compressed.

Importing this module registers it, after which a folder that says ``"quant_method": "hypercomp"``
loads like any other:

>>> import hypercomp_rs.torch.transformers

The modules, in the order in which a model passes through them:

* ``config``: what is asked for, and what ``config.json`` says of a compressed model;
* ``quantizer``: the class that transformers calls while it loads a model;
* ``names``: what a model calls the tensors of a checkpoint;
* ``stored``: compressed tensors as the loader of transformers takes any tensor;
* ``loading``: what the loader is given, and the check of what it made of it;
* ``saving``: every compressed model is saved as one.
"""

from ...errors import MissingExtraError

try:
    from .config import HypercompConfig
    from .loading import wrap_loader
    from .quantizer import HypercompQuantizer
    from .saving import mark_compressed, unmark_compressed, wrap_saving
except MissingExtraError:
    raise
except ImportError as error:
    raise MissingExtraError(
        f"transformers is not there, or of a version that this package does not know ({error}): "
        "pip install 'hypercomp-rs[transformers]'"
    ) from error

wrap_loader()
wrap_saving()

__all__ = ["HypercompConfig", "HypercompQuantizer", "mark_compressed", "unmark_compressed"]
