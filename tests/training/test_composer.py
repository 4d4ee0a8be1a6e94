"""The composer's promises: onsets on the token grid, parts without a common combination, captions that are true."""

import numpy as np
import pytest

from magnet_eval.training.captions import (
    DYNAMICS_WORDS,
    LEAD_WORDS,
    MODE_WORDS,
    STYLE_WORDS,
    TEMPO_WORDS,
    paraphrase,
    plain,
)
from magnet_eval.training.composer import CLIP_MS, FRAME_MS, all_pieces, draw, is_held_out, notes
from magnet_eval.training.dataset import split_pieces


def test_onsets_are_on_the_token_grid_and_inside_the_clip():
    for piece in list(all_pieces())[::101]:
        made = notes(piece)
        assert made
        assert all(note.start % FRAME_MS == 0 and note.start < note.end <= CLIP_MS for note in made)
        assert all(0 <= note.pitch < 128 and 0 < note.velocity < 128 for note in made)


def test_the_lead_plays_at_once():
    for piece in list(all_pieces())[::313]:
        assert min(note.start for note in notes(piece) if note.channel == 0) == 0


def test_no_combination_in_two_parts():
    parts = split_pieces()
    combinations = {name: {piece.combination for piece in pieces} for name, pieces in parts.items()}
    assert not combinations["train"] & (combinations["valid"] | combinations["test"])
    assert not set(parts["valid"]) & set(parts["test"])
    assert all(is_held_out(piece) for piece in parts["test"])


def test_split_is_the_same_every_time():
    assert split_pieces()["test"] == split_pieces()["test"]


def test_too_many_pieces():
    with pytest.raises(ValueError, match="2 exist"):
        draw(list(all_pieces())[:2], 3, np.random.default_rng(0))


def test_plain_caption_names_every_attribute():
    for piece in list(all_pieces())[::977]:
        text = plain(piece)
        for value in (piece.style, piece.lead, piece.key, piece.mode, piece.dynamics, f"{piece.bpm} bpm"):
            assert value in text


def test_paraphrases_name_what_they_say_and_nothing_false():
    rng = np.random.default_rng(0)
    tables = {"bpm": TEMPO_WORDS, "dynamics": DYNAMICS_WORDS, "lead": LEAD_WORDS, "style": STYLE_WORDS}
    pieces = list(all_pieces())
    for index in rng.integers(len(pieces), size=300):
        piece = pieces[index]
        text, named = paraphrase(piece, rng)
        for attribute, table in tables.items():
            if named[attribute]:
                assert any(word.lower() in text.lower() for word in table[getattr(piece, attribute)]), (text, named)
        if named["mode"] and not named["key"]:
            words = (*MODE_WORDS[piece.mode], f"in a {piece.mode} key")
            assert any(word in text.lower() for word in words)
