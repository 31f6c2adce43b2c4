"""The quantiser for transformers: ``from_pretrained`` compresses models, and loads compressed ones.

Importing this module registers the quantiser. After that, a folder whose configuration has
``"quant_method": "hypercomp"`` loads like any other:

>>> import hypercomp_rs.torch.transformers

The modules, in the order in which a model passes through them:

* ``config``: the parameters of compression, and the entry of a compressed model in ``config.json``;
* ``quantizer``: the class that transformers calls while it loads a model;
* ``names``: the names that a model has for the tensors of a checkpoint;
* ``stored``: compressed tensors in a form that the loader of transformers accepts;
* ``loading``: the wrapped loader, and the check of its result;
* ``saving``: the wrapped functions that save a model.
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
        f"transformers is not installed, or a version that this package does not know ({error}): "
        "pip install 'hypercomp-rs[transformers]'"
    ) from error

wrap_loader()
wrap_saving()

__all__ = ["HypercompConfig", "HypercompQuantizer", "mark_compressed", "unmark_compressed"]
