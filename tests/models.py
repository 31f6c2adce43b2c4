"""Small models on disk, for the tests of checkpoints."""

import hashlib
import json

import numpy as np
from safetensors.numpy import save_file

SHARDS = 3


def tensors(seed=0):
    """A model with everything that is treated in its own way, by name and shard."""
    rng = np.random.default_rng(seed)

    def normal(*shape, dtype=np.float32):
        return (rng.standard_normal(shape) * 0.05).astype(dtype)

    yield 0, "model.embed_tokens.weight", normal(300, 64, dtype=np.float16)
    yield 0, "model.position_ids", np.arange(300)
    yield 0, "model.position_embeddings.weight", normal(100, 64)
    for layer in range(3):
        name = f"model.layers.{layer}"
        yield 1, f"{name}.attn.q.weight", normal(64, 64)
        yield 1, f"{name}.attn.q.bias", normal(64)
        yield 1 + layer % 2, f"{name}.mlp.up.weight", normal(160, 64) * (layer + 1)
        yield 2, f"{name}.mlp.conv.weight", normal(32, 16, 3, 3)
        yield 2, f"{name}.norm.weight", normal(64)
    yield 2, "model.empty.weight", normal(0, 64)
    yield 2, "model.zeros.weight", np.zeros((80, 64), np.float32)
    yield 2, "lm_head.weight", normal(300, 64, dtype=np.float64)


def save_model(folder, seed=0):
    """The model in shards, with an index, a configuration and a tokenizer in a folder below."""
    folder.mkdir(parents=True)
    shards = [{} for _ in range(SHARDS)]
    for shard, name, w in tensors(seed):
        shards[shard][name] = w
    weight_map, total = {}, 0
    for number, shard in enumerate(shards, 1):
        name = f"model-{number:05d}-of-{SHARDS:05d}.safetensors"
        save_file(shard, folder / name, {"format": "pt"})
        weight_map |= dict.fromkeys(shard, name)
        total += sum(w.nbytes for w in shard.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text(json.dumps({"model_type": "test", "name": "Größe"}))
    (folder / "tokenizer").mkdir()
    (folder / "tokenizer" / "vocab.txt").write_bytes(b"a\nb\r\nc")
    (folder / "pytorch_model.bin").write_bytes(b"the same again")
    return folder


def digests(folder):
    """The files beneath a folder, by place and by what is in them."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }
