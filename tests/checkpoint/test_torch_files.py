"""PyTorch's files as a source of tensors: what they hold, and what they may not."""

import argparse
import fractions
import io
import json
import os
import pathlib
import pickle
import re
import warnings
import zipfile

import numpy as np
import pytest
import torch

import hypercomp_rs as hc
from hypercomp_rs.checkpoint import open_source

STATE = {
    "weight": torch.arange(12.0).reshape(3, 4),
    "turned": torch.arange(12.0).reshape(3, 4).T,
    "part": torch.arange(24.0).reshape(4, 6)[1:3, 2:5],
    "half": torch.linspace(-1, 1, 5).half(),
    "brain": torch.linspace(-1, 1, 6).bfloat16().reshape(2, 3),
    "counts": torch.arange(3),
    "mask": torch.tensor([True, False]),
    "scalar": torch.tensor(2.5, dtype=torch.float64),
    "nothing": torch.zeros(0, 4),
    "parameter": torch.nn.Parameter(torch.ones(2)),
    "complex": torch.view_as_complex(torch.arange(12.0).reshape(3, 2, 2)),
    "conjugate": torch.view_as_complex(torch.arange(12.0).reshape(3, 2, 2)).conj(),
    "repeated": torch.arange(3.0).expand(5, 3),
}
DTYPES = ["F32", "F32", "F32", "F16", "BF16", "I64", "BOOL", "F64"]
DTYPES += ["F32", "F32", "C64", "C64", "F32"]


def check(source, shard="model.safetensors"):
    assert list(source.entries) == list(STATE)
    for (name, tensor), dtype in zip(STATE.items(), DTYPES, strict=True):
        assert source.entries[name] == (name, dtype, tuple(tensor.shape), shard)
        raw = source.read(name)
        flat = tensor.detach().resolve_conj().contiguous().reshape(-1).view(torch.uint8).numpy()
        assert (raw.dtype, raw.tobytes()) == (np.uint8, flat.tobytes())
        raw += 1  # new memory, that its reader may write to
        assert source.read(name).tobytes() == flat.tobytes()
    rows = source.sample("turned", [0, 3]).view(np.float32).reshape(2, 3)
    assert rows.tolist() == STATE["turned"][[0, 3]].tolist()


@pytest.mark.parametrize("suffix", [".bin", ".pt", ".pth", ".ckpt", ".pth.tar"])
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("zipped", [False, True])
def test_a_state_dict_is_read(tmp_path, suffix, nested, zipped):
    path = tmp_path / f"weights{suffix}"
    state = {"epoch": 3, "state_dict": STATE} if nested else STATE
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    source = open_source(path)
    check(source)
    check(pickle.loads(pickle.dumps(source)))
    assert (source.weights_files(), source.files()) == ([path], {})


def test_a_folder_of_transformers_is_read(tmp_path):
    torch.save(STATE, tmp_path / "pytorch_model.bin")
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "optimizer.pt").write_bytes(b"?")
    (tmp_path / "tf_model.h5").write_bytes(b"?")
    source = open_source(tmp_path)
    check(source)
    assert source.files() == {"config.json": tmp_path / "config.json"}
    assert source.passed_over() == ["optimizer.pt", "tf_model.h5"]


def shards(folder):
    names = [f"pytorch_model-0000{i}-of-00002.bin" for i in (1, 2)]
    torch.save({"a": torch.ones(3)}, folder / names[0])
    torch.save({"b": torch.zeros(3)}, folder / names[1])
    index = {"weight_map": {"a": names[0], "b": names[1]}}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    return names


def test_shards_stay_shards(tmp_path):
    names = shards(tmp_path)
    source = open_source(tmp_path)
    assert {e.name: e.shard for e in source.entries.values()} == {
        "a": "model-00001-of-00002.safetensors",
        "b": "model-00002-of-00002.safetensors",
    }
    assert source.weights_files() == [tmp_path / name for name in names]
    assert source.files() == {}


@pytest.mark.parametrize(
    ("index", "says"),
    [
        ("{", "index.json"),
        ({"a": "../x.bin"}, "the name of a .bin file in the same folder"),
        ({"a": "absent.bin"}, "shard absent.bin is missing"),
        ({"a": "pytorch_model-00002-of-00002.bin"}, "a is not in pytorch_model-00002-of-00002.bin"),
    ],
)
def test_an_index_that_is_wrong_is_named(tmp_path, index, says):
    shards(tmp_path)
    text = index if isinstance(index, str) else json.dumps({"weight_map": index})
    (tmp_path / "pytorch_model.bin.index.json").write_text(text)
    with pytest.raises(hc.FormatError, match=says):
        open_source(tmp_path)


class Runs:
    """Pickles as a call."""

    def __init__(self, call, *arguments):
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


@pytest.mark.parametrize("call", [(os.mkdir, "pwned"), (eval, "1"), (os.system, "touch pwned")])
@pytest.mark.parametrize("zipped", [False, True])
def test_a_pickle_with_code_is_refused_and_never_run(tmp_path, monkeypatch, call, zipped):
    monkeypatch.chdir(tmp_path)
    state = {"w": torch.ones(2), "x": Runs(*call)}
    torch.save(state, "x.bin", _use_new_zipfile_serialization=zipped)
    with pytest.raises(hc.FormatError, match=r"x\.bin is refused: .*may be code"):
        open_source("x.bin")
    assert os.listdir() == ["x.bin"]


def test_a_plain_pickle_with_code_is_refused_and_never_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.pt").write_bytes(pickle.dumps(Runs(os.mkdir, "pwned")))
    with pytest.raises(hc.FormatError, match=r"x\.pt is refused: .*\(Unsupported operand"):
        open_source("x.pt")
    assert os.listdir() == ["x.pt"]


def spread():
    """Four bytes that claim to be four terabytes."""
    return torch.ones(1).expand(1 << 40)


def quantised():
    with warnings.catch_warnings():
        # torch means to give such tensors up.
        warnings.simplefilter("ignore")
        return torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)


@pytest.mark.parametrize(
    ("state", "error", "says"),
    [
        ([torch.ones(2)], hc.FormatError, "holds a list"),
        (torch.ones(2), hc.FormatError, "holds a Tensor"),
        (
            {"optimizer": {"w": torch.ones(2)}},
            hc.FormatError,
            r"no state dict \('optimizer' \(dict",
        ),
        ({}, hc.FormatError, "no state dict"),
        ({3: torch.ones(2)}, hc.FormatError, "3 is a Tensor"),
        ({"epoch": 3, "lr": 0.5}, hc.FormatError, r"'epoch' \(int\), 'lr' \(float\)"),
        ({"w": torch.eye(3).to_sparse()}, hc.DtypeError, r"w is of .*sparse.*to_dense\(\) makes"),
        ({"w": quantised()}, hc.DtypeError, r"w is of dtype qint8 .*dequantize\(\) makes it one"),
        ({"w": torch.ones(2, dtype=torch.complex128)}, hc.DtypeError, "w is of dtype complex128"),
        ({"w": spread()}, hc.FormatError, "which the file does not have"),
        ({"w": torch.ones(2, device="meta")}, hc.FormatError, "which the file does not have"),
    ],
)
def test_what_is_no_state_dict_is_named(tmp_path, state, error, says):
    torch.save(state, tmp_path / "x.pt")
    with pytest.raises(error, match=says):
        open_source(tmp_path / "x.pt")


def saved(**options):
    data = io.BytesIO()
    torch.save({"w": torch.arange(100.0)}, data, **options)
    return data.getvalue()


@pytest.mark.parametrize("zipped", [False, True])
def test_a_file_truncated_anywhere_is_named(tmp_path, zipped):
    whole = saved(_use_new_zipfile_serialization=zipped)
    path = tmp_path / "x.pt"
    for length in np.linspace(0, len(whole) - 1, 60, dtype=int):
        path.write_bytes(whole[:length])
        with pytest.raises(hc.FormatError):
            open_source(path)


@pytest.mark.parametrize("zipped", [False, True])
def test_a_file_with_any_byte_changed_is_read_or_named(tmp_path, zipped):
    whole = saved(_use_new_zipfile_serialization=zipped)
    path = tmp_path / "x.pt"
    rng = np.random.default_rng(6)
    for at in rng.permutation(len(whole))[:300]:
        changed = bytearray(whole)
        changed[at] ^= int(rng.integers(1, 256))
        path.write_bytes(changed)
        try:
            source = open_source(path)
            for name, entry in source.entries.items():
                assert len(source.read(name)) == entry.nbytes
        except (hc.FormatError, hc.DtypeError):
            pass


def test_a_compressed_archive_is_refused(tmp_path):
    with (
        zipfile.ZipFile(io.BytesIO(saved())) as whole,
        zipfile.ZipFile(tmp_path / "x.pt", "w", zipfile.ZIP_DEFLATED) as deflated,
    ):
        for entry in whole.infolist():
            deflated.writestr(entry.filename, whole.read(entry))
    with pytest.raises(hc.FormatError, match="is compressed: torch stores"):
        open_source(tmp_path / "x.pt")


def test_a_script_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("x/constants.pkl", pickle.dumps(()))
        archive.writestr("x/code/__torch__.py", "print('pwned')")
        archive.writestr("x/data.pkl", pickle.dumps(()))
        archive.writestr("x/version", "3")
    with pytest.raises(hc.FormatError, match=r"is no file of torch\.save but a TorchScript"):
        open_source(tmp_path / "x.pt")


def test_what_no_reader_is_for_is_named(tmp_path):
    (tmp_path / "x.onnx").write_bytes(b"?")
    with pytest.raises(hc.InvalidArgumentError, match=r"\.safetensors, \.bin.*, \.gguf"):
        open_source(tmp_path / "x.onnx")


def opened(tmp_path, state):
    torch.save(state, tmp_path / "x.pt")
    source = open_source(tmp_path / "x.pt")
    return sorted(source.entries), list(source.notes())


W, V = {"w": torch.ones(2, 2)}, {"v": torch.ones(2, 2)}
OPTIMIZER = {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]}


@pytest.mark.parametrize(
    "state",
    [
        {"model": W, "epoch": 3, "optimizer": OPTIMIZER},
        {"model_state_dict": W, "optimizer_state_dict": OPTIMIZER, "loss": torch.tensor(0.5)},
        {"module": W, "lr_scheduler": {"base": torch.ones(3)}, "dp_world_size": 1},
        {"net": W, "acc": 93.5, "name": None},
        {"ema": W, "step": torch.tensor([7])},
        {"model": {"state_dict": W, "step": torch.tensor(7)}},
        {"dims": {"n_vocab": 3}, "weights_of_mine": W},
        {"state_dict": W, "callbacks": {"best": {"score": torch.ones(2)}}, "hyper_parameters": {}},
        {"model": W, "last_optimizer_state": OPTIMIZER, "scaler": {"scale": torch.ones(1)}},
    ],
)
def test_the_model_is_found_among_what_a_training_program_saves(tmp_path, state):
    assert opened(tmp_path, state) == (["w"], [])


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ({"model": W, "model_ema": V}, "the model is taken from 'model'; 'model_ema' is left out"),
        ({"state_dict_ema": V, "state_dict": W}, "taken from 'state_dict'; 'state_dict_ema'"),
        ({"params_ema": V, "params": W}, "taken from 'params'; 'params_ema' is left out"),
        ({"model": W, "criterion": V}, "taken from 'model'; 'criterion' is left out"),
        ({**W, "epoch": 3, "name": "x", "none": None}, r"'epoch' \(int\), 'name' \(str\), 'none'"),
        ({**W, "ema": V}, "taken from the whole; 'ema' is left out"),
        ({"model": {**W, "extra": {"v": torch.ones(2)}}}, r"no tensor: 'extra' \(dict\)"),
    ],
)
def test_what_is_left_out_is_said(tmp_path, state, says):
    names, (note,) = opened(tmp_path, state)
    assert names == ["w"]
    assert re.search(says, note)
    assert str(tmp_path / "x.pt") in note
    with (
        pytest.warns(hc.SourceWarning, match=says),
        hc.compress_checkpoint(tmp_path / "x.pt", tmp_path / "small") as made,
    ):
        assert list(made) == ["w"]


@pytest.mark.parametrize(
    ("state", "keys"),
    [
        ({"generator": W, "discriminator": V}, "'generator', 'discriminator'"),
        ({"student": W, "teacher": V}, "'student', 'teacher'"),
        ({"model": W, "net": V}, "'model', 'net'"),
        ({"a": {"b": W, "c": V}}, "'a.b', 'a.c'"),
        ({**W, "state_dict": V}, "the whole, 'state_dict'"),
        ({"upsampler": W, "encoder": V}, "'upsampler', 'encoder'"),
    ],
)
def test_several_models_are_refused_by_their_keys(tmp_path, state, keys):
    with pytest.raises(hc.FormatError, match=f"several state dicts: {keys}. Save the one") as error:
        opened(tmp_path, state)
    assert "torch.save(torch.load(path)[" in str(error.value)


@pytest.mark.parametrize(
    ("thing", "name"),
    [
        (argparse.Namespace(lr=1), r"argparse\.Namespace"),
        (pathlib.PurePosixPath("x"), r"pathlib\.PurePosixPath"),
        (np.float64(3), r"numpy\._?core\.multiarray\.scalar"),
        (torch.nn.Linear(2, 2), r"torch\.nn\.modules\.linear\.Linear"),
        (fractions.Fraction(1, 3), r"fractions\.Fraction"),
    ],
)
def test_what_a_pickle_asks_for_is_named(tmp_path, thing, name):
    for state in (thing, {"model": W, "args": thing}):
        torch.save(state, tmp_path / "x.pt")
        with pytest.raises(hc.FormatError, match=f"x.pt is refused: it asks for {name}, which may"):
            open_source(tmp_path / "x.pt")


def test_tensors_that_share_memory_are_each_themselves(tmp_path):
    whole = torch.arange(24.0).reshape(4, 6)
    state = {"whole": whole, "same": whole, "rows": whole[1:3], "columns": whole[:, ::2]}
    torch.save(state, tmp_path / "x.pt")
    source = open_source(tmp_path / "x.pt")
    for name, tensor in state.items():
        assert source.read(name).tobytes() == tensor.contiguous().numpy().tobytes()


def test_tensors_from_another_device_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
    torch.save(W, tmp_path / "x.pt")
    assert b"cuda:0" in (tmp_path / "x.pt").read_bytes()
    assert open_source(tmp_path / "x.pt").read("w").view(np.float32).tolist() == [1.0] * 4


def test_complex_numbers_are_kept(tmp_path):
    torch.manual_seed(0)
    state = {"w": torch.randn(100, 100), "c": torch.randn(100, 100, dtype=torch.complex64)}
    torch.save(state, tmp_path / "x.pt")
    with hc.compress_checkpoint(tmp_path / "x.pt", tmp_path / "small", effort="fast") as made:
        assert made.info("w").codec == "trellis"
        assert made["c"].dtype == np.complex64
        assert np.array_equal(made["c"], state["c"].numpy())
    assert hc.verify_checkpoint(tmp_path / "small", against=tmp_path / "x.pt")
