"""The family ``diffusers`` on tiny random pipelines saved in their own file layout."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from magnet_eval import generators
from magnet_eval.generators.diffusion import DiffusersGenerator
from magnet_eval.lookup import UserError
from magnet_eval.model import Model
from magnet_eval.records import Prompt

diffusers = pytest.importorskip("diffusers")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # torchsde's, on rounding

TEXTS = ["slow waltz", "fast drums and bass, 140 bpm", "a calm piano piece"]
SYMBOLS = "abcdefghijklmnopqrstuvwxyz0123456789,.'-"


def t5(width: int) -> dict:
    """T5 over single letters, and its tokenizer."""
    from transformers import T5Config, T5EncoderModel, T5Tokenizer

    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -2.0), ("\u2581", -2.0), *((symbol, -3.0) for symbol in SYMBOLS)]
    tokenizer = T5Tokenizer(vocab=pieces, extra_ids=10, model_max_length=64)
    config = T5Config(vocab_size=60, d_model=width, d_ff=8, d_kv=4, num_heads=1, num_layers=1)
    return {"encoder": T5EncoderModel(config), "tokenizer": tokenizer}


def save_stable_audio(folder: Path, scheduler: str = "EDMDPMSolverMultistepScheduler") -> Path:
    """Stereo at 40 Hz, up to 4 s."""
    torch.manual_seed(0)
    text = t5(4)
    diffusers.StableAudioPipeline(
        transformer=diffusers.StableAudioDiTModel(
            sample_size=80, in_channels=3, num_layers=2, attention_head_dim=4, num_key_value_attention_heads=2,
            out_channels=3, cross_attention_dim=4, time_proj_dim=8, global_states_input_dim=8,
            cross_attention_input_dim=4,
        ),
        scheduler=getattr(diffusers, scheduler)(
            solver_order=2, prediction_type="v_prediction", sigma_data=1.0, sigma_schedule="exponential"
        ),
        vae=diffusers.AutoencoderOobleck(
            encoder_hidden_size=6, downsampling_ratios=[1, 2], decoder_channels=3, decoder_input_channels=3,
            audio_channels=2, channel_multiples=[2, 4], sampling_rate=40,
        ),
        text_encoder=text["encoder"],
        tokenizer=text["tokenizer"],
        projection_model=diffusers.StableAudioProjectionModel(
            text_encoder_dim=4, conditioning_dim=4, min_value=0, max_value=32
        ),
    ).save_pretrained(folder)  # fmt: skip
    return folder


def save_audioldm2(folder: Path) -> Path:
    """Mono at 16 kHz; the index names GPT2Model, as published ones do."""
    import transformers as tf
    from tokenizers import pre_tokenizers

    torch.manual_seed(0)
    text = t5(16)
    symbols = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    words = tf.ClapTextConfig(
        hidden_size=8,
        intermediate_size=12,
        num_attention_heads=1,
        num_hidden_layers=1,
        vocab_size=300,
        projection_dim=8,
    )
    sounds = tf.ClapAudioConfig(
        spec_size=8, window_size=4, num_mel_bins=8, intermediate_size=12, hidden_size=8, depths=[1, 1],
        num_attention_heads=[1, 1], num_hidden_layers=1, projection_dim=8, patch_size=2, patch_stride=2,
        patch_embed_input_channels=4, patch_embeds_hidden_size=4,
    )  # fmt: skip
    clap = tf.ClapConfig(text_config=words.to_dict(), audio_config=sounds.to_dict(), projection_dim=16)
    gpt2 = tf.GPT2Model(tf.GPT2Config(n_embd=8, n_head=1, n_layer=1, vocab_size=99, n_positions=99))
    gpt2.config.max_new_tokens = 8
    blocks = {"block_out_channels": (8, 16), "norm_num_groups": 8}
    diffusers.AudioLDM2Pipeline(
        unet=diffusers.AudioLDM2UNet2DConditionModel(
            layers_per_block=1, sample_size=32, in_channels=4, out_channels=4, **blocks,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), cross_attention_dim=((None, 8, 16), (None, 8, 16)),
        ),
        vae=diffusers.AutoencoderKL(
            in_channels=1, out_channels=1, latent_channels=4, **blocks,
            down_block_types=["DownEncoderBlock2D"] * 2, up_block_types=["UpDecoderBlock2D"] * 2,
        ),
        text_encoder=tf.ClapModel(clap),
        text_encoder_2=text["encoder"],
        projection_model=diffusers.AudioLDM2ProjectionModel(
            text_encoder_dim=16, text_encoder_1_dim=16, langauge_model_dim=8
        ),
        language_model=gpt2,
        tokenizer=tf.RobertaTokenizer(vocab={s: i for i, s in enumerate(symbols)}, merges=[], model_max_length=64),
        tokenizer_2=text["tokenizer"],
        feature_extractor=tf.ClapFeatureExtractor(feature_size=8),
        scheduler=diffusers.DDIMScheduler(beta_schedule="scaled_linear", clip_sample=False),
        vocoder=tf.SpeechT5HifiGan(
            tf.SpeechT5HifiGanConfig(
                model_in_dim=8, sampling_rate=16000, upsample_initial_channel=16, upsample_rates=[2, 2],
                upsample_kernel_sizes=[4, 4], resblock_kernel_sizes=[3], resblock_dilation_sizes=[[1, 3]],
                normalize_before=False,
            )
        ),
    ).save_pretrained(folder)  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def stable_audio(tmp_path_factory) -> Path:
    return save_stable_audio(tmp_path_factory.mktemp("stable"))


@pytest.fixture(scope="module")
def audioldm2(tmp_path_factory) -> Path:
    return save_audioldm2(tmp_path_factory.mktemp("ldm2"))


def prompts(seconds: float, texts=TEXTS) -> list[Prompt]:
    return [Prompt(id=f"p{i}", text=text, seconds=seconds) for i, text in enumerate(texts)]


def build(folder: Path, exact=True, **decoding) -> DiffusersGenerator:
    decoding = {"num_inference_steps": 4, **decoding}
    return generators.build(
        Model(family="diffusers", checkpoint=str(folder), name="m", decoding=decoding), "cpu", exact=exact
    )


PIPELINES = {"stable_audio": (40, 2, 2.5), "audioldm2": (16000, 1, 0.031)}  # rate, channels, seconds of the test


@pytest.mark.parametrize("name", PIPELINES)
def test_length_channels_and_what_it_cost(name, request):
    rate, channels, seconds = PIPELINES[name]
    generator = build(request.getfixturevalue(name))
    made = generator.generate(prompts(seconds), [1, 2, 3])
    assert generator.sample_rate == rate
    assert [clip.shape for clip in made.audio] == [(channels, round(seconds * rate))] * 3
    assert all(clip.dtype == np.float32 and np.isfinite(clip).all() and clip.std() > 0 for clip in made.audio)
    assert (made.iterations, made.network_evaluations) == (4, 8)
    assert (made.frames_asked, made.frames_made) == (0, 0)
    assert set(made.stage_seconds) == {"text", "denoising", "codec"}


@pytest.mark.parametrize("name", PIPELINES)
def test_a_clip_depends_on_its_own_seed_alone(name, request):
    folder, seconds = request.getfixturevalue(name), PIPELINES[name][2]
    together = build(folder).generate(prompts(seconds), [1, 2, 3]).audio
    (alone,) = build(folder).generate(prompts(seconds)[1:2], [2]).audio
    (other,) = build(folder).generate(prompts(seconds)[1:2], [3]).audio
    assert np.array_equal(together[1], alone)
    assert not np.array_equal(alone, other)


def test_without_exact_a_call_is_one_batch_with_the_same_noise(stable_audio):
    generator = build(stable_audio, exact=False)
    batches = []
    generator.pipeline.transformer.register_forward_hook(lambda module, given, output: batches.append(len(output[0])))
    made = generator.generate(prompts(2.0), [1, 2, 3])
    assert batches == [3 * 2] * 4
    assert made.network_evaluations == 8
    alone = build(stable_audio).generate(prompts(2.0), [1, 2, 3])
    assert all(np.allclose(a, b, atol=1e-4) for a, b in zip(made.audio, alone.audio, strict=True))


def test_settings_are_the_pipelines_own(stable_audio):
    made = build(stable_audio, guidance_scale=1.0, num_inference_steps=6).generate(prompts(2.0), [1, 2, 3])
    assert (made.iterations, made.network_evaluations) == (6, 6)
    unset = generators.build(Model(family="diffusers", checkpoint=str(stable_audio), name="m"), "cpu")
    assert unset.steps == 100
    three = build(stable_audio, num_waveforms_per_prompt=3).generate(prompts(2.0), [1, 2, 3])
    assert len(three.audio) == 3 and three.network_evaluations == 3 * 8


def test_the_scheduler_that_stable_audio_open_comes_with(tmp_path):
    pytest.importorskip("torchsde")
    folder = save_stable_audio(tmp_path, "CosineDPMSolverMultistepScheduler")
    together = build(folder).generate(prompts(2.0), [1, 2, 3]).audio
    (alone,) = build(folder).generate(prompts(2.0)[2:], [3]).audio
    assert np.array_equal(together[2], alone)


@pytest.mark.parametrize(
    ("decoding", "words"),
    [
        ({"num_inferense_steps": 3}, r"StableAudioPipeline takes\. Did you mean num_inference_steps"),
        ({"audio_end_in_s": 3}, r"decoding\.audio_end_in_s is nothing that"),
        ({"generator": 3}, r"decoding\.generator is nothing that"),
        ({"negative_prompt": 3}, "diffusers refuses to run"),
    ],
    ids=str,
)
def test_settings_that_it_does_not_take(stable_audio, decoding, words):
    with pytest.raises(UserError, match=words) as caught:
        build(stable_audio, **decoding).generate(prompts(2.0), [1, 2, 3])
    assert "\n" not in str(caught.value)


def test_a_clip_longer_than_the_model_can_is_one_line(stable_audio):
    with pytest.raises(UserError, match=r"refuses to run .* longer than the model maximum possible length \(4"):
        build(stable_audio).generate(prompts(5.0), [1, 2, 3])


def empty_tokenizer(folder: Path) -> None:
    path = folder / "tokenizer" / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    tokenizer["model"]["vocab"] = tokenizer["model"]["vocab"][:4]
    path.write_text(json.dumps(tokenizer))


DAMAGE = {
    "gone": (shutil.rmtree, "not here"),
    "no index": (lambda folder: (folder / "model_index.json").unlink(), "model_index.json"),
    "no decoder": (lambda folder: shutil.rmtree(folder / "vae"), "cannot be read as a diffusers pipeline"),
    "empty tokenizer": (empty_tokenizer, r"the tokenizer in \S+ has \d+ of 60 tokens only"),
    "no audio": (
        lambda folder: (folder / "model_index.json").write_text(
            '{"_class_name": "DDIMPipeline", "unet": [null, null], "scheduler": ["diffusers", "DDIMScheduler"]}'
        ),
        "cannot be read as a diffusers pipeline|makes no audio from text",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_folders_are_one_line(stable_audio, tmp_path, name):
    damage, words = DAMAGE[name]
    copy = shutil.copytree(stable_audio, tmp_path / "copy")
    damage(copy)
    with pytest.raises(UserError, match=words) as caught:
        build(copy)
    assert "\n" not in str(caught.value)


def test_a_missing_package_names_its_extra(stable_audio, monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(UserError, match=r"pip install 'magnet-eval\[diffusers\]'"):
        build(stable_audio)
