"""Converts the MTT_musicnn weights of the musicnn 0.1.0 package from TensorFlow's format, without TensorFlow.

    pip download --no-deps musicnn==0.1.0
    python -m magnet_eval.training.musicnn_weights musicnn-0.1.0-py3-none-any.whl models/tiny/musicnn

A TensorFlow checkpoint is an index, a LevelDB table that maps names to (shape, offset, size), beside the raw values.
"""

import hashlib
import logging
import math
import struct
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

log = logging.getLogger(__name__)
MODEL = "musicnn/MTT_musicnn/"
INDEX, DATA = MODEL + ".index", MODEL + ".data-00000-of-00001"
TABLE_MAGIC = bytes.fromhex("57fb808b247547db")
FLOAT32 = 1  # TensorFlow's number of the type


def files_of(source: Path) -> tuple[bytes, bytes]:
    """Index and data of a wheel, or of a folder that a wheel was installed into (the one that holds ``musicnn/``)."""
    if source.is_dir():
        return (source / INDEX).read_bytes(), (source / DATA).read_bytes()
    with zipfile.ZipFile(source) as wheel:
        return wheel.read(INDEX), wheel.read(DATA)


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    """A base-128 number and the position behind it."""
    value = shift = 0
    while True:
        byte = raw[at]
        value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return value, at


def _block(index: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of one table block; each key is stored as what differs from the key before."""
    if index[offset + size] != 0:
        raise ValueError("the checkpoint's index is compressed, which this reader does not support")
    raw = index[offset : offset + size]
    end = size - 4 - 4 * struct.unpack("<I", raw[-4:])[0]  # the restart points behind the entries are not needed
    at, key = 0, b""
    while at < end:
        shared, at = _varint(raw, at)
        new, at = _varint(raw, at)
        length, at = _varint(raw, at)
        key, at = key[:shared] + raw[at : at + new], at + new
        yield key, raw[at : at + length]
        at += length


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Fields of a protocol-buffer message: number and value."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield number, value
        elif kind == 2:
            length, at = _varint(message, at)
            yield number, message[at : at + length]
            at += length
        elif kind == 5:  # four bytes: the checksum
            at += 4
        else:
            raise ValueError(f"unexpected field kind {kind} in the checkpoint's index")


def _shape(message: bytes) -> tuple[int, ...]:
    dimensions = [value for number, value in _fields(message) if number == 2]
    return tuple(next(value for number, value in _fields(d) if number == 1) for d in dimensions)


def read_checkpoint(index: bytes, data: bytes) -> dict[str, np.ndarray]:
    """Every float32 variable of a TensorFlow checkpoint by name. Raises ValueError if it is not in that format."""
    if index[-8:] != TABLE_MAGIC:
        raise ValueError("not the index of a TensorFlow checkpoint")
    footer = index[-48:]
    _, at = _varint(footer, 0)  # the block of filters is not needed
    _, at = _varint(footer, at)
    offset, at = _varint(footer, at)
    size, at = _varint(footer, at)
    variables = {}
    for _, handle in _block(index, offset, size):
        start, at = _varint(handle, 0)
        for key, value in _block(index, start, _varint(handle, at)[0]):
            entry = dict(_fields(value))
            if key and entry.get(1) == FLOAT32:  # the empty key is the header
                shape, begin = _shape(entry.get(2, b"")), entry.get(4, 0)
                array = np.frombuffer(data, "<f4", math.prod(shape), begin)
                variables[key.decode()] = array.reshape(shape)
    return variables


def _numbered(name: str, number: int) -> str:
    return f"{name}_{number}" if number else name


def convert(variables: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """TensorFlow's variables, numbered in the order of the graph, under the names and layouts of ``Musicnn``."""
    state = {}

    def weights(kind: str, number: int, target: str, axes: tuple[int, ...]) -> None:
        source = _numbered(kind, number)
        kernel = variables[f"{source}/kernel"].transpose(axes)
        state[f"{target}.weight"] = kernel[..., 0] if target.startswith("middle") else kernel
        state[f"{target}.bias"] = variables[f"{source}/bias"]

    def norm(number: int, target: str) -> None:
        source = _numbered("batch_normalization", number)
        names = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
        for old, new in names.items():
            state[f"{target}.{new}"] = variables[f"{source}/{old}"]
        state[f"{target}.num_batches_tracked"] = np.array(0, dtype=np.int64)

    norm(0, "norm")
    for i in range(5):
        weights("conv2d", i, f"front.{i}.conv", (3, 2, 0, 1))  # [time, mel, in, out] -> [out, in, time, mel]
        norm(i + 1, f"front.{i}.norm")
    for i in range(3):
        weights("conv2d", i + 5, f"middle.{i}.conv", (3, 1, 0, 2))  # [time, features, 1, out] -> [out, features, time]
        norm(i + 6, f"middle.{i}.norm")
    norm(9, "pool_norm")
    weights("dense", 0, "dense", (1, 0))
    norm(10, "dense_norm")
    weights("dense", 1, "output", (1, 0))
    return {name: np.ascontiguousarray(array) for name, array in state.items()}


def main(source: Path, folder: Path) -> None:
    """Writes ``folder``/model.safetensors from the wheel or installed package at ``source``."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "model.safetensors"
    save_file(convert(read_checkpoint(*files_of(source))), target)
    log.info("%s: sha256 %s", target, hashlib.sha256(target.read_bytes()).hexdigest())


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
