"""The lines of Python that load a compressed model, printed after compression."""

from __future__ import annotations

from pathlib import Path

from ..checkpoint import Checkpoint

# The file by which a folder of sentence-transformers is recognised.
_SENTENCES = "modules.json"


def how_to_load(made: Checkpoint, folder: Path) -> str:
    """The lines of Python that load a model, on one line.

    They use the library that the configuration belongs to: sentence-transformers, transformers, or
    none.
    """
    place = repr(str(folder))
    if (folder / _SENTENCES).is_file():
        call = f"sentence_transformers.SentenceTransformer({place})"
        return f"import hypercomp_rs.torch.transformers, sentence_transformers; {call}"
    config = made.config or {}
    architectures = config.get("architectures")
    if "model_type" in config and isinstance(architectures, list) and architectures:
        # The class may be defined by the model's own code, and not by transformers.
        own = "auto_map" in config
        name = "AutoModel" if own else str(architectures[0])
        call = f"transformers.{name}.from_pretrained({place})"
        return f"import hypercomp_rs.torch.transformers, transformers; {call}"
    return (
        f"hypercomp_rs.torch.load_compressed(model, {place}), or tensor by tensor "
        f"hypercomp_rs.Checkpoint.open({place})"
    )
