"""Named sets: fetched over HTTP from this machine, verified, resumed, kept."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagemint.data.packing import pack
from imagemint.data.sources import named
from imagemint.errors import SourceError
from tests.data.test_sources_arrays import mnist
from tests.data.test_sources_files import png, put, refused, tarred


class Server:
    """Serves `files`; speaks of ranges when asked; cuts `cut` connections off in the middle."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.requests: list[tuple[str, str | None]] = []
        self.ranges, self.cut = True, 0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name, asked = self.path.lstrip("/"), self.headers.get("Range")
                outer.requests.append((name, asked))
                content = outer.files.get(name)
                if content is None:
                    self.send_error(404)
                    return
                start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and outer.ranges else 0
                if start and start >= len(content):
                    self.send_error(416)
                    return
                self.send_response(206 if start else 200)
                self.send_header("Content-Length", str(len(content) - start))
                self.end_headers()
                rest = content[start:]
                if outer.cut:
                    outer.cut -= 1
                    rest = rest[: len(rest) // 2]
                self.wfile.write(rest)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.http.server_address[1]}/"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("IMAGEMINT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.chdir(tmp_path)
    one = Server()
    thread = threading.Thread(target=one.http.serve_forever, args=(0.01,))
    thread.start()
    yield one
    one.http.shutdown()
    one.http.server_close()
    thread.join()


def offer(server: Server, monkeypatch: pytest.MonkeyPatch, name: str, files: dict[str, bytes]) -> None:
    server.files |= files
    listed = tuple(
        named.File(each, "sha256:" + hashlib.sha256(data).hexdigest(), (server.address + each,))
        for each, data in files.items()
    )
    monkeypatch.setitem(named.SETS, name, named.SETS[name]._replace(files=listed))


def flowers(tmp_path: Path) -> bytes:
    files = {f"flower_photos/{name}/{k}.png": png(k) for name in ("rose", "tulip") for k in range(3)}
    return tarred(tmp_path / "served.tgz", files, "w:gz").read_bytes()


def test_a_named_set_is_fetched_once(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(server, monkeypatch, "flowers", {"flower_photos.tgz": flowers(tmp_path)})
    made = pack("flowers", tmp_path / "p")
    assert made.counts() == {"rose": 3, "tulip": 3}
    assert made.manifest.history[0].parameters == {"source": "flowers"}
    assert pack("flowers", tmp_path / "q").fingerprint == made.fingerprint
    assert server.requests == [("flower_photos.tgz", None)]
    assert [path.name for path in (tmp_path / "cache" / "flowers").iterdir()] == ["flower_photos.tgz"]


def test_several_files_and_class_names(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(server, monkeypatch, "fashion-mnist", mnist("train", "t10k"))
    refused("fashion-mnist", tmp_path, "splits train, test")
    made = pack("fashion-mnist", tmp_path / "p", split="test")
    assert made.classes[0] == "T-shirt/top" and len(made.classes) == 10
    offer(server, monkeypatch, "mnist", mnist("train", "t10k"))
    assert pack("mnist", tmp_path / "q", split="train").classes == ["0", "1", "2"]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_that_was_cut_off_goes_on(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch, ranges: bool
) -> None:
    data = flowers(tmp_path)
    offer(server, monkeypatch, "flowers", {"flower_photos.tgz": data})
    server.cut, server.ranges = 1, ranges
    with pytest.raises(SourceError, match=rf"stopped after {len(data) // 2:,} of {len(data):,} bytes.*goes on"):
        pack("flowers", tmp_path / "p")
    assert not (tmp_path / "p").exists()
    assert len(pack("flowers", tmp_path / "p")) == 6
    assert server.requests[1] == ("flower_photos.tgz", f"bytes={len(data) // 2}-")


def test_a_part_of_another_file_is_thrown_away(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = flowers(tmp_path)
    offer(server, monkeypatch, "flowers", {"flower_photos.tgz": data})
    for stale in (b"x" * 10, b"x" * len(data) * 2):
        put(tmp_path / "cache" / "flowers", {"flower_photos.tgz.part": stale})
        (tmp_path / "cache" / "flowers" / "flower_photos.tgz").unlink(missing_ok=True)
        assert len(pack("flowers", tmp_path / f"{len(stale)}.pack")) == 6


def test_a_whole_file_that_was_damaged_in_the_cache_is_fetched_again(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(server, monkeypatch, "flowers", {"flower_photos.tgz": flowers(tmp_path)})
    put(tmp_path / "cache" / "flowers", {"flower_photos.tgz": b"damaged"})
    assert len(pack("flowers", tmp_path / "p")) == 6


def test_another_content_than_published_is_refused(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(server, monkeypatch, "flowers", {"flower_photos.tgz": flowers(tmp_path)})
    server.files["flower_photos.tgz"] = b"something else"
    refused("flowers", tmp_path, "does not have the checksum sha256:")
    assert not list((tmp_path / "cache" / "flowers").iterdir())


def test_the_next_address_is_tried(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(server, monkeypatch, "flowers", {"flower_photos.tgz": flowers(tmp_path)})
    (file,) = named.SETS["flowers"].files
    two = file._replace(addresses=(server.address + "gone", *file.addresses))
    monkeypatch.setitem(named.SETS, "flowers", named.Named((two,)))
    assert len(pack("flowers", tmp_path / "p")) == 6


def test_offline_says_what_to_do(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(server, monkeypatch, "flowers", {"flower_photos.tgz": b"x"})
    (file,) = named.SETS["flowers"].files
    closed = file._replace(addresses=("http://127.0.0.1:9/flower_photos.tgz",))  # nobody listens there
    monkeypatch.setitem(named.SETS, "flowers", named.Named((closed,)))
    refused("flowers", tmp_path, r"could not be fetched \(.*refused.*wanted the network, or the file in .*by hand")


def test_what_is_on_the_disk_wins_over_the_name(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "flowers", {"a/1.png": png(), "b/1.png": png()})
    assert pack("flowers", tmp_path / "p").classes == ["a", "b"]
    assert not server.requests


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("IMAGEMINT_CACHE", str(tmp_path / "mine"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert named.cache_folder() == tmp_path / "mine"
    monkeypatch.delenv("IMAGEMINT_CACHE")
    assert named.cache_folder() == tmp_path / "xdg" / "imagemint"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert named.cache_folder().name in ("imagemint", "cache")


def test_every_set_has_checksums_of_the_right_length() -> None:
    for each in named.SETS.values():
        for file in each.files:
            algorithm, _, digest = file.checksum.partition(":")
            assert len(digest) == 2 * hashlib.new(algorithm).digest_size and int(digest, 16)
            assert file.addresses and all(address.endswith("/" + file.name) for address in file.addresses)
