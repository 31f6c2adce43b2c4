"""The CUDA kernels, without a GPU: a fast part of `make prove-gpu`, for every run of the tests.

The image is of these sources; the kernels compiled by g++ decode what the package decodes; the
interpreter of PTX computes what PTX says and finds what it is there to find. What needs NVIDIA's
compilers is skipped where the extra ``cuda-build`` is not installed.
"""

import hashlib
import json
import re
import shutil
import struct
import subprocess
import sys
from itertools import chain, islice
from pathlib import Path

import numpy as np
import pytest

CUDA = Path(__file__).parents[2] / "cuda"
sys.path.insert(0, str(CUDA))

import compile_kernels  # noqa: E402
from proof import budget, cases, declarations, runners, tile_cases  # noqa: E402
from proof import tensor as device_tensor  # noqa: E402
from proof.__main__ import image_is_fresh  # noqa: E402
from proof.case import Case, Struct  # noqa: E402
from proof.ptx import Fault, Kernel, Machine, Memory, Unknown  # noqa: E402
from proof.ptx.operation import operation  # noqa: E402

needs_gxx = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
needs_compilers = pytest.mark.skipif(
    not compile_kernels.compilers(), reason="needs pip install '.[cuda-build]'"
)


def test_the_image_is_of_these_sources():
    stamp = json.loads((compile_kernels.IMAGE / "stamp.json").read_text())
    image = (compile_kernels.IMAGE / "kernels.fatbin").read_bytes()
    assert stamp["sources"] == compile_kernels.source_hash(), "run cuda/compile_kernels.py"
    assert stamp["image"] == hashlib.sha256(image).hexdigest()
    assert stamp["architectures"] == list(compile_kernels.ARCHITECTURES)
    # A fatbin's magic number: what the driver looks for.
    assert image[:4] == bytes.fromhex("50ed55ba")


def test_the_compilers_are_those_that_the_project_names():
    stamp = json.loads((compile_kernels.IMAGE / "stamp.json").read_text())
    project = (CUDA.parent / "pyproject.toml").read_text()
    for name, version in stamp["compilers"].items():
        assert f'"{name}=={version}' in project


@needs_gxx
def test_structs_are_where_the_host_side_has_them(tmp_path):
    fields = {
        "HcCode": ["turn", "skew", "shape"],
        "HcStream": ["path_bit", "cell_bit", "first", "scale", "length", "half_bits", "history"],
        "HcTensor": [
            *("path", "cells", "path_bytes", "cell_bytes", "streams", "codes", "seed", "wide"),
            *("narrow", "fits", "transformed", "window", "offset_bits", "run_bits"),
            *("table_rate", "table"),
        ],
        "HcTileCode": [
            *("turn", "skew", "unit", "levels", "bytes", "unused"),
        ],
        "HcTiles": ["codes", "levels", "bytes"],
        "HcRowTile": ["first", "rows", "half_bits"],
        "HcRows": ["order", "tiles", "columns", "vectors"],
        "HcChunk": ["sum", "unit"],
        "HcMatrix": ["rows", "columns", "pieces", "piece", "batch"],
        "HcWinding": [
            *("codes", "code_bytes", "weights", "units", "centre", "half", "group", "bits"),
            *("points", "base"),
        ],
    }
    offsets = {
        "HcCode": [0, 8, 16],
        "HcStream": [device_tensor.STREAM.fields[name][1] for name in fields["HcStream"]],
        "HcTensor": [0, 8, 16, 24, 32, 40, 48, 56, 72, 80, 84, 88, 92, 96, 100, 104],
        "HcTileCode": [field[1] for field in device_tensor.TILE_CODE.fields.values()],
        "HcTiles": [0, 8, 16],
        "HcRowTile": [field[1] for field in device_tensor.ROW_TILE.fields.values()],
        "HcRows": [0, 8, 16, 20],
        "HcChunk": [field[1] for field in device_tensor.CHUNK.fields.values()],
        "HcMatrix": [0, 8, 12, 16, 20],
        "HcWinding": [0, 8, 16, 24, 32, 64, 72, 76, 80, 84],
    }
    lines = [
        f'printf("%zu\\n", offsetof({kind}, {name}));' for kind in fields for name in fields[kind]
    ]
    source = tmp_path / "offsets.cc"
    source.write_text(
        f'#include "{CUDA}/launch.h"\n#include <cstddef>\n#include <cstdio>\n'
        f"int main() {{ {' '.join(lines)} }}\n"
    )
    subprocess.run(["g++", "-std=c++17", "-o", tmp_path / "offsets", source], check=True)
    found = subprocess.run(
        [tmp_path / "offsets"], capture_output=True, text=True, check=True
    ).stdout
    assert [int(n) for n in found.split()] == list(chain(*(offsets[kind] for kind in fields)))
    assert struct.calcsize("<QQQQQQQddffIIIIIIQ") == device_tensor.TENSOR.size == 112


def test_every_kernel_is_declared_once_and_nowhere_else():
    names = list(declarations.KERNELS)
    assert len(names) == 22
    assert declarations.KERNELS["hc_matvec_1"].threads == 256
    assert declarations.KERNELS["hc_matvec_1"].blocks == 3
    assert declarations.KERNELS["hc_offsets"].parameters == (
        ("HcTensor", "tensor"),
        ("uint32_t", "half_bits"),
        ("uint32_t*", "table"),
    )
    text = declarations.FILE.read_text()
    assert list(declarations.read(declarations.without(text, {"hc_decode", "hc_winding"}))) == [
        name for name in names if name not in ("hc_decode", "hc_winding")
    ]
    for file in ("launch.h", "kernels.cu", "proof/host.cc", "../rust/gpu/tests/fake_kernels.cc"):
        code = re.sub(r"//.*", "", (CUDA / file).read_text())
        assert not [name for name in names if re.search(rf"\b{name}\b", code)], file


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("128, 8992, (64)", "128, (64)"),
        ("hc_patch_32, 16", "hc_patch_16, 16"),
        ("half_bits, table))\n\n", "half_bits, table))\n"),
        ("(256, 3)", "(32 * HC_ROWS, 3)"),
    ],
)
def test_a_declaration_that_cannot_be_read_is_an_error(old, new):
    text = declarations.FILE.read_text()
    assert text.count(old) == 1
    with pytest.raises(ValueError, match=r"kernels\.def"):
        declarations.read(text.replace(old, new))


def test_arguments_have_to_be_those_that_are_declared():
    case = Case("wrong arguments")
    pointer = case.give(bytes(8))
    tensor = Struct(bytes(112))
    case.launch("hc_offsets", 1, tensor, 8, pointer)
    assert case.launches[0].block == 256
    with pytest.raises(TypeError, match="hc_offsets has 3 parameters: 2"):
        case.launch("hc_offsets", 1, tensor, 8)
    for wrong in ((pointer, 8, pointer), (tensor, 8, 8), (tensor, pointer, pointer)):
        with pytest.raises(TypeError, match="is declared"):
            case.launch("hc_offsets", 1, *wrong)


def test_tables_are_put_between_the_marks_of_a_document(tmp_path):
    document = tmp_path / "document.md"
    document.write_text(f"a\n\n{budget.BEGIN}\n\nold\n\n{budget.END}\n\nb\n")
    assert budget.write(document, "new")
    assert document.read_text() == f"a\n\n{budget.BEGIN}\n\nnew\n\n{budget.END}\n\nb\n"
    assert not budget.write(document, "new")
    with pytest.raises(ValueError, match="end of budgets"):
        budget.documented("no marks")


@pytest.fixture(scope="session")
def host_program(tmp_path_factory):
    return runners.compile_host("plain", tmp_path_factory.mktemp("kernels"))


def some_cases():
    """One of each kind, and all rates of all windows."""
    return chain(
        cases.every_code(),
        islice(cases.shapes(), 1, None, 3),
        islice(cases.ranges(), 0, None, 4),
        cases.zeros_and_exact_weights(),
        islice(cases.products(), 0, None, 4),
        islice(cases.tables(), 0, None, 4),
        cases.windings(),
        tile_cases.every_code(),
        islice(tile_cases.shapes(), 0, None, 5),
        tile_cases.from_the_package(),
        islice(tile_cases.products(), 0, None, 4),
        islice(tile_cases.products_by_tensor_cores(), 0, None, 3),
    )


@needs_gxx
def test_kernels_on_the_cpu_give_the_package_s_bits(host_program):
    wrong = []
    for case in some_cases():
        in_order = runners.run_host(host_program, case)
        shuffled = runners.run_host(host_program, case, seed=7)
        wrong += case.complaints(in_order)
        if any((in_order[k].tobytes() != shuffled[k].tobytes()) for k in in_order):
            wrong.append(f"{case.name}: the order of the threads matters")
    assert not wrong


@pytest.mark.long
@needs_compilers
def test_the_image_is_what_these_sources_give_and_keeps_its_budgets(tmp_path):
    complaints, logs = image_is_fresh(tmp_path)
    assert not complaints
    tables, broken = budget.report(logs)
    assert not broken
    assert budget.documented(budget.DOCUMENT.read_text()) == tables, "run make prove-gpu"


@pytest.mark.long
@needs_compilers
def test_a_budget_that_is_broken_is_named(tmp_path, monkeypatch):
    _, log = compile_kernels.assemble(compile_kernels.compile_ptx(), 80)
    assert not budget.broken({80: log})
    monkeypatch.setitem(budget.LIMITS, "hc_decode", (10, 8_992))
    (complaint,) = budget.broken({80: log})
    assert "hc_decode on sm_80: registers" in complaint
    spilled = log.replace("0 bytes spill stores", "4 bytes spill stores", 1)
    assert any("spilled 4" in c for c in budget.broken({80: spilled}))


@pytest.mark.long
@needs_gxx
@needs_compilers
def test_ptx_gives_the_same_bits(host_program):
    interpreter = runners.Interpreter(compile_kernels.compile_ptx())
    chosen = chain(
        islice(cases.every_code((10,)), 2),
        islice(cases.shapes(), 3, 4),
        islice(cases.tables(), 8, 9),
        islice(cases.windings(), 1, 2),
        islice(tile_cases.every_code((10,)), 2),
        islice(tile_cases.products(), 2, 3),
        islice(tile_cases.products_by_tensor_cores(), 1, 2),
    )
    for case in chosen:
        got = interpreter.run(case)
        assert not case.complaints(got)
        compiled = runners.run_host(host_program, case)
        assert all(got[k].tobytes() == compiled[k].tobytes() for k in got)


# The interpreter itself.


def run_ptx(body, threads=64, inputs=(), outputs=(), blocks=1, registers=""):
    """Run a kernel written here; buffers of 32-bit words, inputs first. Gives the outputs."""
    names = [f"p{i}" for i in range(len(inputs) + len(outputs))]
    parameters = ",\n".join(f".param .u64 {name}" for name in names)
    loads = "".join(f"ld.param.u64 %a{i}, [{name}];\n" for i, name in enumerate(names))
    text = f""".visible .entry k(
{parameters}
)
{{
.reg .pred %p<9>;
.reg .f32 %f<9>;
.reg .b32 %r<20>;
.reg .b64 %rd<20>;
.reg .b64 %a<{len(names) + 1}>;
.shared .align 4 .b8 tile[512];
{registers}
{loads}
mov.u32 %r0, %tid.x;
mul.wide.u32 %rd0, %r0, 4;
shl.b32 %r1, %r0, 2;
mov.u32 %r2, tile;
add.s32 %r3, %r2, %r1;
{body}
ret;

}}
"""
    memory = Memory()
    given = [memory.allocate(len(x) * 4, np.asarray(x, np.uint32).view(np.uint8)) for x in inputs]
    results = [memory.allocate(4 * n) for n in outputs]
    arguments = [address.to_bytes(8, "little") for address in given + results]
    Machine(memory).launch(Kernel.find(text, "k"), blocks, threads, arguments)
    return [
        memory.contents(address, 4 * n).view(np.uint32)
        for address, n in zip(results, outputs, strict=True)
    ]


EXCHANGE = """
st.shared.u32 [%r3], %r0;
{barrier}
xor.b32 %r4, %r1, 252;
add.s32 %r4, %r2, %r4;
ld.shared.u32 %r5, [%r4];
add.s64 %rd1, %a0, %rd0;
st.global.u32 [%rd1], %r5;
"""


def test_threads_exchange_values_across_a_barrier():
    (got,) = run_ptx(EXCHANGE.format(barrier="bar.sync 0;"), outputs=(64,))
    assert (got == 63 - np.arange(64)).all()


def test_a_missing_barrier_is_found():
    with pytest.raises(Fault, match=r"race in shared memory.*ld.shared"):
        run_ptx(EXCHANGE.format(barrier=""), outputs=(64,))


def test_a_barrier_in_one_branch_is_found():
    half = "setp.lt.u32 %p1, %r0, 32;\n@!%p1 bra DONE;\nbar.sync 0;\nDONE:"
    with pytest.raises(Fault, match="barrier"):
        run_ptx(half, outputs=())


def test_different_barriers_are_not_the_same():
    body = "setp.lt.u32 %p1, %r0, 32;\n@%p1 bra A;\nbar.sync 0;\nbra DONE;\nA:\nbar.sync 0;\nDONE:"
    with pytest.raises(Fault, match="different barriers"):
        run_ptx(body)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("ld.shared.u32 %r5, [%r3];", "read before it is written"),
        ("add.s32 %r5, %r6, 1;", "register %r6 is read before"),
        ("setp.lt.u32 %p1, %r0, 9;\n@%p1 mov.u32 %r6, 1;\nadd.s32 %r5, %r6, 1;", "register %r6"),
        ("st.shared.u32 [%r3+260], %r0;", "beyond the end of shared memory"),
        ("st.shared.u32 [%r3+2], %r0;", "misaligned"),
        ("st.shared.u32 [%r2], %r0;", "race in shared memory"),
        ("st.global.u32 [%a0], %r0;", "race in device memory"),
        ("add.s64 %rd1, %a0, %rd0;\nst.global.u32 [%rd1+4], %r0;", "in no buffer"),
        ("mov.u64 %rd1, 64;\nst.global.u32 [%rd1], %r0;", "in no buffer"),
        ("A:\nbra A;", "does not end"),
    ],
)
def test_what_is_not_defined_is_found(body, complaint, monkeypatch):
    monkeypatch.setattr("proof.ptx.machine._LONGEST", 1000)
    with pytest.raises(Fault, match=complaint):
        run_ptx(body, outputs=(64,))


def test_a_result_that_is_not_all_written_is_found():
    body = "setp.lt.u32 %p1, %r0, 60;\nadd.s64 %rd1, %a0, %rd0;\n@%p1 st.global.u32 [%rd1], %r0;"
    with pytest.raises(Fault, match="16 bytes of a result were not written"):
        run_ptx(body, outputs=(64,))


def test_blocks_race_in_device_memory_too():
    body = "add.s64 %rd1, %a0, %rd0;\nst.global.u32 [%rd1], %r0;"
    with pytest.raises(Fault, match="race in device memory"):
        run_ptx(body, outputs=(64,), blocks=2)


def shuffle(mask, guard=""):
    return f"""
{guard}
shfl.sync.bfly.b32 %r5, %r0, 16, 31, {mask};
DONE:
add.s64 %rd1, %a0, %rd0;
st.global.u32 [%rd1], %r5;
"""


def test_a_shuffle_exchanges_lanes():
    (got,) = run_ptx(shuffle(-1), outputs=(64,))
    assert (got == np.arange(64) ^ 16).all()


def test_a_shuffle_reads_the_lane_that_is_named():
    body = """
and.b32 %r4, %r0, 3;
shfl.sync.idx.b32 %r5, %r0, %r4, 31, -1;
add.s64 %rd1, %a0, %rd0;
st.global.u32 [%rd1], %r5;
"""
    (got,) = run_ptx(body, outputs=(64,))
    threads = np.arange(64)
    assert (got == threads // 32 * 32 + threads % 4).all()


def test_a_wrong_shuffle_mask_is_found():
    with pytest.raises(Fault, match="mask"):
        run_ptx(shuffle(0x0000FFFF), outputs=(64,))
    some = "and.b32 %r6, %r0, 1;\nsetp.eq.s32 %p1, %r6, 0;\nmov.u32 %r5, 0;\n@%p1 bra DONE;"
    with pytest.raises(Fault, match="mask"):
        run_ptx(shuffle(-1, some), outputs=(64,))


MULTIPLY = """
{guard}
mul.lo.s32 %r4, %r0, 16843009;
mov.u32 %r6, 0;
mov.u32 %r7, 5;
mma.sync.aligned.m8n8k16.row.col.s32.u8.s8.s32 {{%r8, %r9}}, {{%r4}}, {{%r0}}, {{%r6, %r7}};
DONE:
add.s64 %rd1, %a0, %rd0;
st.global.u32 [%rd1], %r9;
"""


def test_tensor_cores_add_products_of_bytes():
    (got,) = run_ptx(MULTIPLY.format(guard=""), threads=32, outputs=(32,))
    lanes = np.arange(32).reshape(8, 4)
    # Lane 4g + t has four bytes of its own number in row g, and its number as the first of four
    # bytes of column g.
    rows = lanes.repeat(4, 1)
    columns = np.zeros((8, 16), int)
    columns[:, ::4] = lanes
    wanted = (rows @ columns.T)[:, 1::2] + 5
    assert (got.reshape(8, 4) == wanted).all()


def test_tensor_cores_without_all_lanes_are_found():
    guard = "setp.lt.u32 %p1, %r0, 9;\nmov.u32 %r9, 0;\n@%p1 bra DONE;"
    with pytest.raises(Fault, match="tensor cores without all lanes"):
        run_ptx(MULTIPLY.format(guard=guard), threads=32, outputs=(32,))


@pytest.mark.parametrize(
    "line",
    [
        "ex2.approx.f32 %f1, %f2;",
        "fma.rn.ftz.f32 %f1, %f2, %f2, %f2;",
        "add.rz.f32 %f1, %f2, %f2;",
        "mad.rn.f32 %f1, %f2, %f2, %f2;",
        "cvt.rzi.s32.f32 %r5, %f2;",
        "atom.global.add.u32 %r5, [%a0], %r0;",
        "ld.volatile.shared.u32 %r5, [%r3];",
        "shfl.sync.down.b32 %r5, %r0, 1, 31, -1;",
        "mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%r5, %r6}, {%r0}, {%r0}, {%r5, %r6};",
        "bar.sync.aligned 0;",
        "mov.u32 %r5, %clock;",
        "call.uni f;",
        "sin.approx.f32 %f1, %f2;",
    ],
)
def test_an_unknown_instruction_raises_even_where_it_is_not_reached(line):
    with pytest.raises(Unknown):
        run_ptx(f"bra DONE;\n{line}\nDONE:", outputs=(64,))


def halves(rng, count):
    bits = rng.integers(0, 1 << 16, count).astype(np.uint16)
    bits[(bits & 0x7C00) == 0x7C00] &= 0xBFFF  # finite
    return bits.view(np.float16)


def exactly_rounded(a, b, c):
    """a·b + c of halves in integers of 2^-48, rounded once by hand."""
    from fractions import Fraction

    exact = Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c))
    if exact == 0:
        return 0.0
    size = abs(exact)
    exponent = -14
    while size >= Fraction(2) ** (exponent + 1):
        exponent += 1
    unit = Fraction(2) ** (exponent - 10)
    steps = size / unit
    whole = steps.numerator // steps.denominator
    rest = steps - whole
    whole += rest > Fraction(1, 2) or (rest == Fraction(1, 2) and whole % 2)
    value = float(whole * unit)
    return np.copysign(np.inf if value >= 65520 else value, float(exact))


@pytest.mark.parametrize("name", ["fma.rn.f16", "add.f16", "mul.rn.f16", "sub.rn.f16"])
def test_arithmetic_of_halves_is_rounded_once(name):
    rng = np.random.default_rng(5)
    a, b, c = (halves(rng, 500) for _ in range(3))
    small = (rng.integers(0, 1 << 11, 500)).astype(np.uint16).view(np.float16)
    a[250:] = small[250:]  # subnormals
    one, zero = np.ones_like(a), np.zeros_like(a)
    kind = name.split(".")[0]
    given = {"fma": (a, b, c), "add": (a, b), "sub": (a, b), "mul": (a, b)}[kind]
    exact = {"fma": (a, b, c), "add": (a, one, b), "sub": (a, one, -b), "mul": (a, b, zero)}[kind]
    with np.errstate(all="ignore"):
        got = operation(name.split("."))[0](*given)
        packed = operation([*name.split(".")[:-1], "f16x2"])[0]
        words = [np.stack([x, x[::-1]], 1).copy().view(np.uint32).reshape(-1) for x in given]
        pairs = packed(*words).view(np.float16).reshape(-1, 2)
    wanted = np.array([exactly_rounded(*xs) for xs in zip(*exact, strict=True)])
    assert (got.astype(np.float64) == wanted).all()
    assert (pairs[:, 0].astype(np.float64) == wanted).all()
    assert (pairs[:, 1].astype(np.float64) == wanted[::-1]).all()


def test_fused_multiply_adds_of_floats_are_rounded_once():
    # Each product lies halfway between two floats, and the addend decides.
    a = np.float32(1 + 2.0**-12) * np.ones(3, np.float32)
    c = np.array([2.0**-60, -(2.0**-60), 0], np.float32)
    got = operation(["fma", "rn", "f32"])[0](a, a, c)
    up, even = np.float32(1 + 2.0**-11 + 2.0**-23), np.float32(1 + 2.0**-11)
    assert got.tolist() == [up, even, even]


@pytest.mark.parametrize(
    ("opcode", "given", "wanted"),
    [
        ("prmt.b32", (0x11223344, 0x55667788, 0x0123), 0x44332211),
        ("prmt.b32", (0x80, 0, 0x8480), 0xFF00FF80),
        ("bfi.b32", (0xFF, 0, 8, 4), 0xF00),
        ("shf.l.wrap.b32", (0x80000000, 1, 33), 3),
        ("shf.r.wrap.b32", (2, 1, 1), 0x80000001),
        ("clz.b32", (1,), 31),
        ("popc.b32", (0xF0F0,), 8),
        ("shr.u32", (8, 40), 0),
        ("shl.b32", (1, 32), 0),
        ("mul.hi.u32", (1 << 31, 6), 3),
        ("mad.lo.s32", (3, 5, 7), 22),
        ("rem.u32", (17, 5), 2),
    ],
)
def test_integer_instructions(opcode, given, wanted):
    compute, kinds, result = operation(opcode.split("."))
    arrays = [np.array([x], np.uint32).view(k) for x, k in zip(given, kinds, strict=True)]
    with np.errstate(all="ignore"):
        got = np.asarray(compute(*arrays)).astype(result).view(np.uint32)
    assert int(got[0]) == wanted


def levels_by_table(window, rate):
    """What `PairCode::levels` makes of every phase, and the exact levels."""
    from proof.tensor import plain

    cell = (rate - 1) // 2
    size, down = 7 + cell, max(0, 3 - cell)
    half, u32 = np.float16, np.uint32
    shape = [np.float32(x) for x in plain.codes()[window, rate].shape]
    a, b, c = (float(x) for x in shape)
    d = 16 + (1023 - 64 * (15 - 2 * down)) / 64 + 7.5 / 1024
    up = 2.0**down
    c0, c1, c2 = (
        half(up * ((c * d - b) * d + a)),
        half(up * 16 * (b - 2 * c * d)),
        half(up * 256 * c),
    )
    fma, mul = operation(["fma", "rn", "f16"])[0], operation(["mul", "f16"])[0]
    phases = np.arange(1 << size, dtype=np.uint16).view(half)
    factor = half(2.0 ** (25 - size - down))
    t = fma(phases, factor, half((2.0**-size - 1) * 2.0**-down))
    exact_t = (2 * np.arange(1 << size) + 1) / 2.0**size - 1
    assert (t.astype(np.float64) == exact_t / up).all(), "lines are exact"
    u = fma(t, t, half(-(2.0 ** (-2 * down)))).view(np.uint16).astype(u32)
    w = ((~(u >> 4) & 0x3FF) | 0x3C00).astype(np.uint16).view(half)
    return mul(t, fma(fma(c2, w, c1), w, c0)).astype(np.float64), plain.levels(
        plain.codes()[window, rate], rate
    )


@pytest.mark.parametrize("window", [8, 10])
@pytest.mark.parametrize("rate", [2, 4, 6, 8, 10])
def test_levels_by_table_are_as_near_as_documented(window, rate):
    got, exact = levels_by_table(window, rate)
    assert (np.abs(got - exact) <= 2.0**-8 * np.abs(exact)).all()
    # On a Gaussian source every phase is met about as often as its level's density asks for; the
    # mean over phases is near enough to say that the codes' own error hides this one.
    noise = {2: 0.27, 4: 0.07, 6: 0.0176, 8: 0.0044, 10: 0.0011}[rate]
    assert np.mean((got - exact) ** 2) < 0.001 * noise
