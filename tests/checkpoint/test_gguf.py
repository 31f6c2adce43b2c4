"""GGUF files as a source: against the package gguf, against transformers, and against malice."""

import json
import pickle
import struct
import threading

import gguf
import numpy as np
import pytest
import tokenizers
import torch
import transformers

import hypercomp_rs as hc
from hypercomp_rs.checkpoint import open_source

Type = gguf.GGMLQuantizationType

KINDS = [Type.F32, Type.F16, Type.BF16, Type.Q8_0, Type.Q4_0, Type.Q4_1, Type.Q5_0, Type.Q5_1]
K_KINDS = [Type.Q2_K, Type.Q3_K, Type.Q4_K, Type.Q5_K, Type.Q6_K]


def write(path, tensors, architecture="test", values=()):
    """A file with tensors of the package's own quantisers, given as (array, type)."""
    writer = gguf.GGUFWriter(path, architecture)
    for key, value in values:
        writer.add_key_value(key, value, gguf.GGUFValueType.get_type(value))
    for name, (w, kind) in tensors.items():
        writer.add_tensor(name, gguf.quantize(w, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def elements(source, name, rows=None):
    """A tensor as an array, bfloat16 widened."""
    entry = source.entries[name]
    raw = source.read(name) if rows is None else source.sample(name, rows)
    shape = entry.shape if rows is None else (len(rows), *entry.shape[1:])
    if entry.dtype == "BF16":
        return (raw.view("<u2").astype("<u4") << 16).view("<f4").reshape(shape)
    return raw.view({"F32": "<f4", "F16": "<f2", "I32": "<i4"}[entry.dtype]).reshape(shape)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("shape", [(32,), (3, 64), (2, 3, 96), (5000, 256)])
def test_tensors_are_those_of_the_package_gguf(tmp_path, kind, shape):
    w = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    path = write(tmp_path / "x.gguf", {"a": (w[..., :32], kind), "w": (w, kind)})
    source = open_source(path)
    kept = {"F32": "F32", "F16": "F16", "BF16": "BF16"}
    assert source.entries["w"] == ("w", kept.get(kind.name, "F32"), shape, "model.safetensors")
    expected = gguf.dequantize(gguf.quantize(w, kind), kind)
    np.testing.assert_array_equal(elements(source, "w"), expected)
    rows = [0, 1, shape[0] - 1] if len(shape) > 1 else [0]
    rows = sorted(set(rows))
    if len(shape) > 1:
        np.testing.assert_array_equal(elements(source, "w", rows), expected[rows])
    assert source.weights_files() == [path]
    assert source.files() == {}


@pytest.mark.parametrize("kind", K_KINDS, ids=lambda kind: kind.name)
def test_types_that_only_llama_cpp_writes_are_decoded_too(tmp_path, kind):
    block, nbytes = gguf.GGML_QUANT_SIZES[kind]
    rng = np.random.default_rng(1)
    raw = rng.integers(0, 256, (300, 2 * nbytes)).astype(np.uint8)
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "test")
    writer.add_tensor("w", raw, raw_dtype=kind)
    for step in (writer.write_header_to_file, writer.write_kv_data_to_file):
        step()
    writer.write_tensors_to_file()
    writer.close()
    source = open_source(tmp_path / "x.gguf")
    assert source.entries["w"].shape == (300, 2 * block)
    with np.errstate(all="ignore"):
        expected = gguf.dequantize(raw, kind)
    np.testing.assert_array_equal(elements(source, "w"), expected)


def test_a_source_pickles_as_its_path_and_reads_from_several_threads(tmp_path):
    w = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    path = write(
        tmp_path / "x.gguf", {"w": (w, Type.Q8_0), "i": (np.arange(4, dtype=np.float32), Type.F32)}
    )
    source = pickle.loads(pickle.dumps(open_source(path)))
    expected = source.read("w")
    found = [None] * 8

    def read(at):
        found[at] = source.read("w")

    threads = [threading.Thread(target=read, args=(at,)) for at in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all((one == expected).all() for one in found)


def llama_file(path, model, kind=Type.F32):
    """A language model as llama.cpp's converter writes it, with a tokenizer of single bytes."""
    config = model.config
    kv = config.num_key_value_heads
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(kv)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    letters = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    letters.append("qq")
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(letters)
    writer.add_token_types([1] * len(letters))
    writer.add_token_merges(["q q"])
    for token in ("bos", "eos"):
        getattr(writer, f"add_{token}_token_id")(0)
    for name, parameter in model.state_dict().items():
        w = parameter.numpy()
        heads = {"q_proj": config.num_attention_heads, "k_proj": kv}.get(name.split(".")[-2])
        if heads:
            # As in llama.cpp's conversion/llama.py: permute.
            w = w.reshape(heads, 2, -1, w.shape[1]).swapaxes(1, 2).reshape(w.shape)
        of = kind if w.ndim == 2 else Type.F32
        writer.add_tensor(names.get_name(name, (".weight",)), gguf.quantize(w, of), raw_dtype=of)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="module")
def tiny():
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=257,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        rms_norm_eps=1e-5,
    )
    return transformers.LlamaForCausalLM(config).eval()


def test_a_language_models_tensors_are_those_of_transformers(tmp_path, tiny):
    source = open_source(llama_file(tmp_path / "tiny.gguf", tiny))
    state = tiny.state_dict()
    assert set(source.entries) == set(state)
    for name, parameter in state.items():
        assert source.entries[name].shape == tuple(parameter.shape)
        np.testing.assert_array_equal(elements(source, name), parameter.numpy())
    key = "model.layers.1.self_attn.k_proj.weight"
    np.testing.assert_array_equal(elements(source, key, [3, 17, 18]), state[key][[3, 17, 18]])


def test_a_language_models_folder_is_made_and_loads(tmp_path, tiny):
    from safetensors.numpy import save_file

    path = llama_file(tmp_path / "tiny.gguf", tiny, Type.Q8_0)
    source = open_source(path)
    folder = tmp_path / "folder"
    folder.mkdir()
    for place, file in source.files().items():
        (folder / place).write_bytes(file.read_bytes())
    tensors = {name: elements(source, name) for name in source.entries}
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    own = transformers.AutoModelForCausalLM.from_pretrained(folder)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file=path.name)
    assert own.state_dict().keys() == theirs.state_dict().keys()
    for name, parameter in theirs.state_dict().items():
        assert torch.equal(own.state_dict()[name], parameter), name
    text = "two or three words"
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    assert len(tokenizer(text)["input_ids"]) == len(text)
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def header(tensors=0, values=0, rest=b"", version=3):
    return b"GGUF" + struct.pack("<IQQ", version, tensors, values) + rest


def string(text):
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(raw)) + raw


def value(kind, raw, key="k"):
    return header(values=1, rest=string(key) + struct.pack("<I", kind) + raw)


def tensor(shape=(4,), kind=0, offset=0, name="t", data=b"\0" * 16):
    dims = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
    info = string(name) + dims + struct.pack("<IQ", kind, offset)
    body = header(tensors=1, rest=info)
    return body + b"\0" * (-len(body) % 32) + data


HUGE = 1 << 60

HOSTILE = {
    "empty": (b"", "is no GGUF file"),
    "another format": (b"PK\3\4" + b"\0" * 40, "is no GGUF file"),
    "version 1": (header(version=1), "version 1"),
    "big-endian": (header(version=3 << 24), r"\(big-endian\)"),
    "countless tensors": (header(tensors=HUGE), "the list of tensors is of 1152921504606846976"),
    "countless values": (header(values=HUGE), "the list of values"),
    "a key without end": (
        header(values=1, rest=struct.pack("<Q", HUGE) + b"k" * 20),
        "a key is of",
    ),
    "a string without end": (value(8, struct.pack("<Q", HUGE)), "k is of"),
    "an array without end": (value(9, struct.pack("<IQ", 4, HUGE)), "k is of 11529215046068469"),
    "bytes without end": (value(9, struct.pack("<IQ", 0, HUGE)), "k is of 1152921504606846976 x 1"),
    "strings without end": (value(9, struct.pack("<IQ", 8, HUGE)), "k is of"),
    "arrays without end": (value(9, struct.pack("<IQ", 9, HUGE)), "k is of"),
    "an endless string in an array": (value(9, struct.pack("<IQQ", 8, 1, HUGE)), "k is of"),
    "deep arrays": (value(9, struct.pack("<IQ", 9, 1) * 50), "nested more than 8 deep"),
    "an unknown value": (value(77, b"\0" * 8), "k is of type 77"),
    "an unknown value in an array": (
        value(9, struct.pack("<IQ", 77, 1) + b"\0" * 12),
        "of type 77",
    ),
    "no UTF-8": (value(8, string(b"\xff")), "k is no UTF-8"),
    "truncated value": (value(10, b"\0" * 5), "k is of 8 x 1 bytes, and 5 are left"),
    "many axes": (tensor((1, 1, 1, 1, 1)), "t has 5 axes"),
    "an unknown tensor": (tensor(kind=199), "t is of type 199"),
    "a long tensor": (tensor((5,)), "t ends at byte"),
    "a tensor without end": (tensor((HUGE, HUGE, HUGE, HUGE)), "t ends at byte"),
    "a far tensor": (tensor(offset=HUGE), "t ends at byte"),
    "part of a block": (tensor((31,), kind=2), "rows of 31, and Q4_0 has blocks of 32"),
    "no alignment": (value(4, struct.pack("<I", 0), "general.alignment"), "general.alignment is 0"),
    "worded alignment": (value(8, string("a"), "general.alignment"), "general.alignment is 'a'"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_a_file_claims_is_not_believed(tmp_path, name):
    data, says = HOSTILE[name]
    (tmp_path / "x.gguf").write_bytes(data)
    with pytest.raises(hc.FormatError, match=says) as error:
        open_source(tmp_path / "x.gguf")
    assert "x.gguf" in str(error.value)


def test_a_file_truncated_anywhere_is_named(tmp_path, tiny):
    whole = llama_file(tmp_path / "tiny.gguf", tiny).read_bytes()
    path = tmp_path / "x.gguf"
    for length in sorted({*range(0, 600, 7), *np.linspace(0, len(whole) - 1, 100, dtype=int)}):
        path.write_bytes(whole[:length])
        with pytest.raises(hc.FormatError):
            open_source(path)


def test_a_header_with_any_byte_changed_is_read_or_named(tmp_path):
    w = np.ones((2, 32), np.float32)
    tensors = {"a": (w, Type.Q4_0), "b": (w, Type.F32)}
    values = [("general.alignment", 32), ("list", ["a", "bc"]), ("x", 0.5)]
    whole = bytearray(write(tmp_path / "x.gguf", tensors, values=values[1:]).read_bytes())
    path = tmp_path / "y.gguf"
    rng = np.random.default_rng(5)
    for at in range(len(whole) - 300):
        changed = bytearray(whole)
        changed[at] ^= int(rng.integers(1, 256))
        path.write_bytes(changed)
        try:
            source = open_source(path)
            for name in source.entries:
                assert len(source.read(name)) == source.entries[name].nbytes
        except (hc.FormatError, hc.DtypeError):
            pass


def test_tensors_may_not_overlap_or_share_a_name(tmp_path):
    def two(second):
        infos = b"".join(
            string(name) + struct.pack("<IQIQ", 1, 4, 0, offset)
            for name, offset in [("a", 0), second]
        )
        body = header(tensors=2, rest=infos)
        return body + b"\0" * (-len(body) % 32) + b"\0" * 64

    for second, says in [(("b", 8), "b begins within a"), (("a", 32), "a is there twice")]:
        (tmp_path / "x.gguf").write_bytes(two(second))
        with pytest.raises(hc.FormatError, match=says):
            open_source(tmp_path / "x.gguf")
    (tmp_path / "x.gguf").write_bytes(two(("b", 32)))
    assert set(open_source(tmp_path / "x.gguf").entries) == {"a", "b"}


def test_a_file_that_shrinks_while_it_is_read_is_named(tmp_path):
    path = write(tmp_path / "x.gguf", {"w": (np.ones((64, 64), np.float32), Type.Q8_0)})
    source = open_source(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(hc.FormatError, match="w is cut off"):
        source.read("w")


def test_types_that_are_not_decoded_and_rows_that_are_no_heads_are_refused(tmp_path):
    kind = Type.IQ4_NL
    raw = np.zeros((2, gguf.GGML_QUANT_SIZES[kind][1]), np.uint8)
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "test")
    writer.add_tensor("w", raw, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(hc.DtypeError, match="w is of type IQ4_NL: F32, F16"):
        open_source(tmp_path / "x.gguf")
    heads = {"blk.0.attn_q.weight": (np.ones((6, 32), np.float32), Type.F32)}
    path = write(tmp_path / "z.gguf", heads, "llama", [("llama.attention.head_count", 4)])
    with pytest.raises(hc.FormatError, match="6 rows, which are not 4 heads"):
        open_source(path).read("model.layers.0.self_attn.q_proj.weight")


def test_what_transformers_cannot_make_of_a_file_is_named(tmp_path):
    path = write(
        tmp_path / "x.gguf", {"output_norm.weight": (np.ones(4, np.float32), Type.F32)}, "llama"
    )
    with pytest.raises(hc.FormatError, match="transformers cannot read what it says"):
        open_source(path).files()


# Models in several files


def split(folder, tensors, name="m", architecture="test", values=(), **said):
    """A model in one file for each of `tensors`, as llama.cpp splits one."""
    files = []
    count = sum(map(len, tensors))
    for number, part in enumerate(tensors):
        keys = {"split.no": number, "split.count": len(tensors), "split.tensors.count": count}
        # The first alone says what model it is.
        more = dict(values) if number == 0 else {}
        path = folder / f"{name}-{number + 1:05d}-of-{len(tensors):05d}.gguf"
        files.append(write(path, part, architecture, {**more, **keys, **said}.items()))
    return files


def parts(*shapes):
    rng = np.random.default_rng(0)
    w = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
    return [{f"blk.{i}.attn_q.weight": (one, Type.F32)} for i, one in enumerate(w)]


@pytest.mark.parametrize("given", [0, 1, 2, None])
def test_any_part_of_a_split_model_is_the_whole(tmp_path, given):
    tensors = parts((64, 64), (32, 64), (96, 64))
    files = split(tmp_path, tensors)
    (tmp_path / "README.md").write_text("about")
    source = open_source(tmp_path if given is None else files[given])
    assert source.weights_files() == files
    assert {name: entry.shard for name, entry in source.entries.items()} == {
        f"blk.{i}.attn_q.weight": f"model-0000{i + 1}-of-00003.safetensors" for i in range(3)
    }
    for part in tensors:
        for name, (w, _) in part.items():
            np.testing.assert_array_equal(elements(source, name), w)
    assert set(source.files()) == ({"README.md"} if given is None else set())
    again = pickle.loads(pickle.dumps(source))
    assert again.fingerprint() == source.fingerprint()


def test_a_split_models_folder_is_compressed_into_shards(tmp_path):
    (tmp_path / "model").mkdir()
    split(tmp_path / "model", parts((64, 64), (96, 64)))
    with pytest.warns(hc.SourceWarning, match="llama.cpp's names"):
        made = hc.compress_checkpoint(tmp_path / "model", tmp_path / "small", effort="fast")
    assert set(made) == {"blk.0.attn_q.weight", "blk.1.attn_q.weight"}
    assert all(tensor.codec == "trellis" for tensor in made.tensors)
    assert (tmp_path / "small" / "model.safetensors.index.json").exists()
    assert {tensor.shard for tensor in made.tensors} == {
        f"model-0000{i}-of-00002.safetensors" for i in (1, 2)
    }


def test_a_split_language_model_is_what_it_was_in_one_file(tmp_path, tiny):
    whole = llama_file(tmp_path / "tiny.gguf", tiny)
    reader = gguf.GGUFReader(whole)
    names = [tensor.name for tensor in reader.tensors]
    # The last layer is in the second file, where transformers does not look for it.
    first = [name for name in names if name != "output.weight"]
    folder = tmp_path / "split"
    folder.mkdir()
    data = {t.name: np.array(t.data).reshape(t.shape[::-1].tolist()) for t in reader.tensors}
    files = [folder / f"tiny-0000{i}-of-00002.gguf" for i in (1, 2)]
    for number, (file, held) in enumerate(zip(files, (first, ["output.weight"]), strict=True)):
        writer = gguf.GGUFWriter(file, "llama")
        if number == 0:
            for field in reader.fields.values():
                if field.name.startswith("GGUF.") or field.name == "general.architecture":
                    continue
                sub = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
                writer.add_key_value(field.name, field.contents(), field.types[0], sub)
        writer.add_uint16("split.no", number)
        writer.add_uint16("split.count", 2)
        writer.add_int32("split.tensors.count", len(names))
        for name in held:
            writer.add_tensor(name, data[name])
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    source = open_source(folder)
    one = open_source(whole)
    assert not source.notes()
    assert set(source.entries) == set(one.entries)
    for name in one.entries:
        assert np.array_equal(source.read(name), one.read(name))
    configs = [json.loads(s.files()["config.json"].read_bytes()) for s in (source, one)]
    assert configs[0] == configs[1]
    assert configs[0]["tie_word_embeddings"] is False


def test_parts_that_are_missing_or_do_not_fit_are_named(tmp_path):
    def fresh(name, **said):
        folder = tmp_path / name
        folder.mkdir()
        return folder, split(folder, parts((8, 32), (8, 32)), **said)

    for at in (0, 1):
        folder, files = fresh(f"missing {at}")
        files[at].unlink()
        for path in (folder, files[1 - at]):
            with pytest.raises(hc.FormatError, match=rf"m-0000{at + 1}-of-00002.gguf is missing"):
                open_source(path)
    for said, says in [
        ({"split.count": 3}, "split.count is 3, and its name is that of part 1 of 2"),
        ({"split.no": 1}, "split.no is 1, and its name is that of part 1 of 2"),
        ({"split.tensors.count": 5}, "split.tensors.count is 5, and the 2 parts .* have 2 tensors"),
    ]:
        folder, files = fresh(str(said).replace("'", ""), **said)
        with pytest.raises(hc.FormatError, match=says) as error:
            open_source(folder)
        assert "-of-00002.gguf" in str(error.value)
    _, files = fresh("twice")
    files[1].unlink()
    write(
        files[1],
        parts((8, 32))[0],
        values={"split.no": 1, "split.count": 2, "split.tensors.count": 2}.items(),
    )
    with pytest.raises(
        hc.FormatError, match=r"blk.0.attn_q.weight is in m-00001-of-00002.gguf too"
    ):
        open_source(files[0])
    _, files = fresh("renamed")
    renamed = files[0].rename(files[0].with_name("model.gguf"))
    with pytest.raises(hc.FormatError, match=r"split.count is 2, and its name is that of a model"):
        open_source(renamed)
    whole = write(tmp_path / "x-00001-of-00002.gguf", parts((8, 32))[0])
    write(tmp_path / "x-00002-of-00002.gguf", parts((8, 32), (8, 32))[1])
    with pytest.raises(hc.FormatError, match=r"split.count is 0, and its name is that of part 1"):
        open_source(whole)
    with pytest.raises(hc.FormatError, match="there is no part 3 of 2"):
        open_source(write(tmp_path / "x-00003-of-00002.gguf", parts((8, 32))[0]))


def test_a_folder_with_one_model_is_a_source_and_with_several_is_none(tmp_path):
    write(tmp_path / "a.gguf", parts((8, 32))[0])
    assert open_source(tmp_path).weights_files() == [tmp_path / "a.gguf"]
    split(tmp_path, parts((8, 32), (8, 32)), name="b")
    with pytest.raises(hc.InvalidArgumentError, match=r"files a.gguf, b-00001-of-00002.gguf"):
        open_source(tmp_path)
    np.savez(tmp_path / "x.npz")
    torch.save({"w": torch.ones(3)}, tmp_path / "pytorch_model.bin")
    assert set(open_source(tmp_path).entries) == {"w"}


# Models that have no names of transformers


def experts(shape=(4, 64, 64)):
    rng = np.random.default_rng(0)
    w = rng.standard_normal(shape).astype(np.float32)
    return {
        "token_embd.weight": (w[0], Type.F32),
        "blk.0.attn_q.weight": (w[1], Type.F32),
        "blk.0.ffn_gate_inp.weight": (w[2], Type.F32),
        "blk.0.ffn_gate_exps.weight": (w, Type.Q8_0),
    }


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3moe", "deepseek2", "dbrx"])
def test_models_of_experts_keep_the_names_and_rows_of_the_file(tmp_path, architecture):
    tensors = experts()
    heads = [(f"{architecture}.attention.head_count", 4), (f"{architecture}.expert_count", 4)]
    path = write(tmp_path / "m.gguf", tensors, architecture, heads)
    source = open_source(path)
    assert set(source.entries) == set(tensors)
    for name, (w, kind) in tensors.items():
        np.testing.assert_array_equal(
            elements(source, name), gguf.dequantize(gguf.quantize(w, kind), kind)
        )
    assert source.files() == {}
    (note,) = source.notes()
    assert str(path) in note
    assert "no config.json" in note
    with (
        pytest.warns(hc.SourceWarning, match=r"m.gguf: tensors keep llama.cpp's names"),
        hc.compress_checkpoint(path, tmp_path / "small", embeddings="keep") as made,
    ):
        codecs = {tensor.name: tensor.codec for tensor in made.tensors}
    assert codecs == {
        "token_embd.weight": None,
        "blk.0.attn_q.weight": "trellis",
        "blk.0.ffn_gate_inp.weight": None,
        "blk.0.ffn_gate_exps.weight": "trellis",
    }


def test_rows_of_experts_are_sampled_whole(tmp_path):
    tensors = experts((3, 40, 96))
    source = open_source(write(tmp_path / "m.gguf", tensors, "qwen2moe"))
    w, kind = tensors["blk.0.ffn_gate_exps.weight"]
    expected = gguf.dequantize(gguf.quantize(w, kind), kind)
    np.testing.assert_array_equal(
        elements(source, "blk.0.ffn_gate_exps.weight", [0, 2]), expected[[0, 2]]
    )


def test_a_configuration_beside_a_model_without_names_is_not_taken(tmp_path):
    folder = tmp_path / "m"
    folder.mkdir()
    write(folder / "m.gguf", experts(), "qwen3moe")
    (folder / "config.json").write_text("{}")
    (folder / "LICENSE").write_text("free")
    (folder / "model.onnx").write_bytes(b"?")
    source = open_source(folder)
    assert source.files() == {"LICENSE": folder / "LICENSE"}
    assert source.passed_over() == ["model.onnx"]


def test_the_command_prints_the_note(tmp_path, capsys):
    import warnings

    from hypercomp_rs.cli.program import run

    path = write(tmp_path / "m.gguf", experts(), "qwen3moe")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert run(["compress", str(path), str(tmp_path / "small")]) == 0
    assert f"hypercomp-rs: warning: {path}: tensors keep" in capsys.readouterr().err
