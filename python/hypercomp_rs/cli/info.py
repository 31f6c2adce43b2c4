"""``hypercomp-rs info``: the machine and the installed packages, for bug reports."""

from __future__ import annotations

import json
import os
import platform
import re
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import click

from .. import __version__, _core
from ..errors import GpuError, InvalidArgumentError
from . import models

SIMD_OVERRIDE = "HYPERCOMP_SIMD"
# Environment variables that change what runs, or on how many threads.
VARIABLES = (SIMD_OVERRIDE, "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
PACKAGES = (
    *("numpy", "torch", "transformers", "accelerate", "sentence-transformers", "safetensors"),
    *("peft", "gguf", "bitsandbytes", "click", "rich", "matplotlib"),
)
# Extras that only developers of this package install.
DEVELOPMENT = frozenset(("bench", "cuda-build", "dev"))
REQUIREMENT = re.compile(
    r"([A-Za-z0-9._-]+)\s*(?:\[([^]]*)\])?[^;]*(?:;.*extra\s*==\s*['\"]([^'\"]+))?"
)


@click.command()
@models.json_option
def info(as_json: bool) -> int:
    """Print version, vector instructions, threads, CUDA and packages, for bug reports.

    The command does not import torch. A machine without a CUDA driver is not an error.
    Exit code: 0.
    """
    found = facts()
    if as_json:
        models.print_json(found)
    else:
        width = max(len(name) for name, _ in lines(found))
        for name, says in lines(found):
            click.echo(f"{name:{width}}  {says}")
    return 0


def facts() -> dict[str, Any]:
    """All that the command says, as plain values.

    Returns
    -------
    dict
        ``version``, ``system``, ``simd``, ``threads``, ``cuda``, ``packages`` (the version, or
        ``None`` where one is not installed), ``missing`` (packages by extra; ``None`` where the
        package itself was not installed) and ``environment``.

    Examples
    --------
    >>> from hypercomp_rs.cli.info import facts
    >>> sorted(facts())
    ['cuda', 'environment', 'missing', 'packages', 'simd', 'system', 'threads', 'version']
    """
    return {
        "version": __version__,
        "system": {
            "platform": platform.platform(),
            "machine": platform.machine(),
            "processor": _processor(),
            "python": f"{platform.python_implementation()} {platform.python_version()}",
            "executable": sys.executable,
        },
        "simd": _simd(),
        "threads": {
            "cores": os.cpu_count(),
            "default": _core.default_threads(),
            "openmp_shared": _core.shares_openmp(),
        },
        "cuda": _cuda(),
        "packages": {name: _version(name) for name in PACKAGES},
        "missing": _missing(),
        "environment": {name: os.environ[name] for name in VARIABLES if name in os.environ},
    }


def lines(found: dict[str, Any]) -> list[tuple[str, str]]:
    """The result of :func:`facts` as lines with a name and a text."""
    system, simd, threads, cuda = (found[key] for key in ("system", "simd", "threads", "cuda"))
    kernels = cuda["kernels"]
    said = [
        ("hypercomp-rs", found["version"]),
        ("Python", f"{system['python']} ({system['executable']})"),
        ("system", f"{system['platform']}, {system['processor'] or system['machine']}"),
        ("vector unit", simd["error"] or f"{simd['in_use']} in use"),
        ("  of this machine", ", ".join(simd["available"])),
        ("  " + SIMD_OVERRIDE, simd["override"] or "not set"),
        ("threads", f"{threads['default']} by default, of {threads['cores']} cores"),
        (
            "  OpenMP",
            "short products share the threads of torch's runtime"
            if threads["openmp_shared"]
            else "not shared in this process; hypercomp_rs.torch shares that of torch",
        ),
        ("CUDA driver", cuda["error"] or f"of CUDA {cuda['driver']}"),
    ]
    for number, device in enumerate(cuda["devices"]):
        said.append(
            (
                f"  device {number}",
                f"{device['name']}, compute capability {device['capability']}: {device['kernels']}",
            )
        )
    said.append(("  kernels for", ", ".join(f"sm_{a}" for a in kernels["architectures"])))
    for name, version in found["packages"].items():
        said.append((name, version or "not installed"))
    if found["missing"] is None:
        said.append(("extras", "unknown: the package was not installed by pip"))
    else:
        for extra, packages in found["missing"].items():
            said.append(
                (f"extra [{extra}]", f"lacks {', '.join(packages)}" if packages else "complete")
            )
    for name, value in found["environment"].items():
        if name != SIMD_OVERRIDE:
            said.append((name, value))
    return said


def _simd() -> dict[str, Any]:
    available = _core.simd_available()
    in_use, error = _asked(_core.simd_in_use, InvalidArgumentError)
    return {
        "in_use": in_use,
        "detected": available[-1],
        "available": available,
        "override": os.environ.get(SIMD_OVERRIDE) or None,
        "error": error,
    }


def _cuda() -> dict[str, Any]:
    kernels = json.loads(_core.kernel_stamp())
    architectures = kernels["architectures"]
    driver, error = _asked(_core.cuda_version, GpuError)
    devices: list[dict[str, str]] = []
    if error is None:
        listed, error = _asked(_core.devices, GpuError)
        for name, major, minor in listed or ():
            runs = kernels_of(major, minor, architectures)
            devices.append({"name": name, "capability": f"{major}.{minor}", "kernels": runs})
    return {"driver": driver, "error": error, "devices": devices, "kernels": kernels}


def kernels_of(major: int, minor: int, architectures: Sequence[int]) -> str:
    """What a device of this compute capability takes from an image of these architectures.

    Machine code runs on later devices of the same generation; the assembly of the oldest
    architecture (PTX) is compiled by the driver for all others that are newer.
    """
    capability = 10 * major + minor
    same = [a for a in architectures if a // 10 == major and a <= capability]
    if same:
        return f"machine code of sm_{max(same)}"
    if capability > min(architectures):
        return f"PTX of compute_{min(architectures)}, compiled by the driver"
    return f"no kernels: sm_{min(architectures)} is the oldest"


def _asked(question: Callable[[], Any], named: type[Exception]) -> tuple[Any, str | None]:
    """The result of a call, or the message of an error of this class."""
    try:
        return question(), None
    except named as error:
        return None, str(error)


def _processor() -> str:
    """The model of the processor, if the system has it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _missing() -> dict[str, list[str]] | None:
    """For each extra, its packages that are not installed."""
    try:
        requirements = metadata.requires("hypercomp-rs") or []
    except metadata.PackageNotFoundError:
        return None
    return missing_of(requirements, lambda name: _version(name) is not None)


def missing_of(
    requirements: Sequence[str], installed: Callable[[str], bool]
) -> dict[str, list[str]]:
    """By extra, the packages of these requirements that are not installed.

    An extra that names others of this package, as ``hypercomp-rs[torch]``, has theirs as well.
    """
    own: dict[str, list[str]] = {}
    others: dict[str, list[str]] = {}
    for requirement in requirements:
        match = REQUIREMENT.match(requirement)
        if match is None or match[3] is None or match[3] in DEVELOPMENT:
            continue
        name, extras, extra = match.groups()
        own.setdefault(extra, [])
        if name.lower().replace("_", "-") == "hypercomp-rs":
            others.setdefault(extra, []).extend(e.strip() for e in extras.split(","))
        elif not installed(name):
            own[extra].append(name)
    return {
        extra: sorted(
            {*packages, *(p for other in others.get(extra, ()) for p in own.get(other, ()))}
        )
        for extra, packages in own.items()
    }
