"""Names from a browser become paths inside the folder or are refused; archives are bounded before they are packed."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from imagemint.errors import SourceError, StudioError
from imagemint.studio import paths

HOSTILE = (
    "", ".", "..", "../x", "a/../b", "/etc/passwd", "a/b/c", "-rf", "--out", "a\0b", "a\nb", "C:\\x", "~", ".hidden",
    "a..b", "x" * 65, "a/", "//", "con:x", "%2e%2e",
)  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_refused(tmp_path: Path, name: str) -> None:
    for kind in paths.MARKS:
        with pytest.raises(StudioError):
            paths.path_of(tmp_path, kind, name)


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "studio"
    outside.mkdir()
    (outside / "manifest.json").write_text("{}")
    (folder / "packs").mkdir(parents=True)
    (folder / "packs/link").symlink_to(outside)
    with pytest.raises(StudioError, match="leads out"):
        paths.old_path(folder, "packs", "link")
    assert paths.names(folder, "packs") == []


def test_names_are_what_is_there(tmp_path: Path) -> None:
    for where in ("packs/a", "packs/parts/train", "packs/parts/test", "runs/b"):
        (tmp_path / where).mkdir(parents=True)
    for where in ("packs/a", "packs/parts/train", "packs/parts/test"):
        (tmp_path / where / "manifest.json").write_text("{}")
    assert paths.names(tmp_path, "packs") == ["a", "parts/test", "parts/train"]
    assert paths.names(tmp_path, "runs") == []
    assert paths.free_name(tmp_path, "packs", "a.zip") == "a-2"
    with pytest.raises(StudioError, match="already"):
        paths.new_path(tmp_path, "packs", "a")
    with pytest.raises(StudioError, match="any more"):
        paths.old_path(tmp_path, "runs", "b")


def test_the_newest_is_always_the_same_one(tmp_path: Path) -> None:
    for name in ("b", "a", "parts/test", "parts/train"):
        (tmp_path / "packs" / name).mkdir(parents=True)
        (tmp_path / "packs" / name / "manifest.json").write_text("{}")
        os.utime(tmp_path / "packs" / name / "manifest.json", ns=(10, 10))  # made within one tick of the clock
    for order in (sorted, lambda found: sorted(found, reverse=True)):
        found = order(paths.names(tmp_path, "packs"))
        assert max(found, key=lambda name: paths.made(tmp_path, "packs", name)) == "parts/train"
    os.utime(tmp_path / "packs/parts/train/manifest.json", ns=(9, 9))  # which side was written first says nothing
    assert max(found, key=lambda name: paths.made(tmp_path, "packs", name)) == "parts/train"
    os.utime(tmp_path / "packs/a/manifest.json", ns=(10, 11))  # a nanosecond is enough
    names = paths.names(tmp_path, "packs")
    assert max(names, key=lambda name: paths.made(tmp_path, "packs", name)) == "a"
    (tmp_path / "packs/b/manifest.json").write_text("{}")
    os.utime(tmp_path / "packs/b", ns=(0, 0))  # what happens in the folder afterwards does not count
    assert max(names, key=lambda name: paths.made(tmp_path, "packs", name)) == "b"
    (tmp_path / "packs/b/manifest.json").unlink()
    assert paths.made(tmp_path, "packs", "b")[0] == 0


def test_uploads_that_are_no_archive_or_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, archive, tar = tmp_path / "a.zip", tmp_path / "b.zip", tmp_path / "c.tar"
    text.write_text("not a zip")
    with zipfile.ZipFile(archive, "w") as out:
        for k in range(4):
            out.writestr(f"{k}.png", b"x" * 10)
    with tarfile.open(tar, "w") as out_tar:
        for k in range(4):
            info = tarfile.TarInfo(f"{k}.png")
            info.size = 10
            out_tar.addfile(info, io.BytesIO(b"x" * 10))
    with pytest.raises(SourceError, match="no archive"):
        paths.check_upload(text)
    for file in (archive, tar):
        paths.check_upload(file)
        for limit, value in (("MOST_MEMBERS", 3), ("MOST_UNPACKED", 39), ("MOST_BYTES", 99)):
            with monkeypatch.context() as patch:
                patch.setattr(paths, limit, value)
                with pytest.raises(SourceError, match="wanted at most"):
                    paths.check_upload(file)


def test_a_pack_is_minted_if_its_manifest_says_so_now(tmp_path: Path) -> None:
    manifest = tmp_path / "packs/a/manifest.json"
    assert not paths.is_minted(tmp_path, "a")
    manifest.parent.mkdir(parents=True)
    stated = {'{"origin": "real"}': False, '{"origin": "minted"}': True, '{"origin": "mixed"}': False}
    damaged = {'{"origin": "minted"': False, "[]": False}
    for moment, (text, minted) in enumerate((stated | damaged).items()):
        manifest.write_text(text)
        os.utime(manifest, ns=(moment, moment))
        assert paths.is_minted(tmp_path, "a") == minted
