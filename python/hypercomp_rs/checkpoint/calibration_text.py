"""What a model on disk is calibrated with: a text, and how much memory that may take."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._integers import checked
from ..errors import DtypeError

# As many tokens as calibration usually takes; see docs/howto/calibrate.md.
SAMPLES, CONTEXT = 128, 512


@dataclass(frozen=True)
class CalibrationText:
    """A text that a model is calibrated with while it is compressed block by block.

    Parameters
    ----------
    text
        The path of a text in UTF-8, which the model's own tokenizer reads. Or the samples
        themselves: sequences of tokens, for a model without a tokenizer.
    samples
        Number of samples. A causal language model gets windows of `context` tokens, which are
        spread evenly over the text. Any other model gets lines of the text. For samples that are
        given as tokens: all of them.
    context
        Number of tokens of a sample, or the most of a line.
    memory
        Bytes that calibration may use in all: one block of the model, the hidden states of the
        samples, second moments and searches. By default half of the machine's memory. Hidden states
        that do not fit are kept in a file beside the result.
    device
        The device of torch that runs the blocks, such as "cuda". The codes are searched on the CPU.

    Raises
    ------
    InvalidArgumentError, DtypeError
        A number that is not accepted, or a text that is neither a path nor samples.

    Examples
    --------
    >>> from hypercomp_rs.checkpoint import CalibrationText
    >>> CalibrationText("wiki.txt", samples=64).context
    512
    """

    text: str | os.PathLike[str] | Sequence[Sequence[int]]
    samples: int = SAMPLES
    context: int = CONTEXT
    memory: int | None = None
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name, most in (("samples", 1 << 24), ("context", 1 << 24)):
            object.__setattr__(self, name, checked(name, getattr(self, name), 1, most))
        if self.memory is not None:
            object.__setattr__(self, "memory", checked("memory", self.memory, 1, 2**63 - 1))

    @property
    def path(self) -> Path | None:
        """The path of the text; None if samples were given."""
        if isinstance(self.text, (str, os.PathLike)):
            return Path(self.text)
        return None

    @classmethod
    def of(cls, given: Any) -> CalibrationText:
        """What a caller gave: an object of this class, a path, or samples."""
        if isinstance(given, cls):
            return given
        if isinstance(given, (str, os.PathLike)) or (
            isinstance(given, Sequence) and not isinstance(given, bytes)
        ):
            return cls(given)
        raise DtypeError(
            f"calibration is a {type(given).__name__}: the path of a text, a list of samples, each "
            "a list of tokens, or a CalibrationText is accepted"
        )


def half_of_memory() -> int:
    """Half of the machine's memory in bytes; 4 GiB where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, OSError, ValueError):
        return 4 << 30
