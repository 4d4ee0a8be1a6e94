"""The family ``audiocraft``: against a stand-in with audiocraft's interface, and against the real one where it is.

The real one: bash tests/peer/environment.sh VENV, pytest into VENV, then VENV/bin/python -m pytest on this file.
"""

import importlib.util
import json
import shutil
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from magnet_eval import generators
from magnet_eval.generators.audiocraft import AudiocraftGenerator
from magnet_eval.lookup import UserError
from magnet_eval.model import Model
from magnet_eval.records import Prompt

DATA = Path(__file__).parents[1] / "data" / "pipeline"
RUNS = json.loads((DATA / "cases.json").read_text())["runs"]
TEXTS = ["slow waltz", "fast drums and bass, 140 bpm", "a calm piano piece"]
SECONDS, RATE, FRAME_RATE, CARD = 1.0, 3200, 50, 7


class LanguageModel(nn.Module):
    """Random logits; the text conditioner is where audiocraft has it."""

    def __init__(self) -> None:
        super().__init__()
        t5 = types.SimpleNamespace(config=types.SimpleNamespace(vocab_size=258))
        conditioner = types.SimpleNamespace(t5_tokenizer=range(258), t5=t5)
        self.condition_provider = types.SimpleNamespace(conditioners={"description": conditioner})

    def forward(self, rows: int, frames: int) -> torch.Tensor:
        return torch.randn(rows, 4, frames, CARD)


class Codec(nn.Module):
    """A sample per token, drawn out to the hop."""

    def __init__(self) -> None:
        super().__init__()
        self.decoder = nn.Identity()

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        return self.decoder(codes.float().mean(1, keepdim=True).repeat_interleave(RATE // FRAME_RATE, 2) / CARD)


class Audiocraft:
    """What the three classes share. ``calls`` says how each call was made."""

    calls: list = []
    attention = ["torch"]

    def __init__(self, folder: str) -> None:
        self.folder, self.lm, self.compression_model = folder, LanguageModel(), Codec()
        self.sample_rate, self.frame_rate, self.max_duration = RATE, FRAME_RATE, 2.0

    @classmethod
    def get_pretrained(cls, name, device=None):
        return cls(name)

    def passes(self, texts, frames):
        return [2 * len(texts)] * sum(self.params["decoding_steps"])

    def generate(self, descriptions, progress=False, return_tokens=False):
        assert return_tokens
        assert self.duration <= self.max_duration, "Stride should be defined to generate beyond max_duration"
        frames = int(self.duration * FRAME_RATE)
        made = frames // 3 * 3 if type(self).__name__ == "MAGNeT" else frames
        logits = [self.lm(rows, made) for rows in self.passes(descriptions, frames)][-1]
        tokens = logits[: len(descriptions)].argmax(-1)
        self.calls.append((type(self).__name__, self.attention[0], list(descriptions), self.duration, self.params))
        return self.compression_model.decode(tokens), tokens


class MAGNeT(Audiocraft):
    def __init__(self, folder: str) -> None:
        super().__init__(folder)
        self.duration = self.max_duration
        self.set_generation_params()

    def set_generation_params(
        self, use_sampling=True, top_k=0, top_p=0.9, temperature=3.0, max_cfg_coef=10.0, min_cfg_coef=1.0,
        decoding_steps=(20, 10, 10, 10), span_arrangement="nonoverlap",
    ):  # fmt: skip
        self.params = {"top_p": top_p, "decoding_steps": [int(steps) for steps in decoding_steps]}


class MusicGen(Audiocraft):
    def __init__(self, folder: str) -> None:
        super().__init__(folder)
        self.set_generation_params(duration=15)

    def set_generation_params(
        self, use_sampling=True, top_k=250, top_p=0.0, temperature=1.0, duration=30.0, cfg_coef=3.0, two_step_cfg=False,
        extend_stride=18,
    ):  # fmt: skip
        self.duration, self.params = duration, {"top_k": top_k, "two_step_cfg": two_step_cfg}

    def passes(self, texts, frames):
        halves = [len(texts)] * 2 if self.params["two_step_cfg"] else [2 * len(texts)]
        return halves * (frames + 3)


class AudioGen(MusicGen):
    pass


@pytest.fixture
def fake(monkeypatch):
    """A stand-in for the package; returns the list of calls."""
    Audiocraft.calls, Audiocraft.attention = [], ["torch"]
    package, models, modules, transformer = (
        types.ModuleType(name)
        for name in ("audiocraft", "audiocraft.models", "audiocraft.modules", "audiocraft.modules.transformer")
    )
    models.MAGNeT, models.MusicGen, models.AudioGen = MAGNeT, MusicGen, AudioGen
    transformer.set_efficient_attention_backend = lambda name: Audiocraft.attention.__setitem__(0, name)
    package.models, package.modules, modules.transformer = models, modules, transformer
    for module in (package, models, modules, transformer):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return Audiocraft.calls


def prompts(seconds=SECONDS, texts=TEXTS) -> list[Prompt]:
    return [Prompt(id=f"p{i}", text=text, seconds=seconds) for i, text in enumerate(texts)]


def build(folder=DATA / "magnet", task="music", exact=True, dtype="float32", **decoding) -> AudiocraftGenerator:
    model = Model(family="audiocraft", checkpoint=str(folder), name="m", task=task, decoding=decoding)
    return generators.build(model, "cpu", dtype, exact=exact)


@pytest.fixture
def audiogen(tmp_path) -> Path:
    """Its codec lies elsewhere in the data, as it is the one of another model."""
    shutil.copy(DATA / "audiogen" / "state_dict.bin", tmp_path)
    shutil.copy(DATA / "sound" / "compression_state_dict.bin", tmp_path)
    return tmp_path


def test_magnet(fake):
    made = build(decoding_steps=[4, 3, 2, 1]).generate(prompts(), [1, 2, 3])
    assert [call[:4] for call in fake] == [("MAGNeT", "xformers", [text], 1.0) for text in TEXTS]
    assert fake[0][4] == {"top_p": 0.9, "decoding_steps": [4, 3, 2, 1]}
    assert [clip.shape for clip in made.audio] == [(1, 48 * 64)] * 3
    assert (made.frames_asked, made.frames_made) == (50, 48)
    assert (made.iterations, made.network_evaluations) == (10, 20)
    assert set(made.stage_seconds) == {"text", "tokens", "codec"}


@pytest.mark.parametrize(("settings", "evaluations"), [({}, 106), ({"two_step_cfg": True}, 106)], ids=str)
def test_musicgen(fake, settings, evaluations):
    made = build(DATA / "musicgen", top_k=20, **settings).generate(prompts(), [1, 2, 3])
    assert [call[:2] for call in fake] == [("MusicGen", "torch")] * 3
    assert fake[0][3] == 1.0 and fake[0][4]["top_k"] == 20
    assert (made.frames_made, made.iterations, made.network_evaluations) == (50, 53, evaluations)
    assert [clip.shape for clip in made.audio] == [(1, 3200)] * 3


def test_sound_is_audiogens(fake, audiogen):
    build(audiogen, task="sound").generate(prompts(), [1, 2, 3])
    build(DATA / "sound", task="sound").generate(prompts(), [1, 2, 3])
    assert [call[0] for call in fake] == ["AudioGen"] * 3 + ["MAGNeT"] * 3


def test_two_models_at_once_keep_their_attention(fake):
    first, second = build(), build(DATA / "musicgen")
    for generator in (first, second, first):
        generator.generate(prompts()[:1], [1])
    assert [call[1] for call in fake] == ["xformers", "torch", "xformers"]


def test_a_clip_depends_on_its_own_seed_alone(fake):
    generator, state = build(), torch.random.get_rng_state()
    together = generator.generate(prompts(), [1, 2, 3]).audio
    assert torch.equal(torch.random.get_rng_state(), state)
    (alone,) = generator.generate(prompts()[1:2], [2]).audio
    (other,) = generator.generate(prompts()[1:2], [3]).audio
    assert np.array_equal(together[1], alone)
    assert not np.array_equal(alone, other)


def test_without_exact_a_call_is_one_batch(fake):
    made = build(exact=False).generate(prompts(), [1, 2, 3])
    assert [call[2] for call in fake] == [TEXTS]
    assert len(made.audio) == 3 and (made.iterations, made.network_evaluations) == (50, 100)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"decoding_step": [1]}, r"decoding\.decoding_step is nothing that MAGNeT takes\. Did you mean decoding_steps"),
        ({"cfg_coef": 3.0}, r"decoding\.cfg_coef is nothing that MAGNeT takes"),
        ({"decoding_steps": ["many"]}, "audiocraft refuses to load"),
    ],
    ids=str,
)
def test_settings_that_it_does_not_take(fake, settings, words):
    with pytest.raises(UserError, match=words) as caught:
        build(**settings)
    assert "\n" not in str(caught.value)


def test_duration_follows_from_the_prompt(fake):
    with pytest.raises(UserError, match=r"decoding\.duration is nothing that MusicGen takes"):
        build(DATA / "musicgen", duration=3)
    with pytest.raises(UserError, match="refuses to run .* Stride should be defined"):
        build().generate(prompts(seconds=4.0), [1, 2, 3])


def test_the_number_format_is_audiocrafts(fake):
    with pytest.raises(UserError, match="audiocraft computes in float32 on cpu, got dtype bfloat16"):
        build(dtype="bfloat16")


def test_an_empty_tokenizer_is_refused(fake, monkeypatch):
    made = LanguageModel()
    made.condition_provider.conditioners["description"].t5_tokenizer = range(104)
    made.condition_provider.conditioners["description"].t5.config.vocab_size = 32128
    monkeypatch.setattr(sys.modules[__name__], "LanguageModel", lambda: made)
    with pytest.raises(UserError, match="has 104 of 32128 tokens only"):
        build()


class Malice:
    def __reduce__(self):
        return (eval, ("1 / 0",))


@pytest.mark.parametrize("name", ["state_dict.bin", "compression_state_dict.bin"])
def test_a_file_that_could_run_code_is_refused_before_audiocraft_sees_it(fake, tmp_path, name):
    copy = shutil.copytree(DATA / "magnet", tmp_path / "copy")
    torch.save({"best_state": Malice()}, copy / name)
    with pytest.raises(UserError, match=f"{name} is refused"):
        build(copy)


def test_what_is_not_there(fake, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="not here"):
        build(tmp_path / "nowhere")
    shutil.copy(DATA / "magnet" / "state_dict.bin", tmp_path)
    with pytest.raises(UserError, match=r"compression_state_dict\.bin"):
        build(tmp_path)
    monkeypatch.setitem(sys.modules, "audiocraft", None)
    monkeypatch.delitem(sys.modules, "audiocraft.models")
    with pytest.raises(UserError, match=r"needs audiocraft, .* pins torch 2\.1.*pip install --no-deps audiocraft"):
        build()


@pytest.fixture(scope="module")
def real():
    """Audiocraft itself, with what it takes from a hub taken from the data; gives our model of a run."""
    if importlib.util.find_spec("audiocraft") is None:
        pytest.skip("audiocraft is not installed")
    with pytest.MonkeyPatch.context() as patch:
        for folder in (Path(__file__).parent, Path(__file__).parents[1] / "peer"):
            patch.syspath_prepend(folder)
        import test_pipeline_parity
        import write_pipeline

        write_pipeline.patch(DATA)
        yield test_pipeline_parity.model


@pytest.mark.parametrize("name", RUNS)
def test_against_audiocraft_itself(real, audiogen, name):
    """What this family makes is what audiocraft made when the data was written, and what our own families make."""
    run, folder = RUNS[name], name.split("/")[0]
    settings = dict(run["params"])
    asked = prompts(settings.pop("duration", 1), run["texts"])
    place = audiogen if folder == "audiogen" else DATA / folder
    task = "sound" if folder in ("audiogen", "sound") else "music"
    made = build(place, task, exact=False, **settings).generate(asked, [run["seed"]] * len(asked))
    audio = np.stack(made.audio)
    stored = load_file(DATA / "vectors.safetensors")[f"{name}/wav"].numpy()
    assert audio.shape[-1] == run["samples"]
    assert np.abs(audio[..., ::97] - stored).max() < 1e-5
    own = generators.build(real(name), "cpu").generate(asked, [run["seed"]] * len(asked))
    assert np.abs(np.stack(own.audio) - audio).max() < 1e-4
    for what in ("frames_asked", "frames_made", "iterations", "network_evaluations"):
        assert getattr(own, what) == getattr(made, what)
