"""Small models of transformers that are calibrated block by block."""

import numpy as np
import torch
import transformers

from hypercomp_rs import Checkpoint

SHAPE = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "vocab_size": 100,
    "max_position_embeddings": 48,
}
GROUPED = SHAPE | {"num_key_value_heads": 2}
MODELS = {
    "Llama": lambda n: transformers.LlamaForCausalLM(
        transformers.LlamaConfig(num_hidden_layers=n, **GROUPED)
    ),
    "Qwen2": lambda n: transformers.Qwen2ForCausalLM(
        transformers.Qwen2Config(num_hidden_layers=n, tie_word_embeddings=True, **GROUPED)
    ),
    "Qwen3": lambda n: transformers.Qwen3ForCausalLM(
        transformers.Qwen3Config(num_hidden_layers=n, head_dim=16, **GROUPED)
    ),
    "GPT-2": lambda n: transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            n_embd=64, n_layer=n, n_head=4, vocab_size=100, n_positions=48, n_inner=128
        )
    ),
    "OPT": lambda n: transformers.OPTForCausalLM(
        transformers.OPTConfig(
            hidden_size=64,
            ffn_dim=128,
            num_hidden_layers=n,
            num_attention_heads=4,
            vocab_size=100,
            max_position_embeddings=48,
        )
    ),
    "BERT": lambda n: transformers.BertModel(
        transformers.BertConfig(num_hidden_layers=n, **SHAPE), add_pooling_layer=False
    ),
}


def made(name, blocks=2, seed=0):
    torch.manual_seed(seed)
    return MODELS[name](blocks).eval()


def tokens(samples=10, length=40, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(3, 100, (samples, length), generator=generator).tolist()


def saved(model, folder, dtype=None):
    (model if dtype is None else model.to(dtype)).save_pretrained(folder)
    return folder


def weights_of(folder):
    """The weights of a compressed model, in float32."""
    with Checkpoint.open(folder) as small:
        return {
            name: np.asarray(small[name].decompress(np.float32))
            for name in small
            if name in small.source.compressed
        }
