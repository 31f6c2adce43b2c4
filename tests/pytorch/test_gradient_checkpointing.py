"""Gradient checkpointing while a model is calibrated, and micro-batches."""

import copy
import weakref

import pytest
import torch
from torch import nn

from hypercomp_rs.torch.calibration import Calibration, Layer
from hypercomp_rs.torch.calibration_batches import micro_batches
from hypercomp_rs.torch.gradient_checkpointing import blocks_of
from hypercomp_rs.torch.output_sensitivity import OutputSensitivity

transformers = pytest.importorskip("transformers")


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.runs = 0

    def forward(self, x):
        self.runs += 1
        return x + self.down(torch.relu_(self.up(x)))


def net(blocks=3, width=32):
    torch.manual_seed(0)
    made = nn.Sequential(nn.Linear(width, width), nn.ModuleDict({"of": nn.ModuleList()}))
    made[1]["of"].extend(Block(width) for _ in range(blocks))

    def forward(x):
        x = made[0](x)
        for block in made[1]["of"]:
            x = block(x)
        return x

    made.forward = forward
    return made


def llama(**options):
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        hidden_size=64, intermediate_size=128, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, vocab_size=256, **options,
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config).eval()


def layers_of(model):
    linear = {name: m for name, m in model.named_modules() if isinstance(m, nn.Linear)}
    return [Layer(name, m.in_features, (m,)) for name, m in linear.items() if name != "lm_head"]


def measured(model, batches, limit):
    """What is found of each layer, and the second moments that were collected with it."""
    layers = layers_of(model)
    calibration = Calibration(model, batches)
    sites = calibration.sites(layers)
    sensitivity = OutputSensitivity(model, layers, limit)
    calibration.collect(sites, sensitivity)
    return sensitivity._vectors, [site.second_moment() for site in sites]


@pytest.mark.parametrize(
    ("model", "batches"),
    [
        (net(), [torch.randn(5, 7, 32) for _ in range(3)]),
        (llama(), [torch.randint(256, (6, 150)) for _ in range(2)]),
        (llama(use_cache=False), [{"input_ids": torch.randint(256, (2, 40))}]),
    ],
    ids=["blocks", "llama", "llama without a cache"],
)
def test_blocks_that_are_computed_anew_tell_the_same(model, batches):
    before = copy.deepcopy(model.state_dict())
    cache = getattr(getattr(model, "config", None), "use_cache", None)
    kept, moments = measured(model, batches, 1 << 40)
    anew, again = measured(model, batches, 0)
    assert all(sum(map(len, vectors)) for vectors in kept.values())
    for name, vectors in kept.items():
        assert torch.equal(torch.cat(vectors), torch.cat(anew[name])), name
    for one, other in zip(moments, again, strict=True):
        assert torch.equal(one, other)
    plain = Calibration(model, batches)
    sites = plain.sites(layers_of(model))
    plain.collect(sites)
    for one, site in zip(moments, sites, strict=True):
        assert torch.equal(one, site.second_moment())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert getattr(getattr(model, "config", None), "use_cache", None) is cache
    assert not any("forward" in m.__dict__ for m in model.modules() if m is not model)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


@pytest.mark.parametrize("limit", [0, 1 << 40])
def test_blocks_run_once_more_only_where_memory_is_short(limit):
    model = net()
    measured(model, [torch.randn(5, 7, 32) for _ in range(3)], limit)
    # The first batch shows the places; the next run shows what gradients would keep.
    runs = [1 + 3] * 3 if limit else [1 + 1 + 3 + 3] * 3
    assert [block.runs for block in model[1]["of"]] == runs


def test_activations_take_less_memory_where_blocks_are_computed_anew(monkeypatch):
    def kept(anew):
        """Bytes that are kept at the end of the forward pass."""
        model = net(blocks=12, width=64)
        met, found = {}, []

        def save(tensor):
            storage = tensor.untyped_storage()
            met[storage.data_ptr()] = weakref.ref(tensor := tensor.detach()), storage.nbytes()
            return tensor

        def backward(self, output, mask):
            found.append(sum(nbytes for tensor, nbytes in met.values() if tensor() is not None))

        monkeypatch.setattr(OutputSensitivity, "_backward", backward)
        sensitivity = OutputSensitivity(model, layers_of(model), 0)
        # Bytes are counted here, and not there.
        sensitivity._saved = None
        sensitivity._blocks = sensitivity._found_blocks() if anew else []
        with torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor):
            sensitivity.run(lambda: model(torch.randn(8, 16, 64)), None)
        return found[0]

    assert kept(True) < kept(False) / 4


def test_the_outermost_lists_are_those_of_blocks():
    inner = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
    outer = nn.ModuleList([nn.ModuleDict({"experts": inner}), nn.ModuleDict({"x": nn.ReLU()})])
    model = nn.ModuleDict({"head": nn.Linear(4, 4), "blocks": outer})
    assert blocks_of(model, [inner[1], model["head"]]) == []
    assert blocks_of(inner[0], [inner[0]]) == []
    encoder = nn.Sequential(model, nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), nn.ReLU())
    every = list(encoder.modules())
    assert blocks_of(encoder, [inner[1], inner[2]]) == [inner[1], inner[2]]
    outer[1]["y"] = nn.Linear(4, 4)
    assert blocks_of(encoder, [inner[1], outer[1]["y"]]) == list(outer)
    assert blocks_of(encoder, every) == [*outer, *encoder[1]]


@pytest.mark.parametrize("limit", [0, 1 << 40])
def test_weights_without_a_storage_are_no_activations(limit):
    class Graph(nn.Module):
        def __init__(self):
            super().__init__()
            edges = torch.eye(5).to_sparse()
            self.edges = nn.Parameter(edges, requires_grad=False)
            self.layer = nn.Linear(16, 16)

        def forward(self, x):
            return self.layer(torch.sparse.mm(self.edges, x))

    vectors, _ = measured(Graph(), [torch.randn(5, 16)], limit)
    assert [v.any() for v in vectors["layer"]] == [True]


def test_texts_are_read_some_at_a_time():
    model = llama()
    ids, mask = torch.randint(256, (7, 200)), torch.ones(7, 200, dtype=torch.long)
    found = list(
        micro_batches(model, {"input_ids": ids, "attention_mask": mask, "use_cache": False})
    )
    assert [len(piece["input_ids"]) for piece in found] == [2, 2, 2, 1]
    assert torch.equal(torch.cat([piece["attention_mask"] for piece in found]), mask)
    assert torch.equal(torch.cat(list(micro_batches(model, ids))), ids)
    for whole in (
        {"input_ids": ids, "position_ids": torch.arange(200)[None]},
        {"pixel_values": torch.zeros(7, 200)},
        (ids,),
        torch.zeros(7, 200),
        ids[:2],
    ):
        (part,) = micro_batches(model, whole)
        assert part is whole
    # Of another model, integers may be anything.
    assert len(list(micro_batches(net(), ids))) == 1
