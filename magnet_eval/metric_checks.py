"""What must be right before anything is scored: metrics and presets that exist, weights, real clips, tags."""

from collections.abc import Sequence
from dataclasses import replace

from magnet_eval import config, embedders, metrics
from magnet_eval.embedders import sources
from magnet_eval.embedding import Hearing
from magnet_eval.lookup import UserError
from magnet_eval.metrics import Metric
from magnet_eval.prompts import read_prompts, read_reference

REAL_SETS = ("reference_set", "reference_limit", "reference_rows")  # ``needs`` of those with all real clips


def chosen_metrics(protocol: config.Protocol) -> list[Metric]:
    """The metrics that a protocol names, one for each preset. Raises UserError on an unknown name or preset."""
    chosen = []
    for name, choice in protocol.metrics.items():
        for preset in choice.preset or [""]:
            metric = metrics.get(name, preset)
            given = {"weights": choice.weights} if choice.weights else {}
            chosen.append(replace(metric, options={**metric.options, **given}))
    return chosen


def check(protocol: config.Protocol) -> None:
    """Raises UserError on an unknown metric or preset, or one whose network's weights or real clips are not here."""
    chosen = chosen_metrics(protocol)
    choices = [choice for choice in protocol.metrics.values() for _ in choice.preset or [""]]
    for metric, choice in zip(chosen, choices, strict=True):
        weights = metric.options.get("weights", "")
        wrong = embedders.missing(metric.embedder, metric.options) or sources.mismatch(weights, choice.sha256)
        source = sources.SOURCES.get(str(weights))
        wrong = wrong or Hearing.of(metric).misfit(source.rate if source else None)
        if wrong:
            raise UserError(f"metric {metric.name} ({metric.preset}): {wrong}")
    if any(metric.needs in REAL_SETS for metric in chosen):
        read_reference(protocol.reference)
    check_prompts(chosen, protocol.prompts)


def check_prompts(chosen: Sequence[Metric], source: config.Prompts) -> None:
    """Raises UserError on a metric that needs a real clip of a prompt, or tags, where no prompt has them."""
    paired = [metric for metric in chosen if metric.has_reference and metric.needs not in REAL_SETS]
    tagged = [metric for metric in chosen if metric.needs == "tags"]
    prompts = read_prompts(source) if paired or tagged else []
    if paired and not any(prompt.reference for prompt in prompts):
        raise UserError(
            f"metric {paired[0].name} ({paired[0].preset}) compares each clip with the real one of its prompt, and no "
            "prompt has one. Prepare the data set with its audio: magnet-eval data prepare."
        )
    for metric in tagged:
        if not any(metric.tags_of(prompt.tags) for prompt in prompts):
            raise UserError(
                f"metric {metric.name} ({metric.preset}) holds each clip against the tags of its prompt, and no prompt "
                f"has any of these: {', '.join(metric.tags)}. Take prompts of the source tiny, or leave the metric out."
            )
