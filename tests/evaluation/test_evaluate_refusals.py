"""What is evaluated is what was asked for: devices, tasks, and weights that are not there."""

import json

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from test_evaluate import VOCABULARY, llama, saved

import hypercomp_rs as hc
from hypercomp_rs.checkpoint import compress_checkpoint
from hypercomp_rs.cli import program
from hypercomp_rs.evaluate import divergence, embedding_similarity, models, perplexity

TEXT = "the cat sat on a mat and the dogs did not sit"
TOKENS = list(range(1, 40))
SENTENCES = ["the cat", "a mat", "dogs did not"]
NEW_HEAD = "which would be drawn at random"


def bert(kind="BertModel", **options):
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        **options,
    )
    return getattr(transformers, kind)(config)


def t5():
    config = transformers.T5Config(
        vocab_size=VOCABULARY, d_model=32, d_kv=8, d_ff=64, num_layers=1, num_heads=4
    )
    return transformers.T5ForConditionalGeneration(config)


@pytest.fixture
def nothing_is_read(monkeypatch):
    """Models must not be read where an error can be told without."""

    def read(path, device):
        raise AssertionError(f"{path} is read")

    monkeypatch.setattr(models, "causal_lm", read)
    monkeypatch.setattr(models, "encoder", read)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("llama") / "model", llama(hidden=64))


def padded(folder, model):
    """The same with a token that sentences of other lengths are padded by."""
    saved(folder, model)
    tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(folder, pad_token="?")
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return padded(tmp_path_factory.mktemp("bert") / "model", bert())


ABSENT = ["foo", "cuda:x", "", "meta", "cuda:99", "privateuseone", 7]
if not torch.cuda.is_available():
    ABSENT += ["cuda", "cuda:0"]
if not torch.backends.mps.is_available():
    ABSENT.append("mps")


@pytest.mark.parametrize("device", ABSENT, ids=repr)
@pytest.mark.usefixtures("nothing_is_read")
def test_a_device_that_is_not_there_is_named_before_anything_is_read(device, folder, encoder):
    for call in (
        lambda: perplexity(folder, TEXT, device=device),
        lambda: divergence(folder, folder, TEXT, device=device),
        lambda: embedding_similarity(encoder, encoder, SENTENCES, device=device),
        lambda: perplexity("/absent", "", device=device),
    ):
        with pytest.raises(hc.InvalidArgumentError, match=r"^device"):
            call()


def test_devices_of_torch_are_taken_and_of_objects_are_not(folder):
    found = perplexity(folder, TEXT, device=torch.device("cpu"))
    np.testing.assert_array_equal(found.losses, perplexity(folder, TEXT, device="cpu").losses)
    with pytest.raises(hc.InvalidArgumentError, match=r"^device: for encoders given as a path"):
        embedding_similarity(np.eye(3), np.eye(3), SENTENCES, device="cpu")


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (bert, "is a BertModel: a causal language model is accepted"),
        (lambda: bert("BertForMaskedLM"), "is a BertForMaskedLM: a causal"),
        (lambda: bert("BertForSequenceClassification"), "is a BertForSequenceClassification"),
        (lambda: llama().model, "is a LlamaModel: a causal language model is accepted"),
        (t5, "is a T5ForConditionalGeneration"),
    ],
)
@pytest.mark.usefixtures("nothing_is_read")
def test_what_has_no_causal_head_is_refused_by_its_architecture(model, says, folder, tmp_path):
    wrong = saved(tmp_path / "wrong", model())
    for call in (
        lambda: perplexity(wrong, TEXT),
        lambda: perplexity(str(wrong), TOKENS),
        lambda: divergence(folder, wrong, TEXT),
        lambda: divergence(wrong, folder, TEXT),
        lambda: divergence(llama(), wrong, TOKENS),
    ):
        with pytest.raises(hc.InvalidArgumentError, match=says):
            call()


def without_architectures(folder):
    config = json.loads((folder / "config.json").read_text())
    del config["architectures"]
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (bert, rf"no causal language model: it has no cls\..* and 3 more, {NEW_HEAD}"),
        (lambda: bert("BertForTokenClassification"), NEW_HEAD),
        (lambda: llama().model, rf"it has no lm_head\.weight, {NEW_HEAD}"),
        (lambda: bert("BertForMaskedLM"), "sees the tokens that it is to predict"),
        (t5, "cannot be loaded|encoder with a decoder"),
    ],
)
def test_without_an_architecture_the_weights_say_it(model, says, tmp_path):
    wrong = without_architectures(saved(tmp_path / "wrong", model()))
    with pytest.raises(hc.InvalidArgumentError, match=says):
        perplexity(wrong, TOKENS)


@pytest.mark.parametrize("name", ["lm_head.weight", "model.layers.1.mlp.up_proj.weight"])
def test_a_weight_that_is_missing_is_named(name, tmp_path):
    broken = saved(tmp_path / "broken", llama())
    tensors = load_file(broken / "model.safetensors")
    del tensors[name]
    save_file(tensors, broken / "model.safetensors", {"format": "pt"})
    with pytest.raises(hc.InvalidArgumentError, match=f"it has no {name}, {NEW_HEAD}"):
        perplexity(broken, TOKENS)


def test_a_compressed_folder_is_refused_like_what_it_was_made_from(tmp_path):
    wrong = saved(tmp_path / "wrong", bert())
    compress_checkpoint(wrong, tmp_path / "small", bits=4).close()
    with pytest.raises(hc.InvalidArgumentError, match="is a BertModel"):
        perplexity(tmp_path / "small", TOKENS)
    without_architectures(tmp_path / "small")
    with pytest.raises(hc.InvalidArgumentError, match=NEW_HEAD):
        perplexity(tmp_path / "small", TOKENS)


class Bare(torch.nn.Module):
    """Gives what it is made with."""

    def __init__(self, given):
        super().__init__()
        self.given = given

    def forward(self, seen):
        return self.given


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (lambda: bert("BertForMaskedLM"), "BertForMaskedLM sees the tokens"),
        (lambda: bert("BertLMHeadModel"), "BertLMHeadModel sees the tokens"),
        (bert, r"gives 32 logits for a token|BaseModelOutput"),
        (lambda: bert("BertForSequenceClassification"), r"of shape \(1, 2\)"),
        (lambda: bert("BertForTokenClassification"), "2 logits for a token, and the text has"),
        (t5, "an encoder with a decoder"),
        (lambda: Bare(None), "gives a NoneType no tensor"),
        (lambda: Bare(torch.zeros(39, VOCABULARY)), r"of shape \(39, 61\)"),
    ],
)
def test_modules_that_predict_nothing_are_refused(model, says):
    for call in (
        lambda: perplexity(model(), TOKENS),
        lambda: divergence(llama(), model(), TOKENS),
    ):
        with pytest.raises(hc.InvalidArgumentError, match=says):
            call()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_causal_models_of_any_dtype_and_kind_are_taken(dtype):
    decoder = bert("BertLMHeadModel", is_decoder=True)
    config = transformers.GPT2Config(
        vocab_size=VOCABULARY, n_positions=64, n_embd=32, n_layer=1, n_head=2
    )
    for model in (llama(), decoder, transformers.GPT2LMHeadModel(config)):
        found = perplexity(model.to(dtype), TOKENS)
        assert found.tokens == len(TOKENS) - 1
    assert perplexity(llama().to(dtype), [5, 5, 5]).tokens == 2


@pytest.mark.usefixtures("nothing_is_read")
def test_texts_and_lengths_are_checked_before_a_model_is_read(folder, tmp_path):
    for call, says in [
        (lambda: perplexity(folder, "cat"), "text has 1 tokens"),
        (lambda: perplexity(folder, ""), "text has 0 tokens"),
        (lambda: perplexity(folder, TEXT, 65), "context=65: 2 to 64"),
        (lambda: perplexity(folder, TEXT, 8, 9), "stride=9: 1 to 8"),
        (lambda: divergence(folder, "/absent", TEXT), "/absent: there is no such folder"),
        (lambda: embedding_similarity(folder, folder, SENTENCES[:2]), "2 sentences"),
        (lambda: embedding_similarity(folder, folder, SENTENCES, batch=0), "batch=0"),
        (lambda: embedding_similarity(folder, folder, SENTENCES), "is a LlamaForCausalLM without"),
    ]:
        with pytest.raises(hc.InvalidArgumentError, match=says):
            call()


def test_tokens_need_no_tokenizer_and_a_path_may_be_bytes(folder, tmp_path):
    llama(hidden=64).save_pretrained(tmp_path / "bare")
    found = perplexity(bytes(tmp_path / "bare"), TOKENS)
    np.testing.assert_array_equal(found.losses, perplexity(folder, TOKENS).losses)
    with pytest.raises(hc.InvalidArgumentError, match="bare cannot be loaded"):
        perplexity(tmp_path / "bare", TEXT)


def test_a_model_that_transformers_does_not_know_is_named(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "unheard-of"}')
    with pytest.raises(hc.InvalidArgumentError, match="cannot be loaded: ValueError"):
        perplexity(tmp_path, TOKENS)
    with pytest.raises(hc.InvalidArgumentError, match="cannot be loaded: ValueError"):
        embedding_similarity(tmp_path, tmp_path, SENTENCES)


def test_an_encoder_that_lacks_weights_is_named_and_a_pooler_is_none(encoder, tmp_path):
    masked = padded(tmp_path / "masked", bert("BertForMaskedLM"))
    # Its pooler would be new, and nobody asks for it.
    assert embedding_similarity(masked, masked, SENTENCES).min_cosine == pytest.approx(1)
    tensors = load_file(encoder / "model.safetensors")
    del tensors["encoder.layer.1.output.dense.weight"]
    broken = padded(tmp_path / "broken", bert())
    save_file(tensors, broken / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        hc.InvalidArgumentError,
        match=rf"no sentence encoder: it has no encoder\.layer\.1\.output\.dense.*, {NEW_HEAD}",
    ):
        embedding_similarity(encoder, broken, SENTENCES)


def test_the_command_names_what_does_not_fit(folder, encoder, tmp_path, capsys):
    text = tmp_path / "text"
    text.write_text("the cat\na mat\nthe dogs\n")
    (tmp_path / "short").write_text("cat")
    for arguments, says in [
        ([folder, text, "--device", "foo"], "device='foo'"),
        ([encoder, text, "--against", encoder, "--device", "cuda:99"], "device='cuda:99'"),
        ([encoder, text, "--task", "perplexity"], "is a BertModel: a causal language model"),
        ([folder, text, "--against", encoder], "is a BertModel: a causal language model"),
        ([folder, text, "--task", "similarity", "--against", folder], "is a LlamaForCausalLM"),
        ([encoder, text, "--against", folder], "is a LlamaForCausalLM"),
        ([folder, text, "--batch", "3"], "--batch is for encoders"),
        ([folder, tmp_path / "short"], "text has 1 tokens"),
        ([encoder, tmp_path / "short", "--against", encoder], "1 sentences"),
    ]:
        code = program.run(["eval", *map(str, arguments)])
        said = capsys.readouterr()
        assert (code, said.out) == (2, ""), arguments
        assert says in said.err.replace("\n", " "), (arguments, said.err)
