"""Models that are cut short, altered or made to do harm: a named error, and nothing else."""

import json
import shutil
import struct

import numpy as np
import pytest
from models import save_model
from safetensors.numpy import load_file, save_file

import hypercomp_rs as hc
from hypercomp_rs.checkpoint import open_source

LAST = "model-00003-of-00003.safetensors"
INDEX = "model.safetensors.index.json"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    hc.compress_checkpoint(save_model(folder / "src"), folder / "small", effort="fast").close()
    return folder


@pytest.fixture
def small(made, tmp_path):
    return shutil.copytree(made / "small", tmp_path / "small")


def boundaries(path):
    """Where the header and each tensor of a file begin and end."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    ends = {end for entry in header.values() for end in entry["data_offsets"]}
    return {0, 4, 8, 8 + length, len(data)} | {8 + length + end for end in ends}


def everything(path):
    """Whatever reads a model; it may say no by a named error alone."""
    found = []
    try:
        verdicts = hc.verify_checkpoint(path)
        found += [verdict.problem for verdict in verdicts if verdict.problem]
    except hc.FormatError as error:
        found.append(str(error))
    try:
        with hc.Checkpoint.open(path) as checkpoint:
            for name in checkpoint:
                np.asarray(checkpoint[name])
            _ = checkpoint.tensors
    except (hc.FormatError, hc.TooLargeError) as error:
        found.append(str(error))
    return found


def test_a_file_cut_anywhere_is_refused(small):
    assert everything(small) == []
    for shard in sorted(small.glob("*.safetensors")):
        whole = shard.read_bytes()
        places = {place + by for place in boundaries(shard) for by in (-1, 0, 1)}
        for place in sorted(places):
            if 0 <= place < len(whole):
                shard.write_bytes(whole[:place])
                with pytest.raises(hc.FormatError, match=rf"{shard.name}.*truncated"):
                    hc.Checkpoint.open(small)
        shard.write_bytes(whole + b"x")
        with pytest.raises(hc.FormatError, match=rf"{shard.name}: 1 bytes too many"):
            hc.Checkpoint.open(small)
        shard.write_bytes(whole)


def test_every_altered_byte_is_noticed(small):
    """In any tensor; of the header those that say where tensors are."""
    rng = np.random.default_rng()
    for shard in sorted(small.glob("*.safetensors")):
        whole = shard.read_bytes()
        places = boundaries(shard) - {len(whole)}
        (header,) = struct.unpack("<Q", whole[:8])
        places |= set(rng.integers(8 + header, len(whole), 60).tolist())
        for place in sorted(places):
            altered = bytearray(whole)
            altered[place] ^= 1 << int(rng.integers(8))
            shard.write_bytes(altered)
            found = everything(small)
            assert found, (shard.name, place, altered[place])
        shard.write_bytes(whole)


def test_a_file_that_shrinks_while_it_is_open_is_an_error(small):
    checkpoint = hc.Checkpoint.open(small)
    with (small / LAST).open("r+b") as file:
        file.truncate(5000)
    with pytest.raises(hc.FormatError, match="cut off since it was opened"):
        [checkpoint[name] for name in checkpoint]


@pytest.mark.parametrize(
    "name",
    [
        *("../x.safetensors", "/etc/x.safetensors", "..\\x.safetensors", "a/b.safetensors"),
        *("", "x", "C:x.safetensors", "a\0.safetensors", 7, None, ["x"], "config.json"),
    ],
)
def test_an_index_stays_in_its_folder(small, name):
    index = json.loads((small / INDEX).read_text())
    index["weight_map"]["lm_head.weight_path"] = name
    (small / INDEX).write_text(json.dumps(index))
    with pytest.raises(hc.FormatError, match=r"lm_head\.weight_path is in .*the same folder"):
        hc.Checkpoint.open(small)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", INDEX),
        ("[]", "weight_map"),
        ('{"weight_map": []}', "weight_map"),
        ('{"weight_map": {}}', "weight_map"),
        ('{"weight_map": {"a": "none.safetensors"}}', r"none\.safetensors is missing"),
        (json.dumps({"weight_map": {"a": LAST}}), f"a is not in {LAST}"),
        ("[" * 100_000, INDEX),
    ],
)
def test_a_wrong_index_is_named(small, text, says):
    (small / INDEX).write_text(text)
    with pytest.raises(hc.FormatError, match=says):
        hc.Checkpoint.open(small)


def test_a_shard_without_an_index_or_twice(small, tmp_path):
    (small / INDEX).unlink()
    with pytest.raises(hc.InvalidArgumentError, match=r"has .* and no model"):
        hc.Checkpoint.open(small)
    for name in ("a", "b"):
        save_file({"w": np.ones(3)}, tmp_path / f"{name}.safetensors")
    (tmp_path / INDEX).write_text(
        json.dumps({"weight_map": {"w": "a.safetensors", "v": "b.safetensors"}})
    )
    with pytest.raises(hc.FormatError, match="w is both in"):
        open_source(tmp_path)
    with pytest.raises(hc.InvalidArgumentError, match="is accepted"):
        open_source(small / "config.json")


def rewritten(small, change):
    """The last shard with other entries."""
    entries = dict(load_file(small / LAST))
    change(entries)
    save_file(entries, small / LAST, {"format": "pt"})
    index = json.loads((small / INDEX).read_text())
    others = {n: s for n, s in index["weight_map"].items() if s != LAST}
    index["weight_map"] = others | dict.fromkeys(entries, LAST)
    (small / INDEX).write_text(json.dumps(index))


def described(entries, **changes):
    said = json.loads(entries["lm_head.weight_description"].tobytes())
    said |= changes
    entries["lm_head.weight_description"] = np.frombuffer(json.dumps(said).encode(), np.uint8)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"shape": [2**31, 2**31]}, "weights|bytes|streams"),
        ({"shape": [2**62, 2**62]}, "shape"),
        ({"shape": [-1, 3]}, "description"),
        ({"shape": "ab"}, "description"),
        ({"shape": [1] * 70}, "axes|at most"),
        ({"dtype": "float8"}, "description|dtype"),
        ({"codec": "gzip"}, "gzip"),
        ({"signal": -1.0}, "description|energies"),
        ({"format": 2}, "format 2"),
        ({"parts": {}}, "not in the description"),
        ({"parts": {"path": {"bytes": 2**63, "crc32": 0}}}, "not in the description|path"),
        ({"trellis": None}, "trellis"),
        ({"more": 1}, "more"),
    ],
)
def test_a_description_that_lies_is_refused(small, changes, says):
    rewritten(small, lambda entries: described(entries, **changes))
    with (
        hc.Checkpoint.open(small) as checkpoint,
        pytest.raises(hc.FormatError, match=says) as caught,
    ):
        checkpoint["lm_head.weight"]
    assert "lm_head.weight" in str(caught.value)
    problems = {v.name: v.problem for v in hc.verify_checkpoint(small) if v.problem}
    assert set(problems) == {"lm_head.weight"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda e: e.pop("lm_head.weight_path"), "path is missing"),
        (lambda e: e.update({"lm_head.weight_path": np.zeros(3, np.uint8)}), "path has 3 bytes"),
        (lambda e: e.update({"lm_head.weight_mask": np.zeros(3, np.uint8)}), "mask is not in"),
        (
            lambda e: e.update({"lm_head.weight_description": np.full(9, 255, np.uint8)}),
            "description",
        ),
        (
            lambda e: e.update({"lm_head.weight_description": np.zeros(1 << 17, np.uint8)}),
            "at most 65536",
        ),
    ],
)
def test_parts_that_do_not_fit_are_refused(small, change, says):
    rewritten(small, change)
    with hc.Checkpoint.open(small) as checkpoint, pytest.raises(hc.FormatError, match=says):
        checkpoint["lm_head.weight"]


def test_few_bytes_do_not_fill_a_disk(small, tmp_path):
    """Zeros take no codes at all, so a description alone can declare any number of them."""
    said = {"format": 1, "codec": "zeros", "dtype": "float32", "shape": [2**40, 2**10]}
    said |= {"signal": 0.0, "error": 0.0, "parts": {}}
    description = np.frombuffer(json.dumps(said).encode(), np.uint8)
    rewritten(small, lambda e: e.update({"bomb.weight_description": description}))
    with hc.Checkpoint.open(small) as checkpoint:
        assert checkpoint.info("bomb.weight").size == 2**50
        assert checkpoint["bomb.weight"].shape == (2**40, 2**10)
        with pytest.raises(hc.TooLargeError, match=r"1125899906842624"):
            checkpoint["bomb.weight"].decompress()
    with pytest.raises(hc.TooLargeError, match="are free there"):
        hc.decompress_checkpoint(small, tmp_path / "back")
    assert not (tmp_path / "back").exists()
    assert not [v for v in hc.verify_checkpoint(small) if v.problem]


def test_metadata_of_another_form_is_named(tmp_path):
    for text in ("", "[]", '{"format": 2}', '{"format": 1}', '{"format": 1, "crc32": {"w": "x"}}'):
        save_file({"w": np.ones(3)}, tmp_path / "model.safetensors", {"hypercomp": text})
        (verdict,) = hc.verify_checkpoint(tmp_path)
        assert "none of format 1" in verdict.problem


def test_a_damaged_configuration_is_named(made, small):
    (small / "config.json").write_text("[")
    with pytest.raises(hc.FormatError, match=r"config\.json"), hc.Checkpoint.open(small) as c:
        _ = c.config
    source = save_model(small / "source")
    (source / "config.json").write_text("[1]")
    with pytest.raises(hc.FormatError, match="a JSON object is accepted"):
        hc.compress_checkpoint(source, small / "again")
