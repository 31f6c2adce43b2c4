"""Print the requirements of the extra ``docs``, which pip installs without building the package."""

import pathlib

try:
    import tomllib
except ImportError:  # Python 3.10, whose pip brings the same
    from pip._vendor import tomli as tomllib

project = tomllib.loads(pathlib.Path("pyproject.toml").read_text())["project"]
print(*project["optional-dependencies"]["docs"], sep="\n")
