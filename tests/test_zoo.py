"""The embedded zoo keeps its promise: every family is far better than no model, and the text has its say."""

import hashlib
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from magnet_eval import cli
from magnet_eval.config import Prompts, load_protocol
from magnet_eval.prompts import read_prompts
from magnet_eval.records import Score, read_jsonl

FAMILIES = ("magnet-tiny", "hybrid-magnet-tiny", "musicgen-tiny", "rescored-magnet-tiny", "two-model-hybrid-tiny")


def test_cards_name_the_weights_beside_them():
    zoo = Path(__file__).resolve().parents[1] / "models" / "tiny"
    weights = sorted(zoo.rglob("*.safetensors"))
    assert len(weights) >= 8
    for path in weights:
        card = (path.parent / "README.md").read_text(encoding="utf-8")
        assert hashlib.sha256(path.read_bytes()).hexdigest() in re.findall(r"[0-9a-f]{64}", card), path


def test_the_reference_set_is_complete():
    prompts = read_prompts(replace(load_protocol("quickstart").prompts, n=None))
    assert len(prompts) == 200
    assert all(Path(prompt.reference).is_file() and prompt.tags["style"] in prompt.text for prompt in prompts)


def test_the_reference_set_of_sounds_is_complete():
    prompts = read_prompts(Prompts(source="tiny-sounds"))
    assert len(prompts) == 60
    assert all(Path(prompt.reference).is_file() and prompt.tags["kind"] in prompt.text for prompt in prompts)


@pytest.mark.slow
def test_sounds_are_better_than_no_model(tmp_path):
    assert cli.main(["run", "protocol=quickstart-sounds", f"results={tmp_path}", f"reports={tmp_path}"]) == 0
    rows = read_jsonl(Score, tmp_path / "quickstart-sounds-v1" / "scores.jsonl")
    model, floor = (
        next(row for row in rows if (row.system, row.metric, row.versus) == (system, "fad_musicnn_tiny", ""))
        for system in ("audio-magnet-tiny", "audio-unigram-tiny")
    )
    assert model.high < floor.low


@pytest.fixture(scope="module")
def scores(tmp_path_factory) -> dict[tuple[str, str, str], Score]:
    """Rows of a run over all families, the unigram control and silence, by system, metric and ``versus``."""
    folder = tmp_path_factory.mktemp("zoo")
    (folder / "silence").mkdir()
    for prompt in read_prompts(load_protocol("quickstart").prompts):
        soundfile.write(folder / "silence" / f"{prompt.id}.wav", np.zeros(80_000, np.float32), 16_000)
    silence = f"{{model: files, label: silence, set: {{folder: {folder}/silence}}}}"
    systems = ", ".join([*FAMILIES, "unigram-tiny", silence])
    words = [f"systems=[{systems}]", f"results={folder}", f"reports={folder}", "protocol.speed=null"]
    assert cli.main(["run", "protocol=quickstart", *words]) == 0
    rows = read_jsonl(Score, folder / "quickstart-v1" / "scores.jsonl")
    return {(row.system, row.metric, row.versus): row for row in rows}


@pytest.mark.slow
@pytest.mark.parametrize("control", ["unigram-tiny", "silence"])
@pytest.mark.parametrize("family", FAMILIES)
def test_better_than_no_model(scores, family, control):
    model, other = (scores[system, "fad_musicnn_tiny", ""] for system in (family, control))
    assert model.n == other.n == 32
    assert model.high < other.low


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_right_captions_score_above_shuffled_ones(scores, family):
    difference = scores[family, "clap_tiny", "shuffled captions"]
    assert difference.value > 0
    assert difference.p_value < 0.01
