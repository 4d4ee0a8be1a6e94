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
from pathlib import Path

import numpy as np

from magnet_eval import audio, config, engines, generators
from magnet_eval.lookup import UserError
from magnet_eval.making import Batch, Made, Making, reason_of
from magnet_eval.progress import Progress
from magnet_eval.records import Clip, Prompt
from magnet_eval.store import DiskError, RunFolder, content_key, file_hash, write_atomic, writing

log = logging.getLogger(__name__)
VERSION = 2  # raise it when a change of code changes the audio of an unchanged model
SHOWN_ORDERS = 3  # prompts, the run's first, whose order of decoding is kept for the report
SHOWN_FAILURES = 3  # warnings of one system; the manifest names every failure
MOST_IN_A_ROW = 10  # failures, of clips or whole batches, after which a model is taken for broken


class BrokenModel(UserError):
    """Nothing comes of a model any more."""


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
        self.in_a_row = 0  # failures

    def outdated(self, prompts: Sequence[Prompt]) -> dict[str, bool]:
        """The prompts whose clip on record was made from something else: id -> whether it can be made again."""
        on_record = self.folder.all_clips(self.label)
        keys, _ = self.keys([*prompts] if on_record else [])
        return {name: bool(key) for name, key in keys.items() if name in on_record and on_record[name].key != key}

    def make(self, prompts: Sequence[Prompt], progress: Progress) -> int:
        """Makes what is missing, leaves the list of clips in prompt order, and returns how many clips it made."""
        self.shown = {prompt.id for prompt in prompts[:SHOWN_ORDERS]}
        on_record = self.folder.all_clips(self.label)
        keys, gone = self.keys(prompts)
        for prompt in prompts:
            if prompt.id in gone:
                self.fail(prompt, gone[prompt.id])
        kept = {name: clip for name, clip in on_record.items() if name not in keys or self.is_intact(clip, keys[name])}
        todo = [prompt for prompt in prompts if keys[prompt.id] and prompt.id not in kept]
        if self.whole_batches:
            stale = {keys[prompt.id] for prompt in todo}
            todo = [prompt for prompt in prompts if keys[prompt.id] in stale]
            kept = {name: clip for name, clip in kept.items() if keys.get(name) not in stale}
        self.drop({name: bool(keys[name]) for name in on_record if name not in kept})
        made = dict(self.generate(todo, keys, progress))
        order = {prompt.id: place for place, prompt in enumerate(prompts)}
        self.failures.sort(key=lambda row: order[row["prompt_id"]])
        in_order = [clips[prompt.id] for prompt in prompts for clips in (kept, made) if prompt.id in clips]
        others = [clip for name, clip in kept.items() if name not in keys]
        if [*in_order, *others] != [*kept.values()] or made:
            self.folder.write_clips(self.label, [*in_order, *others])
        return len(made)

    def drop(self, stale: Mapping[str, bool]) -> None:
        """Takes clips off the list, so that no kill leaves a row without its file; id -> whether it is made again.

        The audio of what is made again stays until the new one takes its place.
        """
        if not stale:
            return
        kept = [clip for name, clip in self.folder.all_clips(self.label).items() if name not in stale]
        self.folder.write_clips(self.label, kept)
        for name, is_made_again in stale.items():
            self.remove(self.folder.order(self.label, name), *([] if is_made_again else self.places(name)))

    def places(self, prompt_id: str) -> list[Path]:
        """Where a clip's audio can be."""
        return [self.folder.audio(self.label, prompt_id, kind) for kind in audio.FORMATS]

    def remove(self, *paths: Path) -> None:
        """Removes files of the run folder that are there. Raises DiskError where a link leads out of it."""
        for path in paths:
            with writing(self.folder.own(path)):
                path.unlink(missing_ok=True)

    def keys(self, prompts: Sequence[Prompt]) -> tuple[dict[str, str], dict[str, str]]:
        """The content key of each prompt's clip, and why there is none ("") where a file it is made from is gone."""
        keys, gone = {}, {}
        for prompt in prompts:
            try:
                keys[prompt.id] = self.key(prompt)
            except (UserError, OSError) as error:
                keys[prompt.id], gone[prompt.id] = "", str(error)
        return (self.keys_of_batches(prompts, keys) if self.whole_batches else keys), gone

    def key(self, prompt: Prompt) -> str:
        """The content key of a prompt's clip. Raises UserError or OSError if a file that it is made from is gone."""
        inputs = [file_hash(path) for path in generators.inputs(self.model, prompt)]
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
                self.check_row(made, clips)
                yield from ((clip.prompt_id, clip) for clip in clips)
                done += len(task.prompts)
                progress(self.label, done, len(todo))

    def keep(self, made: Made, keys: Mapping[str, str]) -> Iterator[Clip]:
        """Writes the audio of a batch: the clips that are there now. Raises DiskError."""
        generation = made.generation
        if generation is None:
            for prompt in made.batch.prompts:
                self.fail(prompt, made.reason)
                self.remove(*self.places(prompt.id))
            return
        self.keep_orders(made.batch.prompts, generation.fixed_at)
        for prompt, seed, samples in zip(made.batch.prompts, made.batch.seeds, generation.audio, strict=True):
            path = self.folder.own(self.folder.audio(self.label, prompt.id, self.settings.audio))
            try:
                with writing(path):
                    audio.write(path, samples, made.sample_rate)
            except DiskError:
                raise
            except Exception as error:
                self.fail(prompt, reason_of(error))
                self.remove(*self.places(prompt.id))
                continue
            self.remove(*(other for other in self.places(prompt.id) if other != path))
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
                write_atomic(self.folder.own(self.folder.order(self.label, prompt.id)), buffer.getvalue())

    def check_row(self, made: Sequence[Made], clips: Sequence[Clip]) -> None:
        """Counts failures. Raises BrokenModel after too many in a row, none of them a mistake of the clip's own."""
        there = {clip.prompt_id for clip in clips}
        for one in made:
            is_made = one.is_mistake or any(prompt.id in there for prompt in one.batch.prompts)
            self.in_a_row = 0 if is_made else self.in_a_row + 1
            if self.in_a_row == MOST_IN_A_ROW:
                reason = " ".join(self.failures[-1]["reason"].split())
                raise BrokenModel(
                    f"{self.label}: {MOST_IN_A_ROW} times in a row nothing was made, the last time because of: "
                    f"{reason:.300}. What was made before is kept; mend the model, or leave it out with systems=[...]."
                )

    def fail(self, prompt: Prompt, reason: str) -> None:
        """Notes that a clip could not be made."""
        if len(self.failures) < SHOWN_FAILURES:
            log.warning("%s: no clip for %s: %s", self.label, prompt.id, reason)
        elif len(self.failures) == SHOWN_FAILURES:
            log.warning("%s: more clips fail; %s names them all", self.label, self.folder.path / "manifest.json")
        self.failures.append({"system": self.label, "prompt_id": prompt.id, "reason": reason})
