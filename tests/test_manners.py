"""How the package behaves around its calls: imports, signals, forks, layering."""

import multiprocessing
import os
import pathlib
import re
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

import hypercomp_rs as hc

ROOT = pathlib.Path(__file__).parent.parent


def python(code, **arguments):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=120,
        **arguments,
    )


def test_import_is_quick_and_leaves_torch_alone():
    code = """
        import sys, time
        import numpy
        # Of the processor: other work on the machine is not this import's.
        start = time.process_time()
        import hypercomp_rs
        print(time.process_time() - start)
        assert not {"torch", "rich", "click", "matplotlib"} & set(sys.modules)
    """
    runs = [python(code) for _ in range(5)]
    for run in runs:
        assert run.returncode == 0, run.stderr
    assert min(float(run.stdout) for run in runs) < 0.1


LONG_CALLS = {
    "trellis": "hypercomp_rs.compress_tensor(w, effort='max', bits=8)",
    "winding": "[hypercomp_rs.compress_tensor(w, codec='winding') for _ in range(1000)]",
    "decompress": "[hypercomp_rs.decompress_tensor(c) for _ in range(100_000)]",
    "matmul": "[hypercomp_rs.matmul(c, w[:64]) for _ in range(100_000)]",
    "flats": "hypercomp_rs.vertices(a, range(150))",
    "zero": "hypercomp_rs.vertices(a, range(150), method='zero')",
    "floats": "hypercomp_rs.vertices(a, range(150), exact=False)",
    "fractions": "hypercomp_rs.vertices(a * 10**40 + 1, range(150))",
    "many floats": "hypercomp_rs.vertices(f, f[:, 0])",
    "cobases of many floats": "hypercomp_rs.vertices(f, f[:, 0], method='zero')",
    "estimates": "hypercomp_rs.estimate_vertices(f, f[:, 0], probes=1000)",
    "counts": "hypercomp_rs.count_vertices(a, range(150))",
    "all flats": "hypercomp_rs.flats(a, range(150))",
    "slices": "hypercomp_rs.vertices(a, range(150), time_limit=60)",
    "streams": "[len(block) for block in hypercomp_rs.iter_vertices(a, range(150))]",
}


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such signals")
@pytest.mark.parametrize("call", LONG_CALLS)
def test_ctrl_c_stops_a_long_call_within_a_second(call):
    code = f"""
        import sys, time
        import numpy as np
        import hypercomp_rs
        w = np.random.default_rng(0).standard_normal((2000, 4096)).astype(np.float32)
        c = hypercomp_rs.compress_tensor(w[:256])
        a = np.random.default_rng(0).integers(-99, 100, (150, 6)).astype(object)
        f = np.random.default_rng(0).standard_normal((2000, 60))
        print("ready", flush=True)
        try:
            {LONG_CALLS[call]}
        except KeyboardInterrupt:
            print(time.time(), flush=True)
            sys.exit(7)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.7)
    process.send_signal(signal.SIGINT)
    sent = time.time()
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 7
    assert float(out) - sent < 1


def _size_in_child(_):
    return hc.compress_tensor(np.ones((8, 256), np.float32)).nbytes


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_works_after_its_parent_did():
    mine = _size_in_child(0)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map_async(_size_in_child, range(4)).get(60) == [mine] * 4


def sources(folder, suffix):
    return {p: p.read_text() for p in (ROOT / folder).rglob(f"*{suffix}")}


def test_the_layers_of_architecture_md_hold():
    core = sources("rust/core/src", ".rs")
    assert core
    for path, text in core.items():
        assert not re.search(r"\b(pyo3|numpy|cudarc)::", text), path
        if "codec" in path.parts:
            assert "arrangement::" not in text, path
        if "arrangement" in path.parts:
            assert "codec::" not in text, path
            assert "representation::" not in text, path
        if "representation" in path.parts:
            assert not re.search(r"(codec|arrangement)::", text), path
        if "container" in path.parts:
            assert not re.search(r"(codec|arrangement|representation)::", text), path
        else:
            assert "container::" not in text, path
    for folder, foreign in (("rust/gpu/src", "pyo3|numpy"), ("rust/python/src", "cudarc")):
        for path, text in sources(folder, ".rs").items():
            assert not re.search(rf"\b({foreign})::", text), path
    manifest = (ROOT / "rust/core/Cargo.toml").read_text()
    assert not re.search(r"^(pyo3|numpy|cudarc|hypercomp)", manifest, re.MULTILINE)
    for path, text in sources("python/hypercomp_rs", ".py").items():
        if "torch" in path.relative_to(ROOT / "python/hypercomp_rs").parts:
            continue
        assert not re.search(r"^(import|from) \S*\.torch", text, re.MULTILINE), path
        assert not re.search(r"^(import|from) torch", text, re.MULTILINE), path


# Each room of the arrangement engine uses only rooms that stand before it.
ROOMS = (
    *("arithmetic", "lattices", "input", "coordinates", "planes", "jobs", "flats", "cobases"),
    *("output", "search", "intersections", "regions", "float", "baselines"),
)


def test_the_rooms_of_the_arrangement_engine_have_no_circles():
    folder = ROOT / "rust/core/src/arrangement"
    assert {path.name for path in folder.iterdir() if path.is_dir()} == set(ROOMS)
    found = set()
    for room in ROOMS:
        for path in (folder / room).rglob("*.rs"):
            code = re.sub(r"^\s*//.*$", "", path.read_text(), flags=re.MULTILINE)
            uses = {room for room in re.findall(r"arrangement::(\w+)", code) if room in ROOMS}
            before = ROOMS[: ROOMS.index(room)]
            assert uses <= {*before, room}, f"{path}: {sorted(uses - {*before})}"
            # No way around the rooms: `super::super` is a room's parent.
            assert "super::super" not in code, path
            found |= uses
    assert {"arithmetic", "planes", "jobs", "flats"} <= found


def test_architecture_md_names_every_module():
    text = (ROOT / "ARCHITECTURE.md").read_text()
    for folder in ("rust/core/src", "rust/gpu/src", "rust/python/src", "python/hypercomp_rs"):
        for path in sorted((ROOT / folder).rglob("*")):
            name = path.relative_to(ROOT / folder)
            if path.suffix not in (".rs", ".py") or name.name == "tests.rs":
                continue
            if name.name in ("mod.rs", "lib.rs", "__init__.py"):
                continue
            assert name.name in text, f"{path} is not in ARCHITECTURE.md"
