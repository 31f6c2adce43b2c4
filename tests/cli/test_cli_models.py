"""The commands on models, run as their users run them."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from models import digests, save_model
from safetensors.numpy import save_file

import hypercomp_rs as hc
from hypercomp_rs.checkpoint.safetensors_file import SafetensorsFile

COMMAND = [sys.executable, "-m", "hypercomp_rs"]


def run(*arguments, **options):
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=120, **options
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("model") / "m")


@pytest.fixture(scope="module")
def small(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("small") / "m"
    done = run("compress", model, path, "--effort", "fast")
    # Without a terminal there is no bar.
    assert (done.returncode, done.stderr) == (0, "")
    assert "bits a weight in all; 12 tensors are compressed" in done.stdout
    return path


def test_compress_does_what_the_library_does(model, small, tmp_path):
    hc.compress_checkpoint(model, tmp_path / "m", effort="fast").close()
    assert digests(small) == digests(tmp_path / "m")


def test_options_reach_the_library(model, tmp_path):
    options = ["--target-bits", "9", "--sparsity", "keep", "--seed", "5", "--keep-embeddings"]
    options += ["--rule", "*.attn.*=bits:6", "--rule", "lm_head=sqnr:20,effort:balanced"]
    options += ["--weight", "*.mlp.*=2", "--threads", "1", "--incoherence", "none"]
    done = run("compress", model, tmp_path / "cli", "--effort", "fast", "--json", *options)
    assert done.returncode == 0, done.stderr
    hc.compress_checkpoint(
        model,
        tmp_path / "library",
        target_bits=9,
        effort="fast",
        sparsity="keep",
        seed=5,
        embeddings="keep",
        incoherence="none",
        rules=["*.attn.*=bits:6", "lm_head=sqnr:20,effort:balanced"],
        sensitivity={"*.mlp.*": 2.0},
    ).close()
    assert digests(tmp_path / "cli") == digests(tmp_path / "library")
    said = json.loads(done.stdout)
    size = sum(path.stat().st_size for path in (tmp_path / "cli").glob("*.safetensors"))
    assert said["bytes"] == size
    assert said["tensors"] == 21


def test_the_layout_reaches_the_library(model, small, tmp_path):
    done = run("compress", model, tmp_path / "cli", "--effort", "fast", "--layout", "tiles")
    assert done.returncode == 0, done.stderr
    hc.compress_checkpoint(model, tmp_path / "library", effort="fast", layout="tiles").close()
    assert digests(tmp_path / "cli") == digests(tmp_path / "library")

    def formats(path):
        with hc.Checkpoint(path) as read:
            codes = [read[name] for name in read]
        codes = [c for c in codes if isinstance(c, hc.CompressedTensor) and c.codec == "trellis"]
        return {json.loads(c.to_parts()[0])["format"] for c in codes}

    assert (formats(small), formats(tmp_path / "cli")) == ({1}, {3})


def test_inspect_shows_every_tensor(small):
    done = run("inspect", small)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    with hc.Checkpoint.open(small) as checkpoint:
        for info in checkpoint.tensors:
            (line,) = [line for line in lines if line.split()[:1] == [info.name]]
            assert f"{info.bits_per_weight:.3f}" in line
            assert (info.codec or "kept") in line
        values = json.loads(run("inspect", small, "--json").stdout)
        assert [row["name"] for row in values["tensors"]] == list(checkpoint)
    assert values["total"]["compressed"] == 12
    # JSON has no infinity.
    assert {row["sqnr_db"] for row in values["tensors"] if row["codec"] is None} == {None}


def test_verify_says_what_is_wrong(model, small, tmp_path):
    done = run("verify", small)
    assert (done.returncode, done.stdout) == (0, "21 of 21 tensors are well\n")
    done = run("verify", small, "--against", model)
    assert done.returncode == 0
    assert done.stdout.endswith("21 of 21 tensors are well\n")
    other = save_model(tmp_path / "other", seed=1)
    done = run("verify", small, "--against", other, "--json")
    assert done.returncode == 4
    said = json.loads(done.stdout)
    assert not said["ok"]
    assert [t["problem"] for t in said["tensors"] if t["name"] == "lm_head.weight"] != [None]


def test_verify_finds_a_flipped_bit(model, tmp_path):
    hc.compress_checkpoint(model, tmp_path / "m", effort="fast").close()
    shard = tmp_path / "m" / "model-00003-of-00003.safetensors"
    data = bytearray(shard.read_bytes())
    data[SafetensorsFile(shard).stored["lm_head.weight_cells"].start] ^= 1
    shard.write_bytes(data)
    done = run("verify", tmp_path / "m")
    assert done.returncode == 4
    assert "checksum mismatch" in done.stdout
    assert done.stdout.endswith("20 of 21 tensors are well\n")
    shard.write_bytes(data[:-1])
    done = run("verify", tmp_path / "m")
    assert done.returncode == 2
    assert "truncated" in done.stderr


def test_decompress_gives_the_shards_back(model, small, tmp_path):
    done = run("decompress", small, tmp_path / "back")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("copied 2 other files")
    hc.decompress_checkpoint(small, tmp_path / "library")
    assert digests(tmp_path / "back") == digests(tmp_path / "library")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["compress", "MODEL", "SMALL"], "exists"),
        (["compress", "MODEL", "DST", "--bits", "9"], "bits=9"),
        (["compress", "MODEL", "DST", "--bits", "4", "--target-bits", "4"], "one of them"),
        (["compress", "MODEL", "DST", "--rule", "x=drop"], "PATTERN=keep"),
        (["compress", "MODEL", "DST", "--rule", "x=keep"], "matches no tensor"),
        (["compress", "MODEL", "DST", "--weight", "x=1"], "--target-bits"),
        (["compress", "MODEL", "DST", "--target-bits", "4", "--weight", "x"], "PATTERN=FACTOR"),
        (["compress", "SMALL", "DST"], "compressed already"),
        (["compress", "NOWHERE", "DST"], "does not exist"),
        (["decompress", "NOWHERE", "DST"], "does not exist"),
        (["inspect", "NOWHERE"], "does not exist"),
        (["verify", "CONFIG"], "config.json"),
    ],
)
def test_what_is_wrong_is_said_with_exit_code_2(model, small, tmp_path, arguments, says):
    places = {"MODEL": model, "SMALL": small, "DST": tmp_path / "dst"}
    places |= {"NOWHERE": tmp_path / "no", "CONFIG": model / "config.json"}
    done = run(*[places.get(argument, argument) for argument in arguments])
    assert done.returncode == 2
    assert done.stdout == ""
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "dst").exists()


def test_names_say_nothing_to_the_terminal(tmp_path):
    names = ["[/red]", "a[bold]", "\x1b[31mred", "line\nbreak"]
    save_file({name: np.ones(3, np.float32) for name in names}, tmp_path / "model.safetensors")
    for command in (["inspect"], ["verify", "--against", tmp_path]):
        done = run(command[0], tmp_path, *command[1:])
        assert done.returncode == 0, done.stderr
        assert "[/red]" in done.stdout
        assert "a[bold]" in done.stdout
        assert r"'\x1b[31mred'" in done.stdout
        assert r"'line\nbreak'" in done.stdout
        assert "\x1b" not in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
def test_a_terminal_gets_a_bar(tmp_path):
    import pty

    # Enough for a second or so: there is no speed before there is time.
    w = np.random.default_rng(0).standard_normal((2000, 2000)).astype(np.float32)
    save_file({f"{i}.weight": w for i in range(8)}, tmp_path / "model.safetensors")
    terminal, end = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "compress", tmp_path / "model.safetensors", tmp_path / "m", "--effort", "fast"],
        stdout=subprocess.DEVNULL,
        stderr=end,
        env={**os.environ, "COLUMNS": "120", "TERM": "xterm"},
    )
    os.close(end)
    shown = b""
    while True:
        try:
            data = os.read(terminal, 65536)
        except OSError:
            break
        if not data:
            break
        shown += data
    os.close(terminal)
    assert process.wait(60) == 0
    assert b"compressing" in shown
    assert b"weights/s" in shown
    assert b"100%" in shown
