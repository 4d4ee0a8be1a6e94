"""MusicGen in transformers' layout: the same logits, tokens and waveform as transformers' own, however it was saved."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from magnet_eval import generators
from magnet_eval.generators import loading
from magnet_eval.generators.text import TextEncoder
from magnet_eval.model import Model
from magnet_eval.records import Prompt

CPU = torch.device("cpu")
TEXTS = ["slow waltz", "fast drums and a bright synthesizer over them"]
FRAMES = 20  # 0.4 s
FILE = "model.safetensors"


def save_musicgen(folder: Path, text: Path, **decoder) -> None:
    """A tiny MusicGen of random weights; ``text`` lends its tokenizer."""
    from transformers import EncodecConfig, MusicgenConfig, MusicgenDecoderConfig, MusicgenForConditionalGeneration
    from transformers import T5Config as T5

    torch.manual_seed(3)
    parts = {
        "text_encoder": T5(vocab_size=258, d_model=24, d_kv=6, d_ff=32, num_layers=2, num_heads=4, dropout_rate=0.0),
        "audio_encoder": EncodecConfig(
            sampling_rate=32000, upsampling_ratios=[8, 5, 4, 4], num_filters=2, hidden_size=8, codebook_size=64,
            codebook_dim=8, num_lstm_layers=1, normalize=False, chunk_length_s=None, target_bandwidths=[1.2],
            use_causal_conv=False, use_conv_shortcut=False,
        ),
        "decoder": MusicgenDecoderConfig(
            **{"vocab_size": 64, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "ffn_dim": 64,
               "num_codebooks": 4, "pad_token_id": 64, "bos_token_id": 64, **decoder}
        ),
    }  # fmt: skip
    config = MusicgenConfig(**{role: part.to_dict() for role, part in parts.items()})
    model = MusicgenForConditionalGeneration(config).eval()
    with torch.no_grad():
        for layer in model.audio_encoder.quantizer.layers:  # a new codebook is all zeros
            layer.codebook.embed.normal_()
        for name, weight in model.decoder.named_parameters():  # tokens, text and position all move the argmax
            if weight.ndim > 1:
                weight.mul_(50 if "embed_tokens" in name else 12)
    model.save_pretrained(folder)
    for path in text.glob("tokenizer*"):
        shutil.copy(path, folder)


@pytest.fixture(scope="module")
def musicgen(zoo, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("musicgen")
    save_musicgen(folder, zoo / "text")
    return folder


@pytest.fixture
def theirs(musicgen):
    from transformers import MusicgenForConditionalGeneration

    return MusicgenForConditionalGeneration.from_pretrained(musicgen).eval()


@pytest.fixture
def copy(musicgen, tmp_path) -> Path:
    return Path(shutil.copytree(musicgen, tmp_path / "copy"))


def model(folder: Path, **changes) -> Model:
    return Model(**{"family": "autoregressive", "checkpoint": str(folder), "decoding": {"greedy": True}, **changes})


def generate(folder: Path, **changes) -> tuple[torch.Tensor, np.ndarray]:
    """Tokens [B, K, T] and waveforms [B, samples]."""
    generator = generators.build(model(folder, **changes), "cpu")
    codes, decode = [], generator.codec.waveforms
    generator.codec.waveforms = lambda rows, **how: (codes.append(rows), decode(rows, **how))[1]
    made = generator.generate([Prompt(str(i), text, FRAMES / 50) for i, text in enumerate(TEXTS)], [1, 2])
    return torch.cat(codes), np.concatenate(made.audio)


@pytest.fixture(scope="module")
def made(musicgen) -> tuple[torch.Tensor, np.ndarray]:
    return generate(musicgen)


@torch.inference_mode()
@pytest.mark.parametrize("masked", [True, False])
def test_logits_are_theirs(musicgen, theirs, masked):
    lm = loading.load_language_model(musicgen, CPU, torch.float32, family="autoregressive", frame_rate=50.0)
    hidden, mask = TextEncoder.read(musicgen, CPU).encode(TEXTS, one_by_one=False)
    assert not mask.all()
    codes = torch.randint(0, 65, (2, 4, 30), generator=torch.Generator().manual_seed(1))
    ours = lm(codes, lm.project(hidden, mask), mask if masked else None)
    projected = theirs.enc_to_dec_proj(hidden) * mask[..., None]
    seen = mask.long() if masked else None
    logits = theirs.decoder(codes.flatten(0, 1), encoder_hidden_states=projected, encoder_attention_mask=seen).logits
    assert (ours - logits.unflatten(0, (2, 4))).abs().max() < 1e-4
    assert ours.std() > 0.1
    assert lm.config.segment_seconds == 30.0


@torch.inference_mode()
def test_tokens_and_waveform_are_theirs(musicgen, theirs, made):
    """A clip of T frames takes them T + K - 1 new tokens: the delay pattern's tail, the first step being given."""
    from transformers import AutoTokenizer

    inputs = AutoTokenizer.from_pretrained(musicgen)(TEXTS, padding=True, return_tensors="pt")
    codes, decode = [], theirs.audio_encoder.decode
    theirs.audio_encoder.decode = lambda audio_codes, **more: (
        codes.append(audio_codes), decode(audio_codes=audio_codes, **more)
    )[1]  # fmt: skip
    settings = {"decoder_start_token_id": 64, "do_sample": False, "guidance_scale": 3.0}
    wav = theirs.generate(**inputs, max_new_tokens=FRAMES + 3, **settings)
    assert torch.equal(made[0], codes[0].reshape(2, 4, FRAMES))
    assert made[0].unique().numel() > 10 and not torch.equal(made[0][0], made[0][1])
    assert made[1].shape == (2, FRAMES * 640)
    assert np.abs(made[1] - wav[:, 0].numpy()).max() < 1e-4


def in_shards(folder: Path) -> None:
    from transformers import MusicgenForConditionalGeneration

    whole = MusicgenForConditionalGeneration.from_pretrained(folder)
    (folder / FILE).unlink()
    whole.save_pretrained(folder, max_shard_size="40KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 2


def pickled(folder: Path) -> None:
    torch.save(load_file(folder / FILE), folder / "pytorch_model.bin")
    (folder / FILE).unlink()


def pickled_in_shards(folder: Path) -> None:
    weights, places = load_file(folder / FILE), {}
    for i, names in enumerate([sorted(weights)[::2], sorted(weights)[1::2]]):
        torch.save({name: weights[name] for name in names}, folder / f"pytorch_model-{i}.bin")
        places |= dict.fromkeys(names, f"pytorch_model-{i}.bin")
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": places}))
    (folder / FILE).unlink()


def renamed(folder: Path, *pairs: tuple[str, str]) -> None:
    weights = load_file(folder / FILE)
    for old, new in pairs:
        assert any(old in name for name in weights)
        weights = {name.replace(old, new): value for name, value in weights.items()}
    save_file(weights, folder / FILE, metadata={"format": "pt"})


def with_positions(folder: Path) -> None:
    positions = {"decoder.model.decoder.embed_positions.weights": torch.zeros(2048, 16)}
    save_file(load_file(folder / FILE) | positions, folder / FILE, metadata={"format": "pt"})


NORMS = [(f"parametrizations.weight.original{i}", f"weight_{letter}") for i, letter in enumerate("gv")]
SAVED = {
    "in shards": in_shards,
    "pickled": pickled,
    "pickled in shards": pickled_in_shards,
    "old names of weight norm": lambda folder: renamed(folder, *NORMS),
    "text embedding by its other name": lambda folder: renamed(
        folder, ("text_encoder.shared.", "text_encoder.encoder.embed_tokens.")
    ),
    "with positions": with_positions,
    "both, of which the pickle is not read": lambda folder: (folder / "pytorch_model.bin").write_bytes(b"x"),
}


@pytest.mark.parametrize("name", SAVED)
def test_however_it_was_saved(copy, made, name):
    SAVED[name](copy)
    codes, audio = generate(copy)
    assert torch.equal(codes, made[0])
    assert np.array_equal(audio, made[1])


@pytest.mark.parametrize("change", [pickled, lambda folder: renamed(folder, *NORMS)])
def test_a_codec_of_its_own_however_it_was_saved(zoo, tmp_path, change):
    folder = Path(shutil.copytree(zoo / "codec", tmp_path / "codec"))
    change(folder)
    codes = torch.randint(0, 64, (1, 4, 30))
    one, other = (
        loading.load_codec(place, CPU).decode(codes[None], [None]).audio_values for place in (zoo / "codec", folder)
    )
    assert torch.equal(one, other)


def test_text_encoder_and_codec_may_be_others(copy, zoo, made):
    assert {part.role: part.wanted for part in generators.parts.parts(model(copy))} == dict.fromkeys(
        ("checkpoint", "text", "codec"), str(copy)
    )
    audio = generate(copy, codec=str(Path(__file__).parents[1] / "data/pipeline/encodec"))[1]
    assert audio.shape == made[1].shape and not np.array_equal(audio, made[1])


def short(folder: Path, part: str) -> None:
    weights = load_file(folder / FILE)
    save_file({name: weights[name] for name in weights if part not in name}, folder / FILE, metadata={"format": "pt"})


def edit(folder: Path, block: str, **changes) -> None:
    content = json.loads((folder / "config.json").read_text())
    content[block] = {**content[block], **changes}
    (folder / "config.json").write_text(json.dumps(content))


def without(folder: Path, block: str) -> None:
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**content, block: [1]}))


def other_type(folder: Path) -> None:
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**content, "model_type": "musicgen_melody"}))


def in_two(folder: Path, index: str = "") -> None:
    """In shards with the last one missing, or with another list of them."""
    in_shards(folder)
    sorted(folder.glob("model-*.safetensors"))[-1].unlink()
    if index:
        (folder / f"{FILE}.index.json").write_text(index)


FAULTS = {
    "no query": (lambda folder: short(folder, "layers.0.self_attn.q_proj"), "0.self_attn.in_proj_weight is nothing"),
    "no key": (lambda folder: short(folder, "layers.1.encoder_attn.k_proj"), "1.cross_attention.in_proj_weight is"),
    "no value": (lambda folder: short(folder, "layers.0.self_attn.v_proj"), "0.self_attn.in_proj_weight is nothing"),
    "no projection": (lambda folder: short(folder, "enc_to_dec_proj"), "output_proj.bias is nothing"),
    "no text": (lambda folder: short(folder, "text_encoder"), "tensors of T5EncoderModel are missing"),
    "no codec": (lambda folder: short(folder, "audio_encoder"), "tensors of EncodecModel are missing"),
    "a shard short": (in_two, "has no model-0"),
    "an index of nothing": (lambda folder: in_two(folder, index="[]"), "must hold one JSON object"),
    "an empty index": (lambda folder: in_two(folder, index="{}"), "tensors of T5EncoderModel are missing"),
    "other sizes": (lambda folder: edit(folder, "decoder", num_hidden_layers=3), "transformer.layers.2."),
    "a word for a number": (lambda folder: edit(folder, "decoder", hidden_size="wide"), "wide"),
    "a word in the codec": (lambda folder: edit(folder, "audio_encoder", kernel_size="wide"), "wide"),
    "a word in the text": (lambda folder: edit(folder, "text_encoder", num_layers="two"), "two"),
    "stereo": (lambda folder: edit(folder, "decoder", audio_channels=2), "Use family: transformers"),
    "not gelu": (lambda folder: edit(folder, "decoder", activation_function="relu"), "family: transformers"),
    "text not projected": (lambda folder: edit(folder, "decoder", hidden_size=24), "Use family: transformers"),
    "a melody model": (other_type, "Use family: transformers"),
    "truncated": (lambda folder: (folder / FILE).write_bytes((folder / FILE).read_bytes()[:9000]), "damaged"),
    "a web page": (lambda folder: (folder / FILE).write_text("<html>404</html>"), "damaged"),
    "git-lfs's note": (lambda folder: (folder / FILE).write_text("version https://git-lfs.github"), "git lfs pull"),
    "empty": (lambda folder: (folder / FILE).write_bytes(b""), "damaged"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_faults_are_one_line_that_names_the_place(refusal, copy, name):
    damage, words = FAULTS[name]
    damage(copy)
    said = refusal(copy, "autoregressive", text="")
    assert str(copy) in said and words in said


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: edit(folder, "decoder", num_attention_heads="x"), "num_heads must be a whole number, got 'x'"),
        (lambda folder: edit(folder, "decoder", hidden_size=0), "does not describe a MusicGen"),
        (lambda folder: without(folder, "decoder"), "config.json has no block decoder"),
        (lambda folder: without(folder, "audio_encoder"), "config.json has no block audio_encoder"),
    ],
)
def test_faults_of_its_configuration_beside_a_text_encoder_of_its_own(refusal, copy, zoo, damage, words):
    damage(copy)
    said = refusal(copy, "autoregressive", text=str(zoo / "text"))
    assert str(copy) in said and words in said


@pytest.mark.parametrize("family", ["masked", "hybrid"])
def test_it_is_no_magnet(refusal, copy, family):
    assert f"{copy} is a MusicGen; set family: autoregressive." in refusal(copy, family, text="")
