"""Draws ``docs/rate-distortion.svg``: what every format makes of the same real weights.

Ours at every half bit; NF4 by bitsandbytes; round-to-nearest integers in groups of 64 with a
float16 scale; GGUF's Q4_0, Q5_0 and Q8_0 (blocks of 32), and a grid like its Q4_K (blocks of 32 in
super-blocks of 256, with scales and minima of six bits), each from its description. The line at 0
is the rate-distortion bound of a Gaussian source, 6.02 dB a bit. (Rows of unequal size can be a
little above it, by a code that gives the larger ones more bits.)

``python benches/plot_rate_distortion.py`` from the root of the checkout; needs the extra [plot].
"""

from pathlib import Path

import matplotlib

matplotlib.use("svg")
import codec as bench
import matplotlib.pyplot as plt
import numpy as np
import torch

import hypercomp_rs as hc

OUT = Path(__file__).parents[1] / "docs/rate-distortion.svg"


def sqnr_db(w, decoded):
    return 10 * np.log10(np.square(w).sum() / np.square(w - decoded).sum())


def rounded(w, bits, group):
    """Symmetric integers, a float16 scale a group."""
    blocks = w.reshape(-1, group)
    top = 2 ** (bits - 1) - 1
    scale = (np.abs(blocks).max(1, keepdims=True) / top).astype(np.float16).astype(float)
    decoded = scale * np.clip(np.round(blocks / scale), -top - 1, top)
    return bits + 16 / group, sqnr_db(blocks, decoded)


def gguf_0(w, bits):
    """Q4_0, Q5_0, Q8_0: the weight of largest magnitude is a code of its own."""
    blocks = w.reshape(-1, 32)
    largest = np.take_along_axis(blocks, np.abs(blocks).argmax(1)[:, None], 1)
    half = 2 ** (bits - 1)
    scale = (largest / (-half if bits < 8 else 127)).astype(np.float16).astype(float)
    low, high = (-half, half - 1) if bits < 8 else (-127, 127)
    decoded = scale * np.clip(np.round(blocks / scale), low, high)
    return bits + 16 / 32, sqnr_db(blocks, decoded)


def q4_k_like(w):
    """Scale and minimum of six bits for 32 weights, two float16 for 256; the scale is searched."""
    blocks = w.reshape(-1, 8, 32)
    low = np.minimum(blocks.min(2, keepdims=True), 0)
    best, least = None, np.inf
    for shrink in np.linspace(0.8, 1.05, 11):
        scale = shrink * (blocks.max(2, keepdims=True) - low) / 15
        d = (scale.max(1, keepdims=True) / 63).astype(np.float16).astype(float)
        m = (-low.min(1, keepdims=True) / 63).astype(np.float16).astype(float)
        scale_q = d * np.round(scale / d)
        low_q = -m * np.round(-shrink * low / m)
        code = np.clip(np.round((blocks - low_q) / np.maximum(scale_q, 1e-12)), 0, 15)
        decoded = scale_q * code + low_q
        error = np.square(blocks - decoded).sum(2, keepdims=True)
        if best is None:
            best, least = decoded, error
        else:
            best = np.where(error < least, decoded, best)
            least = np.minimum(error, least)
    return 4 + (2 * 6) / 32 + 32 / 256, sqnr_db(blocks, best)


def main() -> None:
    layers = [w for w in bench.linear_layers().values() if w.shape[1] == 384]
    w = np.concatenate(layers)[:4096]
    double = w.astype(float)
    figure, axes = plt.subplots(figsize=(7, 4.6))
    rates = np.arange(1, 8.25, 0.5)
    for effort, style in (("balanced", "o-"), ("high", ".--")):
        codes = [hc.compress_tensor(w, bits=float(b), effort=effort) for b in rates]
        x = [c.bits_per_weight for c in codes]
        y = [c.sqnr_db - bench.DB_A_BIT * c.bits_per_weight for c in codes]
        axes.plot(x, y, style, label=f"hypercomp-rs, {effort}", zorder=3)
    axes.axhline(0, color="k", lw=0.8, label="bound of a Gaussian source")
    points = {"NF4": bench.nf4(torch.from_numpy(w))}
    points |= {f"int{b} g64": rounded(double, b, 64) for b in (3, 4, 8)}
    points |= {f"Q{b}_0": gguf_0(double, b) for b in (4, 5, 8)}
    points["Q4_K-like"] = q4_k_like(double)
    for name, (bits, db) in points.items():
        above = db - bench.DB_A_BIT * bits
        axes.plot(bits, above, "s", color="0.35", ms=5)
        axes.annotate(name, (bits, above), (6, -3), textcoords="offset points", fontsize=8)
        print(f"{name:10} {bits:.3f} bits {db:.2f} dB, {-above:.2f} dB to the bound")
    axes.set(xlabel="bits a weight, all overhead", ylabel="SQNR - 6.02 dB a bit", xlim=(0.8, 9.2))
    axes.set_title("linear layers of all-MiniLM-L6-v2, 384 columns", fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left", fontsize=8)
    figure.tight_layout()
    plt.rcParams["svg.hashsalt"] = "hypercomp-rs"
    figure.savefig(OUT, metadata={"Date": None})


if __name__ == "__main__":
    main()
