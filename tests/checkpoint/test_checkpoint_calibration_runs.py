"""Calibration from files within a limit of memory, killed and resumed: the bytes stay the same."""

import json
import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
import transformers
from block_models import made, saved, tokens
from models import digests
from safetensors.numpy import save_file

from hypercomp_rs import Checkpoint, InvalidArgumentError, compress_checkpoint
from hypercomp_rs.torch.blockwise.states import StatesInFile


def test_memory_changes_no_byte(tmp_path, monkeypatch):
    """States in a file and second moments in several passes give the same model."""
    from hypercomp_rs.torch.blockwise import compression

    folder = saved(made("Qwen3"), tmp_path / "model")
    options = {"bits": 3, "effort": "fast"}
    compress_checkpoint(folder, tmp_path / "one", calibration=tokens(), **options).close()
    kept = []
    monkeypatch.setattr(
        compression._Run,
        "_memory",
        lambda self, outside: compression.Memory(64 * 64 * 4, 1, False),
    )
    original = StatesInFile.replace

    def replace(self, block, advance):
        original(self, block, advance)
        kept.append(block)

    monkeypatch.setattr(StatesInFile, "replace", replace)
    compress_checkpoint(folder, tmp_path / "two", calibration=tokens(), **options).close()
    assert kept == [1, 2]
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    assert not (tmp_path / "two.partial").exists()


CHILD = """
    import json, pathlib, sys
    from hypercomp_rs import compress_checkpoint
    from hypercomp_rs.checkpoint import CalibrationText
    from hypercomp_rs.torch.blockwise import compression

    if {in_file}:
        compression._Run._memory = lambda self, outside: compression.Memory(1 << 20, 2, False)
    compress_checkpoint(
        {folder!r},
        {small!r},
        bits=3,
        effort="fast",
        calibration=json.loads(pathlib.Path({samples!r}).read_text()),
        follow=lambda progress: print(progress.tensors, flush=True),
    ).close()
"""


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such signals")
@pytest.mark.parametrize("in_file", [False, True])
def test_a_killed_run_goes_on_with_the_same_bytes(in_file, tmp_path):
    folder = saved(made("Llama", blocks=3), tmp_path / "model")
    samples = tmp_path / "samples.json"
    samples.write_text(json.dumps(tokens()))
    whole, small = tmp_path / "whole", tmp_path / "small"

    def child(place):
        code = CHILD.format(
            folder=str(folder), small=str(place), samples=str(samples), in_file=in_file
        )
        return subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True
        )

    compress_checkpoint(
        folder, whole, bits=3, effort="fast", calibration=json.loads(samples.read_text())
    ).close()
    # In the second block, and in the third.
    for tensors in (7, 12):
        process = child(small)
        for line in process.stdout:
            if int(line) >= tensors:
                process.send_signal(signal.SIGKILL)
                break
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL
        states = list((tmp_path / "small.partial" / "tensors").glob("states-*"))
        assert len(states) == in_file
    last = child(small)
    out, _ = last.communicate(timeout=300)
    assert last.returncode == 0
    assert int(out.split()[0]) >= 10
    assert digests(small) == digests(whole)


def test_another_request_does_not_use_what_a_calibrated_run_left(tmp_path):
    folder = saved(made("Llama"), tmp_path / "model")
    small = tmp_path / "small"

    def stop(progress):
        if progress.tensors >= 3:
            raise KeyboardInterrupt

    options = {"bits": 3, "effort": "fast"}
    with pytest.raises(KeyboardInterrupt):
        compress_checkpoint(folder, small, calibration=tokens(), follow=stop, **options)
    for other in (
        {"calibration": tokens(seed=1), **options},
        options,
        {"calibration": tokens(), **options, "bits": 4},
    ):
        with pytest.raises(InvalidArgumentError, match=r"another run .*differ"):
            compress_checkpoint(folder, small, **other)
    compress_checkpoint(folder, small, calibration=tokens(), **options).close()


def test_large_tables_are_read_row_by_row(tmp_path, monkeypatch):
    from hypercomp_rs.checkpoint import Shards
    from hypercomp_rs.torch.blockwise import outline

    folder = saved(made("Llama"), tmp_path / "model")
    compress_checkpoint(folder, tmp_path / "whole", bits=3, calibration=tokens(4)).close()
    rows = []
    sample = Shards.sample

    def counted(self, name, wanted):
        rows.append((name, list(wanted)))
        return sample(self, name, wanted)

    monkeypatch.setattr(outline, "LARGE_TABLE", 1)
    monkeypatch.setattr(Shards, "sample", counted)
    compress_checkpoint(folder, tmp_path / "rows", bits=3, calibration=tokens(4)).close()
    assert {name for name, _ in rows} == {"model.embed_tokens.weight"}
    assert sorted(set(tokens(4)[0])) in [wanted for _, wanted in rows]
    assert digests(tmp_path / "whole") == digests(tmp_path / "rows")
    with pytest.raises(
        InvalidArgumentError, match="sample 0 has token 100, and the model knows 0 to 99"
    ):
        compress_checkpoint(folder, tmp_path / "x", calibration=[[1, 100]])


MEASURED = """
    import json, sys
    from hypercomp_rs import compress_checkpoint
    from hypercomp_rs.checkpoint import CalibrationText

    def status(name):
        lines = open("/proc/self/status").read().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))

    def run(folder, small, samples, memory):
        text = CalibrationText(samples, memory=memory)
        rules = ["*.mlp.*=keep", "*.k_proj=keep", "*.v_proj=keep", "*.o_proj=keep"]
        compress_checkpoint(
            folder, small, bits=2, effort="fast", calibration=text, rules=rules, threads=1
        ).close()

    large, tiny, memory = sys.argv[1], sys.argv[2], int(sys.argv[3])
    run(tiny, tiny + "-small", [[1, 2, 3]], None)  # imports everything
    open("/proc/self/clear_refs", "w").write("5")  # the peak so far is forgotten
    before = status("VmRSS:")
    run(large, large + "-small", [[(i * j) % 97 for j in range(64)] for i in range(6)], memory)
    print(status("VmHWM:") - before)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="Linux says the peak")
def test_a_model_larger_than_the_limit_of_memory(tmp_path):
    """400 MB of weights, calibrated within 150 MB."""
    config = transformers.LlamaConfig(
        hidden_size=1024,
        intermediate_size=1024,
        num_hidden_layers=14,
        num_attention_heads=8,
        vocab_size=100,
        max_position_embeddings=128,
    )
    folder = tmp_path / "large"
    folder.mkdir()
    with torch.device("meta"):
        shapes = {k: v.shape for k, v in transformers.LlamaForCausalLM(config).state_dict().items()}
    draw = np.random.default_rng(0)
    weights = {
        name: (
            draw.standard_normal(shape, np.float32) / 32
            if len(shape) == 2
            else np.ones(shape, "f4")
        )
        for name, shape in shapes.items()
    }
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    del weights
    config.architectures = ["LlamaForCausalLM"]
    config.save_pretrained(folder)
    saved(made("Llama"), tmp_path / "tiny")
    limit = 150 << 20
    assert (folder / "model.safetensors").stat().st_size > 2.5 * limit
    run = subprocess.run(
        [
            *(sys.executable, "-c", textwrap.dedent(MEASURED)),
            *(str(folder), str(tmp_path / "tiny"), str(limit)),
        ],
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) < limit, f"{int(run.stdout) >> 20} MiB"
    with Checkpoint.open(tmp_path / "large-small") as small:
        assert len(small.source.compressed) == 14 + 2
