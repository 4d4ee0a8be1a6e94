"""Audio and texts to embeddings, each computed once: one cache file per content and embedder.

What is asked for is a list of items; an item's content is known by its hash. An embedder is loaded only where
something is missing, so that a rerun needs neither its weights in memory nor the packages it is built on.
"""

import inspect
import io
import json
import logging
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from magnet_eval import audio, embedders
from magnet_eval.lookup import UserError
from magnet_eval.progress import Progress
from magnet_eval.records import Embeddings
from magnet_eval.store import DiskError, content_key, file_hash, write_atomic

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Item:
    """One thing to embed: an audio file, or a text where ``path`` is None."""

    id: str
    content: str  # sha256 of the audio file's bytes, or the text itself
    path: Path | None = None


@dataclass(frozen=True)
class Card:
    """What is known of an embedder without loading it, valid while all ``files`` have these hashes."""

    fingerprint: str
    sample_rate: int
    files: dict[str, str]  # path -> sha256, its source file included

    def is_valid(self) -> bool:
        """Whether every file is as it was."""
        return all(Path(path).is_file() and file_hash(Path(path)) == known for path, known in self.files.items())


class EmbeddingCache:
    """Embeddings by content in the folder ``cache``."""

    def __init__(self, cache: Path, progress: Progress) -> None:
        """Reads nothing yet."""
        self.cache, self.progress = cache, progress
        self.built: dict[str, Any] = {}
        self.cards: dict[str, Card] = {}

    def embedder(self, name: str) -> Any:
        """The embedder, loaded once."""
        if name not in self.built:
            self.built[name] = embedders.build(name)
        return self.built[name]

    def card(self, name: str) -> Card:
        """The embedder's card: from the cache where it still holds, else from the embedder itself."""
        if name not in self.cards:
            path = self.cache / f"{content_key('embedder', name)}.json"
            try:
                card = Card(**json.loads(path.read_bytes()))
            except (OSError, ValueError, TypeError):
                card = None
            if card is None or not card.is_valid():
                card = self.card_of(name)
                write_atomic(path, json.dumps(asdict(card)))
            self.cards[name] = card
        return self.cards[name]

    def card_of(self, name: str) -> Card:
        """The card of the loaded embedder."""
        embedder = self.embedder(name)
        files = [Path(file).resolve() for file in (*embedder.files, inspect.getfile(type(embedder)))]
        return Card(embedder.fingerprint(), embedder.sample_rate, {str(file): file_hash(file) for file in files})

    def path(self, name: str, item: Item) -> Path:
        """The cache file of an item."""
        kind = "text" if item.path is None else "audio"
        return self.cache / f"{content_key(kind, item.content, self.card(name).fingerprint)}.npz"

    def ensure(self, name: str, items: Iterable[Item]) -> dict[Item, str]:
        """Embeds whatever is not in the cache yet. Returns the items that cannot be embedded, with the reason."""
        missing = [item for item in dict.fromkeys(items) if not self.path(name, item).is_file()]
        failed = {}
        for done, item in enumerate(missing):
            self.progress(f"embed with {name}", done, len(missing))
            try:
                self.compute(name, item)
            except DiskError:
                raise
            except (ValueError, RuntimeError) as error:
                failed[item] = str(error)
        if missing:
            self.progress(f"embed with {name}", len(missing), len(missing))
        return failed

    def compute(self, name: str, item: Item) -> np.ndarray:
        """Embeds one item and puts it into the cache: float32 [frames, d]. Raises UserError on unreadable audio."""
        if item.path is None:
            frames = self.embedder(name).embed_text([item.content])
        else:
            frames = self.embedder(name).embed(audio.load_mono(item.path, self.card(name).sample_rate))
        frames = np.asarray(frames, dtype=np.float32)
        if frames.ndim != 2 or not len(frames) or not np.isfinite(frames).all():
            raise UserError(f"embedder {name} gives no finite frames for {item.path or item.content!r}.")
        buffer = io.BytesIO()
        np.savez(buffer, frames=frames)
        write_atomic(self.path(name, item), buffer.getvalue())
        return frames

    def frames(self, name: str, item: Item) -> np.ndarray:
        """The frames of an item; a cache file that is damaged is made anew."""
        try:
            with np.load(self.path(name, item), allow_pickle=False) as content:
                return content["frames"]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            log.warning("embedding of %s is made anew: %s", item.id, error)
            return self.compute(name, item)

    def embeddings(self, name: str, items: Sequence[Item]) -> Embeddings:
        """One record of all items, in order."""
        return embedders.gather(name, ((item.id, self.frames(name, item)) for item in items))
