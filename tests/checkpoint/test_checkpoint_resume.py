"""Models whose compression is cut off: by a kill, by a full disk, by Ctrl-C; and goes on."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
from models import digests, save_model
from safetensors.numpy import save_file

import hypercomp_rs as hc

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and limits are those of POSIX")

FAST = {"effort": "fast"}

# Whatever changes the disk is counted, and the process kills itself before it does so.
KILLED = """
import io, os, pathlib, signal, sys, threading
import hypercomp_rs as hc
from hypercomp_rs import _durable

left, lock = int(sys.argv[3]), threading.Lock()

def dying(call):
    def wrapped(*arguments, **named):
        global left
        with lock:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return call(*arguments, **named)
    return wrapped

os.fsync = dying(os.fsync)
_durable.AtomicFile.write = dying(_durable.AtomicFile.write)
for name in ("replace", "rename", "unlink", "mkdir", "rmdir"):
    setattr(pathlib.Path, name, dying(getattr(pathlib.Path, name)))
CALL(sys.argv[1], sys.argv[2])
print(left)
"""
COMPRESS = KILLED.replace("CALL(", "hc.compress_checkpoint(effort='fast', src=").replace(
    ", sys.argv[2])", ", dst=sys.argv[2])"
)
DECOMPRESS = KILLED.replace("CALL(", "hc.decompress_checkpoint(")


def python(code, *arguments, **options):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        **options,
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("model") / "m")


@pytest.fixture(scope="module")
def small(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("small") / "m"
    hc.compress_checkpoint(model, path, **FAST).close()
    return path


@pytest.fixture(scope="module")
def back(small, tmp_path_factory):
    path = tmp_path_factory.mktemp("back") / "m"
    hc.decompress_checkpoint(small, path)
    return path


def steps(code, source, place):
    """How many times a run changes the disk."""
    done = python(code, source, place, 10**6)
    assert done.returncode == 0, done.stderr
    return 10**6 - int(done.stdout)


@pytest.mark.parametrize("what", ["compress", "decompress"])
def test_killed_anywhere_it_goes_on(what, model, small, back, tmp_path):
    code, source, whole = {
        "compress": (COMPRESS, model, small),
        "decompress": (DECOMPRESS, small, back),
    }[what]
    expected = digests(whole)
    count = steps(code, source, tmp_path / "counted")
    assert count > 40
    rng = np.random.default_rng()
    places = set(rng.choice(np.arange(1, count), 8, replace=False).tolist())
    # The last steps are those in which the result gets its name.
    for place in sorted(places.union(range(count - 4, count + 1))):
        dst = tmp_path / f"at{place}"
        done = python(code, source, dst, place)
        assert done.returncode == -signal.SIGKILL, place
        if dst.exists():
            assert digests(dst) == expected, place
        done = python(code, source, dst, 10**6)
        assert done.returncode == 0, (place, done.stderr)
        assert digests(dst) == expected, place
        assert not dst.with_name(f"{dst.name}.partial").exists(), place


def test_killed_again_and_again_it_ends(model, small, tmp_path):
    dst = tmp_path / "m"
    for run in range(100):
        done = python(COMPRESS, model, dst, 25 + run)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL
    assert run > 1
    assert digests(dst) == digests(small)


def test_what_is_finished_is_not_done_again(model, small, tmp_path):
    dst = tmp_path / "m"
    assert python(COMPRESS, model, dst, 60).returncode == -signal.SIGKILL
    kept = {
        path: path.stat().st_mtime_ns
        for path in (tmp_path / "m.partial").rglob("*.safetensors")
        if not path.name.startswith(".")
    }
    assert kept
    seen = []
    hc.compress_checkpoint(model, dst, follow=seen.append, **FAST).close()
    assert seen[0].tensors > 0
    assert seen[-1].tensors == seen[-1].of_tensors
    assert digests(dst) == digests(small)


def test_another_run_is_not_mixed_in(model, small, tmp_path):
    dst = tmp_path / "m"
    assert python(COMPRESS, model, dst, 60).returncode == -signal.SIGKILL
    other = save_model(tmp_path / "other", seed=1)
    with pytest.raises(hc.InvalidArgumentError, match=r"source differ.*restart"):
        hc.compress_checkpoint(other, dst, **FAST)
    with pytest.raises(hc.InvalidArgumentError, match=r"asked, source differ.*restart"):
        hc.decompress_checkpoint(small, dst)
    hc.compress_checkpoint(model, dst, restart=True, **FAST).close()
    assert digests(dst) == digests(small)


def test_two_runs_do_not_work_on_one_result(model, small, tmp_path):
    refused = []

    def meanwhile(_):
        if not refused:
            with pytest.raises(hc.InvalidArgumentError, match="another process is at work"):
                hc.compress_checkpoint(model, tmp_path / "m", **FAST)
            refused.append(True)

    hc.compress_checkpoint(model, tmp_path / "m", follow=meanwhile, **FAST).close()
    assert refused
    assert digests(tmp_path / "m") == digests(small)


def test_a_damaged_plan_is_named(model, tmp_path):
    (tmp_path / "m.partial").mkdir()
    for text in ("{", "[]", "{}"):
        (tmp_path / "m.partial/plan.json").write_text(text)
        with pytest.raises(hc.FormatError, match=r"plan\.json"):
            hc.compress_checkpoint(model, tmp_path / "m", **FAST)
    hc.compress_checkpoint(model, tmp_path / "m", restart=True, **FAST).close()


@pytest.mark.parametrize("limit", [1000, 9000, 30_000])
def test_a_full_disk_is_an_error_after_which_it_goes_on(model, small, tmp_path, limit):
    import resource

    dst = tmp_path / "m"
    command = [sys.executable, "-m", "hypercomp_rs", "compress", model, dst, "--effort", "fast"]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert done.returncode == 1, done.stderr
    assert "File too large" in done.stderr
    assert not dst.exists()
    assert not list(tmp_path.rglob(".*.tmp"))
    assert subprocess.run(command, capture_output=True).returncode == 0
    assert digests(dst) == digests(small)


def test_ctrl_c_stops_it_within_a_second_and_it_goes_on(tmp_path):
    rng = np.random.default_rng(0)
    w = {f"{i}.weight": rng.standard_normal((1500, 2048)).astype(np.float32) for i in range(3)}
    save_file(w, tmp_path / "model.safetensors")
    code = """
        import sys, time
        import hypercomp_rs as hc
        try:
            hc.compress_checkpoint(
                *sys.argv[1:], effort="max", follow=lambda p: print(p, flush=True)
            )
        except KeyboardInterrupt:
            print(time.time(), flush=True)
            sys.exit(7)
    """
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", textwrap.dedent(code)),
            *(tmp_path / "model.safetensors", tmp_path / "m"),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    for _ in range(4):
        assert process.stdout.readline().startswith("Progress(")
    process.send_signal(signal.SIGINT)
    sent = time.time()
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 7
    assert float(out.splitlines()[-1]) - sent < 1
    assert not (tmp_path / "m").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux holds a process to RLIMIT_AS")
def test_memory_is_bounded(tmp_path):
    """Ten tensors of 16 MB in the address space of two and a half, and what a process has."""
    rng = np.random.default_rng(0)
    block = rng.standard_normal((2048, 4096)).astype(np.float16)
    model = tmp_path / "model"
    model.mkdir()
    for shard in range(2):
        w = {f"layers.{shard}.{i}.weight": block for i in range(5)}
        save_file(w, model / f"model-{shard}.safetensors")
    names = {f"layers.{s}.{i}.weight": f"model-{s}.safetensors" for s in range(2) for i in range(5)}
    (model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    limit = int(2.5 * block.nbytes) + (200 << 20)
    code = """
        import resource, sys, threading
        import hypercomp_rs as hc
        # Addresses are not memory: a thread reserves 8 MB of them for a stack that it hardly uses.
        threading.stack_size(1 << 19)
        limit = int(sys.argv[1])
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        hc.compress_checkpoint(sys.argv[2], sys.argv[3], effort="fast")
        hc.decompress_checkpoint(sys.argv[3], sys.argv[4])
    """
    few = {**os.environ, "MALLOC_ARENA_MAX": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = python(code, limit, model, tmp_path / "small", tmp_path / "back", env=few)
    assert done.returncode == 0, done.stderr
