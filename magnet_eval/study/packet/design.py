"""Which screens there are and who sees them when: drafts of pages, cyclic blocks of prompts, Williams squares of clips.

Every prompt gets the same number of raters. On a screen each clip stands in each place, and after each other clip,
equally often (Williams, 1949), as far as the number of raters lets it.
"""

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from magnet_eval.lookup import UserError

SIDE_BY_SIDE = ("multi_nr", "mushra")  # protocols that show everything of a prompt on one screen
MOST_SIGNALS = 12  # on a screen, the open reference included (BS.1534-3)
CONTROL_SHARE = 0.1  # of the prompts that come with screens of control clips, where these have screens of their own

Shown = tuple[str, ...]  # labels of systems and roles of clips that no system made, in an order


@dataclass(frozen=True)
class Draft:
    """One page before it has an id."""

    pass_id: str
    prompt_id: str
    conditions: Shown
    reference: bool = False  # whether an open reference stands beside them
    repeat: bool = False  # whether it is another page over again
    training: bool = False


@dataclass(frozen=True)
class Wanted:
    """What a design is made of."""

    protocol: str
    passes: Sequence[str]
    systems: Shown
    controls: Mapping[str, Shown]  # roles of the clips that no system made, by prompt id
    prompts: Sequence[str]  # ids, in the order that blocks are cut from
    training: str  # id of the prompt to practise with
    raters: int
    per_rater: int  # prompts of one rater
    repeats: float  # share of a rater's prompts that come once more


Slot = list[tuple[Draft, Shown]]  # what one rater sees: pages in order, each with its clips in their order on screen


def design(wanted: Wanted, rng: np.random.Generator) -> tuple[list[Draft], list[Slot]]:
    """All pages of a study, and the slots: as many as raters, or a few more so that all prompts are heard alike.

    Raises UserError on more than MOST_SIGNALS clips on a screen.
    """
    training = screens(wanted, wanted.training, controls=True)
    if wanted.protocol != "acr":  # one screen shows what there is to hear
        training = training[:1]
    has_reference = wanted.protocol == "mushra"
    practice = [
        Draft(wanted.passes[0], wanted.training, shown, reference=has_reference, training=True) for shown in training
    ]
    drafts = [draft for name in wanted.passes for draft in pages(wanted, name)]
    most = max(len(draft.conditions) + draft.reference for draft in drafts)
    if most > MOST_SIGNALS:
        raise UserError(
            f"{most} clips on a screen are too many to compare, {MOST_SIGNALS} are allowed (BS.1534-3). "
            "Name fewer with systems=[...], or choose method=acr."
        )
    return [*practice, *drafts], slots(wanted, practice, drafts, rng)


def pages(wanted: Wanted, pass_id: str) -> list[Draft]:
    """The pages of one pass, repeats included."""
    repeated = spaced(wanted.prompts, wanted.repeats, wanted.per_rater, first=0)
    controlled = spaced(wanted.prompts, CONTROL_SHARE, wanted.per_rater, first=wanted.per_rater // 2)
    found = []
    for i, prompt in enumerate(wanted.prompts):
        shown = screens(wanted, prompt, controls=wanted.protocol in SIDE_BY_SIDE or prompt in controlled)
        drafts = [Draft(pass_id, prompt, one, reference=wanted.protocol == "mushra") for one in shown]
        found += drafts
        if prompt in repeated:
            found.append(replace(drafts[i % len(drafts)], repeat=True))
    return found


def screens(wanted: Wanted, prompt: str, *, controls: bool) -> list[Shown]:
    """What is heard together of one prompt, a screen each."""
    extra = wanted.controls.get(prompt, ()) if controls else ()
    if wanted.protocol in SIDE_BY_SIDE:
        return [(*wanted.systems, *extra)]
    if wanted.protocol == "ab":
        return [*itertools.combinations(wanted.systems, 2), *([extra[:2]] if len(extra) > 1 else [])]
    if wanted.protocol == "acr":
        return [(one,) for one in (*wanted.systems, *extra)]
    raise ValueError(wanted.protocol)


def spaced(prompts: Sequence[str], share: float, per_rater: int, first: int) -> set[str]:
    """About ``share`` of the prompts, so far apart that every block of ``per_rater`` has one of them; none for 0."""
    if not share:
        return set()
    step = min(max(round(1 / share), 1), per_rater)
    return {prompt for i, prompt in enumerate(prompts) if (i - first) % len(prompts) % step == 0}


def slots(wanted: Wanted, practice: Sequence[Draft], drafts: Sequence[Draft], rng: np.random.Generator) -> list[Slot]:
    """Block after block of the prompts, cyclically, each shuffled; clips in the order of a row of a Williams square."""
    n, size = len(wanted.prompts), wanted.per_rater
    squares = {len(draft.conditions): williams(len(draft.conditions)) for draft in [*practice, *drafts]}
    # Drawn page by page: were they the same everywhere, the places of two clips that a listener knows, the real one and
    # the anchor, would tell those of all systems.
    numbered = {draft: rng.permutation(draft.conditions).tolist() for draft in [*practice, *drafts]}
    seen: Counter[Draft] = Counter({draft: int(rng.integers(len(squares[len(draft.conditions)]))) for draft in drafts})

    def shown(draft: Draft) -> tuple[Draft, Shown]:
        square = squares[len(draft.conditions)]
        row = square[seen[draft] % len(square)]
        seen[draft] += 1
        return draft, tuple(numbered[draft][i] for i in row)

    found = []
    for slot in range(places(wanted.raters, n, size)):
        block = {wanted.prompts[(slot * size + i) % n] for i in range(size)}
        order = list(practice)
        for name in wanted.passes:
            order += shuffled([draft for draft in drafts if draft.pass_id == name and draft.prompt_id in block], rng)
        found.append([shown(draft) for draft in order])
    return found


def places(raters: int, prompts: int, per_rater: int) -> int:
    """Slots for this many raters, or the few more with which every prompt is heard by equally many."""
    whole = prompts // math.gcd(prompts, per_rater)  # blocks until every prompt was in equally many
    return math.ceil(raters / whole) * whole


def shuffled(drafts: Sequence[Draft], rng: np.random.Generator) -> list[Draft]:
    """Pages in a random order, in which what is repeated comes in the first half and its repeat in the second."""
    repeats = [draft for draft in drafts if draft.repeat]
    first = [replace(draft, repeat=False) for draft in repeats]
    others = [draft for draft in drafts if draft not in repeats and draft not in first]
    rng.shuffle(others)  # type: ignore[arg-type]
    half = math.ceil(len(others) / 2)
    early, late = [*others[:half], *first], [*others[half:], *repeats]
    rng.shuffle(early)  # type: ignore[arg-type]
    rng.shuffle(late)  # type: ignore[arg-type]
    return [*early, *late]


def williams(n: int) -> list[list[int]]:
    """Rows of 0..n-1: n rows for an even n, else 2 n. Each number is in each column, and after each other, alike often.

    Williams (1949), Experimental designs balanced for the estimation of residual effects of treatments.
    """
    zigzag = [(i + 1) // 2 if i % 2 else (n - i // 2) % n for i in range(n)]  # 0, 1, n-1, 2, n-2, ...
    square = [[(number + row) % n for number in zigzag] for row in range(n)]
    return square if n % 2 == 0 else square + [row[::-1] for row in square]
