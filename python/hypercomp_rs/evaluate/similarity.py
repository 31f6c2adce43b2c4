"""``embedding_similarity``: compares the sentence embeddings of two encoders."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .._extras import imported
from .._integers import checked
from ..errors import DtypeError, InvalidArgumentError, NonFiniteError, TooLargeError
from . import models

if TYPE_CHECKING:
    import numpy.typing as npt

# All pairs of sentences are held in memory: for this number they take 4 GB.
_MOST_SENTENCES = 16_384


@dataclass(frozen=True, eq=False)
class EmbeddingSimilarity:
    """How similar the embeddings of a compressed encoder are to those of the original.

    Attributes
    ----------
    cosines
        Cosine of each sentence's two embeddings, float64, shape (sentences,).
    rank_agreement
        Spearman's rank correlation between the two encoders' cosines of all pairs of sentences.
        Search and clustering depend on the order of these cosines.
    """

    cosines: npt.NDArray[np.float64]
    rank_agreement: float

    @property
    def sentences(self) -> int:
        """Number of sentences."""
        return len(self.cosines)

    @property
    def mean_cosine(self) -> float:
        """Mean of the cosines."""
        return float(self.cosines.mean())

    @property
    def min_cosine(self) -> float:
        """The lowest cosine of any sentence."""
        return float(self.cosines.min())

    def __repr__(self) -> str:
        return (
            f"EmbeddingSimilarity(cosine {self.mean_cosine:.4f} mean, {self.min_cosine:.4f} least, "
            f"rank agreement {self.rank_agreement:.4f}, sentences={self.sentences})"
        )


def embedding_similarity(
    original: str | os.PathLike[str] | Any,
    compressed: str | os.PathLike[str] | Any,
    sentences: Sequence[str],
    *,
    batch: int = 32,
    device: str | None = None,
) -> EmbeddingSimilarity:
    """Compare the sentence embeddings of an encoder and of its compressed form.

    Parameters
    ----------
    original, compressed
        Two encoders. Each is a path: a folder of sentence-transformers or transformers (whose
        embeddings of tokens are averaged), or a compressed folder. Or an object with a method
        ``encode``, such as a SentenceTransformer, which returns embeddings of shape (n, d) for a
        list of str. Or embeddings that were computed before, a numpy array of shape (n, d).
    sentences
        3 to 16,384 sentences.
    batch
        Number of sentences that an encoder given as a path embeds at a time.
    device
        The device of an encoder that is given as a path; by default the CPU.

    Returns
    -------
    EmbeddingSimilarity

    Raises
    ------
    InvalidArgumentError
        Fewer sentences than three; a device that is not there; a path that holds no encoder, or not
        all of its weights; embeddings of another number or size, or of length 0.
    NonFiniteError
        An embedding is not finite.
    DtypeError
        `sentences` is no sequence of str; an encoder is none of the above.
    TooLargeError
        More than 16,384 sentences.
    MissingExtraError
        sentence-transformers or scipy is not installed.

    Notes
    -----
    Time and memory O(n²) for the pairs beside what the encoders take.

    Examples
    --------
    >>> import numpy as np
    >>> from hypercomp_rs.evaluate import embedding_similarity
    >>> one = np.array([[1, 0, 0], [0.9, 0.4, 0], [0, 0.3, 1]])
    >>> embedding_similarity(one, (10 * one).round() + [0, 1, 0], ["a", "b", "c"])
    EmbeddingSimilarity(cosine 0.9957 mean, 0.9950 least, rank agreement 1.0000, sentences=3)
    """
    if isinstance(sentences, str) or not all(isinstance(s, str) for s in sentences):
        raise DtypeError("sentences: a sequence of str is accepted")
    sentences = list(sentences)
    if len(sentences) < 3:
        raise InvalidArgumentError(f"{len(sentences)} sentences: ranks of pairs take 3 at least")
    if len(sentences) > _MOST_SENTENCES:
        raise TooLargeError(f"{len(sentences)} sentences: {_MOST_SENTENCES} are accepted")
    batch = checked("batch", batch, 1, 1 << 31)
    original, compressed = (
        os.fsdecode(given) if models.is_path(given) else given for given in (original, compressed)
    )
    paths = [given for given in (original, compressed) if isinstance(given, str)]
    if paths:
        device = models.checked_device(device)
        for path in paths:
            models.check_encoder(path)
    elif device is not None:
        raise InvalidArgumentError(
            "device: for encoders given as a path; others lie where they are"
        )
    imported("scipy.stats", "eval", "embedding_similarity")
    one, other = (
        _unit(_embeddings(name, encoder, sentences, batch, device), name, len(sentences))
        for name, encoder in (("original", original), ("compressed", compressed))
    )
    if one.shape != other.shape:
        raise InvalidArgumentError(
            f"embeddings have {one.shape[1]} and {other.shape[1]} entries: the same are accepted"
        )
    return EmbeddingSimilarity(np.einsum("ij,ij->i", one, other), _rank_agreement(one, other))


def _embeddings(
    name: str, encoder: Any, sentences: list[str], batch: int, device: str | None
) -> npt.NDArray[Any]:
    if isinstance(encoder, np.ndarray):
        return encoder
    options: dict[str, Any] = {}
    if isinstance(encoder, str):
        encoder = models.encoder(encoder, device or "cpu")
        options = {"batch_size": batch, "show_progress_bar": False}
    if not hasattr(encoder, "encode"):
        raise DtypeError(
            f"{name} is a {type(encoder).__name__}: a path, an encoder with a method encode, "
            "or its embeddings are accepted"
        )
    found = encoder.encode(sentences, **options)
    # A tensor of a GPU must be brought here first.
    return np.asarray(found.detach().cpu() if hasattr(found, "detach") else found)


def _unit(e: npt.NDArray[Any], name: str, count: int) -> npt.NDArray[np.float64]:
    """Embeddings of length 1, so that products are cosines."""
    if e.ndim != 2 or e.shape[0] != count:
        raise InvalidArgumentError(
            f"{name} has embeddings of shape {e.shape}: one row for each of {count} sentences is "
            "accepted"
        )
    e = e.astype(np.float64)
    if not np.isfinite(e).all():
        row = int(np.argmin(np.isfinite(e).all(axis=1)))
        raise NonFiniteError(f"{name}: the embedding of sentence {row} is not finite")
    lengths = np.linalg.norm(e, axis=1, keepdims=True)
    if not lengths.all():
        raise InvalidArgumentError(
            f"{name}: the embedding of sentence {int(np.argmin(lengths))} is zero: it has no cosine"
        )
    unit: npt.NDArray[np.float64] = e / lengths
    return unit


def _rank_agreement(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float:
    stats = imported("scipy.stats", "eval", "embedding_similarity")
    pairs = np.triu_indices(len(one), 1)
    # Equal cosines have equal ranks. If all are equal, the correlation is not defined.
    ranks = [stats.rankdata((e @ e.T)[pairs]) for e in (one, other)]
    if any(np.ptp(r) == 0 for r in ranks):
        return float("nan")
    return float(np.corrcoef(*ranks)[0, 1])
