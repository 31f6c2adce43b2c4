"""Tables of tokens and of positions are known by class and by name, in any architecture."""

import pytest
import torch
import transformers
from torch import nn

import hypercomp_rs as hc
import hypercomp_rs.torch as hct
from hypercomp_rs.checkpoint.rules import table_by_name

# Every table has 4096 weights or more.
VOCABULARY, POSITIONS, WIDTH = 320, 288, 16
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": WIDTH,
    "d_model": WIDTH,
    "n_embd": WIDTH,
    "num_hidden_layers": 1,
    "num_layers": 1,
    "n_layer": 1,
    "num_attention_heads": 2,
    "num_heads": 2,
    "n_head": 2,
    "intermediate_size": 32,
    "max_position_embeddings": POSITIONS,
    "n_positions": POSITIONS,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
VISION = {"image_size": 34, "patch_size": 2, "hidden_size": WIDTH, "num_hidden_layers": 1}

# For each architecture its class, settings of its own, and its tables as the state dict has them.
ARCHITECTURES = {
    "gpt2": ("GPT2LMHeadModel", {}, ["transformer.wte"], ["transformer.wpe"]),
    "gpt2 alone": ("GPT2Model", {}, ["wte"], ["wpe"]),
    "gpt_neox": ("GPTNeoXForCausalLM", {}, ["gpt_neox.embed_in"], []),
    "t5": ("T5ForConditionalGeneration", {"d_kv": 8, "d_ff": 32}, ["shared"], []),
    "llama": ("LlamaForCausalLM", {"tie_word_embeddings": True}, ["model.embed_tokens"], []),
    "mamba": ("MambaForCausalLM", {"state_size": 4}, ["backbone.embeddings"], []),
    "bloom": ("BloomForCausalLM", {}, ["transformer.word_embeddings"], []),
    "mpt": ("MptForCausalLM", {"n_layers": 1, "n_heads": 2}, ["transformer.wte"], []),
    "openai": (
        "OpenAIGPTLMHeadModel",
        {},
        ["transformer.tokens_embed"],
        ["transformer.positions_embed"],
    ),
    "ctrl": ("CTRLLMHeadModel", {"n_embd": WIDTH, "dff": 32}, ["transformer.w"], []),
    "xlnet": ("XLNetLMHeadModel", {"d_inner": 32}, ["transformer.word_embedding"], []),
    "xlm": (
        "XLMWithLMHeadModel",
        {"emb_dim": WIDTH, "n_words": VOCABULARY, "n_layers": 1, "n_heads": 2, "n_langs": 1},
        ["transformer.embeddings"],
        ["transformer.position_embeddings"],
    ),
    "roberta": (
        "RobertaForMaskedLM",
        {},
        ["roberta.embeddings.word_embeddings"],
        ["roberta.embeddings.position_embeddings"],
    ),
    "clip": (
        "CLIPModel",
        {"text_config": SIZES, "vision_config": {**SIZES, **VISION}, "projection_dim": 8},
        ["text_model.embeddings.token_embedding"],
        [
            "text_model.embeddings.position_embedding",
            "vision_model.embeddings.position_embedding",
        ],
    ),
    "codegen": ("CodeGenForCausalLM", {"rotary_dim": 8, "n_head": 4}, ["transformer.wte"], []),
}


def model(architecture):
    name, more, tokens, positions = ARCHITECTURES[architecture]
    kind = getattr(transformers, name)
    # XLNet has no limit, and refuses one.
    limited = architecture != "xlnet"
    sizes = {k: v for k, v in SIZES.items() if limited or "position" not in k}
    torch.manual_seed(0)
    config = kind.config_class(**more if "text_config" in more else {**sizes, **more})
    made = kind(config)
    return made, {f"{name}.weight" for name in tokens}, {f"{name}.weight" for name in positions}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_tables_are_known_by_class_and_by_name(architecture, tmp_path):
    made, tokens, positions = model(architecture)
    truth = {
        f"{name}.weight"
        for name, module in made.named_modules()
        if isinstance(module, nn.Embedding) and module.weight.numel() >= 4096
    }
    state = made.state_dict()
    pointers = {state[name].data_ptr() for name in tokens | positions}
    assert {state[name].data_ptr() for name in truth} == pointers
    made.save_pretrained(tmp_path / "dense")
    options = {"bits": 4, "effort": "fast"}
    with hc.compress_checkpoint(
        tmp_path / "dense", tmp_path / "kept", embeddings="keep", **options
    ) as kept:
        stored = {name for name in truth if name in kept}
        assert stored
        assert all(kept.info(name).codec is None for name in stored)
    with hc.compress_checkpoint(tmp_path / "dense", tmp_path / "small", **options) as small:
        compressed = {t.name for t in small.tensors if t.codec is not None}
        assert compressed & truth == stored - positions
    report = hct.compress_model(made, embeddings="keep", progress=False, **options)
    assert not {layer.name for layer in report.layers} & truth
    for name in truth:
        module = made.get_submodule(name.removesuffix(".weight"))
        assert not isinstance(module, hct.CompressedEmbedding)
    made, tokens, positions = model(architecture)
    report = hct.compress_model(made, progress=False, **options)
    assert {layer.name for layer in report.layers} & truth == tokens
    assert {skipped.name for skipped in report.skipped} >= positions


def test_names_say_what_is_a_table_and_what_is_none():
    for name in (
        "model.embed_tokens",
        "model.embed_tokens_per_layer",
        "decoder.embed_tokens.0",
        "encoder.embed_tokens",
        "model.tok_embeddings",
        "text_model.token_embedding",
        "tok_emb",
        "lm.embedding",
        "model.shared",
        "token_embd",
        "per_layer_token_embd",
        "semantic.input_embeds_layer",
        "blocks.emb",
        "token_emb.emb",
        "luke.entity_embeddings",
        "char_embeddings.HashBucketCodepointEmbedder_3",
    ):
        assert table_by_name(f"{name}.weight") == "tokens", name
    for name in (
        "wpe.weight",
        "h.wpe.weight",
        "positional_embedding",
        "visual.positional_embedding",
        "vision_model.embeddings.position_embedding.weight",
        "model.decoder.embed_positions.weight",
        "vit.embeddings.position_embeddings",
        "pos_embed",
        "position_embd.weight",
        "block.0.layer.0.SelfAttention.relative_attention_bias.weight",
        "blocks.2.attn.rel_pos_h",
        "attention.self.distance_embedding.weight",
        "pos_emb.emb.weight",
        "enc.blk.0.attn_rel_b.weight",
    ):
        assert table_by_name(name) == "positions", name
    for name in (
        "embeddings.token_type_embeddings",
        "token_types",
        "vision_model.embeddings.patch_embedding",
        "embeddings.patch_embeddings.projection",
        "visual.patch_embed.proj",
        "embed_out",
        "lm_head",
        "mlp.shared_expert.gate_proj",
        "encoder.pos_conv_embed.conv",
        "layers.0.self_attn.linear_pos",
        "layers.0.mlp.gate_proj",
        "class_embed.0",
        "vision_embed_tokens",
        "embed_tokens_extend.image_embed.encoder.fc1",
        "attn.relative_position_embedding.pos_proj",
        "unembedding",
    ):
        assert table_by_name(f"{name}.weight") is None, name


def test_other_tables_of_a_model_without_configuration():
    net = nn.ModuleDict(
        {
            "table": nn.Embedding(300, 16),
            "pos": nn.Embedding(300, 16),
            "layer": nn.Linear(64, 64),
            "embedding": nn.Linear(64, 64),
        }
    )
    report = hct.compress_model(net, bits=4, embeddings="keep", progress=False)
    # A layer is no table, whatever its name.
    assert [layer.name for layer in report.layers] == ["layer.weight", "embedding.weight"]
    assert {(skipped.name, skipped.why) for skipped in report.skipped} == {
        ("table.weight", "embeddings are kept"),
        ("pos.weight", "kept by default: a table of positions"),
    }


def test_a_length_that_only_positions_have_tells_them():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.config = {"vocab_size": 320, "max_position_embeddings": 288}
            self.first, self.second = nn.Embedding(320, 16), nn.Embedding(288, 16)

    report = hct.compress_model(Net(), bits=4, progress=False)
    assert [layer.name for layer in report.layers] == ["first.weight"]


def test_routers_are_kept_and_projections_are_not(tmp_path):
    names = {
        "model.layers.0.mlp.gate": True,
        "blk.0.ffn_gate_inp": True,
        "transformer.blocks.0.ffn.router.layer": True,
        "blk.0.ssm_conv1d": True,
        "model.layers.0.mlp.gate_proj": False,
        "blk.0.ffn_gate": False,
        "blk.0.ffn_gate_exps": False,
        "embed_out": False,
    }
    torch.manual_seed(0)
    torch.save({f"{name}.weight": torch.randn(64, 64) for name in names}, tmp_path / "m.pt")
    with hc.compress_checkpoint(tmp_path / "m.pt", tmp_path / "small", embeddings="keep") as small:
        kept = {name: small.info(f"{name}.weight").codec is None for name in names}
    assert kept == names
