"""The recipe: steps in order, each once, with a card; and what is missing or taken is said in one line."""

import json
import re

import pytest

from magnet_eval import cli
from magnet_eval.lookup import UserError
from magnet_eval.training import recipe, states
from magnet_eval.training.tasks import MUSIC, SOUNDS


@pytest.fixture
def steps(monkeypatch):
    """Two steps that note which task they are cooked for, in place of all."""
    done = []
    for name in ("data", "text"):
        monkeypatch.setitem(recipe.STEPS, name, lambda kitchen, minutes, name=name: done.append(name) or {"n": 1})
    monkeypatch.setattr(
        recipe, "TASKS", {"data": (MUSIC, "data"), "audio-data": (SOUNDS, "data"), "text": (MUSIC, "text")}
    )
    monkeypatch.setattr(recipe, "CARDS", {})
    return done


def test_all_steps_run_in_order_and_once(tmp_path, steps):
    cards = recipe.train("all", tmp_path / "work", tmp_path / "out")
    assert steps == ["data", "data", "text"]
    folder = tmp_path / "work"
    assert cards == [folder / "figures/data.json", folder / "audio/figures/data.json", folder / "figures/text.json"]
    assert json.loads(cards[0].read_text())["n"] == 1
    assert recipe.train("all", tmp_path / "work", tmp_path / "out") == []
    cards[1].unlink()
    assert recipe.train("all", tmp_path / "work", tmp_path / "out") == [cards[1]]
    assert recipe.train("text", tmp_path / "work", tmp_path / "out") == [cards[2]]  # by name it runs again


def test_a_step_that_another_process_is_at_is_refused(tmp_path, steps):
    with states.held(tmp_path / "states" / "text"), pytest.raises(UserError, match="another process is at step text"):
        recipe.train("text", tmp_path, tmp_path / "out")
    assert steps == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["what=magnet"], r"magnet needs .*train\.pt; type: magnet-eval train what=all"),
        (["what=attributes"], r"attributes needs .*codec; type: magnet-eval train what=all"),
        (["what=magnt"], r"unknown training step 'magnt'. Did you mean magnet"),
        (["what=data", "work=FILE"], "is a file; work= and out= are folders"),
        (["what=text", "seed=-1"], "seed"),
        (["protocol=ablation-span", "steps=7"], r"steps= does not go with protocol=.*protocol.training.steps=STEPS"),
        (["protocol=ablation-span", "seed=1"], r"seed= does not go with protocol=.*protocol.training.seeds"),
        (["protocol=ablation-span", "what=codec"], r"what= does not go with protocol="),
        (["protocol=ablation-span", "protocol.training.seeds=[-1]"], "training.seeds"),
        (["protocol=ablation-span", "protocol.training.width=33"], "training.width"),
    ],
)
def test_bad_input_is_one_line(tmp_path, capsys, words, said):
    (tmp_path / "file").touch()
    words = [word.replace("FILE", str(tmp_path / "file")) for word in words]
    if not any(word.startswith("work=") for word in words):
        words.append(f"work={tmp_path}/work")
    assert cli.main(["train", *words]) == 2
    error = capsys.readouterr().err.strip()
    assert "Traceback" not in error and len(error.splitlines()) == 1
    assert re.search(said, error), error


def test_rendering_without_its_programs_says_what_to_install(tmp_path, capsys, monkeypatch):
    from magnet_eval.training import render

    monkeypatch.setattr(render.shutil, "which", lambda name: None)
    assert cli.main(["train", "what=data", f"work={tmp_path}"]) == 2
    assert "apt-get install fluidsynth fluid-soundfont-gm" in capsys.readouterr().err
