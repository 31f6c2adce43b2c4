"""What is copied beside the weights, what is left out, and what is said of both."""

import json
import subprocess
import sys

import numpy as np
import pytest
from models import digests
from safetensors.numpy import save_file

import hypercomp_rs as hc
from hypercomp_rs.checkpoint import open_source
from hypercomp_rs.checkpoint.other_files import is_other_format

FAST = {"effort": "fast"}
W = np.random.default_rng(0).standard_normal((80, 64)).astype("f4")

LEFT_OUT = [
    *("pytorch_model.bin", "pytorch_model.bin.index.json", "tf_model.h5", "flax_model.msgpack"),
    *("rust_model.ot", "model.tflite", "model.mlmodel", "model-Q4_K_M.gguf", "optimizer.pt"),
    *("consolidated.00.pth", "consolidated.safetensors", "consolidated.safetensors.index.json"),
    *("model.fp16.safetensors", "model.safetensors.index.fp16.json", "model.onnx"),
    *("original/consolidated.00.pth", "original/model-00001-of-00002.safetensors"),
    *("original/model.safetensors.index.json", "below/original/a.bin", "below/consolidated.01.pth"),
    *("onnx/model.onnx", "onnx/model.onnx_data", "onnx/config.json", "onnx/onnx__MatMul_1"),
    *("openvino/openvino_model.bin", "openvino/openvino_model.xml", "OpenVINO/a.bin"),
    *(
        "coreml/m/model.mlpackage/Data/com.apple.CoreML/weights/weight.bin",
        "coreml/m/Manifest.json",
    ),
    *("fill-mask.mlpackage/Data/weights/weight.bin", "some.mlmodelc/weights/weight.bin"),
    *("saved_model/variables/variables.data-00000-of-00001", "metal/model.bin"),
    *("gguf/model.gguf", "2_Dense/pytorch_model.bin", "unet/diffusion_pytorch_model.bin"),
    *("2_Dense/tf_model.h5", "below/flax_model.msgpack"),
]
COPIED = [
    *("config.json", "tokenizer.json", "tokenizer.model", "README.md", "1_Pooling/config.json"),
    *("2_Dense/config.json", "2_Dense/model.safetensors", "3_Dense/pytorch_model.bin"),
    *("unet/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.bin"),
    *("text_encoder/model.safetensors.index.json", "text_encoder/model-1.safetensors"),
    *("original/params.json", "original/tokenizer.model", "speaker_embeddings/a.npy"),
    *("modeling_custom.py", "voices/af.pt", "onnxruntime.md", "originals/a.safetensors"),
]


def fill(folder, places=(*LEFT_OUT, *COPIED)):
    for place in places:
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}" if place.endswith(".json") else place)
    save_file({"a.weight": W}, folder / "model.safetensors")
    return folder


def test_weights_in_other_formats_are_left_out_and_others_copied(tmp_path):
    source = fill(tmp_path / "m")
    with hc.compress_checkpoint(source, tmp_path / "s", **FAST) as made:
        report = made.report
    assert set(report.left_out) == set(LEFT_OUT)
    assert set(report.copied) == set(COPIED)
    assert set(digests(tmp_path / "s")) == {"model.safetensors", *COPIED}
    for place in COPIED:
        assert report.copied[place] == (source / place).stat().st_size
        if place != "config.json":
            assert (tmp_path / "s" / place).read_bytes() == (source / place).read_bytes()
    for place in LEFT_OUT:
        assert report.left_out[place] == (source / place).stat().st_size
    # Modules' own weights are copied as they are, and that is said.
    weights = {place for place in COPIED if place.endswith((".safetensors", ".bin", ".pt"))}
    assert set(report.copied_weights) == weights | {"text_encoder/model.safetensors.index.json"}
    report = hc.decompress_checkpoint(tmp_path / "s", tmp_path / "d")
    assert (set(report.copied), report.left_out) == (set(COPIED), {})
    assert set(digests(tmp_path / "d")) == {"model.safetensors", *COPIED}


def test_all_can_be_copied(tmp_path):
    source = fill(tmp_path / "m")
    with hc.compress_checkpoint(source, tmp_path / "s", copy_all=True, **FAST) as made:
        assert set(made.report.copied) == {*COPIED, *LEFT_OUT}
        assert made.report.left_out == {}
        assert list(made) == ["a.weight"]
    assert set(digests(tmp_path / "s")) == {"model.safetensors", *COPIED, *LEFT_OUT}


def test_a_file_of_its_own_has_nothing_beside_it(tmp_path):
    source = fill(tmp_path / "m")
    with hc.compress_checkpoint(source / "model.safetensors", tmp_path / "s", **FAST) as made:
        assert made.report == (0, {}, {}, {})


def test_files_of_torch_go_by_the_same_rules(tmp_path):
    torch = pytest.importorskip("torch")
    source = fill(tmp_path / "m")
    for path in source.glob("*.safetensors*"):
        path.unlink()
    torch.save({"a.weight": torch.from_numpy(W)}, source / "pytorch_model.bin")
    made = open_source(source)
    gone = {place for place in LEFT_OUT if "/" not in place and ".safetensors" in place}
    assert set(made.files()) == set(COPIED)
    assert set(made.passed_over()) == {*LEFT_OUT} - gone - {"pytorch_model.bin"}


def test_links_are_followed_and_end(tmp_path):
    source = fill(tmp_path / "m", ["tokenizer/vocab.txt"])
    (tmp_path / "shared/onnx").mkdir(parents=True)
    (tmp_path / "shared/merges.txt").write_text("a b")
    (tmp_path / "shared/onnx/model.bin").write_text("x")
    (source / "shared").symlink_to(tmp_path / "shared")
    (source / "tokenizer/again").symlink_to(source)
    (source / "linked.txt").symlink_to("tokenizer/vocab.txt")
    (source / "gone.txt").symlink_to("nothing")
    found = open_source(source)
    assert set(found.files()) == {"tokenizer/vocab.txt", "shared/merges.txt", "linked.txt"}
    assert found.passed_over() == ["shared/onnx/model.bin"]


@pytest.mark.parametrize(
    ("place", "others", "left_out"),
    [
        ("2_Dense/pytorch_model.bin", ["2_Dense/model.safetensors"], True),
        ("2_Dense/pytorch_model.bin", ["3_Dense/model.safetensors", "model.safetensors"], False),
        ("a/pytorch_model.bin.index.json", ["a/model.safetensors"], True),
        ("a/pytorch_model.bin", ["a/b/model.safetensors"], False),
        ("a/binary.txt", ["a/model.safetensors"], False),
        ("original.pth", [], True),
        ("a/original.pth", [], False),
    ],
)
def test_a_module_is_told_from_the_same_weights_again(place, others, left_out):
    assert is_other_format(place, {place, *others}) is left_out


def test_the_commands_say_what_they_copied(tmp_path):
    source = fill(tmp_path / "m", ["config.json", "2_Dense/model.safetensors", "a.h5"])
    fill(source, [f"openvino/{i}.bin" for i in range(3)])

    def run(*arguments):
        command = [sys.executable, "-m", "hypercomp_rs", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    said = run("compress", source, tmp_path / "s")
    assert "copied 2 other files, 27 B; weights among them are not compressed: 2_Dense/" in said
    assert "left out 4 other files, 46 B, weights in other formats: a.h5, openvino/ (--copy" in said
    said = json.loads(run("compress", source, tmp_path / "all", "--copy-all", "--json"))
    assert (len(said["copied"]), said["left_out"], said["reused"]) == (6, {}, 0)
    assert said["copied_weights"][0] == "2_Dense/model.safetensors"
    said = run("decompress", tmp_path / "all", tmp_path / "d")
    assert said.startswith("copied 2 other files")
    assert "left out 4 other files" in said
