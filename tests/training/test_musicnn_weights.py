"""The reader of TensorFlow checkpoints, on a checkpoint written here by the format's rules."""

import struct

import numpy as np
import pytest

from magnet_eval.training import musicnn_weights


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def block(entries: list[tuple[bytes, bytes]]) -> bytes:
    """One uncompressed table block, keys shortened by what they share with the key before."""
    out, before = b"", b""
    for key, value in entries:
        shared = next(
            (i for i, (a, b) in enumerate(zip(before, key, strict=False)) if a != b), min(len(before), len(key))
        )
        out += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        before = key
    return out + struct.pack("<II", 0, 1)


def checkpoint(arrays: dict[str, np.ndarray]) -> tuple[bytes, bytes]:
    entries, data = [(b"", b"\x08\x01")], b""
    for name, array in sorted(arrays.items()):
        shape = b"".join(b"\x12" + varint(len(d)) + d for d in (b"\x08" + varint(n) for n in array.shape))
        entry = b"\x08\x01\x12" + varint(len(shape)) + shape + b"\x20" + varint(len(data)) + b"\x35abcd"
        entries.append((name.encode(), entry))
        data += array.astype("<f4").tobytes()
    first = block(entries)
    root = block([(b"z", varint(0) + varint(len(first)))])
    at = len(first) + 5  # type byte and checksum behind each block
    footer = varint(0) + varint(0) + varint(at) + varint(len(root))
    index = first + b"\0" * 5 + root + b"\0" * 5 + footer.ljust(40, b"\0") + musicnn_weights.TABLE_MAGIC
    return index, data


def test_reads_names_shapes_and_values():
    rng = np.random.default_rng(0)
    arrays = {"conv2d/bias": rng.random(300), "conv2d/kernel": rng.random((7, 3, 1, 2)), "step": rng.random(())}
    read = musicnn_weights.read_checkpoint(*checkpoint(arrays))
    assert set(read) == set(arrays)
    for name, array in arrays.items():
        assert read[name].shape == array.shape
        assert np.array_equal(read[name], array.astype(np.float32))


def test_refuses_other_files():
    with pytest.raises(ValueError, match="not the index"):
        musicnn_weights.read_checkpoint(b"something else" * 10, b"")
