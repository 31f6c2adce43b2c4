"""Models calibrated from their files, block by block."""

import json
import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
import transformers
from models import digests
from safetensors.numpy import save_file

import hypercomp_rs.torch as hct
import hypercomp_rs.torch.transformers as hctt
from hypercomp_rs import Checkpoint, InvalidArgumentError, compress_checkpoint
from hypercomp_rs.checkpoint import CalibrationText, Progress
from hypercomp_rs.cli.program import run
from hypercomp_rs.errors import DtypeError, FormatError
from hypercomp_rs.torch.blockwise.states import StatesInFile

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


@pytest.mark.parametrize("name", MODELS)
def test_one_block_is_compressed_as_compress_model_does(name, tmp_path):
    model = made(name, blocks=1)
    folder = saved(model, tmp_path / "model")
    options = {"bits": 3, "effort": "fast"}
    with compress_checkpoint(folder, tmp_path / "small", calibration=tokens(), **options) as small:
        assert not small.report.notes
    found = weights_of(tmp_path / "small")
    batches = [{"input_ids": torch.tensor([sample])} for sample in tokens()]
    report = hct.compress_model(model, calibration=batches, progress=False, **options)
    assert sum(layer.calibrated for layer in report.layers) >= 4
    compared = 0
    for layer in report.layers:
        module = model.get_submodule(layer.name.removesuffix(".weight"))
        # What follows the block is calibrated on what the compressed block gives.
        if layer.name.startswith("lm_head"):
            continue
        compared += layer.calibrated
        np.testing.assert_array_equal(found[layer.name], dense_weight(module))
    assert compared >= 4
    # Without calibration they are others.
    compress_checkpoint(folder, tmp_path / "plain", **options).close()
    plain = weights_of(tmp_path / "plain")
    assert plain.keys() == found.keys()
    assert sum(not np.array_equal(plain[n], found[n]) for n in found) >= 4


def dense_weight(module):
    return hct.decompress_model(module).weight.detach().float().numpy()


def moments_by_hand(folder, small, samples):
    """Plainly: what each linear layer of each block gets if the blocks before it are compressed."""
    original = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    weights = weights_of(small)
    moments = {}
    with torch.no_grad():
        for i, block in enumerate(model.model.layers):
            sums = {}
            handles = []
            for name, module in block.named_modules():
                if isinstance(module, torch.nn.Linear):

                    def hook(module, args, name=name, sums=sums):
                        x = args[0].reshape(-1, args[0].shape[-1])
                        sums[name] = sums.get(name, 0) + x.T.double() @ x.double()

                    handles.append(module.register_forward_pre_hook(hook))
            for sample in samples:
                model(torch.tensor([sample]))
            for handle in handles:
                handle.remove()
            for name, total in sums.items():
                full = f"model.layers.{i}.{name}.weight"
                # Small ones are kept.
                if full not in weights:
                    continue
                moments[full] = total
                block.get_parameter(f"{name}.weight").copy_(torch.from_numpy(weights[full]))
    return moments, original


def test_each_block_is_calibrated_on_what_compressed_blocks_give(tmp_path):
    """The codes of the third block are best for inputs from two compressed blocks."""
    folder = saved(made("Llama", blocks=3), tmp_path / "model")
    options = {"bits": 2, "effort": "fast"}
    samples = tokens(24)
    compress_checkpoint(folder, tmp_path / "small", calibration=samples, **options).close()
    compress_checkpoint(folder, tmp_path / "plain", **options).close()
    moments, original = moments_by_hand(folder, tmp_path / "small", samples)
    assert len(moments) == 15
    found, plain = weights_of(tmp_path / "small"), weights_of(tmp_path / "plain")
    better = []
    for name, moment in moments.items():
        w = original.get_parameter(name).detach().numpy()
        errors = [
            np.trace((c[name] - w) @ moment.numpy() @ (c[name] - w).T) for c in (found, plain)
        ]
        better.append(errors[0] / errors[1])
    assert max(better) < 1.02, better
    assert np.mean(better) < 0.8, better


@pytest.mark.parametrize("name", ["Llama", "BERT"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_and_the_model_loads(name, dtype, tmp_path):
    folder = saved(made(name), tmp_path / "model", dtype)
    with compress_checkpoint(
        folder, tmp_path / "small", bits=4, effort="fast", calibration=tokens(4)
    ) as small:
        compressed = [small[name] for name in small.source.compressed]
    assert {c.dtype for c in compressed} == {str(dtype).removeprefix("torch.")}
    inputs = torch.tensor(tokens(1, seed=9))
    options = {"add_pooling_layer": False} if name == "BERT" else {}
    with torch.no_grad():
        got, wanted = (
            transformers.AutoModel.from_pretrained(place, dtype=torch.float32, **options)(inputs)
            for place in (tmp_path / "small", folder)
        )
    got, wanted = got.last_hidden_state, wanted.last_hidden_state
    assert (got - wanted).norm() < 0.3 * wanted.norm()


def test_memory_changes_no_byte(tmp_path, monkeypatch):
    """States in a file and second moments in several passes give the same model."""
    from hypercomp_rs.torch.blockwise import compression

    folder = saved(made("Qwen3"), tmp_path / "model")
    options = {"bits": 3, "effort": "fast"}
    compress_checkpoint(folder, tmp_path / "one", calibration=tokens(), **options).close()
    kept = []
    monkeypatch.setattr(
        compression._Run,
        "_memory",
        lambda self, outside: compression.Memory(64 * 64 * 4, 1, False),
    )
    original = StatesInFile.replace

    def replace(self, block, advance):
        original(self, block, advance)
        kept.append(block)

    monkeypatch.setattr(StatesInFile, "replace", replace)
    compress_checkpoint(folder, tmp_path / "two", calibration=tokens(), **options).close()
    assert kept == [1, 2]
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    assert not (tmp_path / "two.partial").exists()


CHILD = """
    import json, pathlib, sys
    from hypercomp_rs import compress_checkpoint
    from hypercomp_rs.checkpoint import CalibrationText
    from hypercomp_rs.torch.blockwise import compression

    if {in_file}:
        compression._Run._memory = lambda self, outside: compression.Memory(1 << 20, 2, False)
    compress_checkpoint(
        {folder!r},
        {small!r},
        bits=3,
        effort="fast",
        calibration=json.loads(pathlib.Path({samples!r}).read_text()),
        follow=lambda progress: print(progress.tensors, flush=True),
    ).close()
"""


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such signals")
@pytest.mark.parametrize("in_file", [False, True])
def test_a_killed_run_goes_on_with_the_same_bytes(in_file, tmp_path):
    folder = saved(made("Llama", blocks=3), tmp_path / "model")
    samples = tmp_path / "samples.json"
    samples.write_text(json.dumps(tokens()))
    whole, small = tmp_path / "whole", tmp_path / "small"

    def child(place):
        code = CHILD.format(
            folder=str(folder), small=str(place), samples=str(samples), in_file=in_file
        )
        return subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True
        )

    compress_checkpoint(
        folder, whole, bits=3, effort="fast", calibration=json.loads(samples.read_text())
    ).close()
    # In the second block, and in the third.
    for tensors in (7, 12):
        process = child(small)
        for line in process.stdout:
            if int(line) >= tensors:
                process.send_signal(signal.SIGKILL)
                break
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL
        states = list((tmp_path / "small.partial" / "tensors").glob("states-*"))
        assert len(states) == in_file
    last = child(small)
    out, _ = last.communicate(timeout=300)
    assert last.returncode == 0
    assert int(out.split()[0]) >= 10
    assert digests(small) == digests(whole)


def test_another_request_does_not_use_what_a_calibrated_run_left(tmp_path):
    folder = saved(made("Llama"), tmp_path / "model")
    small = tmp_path / "small"

    def stop(progress):
        if progress.tensors >= 3:
            raise KeyboardInterrupt

    options = {"bits": 3, "effort": "fast"}
    with pytest.raises(KeyboardInterrupt):
        compress_checkpoint(folder, small, calibration=tokens(), follow=stop, **options)
    for other in (
        {"calibration": tokens(seed=1), **options},
        options,
        {"calibration": tokens(), **options, "bits": 4},
    ):
        with pytest.raises(InvalidArgumentError, match=r"another run .*differ"):
            compress_checkpoint(folder, small, **other)
    compress_checkpoint(folder, small, calibration=tokens(), **options).close()


def test_target_bits_of_the_whole_model_are_met(tmp_path):
    folder = saved(made("Llama", blocks=3), tmp_path / "model")
    small = tmp_path / "small"
    compress_checkpoint(folder, small, target_bits=7, effort="fast", calibration=tokens(6)).close()
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    weights = sum(p.numel() for p in model.parameters())
    nbytes = (small / "model.safetensors").stat().st_size
    # Tensors have far fewer than 10⁵ weights.
    assert 6.9 < 8 * nbytes / weights <= 7


def test_layers_in_no_block_and_rules(tmp_path):
    """OPT projects embeddings before the first block and after the last one."""
    config = transformers.OPTConfig(
        hidden_size=128,
        ffn_dim=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        vocab_size=100,
        max_position_embeddings=48,
        word_embed_proj_dim=64,
    )
    torch.manual_seed(0)
    folder = saved(transformers.OPTForCausalLM(config), tmp_path / "model")
    options = {"bits": 3, "effort": "fast", "rules": ["*.0.fc1=keep", "*.1.fc1=bits:6"]}
    with compress_checkpoint(folder, tmp_path / "small", calibration=tokens(), **options) as small:
        assert not small.report.notes
        assert "model.decoder.layers.0.fc1.weight" not in small.source.compressed
        assert small["model.decoder.layers.1.fc1.weight"].bits_per_weight > 5
    compress_checkpoint(folder, tmp_path / "plain", **options).close()
    found, plain = weights_of(tmp_path / "small"), weights_of(tmp_path / "plain")
    for name in ("project_in", "project_out"):
        full = f"model.decoder.{name}.weight"
        assert not np.array_equal(found[full], plain[full])


def test_experts_are_compressed_without_calibration(tmp_path):
    """transformers merges them: their inputs are of the merged tensor."""
    config = transformers.MixtralConfig(num_hidden_layers=2, num_local_experts=4, **GROUPED)
    torch.manual_seed(0)
    folder = saved(transformers.MixtralForCausalLM(config), tmp_path / "model")
    options = {"bits": 3, "effort": "fast"}
    with compress_checkpoint(folder, tmp_path / "small", calibration=tokens(), **options) as small:
        notes = small.report.notes
    assert len(notes) == 2 * 4 * 3
    assert all("experts" in name for name in notes)
    compress_checkpoint(folder, tmp_path / "plain", **options).close()
    found, plain = weights_of(tmp_path / "small"), weights_of(tmp_path / "plain")
    for name, w in found.items():
        same = "experts" in name or "embed" in name
        assert np.array_equal(w, plain[name]) == same, name


def test_large_tables_are_read_row_by_row(tmp_path, monkeypatch):
    from hypercomp_rs.checkpoint import Shards
    from hypercomp_rs.torch.blockwise import outline

    folder = saved(made("Llama"), tmp_path / "model")
    compress_checkpoint(folder, tmp_path / "whole", bits=3, calibration=tokens(4)).close()
    rows = []
    sample = Shards.sample

    def counted(self, name, wanted):
        rows.append((name, list(wanted)))
        return sample(self, name, wanted)

    monkeypatch.setattr(outline, "LARGE_TABLE", 1)
    monkeypatch.setattr(Shards, "sample", counted)
    compress_checkpoint(folder, tmp_path / "rows", bits=3, calibration=tokens(4)).close()
    assert {name for name, _ in rows} == {"model.embed_tokens.weight"}
    assert sorted(set(tokens(4)[0])) in [wanted for _, wanted in rows]
    assert digests(tmp_path / "whole") == digests(tmp_path / "rows")
    with pytest.raises(
        InvalidArgumentError, match="sample 0 has token 100, and the model knows 0 to 99"
    ):
        compress_checkpoint(folder, tmp_path / "x", calibration=[[1, 100]])


REFUSED = {
    "an encoder with a decoder": lambda: transformers.T5ForConditionalGeneration(
        transformers.T5Config(d_model=64, d_ff=64, d_kv=16, num_layers=1, vocab_size=100)
    ),
    "calls its block 0 where block 1": lambda: transformers.AlbertModel(
        transformers.AlbertConfig(embedding_size=64, num_hidden_layers=2, **SHAPE)
    ),
}


@pytest.mark.parametrize("why", REFUSED)
def test_other_models_are_refused(why, tmp_path):
    folder = saved(REFUSED[why](), tmp_path / "model")
    with pytest.raises(InvalidArgumentError, match=f"{why}.*compress_model"):
        compress_checkpoint(folder, tmp_path / "small", calibration=tokens())


def test_refusals(tmp_path):
    folder = saved(made("Llama"), tmp_path / "model")
    small = tmp_path / "small"

    def refused(match, error=InvalidArgumentError, calibration=None, src=folder, **options):
        with pytest.raises(error, match=match):
            compress_checkpoint(src, small, calibration=(calibration or tokens)(), **options)
        assert not small.exists()
        assert not (tmp_path / "small.partial").exists()

    refused("sparsity", sparsity="keep")
    refused("target_sqnr_db", target_sqnr_db=20)
    refused("calibration is a int", DtypeError, calibration=lambda: 3)
    refused("sample 1: a sequence of 1 to 48 tokens", calibration=lambda: [[1], []])
    refused("sample 0", DtypeError, calibration=lambda: [["a"]])
    refused("samples=0", calibration=lambda: CalibrationText(tokens(), samples=0))
    refused("memory=1000: one block", calibration=lambda: CalibrationText(tokens(), memory=1000))
    refused("device='nowhere'", calibration=lambda: CalibrationText(tokens(), device="nowhere"))
    refused("with config.json", src=folder / "model.safetensors")
    text = tmp_path / "text"
    text.write_text("words")
    refused("finds no tokenizer", calibration=lambda: text)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"architectures": ["Another"]}))
    refused("does not know this model.*compress_model")
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    refused("lacks weights: model.layers.2", FormatError)
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 96}))
    refused("do not fit LlamaForCausalLM", FormatError)


@pytest.fixture
def with_tokenizer(tmp_path):
    """A tiny model with a tokenizer of words."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    folder = saved(made("Llama"), tmp_path / "model")
    vocabulary = {f"w{i}": i for i in range(100)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="w0")
    fast.save_pretrained(folder)
    text = tmp_path / "text.txt"
    text.write_text(" ".join(f"w{i % 97}" for i in range(1000)))
    return folder, text


def test_the_command_calibrates(with_tokenizer, tmp_path, capsys):
    folder, text = with_tokenizer
    options = ["--bits", "3", "--effort", "fast", "--no-progress"]
    calibration = ["--calibration", str(text), "--samples", "4", "--context", "40"]
    command = ["compress", str(folder), str(tmp_path / "small"), *options, *calibration]
    assert run([*command, "--memory", "1G", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["compressed"] == 12
    # The windows of 40 tokens begin at the start, and at a quarter, half and three quarters.
    words = [i % 97 for i in range(1000)]
    samples = [words[40 * (25 * i // 4) :][:40] for i in range(4)]
    compress_checkpoint(
        folder, tmp_path / "given", bits=3, effort="fast", calibration=samples
    ).close()
    assert digests(tmp_path / "small") == digests(tmp_path / "given")
    # A text of fewer tokens than a window is one sample, and none at all an error.
    text.write_text(" ".join(f"w{i}" for i in range(20)))
    assert run([*command[:2], str(tmp_path / "short"), *options, *calibration]) == 0
    compress_checkpoint(
        folder, tmp_path / "all", bits=3, effort="fast", calibration=[list(range(20))]
    ).close()
    assert digests(tmp_path / "short") == digests(tmp_path / "all")
    text.write_text(" ")
    assert run([*command[:2], str(tmp_path / "x"), *options, *calibration]) == 2
    assert "a text without tokens" in capsys.readouterr().err
    assert run(["compress", str(folder), str(tmp_path / "x"), "--samples", "3"]) == 2
    assert "--samples is for --calibration" in capsys.readouterr().err
    assert run([*command[:2], str(tmp_path / "x"), *calibration, "--memory", "much"]) == 2
    assert "a number of bytes such as 8G" in capsys.readouterr().err


def test_progress_counts_every_weight_once(tmp_path):
    folder = saved(made("Llama"), tmp_path / "model")
    seen = []
    compress_checkpoint(
        folder, tmp_path / "small", bits=3, effort="fast", calibration=tokens(3), follow=seen.append
    ).close()
    assert all(isinstance(progress, Progress) for progress in seen)
    weights = [progress.weights for progress in seen]
    assert weights == sorted(weights)
    assert weights[-1] == seen[-1].of_weights
    assert {progress.of_tensors for progress in seen} == {12}
    assert [p.tensors for p in seen][:2] == [0, 1]


def test_from_pretrained_calibrates_as_compress_model_does(tmp_path):
    folder = saved(made("Llama"), tmp_path / "model")
    batches = [{"input_ids": torch.tensor([sample])} for sample in tokens()]
    options = {"bits": 3, "effort": "fast", "calibration": batches}
    config = hctt.HypercompConfig(
        **options, rules=["*.0.mlp.*=keep"], modules_to_not_convert=["lm_head"]
    )
    auto = transformers.AutoModelForCausalLM
    loaded = auto.from_pretrained(folder, quantization_config=config)
    plain = auto.from_pretrained(folder)
    rules = ["*.0.mlp.*=keep", "lm_head=keep"]
    hct.compress_model(plain, **options, rules=rules, progress=False)
    inputs = torch.tensor(tokens(1, seed=9))
    assert not isinstance(loaded.lm_head, hct.CompressedModule)
    assert not isinstance(loaded.model.layers[0].mlp.up_proj, hct.CompressedModule)
    assert isinstance(loaded.model.layers[1].mlp.up_proj, hct.CompressedModule)
    with torch.no_grad():
        wanted = plain(inputs).logits
        assert torch.equal(loaded(inputs).logits, wanted)
        said = loaded.config.quantization_config
        assert "calibration" not in said.to_dict()
        loaded.save_pretrained(tmp_path / "saved")
        assert torch.equal(auto.from_pretrained(tmp_path / "saved")(inputs).logits, wanted)
    with pytest.raises(InvalidArgumentError, match="calibration with sparsity"):
        hctt.HypercompConfig(bits=3, sparsity="keep", calibration=batches)


MEASURED = """
    import json, sys
    from hypercomp_rs import compress_checkpoint
    from hypercomp_rs.checkpoint import CalibrationText

    def status(name):
        lines = open("/proc/self/status").read().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))

    def run(folder, small, samples, memory):
        text = CalibrationText(samples, memory=memory)
        rules = ["*.mlp.*=keep", "*.k_proj=keep", "*.v_proj=keep", "*.o_proj=keep"]
        compress_checkpoint(
            folder, small, bits=2, effort="fast", calibration=text, rules=rules, threads=1
        ).close()

    large, tiny, memory = sys.argv[1], sys.argv[2], int(sys.argv[3])
    run(tiny, tiny + "-small", [[1, 2, 3]], None)  # imports everything
    open("/proc/self/clear_refs", "w").write("5")  # the peak so far is forgotten
    before = status("VmRSS:")
    run(large, large + "-small", [[(i * j) % 97 for j in range(64)] for i in range(6)], memory)
    print(status("VmHWM:") - before)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="Linux says the peak")
def test_a_model_larger_than_the_limit_of_memory(tmp_path):
    """400 MB of weights, calibrated within 150 MB."""
    config = transformers.LlamaConfig(
        hidden_size=1024,
        intermediate_size=1024,
        num_hidden_layers=14,
        num_attention_heads=8,
        vocab_size=100,
        max_position_embeddings=128,
    )
    folder = tmp_path / "large"
    folder.mkdir()
    with torch.device("meta"):
        shapes = {k: v.shape for k, v in transformers.LlamaForCausalLM(config).state_dict().items()}
    draw = np.random.default_rng(0)
    weights = {
        name: (
            draw.standard_normal(shape, np.float32) / 32
            if len(shape) == 2
            else np.ones(shape, "f4")
        )
        for name, shape in shapes.items()
    }
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    del weights
    config.architectures = ["LlamaForCausalLM"]
    config.save_pretrained(folder)
    saved(made("Llama"), tmp_path / "tiny")
    limit = 150 << 20
    assert (folder / "model.safetensors").stat().st_size > 2.5 * limit
    run = subprocess.run(
        [
            *(sys.executable, "-c", textwrap.dedent(MEASURED)),
            *(str(folder), str(tmp_path / "tiny"), str(limit)),
        ],
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) < limit, f"{int(run.stdout) >> 20} MiB"
    with Checkpoint.open(tmp_path / "large-small") as small:
        assert len(small.source.compressed) == 14 + 2
