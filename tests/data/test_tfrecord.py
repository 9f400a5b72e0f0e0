"""TFRecord: known bytes, an independent reader, an independent checksum, and every damage noticed."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagemint.data import tfrecord
from imagemint.errors import SourceError


def _write(path: Path, *records: bytes) -> Path:
    with path.open("wb") as file:
        tfrecord.write(file, records)
    return path


def test_checksums_of_the_standard() -> None:
    # RFC 3720 B.4: 32 zeros, 32 ones, 0..31, 31..0; and the check value of the CRC catalogues
    vectors = [bytes(32), b"\xff" * 32, bytes(range(32)), bytes(range(31, -1, -1)), b"123456789"]
    expected = [0x8A9136AA, 0x62A8AB43, 0x46DD794E, 0x113FDB5C, 0xE3069283]
    assert tfrecord.crc32c(vectors).tolist() == expected


def test_one_long_record_does_not_make_the_others_long(monkeypatch: pytest.MonkeyPatch) -> None:
    groups: list[list[int]] = []
    together = tfrecord._crc32c_together

    def noted(records: Sequence[bytes]) -> np.ndarray:
        groups.append([len(record) for record in records])
        return together(records)

    monkeypatch.setattr(tfrecord, "_crc32c_together", noted)
    monkeypatch.setattr(tfrecord, "_PADDED_BYTES", 1000)
    records = [bytes([k]) * (9000 if k == 5 else 10 + k) for k in range(90)]
    assert tfrecord.crc32c(records).tolist() == [_plain_crc32c(record) for record in records]
    assert sum(map(len, groups)) == 90
    assert all(len(group) * max(group) <= 1000 for group in groups if len(group) > 1)
    assert [9000] in groups


def _plain_crc32c(data: bytes) -> int:
    """Bit by bit, as the definition says."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


@settings(deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=6))
def test_checksums_together_are_those_of_each_alone(records: list[bytes]) -> None:
    assert tfrecord.crc32c(records).tolist() == [_plain_crc32c(record) for record in records]


def test_an_example_is_these_bytes() -> None:
    # decoded by hand: Example{1: Features{1: entry{1: "image_raw", 2: Feature{1: BytesList{1: ab}}},
    #                                      1: entry{1: "label", 2: Feature{3: Int64List{1: [300]}}}}}
    image = b"\x0a\x13" + b"\x0a\x09image_raw" + b"\x12\x06\x0a\x04\x0a\x02ab"
    label = b"\x0a\x0f" + b"\x0a\x05label" + b"\x12\x06\x1a\x04\x0a\x02\xac\x02"
    assert tfrecord.example({"label": 300, "image_raw": b"ab"}) == b"\x0a\x26" + image + label


def test_a_file_is_length_crc_record_crc(tmp_path: Path) -> None:
    data = _write(tmp_path / "a.tfrecord", b"123456789").read_bytes()
    crc = 0xE3069283
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    assert data[:8] == struct.pack("<Q", 9)
    assert data[12:] == b"123456789" + struct.pack("<I", masked)


@settings(deadline=None)
@given(
    st.dictionaries(
        st.text(min_size=1, max_size=9), st.binary(max_size=99) | st.integers(-(2**63), 2**63 - 1), min_size=1
    )
)
def test_the_official_schema_reads_the_same(features: dict[str, bytes | int]) -> None:
    pytest.importorskip("tfrecord", reason="the tfrecord package (extra hub) is not installed")
    from tfrecord import example_pb2

    message = example_pb2.Example()
    message.ParseFromString(tfrecord.example(features))
    found = {
        name: (list(feature.bytes_list.value), list(feature.int64_list.value))
        for name, feature in message.features.feature.items()
    }
    expected = {k: ([v], []) if isinstance(v, bytes) else ([], [v]) for k, v in features.items()}
    assert found == expected


def test_what_is_written_is_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tfrecord, "_BATCH_BYTES", 1000)
    examples: list[dict[str, tfrecord.Value]] = [
        {"image_raw": bytes([k]) * (k * 7), "label": k - 5} for k in range(40)
    ]
    path = _write(tmp_path / "a.tfrecord", *map(tfrecord.example, examples))
    assert list(tfrecord.read(path)) == [{key: [value] for key, value in each.items()} for each in examples]


def test_an_unpacked_integer_list_is_read_too(tmp_path: Path) -> None:
    # writers of proto2 put repeated integers one by one: Int64List{1: varint 300}
    label = b"\x0a\x0e" + b"\x0a\x05label" + b"\x12\x05\x1a\x03\x08\xac\x02"
    path = _write(tmp_path / "a.tfrecord", b"\x0a\x10" + label)
    assert list(tfrecord.read(path)) == [{"label": [300]}]


def test_a_number_of_more_than_64_bits_is_damage(tmp_path: Path) -> None:
    label = b"\x0a\x17" + b"\x0a\x05label" + b"\x12\x0e\x1a\x0c\x0a\x0a" + b"\xff" * 9 + b"\x7f"
    long = b"\x0a\x18" + b"\x0a\x05label" + b"\x12\x0f\x1a\x0d\x0a\x0b" + b"\xff" * 10 + b"\x01"
    path = _write(tmp_path / "a.tfrecord", b"\x0a\x19" + label)
    assert list(tfrecord.read(path)) == [{"label": [-1]}]  # ten bytes, as writers of negative numbers use them
    with pytest.raises(SourceError, match="more than 64 bits"):
        list(tfrecord.read(_write(tmp_path / "b.tfrecord", b"\x0a\x1a" + long)))


def test_records_that_hold_nothing(tmp_path: Path) -> None:
    assert list(tfrecord.read(_write(tmp_path / "a.tfrecord", b"", b""))) == [{}, {}]


def test_any_damaged_byte_is_noticed(tmp_path: Path) -> None:
    records = [tfrecord.example({"image_raw": bytes(range(30)), "label": k}) for k in range(2)]
    whole = _write(tmp_path / "a.tfrecord", *records).read_bytes()
    path = tmp_path / "b.tfrecord"
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        with pytest.raises(SourceError, match=r"record [01] of .*b\.tfrecord"):
            list(tfrecord.read(path))
    for length in range(1, len(whole)):
        if length != len(whole) // 2:  # one whole record is a whole file
            path.write_bytes(whole[:length])
            with pytest.raises(SourceError, match="the file ends inside it"):
                list(tfrecord.read(path))


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_a_record_of_anything_else_is_one_clear_error(record: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = _write(Path(folder) / "a.tfrecord", record)
        try:
            values = list(tfrecord.read(path))
        except SourceError:
            return
        assert len(values) == 1
