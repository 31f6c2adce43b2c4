"""Experts of a mixture are compressed one by one, and answer as the decompressed model does."""

import contextlib
import copy
import io
import pickle
import warnings

import moe
import pytest
import torch
import transformers
from moe import FAST, IDS, all_compressed, answer, close, experts_of, small
from safetensors.torch import load_file
from torch import nn

import hypercomp_rs as hc
import hypercomp_rs.torch as hct
import hypercomp_rs.torch.owners
from hypercomp_rs import compress_checkpoint, decompress_checkpoint
from hypercomp_rs.checkpoint import Checkpoint
from hypercomp_rs.cli.program import run
from hypercomp_rs.torch.calibration import Layer, Site
from hypercomp_rs.torch.expert_moments import draw_to_mean
from hypercomp_rs.torch.experts import Kind, fused_experts, put_together, take_apart
from hypercomp_rs.torch.transformers import HypercompConfig


@pytest.fixture(scope="module", params=moe.KINDS, ids=str)
def folders(request, tmp_path_factory):
    """A class of models; a folder with a dense one, that compressed, and that decoded."""
    folder = tmp_path_factory.mktemp(request.param)
    moe.made(request.param).save_pretrained(folder / "dense")
    dense, compressed = str(folder / "dense"), str(folder / "small")
    with contextlib.redirect_stdout(io.StringIO()):
        assert run(["compress", dense, compressed, "--bits", "6", "--effort", "fast"]) == 0
    decompress_checkpoint(folder / "small", folder / "decoded")
    return moe.t(request.param), folder


def from_folder(cls, folder):
    return cls.from_pretrained(folder / "small")


def while_loading(cls, folder):
    config = HypercompConfig(**FAST)
    return cls.from_pretrained(folder / "dense", quantization_config=config)


def in_memory(cls, folder):
    model = cls.from_pretrained(folder / "dense")
    hct.compress_model(model, progress=False, **FAST)
    return model


@pytest.mark.parametrize("route", [from_folder, while_loading, in_memory])
def test_experts_answer_as_the_decompressed_model_by_each_route(folders, route, tmp_path):
    cls, folder = folders
    expected = answer(cls.from_pretrained(folder / "decoded"))
    with warnings.catch_warnings():
        warnings.simplefilter("error", hc.StaysDenseWarning)
        model = route(cls, folder)
    assert all_compressed(model)
    assert close(answer(model), expected)
    model.save_pretrained(tmp_path / "again")
    again, info = cls.from_pretrained(tmp_path / "again", output_loading_info=True)
    assert not any(info.values())
    assert all_compressed(again)
    assert torch.equal(answer(again), answer(model))
    # The files have what those of the dense model have.
    decompress_checkpoint(tmp_path / "again", tmp_path / "decoded")
    before = load_file(folder / "dense" / "model.safetensors")
    after = load_file(tmp_path / "decoded" / "model.safetensors")
    assert {n: x.shape for n, x in after.items()} == {n: x.shape for n, x in before.items()}
    assert close(answer(cls.from_pretrained(tmp_path / "decoded")), expected)
    hct.decompress_model(model)
    assert not experts_of(model)
    assert torch.equal(answer(model), expected)
    model.save_pretrained(tmp_path / "dense")
    assert set(load_file(tmp_path / "dense" / "model.safetensors")) == set(before)
    assert torch.equal(answer(cls.from_pretrained(tmp_path / "dense")), expected)


@pytest.mark.parametrize("name", moe.KINDS)
def test_the_report_names_every_parameter_that_stays_dense(name):
    model, report = small(name)
    compressed = {
        id(b) for _, m in hypercomp_rs.torch.owners.compressed_modules(model) for b in m.buffers()
    }
    assert compressed
    skipped = {one.name: one.shape for one in report.skipped}
    left = {
        n: tuple(p.shape)
        for n, p in model.named_parameters()
        if p.numel() > 1000 and not n.endswith(".compressed")
    }
    assert left.items() <= skipped.items()
    assert all(len(shape) < 3 for shape in left.values())
    names = {layer.name for layer in report.layers}
    assert any(".experts.3." in one for one in names)


def called(model):
    """Which layers of experts have been called; to be looked at later."""
    seen = set()
    for module in experts_of(model):
        for i, expert in enumerate(module.experts()):
            for layer in expert.children():
                layer.register_forward_pre_hook(lambda *_, i=i: seen.add(i))
    return seen


@pytest.mark.parametrize("name", ["Qwen3MoeForCausalLM", "GptOssForCausalLM"])
def test_only_experts_with_tokens_are_used(name):
    model, _ = small(name)
    module = experts_of(model)[0]
    seen = called(module)
    x = torch.randn(5, 64)
    chosen = torch.tensor([[1, 3]] * 5)
    module(x, chosen, torch.rand(5, 2))
    assert seen == {1, 3}


def test_only_experts_with_tokens_are_used_where_they_are_sorted():
    model, _ = small("Llama4ForCausalLM")
    module = experts_of(model)[0]
    seen = called(module)
    x = torch.zeros(4, 5, 64)
    x[2, 1:3] = torch.randn(2, 64)
    x[0, 4] = torch.randn(64)
    y = module(x.view(-1, 64)).view(4, 5, 64)
    assert seen == {0, 2}
    assert y[0, 4].any()
    assert y[2, 1:3].any()
    assert y.any(-1).sum() == 3
    assert not module(torch.zeros(8, 64)).any()


def arguments(module, tokens, seed=0, dtype=torch.float32):
    """What a module of four experts is called with."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(tokens, 64, generator=generator).to(dtype)
    if module.kind.is_sorted:
        scores = torch.rand(4, tokens, 1, generator=generator)
        return ((x * scores.where(scores > 0.7, 0)).view(-1, 64).to(dtype),)
    weights, chosen = torch.rand(tokens, 4, generator=generator).topk(2)
    return x, chosen, weights.to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("tokens", [1, 7, 300])
@pytest.mark.parametrize("name", moe.KINDS)
def test_experts_do_what_the_class_of_transformers_does(name, tokens, dtype):
    model, _ = small(name)
    model.to(dtype)
    module = experts_of(model)[0]
    args = arguments(module, tokens, dtype=dtype)
    with torch.no_grad():
        given = module(*args)
    dense = copy.deepcopy(model)
    hct.decompress_model(dense)
    plain = next(module for _, module, _ in fused_experts(dense))
    assert type(plain) is module.dense_class
    # The loop over experts that the class has itself.
    if "config" in plain.__dict__:
        plain.config._experts_implementation = "eager"
    with torch.no_grad():
        expected = plain(*args)
    assert given.dtype == expected.dtype
    tolerance = 3e-6 if dtype == torch.float32 else 0.02
    assert (given - expected).abs().max() <= tolerance * expected.abs().max()


def test_experts_of_other_machines_have_no_answer():
    model, _ = small("GptOssForCausalLM")
    module = experts_of(model)[0]
    x, chosen, weights = arguments(module, 6)
    chosen[2, 1], weights[2, 1] = 4, 0
    given = module(x, chosen, weights)
    chosen[2, 1] = 0
    assert torch.allclose(given, module(x, chosen, weights), atol=1e-6)


@pytest.mark.parametrize("name", ["MixtralForCausalLM", "GptOssForCausalLM", "Llama4ForCausalLM"])
def test_copies_pickles_and_state_dicts(name):
    model, _ = small(name)
    expected = answer(model)
    assert torch.equal(answer(copy.deepcopy(model)), expected)
    again = pickle.loads(pickle.dumps(model))
    assert torch.equal(answer(again), expected)
    assert type(experts_of(again)[0]) is type(experts_of(model)[0])
    other = moe.made(name, seed=1)
    hct.compress_model(other, progress=False, **FAST)
    other.load_state_dict(model.state_dict())
    assert torch.equal(answer(other), expected)
    fresh = hct.load_compressed(moe.made(name, seed=2), model.state_dict())
    assert all_compressed(fresh)
    assert torch.equal(answer(fresh), expected)
    assert list(fresh.state_dict()) == list(model.state_dict())


@pytest.mark.parametrize("name", ["Qwen3MoeForCausalLM", "GptOssForCausalLM"])
def test_a_folder_is_loaded_without_transformers(name, tmp_path):
    moe.made(name).save_pretrained(tmp_path / "dense")
    compress_checkpoint(tmp_path / "dense", tmp_path / "small", **FAST).close()
    expected = answer(moe.t(name).from_pretrained(tmp_path / "small"))
    model = hct.load_compressed(moe.made(name, seed=1), tmp_path / "small")
    assert all_compressed(model)
    assert torch.equal(answer(model), expected)


@pytest.mark.parametrize("name", ["MixtralForCausalLM", "GptOssForCausalLM", "Llama4ForCausalLM"])
def test_gradients_go_through_experts(name):
    model, _ = small(name)
    dense = hct.decompress_model(copy.deepcopy(model))
    gradients = []
    for each in (model, dense):
        each.train()
        x = each.get_input_embeddings()(IDS).detach().requires_grad_()
        each(inputs_embeds=x).logits.square().sum().backward()
        gradients.append(x.grad)
    assert gradients[1].any()
    assert torch.allclose(*gradients, rtol=1e-4, atol=1e-5 * gradients[1].abs().max())


# peft asks what transformers has renamed.
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")
def test_adapters_of_experts_learn():
    peft = pytest.importorskip("peft")
    model, _ = small("NemotronHForCausalLM")
    expected = answer(model)
    adapted = peft.get_peft_model(model, peft.LoraConfig(target_modules=["up_proj"], r=2))
    assert torch.equal(answer(adapted), expected)
    adapted(IDS, labels=IDS).loss.backward()
    learnt = [p.grad for n, p in adapted.named_parameters() if ".experts.0.up_proj.lora_B" in n]
    assert any(grad is not None and grad.any() for grad in learnt)
    module = experts_of(model)[0]
    with pytest.raises(hc.InvalidArgumentError, match=r"expert's layer 'up_proj'.*adapters"):
        module.fused("up_proj")
    given = answer(adapted)
    hct.decompress_model(adapted)
    assert close(answer(adapted), given)
    assert experts_of(model)
    hct.decompress_model(adapted.merge_and_unload())
    assert not experts_of(model)
    assert close(answer(model), given)


@pytest.mark.parametrize("name", ["Qwen3MoeForCausalLM", "GptOssForCausalLM", "Llama4ForCausalLM"])
def test_compiled_whole(name):
    model, _ = small(name)
    module = experts_of(model)[0]
    # Whose layer is not sent to every expert.
    args = arguments(module, 3)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    x = args[0].clone().requires_grad_()
    y = compiled(x, *args[1:])
    expected = module(*args)
    assert torch.allclose(y, expected, atol=1e-5)
    y.square().sum().backward()
    plain = args[0].clone().requires_grad_()
    module(plain, *args[1:]).square().sum().backward()
    chosen = args[0].any(-1)
    assert torch.allclose(x.grad[chosen], plain.grad[chosen], rtol=1e-4, atol=1e-9)


# opcheck itself looks at the gradients of what is no leaf.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_the_operator_holds_to_its_schema():
    model, _ = small("GptOssForCausalLM")
    module = experts_of(model)[0]
    layers = [expert.down_proj for expert in module.experts()]
    buffers = [buffer for layer in layers for buffer in layer.weight_buffers()]
    x = torch.randn(9, 128, requires_grad=True)
    counts = torch.tensor([4, 0, 5, 0])
    operator = torch.ops.hypercomp.experts.default
    said = [layer.description for layer in layers]
    torch.library.opcheck(operator, (x, counts, buffers, said, True))
    y = operator(x, counts, buffers, said, True)
    assert torch.equal(y[:4], layers[0](x[:4]))
    assert torch.equal(y[4:], layers[2](x[4:]))
    with torch.autocast("cpu", torch.bfloat16):
        assert operator(x, counts, buffers, said, True).dtype == torch.bfloat16


def test_experts_that_are_kept_are_as_they_were():
    model = moe.made("MixtralForCausalLM")
    expected = answer(model)
    first = model.model.layers[0].mlp.experts
    parameter = first.gate_up_proj
    rules = ["model.layers.0.mlp.experts.*=keep", "*layers.1.mlp.experts.3.w2=keep"]
    report = hct.compress_model(model, progress=False, rules=rules, **FAST)
    assert type(first).__name__ == "MixtralExperts"
    assert first.gate_up_proj is parameter
    skipped = {one.name: (one.shape, one.why) for one in report.skipped}
    why = "rule model.layers.0.mlp.experts.*=keep"
    assert skipped["model.layers.0.mlp.experts.gate_up_proj"] == ((4, 256, 64), why)
    assert "model.layers.1.mlp.experts.3.w2.weight" in skipped
    second = model.model.layers[1].mlp.experts
    assert type(second.experts()[3].w2) is nn.Linear
    assert not torch.equal(answer(model), expected)
    assert second.down_proj.shape == (4, 64, 128)
    hct.decompress_model(model)
    assert type(second).__name__ == "MixtralExperts"


def test_a_model_with_some_experts_kept_is_saved_and_loads(tmp_path):
    for name, kept in (
        ("MixtralForCausalLM", "*layers.1.mlp.experts.3.w2=keep"),
        ("GptOssForCausalLM", "*layers.1.mlp.experts.3.down_proj=keep"),
    ):
        model, _ = small(name, rules=["*layers.0.mlp.experts.*=keep", kept])
        model.save_pretrained(tmp_path / name)
        again = moe.t(name).from_pretrained(tmp_path / name)
        assert len(experts_of(again)) == 1
        assert torch.equal(answer(again), answer(model))


@pytest.mark.parametrize("name", ["MixtralForCausalLM", "GptOssForCausalLM"])
def test_a_dense_model_is_as_it_was_after_an_error(name):
    model = moe.made(name)
    before = {n: (id(p), p.clone()) for n, p in model.named_parameters()}
    with pytest.raises(hc.InvalidArgumentError, match="matches no tensor"):
        hct.compress_model(model, progress=False, rules=["nothing=keep"])
    after = {n: id(p) for n, p in model.named_parameters()}
    assert after == {n: address for n, (address, _) in before.items()}
    assert all(torch.equal(p, before[n][1]) for n, p in model.named_parameters())


def test_put_together_without_copies():
    model = moe.made("OlmoeForCausalLM")
    _, module, _ = next(fused_experts(model))
    parameter = module.gate_up_proj
    address, values = parameter.data_ptr(), parameter.clone()
    take_apart(module, {"gate_up_proj": ("a", "b"), "down_proj": ("c",)})
    assert [type(layer) for layer in module.all_layers()] == [nn.Linear] * 12
    assert torch.equal(module.gate_up_proj, values)
    put_together(module)
    assert module.gate_up_proj.data_ptr() == address
    assert torch.equal(module.gate_up_proj, values)
    take_apart(module)
    with torch.no_grad():
        module.experts()[2].gate_up_proj.weight = nn.Parameter(values[2] + 1)
    put_together(module)
    assert torch.equal(module.gate_up_proj[2], values[2] + 1)
    assert torch.equal(module.gate_up_proj[3], values[3])
    with pytest.raises(hc.InvalidArgumentError, match="Linear: no fused experts"):
        take_apart(nn.Linear(2, 2))
    assert Kind.of(nn.Linear(2, 2)) is None


def test_a_part_of_a_model(tmp_path):
    model = moe.made("MixtralForCausalLM")
    hct.compress_model(model.model.layers[1].mlp, progress=False, **FAST)
    assert len(experts_of(model)) == 1
    expected = answer(model)
    model.save_pretrained(tmp_path / "small")
    names = Checkpoint.open(tmp_path / "small")
    assert "model.layers.1.block_sparse_moe.experts.3.w2.weight" in names
    assert "model.layers.0.block_sparse_moe.experts.3.w2.weight" in names
    again = transformers.MixtralForCausalLM.from_pretrained(tmp_path / "small")
    assert torch.equal(answer(again), expected)
    hct.decompress_model(model.model.layers[1].mlp.experts)
    assert not experts_of(model)


def routed_to_some(name="MixtralForCausalLM"):
    """A model of which no token is sent to the last expert of a layer."""

    def elsewhere(module, args, output):
        logits, scores, chosen = output
        return logits, scores, chosen.where(chosen != 3, 0)

    model = moe.made(name)
    for layer in model.model.layers:
        layer.mlp.gate.register_forward_hook(elsewhere)
    return model


def test_an_expert_with_few_tokens_or_none_is_calibrated_for_the_mean_of_its_layer():
    model = routed_to_some()
    batches = [torch.randint(3, 320, (2, 12)) for _ in range(2)]
    report = hct.compress_model(model, progress=False, calibration=batches, **FAST)
    found = {layer.name: layer for layer in report.layers if ".experts." in layer.name}
    assert len(found) == 24
    assert all(layer.calibrated for layer in found.values())
    notes = [layer.note for layer in found.values()]
    assert all("with the mean over the layer's experts" in note for note in notes)
    assert any(note.startswith("no vector for 64 inputs") for note in notes)
    assert any(note.startswith("no vector for 128 inputs") for note in notes)
    assert answer(model).isfinite().all()


def test_second_moments_are_drawn_towards_the_mean():
    model = moe.made("MixtralForCausalLM")
    _, module, _ = next(fused_experts(model))
    take_apart(module, {"gate_up_proj": ("w1", "w3"), "down_proj": ("w2",)})
    vectors = [torch.randn(n, 64, dtype=torch.float64) for n in (200, 8, 0)]
    sites = []
    for i, own in enumerate(vectors):
        layer = Layer(f"{i}.w1.weight", 64, (module.experts()[i].w1,))
        sites.append(Site([layer]))
        if len(own):
            sites[-1].hear(layer, own, None)
            sites[-1].end_batch()
    other = Site([Layer("q", 64, (model.model.layers[0].self_attn.q_proj,))])
    notes = draw_to_mean([*sites, other], model)
    every = torch.cat(vectors)
    mean = every.T @ every / len(every)
    for site, own in zip(sites, vectors, strict=True):
        expected = (own.T @ own + 64 * mean) / (len(own) + 64)
        assert torch.allclose(site.second_moment(), expected)
    assert not other.met
    assert set(notes) == {"1.w1.weight", "2.w1.weight"}
    # Alone, or without a vector in the whole layer, they are as they were.
    empty = [Site([Layer("a", 64, (module.experts()[0].w1,))])]
    assert draw_to_mean(empty, model) == {}
    assert not empty[0].met
