"""The family ``transformers`` on tiny random models in the hub's own file layout."""

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from magnet_eval import generators
from magnet_eval.generators import peers
from magnet_eval.generators.huggingface import TransformersGenerator
from magnet_eval.lookup import UserError
from magnet_eval.model import Model
from magnet_eval.records import Prompt

TEXTS = ["slow waltz", "fast drums and bass, 140 bpm", "a calm piano piece"]
GENERATION = {
    "do_sample": True, "guidance_scale": 3.0, "max_length": 1500, "pad_token_id": 64, "bos_token_id": 64,
    "decoder_start_token_id": 64,
}  # fmt: skip


def save_musicgen(folder: Path, text: Path, *, melody: bool = False, stereo: bool = False) -> Path:
    """MusicGen at 50 frames of 4 codebooks a second; ``text`` lends its tokenizer."""
    import transformers as tf

    torch.manual_seed(0)
    name = "MusicgenMelody" if melody else "Musicgen"
    encoder = tf.T5Config(vocab_size=258, d_model=24, d_kv=12, d_ff=32, num_layers=2, num_heads=2, dropout_rate=0.0)
    codec = tf.EncodecConfig(
        sampling_rate=32000, target_bandwidths=[1.2], normalize=False, hidden_size=16, num_filters=4,
        upsampling_ratios=[8, 5, 4, 4], codebook_size=64, codebook_dim=16, use_causal_conv=False, num_lstm_layers=1,
        chunk_length_s=None,
    )  # fmt: skip
    decoder = getattr(tf, f"{name}DecoderConfig")(
        vocab_size=64, num_hidden_layers=2, ffn_dim=32, num_attention_heads=2, hidden_size=16,
        num_codebooks=8 if stereo else 4, audio_channels=2 if stereo else 1, pad_token_id=64, bos_token_id=64,
    )  # fmt: skip
    parts = {"text_encoder": encoder, "audio_encoder": codec, "decoder": decoder}
    config = getattr(tf, f"{name}Config")(**{role: part.to_dict() for role, part in parts.items()})
    model = getattr(tf, f"{name}ForConditionalGeneration")(config).eval()
    with torch.no_grad():
        for layer in model.audio_encoder.quantizer.layers:  # a new codebook is all zeros
            layer.codebook.embed.normal_()
        for weight in (*model.decoder.parameters(), *model.enc_to_dec_proj.parameters()):
            if weight.ndim > 1:
                weight.mul_(5)
    model.save_pretrained(folder)
    (folder / "generation_config.json").write_text(json.dumps(GENERATION))
    for path in text.glob("tokenizer*"):
        shutil.copy(path, folder)
    return folder


@pytest.fixture(scope="module")
def musicgen(zoo, tmp_path_factory) -> Path:
    return save_musicgen(tmp_path_factory.mktemp("musicgen"), zoo / "text")


@pytest.fixture(scope="module")
def speech(tmp_path_factory) -> Path:
    """VITS: a model that does not generate step by step, with a tokenizer of single letters."""
    from transformers import VitsConfig, VitsModel, VitsTokenizer

    folder = tmp_path_factory.mktemp("vits")
    torch.manual_seed(0)
    config = VitsConfig(
        vocab_size=30, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, ffn_dim=16, flow_size=16,
        spectrogram_bins=17, upsample_initial_channel=16, upsample_rates=[4, 4], upsample_kernel_sizes=[8, 8],
        resblock_kernel_sizes=[3], resblock_dilation_sizes=[[1, 3]], depth_separable_num_layers=1,
        prior_encoder_num_flows=1, prior_encoder_num_wavenet_layers=1, posterior_encoder_num_wavenet_layers=1,
        duration_predictor_num_flows=2, duration_predictor_filter_channels=16,
    )  # fmt: skip
    VitsModel(config).save_pretrained(folder)
    letters = folder / "letters.json"
    letters.write_text(json.dumps({letter: i for i, letter in enumerate("_abcdefghijklmnopqrstuvwxyz '-")}))
    tokenizer = VitsTokenizer(str(letters), pad_token="_", unk_token="_", phonemize=False, is_uroman=False)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def bark(zoo, tmp_path_factory) -> Path:
    """Three networks in a row, each with settings of its own, and a processor."""
    import transformers as tf
    from transformers.models.bark import configuration_bark as parts

    folder = tmp_path_factory.mktemp("bark")
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "num_layers": 1, "num_heads": 2}
    codec = tf.EncodecConfig(
        sampling_rate=24000, target_bandwidths=[2.4], num_filters=4, hidden_size=8, codebook_size=16, codebook_dim=8,
        num_lstm_layers=1, upsampling_ratios=[8, 5, 4, 2],
    )  # fmt: skip
    networks = {
        "semantic_config": parts.BarkSemanticConfig(input_vocab_size=700, output_vocab_size=65, **shape),
        "coarse_acoustics_config": parts.BarkCoarseConfig(input_vocab_size=120, output_vocab_size=120, **shape),
        "fine_acoustics_config": parts.BarkFineConfig(input_vocab_size=17, output_vocab_size=17, **shape),
        "codec_config": codec,
    }
    model = tf.BarkModel(tf.BarkConfig(**{name: part.to_dict() for name, part in networks.items()}))
    model.generation_config = tf.GenerationConfig()  # transformers 5.23 cannot save Bark's own
    model.save_pretrained(folder)
    semantic = {
        "eos_token_id": 50, "max_new_tokens": 20, "text_encoding_offset": 100, "text_pad_token": 600,
        "semantic_infer_token": 601, "semantic_vocab_size": 50, "max_input_semantic_length": 16, "do_sample": True,
    }  # fmt: skip
    coarse = {
        "coarse_semantic_pad_token": 90, "coarse_infer_token": 91, "max_coarse_input_length": 16,
        "max_coarse_history": 40, "sliding_window_len": 10, "do_sample": True,
    }  # fmt: skip
    settings = {"semantic_config": semantic, "coarse_acoustics_config": coarse, "fine_acoustics_config": {}}
    text = json.dumps({"model_type": "bark", "sample_rate": 24000, "codebook_size": 16, **settings})
    (folder / "generation_config.json").write_text(text)
    tf.BarkProcessor(tf.AutoTokenizer.from_pretrained(zoo / "text")).save_pretrained(folder)
    return folder


def prompts(texts=TEXTS, seconds=1.0) -> list[Prompt]:
    return [Prompt(id=f"p{i}", text=text, seconds=seconds) for i, text in enumerate(texts)]


def build(folder: Path, dtype="float32", exact=True, seconds=0.0, **decoding) -> TransformersGenerator:
    model = Model(family="transformers", checkpoint=str(folder), name="m", seconds=seconds, decoding=decoding)
    return generators.build(model, "cpu", dtype, exact=exact)


@pytest.mark.parametrize(
    ("kind", "passes"), [({}, 2 * 54), ({"melody": True}, 2 * 53), ({"stereo": True}, 2 * 54)], ids=str
)
def test_musicgen_has_the_frames_asked_for(zoo, tmp_path, kind, passes):
    """50 frames of 4 codebooks are 53 steps, each of two halves; transformers computes MusicGen's first step twice."""
    made = build(save_musicgen(tmp_path, zoo / "text", **kind)).generate(prompts(TEXTS[:2]), [1, 2])
    assert [clip.shape for clip in made.audio] == [(1 + ("stereo" in kind), 32000)] * 2
    assert all(clip.dtype == np.float32 and clip.std() > 0 and np.isfinite(clip).all() for clip in made.audio)
    assert (made.frames_asked, made.frames_made) == (50, 50)
    assert (made.iterations, made.network_evaluations) == (53, passes)
    assert set(made.stage_seconds) == {"text", "tokens", "codec"}
    assert all(seconds > 0 for seconds in made.stage_seconds.values())


def test_seconds_between_frames_are_cut_to_the_sample(musicgen):
    made = build(musicgen).generate(prompts(TEXTS[:1], seconds=0.31), [1])
    assert made.audio[0].shape == (1, 9920)
    assert (made.frames_asked, made.iterations) == (16, 19)


def test_a_clip_depends_on_its_own_seed_alone(musicgen):
    generator = build(musicgen)
    state = torch.random.get_rng_state()
    together = generator.generate(prompts(), [1, 2, 3]).audio
    assert torch.equal(torch.random.get_rng_state(), state)
    (alone,) = generator.generate(prompts()[1:2], [2]).audio
    (other,) = generator.generate(prompts()[1:2], [3]).audio
    assert np.array_equal(together[1], alone)
    assert not np.array_equal(alone, other)


def test_without_exact_a_call_is_one_batch(musicgen):
    generator = build(musicgen, exact=False, do_sample=False)
    batches = []
    generator.model.decoder.register_forward_hook(lambda module, given, output: batches.append(len(output.logits)))
    made = generator.generate(prompts(), [1, 2, 3])
    assert batches == [3 * 2 * 4] * 54  # clips, halves of guidance, codebooks
    assert made.network_evaluations == 2 * 54
    alone = build(musicgen, do_sample=False).generate(prompts(), [1, 2, 3])
    # Padding is masked: greedy clips are the same up to rounding.
    assert all(np.allclose(a, b, atol=1e-4) for a, b in zip(made.audio, alone.audio, strict=True))


def test_greedy_musicgen_is_what_our_own_family_makes_of_the_same_files(musicgen):
    theirs = build(musicgen, do_sample=False, guidance_scale=3.0).generate(prompts(), [1, 2, 3])
    ours = Model(
        family="autoregressive", checkpoint=str(musicgen), text=str(musicgen), codec=str(musicgen),
        decoding={"greedy": True, "cfg": 3.0},
    )  # fmt: skip
    made = generators.build(ours, "cpu").generate(prompts(), [1, 2, 3])
    for clip, other in zip(theirs.audio, made.audio, strict=True):
        assert clip.std() > 0.01 and np.abs(clip - other).max() < 1e-4
    assert made.iterations == theirs.iterations


def test_guidance_and_sampling_do_not_depend_on_a_file(musicgen, tmp_path):
    """Without generation_config.json transformers would decode greedily and unguided."""
    copy = shutil.copytree(musicgen, tmp_path / "copy")
    (copy / "generation_config.json").unlink()
    config = json.loads((copy / "config.json").read_text())
    config["decoder"].update(decoder_start_token_id=64)
    (copy / "config.json").write_text(json.dumps(config))
    bare, full = (build(folder).generate(prompts()[:1], [5]) for folder in (copy, musicgen))
    assert bare.network_evaluations == 2 * 54
    assert np.array_equal(bare.audio[0], full.audio[0])
    assert build(copy, guidance_scale=1.0).generate(prompts()[:1], [5]).network_evaluations == 54


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_the_networks_and_not_the_codecs(musicgen, dtype):
    generator = build(musicgen, dtype)
    assert generator.model.decoder.dtype == getattr(torch, dtype)
    assert {weight.dtype for weight in generator.model.audio_encoder.parameters()} == {torch.float32}
    (clip,) = generator.generate(prompts()[:1], [1]).audio
    assert clip.dtype == np.float32 and np.isfinite(clip).all() and clip.std() > 0


def test_a_model_that_does_not_generate_step_by_step(speech):
    generator = build(speech)
    made = generator.generate(prompts(), [1, 2, 3])
    assert generator.sample_rate == 16000
    assert all(clip.shape[0] == 1 and 0 < clip.shape[1] <= 16000 for clip in made.audio)
    assert (made.frames_asked, made.iterations, set(made.stage_seconds)) == (0, 0, {"generate"})
    assert np.array_equal(generator.generate(prompts()[1:2], [2]).audio[0], made.audio[1])
    assert len(build(speech, exact=False).generate(prompts(), [1, 2, 3]).audio) == 3


def test_a_model_of_several_networks(bark):
    generator = build(bark, semantic_temperature=0.7, do_sample=True)
    made = generator.generate(prompts(), [1, 2, 3])
    assert generator.sample_rate == 24000
    assert all(clip.shape[0] == 1 and 0 < clip.shape[1] <= 24000 for clip in made.audio)
    (alone,) = generator.generate(prompts()[1:2], [2]).audio
    assert np.array_equal(alone, made.audio[1])
    (shorter,) = build(bark, semantic_max_new_tokens=4).generate(prompts()[1:2], [2]).audio
    assert shorter.shape[1] < alone.shape[1]
    with pytest.raises(UserError, match="semantics_temperature is nothing that .* Did you mean semantic_temp"):
        build(bark, semantics_temperature=0.7)


def test_longer_than_it_was_trained_on_is_said(musicgen, caplog):
    with caplog.at_level(logging.WARNING, "magnet_eval"):
        build(musicgen, seconds=0.5).generate(prompts()[:1], [1])
    assert "trained on 0.5 s and makes 1 s in one go" in caplog.text


@pytest.mark.parametrize(
    ("decoding", "words"),
    [
        (
            {"guidence_scale": 3.0},
            r"guidence_scale is nothing that Musicgen\w+\.generate takes\. Did you mean guid",
        ),
        ({"max_new_tokens": 100}, r"decoding\.max_new_tokens is nothing that"),
        ({"num_beams": 3}, "num_beams"),
        ({"temperature": 0.0}, "temperature"),
        ({"top_k": "many"}, "top_k"),
    ],
    ids=str,
)
def test_settings_that_it_does_not_take(musicgen, decoding, words):
    with pytest.raises(UserError, match=words) as caught:
        build(musicgen, **decoding).generate(prompts()[:1], [1])
    assert "\n" not in str(caught.value)


def test_speech_takes_other_settings(speech):
    with pytest.raises(UserError, match=r"decoding\.temperature is nothing that VitsModel\.forward takes"):
        build(speech, temperature=1.0)


def empty_tokenizer(folder: Path) -> None:
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    tokenizer["model"]["vocab"] = dict(list(vocabulary.items())[:5])
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))


def test_a_tokenizer_beside_an_encoder_of_unknown_size():
    peers.check_vocabulary(range(26), None, Path("letters"))
    with pytest.raises(UserError, match="the tokenizer in empty has 5 tokens"):
        peers.check_vocabulary(range(5), None, Path("empty"))


DAMAGE = {
    "gone": (shutil.rmtree, "not here"),
    "no configuration": (lambda folder: (folder / "config.json").unlink(), "config"),
    "no tokenizer": (lambda folder: (folder / "tokenizer.json").unlink(), "tokenizer"),
    "empty tokenizer": (empty_tokenizer, r"tokenizer in \S+ has 5 of 258 tokens only"),
    "truncated": (
        lambda folder: (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:5000]),
        "model.safetensors|cannot be read",
    ),
    "another kind": (
        lambda folder: (folder / "config.json").write_text('{"model_type": "bert"}'),
        "cannot be read as AutoModelForTextToWaveform",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_folders_are_one_line(musicgen, tmp_path, name):
    damage, words = DAMAGE[name]
    copy = shutil.copytree(musicgen, tmp_path / "copy")
    damage(copy)
    with pytest.raises(UserError, match=words) as caught:
        build(copy)
    assert "\n" not in str(caught.value)
