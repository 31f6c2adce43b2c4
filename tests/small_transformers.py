"""Small models of many architectures of transformers, and comparisons of loaded models."""

import contextlib
import os
import warnings

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
import transformers

import hypercomp_rs as hc
import hypercomp_rs.torch as hct

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

FAST = {"bits": 7, "effort": "fast", "threads": 1}
TEXT = {
    "vocab_size": 320,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
SEEN = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "image_size": 32,
    "patch_size": 8,
}


def t(name):
    return getattr(transformers, name)


def made(model, config, seed=0):
    torch.manual_seed(seed)
    return t(model)(config).eval()


EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}
MANY = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64}
MOE = {
    "MixtralForCausalLM": lambda: t("MixtralConfig")(**TEXT, **EXPERTS),
    "Qwen3MoeForCausalLM": lambda: t("Qwen3MoeConfig")(**TEXT, **MANY, head_dim=16),
    "OlmoeForCausalLM": lambda: t("OlmoeConfig")(**TEXT, num_experts=4, num_experts_per_tok=2),
    "DeepseekV3ForCausalLM": lambda: t("DeepseekV3Config")(
        **{**TEXT, "num_key_value_heads": 4},
        n_routed_experts=4,
        num_experts_per_tok=2,
        moe_intermediate_size=64,
        n_group=1,
        topk_group=1,
        first_k_dense_replace=1,
        kv_lora_rank=16,
        q_lora_rank=16,
        qk_rope_head_dim=8,
        qk_nope_head_dim=8,
        v_head_dim=16,
    ),
    "JambaForCausalLM": lambda: t("JambaConfig")(
        **TEXT,
        num_experts=4,
        num_experts_per_tok=2,
        expert_layer_period=2,
        expert_layer_offset=1,
        attn_layer_period=2,
        attn_layer_offset=1,
        mamba_d_state=8,
        mamba_dt_rank=8,
        use_mamba_kernels=False,
    ),
    "GraniteMoeForCausalLM": lambda: t("GraniteMoeConfig")(**TEXT, **EXPERTS),
    "Qwen2MoeForCausalLM": lambda: t("Qwen2MoeConfig")(
        **TEXT, **MANY, shared_expert_intermediate_size=64
    ),
}
# Models whose parents initialise, or reset, the weights of their children.
PARENTS = {
    "SiglipVisionModel": lambda: t("SiglipVisionConfig")(**SEEN),
    "SiglipModel": lambda: t("SiglipConfig")(
        text_config={**TEXT, "max_position_embeddings": 64, "projection_size": 64},
        vision_config=SEEN,
    ),
    "ModernBertModel": lambda: t("ModernBertConfig")(
        **{k: v for k, v in TEXT.items() if k != "num_key_value_heads"},
        cls_token_id=1,
        sep_token_id=2,
    ),
    "Gemma3ForConditionalGeneration": lambda: t("Gemma3Config")(
        text_config={**TEXT, "head_dim": 16}, vision_config=SEEN, mm_tokens_per_image=4
    ),
    "PaliGemmaForConditionalGeneration": lambda: t("PaliGemmaConfig")(
        text_config={**TEXT, "head_dim": 16, "model_type": "gemma"},
        vision_config={**SEEN, "model_type": "siglip_vision_model"},
        projection_dim=64,
    ),
    "Wav2Vec2ForPreTraining": lambda: t("Wav2Vec2Config")(
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=1,
        num_attention_heads=4,
        conv_dim=(32, 32),
        conv_stride=(5, 2),
        conv_kernel=(10, 3),
        num_feat_extract_layers=2,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
        codevector_dim=64,
        proj_codevector_dim=64,
    ),
    "T5ForConditionalGeneration": lambda: t("T5Config")(
        vocab_size=320, d_model=64, d_ff=128, num_layers=1, num_heads=4, d_kv=16
    ),
    "CLIPModel": lambda: t("CLIPConfig")(
        text_config={**TEXT, "max_position_embeddings": 64}, vision_config=SEEN, projection_dim=64
    ),
    "DeformableDetrModel": lambda: t("DeformableDetrConfig")(
        d_model=64,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=128,
        decoder_ffn_dim=128,
        num_queries=8,
        use_timm_backbone=False,
        backbone=None,
        use_pretrained_backbone=False,
        backbone_config=t("ResNetConfig")(
            embedding_size=16,
            hidden_sizes=[16, 16, 32, 32],
            depths=[1, 1, 1, 1],
            out_features=["stage2", "stage3", "stage4"],
        ),
    ),
}
# Models whose tensors transformers renames or reshapes, or strips of a prefix.
RENAMED = {
    "Qwen2VLForConditionalGeneration": lambda: t("Qwen2VLConfig")(
        text_config={**TEXT, "rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]}},
        vision_config={
            "depth": 1,
            "embed_dim": 64,
            "num_heads": 4,
            "hidden_size": 64,
            "patch_size": 8,
        },
    ),
    "Qwen2_5_VLForConditionalGeneration": lambda: t("Qwen2_5_VLConfig")(
        text_config={**TEXT, "rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]}},
        vision_config={
            "depth": 1,
            "num_heads": 4,
            "hidden_size": 64,
            "intermediate_size": 128,
            "out_hidden_size": 64,
            "patch_size": 8,
        },
    ),
    "Gemma2ForCausalLM": lambda: t("Gemma2Config")(**TEXT, head_dim=16),
    "FalconForCausalLM": lambda: t("FalconConfig")(
        vocab_size=320, hidden_size=64, num_hidden_layers=1, num_attention_heads=4
    ),
    "LlavaForConditionalGeneration": lambda: t("LlavaConfig")(
        text_config={**TEXT, "model_type": "llama"},
        vision_config={**SEEN, "model_type": "clip_vision_model"},
    ),
    # Whose checkpoints have query, key and value as one.
    "GteModel": lambda: t("GteConfig")(**TEXT),
    "JinaEmbeddingsV3Model": lambda: t("JinaEmbeddingsV3Config")(**TEXT),
}


def quietly():
    """What stays dense is said; it is tested elsewhere."""
    stack = contextlib.ExitStack()
    stack.enter_context(warnings.catch_warnings())
    warnings.simplefilter("ignore", hc.StaysDenseWarning)
    return stack


def compressed(model):
    return {n for n, m in model.named_modules() if isinstance(m, hct.CompressedModule)}


def same_weights(model, other):
    """Whether two models have the same weights, decoded; both are dense afterwards."""
    states = [hct.decompress_model(m).state_dict() for m in (model, other)]
    assert list(states[0]) == list(states[1])
    return all(torch.allclose(a, states[1][name], atol=1e-5) for name, a in states[0].items())
