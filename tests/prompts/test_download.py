"""The optional download: what yt-dlp is asked for. Nothing here goes to a network."""

import shutil
import sys
import types
from pathlib import Path

import pytest

from magnet_eval import cli

DATA = Path(__file__).parents[1] / "data"
WORDS = ["data", "download", "dataset=musiccaps", f"csv={DATA / 'musiccaps.csv'}", "out=100% mine"]


class YoutubeDLError(Exception):
    """As in yt_dlp.utils."""


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """Every video that a fake yt_dlp was asked for, with its settings; invented005 is a private one."""
    calls = []

    class YoutubeDL:
        def __init__(self, settings):
            self.settings = settings

        def __enter__(self):
            return self

        def __exit__(self, *error):
            return None

        def download(self, addresses):
            calls.append((addresses, self.settings))
            if addresses[0].endswith("invented005"):
                Path(self.settings["outtmpl"]["default"] % {"ext": "webm.part"}).touch()
                raise YoutubeDLError("private\nvideo")
            Path(self.settings["outtmpl"]["default"] % {"ext": "wav"}).write_bytes(b"audio")

    module = types.ModuleType("yt_dlp")
    module.YoutubeDL = YoutubeDL
    module.utils = types.SimpleNamespace(
        YoutubeDLError=YoutubeDLError, download_range_func=lambda chapters, ranges: (chapters, ranges)
    )
    monkeypatch.setitem(sys.modules, "yt_dlp", module)
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.chdir(tmp_path)
    return calls


def test_each_clip_is_asked_for_as_an_address_and_a_range(asked, capsys, caplog):
    assert cli.main(WORDS) == 0
    assert "4 clips downloaded, 0 were there, 1 failed: 100% mine" in capsys.readouterr().out
    assert "no clip invented005: private video" in caplog.text
    addresses, settings = asked[0]
    assert addresses == ["https://www.youtube.com/watch?v=-invented01"]
    assert settings["download_ranges"] == (None, [(30.0, 40.0)])
    assert settings["postprocessors"] == [{"key": "FFmpegExtractAudio", "preferredcodec": "wav"}]
    there = sorted(path.name for path in Path("100% mine").iterdir())  # nothing half done, no folder of work
    assert there == ["-invented01.wav", "_invented02.wav", "invented-03.wav", "invented_04.wav"]


def test_what_is_there_is_not_asked_for_again(asked, capsys):
    for _ in range(2):
        assert cli.main([*WORDS, "split=balanced"]) == 0
    assert len(asked) == 2
    assert "0 clips downloaded, 2 were there, 0 failed" in capsys.readouterr().out


def test_a_missing_package_or_program_is_named_before_anything_is_made(asked, capsys, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert cli.main(WORDS) == 2
    assert "needs the program ffmpeg" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "yt_dlp", None)
    assert cli.main(WORDS) == 2
    assert "pip install 'magnet-eval[download]'" in capsys.readouterr().err
    assert not Path("100% mine").exists()
