"""How the package behaves around its calls: imports, signals, forks, layering."""

import ast
import graphlib
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
from hypercomp_rs.checkpoint import Source
from hypercomp_rs.checkpoint.formats import FORMATS, files_of, format_of, named

ROOT = pathlib.Path(__file__).parents[2]


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


# Each room of an engine uses only rooms that stand before it.
ROOMS = {
    "arrangement": (
        *("arithmetic", "lattices", "input", "coordinates", "planes", "jobs"),
        *("halfspaces", "flats", "cobases"),
        *("output", "search", "intersections", "regions", "float", "baselines"),
    ),
    "codec": ("numbers", "trellis", "kernels", "published", "format", "operations", "encode"),
}


@pytest.mark.parametrize("walk", ["add-a-kernel", "add-a-vector-unit"])
def test_documents_name_every_file_of_the_arrangement_engine_with_vector_code(walk):
    page = (ROOT / f"docs/internals/{walk}.md").read_text()
    folder = ROOT / "rust/core/src/arrangement"
    files = {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*.rs")
        if "#[target_feature(" in path.read_text()
    }
    assert files
    assert {file for file in files if f"`{file}`" not in page} == set()


def code_of(path):
    """A source without its comments."""
    return re.sub(r"//.*$", "", path.read_text(), flags=re.MULTILINE)


@pytest.mark.parametrize("engine", ROOMS)
def test_the_rooms_of_an_engine_have_no_circles(engine):
    folder = ROOT / "rust/core/src" / engine
    rooms = ROOMS[engine]
    assert {path.name for path in folder.iterdir() if path.is_dir()} == set(rooms)
    found = set()
    for room in rooms:
        for path in (folder / room).rglob("*.rs"):
            code = code_of(path)
            uses = {room for room in re.findall(rf"{engine}::(\w+)", code) if room in rooms}
            before = rooms[: rooms.index(room)]
            assert uses <= {*before, room}, f"{path}: {sorted(uses - {*before})}"
            # No way around the rooms: `super::super` is a room's parent.
            assert "super::super" not in code, path
            found |= uses
    # The last room is used by none.
    assert found >= set(rooms[:5])


def test_the_rooms_of_the_codec_are_used_by_name():
    """What `codec` itself offers under a shorter name is for others: it hides the room."""
    for room in ROOMS["codec"]:
        for path in (ROOT / "rust/core/src/codec" / room).rglob("*.rs"):
            names = re.findall(r"crate::codec::(\w+|\{|\*)", code_of(path))
            assert set(names) <= set(ROOMS["codec"]), path


def neighbours(folder):
    """For each file or folder of a room the others of it that it uses."""
    graph = {}
    for path in folder.rglob("*.rs"):
        first, *below = path.relative_to(folder).parts
        name = first.removesuffix(".rs")
        # Tests of a file that stand beside it are a part of it.
        if name == "mod" or (name.endswith("_tests") and not below):
            continue
        code = code_of(path)
        uses = set(re.findall(rf"{folder.parent.name}::{folder.name}::(\w+)", code))
        # Here `super` is the room. In a module of tests it is the file itself.
        if not below or below == ["mod.rs"]:
            own = re.split(r"^(?:pub )?mod \w+ \{", code, maxsplit=1, flags=re.MULTILINE)[0]
            uses |= set(re.findall(r"\bsuper::(\w+)", own))
            # All by their files, so that none hides behind the room's own file.
            assert not re.search(r"\bsuper::[{*]", own), path
        graph.setdefault(name, set()).update(uses - {name})
    return graph


@pytest.mark.parametrize(
    ("engine", "room"), [(engine, room) for engine, rooms in ROOMS.items() for room in rooms]
)
def test_the_files_of_a_room_have_no_circles(engine, room):
    graph = neighbours(ROOT / "rust/core/src" / engine / room)
    for name, uses in graph.items():
        assert uses <= graph.keys(), f"{name} uses {uses - graph.keys()}"
    tuple(graphlib.TopologicalSorter(graph).static_order())


def test_a_circle_of_files_is_found(tmp_path):
    folder = tmp_path / "codec" / "format"
    (folder / "parts").mkdir(parents=True)
    (folder / "one.rs").write_text("use super::parts::Two; // super::none\n")
    (folder / "parts" / "mod.rs").write_text("use super::one::One;\n")
    graph = neighbours(folder)
    assert graph == {"one": {"parts"}, "parts": {"one"}}
    with pytest.raises(graphlib.CycleError):
        tuple(graphlib.TopologicalSorter(graph).static_order())


def python_modules(root):
    """The modules of the package beneath a folder, by name; a package is its `__init__`."""
    found = {}
    for path in (*root.rglob("*.py"), *root.rglob("*.pyi")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported_modules(name, path, modules):
    """The modules that a module names in any import: at its top, in functions, for types alone.

    ``from .a import x`` is an import of the module ``.a.x`` where there is one, and of ``.a``
    otherwise. That a parent's `__init__` runs first is no import of the parent.
    """
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
            base = ".".join((*above, *filter(None, [node.module])))
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                found.add(inner if inner in modules else base)
    return found & set(modules) - {name}


def circle(root):
    """Modules beneath a folder that import each other in a circle; None where there are none."""
    modules = python_modules(root)
    imports = {name: imported_modules(name, path, modules) for name, path in modules.items()}
    assert any(imports.values())
    try:
        graphlib.TopologicalSorter(imports).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return None


def test_no_python_modules_import_each_other_in_a_circle():
    assert circle(ROOT / "python") is None


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("from .b import x", "from .a import y"),
        ("from . import b", "def f():\n    from .a import y"),
        (
            "import p.b",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from p import a",
        ),
        ("from . import VALUE", ""),
        ("from .c.d import x", ""),
    ],
)
def test_circles_are_found(tmp_path, first, second):
    (tmp_path / "p" / "c").mkdir(parents=True)
    files = {
        "__init__.py": "from .a import y",
        "a.py": first,
        "b.py": second,
        "c/__init__.py": "from ..a import y",
        "c/d.py": "",
    }
    for name, text in files.items():
        (tmp_path / "p" / name).write_text(text)
    found = circle(tmp_path)
    # A submodule's parent does not count.
    assert (found is None) is ("c.d" in first)
    if found is not None:
        assert "p.a" in found


def test_every_format_of_checkpoints_is_registered_in_one_line(tmp_path):
    suffixes = [suffix for one in FORMATS for suffix in one.suffixes]
    assert len(set(suffixes)) == len(suffixes)
    for one in FORMATS:
        reader = named(one.reader)
        assert issubclass(reader, Source)
        assert reader is not Source
        for suffix in one.suffixes:
            assert format_of(tmp_path / f"x{suffix}") is one
        if one.naming is not None:
            assert format_of(tmp_path / one.naming.index_of("x")) is one
        if one.loads is not None:
            file = tmp_path / f"x{one.suffixes[0]}"
            assert files_of(file, one.loads) == [file]
    with pytest.raises(hc.InvalidArgumentError) as error:
        format_of(tmp_path / "x.other")
    for one in FORMATS:
        assert one.in_folders in str(error.value)
        assert ", ".join(one.suffixes) in str(error.value)


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


def test_closures_for_a_vector_unit_are_inlined_into_its_function():
    """Elsewhere they are compiled for the least unit, and no result tells."""
    found = {}
    for path in (ROOT / "rust/core/src").rglob("*.rs"):
        for call in re.finditer(r"\bsimd\s*\.run\(\s*(#\[inline\(always\)\])?", path.read_text()):
            found.setdefault(bool(call[1]), []).append(path.name)
    assert len(found[True]) > 10
    assert False not in found, found[False]
