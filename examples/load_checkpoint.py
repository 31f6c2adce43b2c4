"""A folder of a transformers model made small on disk, and loaded without ever being dense."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pathlib
import tempfile

import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from hypercomp_rs.checkpoint import compress_checkpoint
from hypercomp_rs.torch.transformers import HypercompConfig


def main() -> None:
    """Compress a folder, load it; compress while loading; both are the same model."""
    place = pathlib.Path(tempfile.mkdtemp())
    config = LlamaConfig(
        vocab_size=1000,
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=8,
        max_position_embeddings=128,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(place / "dense")

    # What `hypercomp-rs compress dense small --bits 5` does.
    compress_checkpoint(place / "dense", place / "small", bits=5)
    model = AutoModelForCausalLM.from_pretrained(place / "small")

    same = AutoModelForCausalLM.from_pretrained(
        place / "dense", quantization_config=HypercompConfig(bits=5)
    )
    ids = torch.arange(10)[None]
    with torch.no_grad():
        assert torch.equal(model(ids).logits, same(ids).logits)
    sizes = [(place / name / "model.safetensors").stat().st_size for name in ("dense", "small")]
    print(f"{sizes[0] / 1e6:.2f} MB of bfloat16 in {sizes[1] / 1e6:.2f} MB")
    print(model.model.layers[0].mlp.down_proj)


if __name__ == "__main__":
    main()
