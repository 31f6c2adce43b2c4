"""Models from paths: folders of transformers, compressed folders, files that transformers loads."""

from __future__ import annotations

import json
import os
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .._extras import imported
from ..checkpoint import decompress_checkpoint
from ..checkpoint.configuration import CONFIG, read_config
from ..checkpoint.formats import files_of, loaded_by_transformers
from ..checkpoint.load_guard import METHOD, QUANTIZATION
from ..errors import HypercompError, InvalidArgumentError

# transformers downloads nothing, runs no code of a folder, and does not ask the user whether it
# may.
_LOCAL = {"local_files_only": True, "trust_remote_code": False}
# The file in which sentence-transformers lists the modules of an encoder.
_MODULES = "modules.json"


def config(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The ``config.json`` of a model's folder.

    Raises
    ------
    InvalidArgumentError
        There is no such folder, or it has no ``config.json``.
    FormatError
        The file is no JSON object.
    """
    if not Path(path).is_dir():
        raise InvalidArgumentError(f"{path}: there is no such folder")
    file = Path(path, CONFIG)
    if not file.is_file():
        raise InvalidArgumentError(f"{path} has no {CONFIG}: it is no model's folder")
    return read_config(file)


def is_file_of_a_model(path: str | os.PathLike[str]) -> bool:
    """Whether a path names a file that transformers loads as a model, such as a GGUF file."""
    return loaded_by_transformers(Path(path)) is not None


def is_path(model: Any) -> bool:
    """Whether a model is given as a path."""
    return isinstance(model, (str, bytes)) or hasattr(model, "__fspath__")


def checked_device(device: str | None) -> str:
    """A device of torch on which something can be computed here, by its name.

    Raises
    ------
    InvalidArgumentError
        There is no such device, or it cannot be used.
    """
    torch = imported("torch", "eval", "evaluation")
    if device is None:
        return "cpu"
    if not isinstance(device, (str, torch.device)):
        raise InvalidArgumentError(f"device is a {type(device).__name__}: a name is accepted")
    try:
        with warnings.catch_warnings():
            # The reason why a device cannot be used is also in the error.
            warnings.simplefilter("ignore")
            # An error on the meta device, where nothing is computed.
            torch.ones(1, device=device).item()
    # Each kind of device raises other exceptions if it is missing. The first sentence says why.
    except Exception as error:
        why = str(error).partition("\n")[0].partition(". ")[0]
        there = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
        there += ["mps"] if torch.backends.mps.is_available() else []
        raise InvalidArgumentError(
            f"device={str(device)!r}: {why}. Accepted here: {', '.join(['cpu', *there])}"
        ) from error
    return str(device)


def _architectures(path: str | os.PathLike[str]) -> list[str]:
    names = config(path).get("architectures")
    return [str(name) for name in names] if isinstance(names, list) else []


def is_causal_lm(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a causal language model, by its architecture's name."""
    if is_file_of_a_model(path):
        return True
    return any(map(_has_causal_head, _architectures(path)))


def _has_causal_head(architecture: str) -> bool:
    if architecture.endswith(("ForCausalLM", "LMHeadModel")):
        return True
    # Some causal language models have other names.
    auto = imported("transformers.models.auto.modeling_auto", "eval", "perplexity")
    return architecture in set(auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values())


def check_causal_lm(path: str | os.PathLike[str]) -> None:
    """Refuse a model whose configuration has no causal head, before it is read.

    Raises
    ------
    InvalidArgumentError
        It is no folder of a model, or has another architecture, for which transformers would
        initialise a head at random.
    """
    imported("transformers", "eval", "perplexity")
    if is_file_of_a_model(path):
        _check_file(Path(path))
        return
    architectures = _architectures(path)
    if architectures and not is_causal_lm(path):
        raise InvalidArgumentError(
            f"{path} is a {' and '.join(architectures)}: a causal language model is accepted, "
            "whose architecture ends in ForCausalLM or LMHeadModel; encoders are compared by "
            "embedding_similarity (--task similarity)"
        )


def check_encoder(path: str | os.PathLike[str]) -> None:
    """Refuse a model whose configuration is not that of an encoder, before it is read.

    Raises
    ------
    InvalidArgumentError
        It is no folder of a model, or a causal language model without a configuration of
        sentence-transformers.
    """
    imported("sentence_transformers", "eval", "embedding_similarity")
    if (found := loaded_by_transformers(Path(path))) is not None:
        raise InvalidArgumentError(f"{path} is {found[0].title}: for encoders a folder is accepted")
    # Some encoders are made from language models. Then this file is there.
    if is_causal_lm(path) and not Path(path, _MODULES).is_file():
        raise InvalidArgumentError(
            f"{path} is a {' and '.join(_architectures(path))} without a {_MODULES}, which would "
            "make it an encoder: language models are compared by divergence (--task perplexity)"
        )


def loaded_config(path: str | os.PathLike[str]) -> Any:
    """A model's configuration, an object of transformers."""
    transformers = imported("transformers", "eval", "perplexity")
    folder, options = _place(path)
    with _named(path):
        return transformers.AutoConfig.from_pretrained(folder, **_LOCAL, **options)


def tokenizer(path: str | os.PathLike[str]) -> Any:
    """A model's tokenizer."""
    transformers = imported("transformers", "eval", "perplexity")
    folder, options = _place(path)
    with _named(path):
        return transformers.AutoTokenizer.from_pretrained(folder, **_LOCAL, **options)


def causal_lm(path: str | os.PathLike[str], device: str) -> Any:
    """A language model in float32.

    Raises
    ------
    InvalidArgumentError
        transformers cannot load it, or weights are missing, which it would initialise at random.
    """
    transformers = imported("transformers", "eval", "perplexity")
    torch = imported("torch", "eval", "perplexity")
    with _readable(path) as (folder, options), _named(path):
        model, found = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, output_loading_info=True, **_LOCAL, **options
        )
        _check_complete(path, "causal language model", found["missing_keys"])
        return model.to(device)


def encoder(path: str | os.PathLike[str], device: str) -> Any:
    """A sentence encoder. Without a configuration of its pooling, it takes the mean of all tokens.

    Raises
    ------
    InvalidArgumentError
        sentence-transformers cannot load it, or weights are missing, which it would initialise at
        random.
    """
    sentence_transformers = imported("sentence_transformers", "eval", "embedding_similarity")
    transformers = imported("transformers", "eval", "embedding_similarity")
    with _readable(path) as (folder, _), _named(path):
        if (model := _transformer(folder)) is not None:
            # On the meta device only names are read. sentence-transformers does not report missing
            # ones.
            _, found = transformers.AutoModel.from_pretrained(
                model, device_map="meta", output_loading_info=True, **_LOCAL
            )
            # sentence-transformers uses the states of tokens, and no pooler.
            missing = [name for name in found["missing_keys"] if "pooler." not in name]
            _check_complete(path, "sentence encoder", missing)
        return sentence_transformers.SentenceTransformer(
            str(folder), device=device, local_files_only=True
        )


def _transformer(folder: Path) -> Path | None:
    """The folder of an encoder's model of transformers; None if it has none."""
    modules = folder / _MODULES
    if not modules.is_file():
        return folder
    first, *_ = json.loads(modules.read_bytes())
    place = folder / first["path"]
    return place if (place / CONFIG).is_file() else None


def _check_complete(path: str | os.PathLike[str], what: str, missing: Iterable[str]) -> None:
    if names := sorted(missing):
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        raise InvalidArgumentError(
            f"{path} is no {what}: it has no {shown}, which would be drawn at random"
        )


@contextmanager
def _named(path: str | os.PathLike[str]) -> Iterator[None]:
    """Add the model's path to exceptions of other libraries."""
    try:
        yield
    except (HypercompError, MemoryError):
        raise
    except Exception as error:
        raise InvalidArgumentError(
            f"{path} cannot be loaded: {type(error).__name__}: {error}"
        ) from error


def _check_file(path: Path) -> None:
    """Refuse a file that transformers cannot load, and one that needs a package that is missing."""
    found = loaded_by_transformers(path)
    assert found is not None
    format, loads = found
    if not path.is_file():
        raise InvalidArgumentError(f"{path}: there is no such file")
    parts = files_of(path, loads)
    if len(parts) > 1:
        raise InvalidArgumentError(
            f"{path} is one of {len(parts)} parts, and transformers reads one file: join them "
            f"({loads.join}), or evaluate what hypercomp-rs compress makes of them"
        )
    # transformers asks for these packages, without saying which extra of ours has them.
    for package, extra in loads.packages:
        imported(package, extra, format.title)


def _place(path: str | os.PathLike[str]) -> tuple[Path, dict[str, str]]:
    """A folder for transformers, and the options to say which file in it."""
    path = Path(path)
    found = loaded_by_transformers(path)
    if found is None:
        return path, {}
    _check_file(path)
    return path.parent, {found[1].option: path.name}


@contextmanager
def _readable(path: str | os.PathLike[str]) -> Iterator[tuple[Path, dict[str, str]]]:
    """A folder that transformers can read until the end of the block, and options for it."""
    path, options = _place(path)
    if options:
        yield path, options
        return
    quantised = config(path).get(QUANTIZATION)
    if not (isinstance(quantised, dict) and quantised.get("quant_method") == METHOD):
        yield path, {}
        return
    # Decompressed to a temporary folder, which works for models of any class.
    with tempfile.TemporaryDirectory(prefix="hypercomp-") as folder:
        decompressed = Path(folder, "model")
        decompress_checkpoint(path, decompressed)
        yield decompressed, {}
