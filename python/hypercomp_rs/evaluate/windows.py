"""A text as tokens, and tokens as windows that slide over it by a stride.

A model sees at most so many tokens, its context. Cutting a text into pieces of that length would
predict the first tokens of each piece from hardly any; so windows overlap, and each scores only the
tokens that no window before it did. All but the first window's then have at least
``context - stride`` tokens before them. These are the windows of the guide "Perplexity of
fixed-length models" in the documentation of transformers.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .._extras import imported
from .._integers import checked
from ..errors import DtypeError, InvalidArgumentError, NonFiniteError
from . import models

if TYPE_CHECKING:
    import numpy.typing as npt

    Tokens = Sequence[int] | npt.NDArray[np.integer[Any]]

# Where a model allows more, a longer one costs time and changes little.
CONTEXT = 1024


class Window(NamedTuple):
    """Tokens begin..end are seen, tokens first..end are scored."""

    begin: int
    end: int
    first: int


def windows(length: int, context: int, stride: int) -> Iterator[Window]:
    """Windows over a text of so many tokens, of which each but the first is scored once.

    With ``stride == context`` windows do not overlap, and the first token of each has nothing
    before it either.
    """
    scored = 1
    for begin in range(0, length, stride):
        end = min(begin + context, length)
        first = max(scored, begin + 1)
        if first < end:
            yield Window(begin, end, first)
        scored = end
        if end == length:
            return


class Reading(NamedTuple):
    """What a model reads, and in what windows."""

    model: Any
    tokens: Any
    context: int
    stride: int

    def windows(self) -> list[Window]:
        """All windows, in order."""
        return list(windows(len(self.tokens), self.context, self.stride))

    def log_probabilities(self, window: Window) -> Any:
        """Those of every token of the vocabulary at each scored place: (scored, vocabulary)."""
        torch = imported("torch", "eval", "perplexity")
        seen = self.tokens[window.begin : window.end].unsqueeze(0)
        scored = window.end - window.first
        options = {}
        if "logits_to_keep" in inspect.signature(self.model.forward).parameters:
            # One place more: the last predicts what the next window begins with.
            options["logits_to_keep"] = scored + 1
        found = self.model(seen, **options)
        logits = getattr(found, "logits", found)[0, -scored - 1 : -1].float()
        finite = torch.isfinite(logits).all(dim=-1)
        if not bool(finite.all()):
            place = window.first + int((~finite).nonzero()[0])
            raise NonFiniteError(f"the model's logits for token {place} of the text are not finite")
        return torch.log_softmax(logits, dim=-1)

    def targets(self, window: Window) -> Any:
        """The tokens that are scored: (scored, 1)."""
        return self.tokens[window.first : window.end].unsqueeze(1)


def reading(
    model: Any,
    text: str | Tokens,
    tokenizer: Any,
    context: int | None,
    stride: int | None,
    device: str | None,
) -> Reading:
    """What a caller gave, checked."""
    torch = imported("torch", "eval", "perplexity")
    if isinstance(model, (str, bytes)) or hasattr(model, "__fspath__"):
        model, own = models.causal_lm(model, device or "cpu")
        tokenizer = tokenizer or own
    elif not isinstance(model, torch.nn.Module):
        raise DtypeError(f"model is a {type(model).__name__}: a path or a torch module is accepted")
    elif device is not None:
        raise InvalidArgumentError("device: for models given as a path; others lie where they are")
    tokens = _tokens(text, tokenizer)
    context, stride = _lengths(model, context, stride)
    _check_vocabulary(model, tokens)
    place = next((p.device for p in model.parameters()), torch.device("cpu"))
    return Reading(model, torch.from_numpy(tokens).to(place), context, stride)


def _tokens(text: str | Tokens, tokenizer: Any) -> npt.NDArray[np.int64]:
    if isinstance(text, str):
        if tokenizer is None:
            raise InvalidArgumentError(
                "text is a str and the model an object: give its tokenizer=, or the text's tokens"
            )
        # Not verbose: that the text is longer than the model's context is what windows are for.
        text = tokenizer(text, verbose=False)["input_ids"]
    try:
        tokens = np.asarray(text)
    except ValueError as error:
        raise DtypeError(f"text: {error}") from error
    if tokens.ndim != 1 or not (tokens.dtype.kind in "iu" or tokens.size == 0):
        raise DtypeError(
            f"text is of dtype {tokens.dtype} and shape {tokens.shape}: "
            "a str or one axis of integer tokens is accepted"
        )
    if tokens.size < 2:
        raise InvalidArgumentError(f"text has {tokens.size} tokens: perplexity takes 2 at least")
    return tokens.astype(np.int64)


def _lengths(model: Any, context: int | None, stride: int | None) -> tuple[int, int]:
    most = getattr(getattr(model, "config", None), "max_position_embeddings", None) or 1 << 31
    context = checked("context", min(CONTEXT, most) if context is None else context, 2, most)
    return context, checked("stride", context // 2 if stride is None else stride, 1, context)


def _check_vocabulary(model: Any, tokens: npt.NDArray[np.int64]) -> None:
    embeddings = getattr(model, "get_input_embeddings", lambda: None)()
    most = getattr(embeddings, "num_embeddings", None) or 1 << 31
    wrong = (tokens < 0) | (tokens >= most)
    if wrong.any():
        place = int(wrong.argmax())
        raise InvalidArgumentError(
            f"token {place} of the text is {tokens[place]}, and the model knows 0 to {most - 1}: "
            "is this the model's own tokenizer?"
        )
