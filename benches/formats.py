"""Formats of compressed weights, each a function from a matrix to what it decodes to and its size.

Sizes are of all that has to be kept: codes, scales, offsets. All but ours want whole groups a row,
and are given nothing else here.
"""

import copy
import functools
import logging

import gguf
import numpy as np
import torch

import hypercomp_rs as hc

# On import it warns of a kernel that only matrix products would need.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
from bitsandbytes import functional as bnb  # noqa: E402


def ours(w, **options):
    """Our codes, at a rate that counts everything."""
    c = hc.compress_tensor(w, **options)
    return c.decompress(), c.nbytes


def nf4(w):
    """Bitsandbytes' NF4 in blocks of 64 with doubly quantised scales."""
    packed, state = bnb.quantize_4bit(
        torch.from_numpy(w), quant_type="nf4", compress_statistics=True
    )
    kept = (packed, state.absmax, state.state2.absmax, state.offset)
    return bnb.dequantize_4bit(packed, state).numpy(), sum(t.nbytes for t in kept)


def int4(w, group=64):
    """Round to nearest in groups of 64 with a least value and a step in float16: 4.5 bits."""
    groups = w.reshape(-1, group)
    least = groups.min(axis=1, keepdims=True).astype(np.float16)
    step = ((groups.max(axis=1, keepdims=True) - least) / 15).astype(np.float16)
    divisor = np.where(step == 0, 1, step.astype(np.float32))
    codes = ((groups - least) / divisor).round().clip(0, 15)
    decoded = (codes * step.astype(np.float32) + least.astype(np.float32)).reshape(w.shape)
    return decoded, w.size // 2 + least.nbytes + step.nbytes


def q4_0(w):
    """llama.cpp's Q4_0 by the package gguf: blocks of 32 with a scale in float16, 4.5 bits."""
    kind = gguf.GGMLQuantizationType.Q4_0
    coded = gguf.quantize(w, kind)
    return gguf.dequantize(coded, kind), coded.nbytes


def at(bits, effort="balanced"):
    """Ours at a rate."""
    return functools.partial(ours, bits=bits, effort=effort)


def applied(model, layout):
    """A copy of a module whose linear layers and embeddings have been through a format.

    Gives the copy, the bits a weight of those matrices, and their SQNR in dB.
    """
    changed = copy.deepcopy(model)
    done, size, nbytes, signal, noise = set(), 0, 0, 0.0, 0.0
    for module in changed.modules():
        if not isinstance(module, torch.nn.Linear | torch.nn.Embedding):
            continue
        # An embedding that is also the last layer is stored once.
        if id(module.weight) in done:
            continue
        done.add(id(module.weight))
        w = np.ascontiguousarray(module.weight.detach().numpy())
        decoded, took = layout(w)
        size, nbytes = size + w.size, nbytes + took
        signal += np.square(w, dtype=np.float64).sum()
        noise += np.square(w - decoded, dtype=np.float64).sum()
        with torch.no_grad():
            module.weight.copy_(torch.from_numpy(np.ascontiguousarray(decoded)))
    return changed, 8 * nbytes / size, 10 * np.log10(signal / noise)
