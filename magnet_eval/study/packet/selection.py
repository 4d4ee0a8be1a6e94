"""Which prompts are heard: of those that every system has a clip of, a seeded draw that is fair to genres."""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from magnet_eval import comparison
from magnet_eval.lookup import UserError, unknown
from magnet_eval.records import Clip, Prompt
from magnet_eval.study.schema import ROLES

log = logging.getLogger(__name__)
GENRES = ("genre", "style")  # tags to balance by: the first one that all prompts have
BALANCED = "balanced"  # value of the tag split of a data set's genre-balanced part, which goes first


@dataclass(frozen=True)
class Entry:
    """One system and its clips."""

    label: str
    run: Path  # run folder
    clips: Mapping[str, Clip]  # by prompt id


@dataclass(frozen=True)
class Selection:
    """What the study is about."""

    entries: list[Entry]
    prompts: list[Prompt]  # in a random order
    training: Prompt  # to practise with: none of the prompts, if there are enough


def select(
    runs: Sequence[str], systems: Sequence[str] | None, n: int, left_out: Sequence[str], *,
    rng: np.random.Generator, real: bool,
) -> Selection:  # fmt: skip
    """The systems of the runs, and ``n`` of their common prompts; ``real``: only those with a real clip.

    Raises UserError where a run, a system or a prompt is not there, or where fewer than two prompts remain.
    """
    sources: list[comparison.Source] = []
    for run in runs:
        sources.append(comparison.read(Path(run), [source.name for source in sources]))
    found = comparison.entrants_of(sources, systems)
    entries = [Entry(one.label, one.source.folder.path, one.clips) for one in found]
    for entry in entries:
        if entry.label in ROLES:
            raise UserError(f"a system may not be labelled {entry.label!r}, the name of a role; give it another label.")
    common = comparison.common_prompts(sources, found)
    for note in comparison.dropped(found, common):
        log.warning("%s", note)
    for name in left_out:
        if name not in {prompt.id for prompt in common}:
            raise unknown("prompt to leave out", name, [prompt.id for prompt in common])
    candidates = [prompt for prompt in common if prompt.id not in left_out and (has_real(prompt) or not real)]
    if len(candidates) < 2:
        lack = " with a real clip" if real else ""
        raise UserError(f"a study needs at least two prompts{lack}, the systems have {len(candidates)} in common.")
    if n > len(candidates):
        log.warning("the systems have only %d prompts in common, %d were asked for", len(candidates), n)
    order = balanced(candidates, rng)
    return Selection(entries, order[:n], order[n % len(order)])


def has_real(prompt: Prompt) -> bool:
    """Whether the real clip that a prompt describes is at hand."""
    return bool(prompt.reference) and Path(prompt.reference).is_file()


def balanced(prompts: Sequence[Prompt], rng: np.random.Generator) -> list[Prompt]:
    """Prompts in a random order of which every beginning has all genres alike often, as far as there are so many."""
    tag = next((tag for tag in GENRES if all(prompt.tags.get(tag) for prompt in prompts)), None)
    by_genre: dict[str, list[Prompt]] = defaultdict(list)
    for i in rng.permutation(len(prompts)):
        by_genre[prompts[i].tags[tag] if tag else ""].append(prompts[i])
    for group in by_genre.values():
        group.sort(key=lambda prompt: prompt.tags.get("split") != BALANCED)  # keeps the order otherwise
    ranked = [(rank, prompt) for group in by_genre.values() for rank, prompt in enumerate(group)]
    ranked.sort(key=lambda pair: pair[0])
    return [prompt for _, prompt in ranked]
