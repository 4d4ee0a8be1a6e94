"""The ``files`` family: a folder of audio as a system, one file <prompt id>.wav (or .flac, .mp3, .ogg) per prompt.

A file system.yaml in the folder says what made the audio; manifest and report quote it.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from magnet_eval import audio, config, places
from magnet_eval.generators import Generation
from magnet_eval.lookup import UserError
from magnet_eval.records import Prompt
from magnet_eval.typed import typed

ABOUT = "system.yaml"
UNSTATED = "origin not stated"


@dataclass(frozen=True)
class About:
    """What system.yaml may say of the system that made a folder's audio."""

    name: str = ""
    description: str = ""
    model: str = ""  # which model or checkpoint of it
    version: str = ""
    source: str = ""  # URL
    licence: str = ""  # of the audio
    settings: dict[str, Any] = field(default_factory=dict)  # whatever it was made with
    date: str = ""  # when it was made


def folder_of(model: config.Model) -> Path:
    """The folder of the clips: as given, from the working directory or beside the models."""
    if not model.folder:
        raise UserError(
            f"model {model.name or 'files'} needs folder: give the folder of audio files, e.g. folder=clips."
        )
    places.check(f"folder of model {model.name or 'files'}", model.folder, url=False)
    folder = Path(model.folder) if Path(model.folder).is_dir() else model.find(model.folder)
    if not folder.is_dir():
        raise UserError(f"no folder {model.folder} with audio files. Check folder: of model {model.name or 'files'}.")
    return folder


def file_of(folder: Path, prompt: Prompt) -> Path:
    """The prompt's file in the folder. Raises UserError if there is none."""
    for suffix in audio.SUFFIXES:
        path = folder / f"{prompt.id}{suffix}"
        if path.is_file():
            return path
    raise UserError(f"{folder} has no file {prompt.id}.wav (or {', '.join(audio.SUFFIXES[1:])}); add it.")


def reference_of(prompt: Prompt) -> Path:
    """The file of the prompt's reference clip. Raises UserError if it has none."""
    if not prompt.reference:
        raise UserError(f"prompt {prompt.id} has no reference clip; the codec family needs one. Leave this system out.")
    return Path(prompt.reference)


def about(folder: Path) -> dict[str, Any]:
    """What the folder's system.yaml says, without what it leaves out; {} if there is none.

    Raises UserError on unknown keys, wrong types, and what is no YAML.
    """
    path = folder / ABOUT
    if not path.is_file():
        return {}
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        # YAML reads a date as a date; here, as in the manifest, it is text, and no number is NaN.
        content = json.loads(json.dumps(content, default=str, allow_nan=False))
    except (yaml.YAMLError, ValueError, TypeError) as error:
        raise UserError(f"{path} is no YAML of names and values: {' '.join(str(error).split())}") from error
    try:
        said = typed(About, content)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    return {name: value for name, value in asdict(said).items() if value}


def origin(said: Mapping[str, Any]) -> str:
    """What ``about`` gave, in one line."""
    made = " ".join(filter(None, (said.get(name, "") for name in ("name", "model", "version"))))
    rest = (said.get(name, "") for name in ("description", "source", "date"))
    settings = ", ".join(f"{name} {value}" for name, value in said.get("settings", {}).items())
    licence = f"licence {said['licence']}" if said.get("licence") else ""
    return "; ".join(filter(None, (made, *rest, settings, licence))) or UNSTATED


def _rate(path: Path) -> int:
    """The rate of an audio file in Hz; 0 of one that cannot be read, which is its own clip's failure alone."""
    try:
        return audio.rate(path)
    except UserError:
        return 0


class FilesGenerator:
    """Reads what another system made. The folder is only read; rates other than most files' are resampled."""

    device = "cpu"

    def __init__(self, model: config.Model, device: str, dtype: str, exact: bool) -> None:
        """Raises UserError if there is no folder or no audio in it. The other settings change nothing."""
        self.folder = folder_of(model)
        files = sorted(path for path in self.folder.iterdir() if path.suffix.lower() in audio.SUFFIXES)
        if not files:
            raise UserError(f"{self.folder} holds no audio ({', '.join(audio.SUFFIXES)}); put the clips into it.")
        rates = Counter(rate for file in files if (rate := _rate(file)))
        if not rates:
            raise UserError(f"none of the {len(files)} audio files in {self.folder} can be read. Make them again.")
        self.sample_rate = max(rates, key=lambda rate: (rates[rate], rate))

    def generate(self, prompts: Sequence[Prompt], seeds: Sequence[int]) -> Generation:
        """See generators.Generator. Raises UserError, naming the prompt, if a file is missing or unreadable."""
        return Generation([self._clip(prompt) for prompt in prompts], 0, 0, 0, 0, {})

    def _clip(self, prompt: Prompt) -> np.ndarray:
        samples, rate = audio.read(file_of(self.folder, prompt))
        return audio.resample(samples, rate, self.sample_rate)
