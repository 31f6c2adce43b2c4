"""What is kept by default because it is no weight: masks, and scales of other quantisers."""

import numpy as np
import pytest
from safetensors.numpy import save_file

import hypercomp_rs as hc
from hypercomp_rs.checkpoint import Entry, Source, open_source
from hypercomp_rs.checkpoint.masks import reason_to_keep

FAST = {"effort": "fast"}
N = 96
INF = np.inf
rng = np.random.default_rng(0)
NORMAL = rng.standard_normal((N, N)).astype("f4")


NO_WEIGHTS = {
    "causal": np.triu(np.full((N, N), -INF, "f4"), 1),
    "of four axes": np.triu(np.full((1, 1, N, N), -INF, "f2"), 1),
    "lowest": np.triu(np.full((N, N), np.finfo("f4").min), 1),
    "a billion": np.triu(np.full((N, N), -1e9), 1),
    "ones below": np.tril(np.ones((1, 1, N, N), "f4")),
    "signed zeros": np.where(rng.random((N, N)) < 0.5, -0.0, np.triu(np.full((N, N), -INF))),
    "window": (np.abs(np.subtract.outer(np.arange(N), np.arange(N))) < 9).astype("f2"),
    "binary": np.sign(NORMAL) * np.float32(0.03),
    "all allowed": np.ones((N, N), "f4"),
    "nothing allowed": np.full((N, N), -INF, "f4"),
    "late": np.concatenate([np.zeros((N * N, 1)), np.ones((1, 1))]).reshape(-1, 1).astype("f4"),
}
WEIGHTS = {
    "normal": NORMAL,
    "ternary": (np.sign(NORMAL) * (np.abs(NORMAL) > 0.5)).astype("f4"),
    "zeros": np.zeros((N, N), "f4"),
    "padding row": np.concatenate([np.zeros((70, N), "f4"), NORMAL]),
    "pruned to one more value at its end": np.concatenate(
        [np.triu(np.ones((N, N), "f4")), np.full((1, N), 0.5, "f4")]
    ),
    "rows of two values each": (np.sign(NORMAL) * np.abs(NORMAL[:, :1])).astype("f4"),
}


def kept(folder, tensors, **options):
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors")
    with hc.compress_checkpoint(folder, folder.with_name("small"), **FAST | options) as made:
        for name in made:
            if made.info(name).codec is None:
                assert made[name].tobytes() == tensors[name].tobytes()
        return {name for name in made if made.info(name).codec is None}


@pytest.mark.parametrize("options", [{}, {"target_bits": 21.5}, {"target_sqnr_db": 20}])
def test_values_tell_masks_from_weights(tmp_path, options):
    tensors = {f"{n}.weight": w for n, w in (NO_WEIGHTS | WEIGHTS).items()}
    tensors |= {"first.weight": NORMAL, "last.weight": NORMAL}
    assert kept(tmp_path / "m", tensors, **options) == {f"{name}.weight" for name in NO_WEIGHTS}


def test_a_mask_in_bfloat16_is_kept(tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file as save_torch

    w = {"mask.weight": torch.from_numpy(NO_WEIGHTS["causal"]), "a.weight": torch.randn(N, N)}
    save_torch({n: x.bfloat16() for n, x in w.items()}, tmp_path / "model.safetensors")
    with hc.compress_checkpoint(tmp_path / "model.safetensors", tmp_path / "s", **FAST) as made:
        assert [made.info(name).codec for name in ("mask.weight", "a.weight")] == [None, "trellis"]


def test_a_mask_of_nan_is_an_error(tmp_path):
    nan = np.where(NO_WEIGHTS["causal"] == 0, np.float32(0), np.nan)
    for number, value in enumerate((nan, np.full((N, N), np.nan, "f4"))):
        save_file({"w": value}, tmp_path / "model.safetensors")
        with pytest.raises(hc.NonFiniteError, match="--rule 'w=keep'"):
            hc.compress_checkpoint(tmp_path / "model.safetensors", tmp_path / str(number), **FAST)


SCALED = ["l.weight_scale", "l.weight_scale_inv", "l.scales", "l.weight.absmax", "l.qzeros"]
SCALED += ["l.weight_scale_2", "l.scale", "l.zero_point", "l.weight.quant_map", "l.input_scale"]
MASKED = ["attn_mask", "h.causal_mask", "model.mask", "h.0.attn.masked_bias", "alibi"]
OTHERS = ["l.weight", "scale.weight", "mask.weight", "l.scaler", "unmasked", "l.rescale_net.weight"]


def test_names_tell_scales_from_weights(tmp_path):
    tensors = dict.fromkeys([*SCALED, *MASKED, *OTHERS], NORMAL)
    # A mask of slopes: not two values, and not finite.
    tensors["alibi"] = np.where(NO_WEIGHTS["causal"] == 0, NORMAL, -INF)
    assert kept(tmp_path / "m", tensors) == {*SCALED, *MASKED}
    config = save_configured(tmp_path / "n", tensors)
    with hc.compress_checkpoint(config, tmp_path / "t", rules=["*.weight_scale=bits:4"]) as made:
        # A rule that names it is obeyed.
        assert made.info("l.weight_scale").codec == "trellis"
        assert made.info("l.scales").codec is None


def save_configured(folder, tensors):
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text("{}")
    return folder


def test_the_plan_says_why(tmp_path):
    save_file(
        {"m": NO_WEIGHTS["causal"], "l.scales": NORMAL, "w": NORMAL}, tmp_path / "model.safetensors"
    )
    source = open_source(tmp_path)
    reasons = {name: reason_to_keep(source, entry) for name, entry in source.entries.items()}
    assert "two values" in reasons["m"]
    assert "scales of another quantiser" in reasons["l.scales"]
    assert reasons["w"] is None


class Counting(Source):
    """A source that counts what is read of it."""

    def __init__(self, tensors):
        self.path = "nowhere"
        self.tensors = tensors
        self.bytes_read = 0

    @property
    def entries(self):
        return {n: Entry(n, "F32", w.shape, "model.safetensors") for n, w in self.tensors.items()}

    def read(self, name):
        raise AssertionError("a tensor is not read whole to look at its values")

    def pieces(self, name, size):
        data = self.tensors[name].reshape(-1).view(np.uint8)
        for start in range(0, len(data), size):
            self.bytes_read += len(data[start : start + size])
            yield data[start : start + size].data

    def weights_files(self):
        return ()


def test_little_is_read_of_a_weight():
    large = rng.standard_normal((2000, 2000)).astype("f4")
    # The beginning of this one looks like a mask.
    padded = np.concatenate([np.zeros((100, 2000), "f4"), large, large, large, large])
    source = Counting({"large": large, "padded": padded})
    assert reason_to_keep(source, source.entries["large"]) is None
    assert source.bytes_read <= 1 << 14
    assert reason_to_keep(source, source.entries["padded"]) is None
    assert source.bytes_read < padded.nbytes / 5


class Whole(Source):
    """A source that can read nothing but whole tensors."""

    path = None
    tensors = Counting(
        {"large": np.ones((4000, 4000), "f4"), "small": NO_WEIGHTS["causal"]}
    ).tensors
    entries = property(Counting.entries.fget)

    def read(self, name):
        assert name != "large"
        return self.tensors[name].reshape(-1).view(np.uint8)

    weights_files = Counting.weights_files


def test_a_source_that_reads_only_whole_tensors_is_asked_for_small_ones_alone():
    source = Whole()
    assert reason_to_keep(source, source.entries["large"]) is None
    assert "two values" in reason_to_keep(source, source.entries["small"])


@pytest.mark.parametrize("options", [{"bits": 4}, {"target_bits": 4}])
def test_compress_model_keeps_the_same(options):
    torch = pytest.importorskip("torch")
    hct = pytest.importorskip("hypercomp_rs.torch")
    model = torch.nn.Sequential(*(torch.nn.Linear(N, N) for _ in range(4)))
    model[1].weight.data = torch.from_numpy(NO_WEIGHTS["ones below"]).reshape(N, N)
    model[2].weight.data = torch.from_numpy(NO_WEIGHTS["binary"]).half()
    report = hct.compress_model(model, **options, **FAST)
    assert [layer.name for layer in report.layers] == ["0.weight", "3.weight"]
    reasons = {skipped.name: skipped.why for skipped in report.skipped}
    assert "two values" in reasons["1.weight"]
    assert "two values" in reasons["2.weight"]


def test_rows_and_files_of_torch_are_looked_at_piece_by_piece(tmp_path):
    torch = pytest.importorskip("torch")
    w = {"mask.weight": torch.from_numpy(NO_WEIGHTS["causal"]).T, "a.weight": torch.randn(N, N)}
    torch.save(w, tmp_path / "model.pt")
    source = open_source(tmp_path / "model.pt")
    for name, tensor in w.items():
        pieces = b"".join(bytes(piece) for piece in source.pieces(name, 1000))
        assert pieces == tensor.contiguous().numpy().tobytes()
    with hc.compress_checkpoint(tmp_path / "model.pt", tmp_path / "s", **FAST) as made:
        assert [made.info(name).codec for name in w] == [None, "trellis"]
