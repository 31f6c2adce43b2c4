"""The samples that a model is calibrated with, as tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer

from ...checkpoint.calibration_text import CalibrationText
from ...errors import DtypeError, InvalidArgumentError

# Characters of a token, at most: a longer text is not read as a whole.
CHARACTERS = 16


def samples_of(text: CalibrationText, folder: Path, most: int, *, causal: bool) -> list[list[int]]:
    """Tokens of each sample; at most `most` of them, which is the number of positions of the model.

    Raises
    ------
    InvalidArgumentError
        The text is empty, or cannot be read; the model has no tokenizer, or fewer positions.
    """
    path = text.path
    if path is None:
        return _given(text.text, most)
    context = min(text.context, most)
    try:
        said = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InvalidArgumentError(f"{path}: no text in UTF-8: {error}") from None
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:
        raise InvalidArgumentError(
            f"{folder}: transformers finds no tokenizer for the calibration text ({error}): give "
            "samples of tokens, CalibrationText([[...], ...])"
        ) from error
    if causal:
        found = list(_windows(said, tokenizer, text.samples, context))
    else:
        found = list(_lines(said, tokenizer, text.samples, context))
    if not found:
        raise InvalidArgumentError(f"{path}: a text without tokens; at least one is needed")
    return found


def _given(samples: Any, most: int) -> list[list[int]]:
    found = []
    for i, sample in enumerate(samples):
        try:
            tokens = torch.as_tensor(sample)
        except (TypeError, ValueError, RuntimeError) as error:
            raise DtypeError(f"calibration, sample {i}: {error}") from None
        if tokens.dim() != 1 or tokens.is_floating_point() or not 1 <= len(tokens) <= most:
            raise InvalidArgumentError(
                f"calibration, sample {i}: a sequence of 1 to {most} tokens is accepted"
            )
        found.append([int(token) for token in tokens])
    if not found:
        raise InvalidArgumentError("calibration: no sample; at least one is needed")
    return found


def _windows(text: str, tokenizer: Any, samples: int, context: int) -> Iterator[list[int]]:
    """Windows of `context` tokens. Each begins as the tokenizer begins a text."""
    begin = _begin(tokenizer)
    length = max(1, context - len(begin))
    pieces = [text]
    if len(text) > 2 * CHARACTERS * samples * context:
        starts = (len(text) * i // samples for i in range(samples))
        pieces = [_from_a_blank(text[start : start + CHARACTERS * context]) for start in starts]
    for piece in pieces:
        tokens = tokenizer(piece, add_special_tokens=False, verbose=False)["input_ids"]
        # A text that is shorter than a window is one sample.
        whole = len(tokens) // length or min(1, len(tokens))
        wanted = min(samples if len(pieces) == 1 else 1, whole)
        for i in range(wanted):
            start = whole * i // wanted * length
            yield [*begin, *tokens[start : start + length]]


def _begin(tokenizer: Any) -> list[int]:
    """The token that the tokenizer puts before a text; none if it puts none."""
    first = tokenizer("a", verbose=False)["input_ids"][:1]
    return first if first and first[0] == tokenizer.bos_token_id else []


def _from_a_blank(piece: str) -> str:
    """The piece without its first word, which may be cut."""
    blank = piece.find(" ", 0, 64)
    return piece[blank + 1 :]


def _lines(text: str, tokenizer: Any, samples: int, context: int) -> Iterator[list[int]]:
    lines: Sequence[str] = [line for line in text.splitlines() if line.strip()]
    wanted = min(samples, len(lines))
    for i in range(wanted):
        line = lines[len(lines) * i // wanted]
        yield tokenizer(line, truncation=True, max_length=context)["input_ids"]
