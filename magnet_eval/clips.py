"""Prompts to clips: what is finished and unchanged stays, the rest is made in batches and kept as each batch ends.

A clip depends on its key alone: the model's fingerprint, the text, the length, its own seed, the number format and
the files it is made from. Neither its batch nor the order of the prompts nor an interruption can change it. Where a
model's settings make a clip depend on its batch (as in the reference code), the whole batch is part of every key in
it, and is made as one.
"""

import contextlib
import hashlib
import io
import itertools
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from magnet_eval import audio, config, engines, generators
from magnet_eval.lookup import UserError
from magnet_eval.making import Batch, Made, Making
from magnet_eval.progress import Progress
from magnet_eval.records import Clip, Prompt
from magnet_eval.store import DiskError, RunFolder, content_key, file_hash, write_atomic, writing

log = logging.getLogger(__name__)
VERSION = 2  # raise it when a change of code changes the audio of an unchanged model
SHOWN_ORDERS = 3  # prompts, the run's first, whose order of decoding is kept for the report
SHOWN_FAILURES = 3  # warnings of one system; the manifest names every failure


def clip_seed(run_seed: int, prompt_id: str) -> int:
    """The seed of one clip, 0 to 2**32 - 1: every system has the same one for the same prompt."""
    return int.from_bytes(hashlib.sha256(f"{run_seed}/{prompt_id}".encode()).digest()[:4])


def batches(prompts: Iterable[Prompt], size: int, keys: Mapping[str, str] | None = None) -> Iterator[list[Prompt]]:
    """Runs of at most ``size`` prompts that ask for the same length; with ``keys`` of batches, each apart."""
    for _, group in itertools.groupby(prompts, key=lambda prompt: (prompt.seconds, keys and keys[prompt.id])):
        of_one_length = list(group)
        yield from (of_one_length[start : start + size] for start in range(0, len(of_one_length), size))


class ClipMaker:
    """Makes the clips of one system of a run. ``failures`` says which could not be made, and why."""

    def __init__(
        self,
        folder: RunFolder,
        label: str,
        model: config.Model,
        fingerprint: str,
        settings: config.Generation,
        engine: engines.Engine | None = None,
    ) -> None:
        """Reads and makes nothing yet; the engine (None: this process) loads the model once there is work for it."""
        self.folder, self.label, self.model, self.settings = folder, label, model, settings
        self.fingerprint = fingerprint
        self.engine = engine or engines.build("local", workers=1)
        self.failures: list[dict[str, str]] = []
        self.whole_batches = generators.depends_on_batch(model)
        self.shown: set[str] = set()

    def make(self, prompts: Sequence[Prompt], progress: Progress) -> int:
        """Makes what is missing, leaves the list of clips in prompt order, and returns how many clips it made."""
        self.shown = {prompt.id for prompt in prompts[:SHOWN_ORDERS]}
        on_record = self.folder.all_clips(self.label)
        keys = {prompt.id: self.key(prompt) for prompt in prompts}
        if self.whole_batches:
            keys = self.keys_of_batches(prompts, keys)
        kept = {name: clip for name, clip in on_record.items() if name not in keys or self.is_intact(clip, keys[name])}
        todo = [prompt for prompt in prompts if keys[prompt.id] and prompt.id not in kept]
        if self.whole_batches:
            stale = {keys[prompt.id] for prompt in todo}
            todo = [prompt for prompt in prompts if keys[prompt.id] in stale]
            kept = {name: clip for name, clip in kept.items() if keys.get(name) not in stale}
        self.drop([clip for name, clip in on_record.items() if name not in kept], kept.values())
        made = dict(self.generate(todo, keys, progress))
        order = {prompt.id: place for place, prompt in enumerate(prompts)}
        self.failures.sort(key=lambda row: order[row["prompt_id"]])
        in_order = [clips[prompt.id] for prompt in prompts for clips in (kept, made) if prompt.id in clips]
        others = [clip for name, clip in kept.items() if name not in keys]
        if [*in_order, *others] != [*kept.values()] or made:
            self.folder.write_clips(self.label, [*in_order, *others])
        return len(made)

    def drop(self, stale: Sequence[Clip], kept: Iterable[Clip]) -> None:
        """Takes stale clips off the list, then away: the list first, so that no kill leaves a row without its file."""
        if stale:
            self.folder.write_clips(self.label, kept)
        for clip in stale:
            for path in (self.folder.path / clip.path, self.folder.order(self.label, clip.prompt_id)):
                with writing(path):
                    path.unlink(missing_ok=True)

    def key(self, prompt: Prompt) -> str:
        """The content key of a prompt's clip; "" (and a failure) where a file that it is made from is not there."""
        try:
            inputs = [file_hash(path) for path in generators.inputs(self.model, prompt)]
        except (UserError, OSError) as error:
            self.fail(prompt, str(error))
            return ""
        seed = clip_seed(self.settings.seed, prompt.id)
        return content_key(VERSION, self.fingerprint, self.settings.dtype, prompt.text, prompt.seconds, seed, inputs)

    def keys_of_batches(self, prompts: Sequence[Prompt], keys: dict[str, str]) -> dict[str, str]:
        """Keys in which every clip of a batch counts, in its place; one for all clips of it."""
        return {
            prompt.id: content_key("batch", [keys[one.id] for one in batch])
            for batch in batches(prompts, self.settings.batch)
            for prompt in batch
        }

    def is_intact(self, clip: Clip, key: str) -> bool:
        """Whether a clip on record is the one that ``key`` asks for, its audio unharmed."""
        path = self.folder.path / clip.path
        return clip.key == key and path.is_file() and file_hash(path) == clip.sha256

    def generate(self, todo: Sequence[Prompt], keys: dict[str, str], progress: Progress) -> Iterator[tuple[str, Clip]]:
        """Has the engine make the clips of ``todo`` batch by batch, and puts them on record as each batch ends."""
        if not todo:
            return
        tasks = [
            Batch(tuple(batch), tuple(clip_seed(self.settings.seed, prompt.id) for prompt in batch))
            for batch in batches(todo, self.settings.batch, keys if self.whole_batches else None)
        ]
        work = Making(self.model, self.settings.dtype, self.whole_batches)
        progress(self.label, 0, len(todo))
        done = 0
        with contextlib.closing(self.engine.map(work, tasks, self.settings.device)) as results:
            for task, result in results:
                made = [Made(task, None, 0, result.reason)] if isinstance(result, engines.Lost) else result
                clips = [clip for one in made for clip in self.keep(one, keys)]
                self.folder.append_clips(self.label, clips)
                yield from ((clip.prompt_id, clip) for clip in clips)
                done += len(task.prompts)
                progress(self.label, done, len(todo))

    def keep(self, made: Made, keys: Mapping[str, str]) -> Iterator[Clip]:
        """Writes the audio of a batch: the clips that are there now. Raises DiskError."""
        generation = made.generation
        if generation is None:
            for prompt in made.batch.prompts:
                self.fail(prompt, made.reason)
            return
        self.keep_orders(made.batch.prompts, generation.fixed_at)
        for prompt, seed, samples in zip(made.batch.prompts, made.batch.seeds, generation.audio, strict=True):
            path = self.folder.audio(self.label, prompt.id, self.settings.audio)
            try:
                with writing(path):
                    audio.write(path, samples, made.sample_rate)
            except DiskError:
                raise
            except UserError as error:
                self.fail(prompt, str(error))
                continue
            yield Clip(
                prompt_id=prompt.id,
                system=self.label,
                path=path.relative_to(self.folder.path).as_posix(),
                sample_rate=made.sample_rate,
                n_samples=np.shape(samples)[-1],
                seed=seed,
                sha256=file_hash(path),
                key=keys[prompt.id],
                frames_asked=generation.frames_asked,
                frames_made=generation.frames_made,
                iterations=generation.iterations,
                network_evaluations=generation.network_evaluations,
            )

    def keep_orders(self, batch: Sequence[Prompt], orders: Sequence[np.ndarray]) -> None:
        """Writes the orders of decoding of the prompts that the report shows; there may be no orders."""
        for prompt, order in zip(batch, orders, strict=False):
            if prompt.id in self.shown:
                buffer = io.BytesIO()
                np.save(buffer, order, allow_pickle=False)
                write_atomic(self.folder.order(self.label, prompt.id), buffer.getvalue())

    def fail(self, prompt: Prompt, reason: str) -> None:
        """Notes that a clip could not be made."""
        if len(self.failures) < SHOWN_FAILURES:
            log.warning("%s: no clip for %s: %s", self.label, prompt.id, reason)
        elif len(self.failures) == SHOWN_FAILURES:
            log.warning("%s: more clips fail; %s names them all", self.label, self.folder.path / "manifest.json")
        self.failures.append({"system": self.label, "prompt_id": prompt.id, "reason": reason})
