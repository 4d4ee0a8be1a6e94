"""Each of forty mistakes ends in one line that names it, exit code 2, and loses nothing."""

import shutil

import faults_world
import pytest
from bad_inputs import BAD_INPUTS

from magnet_eval.cli import main


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A world in which the clips are finished."""
    home = tmp_path_factory.mktemp("finished")
    faults_world.write(home, n=4)
    code, _, err = faults_world.call(home, "generate", "protocol=stub")
    assert code == 0, err
    return home


@pytest.mark.parametrize("bad", BAD_INPUTS, ids=lambda bad: bad.name)
def test_a_mistake_is_one_line_and_loses_nothing(finished, tmp_path, monkeypatch, capsys, bad):
    home = tmp_path / "home"
    shutil.copytree(finished, home)
    monkeypatch.chdir(home)
    bad.spoil(home)
    before = faults_world.kept(home)
    assert main(bad.words.split(" ")) == 2
    shown = capsys.readouterr()
    (line,) = shown.err.splitlines()
    assert line.startswith("magnet-eval: ") and len(line) < 1000
    for text in bad.says:
        assert text in line
    assert shown.out == ""
    assert faults_world.kept(home) == before
    assert not (home / "harm").exists()


def test_there_are_forty():
    assert len({bad.name for bad in BAD_INPUTS}) == len(BAD_INPUTS) >= 40
