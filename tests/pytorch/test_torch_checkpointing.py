"""Gradients where activations are not kept: checkpoints, hooks on saved tensors, second passes."""

import copy

import pytest
import torch
from torch import nn
from torch.autograd.graph import save_on_cpu
from torch.utils.checkpoint import checkpoint

import hypercomp_rs.torch as hct

transformers = pytest.importorskip("transformers")
Conv1D = transformers.pytorch_utils.Conv1D


class Lookup(nn.Module):
    """An embedding below a layer; what trains is what is added to its rows."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(64, 96)
        self.head = nn.Linear(96, 64)

    def forward(self, x):
        indices = torch.arange(x.shape[0])
        return self.head(self.table(indices) + x)


LAYERS = {
    "linear": (lambda: nn.Linear(96, 64), (5, 96)),
    "linear without bias": (lambda: nn.Linear(96, 64, bias=False), (2, 5, 96)),
    "transposed": (lambda: Conv1D(64, 96), (5, 96)),
    "convolution": (lambda: nn.Conv2d(16, 32, 3, padding=1), (2, 16, 6, 6)),
    "convolution in one dimension": (lambda: nn.Conv1d(16, 96, 3), (2, 16, 9)),
    "embedding below": (Lookup, (5, 96)),
}


def compressed_and_dense(name):
    torch.manual_seed(0)
    make, shape = LAYERS[name]
    ours = nn.Sequential(make(), nn.GELU())
    report = hct.compress_model(ours, bits=4, progress=False)
    assert report.layers
    dense = hct.decompress_model(copy.deepcopy(ours)).requires_grad_(False)
    for module in dense.modules():
        if getattr(module, "bias", None) is not None:
            module.bias.requires_grad_(True)
    return ours, dense, torch.randn(shape)


def gradients(model, x, call):
    model.zero_grad()
    x = x.clone().requires_grad_()
    call(model, x).float().square().sum().backward()
    biases = [p.grad.clone() for n, p in model.named_parameters() if n.endswith("bias")]
    return [x.grad, *biases]


def plainly(model, x):
    return model(x)


def in_autocast(call):
    def inside(model, x):
        with torch.autocast("cpu", torch.bfloat16):
            return call(model, x)

    return inside


def with_saved_on_cpu(model, x):
    with save_on_cpu():
        return model(x)


def with_copies_saved(model, x):
    with torch.autograd.graph.saved_tensors_hooks(torch.clone, lambda saved: saved):
        return model(x)


def reentrant(model, x):
    return checkpoint(model, x, use_reentrant=True)


def not_reentrant(model, x):
    return checkpoint(model, x, use_reentrant=False)


def nested(model, x):
    return checkpoint(lambda x: checkpoint(model, x, use_reentrant=False), x, use_reentrant=False)


WAYS = [reentrant, not_reentrant, nested, with_saved_on_cpu, with_copies_saved]


@pytest.mark.parametrize("call", WAYS)
@pytest.mark.parametrize("name", LAYERS)
def test_gradients_are_the_same_when_nothing_is_kept(name, call):
    ours, dense, x = compressed_and_dense(name)
    expected = gradients(ours, x, plainly)
    found = gradients(ours, x, call)
    assert all(map(torch.equal, found, expected))
    for one, other in zip(found, gradients(dense, x, call), strict=True):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-4 * other.abs().max())


@pytest.mark.parametrize("name", ["linear", "transposed", "convolution"])
def test_checkpoints_in_autocast(name):
    ours, _, x = compressed_and_dense(name)
    expected = gradients(ours, x, in_autocast(plainly))
    for call in (reentrant, not_reentrant):
        assert all(map(torch.equal, gradients(ours, x, in_autocast(call)), expected))


@pytest.mark.parametrize("call", [plainly, not_reentrant, with_saved_on_cpu])
@pytest.mark.parametrize("name", LAYERS)
def test_a_graph_that_is_retained_is_gone_through_again(name, call):
    ours, _, x = compressed_and_dense(name)
    (once, *_) = gradients(ours, x, plainly)
    x = x.requires_grad_()
    loss = call(ours, x).square().sum()
    loss.backward(retain_graph=True)
    loss.backward()
    assert torch.allclose(x.grad, 2 * once)


@pytest.mark.parametrize("name", LAYERS)
def test_second_derivatives_are_those_of_the_dense_layer(name):
    ours, dense, x = compressed_and_dense(name)
    found = []
    for model in (ours, dense):
        own = x.clone().requires_grad_()
        (first,) = torch.autograd.grad(model(own).square().sum(), own, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), own)
        found.append(second)
    assert torch.allclose(*found, rtol=1e-3, atol=1e-3 * found[1].abs().max())


def test_compiled_models_checkpoint():
    torch._dynamo.reset()
    ours, _, x = compressed_and_dense("linear")
    compiled = torch.compile(not_reentrant, fullgraph=True, backend="aot_eager")
    found = gradients(ours, x, compiled)
    for one, other in zip(found, gradients(ours, x, plainly), strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def causal_lm(kind):
    sizes = {"vocab_size": 120, "hidden_size": 64, "num_attention_heads": 4}
    if kind == "gpt2":
        config = transformers.GPT2Config(vocab_size=120, n_embd=64, n_layer=2, n_head=4)
        config.resid_pdrop = config.embd_pdrop = config.attn_pdrop = 0.0
        return transformers.GPT2LMHeadModel(config)
    if kind == "t5":
        config = transformers.T5Config(
            vocab_size=120, d_model=64, d_kv=16, d_ff=128, num_layers=2, num_heads=4
        )
        config.dropout_rate, config.decoder_start_token_id = 0.0, 0
        return transformers.T5ForConditionalGeneration(config)
    config = transformers.LlamaConfig(**sizes, intermediate_size=128, num_hidden_layers=2)
    return transformers.LlamaForCausalLM(config)


TARGETS = {"llama": ["q_proj", "down_proj"], "gpt2": ["c_attn", "c_proj"], "t5": ["q", "wo"]}


@pytest.mark.filterwarnings("ignore:.*fan_in_fan_out", "ignore:.*use_cache")
@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.* is deprecated:FutureWarning")
@pytest.mark.parametrize("options", [None, {"use_reentrant": False}, {"use_reentrant": True}])
@pytest.mark.parametrize("kind", TARGETS)
def test_a_model_with_adapters_checkpoints(kind, options):
    peft = pytest.importorskip("peft")
    torch.manual_seed(0)
    base = causal_lm(kind)
    hct.compress_model(base, bits=4, progress=False)
    config = peft.LoraConfig(r=4, target_modules=TARGETS[kind], init_lora_weights=False)
    model = peft.get_peft_model(base, config).train()
    tokens = torch.randint(0, 120, (2, 7))
    batch = {"input_ids": tokens, "labels": tokens}

    def trained():
        model.zero_grad()
        model(**batch, use_cache=False).loss.backward()
        return [p.grad.clone() for p in model.parameters() if p.requires_grad]

    expected = trained()
    assert len(expected) >= 8
    if options is not None and options["use_reentrant"]:
        model.enable_input_require_grads()
    model.gradient_checkpointing_enable(options)
    found = trained()
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-5 * other.abs().max())
