"""Weight files that are not what they should be: each is one line that names the file, and nothing in it is run."""

import os
import pickle
import shutil
from pathlib import Path

import pytest
import torch

from magnet_eval.generators.checkpoints import read_pickled

DATA = Path(__file__).parents[1] / "data" / "pipeline"
LM, CODEC = "state_dict.bin", "compression_state_dict.bin"


@pytest.fixture
def folder(tmp_path) -> Path:
    """A copy of the reference's MAGNeT."""
    return Path(shutil.copytree(DATA / "magnet", tmp_path / "magnet"))


class Attack:
    """What unpickling it would run."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("part", [LM, CODEC])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_malicious_file_is_refused_and_runs_nothing(refusal, folder, tmp_path, part, zipped):
    marker = tmp_path / "marker"
    content = {**read_pickled(folder / part), "best_state": Attack(marker)}
    torch.save(content, folder / part, _use_new_zipfile_serialization=zipped)
    said = refusal(folder)
    assert f"{folder / part} is refused: it asks for posix.system" in said
    assert not marker.exists()
    with pytest.raises(pickle.UnpicklingError):
        torch.load(folder / part, weights_only=True)
    torch.load(folder / part, weights_only=False)  # it is a real one
    assert marker.exists()


def test_a_malicious_plain_pickle_runs_nothing(refusal, folder, tmp_path):
    marker = tmp_path / "marker"
    (folder / LM).write_bytes(pickle.dumps({"best_state": Attack(marker)}))
    assert f"{folder / LM} is damaged or of another kind" in refusal(folder)
    assert not marker.exists()


@pytest.mark.parametrize("part", ["codec", "text"])
def test_a_malicious_file_for_transformers_is_refused_too(refusal, zoo, tmp_path, part):
    copy = Path(shutil.copytree(zoo / part, tmp_path / part))
    marker = tmp_path / "marker"
    (copy / "model.safetensors").unlink()
    torch.save({"weight": Attack(marker)}, copy / "pytorch_model.bin")
    said = refusal(zoo / "lm", **{part: str(copy), **({"codec": str(zoo / "codec")} if part == "text" else {})})
    assert f"{copy} is refused: it asks for posix.system" in said
    assert not marker.exists()


BYTES = {  # what is in the file, and what is said of it
    "truncated": (lambda good: good[: len(good) // 2], "damaged"),
    "cut to its first bytes": (lambda good: good[:100], "damaged"),
    "one byte short": (lambda good: good[:-1], "damaged"),
    "empty": (lambda good: b"", "damaged or of another kind (EOFError; 0 bytes)"),
    "garbage": (lambda good: bytes(range(256)) * 30, "damaged"),
    "a web page": (lambda good: b"<!DOCTYPE html><html><body>401 Unauthorized</body></html>", "no file of torch's"),
    "git-lfs's note": (
        lambda good: b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 839113\n",
        "is only git-lfs's note of a file. Run git lfs pull there",
    ),
}


@pytest.mark.parametrize("part", [LM, CODEC])
@pytest.mark.parametrize("name", BYTES)
def test_a_damaged_file_is_named(refusal, folder, recwarn, part, name):
    damage, words = BYTES[name]
    path = folder / part
    path.write_bytes(damage(path.read_bytes()))
    said = refusal(folder)
    assert str(path) in said and words in said
    assert not recwarn.list
