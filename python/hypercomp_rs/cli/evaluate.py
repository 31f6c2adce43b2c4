"""``hypercomp-rs eval``: measures how well a compressed model works."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any

import click

from .._extras import imported
from ..errors import FormatError, InvalidArgumentError
from ..evaluate import Perplexity, divergence, embedding_similarity, perplexity
from ..evaluate.models import checked_device, is_causal_lm
from . import models


@click.command("eval")
@click.argument("model", type=click.Path(exists=True, path_type=Path))
@click.argument("text", type=click.File("rb"))
@click.option(
    "--against",
    type=click.Path(exists=True, path_type=Path),
    help="The original model to compare with; an encoder needs it.",
)
@click.option(
    "--task",
    type=click.Choice(["perplexity", "similarity"]),
    help="Perplexity of a language model, or similarity of an encoder.  [default: by config.json]",
)
@click.option("--context", type=click.IntRange(2), help="Tokens of a window.  [default: 1024]")
@click.option("--stride", type=click.IntRange(1), help="Tokens between windows.  [default: half]")
@click.option("--batch", type=click.IntRange(1), help="Sentences embedded at once.  [default: 32]")
@click.option("--device", default="cpu", show_default=True, help="Where to compute: cpu, cuda, …")
@models.json_option
@models.progress_option
def evaluate(
    model: Path,
    text: Any,
    against: Path | None,
    task: str | None,
    context: int | None,
    stride: int | None,
    batch: int | None,
    device: str,
    as_json: bool,
    progress: bool | None,
) -> int:
    """Evaluate MODEL, a folder of transformers, compressed or not, or a .gguf file, on TEXT.

    For a causal language model, compute the perplexity over the whole TEXT in sliding windows; with
    --against, also compare its predictions with the original's, token by token. For a sentence
    encoder, embed each line of TEXT that is not blank with MODEL and with --against, and compare
    the embeddings and their ranking of all pairs of lines. TEXT is UTF-8; - is standard input.

    It needs the extra [eval]. Exit codes: 0 all is done, 1 the system failed, 2 a file or an option
    is wrong, 130 Ctrl-C.
    """
    words = _decoded(text)
    # tqdm reads this variable when it is imported, also if torch imports it.
    os.environ.setdefault("TQDM_DISABLE", "1")
    checked_device(device)
    _quieten()
    if (task or _task(model)) == "similarity":
        if against is None:
            raise click.UsageError("an encoder is compared with its original: give --against")
        if context is not None or stride is not None:
            raise click.UsageError("--context and --stride are for language models")
        sentences = [line.strip() for line in words.splitlines() if line.strip()]
        _similarity(model, against, sentences, batch or 32, device, as_json)
        return 0
    if batch is not None:
        raise click.UsageError("--batch is for encoders")
    if progress is None:
        progress = sys.stderr.isatty()
    if against is None:
        found = perplexity(model, words, context, stride, device=device, progress=progress)
        _show_perplexity([(str(model), found)], as_json, {})
        return 0
    both = divergence(against, model, words, context, stride, device=device, progress=progress)
    ratio, error = both.compressed.ratio(both.original)
    compared = {
        "ratio": ratio,
        "ratio_error": error,
        "divergence": both.mean,
        "same_top": both.same_top,
    }
    found_of = [(str(against), both.original), (str(model), both.compressed)]
    _show_perplexity(found_of, as_json, compared)
    return 0


def _quieten() -> None:
    """Keep messages of libraries that are no errors from standard error."""
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    transformers = imported("transformers", "eval", "hypercomp-rs eval")
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()


def _task(model: Path) -> str:
    return "perplexity" if is_causal_lm(model) else "similarity"


def _decoded(text: Any) -> str:
    raw: bytes = text.read()
    try:
        words = raw.decode()
    except UnicodeDecodeError as error:
        raise FormatError(f"{text.name}: byte {error.start} is no UTF-8: {error.reason}") from None
    if not words.strip():
        raise InvalidArgumentError(f"{text.name} has no text")
    return words


def _similarity(
    model: Path, against: Path, sentences: list[str], batch: int, device: str, as_json: bool
) -> None:
    s = embedding_similarity(against, model, sentences, batch=batch, device=device)
    if as_json:
        models.print_json(
            {
                "task": "similarity",
                "model": str(model),
                "against": str(against),
                "sentences": s.sentences,
                "mean_cosine": s.mean_cosine,
                "min_cosine": s.min_cosine,
                "rank_agreement": s.rank_agreement,
            }
        )
        return
    table = models.table(["encoder", " sentences", " mean cosine", " least", " rank agreement"])
    table.add_row(
        str(model),
        f"{s.sentences}",
        f"{s.mean_cosine:.4f}",
        f"{s.min_cosine:.4f}",
        f"{s.rank_agreement:.4f}",
    )
    models.print_table(table)


def _show_perplexity(
    found: list[tuple[str, Perplexity]], as_json: bool, compared: dict[str, Any]
) -> None:
    """Print results.

    The last one is of MODEL, the one before it of the model that it is compared with.
    """
    *before, (model, last) = found
    if as_json:
        said: dict[str, Any] = {"task": "perplexity", "model": model, **_numbers(last)}
        said.update({"context": last.context, "stride": last.stride})
        for against, original in before:
            said["against"] = {"model": against, **_numbers(original)}
        models.print_json({**said, **compared})
        return
    table = models.table(["model", " perplexity", " ±", " tokens", " context", " stride"])
    for name, one in found:
        table.add_row(
            name,
            f"{one.perplexity:.4f}",
            f"{one.standard_error:.4f}",
            f"{one.tokens}",
            f"{one.context}",
            f"{one.stride}",
        )
    models.print_table(table)
    if compared:
        click.echo(
            "perplexity x {ratio:.4f} ± {ratio_error:.4f}, divergence {divergence:.4f} nats a "
            "token, the same token first in {same_top:.1%}".format(**compared)
        )


def _numbers(one: Perplexity) -> dict[str, Any]:
    return {
        "perplexity": one.perplexity,
        "standard_error": one.standard_error,
        "tokens": one.tokens,
    }
