"""Audio and texts to embeddings, each computed once: one cache file per content and embedder.

What is asked for is a list of items; an item's content is known by its hash. An embedder is loaded only where
something is missing, so that a rerun needs neither its weights in memory nor the packages it is built on.
"""

import contextlib
import inspect
import io
import json
import logging
import zipfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from magnet_eval import audio, embedders, front
from magnet_eval.lookup import UserError
from magnet_eval.metrics import Metric
from magnet_eval.numerics import Front
from magnet_eval.progress import Progress
from magnet_eval.records import Embeddings
from magnet_eval.store import DiskError, content_key, file_hash, write_atomic

log = logging.getLogger(__name__)
AHEAD = 4  # groups of clips for each thread that are begun before the first is asked for
Named = tuple[str, tuple[tuple[str, Any], ...]]  # an embedder and its options


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to embed: an audio file, or a text where ``path`` is None."""

    id: str
    content: str  # sha256 of the audio file's bytes, or the text itself
    path: Path | None = None
    generated: bool = False  # some conventions treat generated clips otherwise than real ones


@dataclass(frozen=True)
class Hearing:
    """A network, and a clip's way to it: what an embedding depends on beside the clip."""

    embedder: str  # a name in embedders.EMBEDDERS
    options: tuple[tuple[str, Any], ...] = ()  # of the embedder
    front: Front | None = None  # None: the embedder's rate, mean of channels, soxr HQ

    @classmethod
    def of(cls, metric: Metric) -> "Hearing":
        """What a metric hears by."""
        return cls(metric.embedder, tuple(sorted(metric.options.items())), metric.front)

    @property
    def way(self) -> tuple[int, dict[str, Any]] | None:
        """The front and the version of its code, for the keys of what is kept."""
        return None if self.front is None else (front.VERSION, asdict(self.front))

    def misfit(self, rate: int | None) -> str:
        """How the front is another network's than one that hears ``rate`` Hz (None: not known yet); "" if it is not."""
        if self.front is None or rate in (None, self.front.rate):
            return ""
        weights = dict(self.options).get("weights", "")
        return (
            f"{self.embedder} with the weights {weights} hears {rate} Hz, and this preset gives it {self.front.rate} "
            "Hz. Leave the weights out, or take the metric or preset of that rate: magnet-eval list metrics."
        )

    def audio(self, item: Item, rate: int) -> np.ndarray:
        """An item's samples as the network gets them: [T], or [2, T] of a stereo front.

        Raises UserError on unreadable audio.
        """
        assert item.path is not None
        if self.front is None:
            return audio.load_mono(item.path, rate)
        return front.prepare(*audio.read(item.path), self.front, generated=item.generated)


@dataclass(frozen=True)
class Card:
    """What is known of an embedder without loading it, valid while all ``files`` have these hashes."""

    fingerprint: str
    sample_rate: int
    files: dict[str, str]  # path -> sha256, its source file included

    def is_valid(self) -> bool:
        """Whether every file is as it was."""
        return all(Path(path).is_file() and file_hash(Path(path)) == known for path, known in self.files.items())


@contextlib.contextmanager
def side_by_side(embedder: Any) -> Iterator[Callable[..., Iterable[Any]]]:
    """A ``map`` over clips: where the embedder is ``thread_safe``, as many at a time as torch has threads.

    Each then has one thread to itself: small networks gain more by that than by threads within a clip, and what they
    give does not depend on the number of threads. No more audio is in memory than is being embedded.
    """
    if not getattr(embedder, "thread_safe", False):
        yield map
        return
    import torch

    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    pool = ThreadPoolExecutor(n_threads)

    def in_order(do: Callable[[Any], Any], groups: Iterable[Any]) -> Iterator[Any]:
        waiting: deque[Future[Any]] = deque()  # the pool's own map would take in all groups at once
        for group in groups:
            waiting.append(pool.submit(do, group))
            if len(waiting) > AHEAD * n_threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    try:
        yield in_order
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(n_threads)


class Pending:
    """Contents that are being embedded, by their file in the cache."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.begun: dict[Path, list[Item]] = {}
        self.reasons: dict[Path, str] = {}  # of contents that cannot be embedded
        self.late: dict[Item, str] = {}  # items of such a content that came after it

    def begin(self, path: Path, item: Item) -> list[Item]:
        """The items of a content, to which more may come while it is embedded."""
        self.begun[path] = [item]
        return self.begun[path]

    def joins(self, path: Path, item: Item) -> bool:
        """Whether an item's content is being embedded, or cannot be, by which the item is dealt with."""
        if path in self.begun:
            self.begun[path].append(item)
        elif path in self.reasons:
            self.late[item] = self.reasons[path]
        return path in self.begun or path in self.reasons

    def end(self, path: Path, reason: str) -> dict[Item, str]:
        """The items of a content that could not be embedded."""
        items = self.begun.pop(path)
        if reason:
            self.reasons[path] = reason
        return dict.fromkeys(items, reason) if reason else {}


class EmbeddingCache:
    """Embeddings by content in the folder ``cache``."""

    def __init__(self, cache: Path, progress: Progress, device: str = "cpu") -> None:
        """Reads nothing yet. ``device`` is what networks run on: auto, cpu, cuda or cuda:N."""
        self.cache, self.progress, self.device = cache, progress, device
        self.built: dict[Named, Any] = {}
        self.cards: dict[Named, Card] = {}

    def embedder(self, hearing: Hearing) -> Any:
        """The embedder, loaded once."""
        name = hearing.embedder, hearing.options
        if name not in self.built:
            self.built[name] = embedders.build(hearing.embedder, self.device, **dict(hearing.options))
        return self.built[name]

    def card(self, hearing: Hearing) -> Card:
        """The embedder's card: from the cache where it still holds, else from the embedder itself.

        Raises UserError if it hears another rate than the front gives, which no score would show.
        """
        name = hearing.embedder, hearing.options
        if name not in self.cards:
            path = self.cache / f"{content_key('embedder', *name)}.json"
            try:
                card = Card(**json.loads(path.read_bytes()))
            except (OSError, ValueError, TypeError):
                card = None
            if card is None or not card.is_valid():
                card = self.card_of(hearing)
                write_atomic(path, json.dumps(asdict(card)))
            self.cards[name] = card
        misfit = hearing.misfit(self.cards[name].sample_rate)
        if misfit:
            raise UserError(misfit)
        return self.cards[name]

    def card_of(self, hearing: Hearing) -> Card:
        """The card of the loaded embedder."""
        embedder = self.embedder(hearing)
        files = [Path(file).resolve() for file in (*embedder.files, inspect.getfile(type(embedder)))]
        return Card(embedder.fingerprint(), embedder.sample_rate, {str(file): file_hash(file) for file in files})

    def path(self, hearing: Hearing, item: Item) -> Path:
        """The cache file of an item."""
        how = ["text"] if item.path is None else ["audio", hearing.way, item.generated]
        return self.cache / f"{content_key(item.content, self.card(hearing).fingerprint, how)}.npz"

    def ensure(self, hearing: Hearing, items: Iterable[Item]) -> dict[Item, str]:
        """Embeds whatever is not in the cache yet. Returns the items that cannot be embedded, with the reason.

        ``items``, which may be very many, are gone through several times and never held.
        """
        what, n_missing = f"embed with {hearing.embedder}", self.n_missing(hearing, items)
        if not n_missing:
            return {}
        self.progress(what, 0, n_missing)
        pending, failed, done = Pending(), dict[Item, str](), 0
        texts = self.groups(hearing, (item for item in items if item.path is None), 1, pending)
        size = getattr(self.embedder(hearing), "batch", 1)
        clips = self.groups(hearing, (item for item in items if item.path is not None), size, pending)
        attempt = partial(self.attempt, hearing)
        with side_by_side(self.embedder(hearing)) as map_clips:
            # tokenizers are not safe in threads
            for reasons in chain(map(attempt, texts), map_clips(attempt, clips)):
                for item, reason in reasons.items():
                    failed |= pending.end(self.path(hearing, item), reason)
                done += len(reasons)
                self.progress(what, done, n_missing)
        return failed | pending.late

    def n_missing(self, hearing: Hearing, items: Iterable[Item]) -> int:
        """How many contents are not in the cache."""
        paths = (self.path(hearing, item) for item in items)
        keys = np.fromiter((int(path.stem[:16], 16) for path in paths if not path.is_file()), np.uint64)
        return len(np.unique(keys))

    def groups(
        self, hearing: Hearing, items: Iterable[Item], size: int, pending: "Pending"
    ) -> Iterator[list[list[Item]]]:
        """What is to be embedded, ``size`` contents at a time; items of one content are one piece of work."""
        group = []
        for item in items:
            path = self.path(hearing, item)
            if not pending.joins(path, item) and not path.is_file():
                group.append(pending.begin(path, item))
                if len(group) == size:
                    yield group
                    group = []
        if group:
            yield group

    def attempt(self, hearing: Hearing, group: Sequence[Sequence[Item]]) -> dict[Item, str]:
        """Embeds one item of each content: why it cannot be, "" if it can. One that fails takes no other along."""
        items = [same[0] for same in group]
        try:
            self.compute(hearing, items)
        except DiskError:
            raise
        except (ValueError, RuntimeError) as error:
            if len(group) == 1:
                return {items[0]: str(error)}
            return {item: reason for same in group for item, reason in self.attempt(hearing, [same]).items()}
        return dict.fromkeys(items, "")

    def compute(self, hearing: Hearing, items: Sequence[Item]) -> list[np.ndarray]:
        """Embeds items, one or a batch, and puts them into the cache: float32 [frames, d] of each.

        Raises UserError on unreadable audio.
        """
        embedder = self.embedder(hearing)
        if items[0].path is None:
            made = [embedder.embed_text([item.content]) for item in items]
        else:
            clips = [hearing.audio(item, self.card(hearing).sample_rate) for item in items]
            alike = len(clips) > 1 and len({clip.shape for clip in clips}) == 1
            made = embedder.embed_batch(clips) if alike else [embedder.embed(clip) for clip in clips]
        return [self.keep(hearing, item, frames) for item, frames in zip(items, made, strict=True)]

    def keep(self, hearing: Hearing, item: Item, made: np.ndarray) -> np.ndarray:
        """Puts an item's frames into the cache, and gives them back. Raises UserError if they are not finite."""
        frames = np.asarray(made, dtype=np.float32)
        if frames.ndim != 2 or not len(frames) or not np.isfinite(frames).all():
            raise UserError(f"embedder {hearing.embedder} gives no finite frames for {item.path or item.content!r}.")
        buffer = io.BytesIO()
        np.savez(buffer, frames=frames)
        write_atomic(self.path(hearing, item), buffer.getvalue())
        return frames

    def frames(self, hearing: Hearing, item: Item) -> np.ndarray:
        """The frames of an item; a cache file that is damaged is made anew."""
        try:
            with np.load(self.path(hearing, item), allow_pickle=False) as content:
                return content["frames"]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            log.warning("embedding of %s is made anew: %s", item.id, error)
            return self.compute(hearing, [item])[0]

    def embeddings(self, hearing: Hearing, items: Sequence[Item]) -> Embeddings:
        """One record of all items, in order."""
        return embedders.gather(hearing.embedder, ((item.id, self.frames(hearing, item)) for item in items))
