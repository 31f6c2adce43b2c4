"""GPTQ (arXiv 2210.17323) as its authors' program has it: groups with a scale and a zero point.

Columns in the order of their mean squares ("act order"), groups of the columns as they lie
("static groups"), damping of 0.01.
"""

import math

import torch

GROUP = 128
DAMPING = 0.01
# Columns whose errors are fed back to all later ones together.
BLOCK = 128


def gptq(w, moment, bits):
    """What a matrix of (outputs, inputs) decodes to, and its bytes; `moment` is E[x·xᵀ]."""
    w, h = torch.as_tensor(w).double(), torch.as_tensor(moment).double().clone()
    rows, inputs = w.shape
    dead = h.diagonal() == 0
    h.diagonal()[dead] = 1
    w = torch.where(dead, 0, w)
    h.diagonal().add_(DAMPING * h.diagonal().mean())
    scales, zeros = _grids(w, bits)
    order = h.diagonal().argsort(descending=True)
    w, h = w[:, order].clone(), h[order][:, order]
    inverse = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(h)), upper=True)
    decoded = torch.empty_like(w)
    for start in range(0, inputs, BLOCK):
        stop = min(start + BLOCK, inputs)
        errors = torch.empty(rows, stop - start, dtype=w.dtype)
        for j in range(start, stop):
            group = order[j] // GROUP
            scale, zero = scales[:, group], zeros[:, group]
            code = (w[:, j] / scale + zero).round().clamp(0, 2**bits - 1)
            decoded[:, j] = (code - zero) * scale
            errors[:, j - start] = (w[:, j] - decoded[:, j]) / inverse[j, j]
            w[:, j + 1 : stop] -= errors[:, j - start, None] * inverse[j, j + 1 : stop]
        w[:, stop:] -= errors @ inverse[start:stop, stop:]
    found = torch.empty_like(decoded)
    found[:, order] = decoded
    # A scale of 16 bits and a zero point of as many bits as a code for each group.
    return found.float().numpy(), math.ceil((w.numel() * bits + scales.numel() * (16 + bits)) / 8)


def _grids(w, bits):
    """Scales and zero points, (outputs, groups), from the least and greatest weight of each."""
    parts = w.split(GROUP, dim=1)
    least = torch.stack([part.amin(1) for part in parts], 1).clamp_max(0)
    most = torch.stack([part.amax(1) for part in parts], 1).clamp_min(0)
    scales = ((most - least) / (2**bits - 1)).clamp_min(1e-12).half().double().clamp_min(1e-7)
    return scales, (-least / scales).round()
