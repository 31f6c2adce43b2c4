"""The examples run."""

import pathlib
import subprocess
import sys

import pytest

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        pytest.param("sentence_encoder", "instead of", marks=pytest.mark.long),
        ("load_checkpoint", "CompressedLinear(in_features=512, out_features=256"),
        ("lora", "after 40 steps"),
        ("convolutional_net", "accuracy"),
    ],
)
def test_an_example_runs(name, says):
    done = subprocess.run(
        [sys.executable, EXAMPLES / f"{name}.py"], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert says in done.stdout
