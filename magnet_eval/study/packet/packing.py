"""Ids for pages and stimuli, and from drafts to the pages, assignments and key entries that go by them."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from magnet_eval.lookup import UserError
from magnet_eval.study.packet.design import Draft, Slot
from magnet_eval.study.packet.sounds import Sound
from magnet_eval.study.schema import Assignment, Page, Stimulus

OPEN = "open reference"  # the condition that the reference of a page is
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
Clip = tuple[str, str]  # prompt id and condition


class Names:
    """Opaque ids: hashes with a secret, so that neither a system nor a prompt can be guessed from one."""

    def __init__(self, salt: str) -> None:
        """With the secret."""
        self.salt = salt
        self.given: dict[str, tuple[object, ...]] = {}

    def of(self, letter: str, *what: object) -> str:
        """The id of ``what``: the letter, an underscore, 8 of a-z0-9. Raises UserError if two things get one id."""
        number = int.from_bytes(hashlib.sha256(repr((self.salt, letter, *what)).encode()).digest()[:16])
        digits = []
        for _ in range(8):
            number, digit = divmod(number, len(DIGITS))
            digits.append(DIGITS[digit])
        name = f"{letter}_{''.join(digits)}"
        if self.given.setdefault(name, what) != what:
            raise UserError("two stimuli got one id, by chance. Prepare the study again with another salt=TEXT.")
        return name

    def page(self, draft: Draft) -> str:
        """The id of a page."""
        return self.of("p", draft)

    def stimulus(self, draft: Draft, condition: str) -> str:
        """The id of one clip on one page."""
        return self.of("s", draft, condition)


def pages_of(drafts: Sequence[Draft], texts: Mapping[tuple[str, str], str], names: Names) -> list[Page]:
    """The pages as a listener gets them, by id; ``texts`` to read there, by pass and prompt id."""
    found = [
        Page(
            page_id=names.page(draft),
            pass_id=draft.pass_id,
            prompt_text=texts.get((draft.pass_id, draft.prompt_id), ""),
            stimuli=sorted(names.stimulus(draft, condition) for condition in draft.conditions),
            reference=names.stimulus(draft, OPEN) if draft.reference else None,
            training=draft.training,
        )
        for draft in drafts
    ]
    return sorted(found, key=lambda page: page.page_id)


def assignments_of(slots: Sequence[Slot], names: Names) -> list[Assignment]:
    """Who gets what, in order."""
    return [
        Assignment(number, position, names.page(draft), tuple(names.stimulus(draft, one) for one in shown))
        for number, slot in enumerate(slots)
        for position, (draft, shown) in enumerate(slot)
    ]


def stimuli_of(
    drafts: Sequence[Draft], sounds: Mapping[Clip, Sound], gains: Mapping[Clip, float], names: Names
) -> Iterator[tuple[str, Clip, Stimulus]]:
    """Every stimulus: its id, its clip, its entry in the key."""
    for draft in drafts:
        for condition in (*draft.conditions, *([OPEN] if draft.reference else [])):
            clip = draft.prompt_id, "reference" if condition == OPEN else condition
            sound = sounds[clip]
            first = names.stimulus(replace(draft, repeat=False), condition) if draft.repeat else None
            yield (
                names.stimulus(draft, condition),
                clip,
                Stimulus(
                    system=clip[1],
                    prompt_id=draft.prompt_id,
                    role="repeat" if draft.repeat else sound.role,
                    page_id=names.page(draft),
                    source=str(sound.source),
                    sha256=sound.sha256,
                    gain_db=round(gains[clip], 3),
                    offset=sound.offset,
                    repeat_of=first,
                ),
            )
