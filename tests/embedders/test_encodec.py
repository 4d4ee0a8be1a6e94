"""EnCodec from the package's own files and from transformers' folders; its frames and its ceiling."""

import numpy as np
import pytest
import torch
from random_weights import random_tensor, sound

from magnet_eval import embedders
from magnet_eval.embedders import encodec_frames
from magnet_eval.embedders.encodec_frames import EncodecEmbedder
from magnet_eval.lookup import UserError


def package_state(channels):
    """A whole state in the package's names, from transformers' shapes. The package itself checks it where it is."""
    from transformers import EncodecConfig, EncodecModel

    with torch.device("meta"):
        model = EncodecModel(EncodecConfig(**encodec_frames.SETTINGS[channels]))
    return {package_name(name): random_tensor(name, tuple(v.shape)) for name, v in model.state_dict().items()}


def package_name(name):
    side, _, rest = name.partition(".")
    if side == "quantizer":
        return name.replace("quantizer.layers.", "quantizer.vq.layers.").replace(".codebook.", "._codebook.")
    rest = rest.replace(".parametrizations.weight.original0", ".weight_g")
    rest = rest.replace(".parametrizations.weight.original1", ".weight_v")
    turned = side == "decoder" and rest.split(".")[1] in {"3", "6", "9", "12"}
    layer = "convtr" if turned else "conv"
    rest = rest.replace(".conv.", f".{layer}.{layer}.").replace(".norm.", f".{layer}.norm.")
    return f"{side}.{rest.replace('layers.', 'model.', 1)}"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Channels -> file, as the package publishes its two models."""
    root, paths = tmp_path_factory.mktemp("encodec"), {}
    for channels, name in ((1, "encodec_24khz-d7cc33bc.th"), (2, "encodec_48khz-7e698e3e.th")):
        torch.save(package_state(channels), root / name)
        paths[channels] = root / name
    return paths


@pytest.mark.parametrize(("channels", "rate", "frames"), [(1, 24_000, 75), (2, 48_000, 150)])
def test_frames(files, channels, rate, frames):
    embedder = EncodecEmbedder(weights=files[channels])
    assert embedder.sample_rate == rate
    for seconds in (2, 2.5):
        out = embedder.embed(sound(seconds, rate))
        assert out.shape == (np.ceil(seconds * frames), 128) and out.dtype == np.float32 and np.isfinite(out).all()
        assert out.std(axis=0).min() > 0


@pytest.mark.slow
def test_48_khz_segments_and_level(files):
    """In segments each second is heard on its own; levelled, gain does not matter."""
    audio = sound(2.5, 48_000)
    codec = EncodecEmbedder(weights=files[2])
    assert np.array_equal(codec.embed(audio)[150:300], codec.embed(audio[48_000:96_000]))
    assert np.abs(codec.embed(audio) - codec.embed(audio / 4)).max() < 1e-3
    fadtk = EncodecEmbedder(weights=files[2], level=False)
    assert np.array_equal(fadtk.embed(audio)[150:300], fadtk.embed(audio[48_000:96_000]))
    assert np.abs(fadtk.embed(audio) - fadtk.embed(audio / 4)).max() > 1e-2
    whole = EncodecEmbedder(weights=files[2], level=False, segments=False).embed(audio)
    assert np.abs(whole - fadtk.embed(audio)).max() > 1e-2
    assert len({codec.fingerprint(), fadtk.fingerprint(), EncodecEmbedder(weights=files[1]).fingerprint()}) == 3


def test_48_khz_hears_two_channels(files):
    audio = sound(2.5, 48_000)
    embedder = EncodecEmbedder(weights=files[2])
    assert np.array_equal(embedder.embed(audio), embedder.embed(np.stack([audio, audio])))
    wide = embedder.embed(np.stack([audio, audio[::-1]]))
    assert wide.shape == embedder.embed(audio).shape
    assert np.abs(wide - embedder.embed(np.stack([audio[::-1], audio]))).max() > 1e-2


def test_24_khz_hears_the_whole_clip(files):
    audio = sound(2.5, 24_000)
    plain = EncodecEmbedder(weights=files[1])
    other = EncodecEmbedder(weights=files[1], segments=False, level=False)
    assert np.array_equal(plain.embed(audio), other.embed(audio))
    assert np.isfinite(plain.embed(np.zeros(24_000, dtype=np.float32))).all()
    assert len(plain.embed(audio[:7])) == 1


def test_transformers_folder_gives_the_same(files, tmp_path):
    first = EncodecEmbedder(weights=files[2])
    first.read_codec(files[2]).save_pretrained(tmp_path)
    second = EncodecEmbedder(weights=tmp_path)
    assert np.array_equal(first.embed(sound(2, 48_000)), second.embed(sound(2, 48_000)))
    assert {file.name for file in second.files} == {"config.json", "model.safetensors"}


def test_32_khz_folder(tmp_path):
    """In the sizes of facebook/encodec_32khz, whose frame rate is the language models', with fewer filters."""
    from transformers import EncodecConfig, EncodecModel

    config = EncodecConfig(
        sampling_rate=32_000, upsampling_ratios=[8, 5, 4, 4], num_filters=4, codebook_size=2048,
        target_bandwidths=[2.2], use_causal_conv=False, use_conv_shortcut=False,
    )  # fmt: skip
    EncodecModel(config).save_pretrained(tmp_path)
    embedder = embedders.build("encodec", weights=tmp_path)
    assert embedder.sample_rate == 32_000
    assert embedder.embed(sound(2, 32_000)).shape == (100, 128)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("encoder.model.0.conv.conv.weight_v"), "none of the package encodec's two models"),
        (lambda s: s.pop("encoder.model.1.block.1.conv.conv.bias"), "missing"),
        (lambda s: s.update({"encoder.model.99.bias": torch.zeros(1)}), "encoder.layers.99.bias"),
        (lambda s: s.update({"encoder.model.1.block.1.conv.conv.bias": torch.zeros(1)}), "EncodecModel"),
    ],
)
def test_another_file_is_one_line(change, message, tmp_path, files):
    state = torch.load(files[1], weights_only=True)
    change(state)
    torch.save(state, tmp_path / "other.th")
    with pytest.raises(UserError, match=message) as caught:
        EncodecEmbedder(weights=tmp_path / "other.th")
    assert "other.th" in str(caught.value) and "\n" not in str(caught.value)


def test_missing_weights_say_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(UserError, match=r"curl -L .*encodec_24khz-d7cc33bc\.th https://dl\.fbaipublicfiles\.com"):
        EncodecEmbedder()
