"""The licences of what is compiled into a wheel: all are listed, and none is a copyleft one."""

import importlib.util
import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def third_party():
    path = ROOT / "release" / "third_party.py"
    spec = importlib.util.spec_from_file_location("third_party", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(shutil.which("cargo") is None, reason="cargo knows what is compiled in")
def test_every_crate_in_a_wheel_has_its_licence_in_the_file(third_party):
    done = subprocess.run(
        [sys.executable, third_party.__file__, "--check"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_a_crate_that_the_file_lacks_is_told(third_party, tmp_path, monkeypatch):
    package = {"name": "a", "version": "1.0.0", "license": "MIT", "repository": None}
    package["manifest_path"] = str(tmp_path / "Cargo.toml")
    (tmp_path / "LICENSE-MIT").write_text("Copyright of a")
    monkeypatch.setattr(third_party, "compiled_in", lambda: [package])
    monkeypatch.setattr(third_party, "FILE", tmp_path / "THIRD_PARTY_LICENSES.txt")
    monkeypatch.setattr(sys, "argv", ["third_party.py"])
    third_party.main()
    monkeypatch.setattr(sys, "argv", ["third_party.py", "--check"])
    third_party.main()
    package["version"] = "1.0.1"
    with pytest.raises(SystemExit, match=r"run `python release/third_party\.py`"):
        third_party.main()


@pytest.mark.parametrize(
    ("offered", "taken"),
    [
        ("MIT OR Apache-2.0", "MIT"),
        ("Apache-2.0", "Apache-2.0"),
        ("MIT/Apache-2.0", "MIT"),
        ("Apache-2.0 OR LGPL-2.1-or-later OR MIT", "MIT"),
        ("GPL-3.0-only", None),
        ("LGPL-2.1-or-later", None),
        ("MIT AND Unicode-3.0", None),
        (None, None),
    ],
)
def test_the_licence_that_is_taken_is_a_permissive_one(third_party, offered, taken):
    package = {"name": "a", "license": offered}
    if taken is None:
        with pytest.raises(third_party.UnacceptableLicense, match="a is under"):
            third_party.chosen(package)
    else:
        assert third_party.chosen(package) == taken
