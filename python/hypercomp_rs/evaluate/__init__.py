"""Does the model still work? What compression does to what a model computes.

* :func:`perplexity` of a causal language model on a text, in strided sliding windows.
* :func:`divergence` of a compressed language model from its original: both perplexities, the
  Kullback-Leibler divergence of their predictions, and how often they predict the same token.
* :func:`embedding_similarity` of two encoders: the cosine of each sentence's two embeddings, and
  whether they rank all pairs of sentences alike.

A model is a path - a folder as transformers and sentence-transformers read it, a compressed folder,
a GGUF file - or an object in memory. Nothing is ever downloaded, and no code of a folder is run.
Everything here needs the extra ``hypercomp-rs[eval]``; it is imported when it is first called.
"""

from .divergence import Divergence, divergence
from .perplexity import Perplexity, perplexity
from .similarity import EmbeddingSimilarity, embedding_similarity

__all__ = [
    "Divergence",
    "EmbeddingSimilarity",
    "Perplexity",
    "divergence",
    "embedding_similarity",
    "perplexity",
]
