"""TFRecord files of `tf.train.Example`, written and read without TensorFlow.

The `tfrecord` package of extra `hub` does the same, but importing it imports torch, which the data room never does,
and a format that the core offers should not need an extra. What is needed of the two formats is small:

    file     for each record: uint64 length, uint32 masked crc of the length, the record, uint32 masked crc of it
             (little-endian; https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details)
    Example  a protobuf message, {1: Features}; Features = {1: map of name -> Feature}, a map entry = {1: name,
             2: Feature}; Feature = {1: BytesList {1: bytes...}} or {3: Int64List {1: packed varints}}
             (tensorflow/core/example/feature.proto, example.proto)
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO

import numpy as np

from imagemint.errors import SourceError
from imagemint.files import Damaged, open_regular

Value = int | bytes

_POLYNOMIAL = 0x82F63B78  # CRC-32C (Castagnoli), reflected: RFC 3720, appendix B.4
_MASK_DELTA = 0xA282EAD8  # TFRecord's masking: a crc stored beside data that holds crcs
_DELIMITED, _VARINT = 2, 0  # protobuf wire types
_FIXED = {1: 8, 5: 4}  # wire types of so many bytes: floats that are not packed
_GZIP = b"\x1f\x8b"
_BATCH_BYTES = 4 << 20  # of records that are read and checked together
_PADDED_BYTES = 8 << 20  # of records that are filled up to the length of the longest of them
_RECORD_LIMIT = 256 << 20  # bytes of one record, as of one image file
_MOST_VALUES = 1 << 16  # of one feature that are read: a label is one value


def example(features: Mapping[str, Value]) -> bytes:
    """One serialised `tf.train.Example`: bytes become a BytesList of one, integers an Int64List of one.

    Names are sorted, so equal features give equal bytes.
    """
    entries = []
    for name, value in sorted(features.items()):
        kind, payload = (1, value) if isinstance(value, bytes) else (3, _varint(value))
        feature = _field(kind, _field(1, payload))
        entries.append(_field(1, _field(1, name.encode()) + _field(2, feature)))
    return _field(1, b"".join(entries))


def write(file: BinaryIO, records: Sequence[bytes]) -> None:
    """Append records to a TFRecord file. Fast when many of about equal length come at once (see `crc32c`)."""
    lengths = [struct.pack("<Q", len(record)) for record in records]
    columns = (lengths, _masked(crc32c(lengths)), records, _masked(crc32c(records)))
    file.writelines(part for row in zip(*columns, strict=True) for part in row)


def read(path: Path) -> Iterator[dict[str, list[Value]]]:
    """The Examples of a TFRecord file, in order, every checksum verified.

    Features of floats are left out, and whole numbers beyond the first 65,536 of a feature. Raises SourceError where
    the file is cut short, damaged, or holds something else.
    """
    number = 0
    try:
        for batch in _batches(path):
            heads, head_crcs, records, crcs = zip(*batch, strict=True)
            good = zip(_masked(crc32c(heads)), _masked(crc32c(records)), strict=True)
            for record, found, wanted in zip(records, zip(head_crcs, crcs, strict=True), good, strict=True):
                if found != wanted:
                    raise ValueError("it does not fit its checksum")
                yield _features(record)
                number += 1
    except Damaged as error:
        raise SourceError(f"{path} {error}", "a TFRecord file", "check the path") from None
    except (ValueError, IndexError) as error:  # every way to be damaged raises one of these two below
        wanted_words, remedy = "TFRecords of tf.train.Example", "fetch or export the file again"
        if number == 0 and _starts(path, _GZIP):
            remedy = "unpack it first (gunzip): it is compressed"
        raise SourceError(f"record {number} of {path}: {error}", wanted_words, remedy) from error


def _starts(path: Path, magic: bytes) -> bool:
    with open_regular(path) as file:
        return file.read(len(magic)) == magic


def _batches(path: Path) -> Iterator[list[tuple[bytes, bytes, bytes, bytes]]]:
    """Records as (length, its crc, record, its crc), unchecked, about `_BATCH_BYTES` of them at a time."""
    with open_regular(path) as file:
        left = os.fstat(file.fileno()).st_size
        while left > 0:
            batch, size = [], 0
            while left > 0 and size < _BATCH_BYTES:
                head, head_crc = file.read(8), file.read(4)
                length = int.from_bytes(head, "little")
                left -= 16 + length
                if length > _RECORD_LIMIT and left >= 0:
                    raise ValueError(f"it has {length:,} bytes, more than {_RECORD_LIMIT >> 20} MiB")
                if left < 0:  # asked before the record is read: a damaged length must not fill the memory
                    break
                batch.append((head, head_crc, file.read(length), file.read(4)))
                size += 16 + length
            if batch:
                yield batch
        if left < 0:
            raise ValueError("the file ends inside it")


def crc32c(records: Sequence[bytes]) -> np.ndarray:
    """CRC-32C of each record: uint32 `[len(records)]`.

    Records of about equal length go through the table together, one numpy step per byte position, because a loop
    over bytes in Python takes about 100 ns per byte. Two facts of the CRC make that simple: zeros in front change
    nothing once the initial value is folded into the first four bytes, so that records are padded to one length; and
    it is linear, so that a record is cut into about sqrt(length) chunks whose values are then joined. Padded records
    take at most 8 MiB, or what the longest takes alone.
    """
    found = np.empty(len(records), np.uint32)
    group: list[int] = []
    for k in sorted(range(len(records)), key=lambda k: len(records[k])):
        if len(records[k]) < 4:  # too short to fold the initial value into
            found[k] = _short_crc32c(records[k])
            continue
        if group and (len(group) + 1) * len(records[k]) > _PADDED_BYTES:
            found[group] = _crc32c_together([records[each] for each in group])
            group = []
        group.append(k)
    if group:
        found[group] = _crc32c_together([records[each] for each in group])
    return found


def _short_crc32c(record: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in record:
        crc = int(_TABLE[(crc ^ byte) & 255]) ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def _crc32c_together(records: Sequence[bytes]) -> np.ndarray:
    longest = max(map(len, records))
    chunk = max(1, round(longest**0.5))
    chunks = -(-longest // chunk)
    padded = np.zeros((len(records), chunks * chunk), np.uint8)
    for row, record in zip(padded, records, strict=True):
        row[len(row) - len(record) :] = np.frombuffer(record, np.uint8)
        row[len(row) - len(record) :][:4] ^= 0xFF  # the initial value 0xffffffff
    positions = np.ascontiguousarray(padded.reshape(len(records), chunks, chunk).transpose(2, 1, 0))
    parts = np.zeros((chunks, len(records)), np.uint32)
    for byte in positions:
        parts = _step(parts, byte)
    # the value of (a, b) is that of a, moved on by len(b) zero bytes, xor that of b; moving on is a table too
    move = np.arange(256, dtype=np.uint32) << np.array([[0], [8], [16], [24]], np.uint32)
    for _ in range(chunk):
        move = _step(move, np.uint8(0))
    crc = np.zeros(len(records), np.uint32)
    for part in parts:
        crc = move[0][crc & 255] ^ move[1][crc >> 8 & 255] ^ move[2][crc >> 16 & 255] ^ move[3][crc >> 24] ^ part
    return ~crc


def _step(crc: np.ndarray, byte: np.ndarray | np.uint8) -> np.ndarray:
    """The CRC of one more byte."""
    stepped: np.ndarray = _TABLE[(crc ^ byte) & 255] ^ (crc >> 8)
    return stepped


def _table() -> np.ndarray:
    crc: np.ndarray = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        crc = (crc >> 1) ^ np.where(crc & 1, np.uint32(_POLYNOMIAL), np.uint32(0))
    return crc


_TABLE = _table()


def _mask(crc: np.ndarray) -> np.ndarray:
    """TFRecord's masking: turned right by 15 bits, plus a constant."""
    masked: np.ndarray = (crc >> 15 | crc << 17) + np.uint32(_MASK_DELTA)
    return masked


def _masked(crc: np.ndarray) -> list[bytes]:
    return [each.tobytes() for each in _mask(crc).astype("<u4")]


def _varint(value: int) -> bytes:
    """Protobuf's base-128 integer; a negative int64 is its two's complement, ten bytes."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _field(number: int, payload: bytes) -> bytes:
    return _varint(number << 3 | _DELIMITED) + _varint(len(payload)) + payload


def _features(record: bytes) -> dict[str, list[Value]]:
    values: dict[str, list[Value]] = {}
    for entry in _inside(_inside([record], 1), 1):
        (name,), (feature,) = _inside([entry], 1), _inside([entry], 2)
        packed = chain.from_iterable(map(_varints, _inside(_inside([feature], 3), 1)))
        integers = map(_signed, islice(packed, _MOST_VALUES))
        found: list[Value] = [*_inside(_inside([feature], 1), 1), *integers]
        if found:
            values[name.decode()] = found
    return values


def _inside(messages: Sequence[bytes], number: int) -> list[bytes]:
    """The payloads of field `number` in each of the messages; a bare varint comes as its own bytes."""
    found = []
    for message in messages:
        at = 0
        while at < len(message):
            key, at = _read_varint(message, at)
            start = at
            if key & 7 == _VARINT:
                _, end = _read_varint(message, at)
            elif key & 7 in _FIXED:
                end = at + _FIXED[key & 7]
            elif key & 7 == _DELIMITED:
                length, start = _read_varint(message, at)
                end = start + length
            else:
                raise ValueError(f"wire type {key & 7} has no place in a tf.train.Example")
            if end > len(message):
                raise ValueError("a field reaches over the end of its message")
            if key >> 3 == number:
                found.append(message[start:end])
            at = end
    return found


def _varints(packed: bytes) -> Iterator[int]:
    at = 0
    while at < len(packed):
        value, at = _read_varint(packed, at)
        yield value


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        if shift > 63:
            raise ValueError("a number has more than 64 bits")
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def _signed(value: int) -> int:
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value
