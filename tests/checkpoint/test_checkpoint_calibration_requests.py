"""What calibration from files refuses, and the command's options for it."""

import json

import pytest
import transformers
from block_models import SHAPE, made, saved, tokens
from models import digests

from hypercomp_rs import InvalidArgumentError, compress_checkpoint
from hypercomp_rs.checkpoint import CalibrationText
from hypercomp_rs.cli.program import run
from hypercomp_rs.errors import DtypeError, FormatError

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
