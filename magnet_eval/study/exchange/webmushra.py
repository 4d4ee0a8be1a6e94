"""A packet as webMUSHRA takes it (Schoeffler et al., 2018): YAML and a folder of audio for an untouched checkout.

After its version 1.4.3: it adds the hidden reference itself, so that ours stays out; it takes a slider that nobody
touched for 100; one & in a comment loses a session, so that nothing is asked in words; and only what it writes of
``mushra`` pages tells listeners apart, so that nothing else is exported.
"""

import html
import math
import textwrap
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from magnet_eval.lookup import UserError
from magnet_eval.store import file_hash
from magnet_eval.study.schema import Assignment, Folders, Packet, Page

LANGUAGES = ("en", "de", "fr", "es")  # that webMUSHRA speaks
REFUSED = {
    "multi_nr": "its mushra page cannot do without a reference: it asks for one that is not there and shows nothing",
    "ab": "its paired comparison needs a reference, and its results do not tell one listener from another",
    "acr": "the results of its rating pages do not tell one listener from another",
}


def configs(folders: Folders, packet: Packet, slots: Mapping[int, Sequence[Assignment]]) -> dict[str, dict[str, Any]]:
    """What each YAML file says, by name: one for all, or one a slot where listeners hear different prompts.

    Raises UserError, saying why, on a packet whose answers webMUSHRA would not ask for or would corrupt.
    """
    if packet.protocol in REFUSED:
        raise UserError(
            f"webMUSHRA cannot run a study of method {packet.protocol}: {REFUSED[packet.protocol]}. "
            "Use magnet-eval study serve, or to=csv; or prepare it with method=mushra."
        )
    pages = {page.page_id: page for page in packet.pages}
    sets = {frozenset(row.page_id for row in rows) for rows in slots.values()}
    if len(sets) == 1:
        return {packet.study_id: config(folders, packet, [pages[name] for name in sorted(sets.pop())])}
    return {
        f"{packet.study_id}-{slot:03}": config(folders, packet, [pages[row.page_id] for row in rows])
        for slot, rows in slots.items()
    }


def config(folders: Folders, packet: Packet, pages: Sequence[Page]) -> dict[str, Any]:
    """One file: consent, practice, the pages in a random order within each pass, the end."""
    language = next((name for name in packet.languages if name in LANGUAGES), packet.languages[0])
    paragraphs = packet.consent[language].split("\n\n")
    consent = "".join(f"<p>{html.escape(' '.join(text.split()))}</p>" for text in paragraphs)
    practice = [page for page in pages if page.training]
    passes = [
        ["random", *(trial(folders, packet, page, language) for page in pages if is_of(page, one.pass_id))]
        for one in packet.passes
    ]
    return {
        "testname": packet.title,  # of the window; names and contents are HTML
        "testId": packet.study_id,
        "language": language,
        "bufferSize": 2048,
        "stopOnErrors": True,
        "showButtonPreviousPage": False,
        "remoteService": "service/write.php",
        "pages": [
            {"type": "generic", "id": "consent", "name": html.escape(packet.title), "content": consent},
            *(trial(folders, packet, page, language) for page in practice),
            *passes,
            {
                "type": "finish",
                "name": html.escape(packet.title),
                "content": "",
                "showResults": False,  # it would show the names of conditions
                "writeResults": True,
            },
        ],
    }


def is_of(page: Page, pass_id: str) -> bool:
    """Whether a page counts in a pass."""
    return page.pass_id == pass_id and not page.training


def trial(folders: Folders, packet: Packet, page: Page, language: str) -> dict[str, Any]:
    """One page. The hidden reference is told by its samples, which are those of the open one: no key is needed."""
    assert page.reference is not None  # a packet of this protocol has one on each page
    stimuli = folders.study / "stimuli"
    reference = file_hash(stimuli / f"{page.reference}.wav")
    content = "<br/>".join(
        html.escape(text) for text in (packet.dimension_of(page).question[language], page.prompt_text) if text
    )
    return {
        "type": "mushra",
        "id": page.page_id,
        "name": html.escape(packet.title),
        "content": content,
        "showWaveform": False,  # it tells bandwidths apart
        "enableLooping": True,
        "strict": False,  # the packet has been checked
        "createAnchor35": False,  # its own are 2 ms early and miss the mask
        "createAnchor70": False,
        "randomize": True,
        "showConditionNames": False,
        "reference": audio(packet, page.reference),
        "stimuli": {
            name: audio(packet, name) for name in page.stimuli if file_hash(stimuli / f"{name}.wav") != reference
        },
    }


def to_yaml(content: Mapping[str, Any]) -> str:
    """What webMUSHRA's own reader understands: no list that begins on the line of another, no text over two lines."""
    import yaml

    dump = partial(yaml.safe_dump, sort_keys=False, allow_unicode=True, width=math.inf)
    parts = [dump({name: value for name, value in content.items() if name != "pages"}), "pages:\n"]
    for page in content["pages"]:
        if isinstance(page, list):
            parts += ["    -\n", *(textwrap.indent(dump([one]), " " * 8) for one in page)]
        else:
            parts.append(textwrap.indent(dump([page]), " " * 4))
    return "".join(parts)


def audio(packet: Packet, name: str) -> str:
    """Where a stimulus is, as seen from the checkout."""
    return f"configs/resources/{packet.study_id}/{name}.wav"
