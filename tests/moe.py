"""Small models with a mixture of experts, one of each kind."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
import transformers

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
EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}
MANY = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64}


def t(name):
    return getattr(transformers, name)


# Whose checkpoints have one matrix for each expert.
MATRICES = {
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
    # Whose experts have no gate.
    "NemotronHForCausalLM": lambda: t("NemotronHConfig")(
        **{k: v for k, v in TEXT.items() if k != "num_hidden_layers"},
        layers_block_type=["attention", "moe"],
        head_dim=16,
        n_routed_experts=4,
        num_experts_per_tok=2,
        moe_intermediate_size=64,
        moe_shared_expert_intermediate_size=64,
        n_group=1,
        topk_group=1,
    ),
}
# Whose checkpoints have the experts of a layer in one tensor.
FUSED = {
    "GptOssForCausalLM": lambda: t("GptOssConfig")(**TEXT, **EXPERTS, head_dim=16),
    "Llama4ForCausalLM": lambda: t("Llama4TextConfig")(
        **TEXT, intermediate_size_mlp=128, num_local_experts=4, num_experts_per_tok=1, head_dim=16
    ),
    "GraniteMoeForCausalLM": lambda: t("GraniteMoeConfig")(**TEXT, **EXPERTS),
}
KINDS = {**MATRICES, **FUSED}


def made(name, seed=0):
    """A model with random weights, also where it would have zeros."""
    torch.manual_seed(seed)
    model = t(name)(KINDS[name]()).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.normal_(std=0.02)
    return model
