"""The generator families from YAML settings and weight files to audio."""

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file, save_file

from magnet_eval import generators
from magnet_eval.config import Model
from magnet_eval.generators.codec import Codec
from magnet_eval.generators.system import blocks
from magnet_eval.generators.text import TextEncoder
from magnet_eval.lookup import UserError
from magnet_eval.records import Prompt

CPU = torch.device("cpu")
STEPS = {"steps": [4, 2, 2, 2], "temperature": 1.0, "cfg_max": 3.0}
TEXTS = [
    "slow waltz", "fast drums and bass, 140 bpm", "a calm piano piece", "jig", "march for brass", "two flutes",
    "a text of more than thirty-two tokens", "organ",
]  # fmt: skip


def model(zoo: Path, family: str, **changes) -> Model:
    base = {
        "masked": {"checkpoint": "lm", "decoding": STEPS},
        "autoregressive": {"checkpoint": "lm", "decoding": {"top_k": 20}},
        "hybrid": {
            "checkpoint": "lm",
            "decoding": {"prompt_seconds": 0.5, "masked": STEPS, "autoregressive": {"top_k": 20}},
        },
        "unigram": {"checkpoint": "unigram"},
        "codec": {},
    }[family]
    settings = {"text": "text", "codec": "codec", **base, **changes}
    for role in ("checkpoint", "text", "codec", "prompter"):
        if settings.get(role):
            settings[role] = str(zoo / settings[role])
    return Model(family=family, name=f"{family}-test", **settings)


def prompts(texts=TEXTS, seconds=1.0) -> list[Prompt]:
    return [Prompt(id=f"p{i}", text=text, seconds=seconds) for i, text in enumerate(texts)]


def test_import_of_the_table_needs_no_torch():
    import subprocess
    import sys

    code = "import sys, magnet_eval.generators; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("family", "iterations", "frames"),
    [("masked", 10, 24), ("autoregressive", 28, 25), ("hybrid", 15 + 10, 24), ("unigram", 0, 25)],
)
def test_audio_and_what_it_cost(zoo, family, iterations, frames):
    generator = generators.build(model(zoo, family), "cpu")
    made = generator.generate(prompts(TEXTS[:3]), [1, 2, 3])
    assert generator.sample_rate == 16000
    assert [clip.shape for clip in made.audio] == [(1, frames * 640)] * 3
    assert all(clip.dtype == np.float32 and np.isfinite(clip).all() and clip.std() > 0 for clip in made.audio)
    assert (made.frames_asked, made.frames_made, made.iterations) == (25, frames, iterations)
    codebooks = {f"codebook {k}" for k in (1, 2, 3, 4)}
    stages = {
        "masked": {"text", *codebooks, "codec", "write"},
        "autoregressive": {"text", "prefill", "decode", "codec", "write"},
        "hybrid": {"text", "prefill", "decode", *codebooks, "codec", "write"},
        "unigram": {"tokens", "codec", "write"},
    }  # fmt: skip
    assert set(made.stage_seconds) == stages[family]
    assert all(seconds > 0 for seconds in made.stage_seconds.values())


@pytest.mark.parametrize("family", ["masked", "autoregressive", "hybrid", "unigram"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_clip_is_the_same_whatever_its_batch(zoo, family, dtype):
    """Bits, not tolerances: alone, first, last and in the middle of batches of 2, 3 and 8."""
    generator = generators.build(model(zoo, family), "cpu", dtype)
    seeds = list(range(10, 18))
    together = generator.generate(prompts(), seeds).audio
    for members in ([0], [6], [1, 0], [6, 3], [2, 6, 4], [7, 5, 3], list(reversed(range(8)))):
        some = generator.generate([prompts()[i] for i in members], [seeds[i] for i in members]).audio
        for clip, i in zip(some, members, strict=True):
            assert np.array_equal(clip, together[i]), f"clip {i} in {members}"
    assert not np.array_equal(together[0], together[1])


def test_blocks_are_full_and_of_one_padded_length():
    made = list(blocks([5, 40, 6, 7, 33, 8, 9], 4))
    assert made == [([0, 2, 3, 5], 32), ([6, 6, 6, 6], 32), ([1, 4, 4, 4], 64)]


def test_a_batch_in_one_call_is_the_same_up_to_rounding(zoo):
    """exact=False is for speed: the greedy tokens of a tiny model agree all the same."""
    settings = {**STEPS, "greedy": True}
    exact, fast = (
        generators.build(model(zoo, "masked", decoding=settings), "cpu", exact=exact).generate(
            prompts(TEXTS[:3]), [1, 2, 3]
        )
        for exact in (True, False)
    )
    assert all(np.allclose(a, b, atol=1e-5) for a, b in zip(exact.audio, fast.audio, strict=True))


def test_reference_sampling_uses_one_seed_for_the_batch(zoo):
    generator = generators.build(model(zoo, "masked", decoding={**STEPS, "sampling": "reference"}), "cpu")
    one, other = (generator.generate(prompts(TEXTS[:2]), seeds).audio for seeds in ([5, 1], [5, 2]))
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_two_model_hybrid_and_rescorer_use_their_second_model(zoo):
    def made(**changes):
        return generators.build(model(zoo, **changes), "cpu").generate(prompts(TEXTS[:2]), [1, 2])

    hybrid, second = made(family="hybrid"), made(family="hybrid", prompter="other")
    assert not np.array_equal(hybrid.audio[0], second.audio[0])
    plain = made(family="masked")
    from magnet_eval.decoding import Rescoring

    judged = made(family="masked", rescorer=Rescoring(str(zoo / "other"), 1.0))
    assert judged.network_evaluations == plain.network_evaluations + 10
    unjudged = made(family="masked", rescorer=Rescoring(str(zoo / "other"), 0.0))
    assert np.array_equal(unjudged.audio[0], plain.audio[0])


@pytest.mark.parametrize(("seconds", "frames"), [(0.0, 24), (0.5, 24), (3.0, 24)])
def test_hybrid_from_all_masked_to_all_autoregressive(zoo, seconds, frames):
    decoding = {"prompt_seconds": seconds, "masked": STEPS, "autoregressive": {"top_k": 20}}
    made = generators.build(model(zoo, "hybrid", decoding=decoding), "cpu").generate(prompts(TEXTS[:1]), [1])
    assert made.frames_made == frames
    assert ("decode" in made.stage_seconds) == (seconds > 0)
    assert ("codebook 1" in made.stage_seconds) == (seconds < 1)


def test_codec_round_trip_of_the_reference(zoo, tmp_path):
    path = tmp_path / "clip.wav"
    tone = 0.3 * np.sin(np.arange(48000) / 10)
    soundfile.write(path, np.stack([tone, tone], 1), 24000)
    generator = generators.build(model(zoo, "codec"), "cpu")
    asked = Prompt(id="a", text="x", seconds=1.5, reference=str(path))
    made = generator.generate([asked], [0])
    assert made.audio[0].shape == (1, 24000)
    assert (made.frames_asked, made.frames_made) == (38, 38)
    assert generators.inputs(model(zoo, "codec"), asked) == [path]
    with pytest.raises(UserError, match="p0 has no reference clip"):
        generator.generate(prompts(TEXTS[:1]), [0])


def test_codec_frames_cover_the_seconds(zoo):
    codec = Codec.read(zoo / "codec", CPU)
    assert (codec.frame_rate, codec.card) == (25.0, 64)
    assert [codec.frames(s) for s in (5.0, 1.0, 1.01, 0.04, 0.28)] == [125, 25, 26, 1, 7]
    codes = torch.randint(0, 64, (2, 4, 30))
    one, both = codec.decode(codes, one_by_one=True), codec.decode(codes, one_by_one=False)
    assert [clip.shape for clip in one] == [(1, 19200)] * 2
    assert all(np.allclose(a, b, atol=1e-5) for a, b in zip(one, both, strict=True))


def test_unigram_tokens_follow_their_counts(zoo):
    """Counts allow tokens 10 to 19 only: one clip's audio is a decoding of such tokens and no others."""
    generator = generators.build(model(zoo, "unigram"), "cpu")
    seen = []
    generator.codec.waveforms = lambda codes, one_by_one: seen.append(codes) or torch.zeros(1, 1, 16000)
    generator.generate(prompts(TEXTS[:1]), [3])
    assert seen[0].shape == (1, 4, 25)
    assert seen[0].min() >= 10 and seen[0].max() < 20


def test_files(tmp_path):
    clips = tmp_path / "clips"
    clips.mkdir()
    tone = np.sin(np.arange(8000) / 20).astype(np.float32) / 2
    soundfile.write(clips / "p0.wav", tone, 16000)
    soundfile.write(clips / "p1.flac", tone, 8000)
    system = Model(family="files", folder=str(clips), name="mine")
    generator = generators.build(system)
    made = generator.generate(prompts(TEXTS[:2]), [0, 0])
    assert [clip.shape for clip in made.audio] == [(1, 8000), (1, 16000)]
    assert np.allclose(made.audio[0][0], tone, atol=1e-4)
    with pytest.raises(UserError, match=r"no file p2\.wav"):
        generator.generate(prompts(TEXTS[:3]), [0] * 3)
    with pytest.raises(UserError, match=r"no file p2\.wav"):
        generators.inputs(system, prompts()[2])
    with pytest.raises(UserError, match="no folder"):
        generators.build(Model(family="files", folder=str(tmp_path / "nowhere")))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no audio"):
        generators.build(Model(family="files", folder=str(tmp_path / "empty")))


def test_text_is_isolated_and_cut_with_a_warning(zoo, caplog):
    encoder = TextEncoder.read(zoo / "text", CPU)
    alone, _ = encoder.encode(TEXTS[:1], one_by_one=True)
    batch, mask = encoder.encode(TEXTS[:2], one_by_one=True)
    length = alone.shape[1]
    assert torch.equal(batch[0, :length], alone[0])
    assert mask.sum(1).tolist() == [length, batch.shape[1]]
    assert (batch[0, length:] == 0).all()
    together, _ = encoder.encode(TEXTS[:2], one_by_one=False)
    assert torch.allclose(together, batch, atol=1e-5)
    with caplog.at_level(logging.WARNING, "magnet_eval"):
        long, _ = encoder.encode(["drums " * 1000], one_by_one=True)
    assert long.shape[1] == 48
    assert "cut to 48" in caplog.text


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def drop(path: Path, tensor: str) -> None:
    weights = load_file(path)
    del weights[tensor]
    save_file(weights, path, metadata={"format": "pt"})


def edit(path: Path, **changes: int) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


DAMAGE = {  # what is done to a copy of the zoo, and what the error says
    "missing folder": (lambda zoo: shutil.rmtree(zoo / "lm"), "checkpoint .*/lm: not here"),
    "missing weights": (
        lambda zoo: (zoo / "lm/model.safetensors").unlink(),
        r"has no model\.safetensors, it holds config\.json",
    ),
    "truncated": (lambda zoo: cut(zoo / "lm/model.safetensors"), "damaged"),
    "no safetensors": (lambda zoo: (zoo / "lm/model.safetensors").write_bytes(b"not a checkpoint"), "damaged"),
    "missing tensor": (
        lambda zoo: drop(zoo / "lm/model.safetensors", "out_norm.bias"),
        r"out_norm\.bias is nothing, its configuration asks for \(32,\)",
    ),
    "wrong shape": (
        lambda zoo: edit(zoo / "lm/config.json", card=63),
        r"is \(65, 32\), its configuration asks for \(64, 32\)",
    ),
    "config is no JSON": (lambda zoo: (zoo / "lm/config.json").write_text("{"), r"config\.json is no JSON"),
    "config lacks a field": (lambda zoo: (zoo / "lm/config.json").write_text('{"dim": 32}'), "num_heads"),
    "codec of another rate": (lambda zoo: edit(zoo / "codec/config.json", sampling_rate=32000), "frame_rate 25"),
    "no tokenizer": (lambda zoo: (zoo / "text/tokenizer.json").unlink(), "token"),
    "codec without a tensor": (
        lambda zoo: drop(zoo / "codec/model.safetensors", "quantizer.layers.0.codebook.embed"),
        "missing",
    ),
    "codec truncated": (lambda zoo: cut(zoo / "codec/model.safetensors"), "cannot be read as EncodecModel"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_checkpoints_are_one_line(zoo, tmp_path, name):
    damage, words = DAMAGE[name]
    copy = tmp_path / "zoo"
    shutil.copytree(zoo, copy)
    damage(copy)
    with pytest.raises(UserError, match=words) as caught:
        generators.build(model(copy, "masked"), "cpu")
    assert "\n" not in str(caught.value)


def test_unknown_device(zoo):
    with pytest.raises(UserError, match="cuda"):
        generators.build(model(zoo, "masked"), "cuda" if not torch.cuda.is_available() else "cuda:99")


def test_another_version_of_another_package_is_another_model(zoo, monkeypatch):
    theirs = Model(family="transformers", name="theirs", checkpoint=str(zoo / "lm"))
    before = generators.fingerprint(theirs)
    monkeypatch.setattr(generators, "version", lambda name: "99.0")
    assert generators.fingerprint(theirs) != before
    ours = generators.fingerprint(model(zoo, "masked"))
    monkeypatch.undo()
    assert generators.fingerprint(model(zoo, "masked")) == ours


def test_fingerprint_changes_with_content_and_not_with_names(zoo, tmp_path):
    base = generators.fingerprint(model(zoo, "masked"))
    copy = tmp_path / "elsewhere"
    shutil.copytree(zoo, copy)
    moved = model(copy, "masked")
    moved.name, moved.description = "another name", "other words"
    assert generators.fingerprint(moved) == base
    assert generators.fingerprint(model(zoo, "masked", decoding={**STEPS, "temperature": 2.0})) != base
    assert generators.fingerprint(model(zoo, "masked", seconds=20.0)) != base  # the windows of long clips
    weights = copy / "codec" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    assert generators.fingerprint(model(copy, "masked")) != base
    shutil.rmtree(copy / "codec")
    with pytest.raises(UserError, match="codec"):
        generators.fingerprint(model(copy, "masked"))
