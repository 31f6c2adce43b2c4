"""Write THIRD_PARTY_LICENSES.txt, the licences of what is compiled into the wheels.

    python release/third_party.py            # write the file
    python release/third_party.py --check    # compare it with Cargo.lock; tell what differs

The list comes from ``cargo metadata``: every crate that the bindings need at run time on a
platform that has a wheel. Procedural macros and build scripts run while the wheel is built and are
not in it. A crate under a licence that is not in ``ACCEPTED`` is an error: nothing under the GPL or
LGPL goes into a wheel.
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys
import textwrap
from typing import Any

ROOT = pathlib.Path(__file__).parent.parent
FILE = ROOT / "THIRD_PARTY_LICENSES.txt"
BINDINGS = "hypercomp-python"

# Of the wheels that .github/workflows/release.yml builds.
PLATFORMS = (
    "x86_64-unknown-linux-gnu",
    "aarch64-unknown-linux-gnu",
    "x86_64-unknown-linux-musl",
    "aarch64-unknown-linux-musl",
    "x86_64-apple-darwin",
    "aarch64-apple-darwin",
    "x86_64-pc-windows-msvc",
)
# Licences that we take, the first of those that a crate offers; and names of the file that has the
# text in a crate, of which the first that is there is used.
ACCEPTED = {
    "MIT": ("LICENSE-MIT", "license-mit", "LICENSE", "LICENSE.md", "LICENSE.txt"),
    "Apache-2.0": ("LICENSE-APACHE", "license-apache-2.0", "LICENSE"),
    "BSD-2-Clause": ("LICENSE-BSD", "LICENSE"),
    "BSD-3-Clause": ("LICENSE-BSD", "LICENSE"),
    "ISC": ("LICENSE",),
    "Zlib": ("LICENSE", "LICENSE-ZLIB"),
}
# Compiled in without being crates.
OTHERS = """\
Rust's standard library, MIT OR Apache-2.0
    Copyright (c) The Rust Project Contributors. The text of either licence is below; notices of its
    parts are in the file COPYRIGHT of https://github.com/rust-lang/rust.

The image of the CUDA kernels
    Compiled by NVIDIA's compilers from this project's sources, with inline functions of
    cuda_fp16.h and cuda_bf16.h of the CUDA Toolkit (Copyright (c) NVIDIA Corporation) in them. The
    toolkit's End User License Agreement, https://docs.nvidia.com/cuda/eula, lists in its
    Attachment A what may be distributed, its half precision headers among that. No library of
    NVIDIA's is in the wheel: the driver is the user's own.
"""


class UnacceptableLicense(Exception):
    """A crate's licence or its text is missing, or is none that goes into a wheel."""


def compiled_in() -> list[dict[str, Any]]:
    """The packages of other authors that are compiled into the bindings, by name and version."""
    command = ["cargo", "metadata", "--locked", "--format-version", "1"]
    for platform in PLATFORMS:
        command += ["--filter-platform", platform]
    told = json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)
    packages = {package["id"]: package for package in told["packages"]}
    nodes = {node["id"]: node for node in told["resolve"]["nodes"]}
    found: set[str] = set()
    ahead = [each for each, package in packages.items() if package["name"] == BINDINGS]
    while ahead:
        here = ahead.pop()
        found.add(here)
        for needed in nodes[here]["deps"]:
            package = packages[needed["pkg"]]
            at_run_time = any(kind["kind"] is None for kind in needed["dep_kinds"])
            macro = any("proc-macro" in target["kind"] for target in package["targets"])
            if at_run_time and not macro and package["id"] not in found:
                ahead.append(package["id"])
    others = [packages[each] for each in found if packages[each]["source"] is not None]
    return sorted(others, key=lambda package: (package["name"], package["version"]))


def chosen(package: dict[str, Any]) -> str:
    """The licence that is taken of those that a crate offers."""
    name, expression = package["name"], package["license"] or ""
    if " AND " in expression:
        raise UnacceptableLicense(f"{name} is under {expression!r}: say in {__file__} what applies")
    offered = re.split(r" OR |/", expression.strip("()"))
    for licence in ACCEPTED:
        if licence in offered:
            return licence
    raise UnacceptableLicense(
        f"{name} is under {expression!r}; accepted are {', '.join(ACCEPTED)}. Use another crate."
    )


def text_of(package: dict[str, Any], licence: str) -> str:
    """The text of a licence as the crate has it."""
    folder = pathlib.Path(package["manifest_path"]).parent
    for name in ACCEPTED[licence]:
        if (folder / name).is_file():
            text = (folder / name).read_text(encoding="utf-8").replace("\r\n", "\n")
            return "\n".join(line.rstrip() for line in text.strip("\n").splitlines())
    raise UnacceptableLicense(f"{package['name']} has no file with the text of {licence}")


def listing() -> str:
    """The whole file: a list of crates, then every text once with the crates that it is of."""
    lines: list[str] = []
    of_text: dict[tuple[str, str], list[str]] = {}
    for package in compiled_in():
        licence = chosen(package)
        title = f"{package['name']} {package['version']}"
        lines.append(f"{title}, {package['license']}\n    {package['repository'] or ''}".rstrip())
        of_text.setdefault((licence, text_of(package, licence)), []).append(title)
    rule = "-" * 80
    parts = [
        "What is compiled into the wheels of hypercomp-rs beside its own code, which is under\n"
        "MIT OR Apache-2.0. Written by release/third_party.py from Cargo.lock.\n",
        OTHERS,
        "\n".join(lines) + "\n",
    ]
    for (licence, text), titles in sorted(of_text.items()):
        names = textwrap.fill(", ".join(titles), 80, break_on_hyphens=False)
        parts.append(f"{rule}\n{licence}\n{names}\n{rule}\n\n{text}\n")
    return "\n".join(parts)


def main() -> None:
    """Write the file, or check it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare, and write nothing")
    arguments = parser.parse_args()
    try:
        text = listing()
    except UnacceptableLicense as error:
        sys.exit(str(error))
    if not arguments.check:
        FILE.write_text(text, encoding="utf-8", newline="\n")
    elif not FILE.exists() or FILE.read_text(encoding="utf-8") != text:
        sys.exit(f"{FILE.name} is not of this Cargo.lock: run `python release/third_party.py`")


if __name__ == "__main__":
    main()
