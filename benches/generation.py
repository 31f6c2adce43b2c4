"""Tokens from a Llama-type model of a billion random parameters: bfloat16 and compressed.

Each runs in a process of its own, which tells its resident memory and the median time of a token.
``--short`` takes a model of some millions. Speeds are those of a shared machine: a line that is not
reached is shown, and fails nothing.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

import torch
from rich.console import Console
from rich.table import Table

THREADS = 2
BILLION = {
    "hidden_size": 2048,
    "intermediate_size": 5632,
    "num_hidden_layers": 22,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "vocab_size": 32000,
}
MILLIONS = BILLION | {
    "hidden_size": 256,
    "intermediate_size": 704,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 1000,
}


def resident() -> int:
    """Bytes of this process in memory that no file backs."""
    with open("/proc/self/status") as status:
        fields = dict(line.split(":", 1) for line in status)
    return int(fields["RssAnon"].split()[0]) * 1024


def model(size: dict[str, int], *, compressed: bool) -> torch.nn.Module:
    """Made layer by layer, so that there never is more of it dense than one layer."""
    from transformers import LlamaConfig, LlamaForCausalLM

    import hypercomp_rs.torch as hct

    config = LlamaConfig(**size, tie_word_embeddings=False, dtype=torch.bfloat16)
    with torch.device("meta"):
        net = LlamaForCausalLM(config).to(torch.bfloat16)
    torch.manual_seed(0)
    for module in net.modules():
        if not module._parameters:
            continue
        for name, parameter in module._parameters.items():
            if parameter is None:
                continue
            values = torch.randn(parameter.shape, dtype=torch.bfloat16) * 0.02
            if parameter.dim() == 1:
                values = torch.ones_like(values)
            module._parameters[name] = torch.nn.Parameter(values, requires_grad=False)
        if compressed:
            hct.compress_model(module, bits=4, effort="fast", progress=False)
    net.model.rotary_emb = type(net.model.rotary_emb)(config)
    return net.eval()


def worker(size: dict[str, int], compressed: bool, tokens: int) -> None:
    """Print the memory of the model alone, and seconds a token."""
    torch.set_num_threads(THREADS)
    # Once for whatever is imported and begun on the way, which is no part of the model.
    model(MILLIONS, compressed=compressed)(input_ids=torch.tensor([[1]]))
    before = resident()
    net = model(size, compressed=compressed)
    token = torch.tensor([[1]])
    times, cache = [], None
    with torch.inference_mode():
        for _ in range(tokens + 2):
            start = time.perf_counter()
            out = net(input_ids=token, past_key_values=cache, use_cache=True)
            token, cache = out.logits[:, -1:].argmax(-1), out.past_key_values
            times.append(time.perf_counter() - start)
    print(json.dumps([resident() - before, statistics.median(times[2:])]))


def measured(short: bool, compressed: bool, tokens: int) -> tuple[int, float]:
    """The same, in a process of its own."""
    command = [sys.executable, __file__, "--worker", "compressed" if compressed else "dense"]
    command += ["--tokens", str(tokens), *(["--short"] if short else [])]
    # What was freed is to be seen as free.
    environment = {**os.environ, "MALLOC_TRIM_THRESHOLD_": "0", "MALLOC_MMAP_THRESHOLD_": "65536"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    memory, seconds = json.loads(done.stdout.splitlines()[-1])
    return memory, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="a model of some millions")
    parser.add_argument("--tokens", type=int, default=20, help="tokens timed")
    parser.add_argument("--worker", choices=("dense", "compressed"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    size = MILLIONS if arguments.short else BILLION
    if arguments.worker:
        worker(size, arguments.worker == "compressed", arguments.tokens)
        return
    dense = measured(arguments.short, False, arguments.tokens)
    ours = measured(arguments.short, True, arguments.tokens)
    made = Table(title=f"generation, {THREADS} threads")
    for heading in ("model", "MB", "tokens/s"):
        made.add_column(heading, justify="right")
    for name, (memory, taken) in (("bfloat16", dense), ("hypercomp, 4 bits", ours)):
        made.add_row(name, f"{memory / 1e6:.0f}", f"{1 / taken:.2f}")
    verdict = Table(title="asked")
    for heading in ("line", "asked", "measured", "met"):
        verdict.add_column(heading, justify="right")
    memory, speed = ours[0] / dense[0], dense[1] / ours[1]
    for what, asked, found, reached in (
        ("memory: at most x bfloat16", 0.32, memory, memory <= 0.32),
        ("tokens a second: x bfloat16", 1.0, speed, speed >= 1),
    ):
        met = "-" if arguments.short else "yes" if reached else "[bold red]no[/]"
        verdict.add_row(what, f"{asked:.2f}", f"{found:.2f}", met)
    console = Console(width=None if Console().is_terminal else 100)
    console.print(made)
    console.print(verdict)


if __name__ == "__main__":
    main()
