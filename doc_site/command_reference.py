"""Print the page of the command ``hypercomp-rs``: the help text of each of its commands.

``python doc_site/command_reference.py > docs/reference/command.md`` writes it. A test compares.
"""

import os

# click wraps to the terminal's width, and by default to no more than this.
os.environ["COLUMNS"] = "80"

import click

from hypercomp_rs.cli.program import program

HEAD = """# The command hypercomp-rs

`pip install 'hypercomp-rs[cli]'` installs it. Each command prints its text below with `--help`.
`doc_site/command_reference.py` writes this page, and a test compares it with the program.

| exit code | means |
|---|---|
| 0 | all is done |
| 1 | the system failed: a full disk, no memory |
| 2 | a file, a rule or an option is wrong |
| 3 | a limit was reached: the result is partial |
| 4 | `verify`: some tensors are damaged, or worse than they claim |
| 130 | Ctrl-C |
| 141 | the reader of the output went away |
"""


def _help(command: click.Command, name: str) -> str:
    with click.Context(command, info_name=name, **command.context_settings) as context:
        return command.get_help(context)


def page() -> str:
    """The page as Markdown."""
    parts = [HEAD, f"## hypercomp-rs\n\n```text\n{_help(program, 'hypercomp-rs')}\n```\n"]
    for name, command in sorted(program.commands.items()):
        title = f"hypercomp-rs {name}"
        parts.append(f"## {title}\n\n```text\n{_help(command, title)}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    print(page(), end="")
