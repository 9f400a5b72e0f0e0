"""Packs in shards and at addresses are the packs that they are on a disk, whatever the network does."""

from __future__ import annotations

import os
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
