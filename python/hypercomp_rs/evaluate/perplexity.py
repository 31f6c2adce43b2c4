"""Perplexity of a causal language model on a text."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .._extras import imported
from ..errors import InvalidArgumentError
from .windows import Reading, requested

if TYPE_CHECKING:
    import numpy.typing as npt

    from .windows import Tokens


@dataclass(frozen=True, eq=False)
class Perplexity:
    """How well a language model predicts a text, and how that was asked.

    Attributes
    ----------
    losses
        Negative log-likelihood of each scored token in nats, float64, shape (tokens,).
    context
        The most tokens that the model saw at once.
    stride
        Tokens by which the window moved.
    """

    losses: npt.NDArray[np.float64]
    context: int
    stride: int

    @property
    def tokens(self) -> int:
        """How many tokens were scored: with overlapping windows all but the first."""
        return len(self.losses)

    @property
    def perplexity(self) -> float:
        """Of all scored tokens: e to the mean loss; infinite where that is beyond float64."""
        with np.errstate(over="ignore"):
            return float(np.exp(self.losses.mean()))

    @property
    def standard_error(self) -> float:
        """That of the perplexity over the choice of tokens, taken as independent of each other."""
        return self.perplexity * _standard_error(self.losses)

    def ratio(self, other: Perplexity) -> tuple[float, float]:
        """The perplexity over another model's on the same text, and the ratio's standard error.

        Token by token: what makes a text hard is hard for both, so the ratio is known far better
        than either of the two. InvalidArgumentError where the texts or windows differ.
        """
        asked = (self.tokens, self.context, self.stride)
        if asked != (other.tokens, other.context, other.stride):
            raise InvalidArgumentError(f"{self} and {other} are not of one text and its windows")
        difference = self.losses - other.losses
        ratio = math.exp(difference.mean())
        return ratio, ratio * _standard_error(difference)

    def __repr__(self) -> str:
        return (
            f"Perplexity({self.perplexity:.4g} ± {self.standard_error:.2g}, "
            f"tokens={self.tokens}, context={self.context}, stride={self.stride})"
        )


def perplexity(
    model: str | os.PathLike[str] | Any,
    text: str | Tokens,
    context: int | None = None,
    stride: int | None = None,
    *,
    tokenizer: Any = None,
    device: str | None = None,
    progress: bool = False,
) -> Perplexity:
    """Perplexity of a causal language model on a text, in strided sliding windows.

    Parameters
    ----------
    model
        A path: a folder of transformers, a compressed folder, or a GGUF file (with the extra
        ``[gguf]``); it is read in float32. Or a torch module that takes tokens of shape (1, n) and
        gives logits, or an object with ``.logits``, of shape (1, n, vocabulary).
    text
        A str, which the tokenizer takes with the special tokens that it adds by itself, or the
        tokens, shape (n,).
    context
        Tokens that the model sees at most; by default 1024, or what the model allows if less.
    stride
        Tokens by which the window moves, 1 to `context`; by default half of it. The smaller, the
        more each token has before it, and the longer it takes.
    tokenizer
        For a model given as an object, as transformers has them.
    device
        Where a model given as a path computes; by default the CPU.
    progress
        Show a bar on standard error, with the extra ``[cli]``.

    Returns
    -------
    Perplexity
        With the loss of every scored token. The first token of the text has nothing before it and
        is not scored.

    Raises
    ------
    InvalidArgumentError
        A length that is not accepted; a text of fewer than two tokens; tokens that the model does
        not know; a device that is not there; a path that holds no causal language model, or not
        all of its weights; a module that sees the tokens that it predicts, as encoders do. All that
        can be is checked before a model is read.
    NonFiniteError
        The model's logits for a token are not finite.
    DtypeError
        Neither a path nor a module; neither a str nor integer tokens.
    MissingExtraError
        torch or transformers is not installed.

    Notes
    -----
    Time: ``n / stride`` runs of the model on `context` tokens. The model is put into evaluation
    mode for the call. The windows are those of "Perplexity of fixed-length models" in the
    documentation of transformers; the program there weighs all but the first by a token too few.

    Examples
    --------
    >>> import torch, transformers
    >>> from hypercomp_rs.evaluate import perplexity
    >>> config = transformers.LlamaConfig(
    ...     vocab_size=100, hidden_size=32, intermediate_size=64, num_hidden_layers=1,
    ...     num_attention_heads=2, max_position_embeddings=64)
    >>> model = transformers.LlamaForCausalLM(config)
    >>> found = perplexity(model, torch.arange(100), context=32, stride=16)
    >>> found.tokens, 80 < found.perplexity < 125  # it has learnt nothing of 100 tokens
    (99, True)
    """
    asked = requested(model, text, tokenizer, context, stride, device).reading()
    with evaluating(asked.model):
        asked.check_causal()
        losses = [
            -asked.log_probabilities(window).gather(1, asked.targets(window)).squeeze(1)
            for window in followed(asked, progress)
        ]
    return scored(asked, losses)


def scored(asked: Reading, losses: list[Any]) -> Perplexity:
    """The perplexity from the losses of each window, as tensors."""
    torch = imported("torch", "eval", "perplexity")
    return Perplexity(torch.cat(losses).double().cpu().numpy(), asked.context, asked.stride)


@contextmanager
def evaluating(*modules: Any) -> Iterator[None]:
    """Without gradients and dropout, for as long as it lasts."""
    torch = imported("torch", "eval", "perplexity")
    training = [module for module in modules if module.training]
    try:
        for module in training:
            module.eval()
        with torch.inference_mode():
            yield
    finally:
        for module in training:
            module.train()


def followed(asked: Reading, progress: bool) -> Iterator[Any]:
    """The windows, with a bar if one is asked for."""
    if not progress:
        yield from asked.windows()
        return
    bars = imported("rich.progress", "cli", "progress=True")
    console = imported("rich.console", "cli", "progress=True").Console(stderr=True)
    yield from bars.track(asked.windows(), "perplexity", console=console)


def _standard_error(losses: npt.NDArray[np.float64]) -> float:
    n = len(losses)
    return float(losses.std(ddof=1) / math.sqrt(n)) if n > 1 else math.nan
