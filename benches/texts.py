"""A real text that every Python has: its own language reference, as ``help()`` shows it.

``pydoc_data.topics`` is a module of the standard library: 79 chapters, 465,000 characters in Python
3.11, of which 205,000 are prose. Models have surely seen it, so what it is good for is to compare
formats of one model, not models.

Calibration needs English of two kinds, one to calibrate on and another to judge by. The wheel of
the package exllamav3 has both, as data: web pages (C4) and Wikipedia. It is downloaded by ``make
bench-data``, pinned by its hash, and neither installed nor imported.
"""

import hashlib
import pathlib
import re
import zipfile
from pydoc_data.topics import topics

WHEEL = pathlib.Path(__file__).parent.parent / ".venv-bench-data/exllamav3-1.6.5-py3-none-any.whl"
SHA256 = "550c0d04c755f249840e5c1edc26b0e80c7342c33b5d99ad17479abb407e8ded"


def paragraphs():
    """Prose, each paragraph on one line: no headings, grammar rules, examples or lists."""
    for name in sorted(topics):
        for block in topics[name].split("\n\n"):
            indented = any(line.startswith((" ", "*", "-", "=")) for line in block.splitlines())
            if block.strip() and not indented and "::=" not in block:
                yield " ".join(block.split())


def sentences(count):
    """So many whole sentences of 5 to 60 words, from all over the text, no two the same."""
    found = {}
    for paragraph in paragraphs():
        for sentence in re.split(r"(?<=[.!?])\s+(?=[A-Z])", paragraph):
            if 5 <= len(sentence.split()) <= 60 and sentence.endswith((".", "!", "?")):
                found.setdefault(sentence)
    every = list(found)
    if len(every) < count:
        raise SystemExit(f"the text has only {len(every)} sentences")
    return [every[i * len(every) // count] for i in range(count)]


def passage():
    """All of the prose, paragraph by paragraph."""
    return "\n\n".join(paragraphs())


def english(kind, characters):
    """So many characters of "c4" or "wiki"; None without ``make bench-data``."""
    if not WHEEL.exists():
        return None
    found = hashlib.sha256(WHEEL.read_bytes()).hexdigest()
    if found != SHA256:
        raise SystemExit(f"{WHEEL.name} has SHA-256 {found}: {SHA256} is the one that was measured")
    with zipfile.ZipFile(WHEEL) as wheel:
        text = wheel.read(f"exllamav3/conversion/standard_cal_data/{kind}.utf8").decode()
    return text[:characters]
