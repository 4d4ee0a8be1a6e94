"""VGGish, Cnn14 and PaSST equal the published packages: golden arrays are those packages' (see tests/peer).

Networks are full-size with weights that follow from their names; where only windows or files are at stake, small.
"""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from random_weights import random_state, sound

from magnet_eval import embedders
from magnet_eval.embedders import cnn14, passt, sources, vggish
from magnet_eval.lookup import UserError

GOLDEN = np.load(Path(__file__).parent.parent / "data" / "classifiers_golden.npz")
HERE = Path(__file__)  # stands for a file where nothing is read from it


def on_meta(make, *sizes):
    with torch.device("meta"):
        return make(*sizes)


@pytest.fixture
def no_file(monkeypatch):
    """Makes embedders read the state that is put into the list, not a file."""
    states = []
    for module in (vggish, cnn14, passt):
        monkeypatch.setattr(module, "read_state", lambda path, key="": states[-1])
    return states


@pytest.fixture
def small(monkeypatch):
    """Networks of a few MB with the real names."""
    monkeypatch.setattr(vggish, "CHANNELS", ((4,), (4,), (4, 4), (4, 4)))
    monkeypatch.setattr(vggish, "HIDDEN", 16)
    monkeypatch.setattr(cnn14, "WIDTHS", (4, 4, 8, 8, 8, 8))
    monkeypatch.setattr(cnn14, "EMBEDDING", 8)
    monkeypatch.setattr(passt, "DIM", 24)
    monkeypatch.setattr(passt, "DEPTH", 2)


def test_vggish_equals_both_tools(no_file):
    """Google's front end, framing and level, and torchvggish's network: 19 windows a clip of 10 s against 10."""
    no_file.append(random_state(on_meta(vggish.VGGish)))
    audio = sound(2.99, 16_000)
    ported = vggish.VGGishEmbedder(weights=HERE)
    assert np.abs(ported.embed(audio) - GOLDEN["vggish_ported"]).max() < 1e-5
    google = vggish.VGGishEmbedder(weights=HERE, window=16_000, hop=8_000, positive_peak=True)
    assert np.abs(google.embed(audio) - GOLDEN["vggish_google"]).max() < 1e-5
    assert np.abs(google.embed(audio / 7) - GOLDEN["vggish_google"]).max() < 1e-4  # deaf to level
    assert ported.fingerprint() != google.fingerprint()


def test_vggish_front_end_equals_googles():
    patches = vggish.log_mel(torch.from_numpy(sound(2.99, 16_000)).unfold(0, 15_600, 15_360))[:, ::5].numpy()
    assert patches.shape == GOLDEN["vggish_ported_patches"].shape
    assert np.abs(patches - GOLDEN["vggish_ported_patches"]).max() < 1e-4


@pytest.mark.parametrize(("window", "hop", "counts"), [(15_600, 15_360, (10, 31)), (16_000, 8_000, (19, 59))])
def test_vggish_windows(small, no_file, window, hop, counts):
    no_file.append(random_state(on_meta(vggish.VGGish)))
    embedder = vggish.VGGishEmbedder(weights=HERE, window=window, hop=hop)
    found = [embedder.embed(np.zeros(round(seconds * 16_000), np.float32)) for seconds in (10, 30)]
    assert tuple(map(len, found)) == counts and found[0].dtype == np.float32
    assert len(embedder.embed(np.zeros(window, np.float32))) == 1
    with pytest.raises(UserError, match=f"at least {window / 16_000:.3f} s of audio, this clip has"):
        embedder.embed(np.zeros(window - 1, np.float32))


def test_positive_peak_is_the_largest_sample_not_the_loudest(small, no_file):
    no_file.append(random_state(on_meta(vggish.VGGish)))
    embedder = vggish.VGGishEmbedder(weights=HERE, positive_peak=True)
    audio = np.full(16_000, -0.5, np.float32)
    audio[0] = 0.25
    plain = vggish.VGGishEmbedder(weights=HERE)
    assert np.allclose(embedder.embed(audio), plain.embed(audio / 0.25), atol=1e-6)
    assert np.allclose(
        embedder.embed(-audio * 1e-7), plain.embed(-audio * 1e-7 * 327_680), atol=1e-6
    )  # not raised more
    assert np.isfinite(embedder.embed(-np.abs(audio))).all()  # no positive sample at all
    assert np.isfinite(embedder.embed(np.zeros(16_000, np.float32))).all()


@pytest.mark.parametrize(("rate", "n_fft"), [(16_000, 512), (32_000, 1024)])
def test_cnn14_equals_panns(no_file, rate, n_fft):
    no_file.append(random_state(on_meta(cnn14.Cnn14, n_fft)))
    embedder = cnn14.Cnn14Embedder(weights=HERE)
    assert embedder.sample_rate == rate
    found, golden = embedder.embed(sound(1.3, rate)), GOLDEN[f"cnn14_{rate}"]
    assert found.shape == golden.shape == (1, 2048 + 527)
    assert np.abs(found - golden).max() < 1e-4 * np.abs(golden).max()


def test_cnn14_needs_32_frames(small, no_file):
    no_file.append(random_state(on_meta(cnn14.Cnn14, 512)))
    embedder = cnn14.Cnn14Embedder(weights=HERE)
    assert embedder.embed(sound(0.31, 16_000)).shape == (1, 8 + 527)
    with pytest.raises(UserError, match=r"at least 0\.310 s"):
        embedder.embed(sound(0.309, 16_000))


@pytest.mark.parametrize(("seconds", "times"), [(10, 99), (20, 200)])
def test_passt_equals_hear21passt(no_file, seconds, times):
    no_file.append(random_state(on_meta(passt.PaSST, times)))
    embedder = passt.PasstEmbedder(weights=HERE)
    assert embedder.longest == seconds * 32_000
    found, golden = embedder.embed(sound(1.3, 32_000)), GOLDEN[f"passt_{seconds}"]
    assert found.shape == golden.shape == (1, 768 + 527)
    assert np.abs(found - golden).max() < 1e-4


def test_passt_front_end_equals_hear21passt():
    found = passt.log_mel(torch.from_numpy(sound(1.3, 32_000))[None])[0, :, ::4].numpy()
    assert np.abs(found - GOLDEN["passt_mel"]).max() < 1e-4


def test_passt_segments_as_audiocraft(small, no_file):
    """End to end; 0.15 s or less is dropped; each is heard as if it were alone."""
    no_file.append(random_state(on_meta(passt.PaSST, 99)))
    embedder = passt.PasstEmbedder(weights=HERE)
    audio = sound(20.2, 32_000)
    found = embedder.embed(audio)
    assert len(found) == 3 and len(embedder.embed(audio[: 20 * 32_000 + 4_800])) == 2
    assert np.allclose(found[1:2], embedder.embed(audio[320_000:640_000]), atol=1e-5)
    assert np.allclose(found[2:], embedder.embed(audio[640_000:]), atol=1e-5)
    assert embedder.embed(audio[:4_801]).shape == (1, 24 + 527)
    with pytest.raises(UserError, match=r"at least 0\.150 s"):
        embedder.embed(audio[:4_800])


def test_passt_overlapping_as_stable_audio_metrics(small, no_file):
    """A clip a little over 10 s has a second window that is half zeros; below 1.5 s nothing is padded."""
    no_file.append(random_state(on_meta(passt.PaSST, 99)))
    alone, mean = (passt.PasstEmbedder(weights=HERE, windows=windows) for windows in passt.WINDOWS)
    audio = sound(10.03, 32_000)
    second = np.concatenate([audio[160_000:], np.zeros(480_000 - len(audio), np.float32)])
    wanted = (alone.embed(audio[:320_000]) + alone.embed(second)) / 2
    assert np.allclose(mean.embed(audio), wanted, atol=1e-5)
    padded = np.pad(audio[:64_000], (0, 256_000))
    assert np.allclose(mean.embed(audio[:64_000]), alone.embed(padded), atol=1e-5)
    assert np.allclose(mean.embed(audio[:48_000]), alone.embed(audio[:48_000]), atol=1e-5)
    assert alone.fingerprint() != mean.fingerprint()
    with pytest.raises(UserError, match="unknown windows 'overlaping'. Did you mean overlapping"):
        passt.PasstEmbedder(weights=HERE, windows="overlaping")


def test_passt_leaves_the_random_numbers_alone(small, no_file):
    no_file.append(random_state(on_meta(passt.PaSST, 99)))
    embedder = passt.PasstEmbedder(weights=HERE)
    before = torch.get_rng_state()
    first = embedder.embed(sound(1, 32_000))
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(first, embedder.embed(sound(1, 32_000)))


def test_files_as_published(small, tmp_path):
    """A bare state, one beside an old sampler's NumPy arrays (Cnn14 at 16 kHz; from NumPy 1 too), and safetensors."""
    from safetensors.torch import save_file

    state = random_state(on_meta(cnn14.Cnn14, 512))
    bare, packed, tensors = (tmp_path / name for name in ("bare.pth", "packed.pth", "file.safetensors"))
    torch.save(state, bare)
    sampler = {"indexes": [np.arange(3), np.ones(2, np.float32)], "pointers": np.zeros(2, np.int32)}
    torch.save({"iteration": 7, "model": state, "sampler": sampler}, packed, _use_new_zipfile_serialization=False)
    assert b"numpy._core.multiarray" in packed.read_bytes() or b"numpy.core.multiarray" in packed.read_bytes()
    save_file(state, tensors)
    clip = sound(1, 16_000)
    found = [cnn14.Cnn14Embedder(weights=path).embed(clip) for path in (bare, str(packed), tensors)]
    packed.write_bytes(packed.read_bytes().replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    found.append(cnn14.Cnn14Embedder(weights=packed).embed(clip))
    assert all(np.array_equal(frames, found[0]) for frames in found)


class Stranger:
    def __reduce__(self):
        return (exec, ("raise SystemExit('it ran')",))


def test_faults_of_files_are_one_line(small, tmp_path):
    file = tmp_path / "weights.pth"
    state = random_state(on_meta(vggish.VGGish))
    torch.save(state, file)
    assert vggish.VGGishEmbedder(weights=file).files == [file]

    def refused(build, pattern):
        with pytest.raises(UserError, match=pattern) as caught:
            build(weights=file)
        assert "\n" not in str(caught.value) and "weights.pth" in str(caught.value)

    refused(cnn14.Cnn14Embedder, r"is no Cnn14 of PANNs: .*conv_real.weight is absent.* one of 256, 512, 1024")
    refused(passt.PasstEmbedder, "is no PaSST for 10, 20 or 30 s: time_new_pos_embed is absent")
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    refused(vggish.VGGishEmbedder, "damaged")
    torch.save({**state, "features.0.weight": torch.zeros(4, 3, 3, 3), "extra": torch.zeros(2)}, file)
    refused(
        vggish.VGGishEmbedder, r"weights of VGGish: extra is \(2,\), not absent; features.0.weight is \(4, 3, 3, 3\)"
    )
    torch.save({"nothing": 1}, file)
    refused(vggish.VGGishEmbedder, "holds no parameters")
    torch.save({"state": Stranger()}, file)
    refused(vggish.VGGishEmbedder, "refused")
    file.write_bytes(pickle.dumps(Stranger()))
    refused(vggish.VGGishEmbedder, "weights.pth")


def test_values_that_are_not_finite_are_refused(small, no_file):
    state = random_state(on_meta(vggish.VGGish))
    no_file.append({**state, "embeddings.4.bias": torch.full((128,), float("nan"))})
    with pytest.raises(UserError, match="VGGish gives values that are not finite"):
        vggish.VGGishEmbedder(weights=HERE).embed(np.zeros(16_000, np.float32))


def test_half_precision_files_are_widened(small, no_file):
    no_file.append({name: value.half() for name, value in random_state(on_meta(vggish.VGGish)).items()})
    assert vggish.VGGishEmbedder(weights=HERE).embed(np.zeros(16_000, np.float32)).dtype == np.float32


@pytest.mark.parametrize("name", ["vggish", "cnn14", "passt"])
def test_without_weights_the_command_that_gets_them_is_shown(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for variable in ("TORCH_HOME", "HF_HOME", "HF_HUB_CACHE"):
        monkeypatch.setenv(variable, str(tmp_path))
    with pytest.raises(UserError, match=f"the weights {name}.* are not here. Get them: curl -L") as caught:
        embedders.build(name)
    assert "\n" not in str(caught.value)
    monkeypatch.setattr(sources.Source, "find", lambda self: None)
    with pytest.raises(UserError, match="there are no weights vgish. Give a path, a hub id or a name, e.g. vggish"):
        sources.place_of("vgish")
