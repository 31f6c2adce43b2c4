"""Install a built wheel into a bare environment and run both engines there.

    python release/smoke_test.py FOLDER        # of wheels

The environment has the wheel and numpy, and nothing of what the extras install. Of several wheels
pip takes the one for this machine; if there is none, that is an error. ``engines.py`` is what runs
there. Then the command is called without its extra, and has to say what to install. No wheel may be
larger than ``MOST``, the kernels' image not counted.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import venv
import zlib
from typing import Any

ROOT = pathlib.Path(__file__).parent.parent
MOST = 6_000_000
PROGRAM = pathlib.Path(__file__).with_name("engines.py")


def run(*command: str | pathlib.Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command that no setting of the caller's environment reaches."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "HYPERCOMP"))}
    return subprocess.run(command, env=clean, text=True, check=False, **options)


def smoke(folder: pathlib.Path) -> None:
    """Install what `folder` has for this machine, and try it."""
    with tempfile.TemporaryDirectory() as scratch:
        # Out of the checkout, whose sources must not be imported instead.
        bare = pathlib.Path(scratch) / "bare"
        venv.create(bare, with_pip=True)
        scripts = bare / ("Scripts" if os.name == "nt" else "bin")
        install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        # numpy comes from the index; hypercomp-rs must come from the folder.
        run(scripts / "python", *install, "numpy>=1.24").check_returncode()
        local = ["--no-index", "--no-deps", "--find-links", str(folder.resolve()), "hypercomp-rs"]
        run(scripts / "python", *install, *local, cwd=scratch).check_returncode()
        run(scripts / "python", "-W", "error", PROGRAM, cwd=scratch).check_returncode()
        said = run(scripts / "hypercomp-rs", "--help", cwd=scratch, capture_output=True)
        if said.returncode != 1 or "pip install 'hypercomp-rs[cli]'" not in said.stderr:
            sys.exit(f"hypercomp-rs --help without the extra [cli] said {said}")


def weigh(folder: pathlib.Path) -> None:
    """Say how large the wheels are, and how much of that is the image of the kernels."""
    image = len(zlib.compress((ROOT / "cuda" / "image" / "kernels.fatbin").read_bytes()))
    for wheel in sorted(folder.glob("*.whl")):
        own = wheel.stat().st_size - image
        print(f"{wheel.name}: {own / 1e6:.2f} MB, and {image / 1e6:.2f} MB for the kernels' image")
        if own > MOST:
            sys.exit(f"{wheel.name} is larger than {MOST / 1e6:.0f} MB")


def main() -> None:
    """Test the folder that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path, help="where the wheels are")
    folder = parser.parse_args().folder
    weigh(folder)
    smoke(folder)


if __name__ == "__main__":
    main()
