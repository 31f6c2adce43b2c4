"""A real text that every Python has: its own language reference, as ``help()`` shows it.

``pydoc_data.topics`` is a module of the standard library: 79 chapters, 465,000 characters in Python
3.11, of which 205,000 are prose. Models have surely seen it, so what it is good for is to compare
formats of one model, not models.
"""

import re
from pydoc_data.topics import topics


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
