"""Sliding windows over the tokens of a text.

A model accepts a limited number of tokens, its context. If a text were cut into pieces of this
length, the first tokens of each piece would be predicted from almost nothing. So windows overlap,
and each window scores only the tokens that no earlier window has scored. Except in the first
window, every scored token has at least ``context - stride`` tokens before it. The windows are those
of the guide "Perplexity of fixed-length models" in the documentation of transformers.
"""

from __future__ import annotations

import inspect
import os
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

# The default context. A longer one takes more time and changes the result little.
DEFAULT_CONTEXT = 1024
# Number of tokens on which a model is checked to be causal.
TOKENS_TO_CHECK = 16


class Window(NamedTuple):
    """The model gets tokens begin..end, and tokens first..end are scored."""

    begin: int
    end: int
    first: int


def windows(length: int, context: int, stride: int) -> Iterator[Window]:
    """Windows over `length` tokens, which score each token but the first exactly once.

    With ``stride == context`` windows do not overlap, and the first token of each window is not
    scored.
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
    """A model in memory, the tokens that it reads, and the sizes of windows."""

    model: Any
    tokens: Any
    context: int
    stride: int

    def windows(self) -> list[Window]:
        """All windows, in order."""
        return list(windows(len(self.tokens), self.context, self.stride))

    def check_causal(self) -> None:
        """Refuse a model that is not causal.

        An encoder returns logits of the same shape, but each of them depends on all tokens, also on
        the one that is to be predicted. So the last of some tokens is changed, and the logits
        before it must not change.
        """
        torch = imported("torch", "eval", "perplexity")
        seen = self.tokens[: min(len(self.tokens), self.context, TOKENS_TO_CHECK)]
        other = self.tokens[self.tokens != seen[-1]][:1]
        if not len(other):
            return
        one = self._logits(seen)[:-1]
        two = self._logits(torch.cat([seen[:-1], other]))[:-1]
        # The same products may differ by rounding.
        allowed = torch.finfo(one.dtype).eps ** 0.5 / 4
        near = torch.isclose(one, two, rtol=allowed, atol=0, equal_nan=True)
        near |= (one - two).abs() <= allowed * one.abs().amax()
        if not bool(near.all()):
            raise InvalidArgumentError(
                f"the {type(self.model).__name__} sees the tokens that it is to predict: a causal "
                "language model is accepted; encoders are compared by embedding_similarity"
            )

    def log_probabilities(self, window: Window) -> Any:
        """Log-probabilities of the whole vocabulary for each scored token: (scored, vocabulary)."""
        torch = imported("torch", "eval", "perplexity")
        scored = window.end - window.first
        options = {}
        if "logits_to_keep" in inspect.signature(self.model.forward).parameters:
            # One more: the last logits predict the token after the window.
            options["logits_to_keep"] = scored + 1
        logits = self._logits(self.tokens[window.begin : window.end], **options)
        logits = logits[-scored - 1 : -1].float()
        finite = torch.isfinite(logits).all(dim=-1)
        if not bool(finite.all()):
            place = window.first + int((~finite).nonzero()[0])
            raise NonFiniteError(f"the model's logits for token {place} of the text are not finite")
        return torch.log_softmax(logits, dim=-1)

    def _logits(self, seen: Any, **options: Any) -> Any:
        """The logits for some tokens: (tokens, vocabulary)."""
        torch = imported("torch", "eval", "perplexity")
        found = self.model(seen.unsqueeze(0), **options)
        logits = getattr(found, "logits", found)
        if not isinstance(logits, torch.Tensor) or logits.dim() != 3 or len(logits) != 1:
            given = f"of shape {tuple(logits.shape)}" if hasattr(logits, "shape") else "no tensor"
            raise InvalidArgumentError(
                f"the {type(self.model).__name__} gives a {type(logits).__name__} {given}: logits "
                "of shape (1, tokens, vocabulary) are accepted, as a causal language model has them"
            )
        most = int(self.tokens.max())
        if logits.shape[2] <= most:
            raise InvalidArgumentError(
                f"the {type(self.model).__name__} gives {logits.shape[2]} logits for a token, and "
                f"the text has token {most}: those of a language model are accepted"
            )
        return logits[0]

    def targets(self, window: Window) -> Any:
        """The tokens that are scored: (scored, 1)."""
        return self.tokens[window.first : window.end].unsqueeze(1)


class Request(NamedTuple):
    """The caller's arguments, checked as far as possible before a model is read."""

    model: Any
    tokens: npt.NDArray[np.int64]
    context: int
    stride: int
    device: str

    def reading(self) -> Reading:
        """Read the model if it is given as a path."""
        torch = imported("torch", "eval", "perplexity")
        model = self.model
        if models.is_path(model):
            model = models.causal_lm(model, self.device)
            # The model's configuration may differ from the file that was checked before.
            _lengths(getattr(model, "config", None), self.context, self.stride)
        _check_vocabulary(model, self.tokens)
        place = next((p.device for p in model.parameters()), torch.device("cpu"))
        return Reading(model, torch.from_numpy(self.tokens).to(place), self.context, self.stride)


def requested(
    model: Any,
    text: str | Tokens,
    tokenizer: Any,
    context: int | None,
    stride: int | None,
    device: str | None,
) -> Request:
    """Check the caller's arguments, the device first, before a model is read."""
    torch = imported("torch", "eval", "perplexity")
    if models.is_path(model):
        model, place = os.fsdecode(model), models.checked_device(device)
        models.check_causal_lm(model)
        config = models.loaded_config(model)
        if isinstance(text, str) and tokenizer is None:
            tokenizer = models.tokenizer(model)
    elif not isinstance(model, torch.nn.Module):
        raise DtypeError(f"model is a {type(model).__name__}: a path or a torch module is accepted")
    elif device is not None:
        raise InvalidArgumentError("device: for models given as a path; others lie where they are")
    else:
        place = ""
        config = getattr(model, "config", None)
    if getattr(config, "is_encoder_decoder", False):
        raise InvalidArgumentError(
            "the model is an encoder with a decoder: a causal language model is accepted"
        )
    tokens = _tokens(text, tokenizer)
    context, stride = _lengths(config, context, stride)
    return Request(model, tokens, context, stride, place)


def _tokens(text: str | Tokens, tokenizer: Any) -> npt.NDArray[np.int64]:
    if isinstance(text, str):
        if tokenizer is None:
            raise InvalidArgumentError(
                "text is a str and the model an object: give its tokenizer=, or the text's tokens"
            )
        # Not verbose, as the text may be longer than the model's context.
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


def _lengths(config: Any, context: int | None, stride: int | None) -> tuple[int, int]:
    most = getattr(config, "max_position_embeddings", None) or 1 << 31
    context = checked(
        "context", min(DEFAULT_CONTEXT, most) if context is None else context, 2, most
    )
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
