"""Models compressed, read, verified and decompressed."""

import concurrent.futures
import json
import multiprocessing
import pathlib
import pickle
import struct
import zlib

import numpy as np
import pytest
import safetensors
from models import digests, save_model, tensors
from safetensors.numpy import load_file, save_file

import hypercomp_rs as hc
from hypercomp_rs.checkpoint import Rule, open_source
from hypercomp_rs.checkpoint.allocation import Curve, spread

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
FAST = {"effort": "fast"}
KEPT = {"model.position_ids", "model.position_embeddings.weight", "model.empty.weight"} | {
    f"model.layers.{layer}.{name}" for layer in range(3) for name in ("attn.q.bias", "norm.weight")
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("model") / "m")


@pytest.fixture(scope="module")
def small(model, tmp_path_factory):
    """The model compressed, and what it is compressed from by name."""
    with hc.compress_checkpoint(model, tmp_path_factory.mktemp("small") / "m", **FAST) as made:
        yield made


def test_a_compressed_model_has_the_tensors_of_its_source(model, small):
    source = {name: w for _, name, w in tensors()}
    assert set(small) == set(source)
    assert {name for name in small if not isinstance(small[name], hc.CompressedTensor)} == KEPT
    for name, w in source.items():
        if name in KEPT:
            assert small[name].dtype == w.dtype
            assert small[name].tobytes() == w.tobytes()
        else:
            alone = hc.compress_tensor(w, **FAST)
            assert small[name] == alone
            info = small.info(name)
            assert (info.shape, info.codec, info.sqnr_db) == (w.shape, alone.codec, alone.sqnr_db)
    assert pickle.loads(pickle.dumps(small))["lm_head.weight"] == small["lm_head.weight"]
    assert repr(small).endswith(
        f"{len(source)} tensors, {len(source) - len(KEPT)} of them compressed, 3 shards)"
    )


def test_the_folder_is_whole(model, small):
    names = {"model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors"}
    names |= {"model-00003-of-00003.safetensors", "model.safetensors.index.json", "config.json"}
    assert set(digests(small.path)) == names | {"tokenizer/vocab.txt"}
    assert (small.path / "tokenizer/vocab.txt").read_bytes() == b"a\nb\r\nc"
    assert not small.path.with_name("m.partial").exists()
    index = json.loads((small.path / "model.safetensors.index.json").read_text())
    total = 0
    for shard in names:
        if not shard.endswith(".safetensors"):
            continue
        # Any tool of the field opens and lists it.
        with safetensors.safe_open(small.path / shard, "np") as file:
            assert {n for n, s in index["weight_map"].items() if s == shard} == set(file.keys())
            assert file.metadata()["format"] == "pt"
            total += sum(file.get_tensor(name).nbytes for name in file.keys())  # noqa: SIM118
    assert index["metadata"]["total_size"] == total


def test_the_configuration_says_how(small):
    config = small.config
    said = config.pop("quantization_config")
    # For transformers without this package, which refuses the model by it.
    assert "import hypercomp_rs.torch.transformers" in config.pop("transformers_weights")
    assert config == {"model_type": "test", "name": "Größe"}
    assert said["quant_method"] == "hypercomp"
    assert (said["bits"], said["effort"], said["format"]) == (4, "fast", 1)
    assert "model.position_embeddings" in said["modules_to_not_convert"]
    assert "lm_head" not in said["modules_to_not_convert"]


def test_parts_are_ordinary_entries(small):
    shard = load_file(small.path / "model-00003-of-00003.safetensors")
    c = small["lm_head.weight"]
    description, parts = c.to_parts()
    assert shard["lm_head.weight_description"].tobytes().decode() == description
    for part, array in parts.items():
        assert shard[f"lm_head.weight_{part}"].tobytes() == array.tobytes()


def test_decompressed_is_what_the_tensors_decode_to(model, small, tmp_path):
    seen = []
    hc.decompress_checkpoint(small.path, tmp_path / "m", follow=seen.append)
    assert seen[-1].weights == seen[-1].of_weights
    back = digests(tmp_path / "m")
    assert set(back) == set(digests(model)) - {"pytorch_model.bin"}
    for shard in model.glob("*.safetensors"):
        theirs, mine = load_file(shard), load_file(tmp_path / "m" / shard.name)
        assert theirs.keys() == mine.keys()
        for name, w in mine.items():
            assert (w.dtype, w.shape) == (theirs[name].dtype, theirs[name].shape)
            assert w.tobytes() == np.asarray(small[name]).tobytes()
    assert json.loads((tmp_path / "m/config.json").read_text()) == {
        "model_type": "test",
        "name": "Größe",
    }
    for name in ("config.json", "model.safetensors.index.json"):
        # What the source says, though perhaps not with the same blanks.
        assert json.loads((model / name).read_text()) == json.loads(
            (tmp_path / "m" / name).read_text()
        )


def test_what_is_whole_verifies(model, small):
    for verdicts in (
        hc.verify_checkpoint(small.path),
        hc.verify_checkpoint(small.path, against=model),
    ):
        assert {v.name for v in verdicts} == set(small)
        assert not [v for v in verdicts if v.problem or not v.checked]
    for verdict in verdicts:
        if verdict.name in KEPT:
            assert verdict.sqnr_db == np.inf
        else:
            assert abs(verdict.sqnr_db - small.info(verdict.name).sqnr_db) < 0.01 or (
                verdict.sqnr_db == np.inf
            )


def test_another_source_is_noticed(small, tmp_path):
    other = save_model(tmp_path / "other", seed=1)
    problems = {v.name: v.problem for v in hc.verify_checkpoint(small.path, against=other)}
    assert "dB where its description says" in problems["lm_head.weight"]
    assert "other bits" in problems["model.layers.0.norm.weight"]
    assert problems["model.position_ids"] is None
    save_file({"more.weight": np.zeros(3, np.float32)}, tmp_path / "more.safetensors")
    problems = hc.verify_checkpoint(small.path, against=tmp_path / "more.safetensors")
    assert {v.name: v.problem for v in problems}["more.weight"] == "is missing"
    assert {v.name: v.problem for v in problems}["lm_head.weight"] == "is not in the source"


def test_one_file_is_a_model_too(model, tmp_path):
    shard = model / "model-00002-of-00003.safetensors"
    with hc.compress_checkpoint(shard, tmp_path / "m", **FAST) as made:
        assert set(digests(made.path)) == {shard.name}
        with hc.Checkpoint.open(tmp_path / "m" / shard.name) as same:
            assert list(same) == list(made)
        assert not [v for v in hc.verify_checkpoint(made.path, against=shard) if v.problem]


# Rules


@pytest.mark.parametrize(
    "text",
    ["*.attn.*=bits:5", "a=keep", "a=b=sqnr:30", "[ab]?=bits:2.5,effort:high", "a=effort:max"],
)
def test_rules_are_read_and_said(text):
    assert str(Rule.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "=keep", "a", "a=", "a=drop", "a=bits", "a=bits:x", "a=bits:9", "a=sqnr:-1"),
        *("a=effort:no", "a=bits:4,sqnr:20", "a=bits:4,bits:5", "a=keep,bits:4", "a=bits:nan"),
    ],
)
def test_no_other_rules_are_read(text):
    with pytest.raises(hc.InvalidArgumentError, match=r"bits|sqnr|rule"):
        Rule.parse(text)


def test_the_first_rule_that_matches_wins(model, tmp_path):
    rules = ["*.1.attn.*=bits:6", "*.attn.*=bits:2", "lm_head=keep", "*position*=sqnr:20"]
    with hc.compress_checkpoint(model, tmp_path / "m", rules=rules, **FAST) as made:
        rates = {info.name: info.bits_per_weight for info in made.tensors}
        assert 5.5 < made["model.layers.1.attn.q.weight"].bits_per_weight <= 6
        assert made["model.layers.0.attn.q.weight"].bits_per_weight <= 2.02
        assert rates["lm_head.weight"] == 64
        assert made["model.position_embeddings.weight"].sqnr_db >= 20
        said = made.config["quantization_config"]
        assert said["rules"] == rules
        assert "lm_head" in said["modules_to_not_convert"]


def test_embeddings_are_kept_if_so_asked(model, tmp_path):
    with hc.compress_checkpoint(model, tmp_path / "m", embeddings="keep", **FAST) as made:
        assert made.info("model.embed_tokens.weight").codec is None
        assert made.info("lm_head.weight").codec == "trellis"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"rules": ["nothing=keep"]}, "'nothing=keep': it matches no tensor"),
        ({"rules": ["*=keep", "lm_head=bits:5"]}, "earlier rules take all"),
        ({"bits": 9}, "bits=9"),
        ({"bits": 4, "target_bits": 4}, "one of them is accepted"),
        ({"bits": 4, "target_sqnr_db": 20}, "one of the two is accepted"),
        ({"target_bits": 40}, "for this model"),
        ({"target_bits": 1}, "tensors that are kept"),
        ({"effort": "lazy"}, "effort='lazy'"),
        ({"embeddings": "drop"}, "embeddings='drop'"),
        ({"target_bits": 5, "sensitivity": {"*": -1}}, "sensitivity of"),
        ({"target_bits": 5, "sensitivity": "x.txt"}, "a .json or .safetensors file"),
    ],
)
def test_bad_arguments_are_refused_and_leave_nothing(model, tmp_path, arguments, says):
    with pytest.raises(hc.InvalidArgumentError, match=says):
        hc.compress_checkpoint(model, tmp_path / "m", **FAST | arguments)
    assert not list(tmp_path.iterdir())


def test_a_bad_weight_is_named(tmp_path):
    w = np.ones((80, 64), np.float32)
    w[3, 5] = np.nan
    save_file({"a.weight": w}, tmp_path / "model.safetensors")
    with pytest.raises(hc.NonFiniteError, match=r"a\.weight: .*index 197"):
        hc.compress_checkpoint(tmp_path / "model.safetensors", tmp_path / "m")


def test_a_taken_name_is_refused(tmp_path):
    w = np.random.default_rng(0).standard_normal((80, 64)).astype(np.float32)
    save_file({"a.weight": w, "a.weight_mask": w[0]}, tmp_path / "model.safetensors")
    with pytest.raises(hc.InvalidArgumentError, match=r"a\.weight_mask is a tensor of its own"):
        hc.compress_checkpoint(tmp_path / "model.safetensors", tmp_path / "m")
    with hc.compress_checkpoint(
        tmp_path / "model.safetensors", tmp_path / "m", rules=["a=keep"]
    ) as made:
        assert list(made) == ["a.weight", "a.weight_mask"]


def test_nothing_is_compressed_twice_or_over_another_method(model, small, tmp_path):
    with pytest.raises(hc.InvalidArgumentError, match="compressed already"):
        hc.compress_checkpoint(small.path, tmp_path / "m")
    other = save_model(tmp_path / "gptq")
    (other / "config.json").write_text('{"quantization_config": {"quant_method": "gptq"}}')
    with pytest.raises(hc.InvalidArgumentError, match="'gptq'"):
        hc.compress_checkpoint(other, tmp_path / "m")


def test_a_destination_is_not_written_over(model, small, tmp_path):
    with pytest.raises(hc.InvalidArgumentError, match="exists"):
        hc.compress_checkpoint(model, small.path)
    with pytest.raises(FileNotFoundError):
        hc.compress_checkpoint(model, tmp_path / "no" / "m")
    with pytest.raises(FileNotFoundError):
        hc.compress_checkpoint(tmp_path / "no", tmp_path / "m")
    with pytest.raises(hc.InvalidArgumentError, match="the result is a folder"):
        hc.compress_checkpoint(model, tmp_path / "m.safetensors")
    with pytest.raises(hc.InvalidArgumentError, match="is inside of"):
        hc.compress_checkpoint(model, model / "m")
    with pytest.raises(hc.InvalidArgumentError, match="is inside of"):
        hc.decompress_checkpoint(small.path, small.path / "m")
    save_file({}, tmp_path / "none.safetensors")
    with pytest.raises(hc.InvalidArgumentError, match="without tensors"):
        hc.compress_checkpoint(tmp_path / "none.safetensors", tmp_path / "m")
    (tmp_path / "empty").mkdir()
    hc.compress_checkpoint(model, tmp_path / "empty", **FAST)


# Bits for a whole model


def test_curves_are_cut_where_slopes_are_equal():
    rng = np.random.default_rng(5)
    for _ in range(50):
        curves = [
            Curve(int(n), float(w), float(z), float(k))
            for n, w, z, k in zip(
                rng.integers(1000, 10**7, 9),
                10.0 ** rng.uniform(-3, 3, 9),
                rng.uniform(-1, 3, 9),
                rng.uniform(5.8, 6.1, 9),
                strict=True,
            )
        ]
        budget = rng.uniform(2, 6) * sum(c.weights for c in curves)
        rates = np.array(spread(curves, budget))
        weights = np.array([c.weights for c in curves])
        assert budget * (1 - 1e-9) <= rates @ weights <= budget

        def lost(rates, curves=curves):
            return sum(
                c.importance * 10 ** (-(c.at_zero + c.slope * r) / 10)
                for c, r in zip(curves, rates, strict=True)
            )

        # No exchange of a few bits between two tensors is better.
        for i in range(9):
            for j in range(9):
                moved = rates.copy()
                moved[i] += 1e-3 / weights[i] * 1e5
                moved[j] -= 1e-3 / weights[j] * 1e5
                if i != j and moved[i] <= 8 and moved[j] >= 1:
                    assert lost(moved) >= lost(rates) * (1 - 1e-12)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A model whose tensors have over 10⁵ weights, some louder than others."""
    folder = tmp_path_factory.mktemp("large")
    rng = np.random.default_rng(3)
    w = {
        f"layers.{i}.weight": (rng.standard_normal((400 + 200 * i, 384)) * 10.0**-i).astype("f4")
        for i in range(4)
    }
    w["layers.3.weight"][rng.random(w["layers.3.weight"].shape) < 0.5] = 0
    save_file(w | {"norm.weight": np.ones(384, np.float32)}, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize("options", [{}, {"sparsity": "keep"}, {"rules": ["layers.1=bits:6"]}])
@pytest.mark.parametrize("target", [2.3, 4, 5.5])
def test_target_bits_are_met_by_the_file(large, tmp_path, target, options):
    with hc.compress_checkpoint(large, tmp_path / "m", target_bits=target, **options, **FAST) as m:
        weights = sum(info.size for info in m.tensors)
        taken = 8 * (tmp_path / "m" / "model.safetensors").stat().st_size / weights
        assert target - 0.01 <= taken <= target
        if "rules" in options:
            assert 5.99 < m["layers.1.weight"].bits_per_weight <= 6


def test_sensitivities_move_bits(large, tmp_path):
    def rates(name, given):
        with hc.compress_checkpoint(
            large, tmp_path / name, target_bits=4, sensitivity=given, **FAST
        ) as made:
            return [made[f"layers.{i}.weight"].bits_per_weight for i in range(3)]

    plain = rates("plain", None)
    # Four times the cost is a bit more.
    louder = rates("louder", {"layers.0": 16.0})
    assert louder[0] > plain[0] + 1
    assert louder[1] < plain[1]
    (tmp_path / "costs.json").write_text(
        json.dumps(dict.fromkeys(map("layers.{}".format, range(4)), 1))
    )
    absolute = rates("absolute", tmp_path / "costs.json")
    # An error is an error: the loudest tensor has the most to lose.
    assert absolute[0] > absolute[1] > absolute[2]
    gradients = {f"layers.{i}.weight": np.full((400 + 200 * i, 384), 1, "f4") for i in range(4)}
    save_file(gradients, tmp_path / "gradients.safetensors")
    assert rates("gradients", tmp_path / "gradients.safetensors") == absolute
    del gradients["layers.3.weight"]
    save_file(gradients, tmp_path / "gradients.safetensors")
    with pytest.raises(hc.InvalidArgumentError, match=r"no number for layers\.3\.weight"):
        rates("missing", tmp_path / "gradients.safetensors")


@pytest.mark.parametrize(
    ("architectures", "head", "looked_up"),
    [
        (["BertModel"], False, True),
        (["LlamaForCausalLM"], False, False),
        (["LlamaForCausalLM"], True, True),
        (["GPT2LMHeadModel"], False, False),
        (["T5ForConditionalGeneration"], False, False),
        ([], False, False),
        (None, False, False),
    ],
)
def test_a_table_that_is_only_looked_up_has_fewer_bits(tmp_path, architectures, head, looked_up):
    source = tmp_path / "model"
    source.mkdir()
    w = np.random.default_rng(0).standard_normal((1000, 384)).astype(np.float32)
    tensors = {"embed_tokens.weight": w, "layer.weight": w[::-1].copy()}
    if head:
        tensors["lm_head.weight"] = w[::2].copy()
    save_file(tensors, source / "model.safetensors")
    if architectures is not None:
        (source / "config.json").write_text(json.dumps({"architectures": architectures}))
    with hc.compress_checkpoint(source, tmp_path / "m", target_bits=4, **FAST) as made:
        table, layer = (
            made[f"{name}.weight"].bits_per_weight for name in ("embed_tokens", "layer")
        )
    # A tenth of the cost is ten decibels, 1.66 bits.
    assert abs(layer - table - (1.66 if looked_up else 0)) < 0.05


@pytest.mark.parametrize("text", ["[1]", "{", '{"a": "x"}', '{"a": -1}', '{"a": NaN}'])
def test_damaged_sensitivities_are_named(large, tmp_path, text):
    (tmp_path / "costs.json").write_text(text)
    with pytest.raises(hc.FormatError, match=r"costs\.json"):
        hc.compress_checkpoint(
            large, tmp_path / "m", target_bits=4, sensitivity=tmp_path / "costs.json"
        )


# Executors


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_do_not_change_a_byte(model, small, tmp_path, threads):
    hc.compress_checkpoint(model, tmp_path / "m", threads=threads, **FAST)
    assert digests(tmp_path / "m") == digests(small.path)


def test_processes_do_not_change_a_byte(model, small, tmp_path):
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as executor:
        hc.compress_checkpoint(model, tmp_path / "m", executor=executor, **FAST)
    assert digests(tmp_path / "m") == digests(small.path)


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
def test_a_cluster_does_not_change_a_byte(model, small, tmp_path):
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        hc.compress_checkpoint(model, tmp_path / "m", executor=client.get_executor(), **FAST)
    assert digests(tmp_path / "m") == digests(small.path)


def test_sources_pickle_and_sample(model):
    source = pickle.loads(pickle.dumps(open_source(model)))
    w = {name: w for _, name, w in tensors()}
    name = "model.layers.0.mlp.conv.weight"
    assert source.sample(name, [3, 7]).tobytes() == w[name][[3, 7]].tobytes()
    assert b"".join(map(bytes, source.pieces(name, 1000))) == w[name].tobytes()
    assert source.passed_over() == ["pytorch_model.bin"]


# The container's format


def entries_as_described(path):
    """The entries and the metadata of a safetensors file, by docs/format.md and its page alone."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    metadata = header.pop("__metadata__")
    start = 8 + length
    bounds = {name: entry["data_offsets"] for name, entry in header.items()}
    return {name: data[start + a : start + b] for name, (a, b) in bounds.items()}, metadata


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("container-*.npz")), ids=lambda p: p.stem)
def test_golden_models_are_read(path):
    folder = path.with_suffix("")
    with np.load(path) as decoded, hc.Checkpoint.open(folder) as checkpoint:
        assert set(decoded) == set(checkpoint)
        for name in decoded:
            w = np.asarray(checkpoint[name])
            assert w.dtype == decoded[name].dtype
            assert w.tobytes() == decoded[name].tobytes()
    assert not [v for v in hc.verify_checkpoint(folder) if v.problem or not v.checked]
    for shard in folder.glob("*.safetensors"):
        entries, metadata = entries_as_described(shard)
        said = json.loads(metadata["hypercomp"])
        assert said["format"] == 1
        parts = set()
        for name, data in entries.items():
            if name.endswith("_description"):
                tensor = name.removesuffix("_description")
                for part, described in json.loads(data)["parts"].items():
                    parts.add(f"{tensor}_{part}")
                    stored = entries[f"{tensor}_{part}"]
                    assert len(stored) == described["bytes"]
                    assert zlib.crc32(stored) == described["crc32"]
        sums = {name: f"{zlib.crc32(data):08x}" for name, data in entries.items()}
        assert said["crc32"] == {name: sums[name] for name in entries if name not in parts}
