"""What prepare, check and import say when they are done."""

from magnet_eval.study.check import Checked
from magnet_eval.study.planning import PAGE_SECONDS, PLAYS
from magnet_eval.study.schema import Packet, Plan
from magnet_eval.table import table


def prepared(packet: Packet, plan: Plan, out: str) -> str:
    """What was made."""
    facts = packet.audio
    own = [page for page in packet.pages if not page.training]
    share = plan.prompts_per_rater / plan.prompts
    seconds = share * sum(PAGE_SECONDS + len(page.stimuli) * PLAYS * facts.seconds for page in own)
    rows = [
        ["systems", ", ".join(plan.systems)],
        ["prompts", f"{plan.prompts}, of which each rater hears {plan.prompts_per_rater}"],
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


def checked(found: Checked, study: str) -> str:
    """What was looked at."""
    low, high = found.lufs
    return (
        f"{study} gives nothing away: {found.n_stimuli} stimuli of {found.n_bytes} bytes each, {low:.1f} to {high:.1f} "
        f"LUFS, peaks up to {found.peak_dbtp:.2f} dBTP; no file, text, date or header that tells; none of {found.n_words} "
        "words of the key."
    )
