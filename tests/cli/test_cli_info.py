"""``hypercomp-rs info``: what a bug report should say."""

import json
import os
import subprocess
import sys
from importlib import metadata

import pytest

import hypercomp_rs as hc
from hypercomp_rs import _core, gpu
from hypercomp_rs.cli.info import kernels_of, missing_of


def info(*options, **environment):
    command = [sys.executable, "-m", "hypercomp_rs", "info", *options]
    env = {k: v for k, v in os.environ.items() if k != "HYPERCOMP_SIMD"} | environment
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=env)


def test_json_says_what_runs_here():
    done = info("--json", OMP_NUM_THREADS="2")
    assert (done.returncode, done.stderr) == (0, "")
    said = json.loads(done.stdout)
    assert said["version"] == hc.__version__
    assert said["simd"] == {
        "in_use": _core.simd_available()[-1],
        "detected": _core.simd_available()[-1],
        "available": _core.simd_available(),
        "override": None,
        "error": None,
    }
    assert said["threads"] == {
        "cores": os.cpu_count(),
        "default": _core.default_threads(),
        "openmp_shared": False,
    }
    assert said["cuda"]["kernels"]["architectures"][0] == 75
    assert said["packages"]["numpy"] == metadata.version("numpy")
    assert said["packages"]["torch"] == metadata.version("torch")
    assert said["environment"] == {"OMP_NUM_THREADS": "2"} | (
        {"CUDA_VISIBLE_DEVICES": os.environ["CUDA_VISIBLE_DEVICES"]}
        if "CUDA_VISIBLE_DEVICES" in os.environ
        else {}
    )


def test_the_driver_is_said_or_why_there_is_none():
    said = json.loads(info("--json").stdout)["cuda"]
    if gpu.available():
        assert said["driver"] == _core.cuda_version()
        assert len(said["devices"]) == len(gpu.devices())
    else:
        assert said["devices"] == []
        assert said["error"] in info().stdout
        with pytest.raises(hc.GpuError):
            gpu.devices()


def test_lines_are_for_people():
    done = info(HYPERCOMP_SIMD="portable")
    assert (done.returncode, done.stderr) == (0, "")
    said = dict(line.split("  ", 1) for line in map(str.strip, done.stdout.splitlines()))
    said = {name.strip(): text.strip() for name, text in said.items()}
    assert said["hypercomp-rs"] == hc.__version__
    assert said["vector unit"] == "portable in use"
    assert said["of this machine"] == ", ".join(_core.simd_available())
    assert said["HYPERCOMP_SIMD"] == "portable"
    assert said["kernels for"].startswith("sm_75, ")
    assert said["numpy"] == metadata.version("numpy")


def test_an_override_that_cannot_be_met_is_said_and_is_no_failure():
    said = json.loads(info("--json", HYPERCOMP_SIMD="avx1024").stdout)["simd"]
    assert (said["in_use"], said["override"]) == (None, "avx1024")
    assert said["error"].startswith("HYPERCOMP_SIMD=avx1024: ")
    assert "HYPERCOMP_SIMD=avx1024: " in info(HYPERCOMP_SIMD="avx1024").stdout


def test_torch_is_not_imported():
    code = "import sys; from hypercomp_rs.cli.info import facts; facts(); "
    code += "print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "False\n", done.stderr


@pytest.mark.parametrize(
    ("capability", "says"),
    [
        ((7, 5), "machine code of sm_75"),
        ((8, 7), "machine code of sm_86"),
        ((9, 0), "machine code of sm_90"),
        ((12, 1), "machine code of sm_120"),
        ((11, 0), "PTX of compute_75, compiled by the driver"),
        ((7, 2), "no kernels: sm_75 is the oldest"),
    ],
)
def test_a_device_takes_the_nearest_machine_code(capability, says):
    assert kernels_of(*capability, [75, 80, 86, 89, 90, 100, 120]) == says


def test_missing_packages_are_told_by_extra():
    requirements = [
        "numpy>=1.24",
        "torch>=2.4 ; extra == 'torch'",
        'rich >=13 ; extra == "torch"',
        "hypercomp-rs[torch] ; extra == 'transformers'",
        "transformers>=5.24,<6 ; extra == 'transformers'",
        "matplotlib>=3.8 ; extra == 'plot'",
        "pytest>=8 ; extra == 'dev'",
        "passagemath-polyhedra>=10.5 ; (python_version >= '3.11') and extra == 'bench'",
    ]
    assert missing_of(requirements, {"numpy", "rich", "matplotlib"}.__contains__) == {
        "torch": ["torch"],
        "transformers": ["torch", "transformers"],
        "plot": [],
    }


def test_the_extras_are_those_of_the_project():
    said = json.loads(info("--json").stdout)["missing"]
    assert said is not None
    assert {"torch", "transformers", "cli", "plot", "eval", "gguf"} <= set(said)
    assert not {"dev", "bench", "cuda-build"} & set(said)
    assert said["cli"] == []
