"""Perplexity, divergence and similarity of embeddings, against plain programs of the same."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr
from tokenizers import Tokenizer, models, pre_tokenizers

import hypercomp_rs as hc
from hypercomp_rs.evaluate import divergence, embedding_similarity, perplexity
from hypercomp_rs.evaluate.windows import windows

VOCABULARY = 61


def llama(seed=0, vocabulary=VOCABULARY, layers=2, hidden=32):
    torch.manual_seed(seed)
    config = transformers.LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
    )
    model = transformers.LlamaForCausalLM(config)
    # As drawn, all logits are nearly the same.
    model.lm_head.weight.data *= 20
    return model


def tokens(n=150, seed=0):
    return np.random.default_rng(seed).integers(0, VOCABULARY, n)


def slow_losses(model, tokens, context, stride):
    """Every token by a run of its own, in the window that is the first to reach it."""
    model = model.eval().double()
    losses = []
    for place in range(1, len(tokens)):
        begin = 0
        while begin + context <= place:
            begin += stride
        seen = torch.as_tensor(tokens[begin:place]).unsqueeze(0)
        if seen.shape[1] == 0:
            continue  # windows that do not overlap: nothing stands before it
        with torch.no_grad():
            logits = model(seen).logits[0, -1]
        losses.append(float(torch.logsumexp(logits, 0) - logits[tokens[place]]))
    model.float()
    return np.array(losses)


@pytest.mark.parametrize(
    ("context", "stride"), [(64, 32), (16, 8), (16, 16), (16, 5), (2, 1), (2, 2), (3, 3), (64, 64)]
)
@pytest.mark.parametrize("n", [2, 17, 65])
def test_perplexity_is_that_of_every_token_by_itself(context, stride, n):
    model, text = llama(), tokens(n)
    found = perplexity(model, text, context, stride)
    slow = slow_losses(model, text, context, stride)
    np.testing.assert_allclose(found.losses, slow, atol=2e-5)
    assert found.perplexity == pytest.approx(np.exp(slow.mean()), rel=1e-5)
    assert (found.context, found.stride, found.tokens) == (context, stride, len(slow))


def test_perplexity_is_that_of_the_guide_of_transformers():
    # Its windows and labels; its mean over windows is made one over tokens.
    model, text = llama().eval(), torch.as_tensor(tokens()).unsqueeze(0)
    context, stride, total, count, before = 32, 12, 0.0, 0, 0
    for begin in range(0, text.shape[1], stride):
        end = min(begin + context, text.shape[1])
        labels = text[:, begin:end].clone()
        labels[:, : before - begin] = -100
        with torch.no_grad():
            loss = model(text[:, begin:end], labels=labels).loss
        scored = int((labels[:, 1:] != -100).sum())
        total, count, before = total + float(loss) * scored, count + scored, end
        if end == text.shape[1]:
            break
    found = perplexity(model, text[0], context, stride)
    assert found.tokens == count == text.shape[1] - 1
    assert found.perplexity == pytest.approx(np.exp(total / count), rel=1e-6)


@given(st.integers(2, 300), st.integers(2, 50), st.data())
def test_windows_score_every_token_once_and_see_no_more_than_the_context(length, context, data):
    stride = data.draw(st.integers(1, context))
    scored = []
    for number, (begin, end, first) in enumerate(windows(length, context, stride)):
        assert begin < first < end <= begin + context
        assert number == 0 or first - begin >= max(1, context - stride)
        scored += range(first, end)
    skipped = range(0, length, context) if stride == context else [0]
    assert scored == [place for place in range(length) if place not in skipped]


def test_a_model_that_knows_nothing_has_the_perplexity_of_its_vocabulary():
    model = llama()
    model.lm_head.weight.data.zero_()
    found = perplexity(model, tokens())
    assert found.perplexity == pytest.approx(VOCABULARY, rel=1e-5)
    assert found.standard_error == pytest.approx(0, abs=1e-4)
    assert (found.context, found.stride) == (64, 32)
    assert repr(found).startswith("Perplexity(61 ± ")


class Bigrams(torch.nn.Module):
    """The plainest language model: no configuration, and logits that are a tensor."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.table = torch.nn.Parameter(torch.randn(VOCABULARY, VOCABULARY))
        self.dropout = torch.nn.Dropout(0.5)

    def forward(self, seen):
        return self.dropout(self.table[seen])


def test_any_module_that_gives_logits_will_do_and_is_left_as_it_was():
    model, text = Bigrams().train(), tokens()
    expected = -torch.log_softmax(model.table, 1)[text[:-1], text[1:]].detach().numpy()
    found = perplexity(model, text.tolist(), 10, 3)
    np.testing.assert_allclose(found.losses, expected, rtol=1e-5)
    assert model.training
    both = divergence(model, model, text, 10)
    assert both.mean == 0


def test_a_perplexity_beyond_floats_is_infinite_and_a_ratio_needs_one_text():
    model = llama()
    model.lm_head.weight.data *= 1e5
    found = perplexity(model, tokens())
    assert found.perplexity == np.inf
    with pytest.raises(hc.InvalidArgumentError, match="not of one text"):
        found.ratio(perplexity(model, tokens(), 16))


def test_divergence_is_that_of_the_distributions():
    one, other, text = llama(0), llama(1), tokens(40)
    found = divergence(one, other, text)
    with torch.no_grad():
        p, q = (
            torch.log_softmax(m.eval()(torch.as_tensor(text).unsqueeze(0)).logits[0, :-1], 1)
            .double()
            .numpy()
            for m in (one, other)
        )
    np.testing.assert_allclose(found.divergences, (np.exp(p) * (p - q)).sum(1), rtol=1e-3)
    assert found.same_top == (p.argmax(1) == q.argmax(1)).mean()
    np.testing.assert_allclose(found.original.losses, perplexity(one, text).losses, rtol=1e-6)
    np.testing.assert_allclose(found.compressed.losses, perplexity(other, text).losses, rtol=1e-6)
    ratio, error = found.compressed.ratio(found.original)
    assert ratio == pytest.approx(found.compressed.perplexity / found.original.perplexity)
    difference = found.compressed.losses - found.original.losses
    assert error == pytest.approx(ratio * difference.std(ddof=1) / np.sqrt(len(text) - 1))


def test_compression_costs_less_with_more_bits():
    model, text = llama(layers=1), tokens(64)
    means = []
    for bits in (2, 3, 4, 6):
        compressed = llama(layers=1)
        for parameter in compressed.parameters():
            if parameter.ndim == 2:
                c = hc.compress_tensor(parameter.data, bits=bits)
                parameter.data = hc.decompress_tensor(c)
        means.append(divergence(model, compressed, text).mean)
    assert sorted(means, reverse=True) == means
    assert means[-1] < means[0] / 30


def broken(value):
    model = llama()
    model.lm_head.weight.data[3, 5] = value
    return model


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: perplexity(llama(), [5]), hc.InvalidArgumentError, "1 tokens"),
        (lambda: perplexity(llama(), []), hc.InvalidArgumentError, "0 tokens"),
        (lambda: perplexity(llama(), [[1, 2]]), hc.DtypeError, "one axis"),
        (lambda: perplexity(llama(), [[1], [2, 3]]), hc.DtypeError, "text"),
        (lambda: perplexity(llama(), [0.5, 1]), hc.DtypeError, "float64"),
        (
            lambda: perplexity(llama(), [1, 61]),
            hc.InvalidArgumentError,
            "token 1 of the text is 61",
        ),
        (
            lambda: perplexity(llama(), [-1, 3]),
            hc.InvalidArgumentError,
            "token 0 of the text is -1",
        ),
        (lambda: perplexity(llama(), "some text"), hc.InvalidArgumentError, "give its tokenizer="),
        (lambda: perplexity(llama(), [1, 2], 65), hc.InvalidArgumentError, "context=65: 2 to 64"),
        (lambda: perplexity(llama(), [1, 2], 1), hc.InvalidArgumentError, "context=1"),
        (lambda: perplexity(llama(), [1, 2], 8, 9), hc.InvalidArgumentError, "stride=9: 1 to 8"),
        (lambda: perplexity(llama(), [1, 2], 8, 0), hc.InvalidArgumentError, "stride=0"),
        (lambda: perplexity(llama(), [1, 2], 8, 1.5), hc.InvalidArgumentError, "an integer"),
        (lambda: perplexity(7, [1, 2]), hc.DtypeError, "model is a int"),
        (lambda: perplexity(llama(), [1, 2], device="cpu"), hc.InvalidArgumentError, "device"),
        (lambda: perplexity("/absent", "text"), hc.InvalidArgumentError, "no such folder"),
        (lambda: perplexity("/absent/x.gguf", "text"), hc.InvalidArgumentError, "no such file"),
        (lambda: perplexity(broken(np.nan), [1, 2]), hc.NonFiniteError, "token 1 of the text"),
        (
            lambda: divergence(llama(), llama(vocabulary=70), [1, 2]),
            hc.InvalidArgumentError,
            "vocabularies of 61 and 70",
        ),
    ],
)
def test_mistakes_in_language_models_are_named(call, error, says):
    with pytest.raises(error, match=says):
        call()


WORDS = ["the", "cat", "sat", "on", "a", "mat", "and", "dogs", "did", "not"]


def saved(folder, model):
    """A folder as transformers has them, with a tokenizer of a few words."""
    words = Tokenizer(models.WordLevel({w: i for i, w in enumerate(["?", *WORDS])}, unk_token="?"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    model.save_pretrained(folder)
    transformers.PreTrainedTokenizerFast(tokenizer_object=words).save_pretrained(folder)
    return folder


def test_a_folder_has_its_model_and_tokenizer(tmp_path):
    model = llama()
    folder = saved(tmp_path / "model", model)
    text = "the cat sat on a mat and the dogs did not sit"
    ids = [1 + WORDS.index(w) if w in WORDS else 0 for w in text.split()]
    expected = perplexity(model, ids).losses
    np.testing.assert_allclose(perplexity(folder, text).losses, expected, rtol=1e-6)
    np.testing.assert_allclose(perplexity(str(folder), ids).losses, expected, rtol=1e-6)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    found = perplexity(model, text, tokenizer=tokenizer)
    np.testing.assert_allclose(found.losses, expected, rtol=1e-6)
    assert divergence(folder, model, text).mean < 1e-6


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        (None, hc.InvalidArgumentError, "has no config.json"),
        ("{", hc.FormatError, "config.json"),
        ("[1]", hc.FormatError, "a JSON object is accepted"),
    ],
)
def test_a_folder_that_is_no_models_is_named(tmp_path, text, error, says):
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(error, match=says):
        perplexity(tmp_path, "text")


def test_similarity_is_cosine_and_spearmans_correlation():
    rng = np.random.default_rng(0)
    one = rng.standard_normal((30, 8))
    other = (one + 0.3 * rng.standard_normal((30, 8))) * rng.uniform(0.1, 9, (30, 1))
    found = embedding_similarity(one, other, ["x"] * 30)

    def cosine(a, b):
        return a @ b / np.sqrt((a @ a) * (b @ b))

    cosines = [cosine(a, b) for a, b in zip(one, other, strict=True)]
    pairs = [(i, j) for i in range(30) for j in range(i)]
    ranks = spearmanr(*([cosine(e[i], e[j]) for i, j in pairs] for e in (one, other)))
    np.testing.assert_allclose(found.cosines, cosines)
    assert found.mean_cosine == pytest.approx(np.mean(cosines))
    assert found.min_cosine == pytest.approx(min(cosines))
    assert found.rank_agreement == pytest.approx(ranks.statistic)
    assert found.sentences == 30
    # Lengths do not matter, and equal cosines share a rank.
    assert embedding_similarity(one, 3 * one, ["x"] * 30).rank_agreement == pytest.approx(1)
    assert np.isnan(embedding_similarity(one[:3] * 0 + 1, one[:3], list("abc")).rank_agreement)


class Encoder:
    """Letters counted, as a tensor with a gradient."""

    def encode(self, sentences):
        counts = [[s.count(c) + 1.0 for c in "aeiou"] for s in sentences]
        return torch.tensor(counts, requires_grad=True)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda e: (e, e, "abc"), hc.DtypeError, "a sequence of str"),
        (lambda e: (e, e, [1, 2, 3]), hc.DtypeError, "a sequence of str"),
        (lambda e: (e, e, ["a", "b"]), hc.InvalidArgumentError, "2 sentences"),
        (lambda e: (e, e, ["a"] * 16_385), hc.TooLargeError, "16384"),
        (lambda e: (e, np.ones((2, 5)), list("abc")), hc.InvalidArgumentError, r"shape \(2, 5\)"),
        (lambda e: (e, np.ones((3, 4)), list("abc")), hc.InvalidArgumentError, "5 and 4 entries"),
        (
            lambda e: (e, np.zeros((3, 5)), list("abc")),
            hc.InvalidArgumentError,
            "sentence 0 is zer",
        ),
        (lambda e: (np.eye(3) * np.inf, e, list("abc")), hc.NonFiniteError, "original: the embedd"),
        (lambda e: (e, 5, list("abc")), hc.DtypeError, "compressed is a int"),
        (lambda e: (e, "/absent", list("abc")), hc.InvalidArgumentError, "no such folder"),
        (lambda e: (e, "x.gguf", list("abc")), hc.InvalidArgumentError, "is a GGUF file"),
    ],
)
def test_mistakes_in_encoders_are_named(call, error, says):
    with np.errstate(invalid="ignore"), pytest.raises(error, match=says):
        embedding_similarity(*call(Encoder()))


def test_an_encoder_is_whatever_encodes():
    sentences = ["a cat", "some dogs", "no one", "your aunt"]
    found = embedding_similarity(Encoder(), Encoder().encode(sentences).detach().numpy(), sentences)
    assert found.min_cosine == pytest.approx(1)


@pytest.mark.parametrize(
    ("blocked", "call", "says"),
    [
        ("torch", "perplexity('x', 'y')", "torch: pip install 'hypercomp-rs[eval]'"),
        ("transformers", "perplexity('x', 'y')", "transformers: pip install 'hypercomp-rs[eval]'"),
        (
            "sentence_transformers",
            "embedding_similarity('x', 'x', ['a'] * 3)",
            "sentence_transformers: pip install 'hypercomp-rs[eval]'",
        ),
        ("gguf", "perplexity('x.gguf', 'y')", "gguf: pip install 'hypercomp-rs[gguf]'"),
    ],
)
def test_a_missing_package_is_named_with_the_extra_that_has_it(tmp_path, blocked, call, says):
    (tmp_path / "x.gguf").touch()
    code = f"""
        import sys
        sys.modules["{blocked}"] = None
        import hypercomp_rs.evaluate
        assert "torch" not in sys.modules or sys.modules["torch"] is None
        try:
            hypercomp_rs.evaluate.{call}
        except hypercomp_rs.MissingExtraError as error:
            print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, cwd=tmp_path
    )
    assert says in done.stdout, done.stderr


def test_a_part_of_a_split_model_is_not_taken_for_the_whole(tmp_path):
    for number in (1, 2):
        (tmp_path / f"x-0000{number}-of-00002.gguf").touch()
    with pytest.raises(hc.InvalidArgumentError, match=r"is one of 2 parts, .*join them"):
        perplexity(tmp_path / "x-00001-of-00002.gguf", "text")
    (tmp_path / "x-00002-of-00002.gguf").unlink()
    with pytest.raises(hc.FormatError, match=r"x-00002-of-00002\.gguf is missing"):
        perplexity(tmp_path / "x-00001-of-00002.gguf", "text")
