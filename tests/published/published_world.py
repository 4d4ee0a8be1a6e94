"""A working directory as the published protocols need it: weights, tables and audio in the official layouts, random.

The weights have the publishers' file names, containers and parameter names. The networks are as wide as the metrics
need at their outputs, and small within, unless a test builds them at their full size.
"""

import csv
import json
from pathlib import Path

import numpy as np
import soundfile
import torch
from clap_files import SMALL, clap_state, save_pt, save_tokenizer
from random_weights import random_state
from safetensors.torch import save_file

from magnet_eval import cli
from magnet_eval.embedders import audiobox, cnn14, passt, vggish, wavlm
from magnet_eval.embedders.sources import LAION, SOURCES
from magnet_eval.metrics import control, resampling
from magnet_eval.numerics import OPTIONS

PIPELINE = Path(__file__).parents[1] / "data" / "pipeline"  # tiny language models and codecs, as published
SECONDS = 10.0
IDS = (  # YouTube's; of the last one there is no audio
    "-random0001", "_random0002", "random-0003", "random_0004", "random00005", "random00006", "random00007",
)  # fmt: skip
HAVE = IDS[:-1]
RATES = (44_100, 48_000, 16_000, 44_100, 32_000, 44_100, 44_100)  # Hz
CHANNELS = (2, 1, 1, 2, 1, 1, 2)
CAPTIONS = (
    "A slow waltz for strings.", "Fast drums,\nand a bright synthesizer over them.", 'A "worn" tape of a piano.',
    "Rain on a tin roof.", "Two guitars, and a voice.", "A choir, far away.", "Techno.",
)  # fmt: skip


def shrink(patch) -> None:
    """Makes the networks small within; what the metrics see of them keeps its width."""
    patch.setattr(vggish, "CHANNELS", ((4,), (4,), (4, 4), (4, 4)))
    patch.setattr(vggish, "HIDDEN", 16)
    patch.setattr(cnn14, "WIDTHS", (4, 4, 8, 8, 8, 8))
    patch.setattr(passt, "DEPTH", 1)
    patch.setattr(passt, "STRIDE", 20)  # a quarter of the patches
    sizes = {"CHANNELS": 16, "DIM": 24, "DEPTH": 1, "HEADS": 4, "INNER": 24, "NEAR_GROUPS": 4}
    for name, size in sizes.items():
        patch.setattr(wavlm, name, size)
    patch.setattr(audiobox, "DIM", sizes["DIM"])
    patch.setattr(audiobox, "DEPTH", sizes["DEPTH"])


def hurry(patch) -> None:
    """Makes resamples of sets few; an interval and a p-value there are still."""
    patch.setattr(resampling.bootstrap, "__defaults__", (99,))
    patch.setattr(resampling.paired_difference, "__kwdefaults__", {"n_resamples": 99, "n_permutations": 99})
    patch.setattr(control, "N_PERMUTATIONS", 99)


def make(home: Path) -> None:
    """Everything, in the folder ``home``."""
    write_weights(home / "models" / "embedders")
    real = [clip(seed, rate, channels) for seed, (rate, channels) in enumerate(zip(RATES, CHANNELS, strict=True))]
    for name, samples, rate in zip(HAVE, real, RATES, strict=False):
        write(home / "clips" / f"{name}.wav", samples, rate)
    write_tables(home)
    write_systems(home, real)


def write_weights(folder: Path, clap: dict = SMALL) -> None:
    """Every file that the presets' options name, by the publisher's name."""
    folder.mkdir(parents=True, exist_ok=True)
    with torch.device("meta"):
        networks = {
            "vggish": vggish.VGGish(), "cnn14-16k": cnn14.Cnn14(512), "cnn14-32k": cnn14.Cnn14(1024),
            "passt-10s": passt.PaSST(99), "passt-20s": passt.PaSST(200), "audiobox": audiobox.Audiobox(),
        }  # fmt: skip
    for name, network in networks.items():
        state = random_state(network)
        if name == "audiobox":
            (folder / name).mkdir()
            save_file(state, folder / name / "model.safetensors")
            scales = {axis: {"mean": 5.0, "std": 1.0} for axis in audiobox.AXES}
            (folder / name / "config.json").write_text(json.dumps({"target_transform": scales}))
        else:
            torch.save({"model": state} if name.startswith("cnn14") else state, folder / SOURCES[name].file)
    for name in sorted({str(options["weights"]) for options in OPTIONS.values()} & set(LAION)):
        save_pt(folder / SOURCES[name].file, clap_state(**clap, fused="fusion" in name))
    save_tokenizer(folder / "roberta-base")


def clip(seed: int, rate: int, channels: int = 1, seconds: float = SECONDS) -> np.ndarray:
    """Three decaying tones in noise, others in each channel: float32 [C, T]."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    tones = [
        sum(np.sin(2 * np.pi * f * time) * np.exp(-time * d) for f, d in rng.uniform((80, 0), (3000, 1), (3, 2)))
        for _ in range(channels)
    ]
    return (0.15 * np.array(tones) + 0.01 * rng.standard_normal((channels, len(time)))).astype(np.float32)


def write(path: Path, samples: np.ndarray, rate: int, subtype: str = "PCM_16") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.atleast_2d(samples).T, rate, subtype=subtype)


def write_tables(home: Path) -> None:
    """musiccaps.csv and audiocaps_test.csv with the official columns, and data/*.jsonl prepared of them."""
    music = [
        {"ytid": name, "start_s": 30, "end_s": 40, "audioset_positive_labels": "/m/04rlf", "caption": caption,
         "aspect_list": "['low quality', 'sad']", "author_id": 4, "is_balanced_subset": False,
         "is_audioset_eval": True}
        for name, caption in zip(IDS, CAPTIONS, strict=True)
    ]  # fmt: skip
    sound = [
        {"audiocap_id": 1000 * n + row, "youtube_id": name, "start_time": 30, "caption": f"{caption} Take {n}."}
        for row, (name, caption) in enumerate(zip(IDS, CAPTIONS, strict=True))
        for n in range(1, 6)
    ]
    for name, rows in (("musiccaps", music), ("audiocaps_test", sound)):
        with (home / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
        dataset = name.partition("_")[0]
        words = [f"dataset={dataset}", f"csv={home / name}.csv", f"audio={home / 'clips'}"]
        assert cli.main(["data", "prepare", *words, f"out={home / 'data' / dataset}.jsonl"]) == 0


def write_systems(home: Path, real: list[np.ndarray]) -> None:
    """Two folders of audio as systems, and zoo models that point to tiny checkpoints."""
    for system, noise in (("near", 0.01), ("far", 0.2)):
        for seed, (name, samples, rate) in enumerate(zip(IDS, real, RATES, strict=True)):
            added = noise * np.random.default_rng(seed + 100).standard_normal(samples.shape)
            write(home / system / f"{name}.wav", 0.5 * samples + added, rate)
        (home / "models" / f"{system}.yaml").write_text(f"family: files\nfolder: {system}\n")
    (home / "models" / "files.yaml").write_text("family: files\n")
    text = f"text: {PIPELINE / 'text'}\n"
    own = {
        "magnet-small-10secs": f"family: masked\ncheckpoint: {PIPELINE / 'magnet'}\n{text}",
        "codec-encodec-32khz": f"family: codec\ncodec: {PIPELINE / 'encodec'}\n",
    }
    for name, model in own.items():
        (home / "models" / f"{name}.yaml").write_text(model)
