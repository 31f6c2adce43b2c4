"""Roles of reStructuredText in docstrings, as links of the site.

Docstrings refer to each other by ``:func:`compress_tensor``` and the like, which Python's own tools
read. Griffe hands docstrings to Markdown, which does not know roles: here they become links to the
object of that name, or code where no page describes it.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

MODULES = (
    "",
    ".checkpoint",
    ".torch",
    ".torch.transformers",
    ".evaluate",
    ".gpu",
    ".errors",
)

ROLE = re.compile(r":(?:class|func|meth|attr|exc|mod):`~?([^`]+)`")


class CrossReferences(griffe.Extension):
    """Rewrites the docstrings of the whole package once it is loaded."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Rewrite every docstring."""
        self._package = pkg
        public = self._public(pkg)
        for module in self._modules(pkg):
            for thing in self._objects(module):
                if thing.docstring is not None:
                    here = thing.parent.name if thing.parent is not None else ""
                    thing.docstring.value = ROLE.sub(
                        lambda found, here=here: self._link(found[1], here, public),
                        thing.docstring.value,
                    )

    def _shown(self, owner: str, suffix: str) -> bool:
        """Whether a member of a class has a docstring, without which pages leave it out."""
        path = f"{owner}{suffix}".partition(".")[2]
        if suffix == "." or suffix.startswith("._"):
            return False
        try:
            return self._package[path].docstring is not None
        except (KeyError, griffe.AliasResolutionError):
            return False

    def _link(self, name: str, here: str, public: dict[str, str]) -> str:
        short = name.removeprefix("hypercomp_rs.")
        head, _, member = short.partition(".")
        for candidate, suffix in ((short, ""), (head, f".{member}"), (here, f".{short}")):
            if candidate in public and (suffix == "" or self._shown(public[candidate], suffix)):
                return f"[`{short}`][{public[candidate]}{suffix}]"
        return f"`{name}`"

    @staticmethod
    def _public(pkg: griffe.Module) -> dict[str, str]:
        """What pages describe: names as they are imported, and where."""
        found: dict[str, str] = {}
        for module in MODULES:
            path = pkg.path + module
            owner = pkg[module.removeprefix(".")] if module else pkg
            for name in owner.exports or ():
                found.setdefault(str(name), f"{path}.{name}")
            if module:
                found[module.removeprefix(".")] = path
        for name, member in pkg["gpu"].members.items():
            if not name.startswith("_") and not member.is_alias:
                found.setdefault(name, f"{pkg.path}.gpu.{name}")
        return found

    def _modules(self, module: griffe.Module) -> list[griffe.Module]:
        below = [m for m in module.modules.values() if not m.is_alias]
        return [module, *(one for m in below for one in self._modules(m))]

    def _objects(self, owner: Any) -> list[Any]:
        found = [owner]
        for member in owner.members.values():
            if member.is_alias or member.is_module:
                continue
            found += self._objects(member) if member.is_class else [member]
        return found
