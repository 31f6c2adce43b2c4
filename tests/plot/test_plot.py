"""Figures, and the report of a compressed model."""

import json
import math
import re
import subprocess
import sys
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from models import save_model
from safetensors.numpy import save_file

import hypercomp_rs as hc
from hypercomp_rs import plot
from hypercomp_rs.checkpoint import TensorInfo
from hypercomp_rs.checkpoint.kept import UNKNOWN, reasons_to_keep
from hypercomp_rs.plot import style
from hypercomp_rs.plot.hyperplanes import degeneracies, plane_in_box
from hypercomp_rs.plot.model import kind_of
from hypercomp_rs.plot.page import totals
from hypercomp_rs.plot.plane_regions import polygon_around
from hypercomp_rs.plot.tensor import row_sqnr_db

COMMAND = [sys.executable, "-m", "hypercomp_rs", "report"]
HOSTILE = (
    "<script>alert(1)</script>.weight",
    '"><img src=http://evil.example/x onerror=alert(1)>.weight',
    "a&amp;b\x1b[2J\u202e$x^2$\ud7ff\ue000.weight",
    "h$_{" + "x" * 300 + ".weight",
)


def run(*arguments, **options):
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, timeout=120, **options
    )


class Page(HTMLParser):
    """The parts of a page that tests look at."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.ids, self.rows = [], [], [], []
        self.visible = ""
        self._cell = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        self.ids += [value for name, value in attrs if name == "id"]
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and self.rows:
            self._cell = True
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self._cell = False

    def handle_data(self, data):
        self.visible += data
        if self._cell:
            self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    rules = ["*.layers.0.attn.q.weight=keep", "*.mlp.*=bits:5"]
    model = save_model(folder / "m")
    hc.compress_checkpoint(model, folder / "small", effort="fast", rules=rules).close()
    return folder / "small"


def assert_stands_alone(text, page):
    """Nothing of the page comes from elsewhere, and nothing in it runs."""
    assert not {"script", "link", "img", "iframe", "object", "embed"} & set(page.tags)
    assert page.tags.count("style") == 1
    for name, value in page.attributes:
        assert not name.startswith("on")
        if name in ("href", "src", "xlink:href"):
            assert value.startswith(("#", "data:image/png;base64,"))
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)
    assert len(page.ids) == len(set(page.ids))
    places = {value[1:] for name, value in page.attributes if name == "href"}
    places |= set(re.findall(r"url\(#([^)]+)\)", text))
    assert places <= set(page.ids)


def test_the_report_has_every_tensor_with_the_checkpoint_s_own_numbers(small):
    text = plot.report(small)
    page = Page(text)
    assert "http" not in text
    assert_stands_alone(text, page)
    rows = {row[1]: row for row in page.rows if len(row) == 9}
    with hc.Checkpoint.open(small) as checkpoint:
        for info in checkpoint.tensors:
            number, _, shape, dtype, bits, decibels, below, nbytes, outcome = rows[info.name]
            assert (number != "") == (info.codec is not None)
            assert shape == "×".join(map(str, info.shape))
            assert dtype == info.dtype
            assert bits == f"{info.bits_per_weight:.3f}"
            assert nbytes == f"{info.nbytes:,}"
            if math.isinf(info.sqnr_db):
                assert (decibels, below) == ("exact", "–")
            else:
                assert decibels == f"{info.sqnr_db:.2f}"
                assert below == f"{20 * math.log10(2) * info.bits_per_weight - info.sqnr_db:.2f}"
            assert outcome.startswith(info.codec or "kept: ")
        files = sum(path.stat().st_size for path in checkpoint.source.weights_files())
        weights = sum(info.size for info in checkpoint.tensors)
    assert f"{files / 1000:.2f} kB" in page.visible
    assert f"{8 * files / weights:.3f}" in page.visible
    assert "time to compress" not in text
    assert "12.5 s" in plot.report(small, seconds=12.5)


def test_totals_are_those_of_inspect(small):
    from hypercomp_rs.cli.inspect import summary

    with hc.Checkpoint.open(small) as checkpoint:
        said, found = summary(checkpoint), totals(checkpoint, checkpoint.tensors)
    assert {name: found[name] for name in found if name != "ratio"} == {
        name: said[name] for name in found if name != "ratio"
    }
    assert found["ratio"] == said["dense_bytes"] / said["bytes"]


def test_the_report_says_what_was_kept_and_why(small):
    with hc.Checkpoint.open(small) as checkpoint:
        reasons = reasons_to_keep(checkpoint)
        assert set(reasons) == set(checkpoint) - set(checkpoint.source.compressed)
    assert reasons["model.layers.0.attn.q.weight"] == "rule *.layers.0.attn.q.weight=keep"
    assert reasons["model.layers.0.norm.weight"].startswith("fewer than two axes")
    assert reasons["model.position_ids"] == "I64 is no float that the codec takes"
    assert "position" in reasons["model.position_embeddings.weight"]
    visible = Page(plot.report(small)).visible
    for reason in reasons.values():
        assert reason in visible


def test_reasons_are_those_of_the_plan(tmp_path):
    """A slow twin: what a plan of the original says of each tensor that is kept."""
    from hypercomp_rs.checkpoint.plan import Request, choices_of
    from hypercomp_rs.checkpoint.rules import rules_of
    from hypercomp_rs.checkpoint.sensitivity import Sensitivity
    from hypercomp_rs.compress import Trellis

    rng = np.random.default_rng(0)
    w = rng.standard_normal((80, 64)).astype(np.float32)
    model = {
        "emb.embed_tokens.weight": w,
        "layer.weight": w,
        "layer.mask": np.tril(np.ones((80, 64), np.float32)),
        "other.weight": np.sign(w),
        "third.weight_scale": w,
        "lm.router.weight": w,
        "named.weight": w,
        "small.weight": w[:2],
    }
    save_file(model, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text("{}")
    options = {"rules": ["named=keep", "layer.weight=bits:5"], "embeddings": "keep"}
    with hc.compress_checkpoint(tmp_path, tmp_path.parent / "s", effort="fast", **options) as found:
        reasons = reasons_to_keep(found)
    rules = rules_of(options["rules"])
    request = Request(Trellis(bits=4), None, "keep", rules, Sensitivity(None))
    choices = choices_of(hc.checkpoint.open_source(tmp_path), request)
    planned = {name: choice.kept for name, choice in choices.items() if choice.kept is not None}
    assert reasons == planned
    assert len(reasons) == 7


def test_a_reason_that_nothing_tells_is_said_to_be_unknown(tmp_path):
    w = np.random.default_rng(0).standard_normal((80, 64)).astype(np.float32)
    (tmp_path / "m").mkdir()
    save_file({"a.weight": w, "b.weight": w}, tmp_path / "m" / "model.safetensors")
    (tmp_path / "m" / "config.json").write_text("{}")
    small = tmp_path / "small"
    hc.compress_checkpoint(tmp_path / "m", small, effort="fast", rules=["a=keep"]).close()
    config = json.loads((small / "config.json").read_text())
    del config["quantization_config"]["rules"]
    (small / "config.json").write_text(json.dumps(config))
    with hc.Checkpoint.open(small) as checkpoint:
        assert reasons_to_keep(checkpoint) == {"a.weight": UNKNOWN}
    for wrong in (5, [5], ["a=nonsense"]):
        config["quantization_config"]["rules"] = wrong
        (small / "config.json").write_text(json.dumps(config))
        with pytest.raises(hc.FormatError, match=r"config\.json"):
            plot.report(small)


def test_hostile_names_are_text(tmp_path):
    rng = np.random.default_rng(0)
    w = {name: rng.standard_normal((80, 64)).astype(np.float32) for name in HOSTILE}
    w["kept" + HOSTILE[0]] = np.ones(3, np.float32)
    save_file(w, tmp_path / "<b>&model.safetensors")
    hc.compress_checkpoint(tmp_path / "<b>&model.safetensors", tmp_path / "<i>s", effort="fast")
    text = plot.report(tmp_path / "<i>s")
    page = Page(text)
    assert_stands_alone(text, page)
    assert "Compressed model: <i>s" in page.visible
    assert "\x1b" not in text
    assert "\u202e" not in text
    named = {row[1] for row in page.rows if len(row) == 9}
    assert HOSTILE[0] in named
    assert HOSTILE[1] in named
    assert HOSTILE[3] in named
    for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        ElementTree.fromstring(svg)


@pytest.mark.parametrize("tensors", [{}, {"b": np.ones(3, np.float32)}])
def test_models_without_codes_or_without_tensors_have_a_page(tmp_path, tensors):
    save_file(tensors, tmp_path / "m.safetensors")
    page = Page(plot.report(tmp_path / "m.safetensors"))
    assert "No tensor of this model is compressed." in page.visible
    assert ("fewer than two axes" in page.visible) == bool(tensors)
    assert f"0 of {len(tensors)} tensors are compressed." in page.visible


def infos(count):
    rng = np.random.default_rng(count)
    for i in range(count):
        bits = 3 + 2 * rng.random()
        name = f"model.layers.{i // 9}.kind{i % 9}.weight"
        shape = (64, 64 * (1 + i % 9))
        size = 64 * shape[1]
        yield TensorInfo(name, shape, "F32", "m", "trellis", int(bits * size / 8), 6.0 * bits - 0.7)


@pytest.mark.parametrize("count", [0, 1, 40, 41, 500, 5001])
def test_any_number_of_layers_can_be_drawn(count):
    for number, figure in enumerate(
        (plot.allocation(infos(count)), plot.rate_distortion(infos(count)))
    ):
        svg = style.inline_svg(figure, "title", "text", f"f{number}")
        assert len(svg) < 3e6
        root = ElementTree.fromstring(svg)
        assert root.attrib["aria-labelledby"] == f"f{number}-title f{number}-description"
        assert [root[0].text, root[1].text] == ["title", "text"]
        assert "http" not in svg
        if count:
            assert all(axes.get_xlabel() for axes in figure.axes[-1:])


def test_bars_are_the_numbers_of_the_tensors():
    given = list(infos(20))
    left, right = plot.allocation(given).axes
    assert [bar.get_width() for bar in left.patches] == [i.bits_per_weight for i in given]
    assert [bar.get_width() for bar in right.patches] == [i.sqnr_db for i in given]
    labels = [label.get_text() for label in left.get_yticklabels()]
    assert labels == [info.name for info in given]


def test_points_are_the_numbers_of_the_tensors():
    given = list(infos(100))
    for figure, of_x in (
        (plot.allocation(given), lambda number, info: number + 1),
        (plot.rate_distortion(given), lambda number, info: info.bits_per_weight),
    ):
        axes = figure.axes[-1]
        drawn = np.concatenate([c.get_offsets() for c in axes.collections])
        wanted = [(of_x(n, info), info.sqnr_db) for n, info in enumerate(given)]
        np.testing.assert_array_equal(sorted(map(tuple, drawn)), sorted(wanted))
    labels = figure.legends[0].get_texts()
    assert [text.get_text() for text in labels][-2] == "3 other kinds"


def test_kinds_are_names_without_numbers():
    assert kind_of("model.layers.12.mlp.up_proj.weight") == "mlp.up_proj"
    assert kind_of("lm_head.weight") == "lm_head"
    assert kind_of("3.weight") == "3.weight"


def test_the_curve_of_a_tensor_is_drawn():
    w = np.random.default_rng(0).standard_normal((16, 256)).astype(np.float32)
    curve = hc.rate_distortion(w, effort="fast")
    (axes,) = plot.rate_distortion(curve).axes
    line = axes.lines[0].get_xydata()
    np.testing.assert_array_equal(line, np.column_stack(curve))


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_errors_of_rows_are_those_of_the_decoded_weights(kind):
    rng = np.random.default_rng(3)
    w = (rng.standard_normal((50, 4, 64)) * np.linspace(0.1, 2, 50)[:, None, None]).astype(
        np.float32
    )
    w[7] = 0
    c = hc.compress_tensor(w, bits=4, effort="fast")
    got = c.decompress().astype(float)
    given = w
    if kind == "torch":
        given = pytest.importorskip("torch").from_numpy(w)
    found = row_sqnr_db(c, given)
    for row in range(50):
        power, noise = (w[row].astype(float) ** 2).sum(), ((w[row] - got[row]) ** 2).sum()
        if power and noise:
            assert found[row] == pytest.approx(10 * np.log10(power / noise), abs=1e-9)
        else:
            assert not np.isfinite(found[row])
    figure = plot.error_by_row(c, given)
    points = figure.axes[0].collections[0].get_offsets()
    np.testing.assert_array_equal(points[:, 1], found[np.isfinite(found)])


def test_error_by_row_of_exact_tensors_and_of_other_shapes():
    zeros = np.zeros((4, 300), np.float32)
    plot.error_by_row(hc.compress_tensor(zeros), zeros)
    empty = np.zeros((0, 5), np.float32)
    plot.error_by_row(hc.compress_tensor(empty), empty)
    with pytest.raises(hc.InvalidArgumentError, match=r"\(300, 4\)"):
        plot.error_by_row(hc.compress_tensor(zeros), zeros.T)


# Arrangements.

PLANE = [[1, 0], [0, 1], [1, 1], [1, -1]] * 3, [-1] * 4 + [0] * 4 + [1] * 4
SPACE = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1], [1, -1, 0], [2, -2, 0]], [0, 0, 0, 1, 0, 0]


@pytest.mark.parametrize(("a", "b"), [PLANE, SPACE])
def test_vertices_are_drawn_by_their_degeneracy(a, b):
    found = hc.vertices(a, b)
    distinct = {
        tuple(np.array([*row, side]) / next(x for x in row if x))
        for row, side in zip(a, b, strict=True)
    }
    by_hand = [
        sum(sum(x * p for x, p in zip(row[:-1], point, strict=True)) == row[-1] for row in distinct)
        for point in found
    ]
    assert degeneracies(found).tolist() == by_hand
    figure = plot.arrangement(found)
    axes = figure.axes[0]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    noun = "lines" if len(a[0]) == 2 else "planes"
    for label, value in zip(labels, sorted(set(by_hand)), strict=True):
        count = by_hand.count(value)
        assert label == f"{value} {noun}: {count} {'vertex' if count == 1 else 'vertices'}"
    assert axes.get_title(loc="left").startswith(f"{len(distinct)} {noun}, {len(found)} vertices")
    style.inline_svg(figure, "t", "d", "x")


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ([[1, 0], [1, 0]], [0, 1]),
        ([[1, 0, 0], [2, 0, 0]], [0, 1]),
        ([[1, 0], [0, 1]], [3, 4]),
        ([[1, 0], [0, 1]], [10**300, 10**300]),
        ([["1/3", 0], [0.5, 10**40]], ["2/7", 1]),
        (np.zeros((0, 2)), np.zeros(0)),
        ([[0, 0], [1, 2]], [0, 1]),
    ],
)
def test_any_arrangement_can_be_drawn(a, b):
    figure = plot.arrangement(hc.vertices(a, b))
    axes = figure.axes[0]
    assert np.isfinite([axes.get_xlim(), axes.get_ylim()]).all()
    assert "http" not in style.inline_svg(figure, "t", "d", "x")


def test_many_vertices_and_many_degeneracies():
    rng = np.random.default_rng(0)
    found = hc.vertices(rng.integers(1, 99, (60, 3)), rng.integers(1, 99, 60))
    figure = plot.arrangement(found)
    assert "planes are not drawn" in figure.axes[0].get_title(loc="left")
    assert len(style.inline_svg(figure, "t", "d", "x")) < 1e6
    # Pencils of 2 to 11 lines, far apart: more degeneracies than a legend has room for.
    rows, sides = [], []
    for k in range(2, 12):
        for slope in range(k):
            rows.append([1000 * k + slope, 1])
            sides.append((1000 * k + slope) * k * k + 7 * k)
    figure = plot.arrangement(hc.vertices(rows, sides), box=((0, 0), (150, 90)))
    assert not figure.legends
    assert figure.axes[1].get_ylabel() == "lines through a vertex"
    assert "in this box" in figure.axes[0].get_title(loc="left")


@pytest.mark.parametrize("seed", range(20))
def test_a_plane_in_a_box_is_a_convex_polygon_on_the_plane(seed):
    rng = np.random.default_rng(seed)
    low, high = -rng.random(3) - 0.1, rng.random(3) * 50 + 0.1
    normal = rng.standard_normal(3)
    side = float(normal @ (low + rng.random(3) * (high - low)))
    corners = plane_in_box(normal, side, low, high)
    assert 3 <= len(corners) <= 6
    assert np.allclose(corners @ normal, side, atol=1e-9 * 100)
    assert ((corners >= low - 1e-9) & (corners <= high + 1e-9)).all()
    edges = np.roll(corners, -1, 0) - corners
    turns = np.cross(edges, np.roll(edges, -1, 0)) @ normal
    assert (turns >= -1e-9).all() or (turns <= 1e-9).all()
    assert len(plane_in_box(normal, 1e6, low, high)) == 0


def test_what_cannot_be_drawn_is_named():
    with pytest.raises(hc.InvalidArgumentError, match=r"R\^4"):
        plot.arrangement(hc.vertices(np.eye(4), np.zeros(4)))
    with pytest.raises(hc.DtypeError, match="ApproximateVertices"):
        plot.arrangement(hc.vertices(np.eye(2), np.zeros(2), exact=False))
    for a, b in (
        ([[1, 0]], [10**400]),
        ([[1, 0], [0, 1]], [10**400, 0]),
        ([[1, 0], [1, 0], [0, 1]], [10**308, -(10**308), 0]),
    ):
        with pytest.raises(hc.TooLargeError):
            plot.arrangement(hc.vertices(a, b))
    found = hc.vertices(np.eye(2), np.zeros(2))
    for box in (((0, 0), (0, 1)), ((0, 0, 0), (1, 1, 1)), "box", ((0, 0), (math.inf, 1))):
        with pytest.raises(hc.InvalidArgumentError, match="box"):
            plot.arrangement(found, box=box)


def test_figures_do_not_depend_on_the_user_s_settings():
    import matplotlib as mpl

    first = style.inline_svg(plot.allocation(infos(3)), "t", "d", "x")
    with mpl.rc_context({"font.size": 40, "svg.fonttype": "path", "axes.grid": False}):
        assert style.inline_svg(plot.allocation(infos(3)), "t", "d", "x") == first
        assert mpl.rcParams["font.size"] == 40


# The command.


def test_the_command_writes_the_page(small, tmp_path):
    done = run(small, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    page = (tmp_path / "small-report.html").read_text()
    assert page == plot.report(small)
    assert b"small-report.html" in done.stdout
    done = run(small, "-o", "-")
    assert (done.returncode, done.stdout.decode()) == (0, page)


def test_the_command_replaces_no_file_unless_told_to(small, tmp_path):
    there = tmp_path / "there.html"
    there.write_text("mine")
    done = run(small, "-o", there)
    assert done.returncode == 2
    assert b"--force" in done.stderr
    assert there.read_text() == "mine"
    assert run(small, "-o", there, "--force").returncode == 0
    assert there.read_text().startswith("<!DOCTYPE html>")


def test_exit_codes_of_what_is_wrong(small, tmp_path, capsys):
    # In this process: it is the whole program but for the interpreter's start.
    from hypercomp_rs.cli.program import run as program

    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"\xff" * 100)
    (tmp_path / "empty").mkdir()
    output = ["-o", str(tmp_path / "x.html")]
    for arguments, said in (
        ([], "Missing argument"),
        ([str(tmp_path / "none")], "does not exist"),
        ([str(tmp_path / "empty"), *output], "safetensors"),
        ([str(damaged), *output], "damaged.safetensors"),
        ([str(small), "-o", str(tmp_path / "no" / "folder.html")], "folder"),
        ([str(small), "-o", str(tmp_path)], "directory"),
    ):
        assert program(["report", *arguments]) == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "x.html").exists()


def test_a_missing_extra_is_named(small):
    code = f"""
import sys
sys.modules["matplotlib"] = None
from hypercomp_rs.cli.program import run
from hypercomp_rs import plot, MissingExtraError
try:
    plot.allocation([])
except MissingExtraError as error:
    print(error)
print(run(["report", {str(small)!r}, "-o", "-"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "pip install 'hypercomp-rs[plot]'" in done.stdout
    assert done.stdout.endswith("2\n"), done.stderr
    assert "hypercomp-rs[plot]" in done.stderr


def area(polygon):
    """The area of a polygon whose corners are in order, by Gauss' formula."""
    x, y = np.asarray(polygon).T if len(polygon) else (np.zeros(1), np.zeros(1))
    return abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def test_regions_fill_the_plane_and_do_not_overlap():
    rng = np.random.default_rng(1)
    a, b = rng.integers(-5, 6, (9, 2)), rng.integers(-5, 6, 9)
    a = np.where(a.any(axis=1)[:, None], a, [1, 0])
    found = hc.regions(a, b)
    low, high = np.array([-3.0, -2.0]), np.array([4.0, 5.0])
    filled = 0.0
    for region, point in zip(found, found.to_numpy(), strict=True):
        polygon = polygon_around(point, a.astype(float), b.astype(float), low, high)
        filled += area(polygon)
        if area(polygon) > 1e-9:
            middle = polygon.mean(axis=0)
            assert tuple(np.sign(a @ middle - b).astype(int)) == region.signs
    assert filled == pytest.approx(49)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ([[1, 0], [0, 1], [1, 1]], [0, 0, 1]),
        ([[1, 0], [2, 0], [1, 0]], [0, 0, 1]),
        (np.empty((0, 2)), []),
        ([["1/3", 10**30]], [1]),
    ],
)
def test_any_regions_of_the_plane_can_be_drawn(a, b):
    figure = plot.regions(a, b)
    figure.canvas.draw()
    found = hc.regions(a, b)
    assert figure.axes[0].get_title("left").startswith(f"{len(found)} region")
    figure = plot.regions(a, b, box=((0, 0), (1, 1)))
    assert figure.axes[0].get_xlim() == (0, 1)


def test_what_regions_cannot_be_drawn():
    with pytest.raises(hc.InvalidArgumentError, match=r"R\^3: regions of R\^2"):
        plot.regions(np.eye(3), np.zeros(3))
    with pytest.raises(hc.InvalidArgumentError, match="box"):
        plot.regions(np.eye(2), np.zeros(2), box=((1, 1), (0, 0)))
    with pytest.raises(hc.TooLargeError, match="float64"):
        plot.regions([[1, 0], [0, 1]], [10**400, 0])
