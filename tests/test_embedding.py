"""Embedding side by side: the same bytes as one by one, each content once, and a failure takes nobody along."""

import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from magnet_eval import audio, embedders, embedding, front
from magnet_eval.embedding import EmbeddingCache, Hearing, Item
from magnet_eval.numerics import Front
from magnet_eval.progress import silent
from magnet_eval.store import DiskError, file_hash

RATE = 8000


class Ear:
    """The level of each tenth of a clip. Clips over 0.5 are too loud for it."""

    name, version, sample_rate, files = "ear", "1", RATE, (Path(__file__),)
    thread_safe = False

    def __init__(self, device="cpu"):
        self.n_clips, self.n_texts, self.threads = 0, 0, set()

    def fingerprint(self):
        return "ear"

    def embed(self, samples):
        self.threads.add((threading.get_ident(), torch.get_num_threads()))
        self.n_clips += 1
        if abs(samples).max() > 0.5:
            raise RuntimeError("too loud")
        return np.array([[part.std(), part.mean()] for part in np.array_split(samples, 10)], np.float32)

    def embed_text(self, texts):
        self.n_texts += len(texts)
        return np.array([[len(text), 1] for text in texts], np.float32)


class Ears(Ear):
    """The same, of any number of clips at a time."""

    thread_safe = True


@pytest.fixture
def cache_of(tmp_path, monkeypatch):
    """A fresh cache whose only embedder is of the given class."""

    def make(kind, name="cache"):
        monkeypatch.setattr(embedders, "build", lambda *args, **options: kind())
        return EmbeddingCache(tmp_path / name, silent)

    return make


@pytest.fixture
def clips(tmp_path):
    rng = np.random.default_rng(0)
    items = []
    for i in range(12):
        path = tmp_path / f"{i}.wav"
        audio.write(path, rng.uniform(-0.4, 0.4, RATE // 4), RATE)
        items.append(Item(f"clip{i}", file_hash(path), path))
    return items


HEARING = Hearing("ear")


def test_threads_change_no_bit_and_torch_gets_its_own_back(cache_of, clips):
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        alone = cache_of(Ear, "alone")
        assert alone.ensure(HEARING, clips) == {}
        together = cache_of(Ears, "together")
        assert together.ensure(HEARING, clips) == {}
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert alone.embedder(HEARING).threads == {(threading.get_ident(), 3)}
    ears = together.embedder(HEARING).threads
    assert 1 <= len(ears) <= 3 and {n for _, n in ears} == {1} and threading.get_ident() not in dict(ears)
    first, second = (cache.embeddings(HEARING, clips) for cache in (alone, together))
    assert np.array_equal(first.frames, second.frames) and first.clip_ids == second.clip_ids


@pytest.mark.parametrize("kind", [Ear, Ears])
def test_equal_content_is_embedded_once(cache_of, clips, kind):
    cache = cache_of(kind)
    twins = [Item(f"twin{i}", clips[0].content, clips[0].path) for i in range(5)]
    texts = [Item(f"text{i}", "one caption for all") for i in range(5)]
    assert cache.ensure(HEARING, [*clips, *twins, *texts]) == {}
    assert (cache.embedder(HEARING).n_clips, cache.embedder(HEARING).n_texts) == (12, 1)
    assert cache.embeddings(HEARING, twins).frames.shape == (50, 2)


@pytest.mark.parametrize("kind", [Ear, Ears])
def test_a_clip_that_fails_is_named_with_its_twins_and_the_others_are_kept(cache_of, clips, kind):
    cache = cache_of(kind)
    audio.write(clips[3].path, np.ones(100), RATE)
    loud = [Item(name, file_hash(clips[3].path), clips[3].path) for name in ("clip3", "twin")]
    failed = cache.ensure(HEARING, [*clips[:3], *loud, *clips[4:]])
    assert failed == dict.fromkeys(loud, "too loud")
    assert all(cache.path(HEARING, item).is_file() for item in clips if item.id != "clip3")


@pytest.mark.parametrize("kind", [Ear, Ears])
def test_a_twin_long_after_what_failed_fails_too_and_is_not_tried(cache_of, clips, kind):
    cache = cache_of(kind)
    audio.write(clips[0].path, np.ones(100), RATE)
    loud, twin = (Item(name, file_hash(clips[0].path), clips[0].path) for name in ("clip0", "twin"))
    assert cache.ensure(HEARING, [loud, *clips[1:], *clips[1:], twin]) == {loud: "too loud", twin: "too loud"}
    assert cache.embedder(HEARING).n_clips == 12


@pytest.mark.parametrize("kind", [Ear, Ears])
def test_a_full_disk_ends_it(cache_of, clips, kind, monkeypatch):
    cache = cache_of(kind)
    before = torch.get_num_threads()
    cache.card(HEARING)

    def refuse(path, content):
        raise DiskError("no space")

    monkeypatch.setattr(embedding, "write_atomic", refuse)
    with pytest.raises(DiskError, match="no space"):
        cache.ensure(HEARING, clips)
    assert cache.embedder(HEARING).n_clips < 12
    assert torch.get_num_threads() == before


def test_the_tiny_networks_hear_a_clip_alike_in_any_thread(tmp_path):
    samples = np.random.default_rng(0).normal(0, 0.1, 40_000).astype(np.float32)
    for name in ("musicnn", "clap_tiny"):
        embedder = embedders.build(name)
        with embedding.side_by_side(embedder) as map_clips:
            found = list(map_clips(embedder.embed, [samples] * 4))
        assert all(np.array_equal(found[0], other) for other in found[1:])


class Batches(Ear):
    """The same, five clips of one length at a time."""

    batch = 5

    def embed_batch(self, clips):
        self.sizes = [*getattr(self, "sizes", []), len(clips)]
        assert len({len(clip) for clip in clips}) == 1
        return [self.embed(clip) for clip in clips]


def test_batches_are_full_and_one_that_fails_is_done_clip_by_clip(cache_of, clips):
    cache = cache_of(Batches)
    audio.write(clips[3].path, np.ones(RATE // 4), RATE)
    loud = Item("clip3", file_hash(clips[3].path), clips[3].path)
    assert cache.ensure(HEARING, [*clips[:3], loud, *clips[4:]]) == {loud: "too loud"}
    assert cache.embedder(HEARING).sizes == [5, 5, 2]
    kept = [item for item in clips if item.id != "clip3"]
    alone = cache_of(Ear, "alone")
    alone.ensure(HEARING, kept)
    assert np.array_equal(cache.embeddings(HEARING, kept).frames, alone.embeddings(HEARING, kept).frames)


def test_clips_of_several_lengths_are_no_batch(cache_of, clips):
    audio.write(clips[1].path, np.zeros(RATE // 2), RATE)
    items = [clips[0], Item("long", file_hash(clips[1].path), clips[1].path)]
    cache = cache_of(Batches)
    assert cache.ensure(HEARING, items) == {}
    assert not hasattr(cache.embedder(HEARING), "sizes") and cache.embedder(HEARING).n_clips == 2


def test_an_embedder_goes_where_the_run_does(tmp_path, monkeypatch):
    places = []
    monkeypatch.setattr(embedders, "build", lambda name, device="cpu", **options: places.append(device) or Ear())
    EmbeddingCache(tmp_path, silent, "cuda:1").embedder(HEARING)
    assert places == ["cuda:1"]


def test_a_change_of_the_fronts_code_makes_embeddings_anew_where_there_is_a_front(cache_of, clips, monkeypatch):
    cache, text = cache_of(Ear), Item("text", "a caption")
    plain, through = Hearing("ear"), Hearing("ear", front=Front(RATE))
    before = [cache.path(plain, clips[0]), cache.path(through, text), cache.path(through, clips[0])]
    cache.ensure(through, clips)
    monkeypatch.setattr(front, "VERSION", front.VERSION + 1)
    after = [cache.path(plain, clips[0]), cache.path(through, text), cache.path(through, clips[0])]
    assert before[:2] == after[:2] and before[2] != after[2]
    cache.ensure(through, clips)
    assert cache.embedder(through).n_clips == 2 * len(clips)
