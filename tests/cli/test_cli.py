"""The command hypercomp-rs, run as its users run it."""

import errno
import io
import itertools
import json
import math
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import hypercomp_rs as hc

CUBE = b"""cube.ine
H-representation
begin
6 4 rational
1  1  0  0
1  0  1  0
1  0  0  1
1 -1  0  0
1  0  0 -1
1  0 -1  0
end
"""
COMMAND = [sys.executable, "-m", "hypercomp_rs"]


def run(*arguments, stdin=b""):
    return subprocess.run([*COMMAND, *arguments], input=stdin, capture_output=True, timeout=60)


def big(tmp_path, n=200, d=7):
    """An arrangement that no test has time for."""
    path = tmp_path / "big.ine"
    rng = np.random.default_rng(0)
    hc.write_ine(path, rng.integers(-99, 100, (n, d)), rng.integers(-99, 100, n))
    return path


def test_vertices_stream_to_standard_output():
    done = run("vertices", "-", stdin=CUBE)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"cube.ine\nV-representation\nbegin\n***** 4 rational\n 1 ")
    assert done.stdout.endswith(b"end\n*Totals: vertices=8\n")
    v = hc.read_ext(io.BytesIO(done.stdout))
    assert set(map(tuple, v.vertices.tolist())) == set(itertools.product((-1, 1), repeat=3))


@pytest.mark.parametrize("method", ["flats", "zero"])
@pytest.mark.parametrize("threads", ["1", "3"])
def test_a_file_is_written_like_the_output(tmp_path, method, threads):
    rng = np.random.default_rng(3)
    a, b = rng.integers(-3, 4, (14, 3)), rng.integers(-3, 4, 14)
    hc.write_ine(tmp_path / "in.ine", a, b)
    options = ["--method", method, "--threads", threads]
    done = run("vertices", tmp_path / "in.ine", "-o", tmp_path / "out.ext", *options)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    v = hc.read_ext(tmp_path / "out.ext")
    assert sorted(map(tuple, v.vertices.tolist())) == list(hc.vertices(a, b))


def test_counts():
    assert run("vertices", "--count", "-", stdin=CUBE).stdout == b"8\n"
    done = run("vertices", "--count", "--json", "--method", "zero", "-", stdin=CUBE)
    assert json.loads(done.stdout) == {"vertices": 8, "dimension": 3, "cobases": 8}


def test_flats_of_each_dimension():
    done = run("vertices", "--flats", "-", stdin=CUBE)
    assert done.stdout == b"dimension 0: 8\ndimension 1: 12\ndimension 2: 6\ndimension 3: 1\n"
    done = run("vertices", "--flats", "--json", "-", stdin=CUBE)
    assert json.loads(done.stdout) == {"dimension": 3, "flats": [8, 12, 6, 1]}


def test_incidences_are_rows_of_the_file():
    # A row without a boundary is counted, as lrs counts it.
    rows = CUBE.replace(b"6 4", b"7 4").replace(b"rational\n", b"rational\n1 0 0 0\n")
    done = run("vertices", "--incidence", "-", stdin=rows)
    lines = done.stdout.splitlines()
    vertices = lines[lines.index(b"***** 4 rational") + 1 : lines.index(b"end")]
    incidences = lines[lines.index(b"end") + 2 : -1]
    assert dict(zip(vertices, incidences, strict=True))[b" 1 1 1 1"] == b"* 3 : 5 6 7"
    assert len(hc.read_ext(io.BytesIO(done.stdout)).vertices) == 8
    done = run("vertices", "--incidence", "--json", "--maxoutput", "8", "-", stdin=rows)
    found = [json.loads(line) for line in done.stdout.splitlines()[:-1]]
    assert {"vertex": ["1", "1", "1"], "incidence": [5, 6, 7]} in found


def test_vertices_within_another_file(tmp_path):
    # x ≥ 0, and y = 1 as an equation.
    half = b"H-representation\nlinearity 1 2\nbegin\n2 4 rational\n0 1 0 0\n1 0 -1 0\nend\n"
    (tmp_path / "half.ine").write_bytes(half)
    options = ["--within", tmp_path / "half.ine", "-"]
    assert run("vertices", "--count", *options, stdin=CUBE).stdout == b"2\n"
    done = run("vertices", *options, stdin=CUBE)
    found = hc.read_ext(io.BytesIO(done.stdout)).vertices.tolist()
    assert sorted(found) == [[1, 1, -1], [1, 1, 1]]
    assert run("vertices", "--flats", *options, stdin=CUBE).returncode == 2


def test_estimates():
    done = run("vertices", "--estimate", "--json", "--probes", "200", "-", stdin=CUBE)
    sizes = json.loads(done.stdout)
    assert abs(sizes["vertices"] - 8) <= 5 * max(sizes["vertices_error"], 1e-9)
    assert math.isfinite(sizes["seconds"])
    done = run("vertices", "--estimate", "-", stdin=CUBE)
    names = [line.split()[0] for line in done.stdout.decode().splitlines()]
    assert names == ["vertices", "cobases", "flats", "zero"]


def test_json_has_a_line_for_each_vertex():
    done = run("vertices", "--json", "-", stdin=CUBE.replace(b"\n1  1", b"\n1/3 1"))
    *points, totals = map(json.loads, done.stdout.splitlines())
    assert totals == {"vertices": 8, "dimension": 3, "complete": True}
    assert sorted(points)[0] == ["-1/3", "-1", "-1"]


def test_limits_give_a_partial_result_and_say_so(tmp_path):
    done = run("vertices", "--maxoutput", "3", "-", stdin=CUBE)
    assert done.returncode == 3
    assert done.stdout.endswith(b"*Totals: vertices=3 (partial: a limit was reached)\n")
    done = run("vertices", "--time-limit", "0.3", "--json", big(tmp_path), "--maxoutput", "10000")
    assert done.returncode == 3
    assert json.loads(done.stdout.splitlines()[-1])["complete"] is False
    assert run("vertices", "--maxoutput", "30", "-", stdin=CUBE).returncode == 0


def test_a_search_goes_on_where_it_stopped(tmp_path):
    rng = np.random.default_rng(4)
    a, b = rng.integers(-9, 10, (16, 3)), rng.integers(-9, 10, 16)
    hc.write_ine(tmp_path / "in.ine", a, b)
    state = tmp_path / "state"
    first = run("vertices", tmp_path / "in.ine", "--checkpoint", state, "--maxoutput", "100")
    assert (first.returncode, state.exists()) == (3, True)
    second = run("vertices", tmp_path / "in.ine", "--restart", state)
    assert second.returncode == 0
    v = hc.read_ext(io.BytesIO(second.stdout))
    assert list(map(tuple, v.vertices.tolist())) == list(hc.vertices(a, b))
    for arguments, says in [
        (["--checkpoint", state], b"exists: continue with --restart"),
        (["--checkpoint", state, "--restart", state], b"give one of them"),
        (["--restart", tmp_path / "absent"], b"does not exist"),
        (["--restart", tmp_path / "in.ine"], b"is no checkpoint"),
        (["--restart", state, "--method", "zero"], b"of another arrangement or method"),
    ]:
        done = run("vertices", tmp_path / "in.ine", *arguments)
        assert done.returncode == 2
        assert says in done.stderr
        assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "stdin", "says"),
    [
        (["vertices", "-"], b"", b"<stdin>: line 1, column 1: the file ends where 'begin'"),
        (
            ["vertices", "-"],
            CUBE.replace(b"6 4", b"6 5"),
            b"<stdin>: line 11, column 1: 'end' follows after 4 of the 5",
        ),
        (["vertices", "-"], CUBE.replace(b"H-", b"V-"), b"this is a V-representation"),
        (["vertices", "-"], b"linearity 1 1\nbegin\n1 2 integer\n1 0\nend", b"row 0 reads"),
        (["vertices", "absent.ine"], b"", b"absent.ine"),
        (["vertices"], b"", b"Missing argument 'FILE'"),
        (["vertices", "-", "-o", "/absent/out.ext"], CUBE, b"/absent/out.ext"),
        (["vertices", "-", "--threads", "0"], CUBE, b"--threads"),
        (["vertices", "-", "--method", "moss"], CUBE, b"'flats', 'zero'"),
        (["vertices", "-", "--count", "--estimate"], CUBE, b"give one of them"),
        (["vertices", "-", "--count", "--maxoutput", "3"], CUBE, b"combined with --count"),
        (["vertices", "-", "--nonsense"], CUBE, b"--nonsense"),
        (["nonsense"], b"", b"No such command"),
    ],
)
def test_mistakes_are_named_without_a_traceback(arguments, stdin, says):
    done = run(*arguments, stdin=stdin)
    assert done.returncode == 2, done
    assert says in done.stderr.replace(b"\n", b" ")
    assert b"Traceback" not in done.stderr
    assert done.stdout == b""


def test_help_and_version():
    assert run("--version").stdout.decode().strip() == f"hypercomp-rs, version {hc.__version__}"
    for arguments in (["--help"], ["-h"], ["vertices", "--help"]):
        done = run(*arguments)
        assert done.returncode == 0
        assert b"Usage: hypercomp-rs" in done.stdout


def opened_by_its_reader(fifo, process):
    """A pipe to a process, once the process has opened it: its imports are done by then."""
    until = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < until:
        try:
            descriptor = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            time.sleep(0.02)
        else:
            os.set_blocking(descriptor, True)
            return open(descriptor, "wb")
    pytest.fail(f"{process.args} did not read {fifo}")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("options", [[], ["--count"], ["--maxoutput", "100000000"]])
def test_ctrl_c_ends_with_130_and_quietly(tmp_path, options):
    content = big(tmp_path).read_bytes()
    fifo = tmp_path / "fifo.ine"
    os.mkfifo(fifo)
    command = [*COMMAND, "vertices", fifo, *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    with opened_by_its_reader(fifo, process) as file:
        file.write(content)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1)
    process.send_signal(signal.SIGINT)
    sent = time.monotonic()
    _, stderr = process.communicate(timeout=30)
    assert time.monotonic() - sent < 2
    assert (process.returncode, stderr.strip()) == (130, b"")


def test_ctrl_c_during_imports_ends_with_130_and_quietly(tmp_path):
    (tmp_path / "click.py").write_text("raise KeyboardInterrupt")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [*COMMAND, "info"], env={**os.environ, "PYTHONPATH": path}, capture_output=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (130, b"")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_a_reader_that_has_seen_enough_is_no_error(tmp_path):
    command = [*COMMAND, "vertices", big(tmp_path, d=4)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    head = [process.stdout.readline() for _ in range(4)]
    process.stdout.close()
    assert head[0] == b"V-representation\n"
    assert process.wait(30) == 141
    assert process.stderr.read() == b""
    process.stderr.close()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
def test_progress_is_shown_on_a_terminal_only(tmp_path):
    import pty

    path = tmp_path / "cube.ine"
    path.write_bytes(CUBE)
    assert run("vertices", path, "--progress").stderr != b""
    for options, shown in ([], True), (["--no-progress"], False), (["--maxoutput", "9"], True):
        reader, terminal = pty.openpty()
        done = subprocess.run(
            [*COMMAND, "vertices", path, *options], stdout=subprocess.PIPE, stderr=terminal
        )
        os.close(terminal)
        text = b""
        # Linux says EIO at the end of a terminal that nobody has open.
        try:
            while chunk := os.read(reader, 4096):
                text += chunk
        except OSError:
            pass
        os.close(reader)
        assert (b"vertices" in text) == shown
        assert hc.read_ext(io.BytesIO(done.stdout)).vertices.shape == (8, 3)


def test_without_click_the_command_says_what_to_install(tmp_path):
    (tmp_path / "click.py").write_text("raise ImportError")
    done = subprocess.run(
        [*COMMAND, "vertices", "-"],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"pip install 'hypercomp-rs[cli]'" in done.stderr
