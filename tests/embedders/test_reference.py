"""The packages of the extra ``reference`` beside this package's own code, on the same random weights and sounds.

``make reference`` installs them; without them all of this is skipped.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from clap_files import TEXTS, TINY, clap_state, save_pt, save_roberta, save_tokenizer
from random_weights import sound
from test_encodec import package_state

from magnet_eval import audio, reference
from magnet_eval.embedders.clap import ClapEmbedder
from magnet_eval.embedders.clap_laion import LaionClapEmbedder
from magnet_eval.embedders.encodec_frames import EncodecEmbedder, PackageEncodecEmbedder
from magnet_eval.embedders.reference_fad import PackageFadEmbedder, package_distance
from magnet_eval.generators.codec import Codec
from magnet_eval.lookup import UserError
from magnet_eval.metrics.frechet import frechet_to

if any(importlib.util.find_spec(name) is None for name in reference.PACKAGES):
    pytest.skip("make reference installs the packages", allow_module_level=True)

RATE = 48_000
HUBCONF = """
dependencies = ["torch"]
import torch

class Stand(torch.nn.Module):
    # what frechet-audio-distance takes of torchvggish: layers, two switches, and a window a second
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embeddings = torch.nn.Sequential(torch.nn.Linear(16000, 8), torch.nn.ReLU(True))
        self.postprocess = True

    def forward(self, samples, rate):
        windows = torch.tensor(samples[: len(samples) // rate * rate]).reshape(-1, rate)
        assert not self.postprocess and rate == 16000
        if not len(windows):
            raise RuntimeError("too short")
        return self.embeddings(windows).squeeze()

def vggish(**options):
    return Stand()
"""


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Every file of the packages under its published name, and roberta-base."""
    root = tmp_path_factory.mktemp("reference")
    save_roberta(root / "roberta-base")
    save_tokenizer(root / "tokenizer")
    here = Path.cwd()
    os.chdir(root)  # a folder roberta-base stands for the hub's
    try:
        with reference.offline():
            whole = reference.load("laion_clap").CLAP_Module(enable_fusion=False, amodel="HTSAT-tiny", device="cpu")
    finally:
        os.chdir(here)
    save_pt(root / "630k-audioset-best.pt", clap_state(**TINY), whole.model.state_dict())
    torch.save(package_state(1), root / "encodec_24khz-d7cc33bc.th")
    torch.save(package_state(2), root / "encodec_48khz-7e698e3e.th")
    repository = root / "harritaylor_torchvggish_master"
    repository.mkdir()
    (repository / "hubconf.py").write_text(HUBCONF)
    (root / "hub" / "checkpoints").mkdir(parents=True)
    for name in ("vggish-10086976.pth", "vggish_pca_params-970ea276.pth"):
        torch.save({"means": np.zeros(3)}, root / "hub" / "checkpoints" / name)
    return root


@pytest.fixture(autouse=True)
def places(weights, monkeypatch):
    monkeypatch.chdir(weights)
    monkeypatch.setenv("TORCH_HOME", str(weights))


def test_laion_clap_equals_transformers(weights):
    theirs = LaionClapEmbedder(weights=weights / "630k-audioset-best.pt", crop="seeded")
    ours = ClapEmbedder(
        weights=weights / "630k-audioset-best.pt", tokenizer=weights / "tokenizer", crop="seeded"
    )  # fmt: skip
    for seconds in (3, 10, 15):
        clip = sound(seconds, RATE)
        assert np.abs(theirs.embed(clip) - ours.embed(clip)).max() < 1e-5
    assert np.abs(theirs.embed_text(TEXTS) - ours.embed_text(TEXTS)).max() < 1e-5
    assert theirs.fingerprint() != ours.fingerprint()
    raw = theirs.towers.module.get_audio_embedding_from_data(torch.from_numpy(sound(3, RATE))[None], use_tensor=True)
    assert np.abs(raw.numpy() - ours.embed(sound(3, RATE))).max() < 1e-5  # it pads as we do


def test_laion_clap_refuses_what_it_cannot_take(weights, tmp_path, monkeypatch):
    save_pt(tmp_path / "fused.pt", clap_state(**TINY, fused=True))
    with pytest.raises(UserError, match="fused"):
        LaionClapEmbedder(weights=tmp_path / "fused.pt")
    with pytest.raises(UserError, match="transformers' layout"):
        LaionClapEmbedder(weights=tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="hf download roberta-base"):
        LaionClapEmbedder(weights=weights / "630k-audioset-best.pt")


@pytest.mark.parametrize("file", ["encodec_24khz-d7cc33bc.th", "encodec_48khz-7e698e3e.th"])
def test_encodec_equals_transformers(file, weights, tmp_path):
    for options in ({}, {"level": False}, {"level": False, "segments": False}):
        ours = EncodecEmbedder(weights=weights / file, **options)
        theirs = PackageEncodecEmbedder(weights=weights / file, **options)
        clip = sound(2.5, ours.sample_rate)
        assert np.abs(ours.embed(clip) - theirs.embed(clip)).max() < 1e-5
    ours.read_codec(weights / file).save_pretrained(tmp_path)
    clip = np.repeat(clip[None], ours.channels, axis=0)
    theirs.model.set_target_bandwidth(24.0)
    with torch.no_grad():
        ceiling = theirs.model(torch.from_numpy(clip)[None])[0].numpy()
    assert np.abs(Codec.read(tmp_path, torch.device("cpu")).round_trip(clip) - ceiling).max() < 1e-5


@pytest.mark.parametrize(
    ("file", "ours"),
    [
        (
            "630k-audioset-best.pt",
            lambda path, root: ClapEmbedder(weights=path, tokenizer=root / "tokenizer", crop="seeded"),
        ),
        ("encodec_24khz-d7cc33bc.th", lambda path, root: EncodecEmbedder(weights=path)),
        ("encodec_48khz-7e698e3e.th", lambda path, root: EncodecEmbedder(weights=path, level=False, segments=False)),
    ],
)  # fmt: skip
def test_frechet_audio_distance_hears_the_same(file, ours, weights):
    theirs, ours = PackageFadEmbedder(weights=weights / file), ours(weights / file, weights)
    assert theirs.sample_rate == ours.sample_rate
    clip = sound(11, ours.sample_rate)
    assert np.abs(theirs.embed(clip) - ours.embed(clip)).max() < 1e-5
    if getattr(ours, "channels", 1) == 2:
        wide = np.stack([clip, clip[::-1]])
        assert np.abs(theirs.embed(wide) - ours.embed(wide)).max() < 1e-5
        assert np.abs(ours.embed(wide) - ours.embed(clip)).max() > 1e-2


def test_vggish_comes_from_the_repository_that_is_here(weights):
    before = torch.hub.get_dir()
    embedder = PackageFadEmbedder(weights=weights / "harritaylor_torchvggish_master")
    frames = embedder.embed(sound(3, 16_000))
    assert frames.shape == (3, 8) and frames.min() < 0  # the last ReLU is off
    assert torch.hub.get_dir() == before
    with pytest.raises(UserError, match="one window"):
        embedder.embed(sound(1, 16_000))
    with pytest.raises(UserError, match="no embedding of this clip.*too short"):
        embedder.embed(sound(0.5, 16_000))


def folder_of(path, clips, rate=16_000):
    for i, clip in enumerate(clips):
        audio.write(path / f"{i}.wav", clip[None], rate)
    return path


def test_score_of_folders_is_the_distance_of_frames(weights, tmp_path):
    embedder = PackageFadEmbedder(weights=weights / "harritaylor_torchvggish_master")
    sets = [[sound(8 + i, 16_000) * gain for i in range(3)] for gain in (1, 0.5)]
    one, two = (folder_of(tmp_path / name, clips) for name, clips in zip("ab", sets, strict=True))
    frames = [np.concatenate([embedder.embed(clip) for clip in clips]) for clips in sets]
    score = embedder.score(one, two)
    assert score == pytest.approx(package_distance(*frames), abs=1e-4)  # files hold 16 bits
    assert score == pytest.approx(frechet_to(frames[0])(frames[1], None), rel=1e-3)
    audio.write(two / "short.wav", sound(0.5, 16_000)[None], 16_000)
    with pytest.raises(UserError, match="no distance of .*too short"):  # its own score would leave clips out
        embedder.score(one, two)
    with pytest.raises(UserError, match="no distance"):  # its own score would be -1
        embedder.score(one, tmp_path / "absent")


def test_package_distance_equals_ours_and_names_faults(monkeypatch):
    rng = np.random.default_rng(0)
    one, two = rng.normal(size=(200, 6)), rng.normal(1, 2, size=(150, 6))
    assert package_distance(one, two) == pytest.approx(frechet_to(one)(two, None), rel=1e-9)
    with pytest.raises(UserError, match="two frames"):
        package_distance(one, two[:1])
    with pytest.raises(UserError, match="no distance of these frames"):
        package_distance(one * np.nan, two)
    from scipy import linalg

    def newer(matrix):
        raise AssertionError

    monkeypatch.setattr(linalg, "sqrtm", newer)
    with pytest.raises(UserError, match=r"SciPy .* refuses. Install scipy<1\.18"):
        package_distance(one, two)


def test_frechet_audio_distance_refuses_what_it_cannot_take(tmp_path):
    (tmp_path / "Cnn14_16k_mAP=0.438.pth").write_bytes(b"")
    with pytest.raises(UserError, match="PANNs gives -1 for all audio, set embedder: cnn14"):
        PackageFadEmbedder(weights=tmp_path / "Cnn14_16k_mAP=0.438.pth")
    (tmp_path / "encodec_24khz-d7cc33bc.th").write_bytes(b"no weights")
    with pytest.raises(UserError, match="encodec_24khz-d7cc33bc.th"):
        PackageFadEmbedder(weights=tmp_path / "encodec_24khz-d7cc33bc.th")
    broken = tmp_path / "harritaylor_torchvggish_master"
    broken.mkdir()
    with pytest.raises(UserError, match="cannot take"):
        PackageFadEmbedder(weights=broken)


def test_stand_ins_are_gone_after_import():
    code = (
        "import sys; from magnet_eval import reference; from huggingface_hub import constants\n"
        "for name in reference.PACKAGES: reference.load(name)\n"
        "assert not constants.HF_HUB_OFFLINE\n"
        "from transformers.utils import is_torchvision_available, is_torchaudio_available\n"
        "print(is_torchvision_available(), 'torchvision' in sys.modules)\n"
        "print(is_torchaudio_available(), 'torchaudio' in sys.modules)\n"
        "from transformers import ClapModel, ClapFeatureExtractor\n"
    )
    unset = {key: value for key, value in os.environ.items() if key != "HF_HUB_OFFLINE"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=unset)
    assert done.returncode == 0, done.stderr
    assert all(line.split()[0] == line.split()[1] for line in done.stdout.splitlines()[-2:])
