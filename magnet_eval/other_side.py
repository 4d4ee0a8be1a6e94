"""What a metric holds clips against: captions, tags, real clips of the same prompts or of a set, or nothing."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from magnet_eval.config import Reference
from magnet_eval.embedding import Item
from magnet_eval.metric_checks import REAL_SETS
from magnet_eval.metrics import Metric
from magnet_eval.prompts import read_reference
from magnet_eval.records import Prompt
from magnet_eval.store import file_hash

Fail = Callable[[str, str, str], None]  # system or "reference", prompt id, what is wrong


def other_side(metric: Metric, prompts: Sequence[Prompt], reference: Reference, fail: Fail) -> list[Item] | None:
    """What clips of ``prompts`` are held against; None for a metric that hears them alone."""
    if metric.needs == "text":
        return [Item(prompt.id, prompt.text) for prompt in prompts]
    if metric.needs == "tags":
        return list(_tags(metric, prompts, fail))
    if not metric.has_reference:
        return None
    return list(_real(read_reference(reference) if metric.needs in REAL_SETS else prompts, fail))


def _tags(metric: Metric, prompts: Sequence[Prompt], fail: Fail) -> Iterator[Item]:
    """All tags of each prompt that has one of the metric's."""
    for prompt in prompts:
        if metric.tags_of(prompt.tags):
            yield Item(prompt.id, json.dumps(dict(prompt.tags), sort_keys=True))
        else:
            fail("", prompt.id, f"{metric.label} needs one of the tags {', '.join(metric.tags)}")


def _real(prompts: Sequence[Prompt], fail: Fail) -> Iterator[Item]:
    """The real clip of each prompt that has one, as ``data prepare`` found it."""
    for prompt in prompts:
        if not prompt.reference:
            continue
        path = Path(prompt.reference)
        try:
            content = file_hash(path)
        except OSError as error:
            fail("reference", prompt.id, f"cannot read {path}: {error.strerror or error}")
            continue
        if prompt.reference_sha256 in ("", content):
            yield Item(prompt.id, content, path)
        else:
            fail("reference", prompt.id, f"{path} is not the file that data prepare found; prepare again")
