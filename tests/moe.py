"""Small models with a mixture of experts, one of each kind, and helpers of their tests."""

import torch
from small_transformers import EXPERTS, MOE, TEXT, t

import hypercomp_rs.torch as hct

FAST = {"bits": 6, "effort": "fast"}
IDS = torch.arange(3, 40)[None]

# Whose checkpoints have one matrix for each expert.
MATRICES = {
    **{
        name: MOE[name]
        for name in (
            "MixtralForCausalLM",
            "Qwen3MoeForCausalLM",
            "OlmoeForCausalLM",
            "DeepseekV3ForCausalLM",
        )
    },
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
    "GraniteMoeForCausalLM": MOE["GraniteMoeForCausalLM"],
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


def small(name, **options):
    """A model whose layers are compressed, and the report."""
    model = made(name)
    report = hct.compress_model(model, progress=False, **{**FAST, **options})
    return model, report


def answer(model, ids=IDS):
    with torch.no_grad():
        return model(ids).logits


def close(given, expected):
    """Whether logits are the same but for the order of sums in float32."""
    return (given - expected).abs().max() <= 3e-6 * expected.abs().max()


def experts_of(model):
    return [m for m in model.modules() if isinstance(m, hct.CompressedExperts)]


def all_compressed(model):
    """Whether there are experts, and all of their layers are compressed."""
    found = experts_of(model)
    layers = [layer for module in found for layer in module.all_layers()]
    return bool(layers) and all(isinstance(layer, hct.CompressedModule) for layer in layers)
