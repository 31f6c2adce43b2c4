"""Tokens from a Llama-type model of a billion random parameters: bfloat16 and compressed.

Each runs in a process of its own, which tells its resident memory. Then they take turns at some
tokens each, as a shared machine is faster at one time than at another, and the median of the
turns' medians is told. ``--short`` takes a model of some millions. A line that is not reached is
shown, and fails nothing.
"""

import argparse
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


def worker(size: dict[str, int], compressed: bool) -> None:
    """Print the memory of the model alone; for each line that comes, seconds a token of a turn."""
    torch.set_num_threads(THREADS)
    # Once for whatever is imported and begun on the way, which is no part of the model.
    model(MILLIONS, compressed=compressed)(input_ids=torch.tensor([[1]]))
    before = resident()
    net = model(size, compressed=compressed)
    print(resident() - before, flush=True)
    for line in sys.stdin:
        print(turn(net, int(line)), flush=True)


def turn(net: torch.nn.Module, tokens: int) -> float:
    """The median time of a token, the first two left out."""
    token = torch.tensor([[1]])
    times, cache = [], None
    with torch.inference_mode():
        for _ in range(tokens + 2):
            start = time.perf_counter()
            out = net(input_ids=token, past_key_values=cache, use_cache=True)
            token, cache = out.logits[:, -1:].argmax(-1), out.past_key_values
            times.append(time.perf_counter() - start)
    return statistics.median(times[2:])


class Contestant:
    """A model in a process of its own."""

    def __init__(self, short: bool, compressed: bool) -> None:
        command = [sys.executable, __file__, "--worker", "compressed" if compressed else "dense"]
        # What was freed is to be seen as free.
        freed = {"MALLOC_TRIM_THRESHOLD_": "0", "MALLOC_MMAP_THRESHOLD_": "65536"}
        self._process = subprocess.Popen(
            [*command, *(["--short"] if short else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **freed},
        )
        self.memory = int(self._line())
        self.turns: list[float] = []

    def take_turn(self, tokens: int) -> None:
        """Some tokens more."""
        # Until the threads of the one before sleep.
        time.sleep(0.1)
        assert self._process.stdin is not None
        print(tokens, file=self._process.stdin, flush=True)
        self.turns.append(float(self._line()))

    @property
    def seconds(self) -> float:
        """Of a token."""
        return statistics.median(self.turns)

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            sys.exit(f"a model's process ended with {self._process.wait()}")
        return line

    def end(self) -> None:
        """No more turns."""
        self._process.communicate()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="a model of some millions")
    parser.add_argument("--turns", type=int, default=7, help="turns of each model")
    parser.add_argument("--tokens", type=int, default=8, help="tokens of a turn")
    parser.add_argument("--worker", choices=("dense", "compressed"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        worker(MILLIONS if arguments.short else BILLION, arguments.worker == "compressed")
        return
    dense, ours = (Contestant(arguments.short, compressed) for compressed in (False, True))
    for _ in range(1 if arguments.short else arguments.turns):
        dense.take_turn(arguments.tokens)
        ours.take_turn(arguments.tokens)
    for contestant in (dense, ours):
        contestant.end()
    made = Table(title=f"generation, {THREADS} threads")
    for heading in ("model", "MB", "tokens/s"):
        made.add_column(heading, justify="right")
    for name, contestant in (("bfloat16", dense), ("hypercomp, 4 bits", ours)):
        made.add_row(name, f"{contestant.memory / 1e6:.0f}", f"{1 / contestant.seconds:.2f}")
    verdict = Table(title="asked")
    for heading in ("line", "asked", "measured", "met"):
        verdict.add_column(heading, justify="right")
    memory, speed = ours.memory / dense.memory, dense.seconds / ours.seconds
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
