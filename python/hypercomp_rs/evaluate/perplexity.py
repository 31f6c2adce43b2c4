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
    """How well a language model predicts a text, and in what windows.

    Attributes
    ----------
    losses
        Negative log-likelihood of each scored token in nats, float64, shape (tokens,).
    context
        The largest number of tokens that the model got at once.
    stride
        Number of tokens by which the window moved.
    """

    losses: npt.NDArray[np.float64]
    context: int
    stride: int

    @property
    def tokens(self) -> int:
        """Number of scored tokens: with overlapping windows all but the first."""
        return len(self.losses)

    @property
    def perplexity(self) -> float:
        """The exponential of the mean loss; infinite if it exceeds float64."""
        with np.errstate(over="ignore"):
            return float(np.exp(self.losses.mean()))

    @property
    def standard_error(self) -> float:
        """The standard error of the perplexity, as if the losses of tokens were independent."""
        return self.perplexity * _standard_error(self.losses)

    def ratio(self, other: Perplexity) -> tuple[float, float]:
        """The perplexity divided by another model's, and the standard error of this ratio.

        Losses are compared token by token. A token that is hard to predict is hard for both models,
        so the ratio is known much more exactly than either perplexity.

        Raises
        ------
        InvalidArgumentError
            The two have different numbers of tokens, or different windows.
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
        ``[gguf]``). It is read in float32. Or a torch module that accepts tokens of shape (1, n)
        and returns logits of shape (1, n, vocabulary), or an object with such ``.logits``.
    text
        A str, which the tokenizer splits into tokens and adds its special tokens to; or the tokens,
        of shape (n,).
    context
        The largest number of tokens that the model gets at once; by default 1024, or less if the
        model allows less.
    stride
        Number of tokens by which the window moves, 1 to `context`; by default half of it. With a
        smaller stride each token has more tokens before it, and the call takes longer.
    tokenizer
        The tokenizer of a model that is given as an object, of transformers' classes.
    device
        The device of a model that is given as a path; by default the CPU.
    progress
        Show a bar on standard error. Needs the extra ``[cli]``.

    Returns
    -------
    Perplexity
        It has the loss of every scored token. The first token of the text is not scored, as nothing
        is before it.

    Raises
    ------
    InvalidArgumentError
        A length that is not accepted; a text of fewer than two tokens; tokens outside of the
        model's vocabulary; a device that is not there; a path without a causal language model, or
        without all of its weights; a module that is not causal, such as an encoder. Everything
        possible is checked before a model is read.
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
    documentation of transformers. The program there weights every window but the first by one token
    too few.

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
    """The perplexity from tensors with the losses of each window."""
    torch = imported("torch", "eval", "perplexity")
    return Perplexity(torch.cat(losses).double().cpu().numpy(), asked.context, asked.stride)


@contextmanager
def evaluating(*modules: Any) -> Iterator[None]:
    """Modules in evaluation mode, without gradients, until the end of the block."""
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
    """The windows, with a progress bar if requested."""
    if not progress:
        yield from asked.windows()
        return
    bars = imported("rich.progress", "cli", "progress=True")
    console = imported("rich.console", "cli", "progress=True").Console(stderr=True)
    yield from bars.track(asked.windows(), "perplexity", console=console)


def _standard_error(losses: npt.NDArray[np.float64]) -> float:
    n = len(losses)
    return float(losses.std(ddof=1) / math.sqrt(n)) if n > 1 else math.nan
