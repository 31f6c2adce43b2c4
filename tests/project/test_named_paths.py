"""Files that comments, docstrings and documents name are there."""

import ast
import io
import os
import pathlib
import re
import tokenize

import pytest

ROOT = pathlib.Path(__file__).parents[2]
FOLDERS = (
    ".ci", ".github", "benches", "cuda", "doc_site", "docs", "examples", "fuzz", "python",
    "release", "rust", "tests",
)  # fmt: skip
# What a build or a run makes, and git ignores.
MADE = ("fuzz/corpus", "fuzz/artifacts", "fuzz/target", "python/hypercomp_rs/_core")
# Files of other projects.
FOREIGN = {
    "cuda.h": "of the CUDA toolkit",
    "conversion/llama.py": "of llama.cpp",
    "dlpack.h": "of DLPack",
    "docs/gguf.md": "of ggml",
    "neon.rs": "to be added: a page says how",
}

COMMENT = re.compile(r"(?<![:\"'])//+[!/]?(.*)")
# A path from the root of the checkout: a folder of ours, not a part of a longer path or address.
ROOTED = re.compile(rf"(?<![\w./*{{}}-])(?:{'|'.join(map(re.escape, FOLDERS))})/[\w./-]*[\w/]")
# The name of a source or a document, with or without folders before it.
SOURCE = re.compile(
    r"(?<![\w./*<>{}$:-])(?:\w[\w./-]*)?\w\.(?:rs|py|pyi|cu|cuh|cc|c|h|md|toml)\b(?![\w(*])"
)
# Documents that are cited by a title in capitals.
TITLED = re.compile(r"\b(?:DESIGN|NOTES|PLAN|SPEC|TODO)\b")


def checkout():
    """Every file of the checkout as a path from its root, without what is built."""
    found = [path.name for path in ROOT.iterdir() if path.is_file()]
    for folder in FOLDERS:
        for where, folders, files in os.walk(ROOT / folder):
            folders[:] = [name for name in folders if name not in ("target", "__pycache__")]
            at = pathlib.Path(where).relative_to(ROOT)
            found += [(at / name).as_posix() for name in files]
    return found


def python_prose(text):
    """The comments and docstrings of a module."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.string
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""


def prose(path):
    """What names files: all of a document or workflow, comments and docstrings of a source."""
    if path.suffix in (".md", ".yml", ".yaml") or path.name in ("Makefile", "CODEOWNERS"):
        return path.read_text(encoding="utf-8")
    if path.suffix in (".py", ".pyi"):
        return "\n".join(python_prose(path.read_text(encoding="utf-8")))
    if path.suffix in (".rs", ".cu", ".cuh", ".h", ".cc", ".c"):
        return "\n".join(COMMENT.findall(path.read_text(encoding="utf-8")))
    if path.suffix == ".toml":
        lines = path.read_text(encoding="utf-8").splitlines()
        return "\n".join(line for line in lines if "#" in line)
    return ""


def missing(text, known):
    """What a text names and is not there."""
    for name in (*ROOTED.findall(text), *SOURCE.findall(text)):
        plain = name.rstrip("/").removeprefix("./")
        if plain not in known and plain not in FOREIGN and not plain.startswith(MADE):
            yield plain
    yield from TITLED.findall(text)


@pytest.fixture(scope="module")
def files():
    return sorted(checkout())


@pytest.fixture(scope="module")
def known(files):
    """Paths of files and folders from the root, and of files from any folder above them."""
    folders = {parent.as_posix() for f in files for parent in pathlib.PurePosixPath(f).parents}
    ends = {"/".join(f.split("/")[-n:]) for f in files for n in range(1, f.count("/") + 2)}
    return folders | ends


def test_files_that_are_named_are_there(files, known):
    lost = {name: sorted(set(missing(prose(ROOT / name), known))) for name in files}
    assert not {name: names for name, names in lost.items() if names}


def test_a_name_of_no_file_is_found(known):
    assert not list(missing("`docs/format.md`, tests/ and `codec/mod.rs` are there", known))
    text = "docs/none.md, rust/none/, `none.rs`, and (DESIGN: words)"
    assert list(missing(text, known)) == [
        "docs/none.md",
        "rust/none",
        "docs/none.md",
        "none.rs",
        "DESIGN",
    ]
