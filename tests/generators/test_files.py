"""What a folder of audio says of its origin, from system.yaml to the manifest."""

import json

import pytest

from magnet_eval import config, pipeline
from magnet_eval.generators.files import UNSTATED, about, origin
from magnet_eval.lookup import UserError

FULL = """
name: Ours
description: trained on our own music
model: big
version: "1.2"
source: https://example.org/ours
licence: CC-BY-4.0
date: 2026-03-01
settings:
  steps: 50
  sampler: {name: euler, made: 2026-02-28}
"""


def test_all_that_can_be_said(tmp_path):
    (tmp_path / "system.yaml").write_text(FULL)
    said = about(tmp_path)
    assert said == {
        "name": "Ours", "description": "trained on our own music", "model": "big", "version": "1.2",
        "source": "https://example.org/ours", "licence": "CC-BY-4.0", "date": "2026-03-01",
        "settings": {"steps": 50, "sampler": {"name": "euler", "made": "2026-02-28"}},
    }  # fmt: skip
    assert json.loads(json.dumps(said)) == said
    assert origin(said).startswith("Ours big 1.2; trained on our own music; https://example.org/ours; 2026-03-01; st")
    assert origin(said).endswith("licence CC-BY-4.0")


def test_what_is_not_said_is_left_out(tmp_path):
    assert about(tmp_path) == {}
    assert origin({}) == UNSTATED == "origin not stated"
    (tmp_path / "system.yaml").write_text("name: Ours\n")
    assert about(tmp_path) == {"name": "Ours"}
    assert origin(about(tmp_path)) == "Ours"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nmae: Ours", r"unknown key 'nmae'\. Did you mean name"),
        ("version: 1.2", r"version must be text, got 1\.2"),
        ("settings: fast", "settings must be a mapping of names to values, got 'fast'"),
        ("- Ours", "must be a mapping"),
        ("", "must be a mapping"),
        ("name: [", "no YAML"),
        ("name: !!python/object/apply:os.getcwd []", "no YAML"),
        ("settings: &a {self: *a}", "no YAML"),
        ("settings: {[1, 2]: x}", "no YAML"),
        ("settings: {x: .nan}", "no YAML"),
    ],
)
def test_mistakes_are_one_line_that_names_the_file(tmp_path, text, words):
    (tmp_path / "system.yaml").write_text(text)
    with pytest.raises(UserError, match=words) as caught:
        about(tmp_path)
    assert str(caught.value).startswith(str(tmp_path / "system.yaml")) and "\n" not in str(caught.value)


def test_the_manifest_says_it(tmp_path):
    for name in ("said", "unsaid"):
        (tmp_path / name).mkdir()
    (tmp_path / "said" / "system.yaml").write_text("name: Ours\n")
    models = {
        name: config.Model(family="files", folder=str(tmp_path / name), name="files") for name in ("said", "unsaid")
    } | {"tiny": config.load_model("unigram-tiny")}
    protocol = config.Protocol(version=1, name="p", systems=[config.System("files")])
    systems = pipeline.description(protocol, models, dict.fromkeys(models, "f"), [])["systems"]
    assert systems["said"]["about"] == {"name": "Ours"}
    assert systems["unsaid"]["about"] == {}
    assert "about" not in systems["tiny"]
