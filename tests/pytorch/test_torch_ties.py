"""Tied compressed weights: by assignment, by transformers and by accelerate; and made dense."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import hypercomp_rs as hc
import hypercomp_rs.torch as hct
from hypercomp_rs.errors import MadeDenseWarning, ReadOnlyError

transformers = pytest.importorskip("transformers")

IDS = torch.tensor([[1, 7, 3]])


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.head = nn.Embedding(100, 128), nn.Linear(128, 100, bias=False)
        self.head.weight = self.table.weight

    def forward(self, i):
        return self.head(self.table(i))


def pair():
    torch.manual_seed(0)
    model = Tied()
    hct.compress_model(model, bits=4, progress=False)
    return model


def are_tied(a, b):
    """Whether two modules have one weight, be it compressed or dense."""
    if a.weight is not b.weight:
        return False
    if isinstance(a, hct.CompressedModule):
        return all(x is y for x, y in zip(a.weight_buffers(), b.weight_buffers(), strict=True))
    return True


def loaded(model, **options):
    model.load_state_dict(pair().state_dict(), **options)
    return model


@pytest.mark.parametrize(
    "again",
    [
        lambda m: m,
        copy.deepcopy,
        lambda m: pickle.loads(pickle.dumps(m)),
        lambda m: m.to(torch.bfloat16),
        lambda m: m.share_memory(),
        lambda m: loaded(copy.deepcopy(m).to("meta").to_empty(device="cpu")),
        lambda m: loaded(m),
        lambda m: loaded(m, assign=True),
        lambda m: loaded(copy.deepcopy(m).to("meta"), assign=True),
    ],
)
def test_tied_modules_have_one_weight(again):
    model = again(pair())
    assert are_tied(model.table, model.head)
    (first, second) = [p for _, p in model.named_parameters(remove_duplicate=False)][::3]
    assert first is second
    assert len(list(model.parameters())) == 1
    hct.decompress_model(model)
    assert are_tied(model.table, model.head)


def test_codes_of_another_length_keep_a_tie():
    model, other = pair(), Tied()
    hct.compress_model(other, bits=2.5, progress=False)
    model.load_state_dict(other.state_dict())
    assert are_tied(model.table, model.head)
    assert torch.equal(model(IDS), other(IDS))


def test_a_compressed_weight_that_is_assigned_ties():
    torch.manual_seed(0)
    model = nn.ModuleDict(
        {"table": nn.Embedding(100, 128), "a": nn.Linear(128, 100), "b": nn.Linear(128, 100)}
    )
    hct.compress_model(model, bits=4, progress=False)
    expected = model["table"].weight.decompress()
    model["a"].weight = model["table"].weight
    model["b"].weight = model["a"].weight
    model["b"].weight = model["b"].weight
    assert are_tied(model["table"], model["a"])
    assert are_tied(model["table"], model["b"])
    x = torch.randn(2, 128)
    assert torch.allclose(model["b"](x), x @ expected.T + model["b"].bias, atol=1e-5)
    assert torch.equal(model["a"].weight.decompress(), expected)
    with pytest.raises(hc.InvalidArgumentError, match=r"shape \(100, 128\) cannot be tied to"):
        model["a"].weight = hct.CompressedLinear.from_module(nn.Linear(64, 64)).weight
    state = model.state_dict()
    assert torch.equal(state["a.weight_path"], state["table.weight_path"])
    # Codes of its own again, for one of them alone.
    model["a"]._set_buffers(
        model["a"].description, [b.clone() for b in model["a"].weight_buffers()]
    )
    assert not are_tied(model["table"], model["a"])
    assert are_tied(model["table"], model["b"])


def test_a_parameter_that_is_assigned_makes_a_module_dense():
    model = pair()
    weight = nn.Parameter(torch.randn(50, 128))
    model.head.weight = weight
    assert type(model.head) is nn.Linear
    assert model.head.weight is weight
    assert [name for name, _ in model.head.named_parameters()] == ["weight"]
    assert list(model.head.state_dict()) == ["weight"]
    # The other one stays what it was.
    assert isinstance(model.table, hct.CompressedEmbedding)
    assert torch.equal(model.table(IDS), pair().table(IDS))
    for value in (None, torch.ones(100, 128), 3):
        with pytest.raises(hc.InvalidArgumentError, match=r"torch\.nn\.Parameter, which makes it"):
            model.table.weight = value
    with pytest.raises(hc.InvalidArgumentError, match="cannot be deleted"):
        del model.table.weight
    layer = hct.CompressedConv1d.from_module(nn.Conv1d(16, 32, 3))
    layer.register_parameter("weight", nn.Parameter(torch.zeros(32, 16, 3)))
    assert type(layer) is nn.Conv1d
    assert list(layer.state_dict()) == ["weight", "bias"]


def test_a_part_is_made_dense_with_what_it_is_tied_to():
    model = nn.ModuleDict({"tied": pair(), "other": nn.Linear(128, 128)})
    hct.compress_model(model, bits=4, progress=False)
    expected = model["tied"](IDS)
    assert type(hct.decompress_model(model["tied"].head)) is nn.Linear
    assert are_tied(model["tied"].table, model["tied"].head)
    assert type(model["tied"].table) is nn.Embedding
    assert isinstance(model["other"], hct.CompressedLinear)
    assert torch.allclose(model["tied"](IDS), expected, atol=1e-4)


def test_codes_that_are_damaged_leave_the_model_as_it_was():
    model = nn.Sequential(nn.Linear(128, 96), nn.Linear(96, 96))
    hct.compress_model(model, bits=4, progress=False)
    model[1].weight_path = model[1].weight_path[:7]
    with pytest.raises(hc.FormatError, match=r"1\.weight: part path"):
        hct.decompress_model(model)
    assert isinstance(model[0], hct.CompressedLinear)


def in_a_loop(model):
    for parameter in model.head.parameters():
        parameter.requires_grad = True


@pytest.mark.parametrize(
    "let_train",
    [
        lambda model: model.head.requires_grad_(True),
        lambda model: model.requires_grad_(True),
        lambda model: next(model.parameters()).requires_grad_(),
        in_a_loop,
    ],
)
def test_what_is_to_train_is_made_dense_and_says_so(let_train):
    model = pair()
    expected = model(IDS)
    parameters = list(model.parameters())
    said = r"CompressedEmbedding and CompressedLinear .*51200 bytes"
    with pytest.warns(MadeDenseWarning, match=said):
        let_train(model)
    assert are_tied(model.table, model.head)
    # Who had its placeholder has its weight.
    assert [p is model.head.weight for p in parameters] == [True]
    assert type(model.head.weight) is nn.Parameter
    assert torch.allclose(model(IDS), expected, atol=1e-5)
    optimiser = torch.optim.SGD(parameters, lr=1.0)
    model(IDS).square().mean().backward()
    optimiser.step()
    assert not torch.allclose(model(IDS), expected, atol=1e-5)


def test_what_is_frozen_stays_compressed():
    model = pair()
    model.requires_grad_(False)
    for parameter in model.parameters():
        parameter.requires_grad = False
    model.train().eval()
    assert isinstance(model.head, hct.CompressedLinear)
    placeholder = next(model.parameters())
    del model
    with pytest.raises(hc.InvalidArgumentError, match="whose module is gone"):
        placeholder.requires_grad_(True)


@pytest.mark.parametrize("strict", [True, False])
def test_dense_weights_are_refused_and_not_passed_over(strict):
    model, dense = pair(), hct.decompress_model(pair())
    with pytest.raises(RuntimeError, match=r"head.weight: dense weights.*decompress_model"):
        model.load_state_dict(dense.state_dict(), strict=strict)
    assert torch.equal(model(IDS), pair()(IDS))


def language_model(kind, tie=True):
    torch.manual_seed(0)
    t = transformers
    if kind == "llama":
        sizes = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4}
        config = t.LlamaConfig(
            vocab_size=300, num_hidden_layers=1, tie_word_embeddings=tie, **sizes
        )
        return t.LlamaForCausalLM(config).eval()
    if kind == "gpt2":
        return t.GPT2LMHeadModel(
            t.GPT2Config(vocab_size=300, n_embd=64, n_layer=1, n_head=4)
        ).eval()
    if kind == "bert":
        sizes = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4}
        return t.BertForMaskedLM(t.BertConfig(vocab_size=300, num_hidden_layers=1, **sizes)).eval()
    config = t.T5Config(vocab_size=300, d_model=64, d_kv=16, d_ff=128, num_layers=1, num_heads=4)
    config.decoder_start_token_id = 0
    return t.T5ForConditionalGeneration(config).eval()


def logits(model):
    extra = {"decoder_input_ids": IDS} if model.config.is_encoder_decoder else {}
    with torch.no_grad():
        return model(input_ids=IDS, **extra).logits


def compressed(kind, tie=True, **options):
    model = language_model(kind, tie)
    hct.compress_model(model, bits=4, progress=False, **options)
    return model


@pytest.mark.parametrize("kind", ["llama", "gpt2", "bert", "t5"])
def test_transformers_ties_weights_that_are_tied(kind):
    model = compressed(kind)
    before, state = logits(model), list(model.state_dict())
    model.tie_weights()
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight
    assert isinstance(model.get_output_embeddings(), hct.CompressedLinear)
    assert torch.equal(logits(model), before)
    assert list(model.state_dict()) == state
    assert (model.device, model.dtype) == (torch.device("cpu"), torch.float32)
    # And those that were untied.
    head = model.get_output_embeddings()
    head._set_buffers(head.description, [buffer.clone() for buffer in head.weight_buffers()])
    assert head.weight is not model.get_input_embeddings().weight
    model.tie_weights()
    buffers = model.get_input_embeddings().weight_buffers()
    assert all(a is b for a, b in zip(head.weight_buffers(), buffers, strict=True))
    hct.decompress_model(model).tie_weights()
    assert torch.allclose(logits(model), before, atol=1e-4)


@pytest.mark.parametrize("tie", [True, False])
def test_a_table_is_resized_once_it_is_dense(tie):
    model = compressed("llama", tie)
    before = logits(model)
    with pytest.raises(ReadOnlyError, match=r"shape \(300, 64\).*decompress_model first"):
        model.resize_token_embeddings(310)
    assert torch.equal(logits(model), before)
    hct.decompress_model(model.get_input_embeddings())
    hct.decompress_model(model.get_output_embeddings())
    assert model.resize_token_embeddings(310).num_embeddings == 310
    assert model.resize_token_embeddings(310, pad_to_multiple_of=32).weight.shape == (320, 64)
    assert torch.allclose(logits(model)[..., :300], before, atol=1e-5)
    tied = model.get_input_embeddings().weight is model.get_output_embeddings().weight
    assert tied is tie
    assert isinstance(model.model.layers[0].mlp.up_proj, hct.CompressedLinear)


def test_transformers_counts_what_there_is():
    model, dense = compressed("llama"), language_model("llama")
    assert model.get_memory_footprint() < dense.get_memory_footprint() / 4
    plain = sum(p.numel() for n, p in dense.named_parameters() if "norm" in n)
    assert model.num_parameters() == model.num_parameters(exclude_embeddings=True) == plain


MAP = dict.fromkeys(["model.embed_tokens", "lm_head", "model.norm", "model.rotary_emb"], "cpu")


@pytest.mark.filterwarnings("ignore:.*")
@pytest.mark.parametrize(
    "place",
    [
        lambda a, m, folder: a.cpu_offload(m, execution_device=torch.device("cpu")),
        lambda a, m, folder: a.cpu_offload(
            m, execution_device=torch.device("cpu"), offload_buffers=True
        ),
        lambda a, m, folder: a.disk_offload(m, folder, execution_device=torch.device("cpu")),
        lambda a, m, folder: a.dispatch_model(m, {"": "cpu"}, force_hooks=True),
        lambda a, m, folder: a.dispatch_model(
            m,
            {**MAP, "model.layers.0": "disk"},
            main_device="cpu",
            offload_dir=folder,
            force_hooks=True,
        ),
    ],
    ids=["cpu_offload", "buffers too", "disk_offload", "dispatch", "dispatch to disk"],
)
@pytest.mark.parametrize("tie", [True, False])
def test_accelerate_places_compressed_models(place, tie, tmp_path):
    accelerate = pytest.importorskip("accelerate")
    model = compressed("llama", tie)
    before, dense = logits(model), hct.decompress_model(compressed("llama", tie))
    placed = place(accelerate, model, tmp_path)
    for _ in range(2):
        assert torch.equal(logits(placed), before)
    assert placed.lm_head.weight is not placed.model.embed_tokens.weight or tie
    names = {n for n, p in placed.named_parameters() if p.numel()}
    assert names == {n for n, _ in dense.named_parameters() if "norm" in n}


def test_accelerate_maps_tied_layers_to_one_device():
    accelerate = pytest.importorskip("accelerate")
    model = compressed("llama")
    (group,) = accelerate.utils.find_tied_parameters(model)
    assert {name.rpartition(".")[0] for name in group} == {"lm_head", "model.embed_tokens"}
    assert not accelerate.utils.find_tied_parameters(compressed("llama", tie=False))
    placed = accelerate.infer_auto_device_map(model, max_memory={"cpu": 30_000, "disk": 10**9})
    assert placed["model.embed_tokens"] == placed["lm_head"] == "cpu"
    assert "disk" in placed.values()


@pytest.mark.parametrize(
    "put_on",
    [
        nn.utils.parametrizations.weight_norm,
        nn.utils.parametrizations.spectral_norm,
        nn.utils.parametrizations.orthogonal,
        lambda layer: prune.l1_unstructured(layer, "weight", 0.5),
        lambda layer: nn.utils.parametrize.register_parametrization(layer, "weight", nn.ReLU()),
    ],
)
def test_what_computes_a_weight_anew_needs_a_dense_one(put_on):
    layer = hct.CompressedLinear.from_module(nn.Linear(96, 64))
    x = torch.randn(2, 96)
    expected, state = layer(x), list(layer.state_dict())
    with pytest.raises((ValueError, TypeError), match=r"CompressedWeight|no parameter or buffer"):
        put_on(layer)
    assert torch.equal(layer(x), expected)
    assert list(layer.state_dict()) == state
    put_on(hct.decompress_model(layer))
    assert layer(x).shape == expected.shape
