"""Captions of sound effects: one plain caption for scoring, many paraphrases for training."""

import numpy as np

from magnet_eval.training.sounds import NONE, Sound

KIND_WORDS = {
    "beep": ("beep", "beeping tone", "electronic beeps", "alarm beep", "sonar beep"),
    "siren": ("siren", "wailing siren", "police siren", "ambulance", "warbling alarm"),
    "rising sweep": ("rising sweep", "rising whistle", "upward sweep", "tone going up", "slide whistle going up"),
    "falling sweep": ("falling sweep", "falling whistle", "downward sweep", "tone going down", "laser falling"),
    "hiss": ("hiss", "white noise", "hissing steam", "static noise", "spray"),
    "rain": ("rain", "raindrops", "crackling fire", "crackle", "rain on a roof"),
    "knock": ("knock", "knocking on a door", "thuds", "hammering", "tapping on wood"),
    "bell": ("bell", "ringing bell", "church bell", "chime", "metal clang"),
    "bird": ("bird", "bird chirping", "tweeting bird", "chirps", "birdsong"),
    "engine": ("engine", "motor", "engine idling", "buzzing machine", "truck engine"),
}
PITCH_WORDS = {
    "low": ("low", "low-pitched", "deep", "dull", "dark"),
    "high": ("high", "high-pitched", "bright", "shrill", "thin"),
}
LENGTH_WORDS = {
    "short": ("short", "brief", "quick", "one second of"),
    "long": ("long", "extended", "lasting", "drawn-out"),
}
LOUDNESS_WORDS = {
    "soft": ("soft", "quiet", "faint", "distant", "gentle"),
    "loud": ("loud", "powerful", "close", "strong", "noisy"),
}
ORDERS = ("{} then {}", "{}, then {}", "{} followed by {}", "{} and then {}", "first {}, then {}", "{} before {}")
OPENINGS = (
    *[""] * 8, "a recording of ", "the sound of ", "this is ", "sound effect: ", "a field recording of ", "I hear ",
    "foley of ", "the clip features ", "please make ", "a sample of ",
)  # fmt: skip
ENDINGS = (*[""] * 8, ".", " for a film", " outdoors", ", no music", ", well recorded", " in a quiet room", ", sfx")


def plain(sound: Sound) -> str:
    """The caption that names every attribute in the composer's own words; prompts are made of it."""
    text = f"{sound.loudness} {sound.length} {sound.pitch} {sound.kind}"
    return text if sound.then_kind == NONE else f"{text} then {sound.then_length} {sound.then_pitch} {sound.then_kind}"


def paraphrase(sound: Sound, rng: np.random.Generator) -> tuple[str, dict[str, bool]]:
    """A random caption and which attributes it names: every kind, the others often; order and words vary."""

    def pick(words: tuple[str, ...]) -> str:
        return words[rng.integers(len(words))]

    named = {"kind": True, "then_kind": True, "loudness": bool(rng.random() < 0.7)}
    events = []
    for prefix in ("", "then_"):
        kind, pitch, length = (getattr(sound, prefix + name) for name in ("kind", "pitch", "length"))
        for name in ("pitch", "length"):
            named[prefix + name] = kind != NONE and bool(rng.random() < 0.75)
        if kind != NONE:
            head = [pick(PITCH_WORDS[pitch])] if named[prefix + "pitch"] else []
            head = [pick(LENGTH_WORDS[length]), *head] if named[prefix + "length"] else head
            events.append(" ".join([*head, pick(KIND_WORDS[kind])]))
    body = events[0] if len(events) == 1 else pick(ORDERS).format(*events)
    if named["loudness"]:
        word = pick(LOUDNESS_WORDS[sound.loudness])
        body = pick((f"{word} {body}", f"{word}: {body}", f"{body}, {word}", f"{body}, all {word}"))
    text = pick(OPENINGS) + body + pick(ENDINGS)
    return (text if rng.random() < 0.6 else text.lower()), named
