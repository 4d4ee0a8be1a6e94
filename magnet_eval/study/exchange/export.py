"""From a packet to what others take: a drop-in folder for webMUSHRA, files for Prolific and MTurk, a table for a room.

The key is never read, so that nothing made here can say more than the packet does; of the plan beside it, only how many
listeners are wanted.
"""

import math
import secrets
import shutil
import string
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from magnet_eval.lookup import UserError
from magnet_eval.store import write_atomic, writing
from magnet_eval.study.analysis.planning import PAGE_SECONDS, PLAYS
from magnet_eval.study.exchange import platforms
from magnet_eval.study.exchange.responses import COLUMNS, Row
from magnet_eval.study.exchange.tabular import to_csv
from magnet_eval.study.exchange.webmushra import configs, to_yaml
from magnet_eval.study.options import ExportOptions
from magnet_eval.study.schema import Assignment, Folders, Packet, read_assignments, read_packet, read_plan

Slots = Mapping[int, Sequence[Assignment]]


def export(chosen: ExportOptions) -> str:
    """Makes the files: where they are and what to do with them. Raises UserError if they are there already."""
    folders = Folders.of(chosen.study)
    packet = read_packet(folders)
    slots: dict[int, list[Assignment]] = {}
    for row in read_assignments(folders):
        slots.setdefault(row.slot, []).append(row)
    out = Path(chosen.out).expanduser() if chosen.out else folders.study.with_name(f"{folders.study.name}.{chosen.to}")
    if out.exists():
        raise UserError(f"{out} is there already. Choose another folder with out=FOLDER, or remove it first.")
    if chosen.to == "webmushra":
        return to_webmushra(folders, packet, slots, out)
    if chosen.to == "csv":
        write_atomic(out / "answers.csv", to_csv(*table_of(packet, slots)))
        return (
            f"{out / 'answers.csv'}: a row for every clip, listener by listener in the order of hearing; the clips are "
            f"in {folders.study / 'stimuli'}. Fill in score.\n"
            f"Next: magnet-eval study import study={chosen.study} answers={out / 'answers.csv'}"
        )
    minutes = math.ceil(chosen.minutes or minutes_of(packet, slots))
    assert chosen.url is not None  # ExportOptions has checked it
    offer = platforms.Offer(chosen.url, read_plan(folders).raters, minutes, chosen.reward)
    if chosen.to == "prolific":
        code = "".join(secrets.choice(string.ascii_uppercase + string.digits) for _ in range(8))
        files = platforms.prolific(packet, offer, code)
        advice = (
            f"send study.json to https://api.prolific.com/api/v1/studies/, and serve the study with the same code: "
            f"magnet-eval study serve study={chosen.study} completion='{platforms.RETURN}{code}'"
        )
    elif chosen.to == "mturk":
        files = platforms.mturk(packet, offer)
        advice = (
            f"make a project with layout.html, publish it with hits.csv and {offer.places} assignments a HIT, "
            f"{minutes} minutes, reward {chosen.reward:g}; codes are checked on the study's admin page"
        )
    else:
        raise ValueError(chosen.to)
    for name, text in files.items():
        write_atomic(out / name, text)
    return f"{out}: {', '.join(files)}\nNext: {advice}"


def to_webmushra(folders: Folders, packet: Packet, slots: Slots, out: Path) -> str:
    """Writes the YAML and copies the audio that it names."""
    made = configs(folders, packet, slots)
    audio = out / "configs" / "resources" / packet.study_id
    with writing(audio):
        audio.mkdir(parents=True)
        for name in sorted({name for page in packet.pages for name in (*page.stimuli, page.reference) if name}):
            shutil.copy2(folders.study / "stimuli" / f"{name}.wav", audio)
    for name, content in made.items():
        write_atomic(out / "configs" / f"{name}.yaml", to_yaml(content))
    first = next(iter(made))
    return (
        f"{out}: copy configs/ into a checkout of webMUSHRA and open it with ?config={first}.yaml"
        f"{f' (one of {len(made)}: each listener has a file)' if len(made) > 1 else ''}\n"
        "webMUSHRA stores 100 where nothing was touched, and nothing before the last page; study serve does better.\n"
        f"Next: magnet-eval study import study={folders.study} answers=results/{packet.study_id}/mushra.csv"
    )


def table_of(packet: Packet, slots: Slots) -> tuple[list[str], Iterator[Row]]:
    """Columns and rows of a table to fill in by hand."""
    pages = {page.page_id: page for page in packet.pages}
    language = packet.languages[0]

    def rows() -> Iterator[Row]:
        for slot, assignments in slots.items():
            for assignment in assignments:
                page = pages[assignment.page_id]
                dimension = packet.dimension_of(page)
                for position, name in enumerate(assignment.stimuli):
                    yield {
                        "session": f"listener-{slot + 1}",
                        "slot": slot,
                        "pass": page.pass_id,
                        "page_id": page.page_id,
                        "stimulus_id": name,
                        "dimension": dimension.id,
                        "position": position,
                        "page_no": assignment.position,
                        "file": f"{name}.wav",
                        "reference": f"{page.reference}.wav" if page.reference else "",
                        "question": dimension.question[language],
                        "scale": f"{dimension.scale[0]:g} to {dimension.scale[1]:g}",
                        "prompt": page.prompt_text,
                    }

    return [*COLUMNS, "file", "reference", "question", "scale", "prompt"], rows()


def minutes_of(packet: Packet, slots: Slots) -> float:
    """How long a listener takes, on the average of the slots."""
    seconds = [
        sum(PAGE_SECONDS + len(row.stimuli) * PLAYS * packet.audio.seconds for row in rows) for rows in slots.values()
    ]
    return sum(seconds) / len(seconds) / 60
