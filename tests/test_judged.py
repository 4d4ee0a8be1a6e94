"""What scoring holds of all clips: the same as their records, in a tenth of the memory."""

import tracemalloc
from pathlib import Path

from magnet_eval.judged import Joined, PerClip, Sounds
from magnet_eval.records import Clip, ClipScore


def clips(n):
    for i in range(n):
        yield Clip(f"p{i}", "a", f"a/audio/p{i}.{'flac' if i % 2 else 'wav'}", 8000, 10, i, f"{i:064x}", "key")


def test_sounds_are_those_of_the_clips():
    odd = Clip("p", "a", "a/audio/other.wav", 8000, 10, 0, "ab" * 32, "key")
    sounds = Sounds(Path("run"), [*clips(3), odd])
    assert [(item.id, item.content, item.path.as_posix(), item.generated) for item in sounds] == [
        ("p0", f"{0:064x}", "run/a/audio/p0.wav", True),
        ("p1", f"{1:064x}", "run/a/audio/p1.flac", True),
        ("p2", f"{2:064x}", "run/a/audio/p2.wav", True),
        ("p", "ab" * 32, "run/a/audio/other.wav", True),
    ]
    assert sounds[-1].id == "p" and len(sounds[1:3]) == 2 and not Sounds(Path("run"), [])


def test_they_are_small():
    names = [f"p{i}" for i in range(5000)]  # which the prompts hold anyway
    by_name = dict(zip(names, clips(5000), strict=True))
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    sounds = Sounds(Path("run"), by_name.values())
    size = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert len(sounds) == 5000 and size < 80 * 5000


def test_collections_are_gone_through_again_and_scores_come_back():
    sounds = Sounds(Path("run"), clips(2))
    both = Joined(sounds, sounds)
    assert [len(list(both)) for _ in range(2)] == [4, 4]
    scores = PerClip("a", "m", "v1", {"p0": 0.1, "p1": 1 / 3})
    assert list(scores.rows()) == [ClipScore("a", "p0", "m", 0.1, "v1"), ClipScore("a", "p1", "m", 1 / 3, "v1")]
