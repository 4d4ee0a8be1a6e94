"""Clips that depend on their batch, as by the reference's padding: a batch is made, kept, lost and remade as one."""

from pathlib import Path

import numpy as np
import pytest

from magnet_eval import config, generators
from magnet_eval.clips import ClipMaker
from magnet_eval.progress import silent
from magnet_eval.records import Prompt
from magnet_eval.store import RunFolder

SECONDS = {**dict.fromkeys(range(2), 0.1), **dict.fromkeys(range(2, 6), 0.2), **dict.fromkeys(range(6, 12), 0.1)}
PROMPTS = [Prompt(f"p{i}", f"melody number {i}", seconds) for i, seconds in SECONDS.items()]
BATCHES = [range(2), range(2, 6), range(6, 10), range(10, 12)]  # of four, each of one length


@pytest.fixture
def calls(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parent))
    import pipeline_fakes

    pipeline_fakes.CALLS.clear()
    return pipeline_fakes.CALLS


def make(path: Path, prompts=PROMPTS, batch: int = 4, **model) -> tuple[RunFolder, ClipMaker]:
    model = config.Model(**{"family": "pipeline_fakes:Choir", "padding": "reference", **model})
    folder = RunFolder(path)
    settings = config.Generation(batch=batch, device="cpu")
    maker = ClipMaker(folder, "choir", model, generators.fingerprint(model), settings)
    maker.make(prompts, silent)
    return folder, maker


def bytes_of(folder: RunFolder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder.path / "choir").rglob("*")) if path.is_file()}


def test_the_clips_do_depend_on_their_batch(calls, tmp_path):
    four, two = (bytes_of(make(tmp_path / str(size), batch=size)[0]) for size in (4, 2))
    same = {name for name in four if four[name] == two[name]}
    assert same == {"p0.wav", "p1.wav", "p10.wav", "p11.wav"}  # whose batches have two either way


def test_a_rerun_does_nothing(calls, tmp_path):
    before = bytes_of(make(tmp_path)[0])
    calls.clear()
    assert bytes_of(make(tmp_path)[0]) == before
    assert not calls


@pytest.mark.parametrize("lost", [[7], [1], [4], [1, 7], [0, 11], [3, 8, 10]])
def test_a_lost_clip_takes_its_batch_along_and_no_other(calls, tmp_path, lost):
    folder, _ = make(tmp_path)
    before = bytes_of(folder)
    times = {path: path.stat().st_mtime_ns for path in (folder.path / "choir").rglob("*.wav")}
    for i in lost:
        folder.audio("choir", f"p{i}").unlink()
    calls.clear()
    make(tmp_path)
    remade = [batch for batch in BATCHES if set(batch) & set(lost)]
    assert (calls["batches"], calls["clips"]) == (len(remade), sum(map(len, remade)))
    assert bytes_of(folder) == before
    touched = {path.stem for path, time in times.items() if path.stat().st_mtime_ns != time}
    assert touched == {f"p{i}" for batch in remade for i in batch}


def test_another_batch_size_remakes_what_it_changes(calls, tmp_path):
    make(tmp_path)
    calls.clear()
    folder, _ = make(tmp_path, batch=3)
    assert calls["clips"] == 10  # all but the first two, whose batch is the same
    assert bytes_of(folder) == bytes_of(make(tmp_path / "fresh", batch=3)[0])


def test_clips_of_another_batch_size_are_known_before_they_go(calls, tmp_path):
    folder, maker = make(tmp_path)
    assert maker.outdated(PROMPTS) == {}
    before = bytes_of(folder)
    maker.settings = config.Generation(batch=3, device="cpu")
    assert maker.outdated(PROMPTS) == {f"p{i}": True for i in range(2, 12)}
    assert bytes_of(folder) == before


def test_another_text_remakes_its_batch(calls, tmp_path):
    make(tmp_path)
    calls.clear()
    changed = [Prompt(p.id, "another melody", p.seconds) if p.id == "p8" else p for p in PROMPTS]
    folder, _ = make(tmp_path, changed)
    assert calls["clips"] == 4
    assert bytes_of(folder) == bytes_of(make(tmp_path / "fresh", changed)[0])


def test_isolated_clips_are_made_one_by_one(calls, tmp_path):
    folder, _ = make(tmp_path, padding="isolated")
    folder.audio("choir", "p7").unlink()
    calls.clear()
    make(tmp_path, padding="isolated")
    assert calls["clips"] == 1


@pytest.mark.parametrize("text", ["no memory", "not there"])
def test_a_batch_that_fails_fails_as_a_whole_named_per_prompt(calls, tmp_path, text):
    prompts = [Prompt(p.id, text, p.seconds) if p.id == "p8" else p for p in PROMPTS]
    folder, maker = make(tmp_path, prompts)
    assert [row["prompt_id"] for row in maker.failures] == ["p6", "p7", "p8", "p9"]
    assert {row["reason"] for row in maker.failures} == {"out of memory" if text == "no memory" else "no audio file"}
    assert set(folder.all_clips("choir")) == {p.id for p in prompts} - {"p6", "p7", "p8", "p9"}
    assert not folder.audio("choir", "p7").exists()


def test_fewer_prompts_are_other_batches(calls, tmp_path):
    """Only a batch cut short is made anew; what is no longer asked for stays on record."""
    make(tmp_path)
    calls.clear()
    folder, _ = make(tmp_path, PROMPTS[:9])
    assert calls["clips"] == 3
    assert set(folder.all_clips("choir")) == {p.id for p in PROMPTS}


def test_the_order_of_decoding_is_kept_of_the_first_clips_and_goes_with_them(calls, tmp_path):
    folder, _ = make(tmp_path, padding="isolated", decoding={"masked": 1})
    assert sorted(path.stem for path in (folder.path / "choir" / "order").iterdir()) == ["p0", "p1", "p2"]
    assert np.load(folder.order("choir", "p1"), allow_pickle=False).shape == (1, 4)
    make(tmp_path, padding="isolated", decoding={"masked": 0})  # another system under the same label
    assert not list((folder.path / "choir" / "order").iterdir())
