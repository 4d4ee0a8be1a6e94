"""LAION's CLAP (Wu et al., 2023, arXiv:2211.06687) through transformers: one unit vector per 10 s of audio, or text.

All published checkpoints load by name: those of transformers' folders, and LAION's own .pt files (clap_layout.py).
laion-clap itself cuts a clip over 10 s at a random place, so that two calls give two scores. Here ``crop`` says which
10 s are heard, and the answer is the same each time.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from magnet_eval.embedders import hash_of
from magnet_eval.embedders.clap_layout import load
from magnet_eval.embedders.network import batch_on, samples_of
from magnet_eval.embedders.sources import place_of
from magnet_eval.lookup import UserError, check

SAMPLE_RATE, WINDOW = 48_000, 480_000  # 10 s
N_FFT, HOP, N_MELS, LOWEST, HIGHEST = 1024, 480, 64, 50.0, 14_000.0
MAX_TOKENS = 77
CROPS = ("windows", "seconds", "first", "seeded")
PADDINGS = ("repeatpad", "pad")
COLLAPSED = 0.95  # mean cosine of unrelated captions; a sound text tower has 0.2 to 0.3
CAPTIONS = (
    "a solo piano plays a slow and sad waltz",
    "heavy metal with distorted guitars and double bass drums",
    "rain falls on a tin roof while thunder rolls",
    "a man speaks and a dog barks twice",
    "fast techno at 140 beats per minute",
    "a choir sings a hymn in a large church",
)


def windows_of(audio: Tensor, crop: str, seed: int) -> list[Tensor]:
    """The parts of mono audio [T] that are heard, each of at most 10 s.

    windows: end to end, a last one of less than 5 s left out. seconds: 10 s from each second on, as in fadtk, so that
    all but one of a clip of 10 s are padded. first: the first 10 s. seeded: 10 s from a place that follows from the
    seed and the clip's own samples, so that the order of the clips does not matter.
    """
    if crop == "seconds":
        return [audio[start : start + WINDOW] for start in range(0, len(audio), SAMPLE_RATE)]
    room = len(audio) - WINDOW
    if room <= 0:
        return [audio]
    if crop == "windows":
        return [part for part in audio.split(WINDOW) if len(part) >= WINDOW // 2]
    content = hashlib.sha256(audio.numpy().tobytes()).digest()
    start = np.random.default_rng([seed, *content]).integers(room + 1) if crop == "seeded" else 0
    return [audio[start : start + WINDOW]]


def padded(audio: Tensor, padding: str) -> Tensor:
    """Audio of at most 10 s at 10 s: repeated as often as it fits whole (repeatpad) or not (pad), then zeros."""
    repeats = WINDOW // len(audio) if padding == "repeatpad" else 1
    return torch.nn.functional.pad(audio.repeat(repeats), (0, WINDOW - repeats * len(audio)))


class Towers:
    """Transformers' ClapModel with its tokenizer."""

    def __init__(self, place: Path, tokenizer: str | Path, device: str) -> None:
        """tokenizer: for a .pt; a folder has its own. Raises UserError if something is missing, damaged or empty."""
        from transformers.audio_utils import mel_filter_bank

        self.device = device
        self.model = load(place, device)
        self.fused: bool = self.model.config.audio_config.enable_fusion
        folder = place if place.is_dir() else place_of(tokenizer)
        self.tokenizer, tokens = read_tokenizer(folder, self.model.config.text_config.vocab_size)
        self.files = [*(sorted(place.glob("*.safetensors")) or sorted(place.glob("*.bin"))), *tokens]
        if not place.is_dir():
            self.files = [place, *tokens]
        # Fused checkpoints were trained on torchaudio's filters, the others on librosa's.
        norm, scale = (None, "htk") if self.fused else ("slaney", "slaney")
        filters = mel_filter_bank(N_FFT // 2 + 1, N_MELS, LOWEST, HIGHEST, SAMPLE_RATE, norm=norm, mel_scale=scale)
        self.filters = torch.from_numpy(filters).float().to(device)

    def log_mel(self, window: Tensor) -> Tensor:
        """Mel power spectrogram in dB of audio [B, T]: [B, 1 + T // 480, 64]."""
        taper = torch.hann_window(N_FFT, device=window.device)
        spectrum = torch.stft(window, N_FFT, HOP, window=taper, pad_mode="reflect", return_complex=True)
        return 10 * (spectrum.abs().square().mT @ self.filters).clamp(min=1e-10).log10()

    def audio(self, windows: Tensor) -> Tensor:
        """Windows of 10 s [B, T] -> unit vectors [B, d]."""
        mel = self.log_mel(windows.to(self.device))[:, None].expand(-1, 4 if self.fused else 1, -1, -1)
        # transformers' own front end calls a random clip of each batch "longer" where none is; laion-clap does not.
        longer = torch.zeros(len(windows), 1, dtype=torch.bool, device=self.device)
        return self.model.get_audio_features(input_features=mel, is_longer=longer).pooler_output

    def text(self, texts: Sequence[str]) -> Tensor:
        """Texts -> unit vectors [n, d]; what is beyond 77 tokens is not read, as in laion-clap."""
        batch = self.tokenizer(
            list(texts), padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
        ).to(self.device)
        return self.model.get_text_features(batch["input_ids"], batch["attention_mask"]).pooler_output


def read_tokenizer(folder: Path, vocabulary: int) -> tuple[Any, list[Path]]:
    """A folder's tokenizer and its files. Raises UserError unless it has as many tokens as the text tower.

    Where its files are missing, some of transformers' tokenizers come out empty and turn every text into the same ids.
    """
    from transformers import AutoTokenizer

    hint = "Get roberta-base's: hf download FacebookAI/roberta-base tokenizer.json tokenizer_config.json config.json"
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{folder} holds no tokenizer: {' '.join(str(error).split())[:200]} {hint}") from error
    if len(tokenizer) != vocabulary:
        raise UserError(f"the tokenizer of {folder} has {len(tokenizer)} tokens, this CLAP reads {vocabulary}. {hint}")
    return tokenizer, [
        path for name in ("tokenizer.json", "vocab.json", "merges.txt") if (path := folder / name).is_file()
    ]


class ClapEmbedder:
    """CLAP as an embedder: unit vectors, one per window that ``crop`` keeps; a CLAP score is their mean cosine."""

    name = "clap"
    version = "1"
    sample_rate = SAMPLE_RATE

    def __init__(
        self,
        device: str = "cpu",
        weights: str | Path = "music_audioset_epoch_15_esc_90.14",
        crop: str = "windows",
        seed: int = 0,
        padding: str = "repeatpad",
        tokenizer: str | Path = "roberta-base",
    ) -> None:
        """seed: of crop=seeded. padding: what a window under 10 s is filled with.

        Raises UserError if weights or tokenizer are missing or damaged, or if all texts look alike to this CLAP.
        """
        self.batch = batch_on(device)
        self.crop, self.padding = check("crop", crop, CROPS), check("padding", padding, PADDINGS)
        self.seed = seed
        self.place = place_of(weights)
        self.towers = self.load(device, tokenizer)
        self.files = self.towers.files
        if self.towers.fused and crop == "seeded":
            raise UserError(
                f"{self.place} mixes three random cuts of a long clip; crop=seeded has one. Set crop: windows or first."
            )
        self.check_texts()

    def load(self, device: str, tokenizer: str | Path) -> Any:
        """The two towers."""
        return Towers(self.place, tokenizer, device)

    def check_texts(self) -> None:
        """Raises UserError if unrelated captions get nearly the same vector, as in some converted checkpoints."""
        vectors = self.embed_text(CAPTIONS)
        n = len(vectors)
        cosine = float(((vectors @ vectors.T).sum() - n) / (n * (n - 1)))
        if not cosine <= COLLAPSED:  # NaN too
            raise UserError(
                f"{self.place} is refused: unrelated captions have a mean cosine of {cosine:.3f} in it, so its CLAP "
                "scores would say nothing. Take LAION's own .pt, e.g. weights: music_audioset_epoch_15_esc_90.14."
            )

    def fingerprint(self) -> str:
        """Hash over code version, options, weights and tokenizer."""
        seed = self.seed if self.crop == "seeded" else ""
        return hash_of(self.name, f"{self.version} {self.crop} {seed} {self.padding}", self.files)

    def embed(self, audio: np.ndarray) -> np.ndarray:
        """Mono [T] at 48 kHz -> unit vectors float32 [windows, d]."""
        return self.embed_batch([audio])[0]

    @torch.inference_mode()
    def embed_batch(self, clips: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The same of several clips."""
        cuts = [windows_of(samples_of(audio, 1, SAMPLE_RATE, self.name), self.crop, self.seed) for audio in clips]
        windows = torch.stack([padded(part, self.padding) for parts in cuts for part in parts])
        vectors = torch.cat([self.towers.audio(group) for group in windows.split(self.batch)])
        return [part.cpu().numpy() for part in vectors.split([len(parts) for parts in cuts])]

    @torch.inference_mode()
    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        """Texts -> unit vectors float32 [n, d]."""
        return self.towers.text(texts).cpu().numpy()
