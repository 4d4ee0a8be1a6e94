from collections import Counter, defaultdict

import numpy as np
import pytest

from magnet_eval.lookup import UserError
from magnet_eval.study.packet.design import Wanted, design, spaced, williams

PROMPTS = [f"prompt-{i:02}" for i in range(12)]


def wanted(protocol="multi_nr", **changes):
    given = {
        "protocol": protocol, "passes": ["p1", "p2"], "systems": ("a", "b", "c"),
        "controls": {name: ("gold", "anchor35") for name in (*PROMPTS, "other")},
        "prompts": PROMPTS, "training": "other",
        "raters": 20, "per_rater": 12, "repeats": 0.1,
    }  # fmt: skip
    return Wanted(**given | changes)


def made(**changes):
    return design(wanted(**changes), np.random.default_rng(0))


@pytest.mark.parametrize("n", range(1, 13))
def test_williams_squares_balance_places_and_neighbours(n):
    rows = williams(n)
    assert all(sorted(row) == list(range(n)) for row in rows)
    places = Counter((place, number) for row in rows for place, number in enumerate(row))
    assert len(set(places.values())) == 1 and len(places) == n * n
    pairs = Counter(pair for row in rows for pair in zip(row, row[1:], strict=False))
    assert len(pairs) == n * (n - 1) and len(set(pairs.values())) <= 1


@pytest.mark.parametrize("raters, per_rater", [(20, 12), (7, 5), (10, 8), (1, 1), (13, 11)])
def test_every_prompt_has_the_same_number_of_raters(raters, per_rater):
    _, slots = made(raters=raters, per_rater=per_rater)
    assert len(slots) >= raters
    for name in ("p1", "p2"):
        heard = Counter(
            draft.prompt_id for slot in slots for draft, _ in slot
            if draft.pass_id == name and not draft.training and not draft.repeat
        )  # fmt: skip
        assert set(heard) == set(PROMPTS) and len(set(heard.values())) == 1
    assert all(len({d.prompt_id for d, _ in slot if not d.training}) == per_rater for slot in slots)


def test_places_on_screen_are_balanced_over_raters_for_every_page():
    _, slots = made(raters=20)  # 5 clips on a screen: 10 rows, twice
    places = Counter(
        (d, place, one) for slot in slots for d, shown in slot if not d.training for place, one in enumerate(shown)
    )
    assert set(places.values()) == {4}


def test_clips_that_a_listener_knows_do_not_tell_the_others():
    _, slots = made(raters=20)
    shown = [order for slot in slots for draft, order in slot if not draft.training]
    orders = defaultdict(set)
    for order in shown:
        orders[order.index("gold"), order.index("anchor35")].add(order)
    assert len(set(shown)) > 80  # of 120
    assert all(len(found) > 2 for found in orders.values())  # of 6, wherever the two are


def test_training_comes_first_then_pass_after_pass_and_repeats_after_what_they_repeat():
    _, slots = made(raters=30, repeats=0.25)
    for slot in slots:
        drafts = [draft for draft, _ in slot]
        assert [draft.training for draft in drafts] == [True] + [False] * (len(drafts) - 1)
        passes = [draft.pass_id for draft in drafts[1:]]
        assert passes == sorted(passes)
        repeats = [draft for draft in drafts if draft.repeat]
        assert len(repeats) == 6
        for repeat in repeats:
            first = next(i for i, d in enumerate(drafts) if not d.repeat and not d.training
                         and (d.pass_id, d.prompt_id) == (repeat.pass_id, repeat.prompt_id))  # fmt: skip
            assert drafts.index(repeat) > first
    orders = {tuple(draft.prompt_id for draft, _ in slot) for slot in slots}
    assert len(orders) == len(slots)


def test_the_same_seed_gives_the_same_design():
    assert made() == made()
    assert made() != design(wanted(), np.random.default_rng(1))


def test_every_block_has_one_of_the_spaced_prompts():
    for share in (0.05, 0.1, 0.3, 1.0):
        for size in (1, 2, 5, 12):
            chosen = spaced(PROMPTS, share, size, first=size // 2)
            for start in range(12):
                assert chosen & {PROMPTS[(start + i) % 12] for i in range(size)}
    assert spaced(PROMPTS, 0, 12, first=0) == set()


def test_what_protocols_show():
    drafts, _ = made(protocol="mushra", passes=["p1"], repeats=0)
    assert all(draft.reference and len(draft.conditions) == 5 for draft in drafts) and len(drafts) == 13
    drafts, _ = made(protocol="ab", passes=["p1"], repeats=0)
    shown = Counter(draft.conditions for draft in drafts if not draft.training)
    assert shown[("a", "b")] == shown[("a", "c")] == shown[("b", "c")] == 12 and 0 < shown[("gold", "anchor35")] <= 3
    drafts, _ = made(protocol="acr", passes=["p1"], repeats=0)
    assert {len(draft.conditions) for draft in drafts} == {1}
    practice = [draft.conditions for draft in drafts if draft.training]
    assert practice == [("a",), ("b",), ("c",), ("gold",), ("anchor35",)]


def test_a_prompt_without_a_real_clip_has_no_controls():
    drafts, _ = made(controls={})
    assert {draft.conditions for draft in drafts} == {("a", "b", "c")}


def test_more_than_twelve_signals_are_refused():
    systems = tuple("abcdefghij")
    made(systems=systems)  # 10 systems, gold and an anchor are 12
    with pytest.raises(UserError, match="13 clips on a screen.*method=acr"):
        made(systems=(*systems, "k"))
