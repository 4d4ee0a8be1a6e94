"""Writes tests/data/front_*.npz with the packages themselves: VENV/bin/python tests/peer/write_fronts.py tests/data

The environment (two minutes, 1.3 GB, Python 3.11; any CPU):

    python3.11 -m venv VENV
    VENV/bin/pip install torch==2.13.0
    VENV/bin/pip install torch==2.13.0 numpy==2.4.6 scipy soundfile soxr==1.1.0 librosa==0.11.0 resampy==0.4.3 \
        pyloudnorm==0.2.0 av==18.1.0
    VENV/bin/pip install --no-deps julius==0.2.8 torchaudio==2.11.0 audiocraft==1.3.0 frechet-audio-distance==0.3.4

front_resamplers.npz: ``x/RATE``, noise and a chirp of an odd length, and ``METHOD/FROM/TO``, what its package makes of
it. front_clips.npz: ``clip``, a stereo clip as int16, its ``rate``; ``loudness/GAIN``, torchaudio's loudness of it
after a gain and clipping; ``PRESET/NETWORK/generated`` and ``.../reference``, every STRIDE-th sample of what the tool
named by the preset hears of it (``.../length`` of them in all), done with the tool's own functions where they can be
imported alone, else with the calls that its source makes.

torchaudio's extension library is built for CUDA. On a CPU it is hidden here, so that torchaudio runs in plain torch.
"""

import importlib.util
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import av
import julius
import librosa
import numpy as np
import pyloudnorm
import resampy
import soundfile
import soxr
import torch

try:
    import torchaudio
except OSError:
    for name in [name for name in sys.modules if name.split(".")[0] == "torchaudio"]:
        del sys.modules[name]
    with mock.patch.object(Path, "glob", lambda *_: iter(())):
        import torchaudio

RATES = ((48_000, 16_000), (44_100, 16_000), (44_100, 48_000), (32_000, 48_000), (22_050, 32_000), (96_000, 16_000))
LENGTH, STRIDE, RATE = 1501, 16, 44_100
KAISER = dict(
    lowpass_filter_width=64,
    rolloff=0.9475937167399596,
    resampling_method="sinc_interp_kaiser",
    beta=14.769656459379492,
)


def on_tensor(function: Callable) -> Callable:
    """A function of a tensor as one of an array."""
    return lambda x, *rates: function(torch.from_numpy(x), *rates).numpy()


METHODS: dict[str, Callable] = {
    "soxr-hq": lambda x, old, new: librosa.resample(x, orig_sr=old, target_sr=new),
    "julius": on_tensor(julius.resample_frac),
    "torchaudio": on_tensor(lambda x, old, new: torchaudio.transforms.Resample(old, new)(x)),
    "torchaudio-functional": on_tensor(torchaudio.functional.resample),
    "kaiser-64": on_tensor(lambda x, old, new: torchaudio.transforms.Resample(old, new, **KAISER)(x)),
    "resampy-best": resampy.resample,
}


def own_module(package: str, path: str):
    """One file of a package, without importing the package."""
    file = Path(importlib.util.find_spec(package).submodule_search_locations[0]) / path
    spec = importlib.util.spec_from_file_location(f"{package}_{file.stem}", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


AUDIOCRAFT = own_module("audiocraft", "data/audio_utils.py")
FRECHET = own_module("frechet_audio_distance", "utils.py")


def noise(length: int, channels: int, seed: int) -> np.ndarray:
    """Noise with a chirp over it, [channels, length] float32, at most 0.8."""
    rng = np.random.default_rng(seed)
    t = np.arange(length) / length
    x = rng.standard_normal((channels, length)) + 2 * np.sin(np.pi * 0.9 * length * t**2 / 2)
    return (0.8 * x / abs(x).max()).astype(np.float32)


def through_ffmpeg(x: np.ndarray, rate: int) -> np.ndarray:
    """Mono float32 [T] to 16 bits by ffmpeg's converter, and back as a WAV file is read."""
    frame = av.AudioFrame.from_ndarray(x[None], format="fltp", layout="mono")
    frame.sample_rate = rate
    converter = av.AudioResampler(format="s16", layout="mono", rate=rate)
    parts = [part.to_ndarray() for part in (*converter.resample(frame), *converter.resample(None))]
    return np.concatenate(parts, axis=1)[0].astype(np.float32) / 32768


def truncated(x: np.ndarray) -> np.ndarray:
    """laion_clap's int16_to_float32(float32_to_int16(x))."""
    return ((np.clip(x, -1.0, 1.0) * 32767.0).astype(np.int16) / 32767.0).astype(np.float32)


def audiocraft(clip: torch.Tensor, generated: bool, rate: int, own: int = RATE) -> torch.Tensor:
    """solvers/musicgen.py and then a metric's convert_audio, of a clip at the data set's ``own`` rate."""
    if generated:
        clip = AUDIOCRAFT.normalize_audio(
            clip, strategy="loudness", sample_rate=own, loudness_headroom_db=14, loudness_compressor=False
        )
    return AUDIOCRAFT.convert_audio(clip[None], own, rate, 1)[0]


def audiocraft_sound(clip: torch.Tensor, generated: bool) -> np.ndarray:
    """The same of a clip that data/audio_dataset.py brings to the 16 kHz of config/dset/audio/audiocaps_16khz.yaml."""
    kept = AUDIOCRAFT.convert_audio(clip[None], RATE, 16_000, clip.shape[0])[0]
    return audiocraft(kept, generated, 32_000, 16_000)[0].numpy()


def audiocraft_fad(clip: torch.Tensor, generated: bool) -> np.ndarray:
    """metrics/fad.py with data/audio.py's audio_write."""
    wav = AUDIOCRAFT.normalize_audio(audiocraft(clip, generated, 16_000), True, "peak", 1)
    return through_ffmpeg(wav[0].numpy(), 16_000)


def audioldm_eval(clip: torch.Tensor) -> np.ndarray:
    """datasets/load_mel.py, WaveDataset.read_from_file."""
    audio = clip[0:1, ...]
    audio = torchaudio.functional.resample(audio - audio.mean(), orig_freq=RATE, new_freq=16_000)
    return torch.nn.functional.pad(audio, (0, max(0, 32_000 - audio.size(-1))))[0].numpy()


def av_bench(clip: torch.Tensor, rate: int, seconds: float) -> np.ndarray:
    """av_bench/data/audio_dataset.py, and extract.py's padding before PaSST."""
    wave = clip.mean(dim=0)
    wave = torchaudio.transforms.Resample(RATE, rate)(wave - wave.mean())
    return torch.nn.functional.pad(wave, (0, max(0, round(seconds * rate) - len(wave)))).numpy()


def stable_audio(path: Path, rate: int) -> np.ndarray:
    """src/passt_kld.py and src/clap_score.py."""
    return pyloudnorm.normalize.peak(librosa.load(path, sr=rate, mono=True)[0], -1.0).astype(np.float32)


def stable_audio_openl3(path: Path) -> np.ndarray:
    """src/openl3_fd.py with batching."""
    audio = pyloudnorm.normalize.peak(librosa.load(path, sr=None, mono=False)[0].T, -1.0).astype(np.float32)
    return soxr.resample(audio, RATE, 44_100).T


def fadtk(clip: torch.Tensor, rate: int) -> np.ndarray:
    """fadtk/fad.py, load_audio, with ffmpeg or SoX as torchaudio's writer."""
    mono = torch.mean(clip, 0).unsqueeze(0)
    return through_ffmpeg(torchaudio.transforms.Resample(RATE, rate, **KAISER)(mono)[0].numpy(), rate)


def fronts(clip: np.ndarray, path: Path, generated: bool) -> Iterator[tuple[str, np.ndarray]]:
    """What every tool hears of a clip, which is also the file at ``path``."""
    wav = torch.from_numpy(clip)
    yield "audiocraft-tf/vggish", audiocraft_fad(wav, generated)
    yield "audiocraft-tf/passt", audiocraft(wav, generated, 32_000)[0].numpy()
    yield "audiocraft-tf/clap", audiocraft(wav, generated, 48_000)[0].numpy()
    yield "audiocraft-tf-sound/passt", audiocraft_sound(wav, generated)
    yield "audioldm_eval-cnn14/cnn14", audioldm_eval(wav)
    yield "sam-v1/openl3", stable_audio_openl3(path)
    yield "sam-v1/passt", stable_audio(path, 32_000)
    yield "sam-v1/clap", truncated(stable_audio(path, 48_000))
    yield "av-bench/vggish", av_bench(wav, 16_000, 0)
    yield "av-bench/passt", av_bench(wav, 32_000, 10)
    yield "fadtk-1.1/vggish", np.pad(fadtk(wav, 16_000), (0, 16_000 - 8_000))
    yield "fadtk-1.1/clap", truncated(fadtk(wav, 48_000).astype(np.float64))
    yield "frechet-audio-distance-0.3/vggish", FRECHET.load_audio_task(path, 16_000, 1)
    yield "frechet-audio-distance-0.3/clap", FRECHET.load_audio_task(path, 48_000, 1)
    yield "native/clap", librosa.load(path, sr=48_000, mono=True)[0]


def write_resamplers(out: Path) -> None:
    """Every method at every pair of rates."""
    arrays = {f"x/{old}": noise(LENGTH, 1, seed=old)[0] for old, _ in RATES}
    for old, new in RATES:
        arrays |= {f"{method}/{old}/{new}": fn(arrays[f"x/{old}"], old, new) for method, fn in METHODS.items()}
    np.savez_compressed(out / "front_resamplers.npz", **arrays)


def write_clips(out: Path) -> None:
    """Every front on one clip of 0.5 s: two channels, an offset, a pause, a loud start."""
    clip = 0.55 * noise(RATE // 2, 2, seed=0)
    clip[:, RATE // 4 : RATE // 3] *= 0.01
    clip[:, RATE // 8 :] *= 0.3
    pcm = np.round((clip + np.array([[0.03], [0.01]])) * 32768).astype(np.int16)
    clip = pcm.astype(np.float32) / 32768
    arrays = {"clip": pcm, "rate": np.array(RATE)}
    meter = torchaudio.transforms.Loudness(RATE)
    for gain in (0.1, 1.0, 4.0):
        arrays[f"loudness/{gain}"] = np.array(meter(torch.from_numpy(np.clip(clip * np.float32(gain), -1, 1))).item())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.wav"
        soundfile.write(path, pcm.T, RATE, subtype="PCM_16")
        for side in ("generated", "reference"):
            for name, heard in fronts(clip, path, side == "generated"):
                if side == "reference" and "audiocraft" not in name:
                    continue  # all others treat both sides alike
                arrays[f"{name}/{side}"] = heard[..., ::STRIDE].astype(np.float32)
                arrays[f"{name}/length"] = np.array(heard.shape[-1])
    np.savez_compressed(out / "front_clips.npz", **arrays)


if __name__ == "__main__":
    write_resamplers(Path(sys.argv[1]))
    write_clips(Path(sys.argv[1]))
