"""Whole models on disk: peak memory, and speed beside the codec alone and the disk alone.

``python benches/checkpoint.py`` makes a sharded model of random bfloat16 weights (``--gigabytes``,
6 by default; a billion weights are 2), compresses it in a process whose address space is limited
to what ``compress_checkpoint`` promises, 2.5 times the largest tensor and 200 MB, and decompresses
it. ``--short`` does the same with 0.1 GB.
"""

import argparse
import json
import os
import pathlib
import resource
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time

import numpy as np

import hypercomp_rs as hc
from hypercomp_rs import _core
from hypercomp_rs._durable import written

MB = 1 << 20
# The shapes that language models have, layer by layer; the table of tokens is the largest.
HIDDEN, INNER = 2048, 5504


def layers(bytes_wanted):
    """Names and shapes of a model of about so many bytes in bfloat16."""
    tokens = 32_000 if bytes_wanted > 10**9 else 8000
    yield "model.embed_tokens.weight", (tokens, HIDDEN)
    left, layer = bytes_wanted - 2 * tokens * HIDDEN, 0
    while left > 0:
        for name, shape in {
            "self_attn.q_proj": (HIDDEN, HIDDEN),
            "self_attn.k_proj": (HIDDEN, HIDDEN),
            "self_attn.v_proj": (HIDDEN, HIDDEN),
            "self_attn.o_proj": (HIDDEN, HIDDEN),
            "mlp.gate_proj": (INNER, HIDDEN),
            "mlp.up_proj": (INNER, HIDDEN),
            "mlp.down_proj": (HIDDEN, INNER),
            "input_layernorm": (HIDDEN,),
        }.items():
            yield f"model.layers.{layer}.{name}.weight", shape
            left -= 2 * int(np.prod(shape))
        layer += 1


def write_model(folder, bytes_wanted, shard_bytes):
    """The model in shards with an index; its weights are Gaussian, a block of them again and again.

    Returns weights and the bytes of the largest tensor.
    """
    folder.mkdir()
    rng = np.random.default_rng(0)
    block = rng.standard_normal(1 << 22).astype(np.float32) * np.float32(0.02)
    block = (block.view(np.uint32) >> 16).astype(np.uint16)
    shards, filled = [[]], 0
    for name, shape in layers(bytes_wanted):
        nbytes = 2 * int(np.prod(shape))
        if filled and filled + nbytes > shard_bytes:
            shards.append([])
            filled = 0
        shards[-1].append((name, shape))
        filled += nbytes
    weight_map, total, largest = {}, 0, 0
    for number, tensors in enumerate(shards, 1):
        shard = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        layout = [(name, "BF16", list(shape)) for name, shape in tensors]
        start, placed = _core.write_header(layout, {"format": "pt"})
        with written(folder / shard) as file:
            file.write(start)
            for name, _, _, _, nbytes in placed:
                weight_map[name] = shard
                total, largest = total + nbytes, max(largest, nbytes)
                while nbytes:
                    piece = block.view(np.uint8)[: min(nbytes, block.nbytes)]
                    file.write(piece.data)
                    nbytes -= piece.nbytes
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return total // 2, largest


COMPRESS = """
import resource, sys, time
import hypercomp_rs as hc
src, dst, effort, limit = sys.argv[1:]
if int(limit):
    resource.setrlimit(resource.RLIMIT_AS, (int(limit), int(limit)))
start = time.perf_counter()
hc.compress_checkpoint(src, dst, effort=effort)
print(time.perf_counter() - start, 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def compress_limited(src, dst, effort, limit):
    """Seconds and peak resident bytes of a run in a process of its own."""
    code = textwrap.dedent(COMPRESS)
    arguments = [src, dst, effort, str(limit)]
    # The allocator reserves 64 MB of addresses for each thread, of which it uses next to none, and
    # numpy's linear algebra, which is not called, 40 MB.
    few = {**os.environ, "MALLOC_ARENA_MAX": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=few
    )
    if done.returncode:
        sys.exit(f"under {limit / MB:.0f} MB of address space:\n{done.stderr}")
    seconds, peak = done.stdout.split()
    return float(seconds), int(peak)


def bare(effort, weights):
    """Weights a second of the codec alone, on matrices of the model's largest kind."""
    rng = np.random.default_rng(1)
    w = rng.standard_normal((INNER, HIDDEN), np.float32).astype(np.float16)
    times = []
    for _ in range(max(1, min(3, weights // w.size))):
        start = time.perf_counter()
        hc.compress_tensor(w, effort=effort)
        times.append(time.perf_counter() - start)
    return w.size / float(np.median(times))


def plain_copy(src, dst):
    """Seconds to write as many bytes as the model has, and have them on the disk."""
    start = time.perf_counter()
    piece = bytearray(32 * MB)
    for path in src.glob("*.safetensors"):
        with written(dst / path.name) as file:
            for _ in range(path.stat().st_size // len(piece) + 1):
                file.write(piece)
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="0.1 GB, as CI runs it")
    parser.add_argument("--gigabytes", type=float, default=6.0)
    parser.add_argument("--effort", default="balanced")
    parser.add_argument("--folder", type=pathlib.Path, help="where there is room for it")
    arguments = parser.parse_args()
    size = int(1e9 * (0.1 if arguments.short else arguments.gigabytes))
    place = pathlib.Path(tempfile.mkdtemp(dir=arguments.folder))
    try:
        src, dst, back, copy = (place / name for name in ("src", "dst", "back", "copy"))
        weights, largest = write_model(src, size, min(2 * 10**9, size // 3))
        limit = int(2.5 * largest) + 200 * MB
        print(
            f"{weights / 1e6:.0f} M weights in bfloat16, the largest tensor {largest / MB:.0f} MB"
        )
        seconds, peak = compress_limited(src, dst, arguments.effort, limit)
        alone = bare(arguments.effort, weights)
        print(f"compress, effort {arguments.effort}, address space limited to {limit / MB:.0f} MB")
        print(f"  {seconds:8.1f} s  {weights / seconds / 1e6:8.1f} M weights/s")
        print(
            f"  {weights / seconds / alone:8.2f} of the codec alone ({alone / 1e6:.1f} M weights/s)"
        )
        print(f"  {peak / MB:8.0f} MB resident at most")
        print(f"  7 B weights at this speed: {7e9 * seconds / weights / 60:.1f} minutes")
        start = time.perf_counter()
        hc.decompress_checkpoint(dst, back)
        seconds = time.perf_counter() - start
        copy.mkdir()
        disk = plain_copy(src, copy)
        print("decompress")
        print(f"  {seconds:8.1f} s  {weights / seconds / 1e6:8.1f} M weights/s")
        print(f"  {disk / seconds:8.2f} of the disk's own ({weights / disk / 1e6:.1f} M weights/s)")
        memory = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(f"  {memory / MB:8.0f} MB resident at most")
    finally:
        shutil.rmtree(place)


if __name__ == "__main__":
    main()
