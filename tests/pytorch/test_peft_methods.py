"""What peft offers, on compressed models: as on dense ones of the same weights, or refused by name.

The table in `docs/torch.md` lists what is tested here.
"""

import copy
import functools

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import hypercomp_rs as hc
import hypercomp_rs.torch as hct
from hypercomp_rs.errors import ReadOnlyError

peft = pytest.importorskip("peft")
transformers = pytest.importorskip("transformers")

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.* is deprecated:FutureWarning"),
    # Those of peft; but nothing is made dense that was not to be.
    pytest.mark.filterwarnings(
        "ignore::UserWarning", "error::hypercomp_rs.errors.MadeDenseWarning"
    ),
]

IDS = torch.tensor([[1, 7, 3, 5]])
SIZES = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4}


def tied_llama():
    return llama(tie=True)


def llama(tie=False):
    config = transformers.LlamaConfig(
        vocab_size=300, num_hidden_layers=1, tie_word_embeddings=tie, **SIZES
    )
    return transformers.LlamaForCausalLM(config)


def gpt2():
    config = transformers.GPT2Config(vocab_size=300, n_embd=64, n_layer=1, n_head=4)
    return transformers.GPT2LMHeadModel(config)


def filters():
    return nn.Sequential(nn.Conv2d(16, 32, 3, padding=1), nn.GELU(), nn.Conv2d(32, 16, 3))


def roberta():
    config = transformers.RobertaConfig(vocab_size=300, num_hidden_layers=1, **SIZES)
    return transformers.RobertaForSequenceClassification(config)


@functools.cache
def _compressed(make, embeddings, rules):
    torch.manual_seed(0)
    model = make().eval()
    hct.compress_model(model, bits=4, progress=False, embeddings=embeddings, rules=rules)
    return model


def base(make=llama, dense=False, embeddings="compress", rules=()):
    model = copy.deepcopy(_compressed(make, embeddings, rules))
    return hct.decompress_model(model) if dense else model


def call(model):
    """Outputs on something, and a number to go down from."""
    if isinstance(getattr(model, "base_model", model), nn.Sequential) or not hasattr(
        model, "config"
    ):
        out = model(torch.linspace(-1, 1, 2 * 16 * 64).view(2, 16, 8, 8))
        return out, out.square().sum()
    out = model(input_ids=IDS).logits
    return out, out.square().mean()


def adapted(make, config, **options):
    """A model with an adapter that does something."""
    model = base(make, **options)
    torch.manual_seed(1)
    model = peft.get_peft_model(model, copy.deepcopy(config))
    generator = torch.Generator().manual_seed(2)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.add_(0.02 * torch.randn(parameter.shape, generator=generator))
    return model


def largest(x):
    return float(x.detach().abs().max()) + 1e-9


def gradients(model):
    model.zero_grad()
    out, loss = call(model)
    loss.backward()
    return out.detach(), {n: p.grad for n, p in model.named_parameters() if p.requires_grad}


LINEAR = ["q_proj", "down_proj"]


def lora(targets=LINEAR, **options):
    return peft.LoraConfig(r=4, target_modules=targets, **options)


SAME = {
    "LoRA": (llama, lora()),
    "LoRA, all linear layers": (llama, lora("all-linear", task_type="CAUSAL_LM")),
    "LoRA, rank-stabilised": (llama, lora(use_rslora=True)),
    "LoRA, on the head": (llama, lora(["lm_head"])),
    "LoRA, on an embedding": (llama, lora(["embed_tokens", "q_proj"])),
    "LoRA, on a tied embedding": (tied_llama, lora(["embed_tokens", "q_proj"])),
    "LoRA, on a convolution": (filters, lora(["0", "2"])),
    "LoRA, on Conv1D": (gpt2, lora(["c_attn", "c_proj"])),
    "DoRA": (llama, lora(use_dora=True)),
    "DoRA, on an embedding": (llama, lora(["embed_tokens"], use_dora=True)),
    "DoRA, on a convolution": (filters, lora(["0"], use_dora=True)),
    "EVA": (llama, lora(init_lora_weights="eva", eva_config=peft.EvaConfig())),
    "orthogonal": (llama, lora(init_lora_weights="orthogonal")),
    "trainable tokens": (llama, peft.TrainableTokensConfig(token_indices=[1, 5])),
    "trainable tokens, tied": (
        tied_llama,
        peft.TrainableTokensConfig(token_indices=[1, 5]),
    ),
    "LoRA and trainable tokens": (llama, lora(trainable_token_indices=[1, 5])),
    "LoRA and trainable tokens, tied": (
        tied_llama,
        lora(trainable_token_indices=[1, 5]),
    ),
    "IA3": (
        llama,
        peft.IA3Config(target_modules=["k_proj", *LINEAR], feedforward_modules=["down_proj"]),
    ),
    "VeRA": (llama, peft.VeraConfig(r=4, target_modules=["q_proj"])),
    "LoHa": (llama, peft.LoHaConfig(r=4, target_modules=LINEAR)),
    "LoHa, on a convolution": (filters, peft.LoHaConfig(r=4, target_modules=["0"])),
    "LoKr": (llama, peft.LoKrConfig(r=4, target_modules=LINEAR)),
    "AdaLoRA": (llama, peft.AdaLoraConfig(total_step=10, target_modules=LINEAR)),
    "OFT": (llama, peft.OFTConfig(r=0, oft_block_size=4, target_modules=LINEAR)),
    "BOFT": (llama, peft.BOFTConfig(boft_block_size=4, target_modules=LINEAR)),
    "HRA": (llama, peft.HRAConfig(r=4, target_modules=LINEAR)),
    "FourierFT": (llama, peft.FourierFTConfig(n_frequency=50, target_modules=LINEAR)),
    "RandLoRA": (llama, peft.RandLoraConfig(r=4, target_modules=["q_proj"])),
    "MiSS": (llama, peft.MissConfig(r=4, target_modules=LINEAR)),
    "norms": (llama, peft.LNTuningConfig(target_modules=["input_layernorm"])),
}


@pytest.mark.parametrize("name", SAME)
def test_a_method_does_on_codes_what_it_does_on_their_weights(name):
    make, config = SAME[name]
    ours, dense = adapted(make, config), adapted(make, config, dense=True)
    layers = sum(isinstance(module, hct.CompressedModule) for module in ours.modules())
    assert layers == sum(isinstance(m, hct.CompressedModule) for m in base(make).modules())
    (found, slopes), (expected, dense_slopes) = gradients(ours), gradients(dense)
    assert torch.allclose(found, expected, atol=1e-4 * largest(expected))
    assert slopes
    assert list(slopes) == list(dense_slopes)
    for one, other in zip(slopes.values(), dense_slopes.values(), strict=True):
        assert (one is None) == (other is None)
        assert one is None or torch.allclose(one, other, atol=1e-3 * largest(other))
    # Nothing is lost where it cannot be merged, and it is merged once the base is dense.
    if name != "norms":
        with pytest.raises(ReadOnlyError, match="decompress_model first"):
            ours.merge_adapter()
    assert hct.decompress_model(ours) is ours
    assert not any(isinstance(module, hct.CompressedModule) for module in ours.modules())
    assert torch.allclose(call(ours)[0], found, atol=1e-4 * largest(found))
    merged, merged_dense = ours.merge_and_unload(), dense.merge_and_unload()
    expected = call(merged_dense)[0]
    assert torch.allclose(call(merged)[0], expected, atol=1e-3 * largest(expected))


WRITTEN = {
    "PiSSA": (llama, lora(init_lora_weights="pissa")),
    "PiSSA, fast": (llama, lora(init_lora_weights="pissa_niter_4")),
    "OLoRA": (llama, lora(init_lora_weights="olora")),
    "PiSSA, on Conv1D": (gpt2, lora(["c_attn"], init_lora_weights="pissa")),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_what_changes_the_base_is_refused_until_it_is_dense(name):
    make, config = WRITTEN[name]
    model = base(make)
    before = call(model)[0]
    with pytest.raises(ReadOnlyError, match=r"compressed weight .*decompress_model first"):
        peft.get_peft_model(copy.deepcopy(model), config)
    assert torch.equal(call(model)[0], before)
    hct.decompress_model(model)
    assert torch.allclose(call(peft.get_peft_model(model, config))[0], before, atol=1e-3)


PROMPTS = {
    "prompt tuning": peft.PromptTuningConfig(num_virtual_tokens=3, task_type="CAUSAL_LM"),
    "prompt tuning from tokens": peft.PromptTuningConfig(
        num_virtual_tokens=3, task_type="CAUSAL_LM", prompt_tuning_init="SAMPLE_VOCAB"
    ),
    "P-tuning": peft.PromptEncoderConfig(
        num_virtual_tokens=3, task_type="CAUSAL_LM", encoder_hidden_size=16
    ),
    "prefix tuning": peft.PrefixTuningConfig(num_virtual_tokens=3, task_type="CAUSAL_LM"),
}


@pytest.mark.filterwarnings("ignore:.*past_key_values:FutureWarning")
@pytest.mark.parametrize(
    ("name", "make"),
    [*((name, llama) for name in PROMPTS), ("prompt tuning", tied_llama), ("P-tuning", gpt2)],
)
def test_prompts_are_learned_before_a_compressed_table(name, make):
    found, slopes = gradients(prompted(make, PROMPTS[name]))
    expected, dense_slopes = gradients(prompted(make, PROMPTS[name], dense=True))
    assert torch.allclose(found, expected, atol=1e-4 * largest(expected))
    for one, other in zip(slopes.values(), dense_slopes.values(), strict=True):
        assert one.abs().max() > 0
        assert torch.allclose(one, other, atol=1e-3 * largest(other))


def prompted(make, config, **options):
    model = base(make, **options)
    torch.manual_seed(1)
    model = peft.get_peft_model(model, copy.deepcopy(config))
    assert isinstance(model.base_model.get_input_embeddings(), nn.Embedding)
    return model


def test_a_peft_that_does_not_look_for_compressed_tables_is_told_what_to_do(monkeypatch):
    hook = peft.PeftModel._setup_prompt_encoder
    monkeypatch.setattr(peft.PeftModel, "_setup_prompt_encoder", hook.__wrapped__)
    with pytest.raises(hc.InvalidArgumentError, match=r"get_input_embeddings\(\)\) first"):
        prompted(llama, PROMPTS["prompt tuning"])
    part = base()
    hct.decompress_model(part.get_input_embeddings())
    model = peft.get_peft_model(part, copy.deepcopy(PROMPTS["prompt tuning"]))
    assert call(model)[0].shape == (1, 7, 300)


HEADS = {
    "lm_head": (llama, lora(modules_to_save=["lm_head"])),
    "lm_head, tied": (tied_llama, lora(modules_to_save=["lm_head"])),
    "embed_tokens": (llama, lora(modules_to_save=["embed_tokens"])),
    "classifier": (roberta, lora(["query"], task_type="SEQ_CLS")),
    "convolution": (filters, lora(["0"], modules_to_save=["2"])),
}


@pytest.mark.parametrize("name", HEADS)
def test_what_is_saved_with_an_adapter_trains(name, tmp_path):
    make, config = HEADS[name]
    torch.manual_seed(1)
    model = peft.get_peft_model(base(make), copy.deepcopy(config))
    saved = {n: p for n, p in model.named_parameters() if "modules_to_save" in n}
    assert saved
    assert all(p.requires_grad and p.numel() for p in saved.values())
    assert any(isinstance(module, hct.CompressedModule) for module in model.modules())
    before = call(model)[0].detach()
    values = {n: p.detach().clone() for n, p in saved.items()}
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    call(model)[1].backward()
    optimiser.step()
    assert not any(torch.equal(saved[n], values[n]) for n in saved)
    after = call(model)[0].detach()
    assert not torch.allclose(after, before)
    # The base is what it was, and an adapter that was saved is loaded as it was.
    with model.disable_adapter():
        assert torch.equal(call(model)[0], call(base(make))[0])
    model.save_pretrained(tmp_path)
    again = peft.PeftModel.from_pretrained(base(make), tmp_path)
    assert torch.allclose(call(again)[0], after, atol=1e-5 * largest(after))
    assert not any(p.requires_grad for p in again.parameters())


def test_a_new_head_on_a_compressed_base_trains():
    model = base(roberta, rules=("classifier.*=keep",))
    head = model.classifier
    assert type(head.dense) is type(head.out_proj) is nn.Linear
    model.requires_grad_(False)
    head.requires_grad_(True)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    optimiser = torch.optim.AdamW(p for p in model.parameters() if p.requires_grad)
    F.cross_entropy(model(input_ids=IDS).logits, torch.tensor([1])).backward()
    optimiser.step()
    changed = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    assert changed == {n for n in before if n.startswith("classifier")}
    # Or it is made dense later.
    model = base(roberta)
    model.requires_grad_(False)
    hct.decompress_model(model.classifier).requires_grad_(True)
    assert {n for n, p in model.named_parameters() if p.requires_grad} == changed


def test_adapters_are_added_switched_and_deleted():
    model = adapted(llama, lora())
    with_first = call(model)[0]
    model.add_adapter("other", lora(["v_proj"], init_lora_weights=False))
    model.set_adapter("other")
    with_other = call(model)[0]
    assert not torch.allclose(with_other, with_first)
    model.set_adapter("default")
    assert torch.equal(call(model)[0], with_first)
    model.delete_adapter("other")
    assert torch.equal(call(model)[0], with_first)
    assert torch.equal(call(model.unload())[0], call(base())[0])


def test_layers_that_an_adapter_is_around_are_made_dense_alone():
    model = adapted(llama, lora(["q_proj", "v_proj"]))
    expected = call(model)[0]
    layer = model.base_model.model.model.layers[0].self_attn.q_proj
    hct.decompress_model(layer)
    layer.merge()
    assert type(layer.base_layer) is nn.Linear
    other = model.base_model.model.model.layers[0].self_attn.v_proj
    assert isinstance(other.base_layer, hct.CompressedLinear)
    assert torch.allclose(call(model)[0], expected, atol=1e-4 * largest(expected))
