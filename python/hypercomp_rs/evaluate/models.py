"""Models from paths: folders of transformers, compressed folders, GGUF files."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .._extras import imported
from ..checkpoint import decompress_checkpoint
from ..checkpoint.configuration import CONFIG, read_config
from ..checkpoint.gguf_parts import gguf_files
from ..checkpoint.load_guard import METHOD, QUANTIZATION
from ..errors import InvalidArgumentError


def config(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The ``config.json`` of a model's folder.

    Raises
    ------
    InvalidArgumentError
        There is no such folder, or it has no ``config.json``: it is no model's.
    FormatError
        The file is no JSON object.
    """
    if not Path(path).is_dir():
        raise InvalidArgumentError(f"{path}: there is no such folder")
    file = Path(path, CONFIG)
    if not file.is_file():
        raise InvalidArgumentError(f"{path} has no {CONFIG}: it is no model's folder")
    return read_config(file)


def is_gguf(path: str | os.PathLike[str]) -> bool:
    """Whether a path names a GGUF file."""
    return Path(path).suffix == ".gguf"


def is_causal_lm(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a causal language model, by its architecture's name."""
    if is_gguf(path):
        return True
    names = config(path).get("architectures") or []
    return any(str(name).endswith(("ForCausalLM", "LMHeadModel")) for name in names)


def causal_lm(path: str | os.PathLike[str], device: str) -> tuple[Any, Any]:
    """A language model in float32 and its tokenizer."""
    transformers = imported("transformers", "eval", "perplexity")
    torch = imported("torch", "eval", "perplexity")
    with _readable(path) as (folder, options):
        model = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, local_files_only=True, **options
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            folder, local_files_only=True, **options
        )
    return model.to(device), tokenizer


def encoder(path: str | os.PathLike[str], device: str) -> Any:
    """A sentence encoder; one that says nothing of its pooling takes the mean of all tokens."""
    sentence_transformers = imported("sentence_transformers", "eval", "embedding_similarity")
    if is_gguf(path):
        raise InvalidArgumentError(f"{path} is a GGUF file: for encoders a folder is accepted")
    with _readable(path) as (folder, _):
        return sentence_transformers.SentenceTransformer(
            str(folder), device=device, local_files_only=True
        )


@contextmanager
def _readable(path: str | os.PathLike[str]) -> Iterator[tuple[Path, dict[str, str]]]:
    """A folder that transformers reads, for as long as it reads, and the options to say so."""
    path = Path(path)
    if is_gguf(path):
        if not path.is_file():
            raise InvalidArgumentError(f"{path}: there is no such file")
        parts = gguf_files(path)
        if len(parts) > 1:
            raise InvalidArgumentError(
                f"{path} is one of {len(parts)} parts, and transformers reads one file: join them "
                "(llama-gguf-split --merge), or evaluate what hypercomp-rs compress makes of them"
            )
        # transformers asks for both of them, without saying which extra of ours has them.
        imported("gguf", "gguf", "a GGUF file")
        imported("accelerate", "eval", "a GGUF file")
        yield path.parent, {"gguf_file": path.name}
        return
    quantised = config(path).get(QUANTIZATION)
    if not (isinstance(quantised, dict) and quantised.get("quant_method") == METHOD):
        yield path, {}
        return
    # The bits that any reader of the folder gets; and nothing of a model's class need be known.
    with tempfile.TemporaryDirectory(prefix="hypercomp-") as folder:
        decompressed = Path(folder, "model")
        decompress_checkpoint(path, decompressed)
        yield decompressed, {}
