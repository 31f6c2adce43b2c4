"""Writes the golden model of the present container format; run once for each, then never again.

``python tests/golden/write_container.py`` from the root of the checkout.
"""

import json
import pathlib
import tempfile

import numpy as np
from safetensors.numpy import save_file

import hypercomp_rs as hc

HERE = pathlib.Path(__file__).parent


def save_source(folder):
    rng = np.random.default_rng(20261125)
    sparse = rng.standard_normal((32, 160)).astype(np.float32)
    sparse[rng.random(sparse.shape) < 0.5] = 0
    shards = {
        "model-00001-of-00002.safetensors": {
            "a.weight": rng.standard_normal((48, 128)).astype(np.float16),
            "a.bias": rng.standard_normal(48).astype(np.float16),
            "ids": np.arange(7),
        },
        "model-00002-of-00002.safetensors": {
            "b.weight": sparse,
            "c.weight": np.zeros((64, 80), np.float32),
        },
    }
    weight_map = {}
    for name, tensors in shards.items():
        save_file(tensors, folder / name, {"format": "pt"})
        weight_map |= dict.fromkeys(tensors, name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    (folder / "config.json").write_text('{"model_type": "golden"}')


def main():
    with tempfile.TemporaryDirectory() as source:
        save_source(pathlib.Path(source))
        with hc.compress_checkpoint(
            source, HERE / "container-1", sparsity="keep", rules=["a=bits:3.5"]
        ) as made:
            decoded = {name: np.asarray(made[name]) for name in made}
    np.savez_compressed(HERE / "container-1.npz", **decoded)


if __name__ == "__main__":
    main()
