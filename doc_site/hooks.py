"""What the site shows otherwise than the documents: hooks that MkDocs calls."""

import re
from typing import Any

# A session with prompts is marked as Python for GitHub, and ends with a blank line for doctest.
_SESSION = re.compile(r"^```python\n(?P<code>>>> .*?)\n*^```$", re.MULTILINE | re.DOTALL)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """A page before it is rendered."""
    return _SESSION.sub(r"```pycon\n\g<code>\n```", markdown)
