"""Packs in shards and at addresses are the packs that they are on a disk, whatever the network does."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import imagemint
from imagemint.data import edit, remote
from imagemint.data.pack import Pack, fingerprint_of, open_pack, writing
from imagemint.data.remote import Shards, Store, address_of
from imagemint.errors import ArgumentError, PackError
from imagemint.sweeps.plan import make_sweep
from imagemint.sweeps.sweep import sweep
from tests.ports import answering

fsspec = pytest.importorskip("fsspec")


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    return imagemint.pack("digits", tmp_path_factory.mktemp("digits") / "digits.pack")


@pytest.fixture
def memory() -> Iterator[str]:
    """An address in this process's memory."""
    fsspec.filesystem("memory").makedirs("/bucket", exist_ok=True)
    yield "memory://bucket"
    fsspec.filesystem("memory").rm("/bucket", recursive=True)


def same(a: Pack, b: Pack) -> bool:
    return (
        a.fingerprint == b.fingerprint == fingerprint_of(b)
        and np.array_equal(np.asarray(a.pixels), np.asarray(b.pixels))
        and np.array_equal(a.labels, b.labels)
        and a.classes == b.classes
    )


def store_of(pack: Pack) -> Store:
    pixels: Any = pack.pixels
    assert isinstance(pixels, Shards)
    return pixels.store


@pytest.mark.parametrize("megabytes", [0.003, 0.01, 0.05, 64])
def test_shards_are_the_same_pack(digits: Pack, tmp_path: Path, memory: str, megabytes: float) -> None:
    for dest in (tmp_path / "cut.pack", f"{memory}/cut.pack"):
        cut = edit.shard(digits, dest, megabytes=megabytes)
        assert same(digits, cut) and same(digits, open_pack(dest))
        assert sum(cut.manifest.shards or []) == len(digits)
        assert max(cut.manifest.shards or []) * 64 <= max(megabytes * 2**20, 64)
    assert not (tmp_path / "cut.pack" / "pixels.npy").exists()


def test_an_edit_gives_one_file_again(digits: Pack, tmp_path: Path, memory: str) -> None:
    edit.shard(digits, f"{memory}/cut.pack", megabytes=0.01)
    back = edit.slice(f"{memory}/cut.pack", tmp_path / "back.pack", fraction=1.0)
    assert back.manifest.shards is None and same(digits, back)


@given(st.lists(st.integers(0, 1796), max_size=40))
def test_any_rows_in_any_order_as_often_as_asked(digits: Pack, rows: list[int]) -> None:
    address = "memory://rows/cut.pack"
    try:
        cut = open_pack(address)
    except PackError:
        cut = edit.shard(digits, address, megabytes=0.01)
    index = np.array(rows, np.int64)
    assert np.array_equal(cut.pixels[index], digits.pixels[index])
    if rows:
        assert np.array_equal(cut.pixels[rows[0]], digits.pixels[rows[0]])
        low, high = min(rows), max(rows)
        assert np.array_equal(cut.pixels[low:high:3], digits.pixels[low:high:3])


@pytest.mark.parametrize("most", [remote._MOST_MAPPED, 3])
@pytest.mark.parametrize("megabytes", [0.01, 0.03, 1.0])
def test_rows_of_shards_on_this_disk_are_those_of_one_file(
    most: int, megabytes: float, digits: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mapped, or more shards than may be mapped; shards of one pack have different numbers of images."""
    monkeypatch.setattr(remote, "_MOST_MAPPED", most)
    cut = edit.shard(digits, tmp_path / "cut.pack", megabytes=megabytes)
    draw = np.random.default_rng(0)
    for count in (1, 2, 64, 2000):
        index = draw.integers(-len(digits), len(digits), count)
        got = cut.pixels[index]
        assert np.array_equal(got, digits.pixels[index]) and got.flags.writeable and got.flags.c_contiguous
        got[:] = 0  # a copy: the file is not changed
    ends = np.cumsum([0, *(cut.manifest.shards or [])])
    edges = np.array([row for end in ends for row in (end - 1, end) if 0 <= row < len(digits)])
    assert np.array_equal(cut.pixels[edges[::-1]], digits.pixels[edges[::-1]])
    assert same(digits, open_pack(cut.path))


@pytest.mark.skipif(sys.platform != "linux", reason="counts the open files in /proc")
def test_many_shards_do_not_keep_many_files_open(
    digits: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "_MOST_MAPPED", 20)
    cut = edit.shard(digits, tmp_path / "cut.pack", megabytes=0.001)
    before = len(os.listdir("/proc/self/fd"))
    assert np.array_equal(cut.pixels[np.arange(0, 1797, 7)], digits.pixels[::7])
    assert len(os.listdir("/proc/self/fd")) == before and len(cut.manifest.shards or []) > 100


def test_a_mapped_shard_that_is_too_short_is_said(digits: Pack, tmp_path: Path) -> None:
    cut = edit.shard(digits, tmp_path / "cut.pack", megabytes=0.03)
    file = tmp_path / "cut.pack" / "shards" / "00001.npy"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(PackError, match=r"00001\.npy has gone or been cut short"):
        cut.pixels[np.array([0, 1796])]


def test_only_what_is_asked_for_is_read(digits: Pack, memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cut = edit.shard(digits, f"{memory}/cut.pack", megabytes=0.01)
    asked: list[int] = []
    plain = Store.read_ranges

    def counted(store: Store, names: Any, starts: Any, ends: Any) -> list[bytes]:
        asked.extend(end - start for start, end in zip(starts, ends, strict=True))
        return plain(store, names, starts, ends)

    monkeypatch.setattr(Store, "read_ranges", counted)
    cut.read(np.array([5, 6, 7, 900]))
    assert asked == [3 * 64, 64]


def test_pack_train_mint_and_measure_at_addresses(digits: Pack, memory: str, tmp_path: Path) -> None:
    there = imagemint.pack("digits", f"{memory}/digits.pack")
    assert same(digits, there)
    runs = [
        imagemint.train(pack, "ppca", tmp_path / f"run{k}", components=4) for k, pack in enumerate((digits, there))
    ]
    assert runs[0].checkpoint_hash == runs[1].checkpoint_hash, "the same training, wherever the pack lies"
    minted = imagemint.mint(runs[1], f"{memory}/minted.pack", per_class=30)
    assert minted.fingerprint == imagemint.mint(runs[0], tmp_path / "minted.pack", per_class=30).fingerprint
    a = imagemint.measure(minted, there, features="pixels")
    b = imagemint.measure(tmp_path / "minted.pack", digits, features="pixels")
    assert a.values == b.values


def test_a_gan_sees_the_same_batches(digits: Pack, memory: str, tmp_path: Path) -> None:
    there = edit.shard(digits, f"{memory}/cut.pack", megabytes=0.01)
    options: dict[str, Any] = {"images": 128, "options": {"width": 8}, "batch_size": 32}
    runs = [imagemint.train(pack, "demo", tmp_path / f"run{k}", **options) for k, pack in enumerate((digits, there))]
    assert runs[0].checkpoint_hash == runs[1].checkpoint_hash


def test_nothing_is_left_of_a_pack_that_failed(memory: str) -> None:
    def write() -> None:
        with writing(f"{memory}/new.pack", classes=["a"], origin="real", history=[], shard_bytes=100) as writer:
            writer.add(np.zeros((50, 1, 8, 8), np.uint8), np.zeros(50, np.int64))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert not fsspec.filesystem("memory").exists("/bucket/new.pack")


def test_nothing_is_overwritten(digits: Pack, memory: str) -> None:
    edit.shard(digits, f"{memory}/cut.pack")
    with pytest.raises(PackError, match="already at memory"):
        edit.shard(digits, f"{memory}/cut.pack")


def test_what_is_no_pack_is_refused_in_words(digits: Pack, memory: str, tmp_path: Path) -> None:
    with pytest.raises(PackError, match="no pack at memory://bucket/none"):
        open_pack(f"{memory}/none")
    with pytest.raises(PackError, match="the address nosuch://x/y"):
        open_pack("nosuch://x/y")
    with pytest.raises(PackError, match="edit shard"):
        edit.split(digits, f"{memory}/parts")
    edit.shard(digits, f"{memory}/cut.pack", megabytes=0.01)
    store = fsspec.filesystem("memory")
    whole = store.cat_file("/bucket/cut.pack/shards/00003.npy")
    store.pipe_file("/bucket/cut.pack/shards/00003.npy", whole[:-10])
    with pytest.raises(PackError, match=r"00003.npy is damaged: it has"):
        open_pack(f"{memory}/cut.pack")
    store.rm("/bucket/cut.pack/shards/00003.npy")
    with pytest.raises(PackError, match=r"00003.npy is missing"):
        open_pack(f"{memory}/cut.pack")
    edit.shard(digits, f"{memory}/other.pack", megabytes=0.05)
    store.pipe_file("/bucket/cut.pack/shards/00003.npy", store.cat_file("/bucket/other.pack/shards/00000.npy"))
    with pytest.raises(PackError, match=r"00003.npy holds uint8 \[819"):
        open_pack(f"{memory}/cut.pack")


def test_a_shard_of_another_pack_or_in_another_place(digits: Pack, memory: str) -> None:
    edit.shard(digits, f"{memory}/cut.pack", megabytes=0.01)
    other = edit.invert(digits, f"{memory}/inverted.pack")
    edit.shard(other, f"{memory}/other.pack", megabytes=0.01)
    store, third = fsspec.filesystem("memory"), "/bucket/cut.pack/shards/00003.npy"
    for foreign in ("other.pack/shards/00003.npy", "cut.pack/shards/00004.npy"):  # of the same shape, both
        mine = store.cat_file(third)
        store.pipe_file(third, store.cat_file(f"/bucket/{foreign}"))
        with pytest.raises(PackError, match=r"00003.npy is a shard of another pack, or not in its place"):
            open_pack(f"{memory}/cut.pack")
        store.pipe_file(third, mine)
    manifest = json.loads(store.cat_file("/bucket/cut.pack/manifest.json"))
    assert len(manifest["starts"]) == len(manifest["shards"])
    del manifest["starts"]  # as earlier versions wrote it
    store.pipe_file("/bucket/cut.pack/manifest.json", json.dumps(manifest).encode())
    assert same(digits, open_pack(f"{memory}/cut.pack"))
    manifest["starts"] = ["0" * 16]
    store.pipe_file("/bucket/cut.pack/manifest.json", json.dumps(manifest).encode())
    with pytest.raises(PackError, match="tells the starts of 1 shards"):
        open_pack(f"{memory}/cut.pack")


def test_to_open_many_shards_asks_as_often_as_to_open_a_few(
    digits: Pack, memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def noted(name: str) -> Any:
        plain = getattr(Store, name)

        def ask(*given: Any) -> Any:
            asked.append(name)
            return plain(*given)

        return ask

    for name in ("read", "read_first", "read_ranges", "size", "sizes", "exists"):
        monkeypatch.setattr(Store, name, noted(name))
    counts = []
    for megabytes in (0.1, 0.001):
        edit.shard(digits, f"{memory}/{megabytes}.pack", megabytes=megabytes)
        asked.clear()
        assert same(digits, open_pack(f"{memory}/{megabytes}.pack"))
        counts.append(len(asked) - asked.count("read_ranges"))
    assert counts[0] == counts[1] == 5  # manifest, listing, labels: their head and size, then all


@given(st.integers(-20, 19), st.slices(18), st.lists(st.integers(-18, 17)), st.lists(st.booleans(), min_size=18))
def test_an_index_means_what_it_means_to_numpy(at: int, part: slice, rows: list[int], mask: list[bool]) -> None:
    pixels = np.arange(18, dtype=np.uint8).reshape(18, 1, 1, 1)
    fsspec.filesystem("memory").pipe({f"/index/{k}.npy": bytes(range(6 * k, 6 * k + 6)) for k in range(3)})
    shards = Shards(Store.at("memory://index"), [6, 6, 6], (1, 1, 1), [0, 0, 0], [f"{k}.npy" for k in range(3)])
    for index in (part, np.array(rows, np.int64), np.array(mask[:18])):
        assert np.array_equal(shards[index], pixels[index])
    if -18 <= at < 18:
        assert np.array_equal(shards[at], pixels[at])
    else:
        with pytest.raises(IndexError):
            shards[at]


def test_a_shard_that_shrinks_while_it_is_read(digits: Pack, memory: str) -> None:
    cut = edit.shard(digits, f"{memory}/cut.pack", megabytes=0.01)
    fsspec.filesystem("memory").pipe_file("/bucket/cut.pack/shards/00000.npy", b"short")
    with pytest.raises(PackError, match="cut short"):
        cut.read(np.arange(10))


def test_a_network_that_drops(digits: Pack, memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_PAUSE", 0.0)
    cut = edit.shard(digits, f"{memory}/cut.pack", megabytes=0.01)
    plain, drops = store_of(cut).system.cat_ranges, [3]

    def dropping(*args: Any, **options: Any) -> Any:
        if drops[0]:
            drops[0] -= 1
            raise ConnectionResetError("reset by peer")
        return plain(*args, **options)

    monkeypatch.setattr(store_of(cut).system, "cat_ranges", dropping)
    assert np.array_equal(cut.read(np.arange(300)), digits.pixels[:300])
    drops[0] = 100
    with pytest.raises(PackError, match="reset by peer"):
        cut.read(np.arange(300))


def test_a_place_that_nobody_listens_at_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def refused(*given: Any, **options: Any) -> bytes:
        asked.append(given)
        raise ConnectionRefusedError("connection refused")

    monkeypatch.setattr(Store.at("memory://bucket").system, "cat_file", refused)
    with pytest.raises(PackError, match="connection refused; wanted a place that answers"):
        open_pack("memory://bucket/none.pack")
    assert len(asked) == 1


def test_only_packs_lie_at_addresses(digits: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArgumentError, match="a run at s3://bucket/run"):
        imagemint.train(digits, "ppca", "s3://bucket/run")
    with pytest.raises(ArgumentError, match="a study at s3://bucket/study"):
        imagemint.study(digits, digits, None, "s3://bucket/study")
    assert not list(tmp_path.iterdir())


def test_addresses() -> None:
    assert address_of(Path("s3://bucket/a b.pack/")) == "s3://bucket/a b.pack"
    assert address_of("file:///data/x.pack") == address_of(Path("file:///data/x.pack")) == "file:///data/x.pack"
    assert [address_of(each) for each in ("C:/photos.pack", "photos.pack", "hub:ada/x", "/a/b")] == [None] * 4


# --- a real server ---


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """A bucket of moto's S3 server on this machine."""
    pytest.importorskip("s3fs", reason="s3fs is missing (extra deploy)")
    server_of = pytest.importorskip("moto.server", reason="moto's server is missing (extra deploy)")
    server = server_of.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    names = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(names)
    fsspec.filesystem("s3").mkdir("photos")
    yield "s3://photos"
    server.stop()
    fsspec.filesystem("s3").clear_instance_cache()
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of botocore
def test_a_server_that_takes_a_call_and_says_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("s3fs", reason="s3fs is missing (extra deploy)")
    monkeypatch.setattr(remote, "_SECONDS_TO_ANSWER", 0.3)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    with answering() as port:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        fsspec.filesystem("s3").clear_instance_cache()
        with pytest.raises(PackError, match=r"x.pack/manifest.json: no answer in 0.3 seconds; wanted a place that"):
            open_pack("s3://photos/x.pack")
        with pytest.raises(PackError, match=r"cannot look at s3://photos/x.pack: no answer in 0.3 seconds"):
            imagemint.pack("digits", "s3://photos/x.pack")
    fsspec.filesystem("s3").clear_instance_cache()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of botocore
def test_credentials_that_are_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("s3fs", reason="s3fs is missing (extra deploy)")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    fsspec.filesystem("s3").clear_instance_cache()
    with pytest.raises(PackError, match=r"wanted credentials that may do this; set AWS_ACCESS_KEY_ID and AWS_SECRET"):
        open_pack("s3://photos/x.pack")
    fsspec.filesystem("s3").clear_instance_cache()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of moto and botocore
def test_s3(digits: Pack, bucket: str, tmp_path: Path) -> None:
    cut = edit.shard(digits, f"{bucket}/digits.pack", megabytes=0.02)
    assert same(digits, cut)
    found: list[np.ndarray] = []
    readers = [threading.Thread(target=lambda k=k: found.append(cut.read(np.arange(k, 1797, 2)))) for k in (0, 1)]
    for each in readers:
        each.start()
    for each in readers:
        each.join()
    assert sum(len(each) for each in found) == 1797
    with pytest.raises(PackError, match="no pack at s3://photos/none"):
        open_pack(f"{bucket}/none")
    with pytest.raises(PackError, match="cannot"):
        edit.shard(digits, "s3://no-such-bucket/digits.pack")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of moto and botocore
def test_sweeps_and_studies_take_packs_at_addresses(digits: Pack, bucket: str, tmp_path: Path) -> None:
    parts = edit.split(digits, tmp_path / "parts", test=0.5)
    there = {side: edit.shard(parts[side], f"{bucket}/{side}.pack", megabytes=0.02).place for side in parts}
    plan = {
        "recipes": ["ppca"],
        "grid": {"components": [1, 8]},
        "mint": 20,
        "features": "pixels",
        "judge_images": 500,
    }
    rows = [
        [{**row.model_dump(), "seconds": 0} for row in sweep(make_sweep({**plan, "packs": [str(path)]}), out).rows]
        for path, out in ((parts["train"].path, tmp_path / "here"), (there["train"], tmp_path / "there"))
    ]
    assert rows[0] == rows[1] and {row["state"] for row in rows[0]} == {"done"}
    options: dict[str, Any] = {"arms": "real", "budgets": [3], "repeats": 1, "classifier_images": 64}
    for packs, name in ((parts, "study-here"), (there, "study-there")):
        imagemint.study(packs["train"], packs["test"], None, tmp_path / name, classifier_epochs=1, **options)
    lines = [(tmp_path / name / "rows.jsonl").read_text().splitlines() for name in ("study-here", "study-there")]
    one, other = ([{**json.loads(line), "seconds": 0} for line in each] for each in lines)
    assert one == other and one
