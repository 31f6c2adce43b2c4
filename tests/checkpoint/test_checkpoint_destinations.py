"""Where a result may be made: in folders that stay what they are, and through links."""

import concurrent.futures
import contextlib
import gc
import json
import os
import pathlib
import shutil
import subprocess

import numpy as np
import pytest
from models import digests
from safetensors.numpy import save_file

import hypercomp_rs as hc
from hypercomp_rs import _durable

FAST = {"effort": "fast"}
SHARDS = {"model-1.safetensors", "model-2.safetensors"}
FILES = SHARDS | {"model.safetensors.index.json", "config.json", "tokenizer/vocab.txt"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A model, the same compressed, and that decompressed."""
    folder = tmp_path_factory.mktemp("made")
    source = folder / "model"
    (source / "tokenizer").mkdir(parents=True)
    rng = np.random.default_rng(0)
    weight_map = {}
    for number, name in enumerate(sorted(SHARDS)):
        w = {f"{number}.weight": rng.standard_normal((80, 64)).astype("f4")}
        save_file(w | {f"{number}.bias": w[f"{number}.weight"][0]}, source / name)
        weight_map |= dict.fromkeys((f"{number}.weight", f"{number}.bias"), name)
    (source / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    (source / "config.json").write_text('{"model_type": "test"}')
    (source / "tokenizer/vocab.txt").write_text("a")
    hc.compress_checkpoint(source, folder / "small", **FAST).close()
    hc.decompress_checkpoint(folder / "small", folder / "back")
    return folder


CALLS = {
    "compress": lambda made, dst: hc.compress_checkpoint(made / "model", dst, **FAST).close(),
    "decompress": lambda made, dst: hc.decompress_checkpoint(made / "small", dst),
}
WHOLE = {"compress": "small", "decompress": "back"}
both = pytest.mark.parametrize("what", CALLS)


def here(path, monkeypatch):
    path.mkdir()
    monkeypatch.chdir(path)
    return pathlib.Path(".")


def below(path, monkeypatch):
    (path / "sub").mkdir(parents=True)
    monkeypatch.chdir(path / "sub")
    (path / "sub").rmdir()
    return path


def link(path, monkeypatch):
    path.mkdir()
    path.with_name("link").symlink_to(path)
    return path.with_name("link")


def dangling(path, monkeypatch):
    path.with_name("link").symlink_to(path)
    return path.with_name("link")


def chain(path, monkeypatch):
    path.with_name("second").symlink_to(path.name)
    path.with_name("link").symlink_to("second")
    return path.with_name("link")


def empty(path, monkeypatch):
    path.mkdir()
    return path


def up_and_down(path, monkeypatch):
    path.with_name("other").mkdir()
    return path.with_name("other") / ".." / path.name


def volume(path, monkeypatch):
    """An empty volume as the system makes it."""
    (path / "lost+found").mkdir(parents=True)
    return path


def unreplaceable(path, monkeypatch):
    """As a mount point on the same file system is, which nobody can tell from a folder."""
    path.mkdir()
    for name in ("rmdir", "rename", "replace"):
        plain = getattr(pathlib.Path, name)

        def refusing(self, *arguments, plain=plain):
            if path in (self, *arguments):
                raise OSError(16, "Device or resource busy", str(path))
            return plain(self, *arguments)

        monkeypatch.setattr(pathlib.Path, name, refusing)
    return path


PLACES = [here, below, link, dangling, chain, empty, up_and_down, volume, unreplaceable]


@both
@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
def test_a_result_is_made_where_it_is_asked_for(made, tmp_path, monkeypatch, what, place):
    path = tmp_path / "place"
    dst = place(path, monkeypatch)
    before = path.stat().st_ino if path.exists() else None
    links = {p: os.readlink(p) for p in tmp_path.iterdir() if p.is_symlink()}
    CALLS[what](made, dst)
    assert digests(path) == digests(made / WHOLE[what])
    # What was there is still there.
    assert before is None or path.stat().st_ino == before
    assert {p: os.readlink(p) for p in links} == links
    assert not [p for p in tmp_path.rglob("*") if "partial" in p.name]


@both
def test_a_result_is_made_in_a_mount_point(made, tmp_path, what):
    (tmp_path / "volume").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(tmp_path / "volume")]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this user cannot mount")
    try:
        CALLS[what](made, tmp_path / "volume")
        assert digests(tmp_path / "volume") == digests(made / WHOLE[what])
    finally:
        subprocess.run(["umount", str(tmp_path / "volume")], check=True)


@both
def test_what_cannot_be_is_refused_before_anything_is_done(made, tmp_path, monkeypatch, what):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").write_text("x")
    (tmp_path / "to-file").symlink_to("file")
    (tmp_path / "to-full").symlink_to("full")
    (tmp_path / "round").symlink_to("around")
    (tmp_path / "around").symlink_to("round")
    before = sorted(tmp_path.rglob("*"))
    for dst in ("file", "full", "to-file", "to-full", ".", "full/..", "..", "/"):
        with pytest.raises(hc.InvalidArgumentError, match="exists"):
            CALLS[what](made, dst)
    with pytest.raises(hc.InvalidArgumentError, match="leads nowhere"):
        CALLS[what](made, "round")
    for dst in ("no/such/folder", "file/below"):
        with pytest.raises(FileNotFoundError, match="No such folder"):
            CALLS[what](made, dst)
    assert sorted(tmp_path.rglob("*")) == before


class Dead(BaseException):
    """The process has been killed."""


@contextlib.contextmanager
def killed_at(step, monkeypatch):
    """Nothing changes the disk from this step on, as after a kill; how many steps there were."""
    taken = [0]

    def dying(call):
        def wrapped(*arguments, **named):
            taken[0] += 1
            if taken[0] >= step:
                raise Dead
            return call(*arguments, **named)

        return wrapped

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", dying(os.fsync))
        patch.setattr(_durable.AtomicFile, "write", dying(_durable.AtomicFile.write))
        patch.setattr(shutil, "rmtree", dying(shutil.rmtree))
        for name in ("replace", "rename", "unlink", "mkdir", "rmdir"):
            patch.setattr(pathlib.Path, name, dying(getattr(pathlib.Path, name)))
        yield taken


def run(call, step, monkeypatch):
    """The number of steps of a call; None where it was killed before its end."""
    with killed_at(step, monkeypatch) as taken:
        try:
            call()
        except Dead:
            return None
        finally:
            # The lock is held by whoever refers to the dead run.
            gc.collect()
    return taken[0]


@pytest.mark.long
@both
def test_killed_anywhere_an_incomplete_result_is_never_taken_for_one(
    made, tmp_path, monkeypatch, what
):
    expected = digests(made / WHOLE[what])
    counted = tmp_path / "counted"
    counted.mkdir()
    steps = run(lambda: CALLS[what](made, counted), 10**9, monkeypatch)
    assert steps > 40
    # All of those in which files are moved up, and some of those before.
    first = steps - 30
    for step in (*range(1, first, 8), *range(first, steps + 1)):
        dst = tmp_path / str(step)
        dst.mkdir()
        assert run(lambda dst=dst: CALLS[what](made, dst), step, monkeypatch) is None
        there = {name: d for name, d in digests(dst).items() if not name.startswith(".partial")}
        assert there.items() <= expected.items()
        # The configuration, and the index before it, stand for the whole.
        if "config.json" in there:
            assert there == expected
        if "model.safetensors.index.json" in there:
            assert set(there) >= FILES - {"config.json"}
        if (dst / ".partial/plan.json").exists():
            with pytest.raises(hc.FormatError, match=r"unfinished result .*run the command"):
                hc.Checkpoint.open(dst)
        if step % 3 == 0 and there and there != expected:
            # Thrown away, whatever was moved up goes, too.
            with contextlib.suppress(hc.InvalidArgumentError):
                hc.decompress_checkpoint(made / "small", dst, restart=True)
                assert digests(dst) == digests(made / "back")
                continue
        CALLS[what](made, dst)
        assert digests(dst) == expected, step
        assert not (dst / ".partial").exists()


def test_a_run_goes_on_where_it_began(made, tmp_path, monkeypatch):
    """A folder that is made meanwhile does not start it again."""
    dst = tmp_path / "m"
    assert run(lambda: CALLS["compress"](made, dst), 60, monkeypatch) is None
    assert (tmp_path / "m.partial").is_dir()
    dst.mkdir()
    with hc.compress_checkpoint(made / "model", dst, **FAST) as again:
        assert again.report.reused > 0
    assert digests(dst) == digests(made / "small")
    assert not (tmp_path / "m.partial").exists()


def test_a_result_beside_moves_into_what_cannot_be_replaced(made, tmp_path, monkeypatch):
    """Also on another file system."""
    dst = tmp_path / "m"
    assert run(lambda: CALLS["compress"](made, dst), 60, monkeypatch) is None
    dst.mkdir()
    plain = pathlib.Path.replace

    def replace(self, target):
        if pathlib.Path(target).is_relative_to(dst) and not self.is_relative_to(dst):
            raise OSError(18, "Invalid cross-device link")
        return plain(self, target)

    def rmdir(self):
        raise OSError(16, "Device or resource busy", str(self))

    with monkeypatch.context() as patch:
        patch.setattr(pathlib.Path, "replace", replace)
        patch.setattr(pathlib.Path, "rmdir", lambda self: rmdir(self) if self == dst else None)
        CALLS["compress"](made, dst)
    assert digests(dst) == digests(made / "small")


def test_a_folder_that_was_filled_meanwhile_is_not_written_over(made, tmp_path):
    dst = tmp_path / "m"
    dst.mkdir()

    def fill(_):
        (dst / "config.json").write_text("mine")

    with pytest.raises(hc.InvalidArgumentError, match="exists"):
        hc.compress_checkpoint(made / "model", dst, follow=fill, **FAST)
    assert (dst / "config.json").read_text() == "mine"
    (dst / "config.json").unlink()
    CALLS["compress"](made, dst)
    assert digests(dst) == digests(made / "small")


def test_processes_find_a_relative_place(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with concurrent.futures.ThreadPoolExecutor(2) as executor:
        hc.compress_checkpoint(made / "model", "m", executor=executor, **FAST).close()
    assert digests(tmp_path / "m") == digests(made / "small")


# Other files that are written


def test_a_file_behind_a_link_is_written_and_the_link_stays(tmp_path):
    (tmp_path / "real").mkdir()
    for name in ("there", "missing"):
        (tmp_path / name).symlink_to(tmp_path / "real" / name)
    (tmp_path / "real/there").write_text("old")
    for name in ("there", "missing"):
        with _durable.written(tmp_path / name) as file:
            file.write(b"new")
        assert (tmp_path / name).is_symlink()
        assert (tmp_path / "real" / name).read_text() == "new"


@pytest.mark.parametrize("place", ["no/such/state", "folder", "to-folder"])
def test_a_state_of_a_search_that_cannot_be_written_is_refused_at_once(tmp_path, place):
    (tmp_path / "folder").mkdir()
    (tmp_path / "to-folder").symlink_to("folder")
    a, b = np.eye(3, dtype=int), [0, 0, 0]
    with pytest.raises(OSError, match=r"No such file|Is a directory"):
        hc.vertices(a, b, checkpoint=tmp_path / place)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["folder", "to-folder"]
