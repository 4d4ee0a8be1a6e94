"""Presets: the published settings value by value, what overrides them, and what a report says of it."""

import dataclasses

import pytest

from magnet_eval import compose, config
from magnet_eval.decoding import AutoregressiveDecoding, MaskedDecoding
from magnet_eval.lookup import UserError
from magnet_eval.model import Model
from magnet_eval.options import GenerateOptions
from magnet_eval.presets import PRESETS, preset
from magnet_eval.records import Clip
from magnet_eval.report.provenance import decoding

MUSIC = (3.0, 0.9, 10.0)  # temperature, top-p, highest guidance
SOUND = (3.5, 0.8, 20.0)
SHORT, LONG = [20, 10, 10, 10], [60, 10, 10, 10]
TABLE = [  # preset, task, seconds: steps, the above, arrangement, schedule
    ("api", "music", 10, SHORT, MUSIC, "nonoverlap", "code"),
    ("api", "music", 30, SHORT, MUSIC, "nonoverlap", "code"),
    ("api", "sound", 10, SHORT, MUSIC, "nonoverlap", "code"),
    ("official-eval", "music", 10, SHORT, MUSIC, "nonoverlap", "code"),
    ("official-eval", "music", 30, LONG, MUSIC, "nonoverlap", "code"),
    ("official-eval", "sound", 10, SHORT, SOUND, "nonoverlap", "code"),
    ("notebook", "music", 10, SHORT, MUSIC, "stride1", "code"),
    ("notebook", "music", 30, LONG, MUSIC, "stride1", "code"),
    ("notebook", "sound", 10, SHORT, SOUND, "stride1", "code"),
    ("paper", "music", 10, SHORT, MUSIC, "nonoverlap", "paper"),
    ("paper", "music", 30, LONG, MUSIC, "nonoverlap", "paper"),
]


def masked(name: str = "", task: str = "music", seconds: float = 10.0, **more) -> Model:
    return Model("masked", preset=name, task=task, seconds=seconds, **more)


@pytest.mark.parametrize(("name", "task", "seconds", "steps", "tuned", "arrangement", "schedule"), TABLE)
def test_magnets_published_settings(name, task, seconds, steps, tuned, arrangement, schedule):
    temperature, top_p, cfg_max = tuned
    assert masked(name, task, seconds).settings() == MaskedDecoding(
        steps=steps, temperature=temperature, anneal_temperature=True, top_p=top_p, top_k=0, cfg_max=cfg_max,
        cfg_min=1.0, span_arrangement=arrangement, span_scoring="max", schedule=schedule, greedy=False,
        sampling="per_clip", stride_seconds=None,
    )  # fmt: skip


@pytest.mark.parametrize(("name", "two_steps"), [("api", False), ("official-eval", True), ("notebook", False)])
@pytest.mark.parametrize("task", ["music", "sound", ""])
def test_autoregressive_published_settings(name, two_steps, task):
    assert Model("autoregressive", preset=name, task=task).settings() == AutoregressiveDecoding(
        temperature=1.0, top_k=250, top_p=0.0, cfg=3.0, two_step_cfg=two_steps
    )


@pytest.mark.parametrize("name", PRESETS)
def test_a_hybrid_has_both(name):
    both = Model("hybrid", preset=name, task="music", seconds=30.0, decoding={"prompt_seconds": 2.0}).settings()
    assert both.prompt_seconds == 2.0
    assert both.masked == masked(name, seconds=30.0).settings()
    first = "api" if name == "paper" else name
    assert both.autoregressive == Model("autoregressive", preset=first).settings()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"preset": "paper", "task": "sound", "seconds": 10.0},
            "confirmed for music only; for sound take official-eval",
        ),
        ({"family": "autoregressive", "preset": "paper"}, "has api, official-eval and notebook"),
        ({"family": "codec", "preset": "api"}, "family codec has no decoding settings, got 'api'"),
        ({"family": "transformers", "preset": "api"}, "family transformers has no presets, got preset 'api'"),
        ({"preset": "api"}, "set task: music .or sound. and seconds: 10"),
        ({"preset": "api", "task": "music"}, "set task: music .or sound. and seconds: 10"),
        ({"preset": "offical-eval", "task": "music", "seconds": 10.0}, "'offical-eval'. Did you mean official-eval"),
        ({"task": "speech"}, "unknown task 'speech'"),
        ({"padding": "referenze"}, "'referenze'. Did you mean reference"),
    ],
)
def test_where_there_is_none(values, message):
    with pytest.raises(UserError, match=message) as caught:
        Model(**{"family": "masked", **values})
    assert "\n" not in str(caught.value)


def test_a_preset_is_a_copy():
    """What somebody changes of one does not change the next."""
    preset("api", "masked", "music", 10.0)["steps"][0] = 99
    preset("api", "masked", "music", 10.0)["temperature"] = 99
    assert masked("api").settings().steps == SHORT and masked("api").settings().temperature == 3.0


def test_decoding_comes_over_the_preset():
    model = masked("official-eval", seconds=30.0, decoding={"top_p": 0.5, "steps": [5, 4, 3, 2]})
    expected = dataclasses.replace(masked("official-eval", seconds=30.0).settings(), top_p=0.5, steps=[5, 4, 3, 2])
    assert model.settings() == expected
    nested = Model(
        "hybrid",
        preset="official-eval",
        task="music",
        seconds=30.0,
        decoding={"autoregressive": {"two_step_cfg": False}},
    ).settings()
    assert nested.autoregressive == AutoregressiveDecoding() and nested.masked.steps == LONG


@pytest.fixture
def own_zoo(tmp_path, monkeypatch):
    (tmp_path / "models").mkdir()
    (tmp_path / "protocols").mkdir()
    (tmp_path / "models" / "mine.yaml").write_text(
        "family: masked\ncheckpoint: x\npreset: official-eval\ntask: sound\nseconds: 10\ndecoding: {top_p: 0.5}\n"
    )
    (tmp_path / "protocols" / "short.yaml").write_text(
        "version: 1\nsystems:\n  - mine\n  - {model: mine, label: notebook, set: {preset: notebook}}\n"
        "  - {model: mine, label: both, set: {preset: api, decoding.cfg_max: 2.0}}\n"
        "  - {model: mine, label: wrong, set: {preset: paper}}\n"
    )
    monkeypatch.chdir(tmp_path)


def chosen(*words: str) -> Model:
    return compose.compose(GenerateOptions, ["model=mine", "prompts=[a bell]", *words]).model


def test_the_command_line_replaces_the_whole_preset_and_keeps_what_the_model_says_itself(own_zoo):
    assert chosen() == config.load_model("mine")
    before, after = chosen().settings(), chosen("model.preset=notebook").settings()
    assert (before.span_arrangement, before.top_p, before.cfg_max) == ("nonoverlap", 0.5, 20.0)
    assert after == dataclasses.replace(before, span_arrangement="stride1")
    api = chosen("model.preset=api").settings()
    assert (api.temperature, api.cfg_max, api.top_p) == (3.0, 10.0, 0.5)
    assert chosen("model.preset=api", "model.decoding.temperature=2.0").settings().temperature == 2.0
    assert chosen("model.decoding.top_p=null").settings().top_p == 0.8  # as the preset says
    assert chosen("model.preset=''", "model.decoding.top_p=null").settings() == MaskedDecoding()
    with pytest.raises(UserError, match="for sound take official-eval"):
        chosen("model.preset=paper")
    with pytest.raises(UserError, match="Did you mean notebook"):
        chosen("model.preset=notebok")


def test_so_does_a_protocol(own_zoo):
    systems = {system.label: system for system in config.load_protocol("short").systems}
    plain, notebook, both = (config.resolve_system(systems[label]).settings() for label in ("mine", "notebook", "both"))
    assert notebook == dataclasses.replace(plain, span_arrangement="stride1")
    assert both == dataclasses.replace(plain, temperature=3.0, cfg_max=2.0)
    assert both.top_p == 0.5
    with pytest.raises(UserError, match="system 'wrong': preset 'paper' is confirmed for music only"):
        config.resolve_system(systems["wrong"])


def said(model: Model, *costs: tuple[int, int]) -> str:
    """What a report says of a system whose clips took these iterations and network evaluations."""
    clips = [
        Clip(str(i), "s", "x.wav", 32000, 1, i, "", "", iterations=iterations, network_evaluations=evaluations)
        for i, (iterations, evaluations) in enumerate(costs)
    ]
    return decoding({**dataclasses.asdict(model), "settings": model.settings_in_full()}, clips)


def test_a_report_says_which_settings_ran_and_what_they_cost():
    assert said(masked("official-eval"), (50, 96), (50, 96)) == (
        "preset official-eval; 50 iterations and 96 network evaluations a clip; text padding isolated"
    )
    changed = masked("official-eval", decoding={"top_p": 0.5}, padding="reference")
    assert said(changed, (50, 96), (100, 192)) == (
        "preset official-eval, but top_p 0.5; 50 to 100 iterations and 96 to 192 network evaluations a clip; "
        "text padding reference"
    )
    own = masked(decoding={"steps": [5, 4, 3, 2], "top_p": 0.5})
    assert said(own) == "settings of its own: steps [5, 4, 3, 2], top_p 0.5; text padding isolated"
    assert said(masked()) == "settings of its own; text padding isolated"
    hybrid = Model("hybrid", preset="api", task="music", seconds=10.0, decoding={"masked": {"top_k": 5}})
    assert said(hybrid) == "preset api, but masked.top_k 5; text padding isolated"
    assert said(Model("codec")) == ""


def test_every_published_model_runs_a_preset():
    published = [config.load_model(name) for name in config.list_models()]
    published = [
        m for m in published if m.checkpoint.startswith("facebook/") and m.family not in ("transformers", "audiocraft")
    ]
    assert len(published) >= 16
    assert all(model.preset and model.settings() for model in published)
    assert config.load_model("magnet-small-30secs").settings().steps == LONG
    assert config.load_model("audio-magnet-small").settings().cfg_max == 20.0
