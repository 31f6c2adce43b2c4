"""A language model freed of the grid that its weights were quantised to, with the same predictions.

The package that ships SmolLM2 has its weights in 4-bit and 8-bit groups. A format that shares these
groups would lose nothing, which says nothing of the format. A transformer has symmetries, under
which its predictions stay as they are and its weights do not:

* The hidden channels of the feed-forward part can be permuted. Those of its linear branch can be
  scaled: up_proj by a factor, down_proj by the inverse.
* The values of an attention head can be rotated, if the columns of o_proj that read them are, too.
  Heads that share their values share the rotation.
* The residual channels can be rotated, once the gains of the RMS norms are folded into the layers
  that read them. Channels are rotated in pairs by random angles: outliers stay in few channels, as
  they are in the original.

The embedding is rotated with the residual channels. If it is the last layer, too, the last layer
gets weights of its own, for the gain of the last norm is folded into them.
"""

import math

import torch
from torch import nn


@torch.no_grad()
def free(model, seed=0):
    """Free a Llama model of its grid, in place; its predictions change by rounding alone."""
    random = torch.Generator().manual_seed(seed)
    config = model.config
    for layer in model.model.layers:
        hidden_channels(layer.mlp, random)
        values(layer.self_attn, config, random)
    residual_channels(model, random)
    return model


def hidden_channels(mlp, random):
    """Permute and scale the channels between gate_up and down."""
    count = mlp.down_proj.in_features
    order = torch.randperm(count, generator=random)
    # Factors of a quarter of an octave either way.
    factors = torch.exp2(torch.rand(count, generator=random) / 2 - 0.25)
    mlp.gate_proj.weight.copy_(mlp.gate_proj.weight[order])
    mlp.up_proj.weight.copy_(mlp.up_proj.weight[order] * factors[:, None])
    mlp.down_proj.weight.copy_(mlp.down_proj.weight[:, order] / factors)


def values(attention, config, random):
    """Rotate the values of each head."""
    heads, shared = config.num_attention_heads, config.num_key_value_heads
    size = attention.v_proj.out_features // shared
    rotations = [torch.linalg.qr(normal(size, size, random=random))[0] for _ in range(shared)]
    v = attention.v_proj.weight.double().view(shared, size, -1)
    rotated = torch.stack([r.T @ v for r, v in zip(rotations, v, strict=True)])
    attention.v_proj.weight.copy_(rotated.reshape(attention.v_proj.weight.shape))
    o = attention.o_proj.weight.double().view(-1, heads, size)
    for head in range(heads):
        o[:, head] = o[:, head] @ rotations[head // (heads // shared)]
    attention.o_proj.weight.copy_(o.reshape(attention.o_proj.weight.shape))


def residual_channels(model, random):
    """Fold the gains of norms into the layers behind them, and rotate channels in pairs."""
    body = model.model
    if model.config.tie_word_embeddings:
        model.lm_head.weight = nn.Parameter(model.lm_head.weight.clone())
        model.config.tie_word_embeddings = False
    rotation = pairs(body.embed_tokens.embedding_dim, random)
    fold(body.norm, [model.lm_head])
    turn_inputs(model.lm_head, rotation)
    turn_inputs(body.embed_tokens, rotation)
    for layer in body.layers:
        attention, mlp = layer.self_attn, layer.mlp
        readers = [attention.q_proj, attention.k_proj, attention.v_proj]
        fold(layer.input_layernorm, readers)
        fold(layer.post_attention_layernorm, [mlp.gate_proj, mlp.up_proj])
        for reader in (*readers, mlp.gate_proj, mlp.up_proj):
            turn_inputs(reader, rotation)
        for writer in (attention.o_proj, mlp.down_proj):
            writer.weight.copy_(rotation.T @ writer.weight.double())


def fold(norm, readers):
    """Move the gain of a norm into the layers that read it."""
    for reader in readers:
        reader.weight.mul_(norm.weight)
    norm.weight.fill_(1)


def turn_inputs(reader, rotation):
    """Rotate what a layer reads."""
    reader.weight.copy_(reader.weight.double() @ rotation)


def pairs(count, random):
    """A rotation of random pairs of channels by random angles, in float64."""
    order = torch.randperm(count, generator=random)
    angles = 2 * math.pi * torch.rand(count // 2, generator=random, dtype=torch.float64)
    rotation = torch.zeros(count, count, dtype=torch.float64)
    a, b = order[: count // 2], order[count // 2 :][: count // 2]
    rotation[a, a], rotation[a, b] = angles.cos(), -angles.sin()
    rotation[b, a], rotation[b, b] = angles.sin(), angles.cos()
    if count % 2:
        rotation[order[-1], order[-1]] = 1
    return rotation


def normal(*shape, random):
    """Random normal numbers in float64."""
    return torch.randn(shape, generator=random, dtype=torch.float64)
