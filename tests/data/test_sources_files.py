"""Folders, zips and tars: one law for all three, and what is refused."""

from __future__ import annotations

import io
import os
import stat
import struct
import tarfile
import tempfile
import unicodedata
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from imagemint import progress
from imagemint.data import decode, tfrecord
from imagemint.data.pack import Pack
from imagemint.data.packing import pack
from imagemint.data.sources import tree
from imagemint.errors import ImagemintError, SourceError


def png(value: int = 0, size: tuple[int, int] = (2, 2)) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", size, value).save(buffer, "PNG")
    return buffer.getvalue()


def put(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def zipped(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def tarred(path: Path, files: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def refused(source: Path | str, tmp_path: Path, words: str, **options: Any) -> None:
    with pytest.raises(SourceError, match=words) as raised:
        pack(source, tmp_path / "refused.pack", **options)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "refused.pack").exists()


def values(made: Pack) -> list[int]:
    return [int(value) for value in made.pixels[:, 0, 0, 0]]


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(progress, "say", lines.append)
    return lines


ODD = {
    'b cat\'s "x"/2.png': png(2),
    'b cat\'s "x"/10.PNG': png(1),
    "café/ü.png": png(3),
    "猫/deeper/a-b/1.png": png(5),
    "猫/deeper/a/1.png": png(4),
}


def test_folder_zip_and_tar_give_one_fingerprint(tmp_path: Path) -> None:
    backwards = dict(reversed(ODD.items()))
    sources = [
        put(tmp_path / "in", ODD),
        zipped(tmp_path / "a.zip", backwards),
        zipped(tmp_path / "b.zip", backwards, zipfile.ZIP_STORED),
        zipped(tmp_path / "c.zip", {f"./top/in/{name}": data for name, data in ODD.items()}),
        zipped(tmp_path / "d.zip", {name.replace("/", "\\"): data for name, data in ODD.items()}),
        tarred(tmp_path / "a.tar", ODD),
        *(tarred(tmp_path / f"b.tar.{kind}", backwards, f"w:{kind}") for kind in ("gz", "bz2", "xz")),
        zipped(tmp_path / "mac.zip", {unicodedata.normalize("NFD", name): data for name, data in ODD.items()}),
    ]
    packs = [pack(source, tmp_path / f"{k}.pack") for k, source in enumerate(sources)]
    assert len({made.fingerprint for made in packs}) == 1
    assert packs[0].classes == ['b cat\'s "x"', "café", "猫"]
    assert values(packs[0]) == [1, 2, 3, 4, 5]  # sorted by path, folder by folder
    assert packs[0].labels.tolist() == [0, 0, 1, 2, 2]


def test_a_zip_that_does_not_say_that_its_names_are_utf8(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"café/1.png": png()})
    data = path.read_bytes()
    local, central = data.index(b"PK\x03\x04"), data.index(b"PK\x01\x02")
    flags = bytearray(data)
    flags[local + 7] &= ~0x08
    flags[central + 9] &= ~0x08
    path.write_bytes(flags)
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() != ["café/1.png"]  # read as code page 437
    assert pack(path, tmp_path / "p", split=None).classes == ["café"]
    two = zipped(tmp_path / "b.zip", {"café/1.png": png(), "x/1.png": png()})
    flags = bytearray(two.read_bytes())
    for start, at in ((b"PK\x03\x04", 7), (b"PK\x01\x02", 9)):
        flags[flags.index(start) + at] &= ~0x08
    two.write_bytes(flags)
    assert pack(two, tmp_path / "q").classes == ["café", "x"]


def test_class_names_that_are_numbers_sort_as_numbers(tmp_path: Path) -> None:
    put(tmp_path / "in", {f"{k}/a.png": png(k) for k in (0, 2, 10, 9, 100)})
    made = pack(tmp_path / "in", tmp_path / "p")
    assert made.classes == ["0", "2", "9", "10", "100"]
    assert all(int(made.classes[label]) == value for label, value in zip(made.labels, values(made), strict=True))


def test_labels_txt_gives_the_order_where_it_names_the_folders(tmp_path: Path) -> None:
    files = {"cat/1.png": png(1), "a%2Fb/1.png": png(2), "ant/1.png": png(3)}
    listed = put(tmp_path / "in", files | {"labels.txt": b"cat\nant\na/b\n"})
    assert pack(listed, tmp_path / "p").classes == ["cat", "ant", "a/b"]
    (listed / "labels.txt").write_text("cat\nant\n")
    assert pack(listed, tmp_path / "q").classes == ["a%2Fb", "ant", "cat"]


def test_loose_images_are_kept_unlabelled_and_said(tmp_path: Path, said: list[str]) -> None:
    made = pack(put(tmp_path / "in", {"a/1.png": png(1), "b/1.png": png(2), "0.png": png(3)}), tmp_path / "p")
    assert (made.classes, made.labels.tolist(), values(made)) == (["a", "b"], [-1, 0, 1], [3, 1, 2])
    assert any("1 image beside the class folders" in line and "0.png" in line for line in said)
    flat = pack(put(tmp_path / "flat", {"1.png": png(1), "2.png": png(2)}), tmp_path / "q")
    assert (flat.classes, flat.labels.tolist()) == ([], [-1, -1])


def test_one_folder_around_everything_is_unwrapped(tmp_path: Path) -> None:
    plain = pack(put(tmp_path / "in", {"a/1.png": png(1), "b/1.png": png(2)}), tmp_path / "p")
    deep = put(tmp_path / "deep", {"x/y/a/1.png": png(1), "x/y/b/1.png": png(2), "README.md": b"text"})
    assert pack(deep, tmp_path / "q").fingerprint == plain.fingerprint


def test_junk_is_left_out_and_other_files_are_counted(tmp_path: Path, said: list[str]) -> None:
    junk = {
        "__MACOSX/a/._1.png": b"x",
        "a/.1.png": b"x",
        "a/Thumbs.db": b"x",
        ".git/x.png": b"x",
        "a/.DS_Store": b"x",
    }
    files = {"a/1.png": png(), "b/1.jpg": png(), "a/notes.txt": b"x", "b/photo.HEIC": b"x", "b/other.heic": b"x"}
    for source in (put(tmp_path / "in", files | junk), zipped(tmp_path / "a.zip", files | junk)):
        said.clear()
        made = pack(source, tmp_path / f"{source.name}.pack")
        assert len(made) == 2 and not made.manifest.unreadable
        assert said == [
            "3 files ignored, not images by their ending: 2 .heic, 1 .txt",
            "2 images in another format are not read and are missing (b/other.heic, b/photo.HEIC): "
            "convert to JPEG or PNG to have them",
        ]


def test_a_listing_beside_loose_images_is_pointed_at(tmp_path: Path, said: list[str]) -> None:
    pack(put(tmp_path / "in", {"images/1.png": png(), "images/labels.csv": b"path,label"}), tmp_path / "p")
    assert any("labels.csv may hold the labels" in line for line in said)


def test_splits_are_asked_for(tmp_path: Path) -> None:
    files = {f"{split}/{name}/1.png": png(k) for k, split in enumerate(("train", "Test")) for name in "ab"}
    for source in (put(tmp_path / "in", files), zipped(tmp_path / "a.zip", files)):
        refused(source, tmp_path, r"splits train, Test; .*--split train")
        refused(source, tmp_path, r"no split 'val' but train, Test", split="val")
        made = pack(source, tmp_path / f"{source.name}.pack", split="test")
        assert (made.classes, values(made)) == (["a", "b"], [1, 1])
    refused(put(tmp_path / "none", {"a/1.png": png(), "b/1.png": png()}), tmp_path, "no split", split="train")


def test_a_class_may_be_called_test(tmp_path: Path) -> None:
    assert pack(put(tmp_path / "in", {"test/1.png": png(), "rest/1.png": png()}), tmp_path / "p").classes == [
        "rest",
        "test",
    ]


@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
def test_empty_things_are_refused(tmp_path: Path, kind: str) -> None:
    def source(name: str, files: dict[str, bytes], folders: list[str]) -> Path:
        if kind == "zip":
            return zipped(tmp_path / f"{name}.zip", files | {folder + "/": b"" for folder in folders})
        if kind == "tar":
            path = tarred(tmp_path / f"{name}.tar", files)
            with tarfile.open(path, "a") as archive:
                for folder in folders:
                    member = tarfile.TarInfo(folder)
                    member.type = tarfile.DIRTYPE
                    archive.addfile(member)
            return path
        for folder in folders:
            (tmp_path / name / folder).mkdir(parents=True)
        (tmp_path / name).mkdir(exist_ok=True)
        return put(tmp_path / name, files)

    refused(source("nothing", {}, []), tmp_path, "is empty")
    refused(source("texts", {"a/x.txt": b"", "b/y.heic": b""}, []), tmp_path, r"no image \(1 .txt, 1 .heic\)")
    files = {"a/1.png": png(), "b/1.png": png()}
    refused(source("hollow", files, ["empty"]), tmp_path, "no image in 1 class folder of .*: empty")
    refused(source("wordy", files | {"c/x.txt": b""}, []), tmp_path, "class folder of .*: c")
    refused(source("cases", {"Cat/1.png": png(), "cat/2.png": png()}, []), tmp_path, "differ only by case: Cat, cat")


@pytest.mark.parametrize("name", ["../x.png", "a/../../x.png", "/etc/x.png", "C:\\x.png", "a\\..\\..\\x.png"])
def test_a_member_that_leads_out_refuses_the_archive(tmp_path: Path, name: str) -> None:
    files = {"a/1.png": png(), name: png()}
    refused(zipped(tmp_path / "a.zip", files), tmp_path, r"a\.zip holds a member that leads out of it.*x\.png")
    refused(tarred(tmp_path / "a.tar", files), tmp_path, r"a\.tar holds a member that leads out of it.*x\.png")


@pytest.mark.parametrize("target", ["/etc/hostname", "../../secret.png", "C:/x.png"])
def test_a_link_that_leads_out_refuses_the_archive(tmp_path: Path, target: str) -> None:
    path = tarred(tmp_path / "a.tar", {"a/1.png": png()})
    with tarfile.open(path, "a") as archive:
        member = tarfile.TarInfo("a/2.png")
        member.type, member.linkname = tarfile.SYMTYPE, target
        archive.addfile(member)
    refused(path, tmp_path, "link that leads out of it: 'a/2.png'")
    link = zipfile.ZipInfo("a/2.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as zipped_:
        zipped_.writestr("a/1.png", png())
        zipped_.writestr(link, target)
    refused(tmp_path / "a.zip", tmp_path, "link that leads out of it: 'a/2.png'")


def test_links_inside_a_tar_are_followed(tmp_path: Path) -> None:
    path = tarred(tmp_path / "a.tar", {"a/1.png": png(7), "b/1.png": png(8)})
    with tarfile.open(path, "a") as archive:
        for name, kind, target in (
            ("b/2.png", tarfile.SYMTYPE, "../a/1.png"),
            ("b/3.png", tarfile.LNKTYPE, "a/1.png"),
            ("b/folder", tarfile.SYMTYPE, "../a"),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            archive.addfile(member)
    assert values(pack(path, tmp_path / "p")) == [7, 8, 7, 7]


@pytest.mark.skipif(os.name == "nt", reason="needs symbolic links")
def test_links_in_a_folder(tmp_path: Path) -> None:
    folder = put(tmp_path / "in", {f"a/{k:03}.png": png(k) for k in range(250)} | {"b/1.png": png()})
    put(tmp_path / "elsewhere", {"1.png": png(200)})
    (folder / "c").symlink_to(tmp_path / "elsewhere")
    (folder / "c" / "loop").symlink_to(folder / "c")
    (folder / "a" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (folder / "a" / "ring.png").symlink_to(folder / "a" / "ring.png")
    (folder / "labels.txt").symlink_to(tmp_path / "nowhere.txt")  # no image: left out, and said
    os.mkfifo(folder / "a" / "pipe.png")  # reading it would wait for ever
    made = pack(folder, tmp_path / "p")
    assert made.counts() == {"a": 250, "b": 1, "c": 1}
    assert [(bad.name, bad.problem) for bad in made.manifest.unreadable] == [
        ("a/gone.png", "no such file or directory"),
        ("a/ring.png", "too many levels of symbolic links"),
    ]


@pytest.mark.skipif(os.name == "nt", reason="file names are Unicode there")
def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    folder = put(tmp_path / "in", {f"b/{k}.png": png(k) for k in range(120)})
    os.mkdir(os.fsencode(folder) + b"/caf\xe9")
    for name in (b"1.png", b"\xff.png"):
        Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9/" + name)).write_bytes(png() if name == b"1.png" else b"x")
    made = pack(folder, tmp_path / "p")
    assert made.classes == ["b", "caf\ufffd"]
    assert [bad.name for bad in made.manifest.unreadable] == ["caf\ufffd/\ufffd.png"]


def test_a_large_file_that_is_no_image_is_nobodys_business(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "FILE_LIMIT", 1000)
    files = {"a/1.png": png(), "b/1.png": png(), "data.mat": bytes(5000)}
    assert len(pack(zipped(tmp_path / "a.zip", files), tmp_path / "p")) == 2
    assert len(pack(tarred(tmp_path / "a.tar", files), tmp_path / "q")) == 2


def test_an_archive_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert decode.FILE_LIMIT == 256 << 20
    monkeypatch.setattr(tree, "FILE_LIMIT", 4 << 20)
    bomb = {"a/0.png": bytes((4 << 20) + 1)}
    for source in (zipped(tmp_path / "bomb.zip", bomb), tarred(tmp_path / "bomb.tar.gz", bomb, "w:gz")):
        refused(source, tmp_path, r"a/0\.png of 4,194,305 bytes unpacked; wanted images of at most 4 MiB")
    monkeypatch.setattr(tree, "_RATIO_FLOOR", 1 << 20)
    files = {f"a/{k}.png": bytes(1 << 20) for k in range(3)}
    refused(zipped(tmp_path / "many.zip", files), tmp_path, "unpacks to 3,145,728 bytes .* at most 200 times")
    refused(tarred(tmp_path / "many.tar.gz", files, "w:gz"), tmp_path, "at most 200 times its size")


def test_archives_that_are_damaged_encrypted_or_strange(tmp_path: Path) -> None:
    files = {f"a/{k}.png": os.urandom(500) for k in range(40)}
    whole = zipped(tmp_path / "a.zip", files).read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[:-100])
    refused(tmp_path / "cut.zip", tmp_path, "cut.zip is damaged")
    for ending in (".zip", ".tar", ".tar.gz", ".tar.xz"):
        (tmp_path / f"text{ending}").write_bytes(b"this is no archive at all" * 40)
        refused(tmp_path / f"text{ending}", tmp_path, f"text{ending} is damaged")
    for mode in ("w", "w:gz", "w:bz2", "w:xz"):
        path = tarred(tmp_path / "a.tar", files, mode)
        path.write_bytes(path.read_bytes()[:9000])
        refused(path, tmp_path, "a.tar is damaged")
    locked = bytearray(whole)
    locked[locked.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "locked.zip").write_bytes(locked)
    refused(tmp_path / "locked.zip", tmp_path, "locked.zip is encrypted")
    refused(zipped(tmp_path / "lzma.zip", files, zipfile.ZIP_LZMA), tmp_path, "compression method 14")


def test_a_member_damaged_in_the_middle_is_unreadable(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {f"a/{k:03}.png": png(k) for k in range(200)}, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[data.index(png(7)) + 50] ^= 0xFF
    path.write_bytes(data)
    made = pack(path, tmp_path / "p")
    assert [(bad.name, bad.problem) for bad in made.manifest.unreadable] == [
        ("a/007.png", "damaged inside its archive")
    ]


def test_what_is_no_source_says_what_is(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", tmp_path, "neither there nor the name of a data set")
    (tmp_path / "a.docx").write_bytes(b"x")
    refused(tmp_path / "a.docx", tmp_path, r"a\.docx is no kind of source; wanted a folder, \.zip")


def test_real_flowers(tmp_path: Path, shared_data: Path) -> None:
    made = pack(shared_data / "flower_photos.zip", tmp_path / "p", size=16)
    assert made.counts() == {"daisy": 633, "dandelion": 898, "roses": 641, "sunflowers": 699, "tulips": 799}
    assert made.pixels.shape == (3670, 3, 16, 16)


def test_real_cifar_needs_its_split(tmp_path: Path, shared_data: Path) -> None:
    made = pack(shared_data / "cifar10.zip", tmp_path / "p", split="test")
    assert set(made.counts().values()) == {1000} and len(made.classes) == 10


def test_one_folder_is_a_class_unless_it_holds_class_folders(tmp_path: Path) -> None:
    single = {"defect/1.png": png(), "defect/2.png": png(1)}
    wrapped = {f"photos/{name}": data for name, data in (single | {"fine/1.png": png()}).items()}
    for number, (files, classes) in enumerate(((single, ["defect"]), (wrapped, ["defect", "fine"]))):
        for source in (put(tmp_path / f"in{number}", files), zipped(tmp_path / f"{number}.zip", files)):
            assert pack(source, tmp_path / f"{source.name}.pack").classes == classes


def test_images_smaller_than_what_was_asked_for_are_counted(tmp_path: Path) -> None:
    files = {"a/1.png": png(), "a/2.png": png(1), "b/1.png": png(2)}
    made = pack(put(tmp_path / "in", files), tmp_path / "p", size=64)
    assert made.manifest.history[0].parameters["enlarged"] == 3
    assert sum(count for _, _, count in made.manifest.source_sides) == 3
    assert "enlarged" not in pack(tmp_path / "in", tmp_path / "q", size=1).manifest.history[0].parameters


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"split": "train"}, "digits has no splits"),
        ({"folders_are_classes": True}, "digits has no class folders"),
        ({"label_column": "y"}, "digits is not a list, but --label-column was given"),
    ],
)
def test_options_that_mean_nothing_for_a_source_are_refused(
    tmp_path: Path, options: dict[str, Any], words: str
) -> None:
    refused("digits", tmp_path, words, **options)


def test_tfrecords_are_known_by_all_their_names(tmp_path: Path) -> None:
    for number, name in enumerate(("a.tfrec", "x-train.tfrecord-00000-of-00001", "train-00000-of-00001")):
        folder = tmp_path / str(number)
        folder.mkdir()
        with (folder / name).open("wb") as file:
            tfrecord.write(file, [tfrecord.example({"image": png(k), "label": k}) for k in range(3)])
        for source in (folder, folder / name):
            assert pack(source, tmp_path / f"{number}-{source.is_dir()}.pack").counts() == {"0": 1, "1": 1, "2": 1}


# --- names whose encoding the archive does not tell


class OldName(zipfile.ZipInfo):
    """A member whose name is written without the flag for UTF-8, as old programs do."""

    raw = b""

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:
        return self.raw, self.flag_bits & ~0x800


def old_zip(path: Path, names: dict[bytes, bytes], *, unicode_path: bool = False) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for raw, data in names.items():
            member = OldName(raw.decode("cp437"))
            member.raw = raw
            if unicode_path:  # the field of Info-ZIP, which holds the name in UTF-8 and a checksum of the other
                text = raw.decode("cp932").encode()
                field = struct.pack("<BI", 1, zlib.crc32(raw)) + text
                member.extra = struct.pack("<HH", 0x7075, len(field)) + field
            archive.writestr(member, data)
    return path


def old_tar(path: Path, names: dict[bytes, bytes]) -> Path:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT, encoding="latin-1") as archive:
        for raw, data in names.items():
            member = tarfile.TarInfo(raw.decode("latin-1"))
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def in_encoding(encoding: str, names: list[str]) -> dict[bytes, bytes]:
    return {f"{name}/1.png".encode(encoding): png(k) for k, name in enumerate(names)}


@pytest.mark.parametrize("make", [old_zip, old_tar])
@pytest.mark.parametrize(
    ("encoding", "names"),
    [
        ("shift_jis", ["ソース", "ソフト", "猫"]),
        ("gbk", ["誠", "猫", "狗"]),
        ("big5", ["功", "許"]),
        ("cp1252", ["é", "ü"]),
    ],
)
def test_names_in_an_old_encoding(
    tmp_path: Path, said: list[str], make: Any, encoding: str, names: list[str]
) -> None:
    path = make(tmp_path / ("a.zip" if make is old_zip else "a.tar"), in_encoding(encoding, names))
    made = pack(path, tmp_path / "p", names_encoding=encoding)
    assert made.classes == sorted(names) and not said
    by_class = {made.classes[label]: value for label, value in zip(made.labels, values(made), strict=True)}
    assert by_class == {name: k for k, name in enumerate(names)}
    assert made.manifest.history[0].parameters["names_encoding"] == encoding
    if any(b"\\" in name.encode(encoding) for name in names):  # half a letter, or the end of a folder?
        refused(path, tmp_path, r"does not tell the encoding .* backslash .*--names-encoding shift_jis")
    else:
        made = pack(path, tmp_path / "q")
        assert len(made.classes) == len(names)
        assert any("does not tell the encoding of its names" in line and "--names-encoding" in line for line in said)


def test_the_field_for_names_in_utf8_is_believed_where_its_checksum_is_right(tmp_path: Path, said: list[str]) -> None:
    names = in_encoding("cp932", ["ソース", "ソフト", "猫"])
    path = old_zip(tmp_path / "a.zip", names, unicode_path=True)
    assert pack(path, tmp_path / "p").classes == sorted(["ソース", "ソフト", "猫"]) and not said
    damaged = path.read_bytes().replace(struct.pack("<I", zlib.crc32("猫/1.png".encode("cp932"))), b"\0\0\0\0")
    path.write_bytes(damaged)
    pack(path, tmp_path / "q")
    assert any("does not tell" in line for line in said)


def test_folders_that_would_be_one_are_not_guessed_at(tmp_path: Path) -> None:
    one, other = b"\x8e\x41", b"\x8e\x61"  # two letters of Shift-JIS; in code page 437 they differ by case alone
    path = old_zip(tmp_path / "a.zip", {one + b"/1.png": png(), other + b"/1.png": png()})
    refused(path, tmp_path, "some folders are one; .*--names-encoding")
    assert len(pack(path, tmp_path / "p", names_encoding="shift_jis").classes) == 2


def test_an_encoding_that_is_none_or_fits_nothing(tmp_path: Path) -> None:
    path = old_zip(tmp_path / "a.zip", in_encoding("cp1252", ["é", "ü"]))
    refused(path, tmp_path, "is not utf-16", names_encoding="utf-16")
    refused(put(tmp_path / "in", {"a/1.png": png()}), tmp_path, "is no zip or tar", names_encoding="gbk")
    for name in ("klingon", "hex", "\0"):
        with pytest.raises(ImagemintError, match="an encoding that Python knows"):
            pack(path, tmp_path / "refused.pack", names_encoding=name)


# --- tars by hand


def tar_header(name: bytes, size: bytes, kind: bytes = b"0") -> bytes:
    header = bytearray(512)
    header[: len(name)] = name
    header[124:136], header[156:157], header[257:265] = size, kind, b"ustar\x0000"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def octal(size: int) -> bytes:
    return b"%011o\0" % size


def tar_member(name: bytes, data: bytes, kind: bytes = b"0") -> bytes:
    return tar_header(name, octal(len(data)), kind) + data + bytes(-len(data) % 512)


def binary(size: int) -> bytes:
    """A number in base 256."""
    return ((size % (1 << 88)) | ((0xFF if size < 0 else 0x80) << 88)).to_bytes(12, "big")


@pytest.mark.parametrize(
    "tail",
    [
        tar_header(b"a/2.png", binary(-512)),
        tar_header(b"a/2.txt", binary(-1024)),
        tar_header(b"a/2.png", binary(-(2**60))),
        tar_header(b"a/2.png", binary(2**80)),
        *(tar_header(b"a/2.png", binary(2**63 - 1), kind) for kind in (b"L", b"K", b"x", b"g", b"0", b"S")),
        tar_member(b"x", b"99999999999999999999 path=x\n", b"x"),
        tar_member(b"x", b"16 size=-000512\n", b"x") + tar_member(b"a/2.png", b""),
        tar_member(b"x", b"no number\n", b"x"),
        tar_header(b"a/2.png", b"8888888888\0\0"),
        b"damaged".ljust(512, b"\1"),
        tar_member(b"a/2.png", png())[:-300],
    ],
)
def test_a_damaged_tar_is_refused_and_no_image_is_lost_without_a_word(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(tar_member(b"a/1.png", png()) + tail + tar_member(b"a/3.png", png()) + bytes(1024))
    refused(path, tmp_path, r"x\.tar is damaged")


def test_a_tar_without_its_end_is_read_and_said(tmp_path: Path, said: list[str]) -> None:
    whole = tar_member(b"a/1.png", png(1)) + tar_member(b"b/1.png", png(2))
    for tail in (b"", bytes(1024)):
        path = tmp_path / f"{len(tail)}.tar"
        path.write_bytes(whole + tail)
        assert values(pack(path, tmp_path / f"{len(tail)}.pack")) == [1, 2]
        assert any("no mark at its end" in line for line in said) == (not tail)
        said.clear()
    path.write_bytes(whole.rstrip(b"\0"))  # nor the last member's padding
    assert values(pack(path, tmp_path / "p")) == [1, 2]


def test_long_names_in_a_tar(tmp_path: Path) -> None:
    long, value = "k" * 90 + "/" + "é" * 90, png(3)
    for kind in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        path = tmp_path / f"{kind}.tar"
        with tarfile.open(path, "w", format=kind) as archive:
            for name, data in ((f"{long}/1.png", value), (f"{long}/2.png", png(4)), ("b/1.png", png())):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
        assert pack(path, tmp_path / f"{kind}.pack").counts() == {"b": 1, "k" * 90: 2}
    chain = tmp_path / "chain.tar"
    chain.write_bytes(tar_member(b"x", b"b/1.png\0", b"L") * 3000 + tar_member(b"a/1.png", value) + bytes(1024))
    refused(chain, tmp_path, "too many headers for one member")
    chain.write_bytes(tar_member(b"a/1.png", value) + tar_member(b"x", b"b/1.png\0", b"L") + bytes(1024))
    refused(chain, tmp_path, "is missing")


def test_prefixes_signed_sums_and_sizes_in_base_256(tmp_path: Path) -> None:
    header = bytearray(tar_header(b"1.png", binary(len(png()))))
    header[345:346] = b"\xe9"  # a prefix in Latin-1; the sum of signed bytes, as old programs had it
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % (sum(header) - 256 * sum(byte > 127 for byte in header))
    path = tmp_path / "a.tar"
    path.write_bytes(bytes(header) + png() + bytes(-len(png()) % 512) + tar_member(b"b/1.png", png()) + bytes(1024))
    assert pack(path, tmp_path / "p", names_encoding="latin-1").classes == ["b", "é"]


# --- folders, and archives that are not what they say


@pytest.mark.skipif(os.name == "nt", reason="needs symbolic links")
def test_folders_that_link_to_each_other_are_entered_once(tmp_path: Path, said: list[str]) -> None:
    names = [f"class{k}" for k in range(12)]  # followed blindly, 12! ways lead through them
    root = put(tmp_path / "in", {f"{name}/1.png": png(k) for k, name in enumerate(names)})
    for name in names:
        for other in names:
            (root / name / f"to {other}").symlink_to(root / other)
    made = pack(root, tmp_path / "p")
    assert made.counts() == dict.fromkeys(names, 1)
    assert any(line.startswith("144 links to folders read already left out") for line in said)


def test_folders_without_end(tmp_path: Path) -> None:
    deep = tmp_path / "in"
    put(deep, {"/".join("a" * 120) + "/1.png": png()})
    refused(deep, tmp_path, "more than 100 folders deep")
    refused(zipped(tmp_path / "a.zip", {"a/" * 2000 + "1.png": png()}), tmp_path, "in 2,000 folders")
    refused(tarred(tmp_path / "a.tar", {"a" * 5000: b""}), tmp_path, "name of 5,000 characters")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_source_that_is_a_pipe(tmp_path: Path) -> None:
    for name in ("a.zip", "a.tar", "a.tar.gz"):
        os.mkfifo(tmp_path / name)
        refused(tmp_path / name, tmp_path, "pipe or device")
    put(tmp_path / "shards", {"a/1.txt": b""})
    (tmp_path / "shards" / "gone.tar").symlink_to(tmp_path / "nowhere")
    refused(tmp_path / "shards", tmp_path, "has no image")


def test_archives_of_kinds_that_are_not_read(tmp_path: Path) -> None:
    for name, start in (
        ("a.7z", b"7z\xbc\xaf\x27\x1c"),
        ("a.rar", b"Rar!\x1a\7"),
        ("a.tar.zst", b"\x28\xb5\x2f\xfd"),
    ):
        for file in (tmp_path / name, tmp_path / f"{name}.tar", tmp_path / f"{name}.zip"):
            file.write_bytes(start + bytes(50))
            refused(file, tmp_path, "of a kind that is not read; .*unpack")
    refused(
        put(tmp_path / "in", {"photos.7z": b"x", "README.md": b"x"}), tmp_path, r"photos\.7z, an archive of a kind"
    )


def test_archives_in_archives_are_named(tmp_path: Path) -> None:
    inner = zipped(tmp_path / "inner.zip", {"a/1.png": png(), "b/1.png": png()}).read_bytes()
    files = {"train.zip": inner, "test.zip": inner, "sampleSubmission.csv": b"id,label\n"}
    for source in (zipped(tmp_path / "a.zip", files), tarred(tmp_path / "a.tar.gz", files, "w:gz")):
        refused(source, tmp_path, r"holds 2 archives and no images: test\.zip, train\.zip; .*unpack it")
    refused(put(tmp_path / "in", files), tmp_path, r"for example imagemint pack .*test\.zip")
    more = files | {"a/1.png": png(), "b/1.png": png()}
    assert pack(zipped(tmp_path / "more.zip", more), tmp_path / "p").classes == ["a", "b"]


def test_members_that_overlap_or_share_a_name(tmp_path: Path, said: list[str]) -> None:
    path = zipped(tmp_path / "a.zip", {"a/1.png": png(1), "b/1.png": png(2)}, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    second = data.rindex(b"PK\x01\x02")
    data[second + 42 : second + 46] = bytes(4)  # where its local header is said to be
    (tmp_path / "overlap.zip").write_bytes(data)
    refused(tmp_path / "overlap.zip", tmp_path, "members that overlap: 'a/1.png' and 'b/1.png'")
    old_zip(tmp_path / "twice.zip", {b"a/1.png": png(1), b"a\\1.png": png(2), b"b/1.png": png(3)})
    assert values(pack(tmp_path / "twice.zip", tmp_path / "p")) == [2, 3]
    assert any("one name, the last is taken: a/1.png" in line for line in said)


def test_a_member_that_claims_what_is_not_there(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {f"a/{k}.png": png(k) for k in range(200)}, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    first = data.index(b"PK\x01\x02")
    data[first + 20 : first + 24] = struct.pack("<I", 0xFFFFFFFE)  # its bytes in the archive
    path.write_bytes(data)
    made = pack(path, tmp_path / "p")
    assert [(bad.name, bad.problem) for bad in made.manifest.unreadable] == [("a/0.png", "larger than 256 MiB")]


def test_members_packed_with_bzip2_are_read(tmp_path: Path) -> None:
    made = pack(zipped(tmp_path / "a.zip", ODD, zipfile.ZIP_BZIP2), tmp_path / "p")
    assert made.fingerprint == pack(put(tmp_path / "in", ODD), tmp_path / "q").fingerprint


def test_nothing_of_a_compressed_tar_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    pack(tarred(tmp_path / "a.tar.gz", ODD, "w:gz"), tmp_path / "p")
    refused(tarred(tmp_path / "b.tar.gz", {}, "w:gz"), tmp_path, "empty")
    assert not list((tmp_path / "temporary").iterdir())
