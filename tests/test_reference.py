"""Importing the reference packages: what is said where they are absent or do not load. Needs none of them."""

import re
import sys
import tomllib
import types
from pathlib import Path

import pytest

from magnet_eval import reference
from magnet_eval.lookup import UserError


def test_stand_ins_lend_names_and_take_them_back():
    absent = "torchaudio" not in sys.modules
    with reference.stand_ins() as lent:
        if "torchaudio" in lent:
            import torchaudio

            with pytest.raises(RuntimeError, match="torchaudio.transforms.MelSpectrogram is needed"):
                torchaudio.transforms.MelSpectrogram(16_000)
    assert absent == ("torchaudio" not in sys.modules)


def test_stand_ins_step_aside(monkeypatch):
    from transformers import utils

    monkeypatch.setattr(utils, "is_torchvision_available", lambda: True)
    monkeypatch.setattr(utils, "is_torchaudio_available", lambda: True)
    with reference.stand_ins() as lent:
        assert lent == []


def test_the_hub_is_not_asked_and_its_setting_returns():
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    with reference.offline():
        assert constants.is_offline_mode()
    assert before == constants.HF_HUB_OFFLINE


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import there_is_no_such_module", "encodec is not installed .there_is_no_such_module is missing.. Say make"),
        ("raise OSError('libc10_cuda.so: cannot open shared object file')", "encodec does not load: libc10_cuda.so"),
        ("raise RuntimeError('operator torchvision::nms does not exist')", "pip uninstall torchvision torchaudio"),
    ],
)
def test_a_package_that_does_not_import_is_one_line(source, message, tmp_path, monkeypatch):
    (tmp_path / "encodec.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "encodec", raising=False)
    with pytest.raises(UserError, match=message) as caught:
        reference.load("encodec")
    assert "\n" not in str(caught.value)


def test_a_package_is_imported_once(monkeypatch):
    monkeypatch.setitem(sys.modules, "encodec", types.ModuleType("encodec"))
    assert reference.load("encodec") is sys.modules["encodec"]


def test_make_reference_installs_the_versions_of_the_extra():
    root = Path(__file__).parents[1]
    extra = tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"]["reference"]
    assert sorted(re.findall(r"\S+==\S+", (root / "Makefile").read_text())) == sorted(extra)
    assert {pin.split("==")[0] for pin in extra} == set(reference.PACKAGES.values())
