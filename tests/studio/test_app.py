"""The whole job through the studio's API, and what a hostile client gets: nothing from outside the folder."""

from __future__ import annotations

import errno
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from typing import Any

import pytest

from imagemint.data.pack import open_pack
from imagemint.runs import open_run
from imagemint.studies.results import open_study
from tests.ports import free_port

from .conftest import Served

TINY_STUDY = {
    "budgets": "5",
    "repeats": "1",
    "arms": "real,minted",
    "images": "300",
    "classifier_images": "300",
    "classifier_epochs": "1",
}


@pytest.fixture(scope="module")
def client(served: Served) -> Any:
    from gradio_client import Client

    return Client(served.url, verbose=False)


def upload(path: Path) -> Any:
    from gradio_client import handle_file

    return handle_file(path)


def wait(client: Any, wanted: str = "done") -> dict[str, Any]:
    """Until the newest job is over."""
    for _ in range(1200):
        job: dict[str, Any] = client.predict(0, api_name="/job")
        if job["state"] in ("done", "stopped", "failed"):
            assert job["state"] == wanted, job
            return job
        time.sleep(0.1)
    raise AssertionError("it did not end")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_whole_job_through_the_api(client: Any, served: Served) -> None:
    list(client.submit(api_name="/sample"))
    wait(client)
    client.predict("digits", 0.2, api_name="/split")
    wait(client)
    train, test = (open_pack(served.folder / "packs/digits-parts" / side) for side in ("train", "test"))
    assert len(train) + len(test) == 1797
    said = client.predict(
        "digits-parts/train", "demo", "tiny", {"images": "640", "options.width": 8}, 3, api_name="/train"
    )
    wait(client)
    assert said["command"].startswith(
        "imagemint train packs/digits-parts/train --recipe demo --run runs/tiny --seed=3"
    )
    run = open_run(served.folder / "runs/tiny")
    assert (run.facts.seed, run.images_seen, run.recipe.model_dump()["options"]["width"]) == (3, 640, 8)
    client.predict("tiny", "minted", 20, False, False, api_name="/mint")
    wait(client)
    assert set(open_pack(served.folder / "packs/minted").counts().values()) == {20}
    archive = client.predict("minted", api_name="/download")
    with zipfile.ZipFile(archive) as found:
        assert sum(name.endswith(".png") for name in found.namelist()) == 200
    client.predict("minted", "digits-parts/train", 500, api_name="/measure")
    assert "copies" in wait(client)["sentence"]
    with pytest.raises(Exception, match="no duration"):  # refused before there is a job
        client.predict("digits-parts/train", "digits-parts/test", "ppca", "s", TINY_STUDY, api_name="/study")
    client.predict("digits-parts/train", "digits-parts/test", "demo", "tiny", TINY_STUDY, api_name="/study")
    wait(client)
    assert open_study(served.folder / "studies/tiny").report.is_file()


def test_uploads_are_checked_and_packed(client: Any, served: Served, tmp_path: Path) -> None:
    wrong, right = tmp_path / "wrong.zip", tmp_path / "my photos.zip"
    wrong.write_text("no archive")
    with zipfile.ZipFile(right, "w") as archive:
        for label in ("cat", "dog"):
            for k in range(3):
                archive.writestr(f"photos/{label}/{k}.png", _png(20 * k + len(label), label == "cat"))
    with pytest.raises(Exception, match="no archive"):
        client.predict(upload(wrong), None, "wrong", "", api_name="/pack")
    client.predict(upload(right), None, "", "8", api_name="/pack")
    wait(client)
    assert open_pack(served.folder / "packs/my-photos").counts() == {"cat": 3, "dog": 3}


def _png(shade: int, left: bool) -> bytes:
    import numpy as np

    from imagemint import images

    picture = np.full((3, 12, 12), shade, np.uint8)
    picture[:, :, :6] = 200 if left else 10
    return images.png(picture)


HOSTILE = ("../../etc", "/etc", "packs/../..", "a\0b", "--help")


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_refused_by_every_action(client: Any, name: str) -> None:
    calls: list[tuple[str, tuple[Any, ...]]] = [
        ("/split", (name, 0.2)),
        ("/edit", (name, "invert", "", "x")),
        ("/edit", ("digits", "invert", "", name)),
        ("/train", (name, "demo", "x", {}, 0)),
        ("/train", ("digits", "demo", name, {}, 0)),
        ("/train", ("digits", name, "x", {}, 0)),
        ("/mint", (name, "x", 1, False, False)),
        ("/download", (name,)),
        ("/measure", (name, name, 1)),
        ("/study", (name, name, "demo", "x", {})),
        ("/pack", (None, name, "x", "")),
    ]
    before = client.predict(0, api_name="/job")["number"]
    for action, given in calls:
        with pytest.raises(Exception, match="wanted"):
            client.predict(*given, api_name=action)
    assert client.predict(0, api_name="/job")["number"] == before


@pytest.mark.parametrize(
    ("action", "settings"),
    [
        ("/train", {"parents": "[/etc/passwd]"}),
        ("/train", {"images": '"\\x2fetc"'}),
        ("/study", {"arms": "real,pack:/etc"}),
        ("/study", {"classifier": "linear:../../x.onnx"}),
        ("/study", {"recipe": "x.yaml"}),
    ],
)
def test_settings_that_name_files_outside_are_refused(client: Any, action: str, settings: dict[str, str]) -> None:
    given = (
        ("digits", "demo", "x", settings, 0) if action == "/train" else ("digits", "digits", "demo", "x", settings)
    )
    with pytest.raises(Exception, match="wanted"):
        client.predict(*given, api_name=action)


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "../../../etc/passwd", "studio.lock", "packs/digits/manifest.json", "%2e%2e/%2e%2e/etc/passwd"],
)
def test_files_cannot_be_asked_for(served: Served, path: str) -> None:
    wanted = path if path.startswith(("/", "%", ".")) else str(served.folder / path)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{served.url}gradio_api/file={wanted}")
    assert refused.value.code in (403, 404)
    refused.value.close()


def _refused(*words: str) -> str:
    command = [sys.executable, "-m", "imagemint", "studio", *words]
    out = subprocess.run(command, capture_output=True, text=True, check=False)
    assert out.returncode == 2 and len(out.stderr.splitlines()) == 1, out.stderr
    return out.stderr


def test_bad_starts_are_one_line(served: Served, tmp_path: Path) -> None:
    there, fresh = str(served.folder), str(tmp_path / "fresh")
    port = served.url.split(":")[-1].strip("/")
    assert "another studio is open" in _refused("--folder", there, "--port", str(free_port()))
    assert "port" in _refused("--folder", fresh, "--port", port)
    assert "--auth" in _refused("--folder", fresh, "--host", "0.0.0.0")
    assert "USER:PASSWORD" in _refused("--folder", fresh, "--auth", "ann")
    assert not Path(fresh).exists()


def test_a_full_disk_is_one_sentence_on_the_page_and_a_bug_keeps_its_traceback() -> None:
    gr = pytest.importorskip("gradio", reason="the studio needs the extra: pip install 'imagemint[studio]'")
    from imagemint.studio.parts import sentence

    def failing(error: OSError) -> None:
        raise error

    with pytest.raises(gr.Error, match="the disk is full at packs"):
        sentence(failing)(OSError(errno.ENOSPC, "No space left on device", "packs/x/pixels.npy"))
    with pytest.raises(OSError, match="a bug"):
        sentence(failing)(OSError(errno.EBADF, "a bug"))
