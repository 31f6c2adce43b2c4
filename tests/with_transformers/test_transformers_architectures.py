"""Models of many architectures load from compressed folders as what these decode to; offline."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
import transformers
from small_transformers import (
    FAST,
    MOE,
    PARENTS,
    RENAMED,
    TEXT,
    compressed,
    made,
    quietly,
    same_weights,
    t,
)

import hypercomp_rs as hc
import hypercomp_rs.torch as hct
import hypercomp_rs.torch.weight
from hypercomp_rs import compress_checkpoint, decompress_checkpoint
from hypercomp_rs.torch.transformers import HypercompConfig

KINDS = {**MOE, **PARENTS, **RENAMED}


@pytest.fixture(scope="module", params=KINDS, ids=str)
def folders(request, tmp_path_factory):
    """The class of a model, and its folders: dense, compressed by the command, and that decoded."""
    name = request.param
    folder = tmp_path_factory.mktemp(name)
    made(name, KINDS[name]()).save_pretrained(folder / "dense")
    compress_checkpoint(folder / "dense", folder / "small", **FAST).close()
    decompress_checkpoint(folder / "small", folder / "decoded", threads=1)
    return t(name), folder


def loaded(cls, folder, **options):
    """A model of which nothing was left to initialise itself."""
    with quietly():
        model, info = cls.from_pretrained(folder, output_loading_info=True, **options)
    assert not info["missing_keys"]
    assert not info["mismatched_keys"]
    return model


def test_a_compressed_folder_loads_as_what_it_decodes_to(folders):
    cls, folder = folders
    model = loaded(cls, folder / "small")
    assert compressed(model)
    assert same_weights(model, loaded(cls, folder / "decoded"))


def test_a_model_compressed_in_memory_is_saved_and_loads(folders, tmp_path):
    cls, folder = folders
    model = loaded(cls, folder / "dense")
    hct.compress_model(model, progress=False, **FAST)
    with quietly():
        model.save_pretrained(tmp_path)
    again = loaded(cls, tmp_path)
    assert compressed(again) == compressed(model)
    assert same_weights(again, model)


def test_a_model_compressed_while_loading_is_saved_and_loads(folders, tmp_path):
    cls, folder = folders
    config = HypercompConfig(bits=7, effort="fast")
    model = loaded(cls, folder / "dense", quantization_config=config)
    assert compressed(model)
    model.save_pretrained(tmp_path)
    assert same_weights(loaded(cls, tmp_path), model)


@pytest.mark.parametrize("name", ["T5ForConditionalGeneration", "CLIPModel", "ModernBertModel"])
def test_no_layer_is_decoded_while_loading(name, tmp_path, monkeypatch):
    model = made(name, PARENTS[name]())
    hct.compress_model(model, progress=False, **FAST)
    model.save_pretrained(tmp_path)
    weight = hypercomp_rs.torch.weight.CompressedWeight
    monkeypatch.setattr(weight, "decompress", lambda *_: pytest.fail("a layer is decoded"))
    assert compressed(t(name).from_pretrained(tmp_path)) == compressed(model)


def test_what_stays_dense_is_said(tmp_path):
    # Gemma multiplies what it looks up, in a class of its own.
    model = made("Gemma3ForCausalLM", t("Gemma3TextConfig")(**TEXT, head_dim=16))
    model.save_pretrained(tmp_path / "dense")
    config = HypercompConfig(bits=7, effort="fast")
    name = r"model\.embed_tokens\.weight"
    with pytest.warns(hc.StaysDenseWarning, match=f"Gemma3ForCausalLM: weights stay .*{name}"):
        transformers.Gemma3ForCausalLM.from_pretrained(
            tmp_path / "dense", quantization_config=config
        )
    compress_checkpoint(tmp_path / "dense", tmp_path / "small", **FAST).close()
    with pytest.warns(hc.StaysDenseWarning, match=f"are decoded and stay .*{name}"):
        transformers.Gemma3ForCausalLM.from_pretrained(tmp_path / "small")
