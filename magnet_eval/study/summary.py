"""What prepare, check and import say when they are done."""

import re
from collections import Counter

from magnet_eval.study.analysis.planning import PAGE_SECONDS, PLAYS
from magnet_eval.study.exchange.importing import Imported
from magnet_eval.study.packet.check import Checked
from magnet_eval.study.packet.design import places
from magnet_eval.study.schema import Folders, Packet, Plan
from magnet_eval.table import table

WORDS = re.compile(r"'[^']*'|\bs_[a-z0-9]{8}\b")  # what differs from row to row in a reason
MOST_REASONS = 8


def prepared(packet: Packet, plan: Plan, out: str) -> str:
    """What was made."""
    facts = packet.audio
    own = [page for page in packet.pages if not page.training]
    share = plan.prompts_per_rater / plan.prompts
    seconds = share * sum(PAGE_SECONDS + len(page.stimuli) * PLAYS * facts.seconds for page in own)
    rows = [
        ["systems", ", ".join(plan.systems)],
        ["prompts", f"{plan.prompts}, of which each rater hears {plan.prompts_per_rater}"],
        ["raters", _raters(plan)],
        ["asked", ", ".join(plan.dimensions)],
        ["pages", f"{len(own)} and {len(packet.pages) - len(own)} to practise; about {seconds / 60:.0f} min a rater"],
        ["clips", f"{facts.seconds:.2f} s, {facts.rate} Hz, {'stereo' if facts.channels == 2 else 'mono'}"],
        ["loudness", f"{facts.lufs:.1f} LUFS for all, highest peak {facts.peak_dbtp:.1f} dBTP"],
    ]
    return (
        f"{table(['study', packet.protocol], rows)}\n\n"
        f"packet: {out} (for listeners, no leaks found)\nkey: {out}.key (for nobody before the last answer)\n"
        f"Next: magnet-eval study serve study={out}"
    )


def _raters(plan: Plan) -> str:
    fair, n = (places(raters, plan.prompts, plan.prompts_per_rater) for raters in (1, plan.raters))
    if n == plan.raters:
        return f"{n}"
    return f"{plan.raters}, and {n} places: only {fair} or a multiple of it hear every prompt alike often"


def checked(found: Checked, study: str) -> str:
    """What was looked at."""
    low, high = found.lufs
    return (
        f"{study} gives nothing away: {found.n_stimuli} stimuli of {found.n_bytes} bytes each, {low:.1f} to {high:.1f} "
        f"LUFS, peaks up to {found.peak_dbtp:.2f} dBTP; no file, text, date or header that tells; none of "
        f"{found.n_words} words of the key."
    )


def taken_in(found: Imported, folders: Folders) -> str:
    """What became of the answers."""
    n_raters = len({rating.rater for rating in found.ratings})
    lines = [f"{len(found.ratings)} ratings of {n_raters} listeners, of {len(found.answers)} answers."]
    if found.replaced:
        before = {rating.rater for rating in found.replaced}
        lost = len(before - {rating.rater for rating in found.ratings})
        lines.append(
            f"They replace an earlier import: {len(found.replaced)} ratings of {len(before)} listeners"
            + (f", {lost} of whom are not in these answers; name all files at once to have all." if lost else ".")
        )
    lines += [f"{n} left out: {why}." for why, n in found.left_out.items()]
    reasons = Counter(WORDS.sub("...", str(row["why"])) for row in found.refused)
    lines += [f"{n} rows refused: {why}." for why, n in reasons.most_common(MOST_REASONS)]
    if found.refused:
        lines.append(f"All {len(found.refused)} refused rows are in {folders.responses / 'refused.csv'}.")
    lines += [
        f"ratings: {folders.responses / 'ratings.jsonl'}",
        f"Next: magnet-eval study analyse study={folders}",
    ]
    return "\n".join(lines)
