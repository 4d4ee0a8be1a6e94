"""Captions of pieces: one plain caption for scoring, many paraphrases for training."""

import numpy as np

from magnet_eval.training.composer import Piece

STYLE_WORDS = {
    "rock": ("rock", "rock band", "rock and roll", "driving rock", "guitar rock", "indie rock"),
    "techno": ("techno", "electronic dance music", "club techno", "dance", "house", "electronic", "edm"),
    "waltz": ("waltz", "three-four waltz", "ballroom waltz", "viennese waltz", "dance in three"),
    "ambient": ("ambient", "atmospheric", "ambient drone", "soundscape", "meditative", "relaxing ambient"),
    "ballad": ("ballad", "love ballad", "arpeggiated ballad", "romantic song", "lullaby"),
    "march": ("march", "marching band", "military march", "parade march", "brass march"),
}
LEAD_WORDS = {
    "piano": ("piano", "grand piano", "keyboard", "pianist"),
    "guitar": ("guitar", "acoustic guitar", "nylon guitar", "classical guitar"),
    "strings": ("strings", "string section", "violins", "orchestra strings"),
    "flute": ("flute", "wooden flute", "woodwind", "whistle-like flute"),
    "trumpet": ("trumpet", "brass", "horn", "bright trumpet"),
    "synthesizer": ("synthesizer", "synth", "synth lead", "saw lead", "analog synth"),
}
TEMPO_WORDS = {
    150: ("fast", "very fast", "150 bpm", "presto", "quick"),
    125: ("upbeat", "lively", "125 bpm", "allegro", "brisk"),
    94: ("mid-tempo", "moderate", "94 bpm", "andante", "medium tempo"),
    75: ("slow", "75 bpm", "adagio", "unhurried", "slow-paced"),
}
DYNAMICS_WORDS = {
    "soft": ("soft", "quiet", "gentle", "delicate", "tender"),
    "loud": ("loud", "powerful", "energetic", "strong", "bold"),
}
MODE_WORDS = {"major": ("happy", "bright", "cheerful", "joyful"), "minor": ("sad", "dark", "melancholic", "gloomy")}
OPENINGS = (
    *[""] * 8, "a recording of ", "an instrumental: ", "this is ", "music with ", "please play ", "a song, ",
    "background music for a video, ", "a studio recording of ", "the clip features ", "a short loop of ", "I want ",
    "a soundtrack for a game: ", "high quality ", "an old tape of ",
)  # fmt: skip
ENDINGS = (
    *[""] * 8, ".", " for a film", " without vocals", ", high quality", " in the evening", ", no singing",
    " as heard on the radio", ", well recorded", " with feeling", " for my friends", ", instrumental",
)  # fmt: skip


def plain(piece: Piece) -> str:
    """The caption that names every attribute in the composer's own words; prompts are scored with it."""
    tempo = TEMPO_WORDS[piece.bpm][0]
    return f"{tempo} {piece.dynamics} {piece.style} with {piece.lead} in {piece.key} {piece.mode}, {piece.bpm} bpm"


def paraphrase(piece: Piece, rng: np.random.Generator) -> tuple[str, dict[str, bool]]:
    """A random caption and which attributes it names.

    Style and lead are nearly always named, the others often; word order, synonyms and fillers vary.
    """

    def pick(words: tuple[str, ...]) -> str:
        return words[rng.integers(len(words))]

    odds = {"style": 0.93, "lead": 0.93, "bpm": 0.75, "dynamics": 0.6, "mode": 0.6, "key": 0.45}
    named = {name: bool(rng.random() < chance) for name, chance in odds.items()}
    if not (named["style"] or named["lead"]):
        named["style"] = True
    named["key"] = named["key"] and named["mode"]
    tempo = pick(TEMPO_WORDS[piece.bpm]) if named["bpm"] else ""
    dynamics = pick(DYNAMICS_WORDS[piece.dynamics]) if named["dynamics"] else ""
    style = pick(STYLE_WORDS[piece.style]) if named["style"] else pick(("music", "piece", "tune"))
    lead = pick(LEAD_WORDS[piece.lead]) if named["lead"] else ""
    mode = ""
    if named["key"]:
        mode = f"in {piece.key} {piece.mode}"
    elif named["mode"]:
        mode = pick((pick(MODE_WORDS[piece.mode]), f"in a {piece.mode} key"))
    head = [word for word in (tempo, dynamics) if word]
    rng.shuffle(head)
    if mode and not mode.startswith("in "):
        head.append(mode)
        mode = ""
    carrier = pick((" with {}", " for {}", " played on {}", " featuring {}", ", {}", " led by the {}")).format(lead)
    if lead and rng.random() < 0.25:
        body = " ".join([*head, lead, pick(("melody over", "playing a", "in a")), style])
    else:
        body = " ".join([*head, style]) + (carrier if lead else "")
    text = pick(OPENINGS) + body + (f" {mode}" if mode else "") + pick(ENDINGS)
    return (text if rng.random() < 0.6 else text.lower()), named
