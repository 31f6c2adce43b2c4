"""``divergence``: compares the predictions of two language models."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InvalidArgumentError
from .perplexity import Perplexity, evaluating, followed, scored
from .windows import Reading, requested

if TYPE_CHECKING:
    import numpy.typing as npt

    from .windows import Tokens


@dataclass(frozen=True, eq=False)
class Divergence:
    """The predictions of two language models for the same tokens.

    Attributes
    ----------
    original, compressed
        The perplexity of each; ``compressed.ratio(original)`` is what compression cost.
    divergences
        Kullback-Leibler divergence of the compressed model's distribution from the original's at
        every scored token, in nats, float64, shape (tokens,).
    same_top
        The share of tokens for which both hold the same token the most likely one.
    """

    original: Perplexity
    compressed: Perplexity
    divergences: npt.NDArray[np.float64]
    same_top: float

    @property
    def mean(self) -> float:
        """Mean divergence in nats a token."""
        return float(self.divergences.mean())

    def __repr__(self) -> str:
        ratio, error = self.compressed.ratio(self.original)
        return (
            f"Divergence({self.mean:.3g} nats, same top token {self.same_top:.1%}, "
            f"perplexity x {ratio:.4f} ± {error:.2g})"
        )


def divergence(
    original: str | os.PathLike[str] | Any,
    compressed: str | os.PathLike[str] | Any,
    text: str | Tokens,
    context: int | None = None,
    stride: int | None = None,
    *,
    tokenizer: Any = None,
    device: str | None = None,
    progress: bool = False,
) -> Divergence:
    """How far a compressed language model's predictions are from its original's.

    The perplexity can stay the same while predictions change. The Kullback-Leibler divergence
    cannot: it is zero only for equal predictions. A short text is enough to compare formats by it.

    Parameters
    ----------
    original, compressed
        Two models, each as for :func:`perplexity`.
    text, context, stride, tokenizer, device, progress
        As for :func:`perplexity`. The original's tokenizer splits the text for both models.

    Returns
    -------
    Divergence
        Σ p·ln(p/q) over the vocabulary at each token, p the original's and q the compressed model's
        probabilities, and both perplexities.

    Raises
    ------
    InvalidArgumentError
        The models have different vocabularies; or as :func:`perplexity`.

    Notes
    -----
    Both models are in memory, and each runs once. The measure is the one that llama.cpp's
    ``perplexity --kl-divergence`` reports.

    Examples
    --------
    >>> import torch, transformers
    >>> from hypercomp_rs.evaluate import divergence
    >>> config = transformers.LlamaConfig(
    ...     vocab_size=100, hidden_size=32, intermediate_size=64, num_hidden_layers=1,
    ...     num_attention_heads=2, max_position_embeddings=64)
    >>> model = transformers.LlamaForCausalLM(config)
    >>> divergence(model, model, torch.arange(100))
    Divergence(0 nats, same top token 100.0%, perplexity x 1.0000 ± 0)
    """
    first = requested(original, text, tokenizer, context, stride, device)
    second = requested(compressed, first.tokens, None, first.context, first.stride, device)
    one, other = first.reading(), second.reading()
    losses: tuple[list[Any], list[Any]] = ([], [])
    divergences: list[Any] = []
    same: list[Any] = []
    with evaluating(one.model, other.model):
        one.check_causal()
        other.check_causal()
        for window in followed(one, progress):
            p, q = _both(one, other, window)
            targets = one.targets(window)
            for kept, distribution in zip(losses, (p, q), strict=True):
                kept.append(-distribution.gather(1, targets).squeeze(1))
            # Rounding may give a tiny negative number.
            divergences.append((p.exp() * (p - q)).sum(dim=1).clamp(min=0))
            same.append(p.argmax(dim=1) == q.argmax(dim=1))
    return Divergence(
        scored(one, losses[0]),
        scored(one, losses[1]),
        scored(one, divergences).losses,
        float(scored(one, same).losses.mean()),
    )


def _both(one: Reading, other: Reading, window: Any) -> tuple[Any, Any]:
    p = one.log_probabilities(window)
    q = other.log_probabilities(window).to(p.device)
    if p.shape != q.shape:
        raise InvalidArgumentError(
            f"the models have vocabularies of {p.shape[1]} and {q.shape[1]} tokens: "
            "two models with the same vocabulary are accepted"
        )
    return p, q
