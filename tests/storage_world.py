"""A small world for tests of storage: two fake models, a protocol over them with one metric, real clips."""

import json

import pipeline_fakes as fakes

from magnet_eval import audio, config
from magnet_eval.metrics import METRICS, Metric
from magnet_eval.metrics.alignment import cosine_score
from magnet_eval.records import Prompt

SECONDS = 0.25
TEXTS = [f"melody number {i}" for i in range(6)]
METRIC = Metric(
    name="fake_pair", label="Pair", fn=cosine_score, needs="reference_pairs", better="higher", best=1.0,
    embedder="pipeline_fakes:Ear", preset="v1", paper="", description="",
)  # fmt: skip


def make_world(home, monkeypatch):
    """models/, protocols/fake.yaml and real/ in the folder ``home``, which becomes the working directory."""
    monkeypatch.chdir(home)
    monkeypatch.setitem(METRICS, METRIC.name, METRIC)
    for name in ("models", "protocols", "real"):
        (home / name).mkdir()
    for name, noise in (("good", 0.02), ("noisy", 0.3)):
        model = {"family": "pipeline_fakes:Chords", "decoding": {"noise": noise}}
        (home / "models" / f"{name}.yaml").write_text(json.dumps(model))
    maker = fakes.Chords(config.Model(family="pipeline_fakes:Chords"))
    for i, text in enumerate(TEXTS):
        audio.write(home / "real" / f"p{i}.wav", maker.one(Prompt(f"p{i}", text, SECONDS), 1000 + i), fakes.RATE)
    rows = [json.dumps({"id": f"p{i}", "text": text}) for i, text in enumerate(TEXTS)]
    (home / "real" / "captions.jsonl").write_text("\n".join(rows))
    protocol = {
        "version": 1, "systems": ["good", "noisy"], "metrics": {METRIC.name: {}},
        "prompts": {"source": "folder", "path": "real", "seconds": SECONDS},
        "reference": {"source": "folder", "path": "real"}, "generation": {"batch": 2, "device": "cpu"},
    }  # fmt: skip
    (home / "protocols" / "fake.yaml").write_text(json.dumps(protocol))
    fakes.CALLS.clear()
    return fakes.CALLS
