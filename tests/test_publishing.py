"""What is pushed comes back the same, from a server of our own that speaks the hub's HTTP interface."""

import base64
import hashlib
import json
import os
import re
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest

import imagemint
from imagemint import progress, publishing
from imagemint.cards import croissant, pack_card
from imagemint.data.edit import rename, shard
from imagemint.data.pack import fingerprint_of
from imagemint.errors import ArgumentError, HubError, PackError, RunError
from imagemint.publishing import pull, push
from tests.ports import answering

# Of huggingface_hub's upload of large files, where the server does not offer its newer protocol.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>' to upload:DeprecationWarning")
constants = pytest.importorskip("huggingface_hub.constants", reason="huggingface_hub is missing (extra hub)")


class Stand(ThreadingHTTPServer):
    """As much of the hub as pushing and pulling use; a repository is a dictionary of files."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repos: dict[str, dict[str, bytes]] = {}  # "datasets/ada/digits" -> files
        self.private: dict[str, bool] = {}
        self.blobs: dict[str, bytes] = {}
        self.refused: int | None = None  # a status that every request gets

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Stand

    def log_message(self, *_: Any) -> None:
        pass

    def answer(self, status: int, body: Any = b"", **headers: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        data = b""
        while size := int(self.rfile.readline(), 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def handle_any(self) -> None:
        path, body = unquote(urlsplit(self.path).path), self.body()
        if self.server.refused:
            return self.answer(self.server.refused, {"error": "no"})
        if path == "/api/repos/create":
            asked = json.loads(body)
            kind = "datasets" if asked.get("type") == "dataset" else "models"
            name = f"{kind}/{asked.get('organization') or 'ada'}/{asked['name']}"
            self.server.private.setdefault(name, bool(asked.get("private", asked.get("visibility") == "private")))
            self.server.repos.setdefault(name, {})
            return self.answer(200, {"url": f"{self.server.url}/{name}", "id": name})
        if path == "/api/agent-harnesses":
            return self.answer(404)
        if path == "/api/validate-yaml":
            return self.answer(200, {"errors": [], "warnings": []})
        if path.startswith("/blobs/"):
            self.server.blobs[path.rpartition("/")[2]] = body
            return self.answer(200)
        found = re.fullmatch(r"(?:/api)?/(?:(datasets|models)/)?([\w.-]+/[\w.-]+?)(?:\.git)?/([\w-]+)/?(.*)", path)
        plain = re.fullmatch(r"/api/(datasets|models)/([\w.-]+/[\w.-]+)", path)
        if plain:
            return self.info(f"{plain[1]}/{plain[2]}")
        assert found, path
        repo = f"{found[1] or 'models'}/{found[2]}"
        return self.on_repo(repo, found[3], found[4], body)

    def info(self, repo: str) -> None:
        if repo not in self.server.repos:
            return self.answer(404, {"error": "not found"}, X_Error_Code="RepoNotFound")
        siblings = [{"rfilename": name} for name in self.server.repos[repo]]
        return self.answer(
            200, {"id": repo.partition("/")[2], "sha": "a" * 40, "siblings": siblings, "private": True}
        )

    def on_repo(self, repo: str, verb: str, rest: str, body: bytes) -> None:
        if repo not in self.server.repos:
            return self.answer(404, {"error": "not found"}, X_Error_Code="RepoNotFound")
        files = self.server.repos[repo]
        if verb == "revision":
            return self.info(repo)
        if verb == "tree":
            tree = [
                {"type": "file", "path": name, "size": len(data), "oid": "0" * 40} for name, data in files.items()
            ]
            return self.answer(200, tree)
        if verb == "preupload":
            asked = json.loads(body)["files"]
            large = [
                {
                    "path": each["path"],
                    "uploadMode": "lfs" if each["path"].endswith((".npy", ".safetensors")) else "regular",
                    "shouldIgnore": False,
                }
                for each in asked
            ]
            return self.answer(200, {"files": large})
        if verb == "info":  # /info/lfs/objects/batch
            objects = [
                {**each, "actions": {"upload": {"href": f"{self.server.url}/blobs/{each['oid']}"}}}
                for each in json.loads(body)["objects"]
            ]
            return self.answer(200, {"transfer": "basic", "objects": objects})
        if verb == "commit":
            for line in body.splitlines():
                what = json.loads(line)
                value = what["value"]
                if what["key"] == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                if what["key"] == "lfsFile":
                    files[value["path"]] = self.server.blobs[value["oid"]]
                if what["key"] == "deletedFile":
                    del files[value["path"]]
            return self.answer(
                200, {"commitUrl": f"{self.server.url}/{repo}/commit/{'a' * 40}", "commitOid": "a" * 40}
            )
        if verb == "resolve":
            name = rest.partition("/")[2]
            if name not in files:
                return self.answer(404, X_Error_Code="EntryNotFound")
            data = files[name]
            marks = {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X_Repo_Commit": "a" * 40}
            return self.answer(200, data, **marks)
        raise AssertionError((verb, rest))

    do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = handle_any


@pytest.fixture
def stand(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stand]:
    server = Stand()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name in ("ENDPOINT", "HUGGINGFACE_CO_URL_HOME"):
        if hasattr(constants, name):
            monkeypatch.setattr(constants, name, server.url)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> imagemint.Pack:
    return imagemint.pack("digits", tmp_path_factory.mktemp("digits") / "digits.pack")


@pytest.fixture(scope="module")
def run(digits: imagemint.Pack, tmp_path_factory: pytest.TempPathFactory) -> imagemint.Run:
    return imagemint.train(digits, "ppca", tmp_path_factory.mktemp("run") / "run", components=4)


def test_a_pack_comes_back_the_same(stand: Stand, digits: imagemint.Pack, tmp_path: Path) -> None:
    push(digits, "hub:ada/digits", licence="cc-by-4.0")
    assert stand.private == {"datasets/ada/digits": True}, "nobody sees what was not said to be public"
    back = pull("hub:ada/digits", tmp_path / "back.pack")
    assert isinstance(back, imagemint.Pack)
    assert back.manifest == digits.manifest
    assert np.array_equal(back.pixels, digits.pixels) and np.array_equal(back.labels, digits.labels)
    assert {each.name for each in (tmp_path / "back.pack").iterdir()} == {each.name for each in digits.path.iterdir()}
    card = stand.repos["datasets/ada/digits"]["README.md"].decode()
    assert card.startswith("---\nlicense: cc-by-4.0\n") and "| 3 | 183 |" in card and digits.fingerprint in card


def test_a_pack_in_shards_comes_back_whole(stand: Stand, digits: imagemint.Pack, tmp_path: Path) -> None:
    cut = shard(digits, tmp_path / "cut.pack", megabytes=0.05)
    push(cut, "hub:ada/cut")
    back = pull("hub:ada/cut", tmp_path / "back.pack")
    assert isinstance(back, imagemint.Pack) and fingerprint_of(back) == digits.fingerprint
    with pytest.raises(ArgumentError, match="a folder of this machine"):
        push("s3://bucket/cut.pack", "hub:ada/cut")


def test_a_run_comes_back_and_mints_the_same(stand: Stand, run: imagemint.Run, tmp_path: Path) -> None:
    push(run, "hub:ada/digits-ppca", public=True)
    assert stand.private == {"models/ada/digits-ppca": False}
    sent = stand.repos["models/ada/digits-ppca"]
    assert str(run.path.parent.parent).encode() not in b"".join(sent.values()), "no path of this disk"
    back = pull("hub:ada/digits-ppca", tmp_path / "back")
    assert isinstance(back, imagemint.Run)
    minted = [
        imagemint.mint(each, tmp_path / f"{k}.pack", per_class=2).fingerprint for k, each in enumerate((run, back))
    ]
    assert minted[0] == minted[1]


def test_the_second_push_replaces_the_first(stand: Stand, digits: imagemint.Pack, tmp_path: Path) -> None:
    push(digits, "hub:ada/digits")
    stand.repos["datasets/ada/digits"]["extra.npy"] = b"of an earlier pack"
    stand.repos["datasets/ada/digits"]["notes.txt"] = b"somebody's own"
    renamed = rename(digits, tmp_path / "renamed.pack", names={"3": "three"})
    push(renamed, "hub:ada/digits")
    assert "extra.npy" not in stand.repos["datasets/ada/digits"], (
        "a column of another pack would be read as this one's"
    )
    assert "notes.txt" in stand.repos["datasets/ada/digits"], "what is not ours stays"
    back = pull("hub:ada/digits", tmp_path / "back.pack")
    assert isinstance(back, imagemint.Pack) and back.classes == renamed.classes


def test_names_that_belong_to_no_pack_are_never_written(
    stand: Stand, digits: imagemint.Pack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    push(digits, "hub:ada/digits")
    stand.repos["datasets/ada/digits"] |= {
        "../../outside.npy": b"",
        "sub/x.npy": b"",
        "run.sh": b"",
        "/etc/x.npy": b"",
    }
    progress.turn_on()
    try:
        pull("hub:ada/digits", tmp_path / "in" / "back.pack")
    finally:
        progress.turn_on(False)
    assert not list(tmp_path.rglob("outside.npy")) and not list(tmp_path.rglob("run.sh"))
    assert "left out" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "error"), [("datasets/ada/digits", PackError), ("models/ada/digits", RunError)])
def test_what_was_changed_on_the_way_is_refused(
    stand: Stand, digits: imagemint.Pack, run: imagemint.Run, tmp_path: Path, name: str, error: type[Exception]
) -> None:
    push(digits if error is PackError else run, "hub:ada/digits")
    file = "labels.npy" if error is PackError else f"checkpoints/{run.newest().name}/weights.safetensors"
    data = bytearray(stand.repos[name][file])
    data[-8] ^= 1
    stand.repos[name][file] = bytes(data)
    with pytest.raises(error):
        pull("hub:ada/digits", tmp_path / "back")
    assert not list(tmp_path.iterdir()), "nothing is left"


@pytest.mark.parametrize(
    ("status", "remedy"), [(401, "HF_TOKEN"), (403, "token that may write"), (400, "run the same command again")]
)
def test_a_hub_that_refuses_is_one_line(
    stand: Stand, digits: imagemint.Pack, tmp_path: Path, status: int, remedy: str
) -> None:
    stand.refused = status
    with pytest.raises(HubError, match=remedy) as caught:
        push(digits, "hub:ada/digits")
    assert "\n" not in str(caught.value)
    with pytest.raises(HubError):
        pull("hub:ada/digits", tmp_path / "back")
    assert not list(tmp_path.iterdir())


def test_a_hub_that_takes_a_call_and_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "_SECONDS_TO_ANSWER", 0.3)
    with answering() as port:
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{port}")
        with pytest.raises(HubError, match=r"^cannot pull hub:ada/x: .*; wanted a hub that answers"):
            pull("hub:ada/x", tmp_path / "back")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "address", ["ada/digits", "hub:", "hub:digits", "hub:../x", "hub:ada/../x", "hub:ada/digits@"]
)
def test_addresses(digits: imagemint.Pack, address: str, tmp_path: Path) -> None:
    with pytest.raises(HubError, match="hub:OWNER/NAME"):
        push(digits, address)
    with pytest.raises(HubError, match="hub:OWNER/NAME"):
        pull(address, tmp_path / "back")


def test_nothing_there(stand: Stand, tmp_path: Path) -> None:
    with pytest.raises(HubError, match="no pack or run at hub:ada/none"):
        pull("hub:ada/none", tmp_path / "back")
    with pytest.raises(HubError, match="neither"):
        push(tmp_path, "hub:ada/none")


def test_the_fingerprint_is_of_what_is_there(digits: imagemint.Pack, tmp_path: Path) -> None:
    shutil.copytree(digits.path, tmp_path / "copy")
    assert fingerprint_of(imagemint.open_pack(tmp_path / "copy")) == digits.fingerprint
    with open(tmp_path / "copy" / "pixels.npy", "r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\xff")
    assert fingerprint_of(imagemint.open_pack(tmp_path / "copy")) != digits.fingerprint


def test_names_in_a_card_mean_nothing(digits: imagemint.Pack, tmp_path: Path) -> None:
    hostile = rename(digits, tmp_path / "hostile.pack", names={"3": "| <b>x</b> [a](b)\n# head"})
    card = pack_card(hostile, "ada/digits")
    row = next(line for line in card.splitlines() if "183" in line)
    assert row.count(" | ") == 1 and "<b>" not in card.replace("\\<b\\>", "") and "\n# head" not in card


@pytest.mark.filterwarnings("ignore:ConjunctiveGraph:DeprecationWarning")  # of mlcroissant's use of rdflib
def test_croissant_is_valid(digits: imagemint.Pack, tmp_path: Path) -> None:
    croissants = pytest.importorskip("mlcroissant", reason="mlcroissant is missing (extra deploy)")
    file = tmp_path / "croissant.json"
    file.write_text(
        json.dumps(croissant(digits, "ada/digits", ["labels.npy", "manifest.json", "pixels.npy"], "cc-by-4.0"))
    )
    found = croissants.Dataset(file)
    assert not found.metadata.ctx.issues.errors
    rows = [(row["classes/name"], int(row["classes/images"])) for row in found.records("classes")]
    assert dict(rows) == digits.counts()
