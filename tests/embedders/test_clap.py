"""CLAP from published files: golden vectors come from laion-clap 1.1.7 (tests/peer/write_clap.py)."""

from pathlib import Path

import numpy as np
import pytest
import torch
from clap_files import SMALL, TEXTS, TINY, clap_state, save_pt, save_tokenizer
from random_weights import sound, uniform

from magnet_eval import embedders
from magnet_eval.embedders import clap, clap_layout, sources
from magnet_eval.embedders.clap import SAMPLE_RATE, WINDOW, ClapEmbedder
from magnet_eval.lookup import UserError

GOLDEN = np.load(Path(__file__).parent.parent / "data" / "clap_golden.npz")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """small.pt, fused.pt and roberta: the tokenizer."""
    root = tmp_path_factory.mktemp("clap")
    save_tokenizer(root / "roberta")
    save_pt(root / "small.pt", clap_state(**SMALL))
    save_pt(root / "fused.pt", clap_state(**SMALL, fused=True))
    return root


@pytest.fixture
def build(folder):
    """A function that makes the embedder of one of the files."""

    def make(name="small.pt", **options):
        return ClapEmbedder(weights=folder / name, tokenizer=folder / "roberta", **options)

    return make


def noise(seconds):
    return uniform("noise", (round(seconds * SAMPLE_RATE),)) * np.float32(0.1)


@pytest.mark.parametrize("fused", [False, True])
def test_equals_laion_clap(fused, folder, tmp_path):
    path = save_pt(tmp_path / "tiny.pt", clap_state(**TINY, fused=fused))
    embedder = ClapEmbedder(weights=path, tokenizer=folder / "roberta")
    audio = np.concatenate([embedder.embed(sound(seconds, SAMPLE_RATE)) for seconds in (10, 3)])
    assert np.abs(audio - GOLDEN["fused" if fused else "audio"]).max() < 1e-5
    assert np.abs(embedder.embed_text(TEXTS) - GOLDEN["text"]).max() < 1e-5


def test_front_end_equals_transformers(build):
    """With the settings of the published checkpoints; the class's own lowest frequency, 0 Hz, is another front end."""
    from transformers import ClapFeatureExtractor

    audio = noise(10)
    theirs = ClapFeatureExtractor(truncation="rand_trunc", padding="repeatpad", frequency_min=50)
    mel = theirs(audio, sampling_rate=SAMPLE_RATE, return_tensors="pt")["input_features"][0, 0]
    assert (build().towers.log_mel(torch.from_numpy(audio)) - mel).abs().max() < 1e-3  # dB


def test_transformers_folder_gives_the_same(build, tmp_path):
    first = build()
    save_tokenizer(tmp_path)
    first.towers.model.save_pretrained(tmp_path)  # its config.json takes the place of the tokenizer's
    second = ClapEmbedder(weights=tmp_path)
    assert np.array_equal(first.embed(noise(4)), second.embed(noise(4)))
    assert np.array_equal(first.embed_text(TEXTS), second.embed_text(TEXTS))
    assert {file.name for file in second.files} == {"model.safetensors", "vocab.json", "merges.txt"}


@pytest.mark.parametrize("name", ["small.pt", "fused.pt"])
def test_vectors_are_of_unit_length_and_repeat(build, name):
    embedder = build(name)
    first, second = embedder.embed(noise(25)), embedder.embed(noise(25))
    assert first.shape == (3, 32) and first.dtype == np.float32
    assert np.array_equal(first, second)
    assert np.linalg.norm(first, axis=1) == pytest.approx(1, abs=1e-5)
    assert np.linalg.norm(embedder.embed_text(TEXTS), axis=1) == pytest.approx(1, abs=1e-5)


def test_text_does_not_depend_on_its_batch(build):
    embedder = build()
    together, alone = embedder.embed_text(TEXTS), np.concatenate([embedder.embed_text([text]) for text in TEXTS])
    assert together == pytest.approx(alone, abs=1e-5)


def test_global_random_numbers_are_neither_used_nor_moved(build):
    embedder = build(crop="seeded")
    first = embedder.embed(noise(15))
    np.random.seed(1)  # noqa: NPY002, what laion-clap and transformers draw from
    assert np.array_equal(first, embedder.embed(noise(15)))
    np.random.seed(1)  # noqa: NPY002
    untouched = np.random.get_state()[1]  # noqa: NPY002
    embedder.embed(noise(15))
    assert np.array_equal(untouched, np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.parametrize(
    ("seconds", "parts"), [(3, [3]), (10, [10]), (14.9, [10]), (15, [10, 5]), (20, [10, 10]), (36, [10, 10, 10, 6])]
)
def test_windows_lie_end_to_end(seconds, parts):
    audio = torch.arange(round(seconds * SAMPLE_RATE))
    windows = clap.windows_of(audio, "windows", 0)
    assert [len(window) / SAMPLE_RATE for window in windows] == parts
    assert torch.equal(torch.cat(windows), audio[: sum(map(len, windows))])


def test_first_and_seeded_crops():
    audio = torch.from_numpy(noise(30))
    assert torch.equal(clap.windows_of(audio, "first", 0)[0], audio[:WINDOW])
    one, again, other = (clap.windows_of(audio, "seeded", seed)[0] for seed in (0, 0, 1))
    assert len(one) == WINDOW and torch.equal(one, again) and not torch.equal(one, other)
    assert (audio.unfold(0, WINDOW, 1)[:, 0] == one[0]).any()  # a part of the clip
    quieter = clap.windows_of(audio / 2, "seeded", 0)[0] * 2
    assert not torch.equal(one, quieter)  # another clip, another place
    exact = audio[:WINDOW]
    for crop in ("windows", "first", "seeded"):
        assert [torch.equal(window, exact) for window in clap.windows_of(exact, crop, 0)] == [True]


def test_seconds_are_those_of_fadtk():
    audio = torch.from_numpy(noise(10.5))
    windows = clap.windows_of(audio, "seconds", 0)
    assert [len(window) / SAMPLE_RATE for window in windows] == [10, 9.5, 8.5, 7.5, 6.5, 5.5, 4.5, 3.5, 2.5, 1.5, 0.5]
    assert all(torch.equal(w, audio[i * SAMPLE_RATE :][:WINDOW]) for i, w in enumerate(windows))


def test_padding():
    audio = torch.arange(1, WINDOW // 3 + 1)  # three copies fit, and one sample of a fourth
    repeated, plain = clap.padded(audio[:-1], "repeatpad"), clap.padded(audio[:-1], "pad")
    assert len(repeated) == len(plain) == WINDOW
    assert torch.equal(repeated[: 3 * len(audio) - 3], audio[:-1].repeat(3)) and not repeated[-3:].any()
    assert torch.equal(plain[: len(audio) - 1], audio[:-1]) and not plain[len(audio) - 1 :].any()
    whole = torch.arange(WINDOW)
    assert torch.equal(clap.padded(whole, "repeatpad"), whole)


def test_fingerprint_follows_weights_and_options(build, folder, tmp_path):
    prints = [build().fingerprint(), build("fused.pt").fingerprint(), build(crop="first").fingerprint(),
              build(padding="pad").fingerprint(), build(crop="seeded").fingerprint(),
              build(crop="seeded", seed=1).fingerprint()]  # fmt: skip
    assert len(set(prints)) == 6
    assert build(seed=1).fingerprint() == prints[0]  # nothing is drawn there


def test_collapsed_text_tower_is_refused_by_name(folder, tmp_path):
    state = clap_state(**SMALL)
    state["text_projection.2.weight"] *= 1e-3  # what is left is its bias
    path = save_pt(tmp_path / "collapsed.pt", state)
    with pytest.raises(UserError, match=r"collapsed\.pt is refused.*mean cosine of 1\.000"):
        ClapEmbedder(weights=path, tokenizer=folder / "roberta")


def test_nan_in_the_text_tower_is_refused(folder, tmp_path):
    state = clap_state(**SMALL)
    state["text_projection.2.bias"] *= float("nan")
    path = save_pt(tmp_path / "nan.pt", state)
    with pytest.raises(UserError, match="refused"):
        ClapEmbedder(weights=path, tokenizer=folder / "roberta")


def faulty(change):
    state = clap_state(**SMALL)
    change(state)
    return state


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("audio_branch.layers.2.blocks.1.mlp.fc2.bias"), "output.dense.bias is absent"),
        (lambda s: s.update({"audio_branch.extra.weight": torch.zeros(2)}), "extra.weight"),
        (lambda s: s.pop("audio_branch.patch_embed.proj.weight"), "no CLAP with an HTSAT and a RoBERTa tower"),
        (lambda s: s.update({"text_projection.2.bias": torch.zeros(3)}), "text_projection.linear2.bias"),
    ],
)
def test_another_model_is_one_line(change, message, folder, tmp_path):
    path = save_pt(tmp_path / "other.pt", faulty(change))
    with pytest.raises(UserError, match=message) as caught:
        ClapEmbedder(weights=path, tokenizer=folder / "roberta")
    assert "other.pt" in str(caught.value) and "\n" not in str(caught.value)


def test_no_code_is_run_out_of_a_file(folder, tmp_path):
    class Evil:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    torch.save({"state_dict": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(UserError, match=r"evil\.pt is refused"):
        ClapEmbedder(weights=tmp_path / "evil.pt", tokenizer=folder / "roberta")
    assert not (tmp_path / "ran").exists()


def test_empty_tokenizer_is_refused(folder, tmp_path):
    """Without its files a RoBERTa tokenizer comes out with 5 tokens and no complaint."""
    empty = save_tokenizer(tmp_path / "empty")
    (empty / "vocab.json").write_text('{"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "<mask>": 4}')
    with pytest.raises(UserError, match="has 5 tokens, this CLAP reads 261"):
        ClapEmbedder(weights=folder / "small.pt", tokenizer=empty)
    with pytest.raises(UserError, match="holds no tokenizer"):
        (tmp_path / "none").mkdir()
        ClapEmbedder(weights=folder / "small.pt", tokenizer=tmp_path / "none")


def test_options_are_checked(build):
    with pytest.raises(UserError, match="unknown crop 'frist'. Did you mean first"):
        build(crop="frist")
    with pytest.raises(UserError, match="unknown padding"):
        build(padding="repeat")
    with pytest.raises(UserError, match="three random cuts"):
        build("fused.pt", crop="seeded")
    with pytest.raises(UserError, match="of audio"):
        build().embed(np.zeros(0, dtype=np.float32))


def test_published_files_are_known_by_name(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    for name in ("music_audioset_epoch_15_esc_90.14", "630k-audioset-fusion-best"):
        assert sources.SOURCES[name].get == f"hf download lukewys/laion_clap {name}.pt"
    assert sources.SOURCES["roberta-base"].get.startswith("hf download FacebookAI/roberta-base config.json")
    with pytest.raises(UserError, match="hf download lukewys/laion_clap 630k-best.pt"):
        embedders.build("clap", weights="630k-best")


def test_config_is_read_off_the_shapes():
    fields = clap_layout.config_of(clap_state(**TINY, fused=True))
    assert fields["audio_config"]["depths"] == [2, 2, 6, 2]
    assert fields["audio_config"]["num_attention_heads"] == [4, 8, 16, 32]
    assert fields["audio_config"]["enable_fusion"] and fields["audio_config"]["hidden_size"] == 768
    assert fields["text_config"]["num_attention_heads"] == 12 and fields["projection_dim"] == 512
