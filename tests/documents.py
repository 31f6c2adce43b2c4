"""The documents of the project, and the code blocks in them.

A block of Python with prompts is a doctest, which pytest collects from the document itself. All
other blocks of Python and of the shell are run by ``test_documents.py``. The blocks of one
document are run in order, in one folder and one namespace. Two comments, which a reader does not
see, are for the test:

* ``<!-- not run: reason -->`` before a block: the block cannot run on every machine;
* ``<!-- run first: sh`` or ``python``, then lines up to ``-->``: code that the blocks after it
  rely on.
"""

import pathlib
import re
from typing import NamedTuple

ROOT = pathlib.Path(__file__).parent.parent

DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])

# Languages of blocks that are read and not run.
PROSE = frozenset(("text", "json", "toml", "yaml", "rust", "c++", "ini"))

_BLOCK = re.compile(
    r"^<!-- run first: (?P<hidden>\w+)\n(?P<first>.*?)^-->$"
    r"|(?:^<!-- not run: (?P<why>[^\n]+) -->\n+)?^```(?P<language>[^\n]*)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


class Block(NamedTuple):
    """A block of a document that is run, or that says why it is not."""

    line: int
    language: str
    code: str
    why_not: str | None
    hidden: bool


def blocks(document):
    """All fenced blocks of a document and those in its comments, in order."""
    text = document.read_text()
    found = []
    for match in _BLOCK.finditer(text):
        hidden = match["hidden"]
        start = match.start("first" if hidden else "code")
        language, code = (hidden, match["first"]) if hidden else (match["language"], match["code"])
        found.append(
            Block(1 + text.count("\n", 0, start), language, code, match["why"], bool(hidden))
        )
    return found


def is_doctest(block):
    """Whether pytest's own collection runs the block."""
    return block.language == "python" and ">>> " in block.code


def commands(block):
    """The command lines of a shell block, continued lines joined."""
    joined = block.code.replace("\\\n", " ")
    return [line for line in map(str.strip, joined.splitlines()) if line and line[0] != "#"]
