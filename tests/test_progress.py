"""Progress goes to stderr, and only to a terminal."""

import io
import sys

from magnet_eval.progress import bar, rate_text, silent


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_no_terminal_no_bar(capsys):
    with bar() as progress:
        progress("clips", 1, 2)
        assert progress is silent
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_bar_on_stderr(monkeypatch, capsys):
    shown = Terminal()
    monkeypatch.setattr(sys, "stderr", shown)
    monkeypatch.setenv("TERM", "xterm")
    with bar() as progress:
        progress("clips", 0, 8)
        progress("clips", 8, 8)
        progress("embed", 1, 3)
    assert "clips" in shown.getvalue()
    assert "8/8" in shown.getvalue()
    assert "1/3" in shown.getvalue()
    assert capsys.readouterr().out == ""


def test_a_slow_step_is_told_by_its_seconds():
    assert [rate_text(speed) for speed in (None, 0.0, 12.34, 1.0, 0.04)] == ["", "", "12.3/s", "1.0/s", "25.0 s each"]
