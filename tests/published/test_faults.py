"""Odd files, odd texts and broken networks in a run of the published metrics.

Each is named in one line and counted, the others are scored, and no number stands for what there is none of.
"""

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from published_world import HAVE, IDS, clip, write

from magnet_eval import cli, config, pipeline
from magnet_eval.embedders import vggish
from magnet_eval.prompts import read_prompts
from magnet_eval.store import RunFolder

RATE, SECONDS = 44_100, 3.0
GOOD = ("p0", "p1", "p2")
ODD = {  # clip -> how it is written; in the order of their names, so that the first file is a corrupt one
    "a corrupt": lambda path: path.write_bytes(b"RIFF" + bytes(range(200))),
    "b empty": lambda path: path.write_bytes(b""),
    "c no samples": lambda path: write(path, np.zeros((1, 0)), RATE),
    "d NaN": lambda path: write(path, np.where(np.arange(3 * RATE) == 9, np.nan, 0.1), RATE, "FLOAT"),
    "e 8 bit": lambda path: write(path, clip(21, RATE, 1, SECONDS), RATE, "PCM_U8"),
    "f 96 kHz": lambda path: write(path, clip(22, 96_000, 1, SECONDS), 96_000),
    "g 8 channels": lambda path: write(path, clip(23, RATE, 8, SECONDS), RATE),
    "h 0.2 s": lambda path: write(path, clip(24, RATE, 1, 0.2), RATE),
}
UNREADABLE = {"a corrupt", "b empty", "c no samples", "d NaN"}
SHORT, MANY = "h 0.2 s", "g 8 channels"
NAMES = {*GOOD, *ODD}


@pytest.fixture(scope="module")
def files(world):
    """Folders of good clips and odd ones, with captions: ``odd`` and, of the same names and all well, ``well``."""
    for folder in ("odd", "well"):
        for seed, name in enumerate(sorted(NAMES)):
            path = world / folder / f"{name}.wav"
            write(path, clip(seed + 10 * (folder == "well"), RATE, 1, SECONDS), RATE)
            if folder == "odd" and name in ODD:
                ODD[name](path)
        rows = [json.dumps({"id": name, "text": f"melody {name}"}) for name in sorted(NAMES)]
        (world / folder / "captions.jsonl").write_text("\n".join(rows))
    return world


def scored(system: str, reference: str, metrics: dict[str, list[str]], name: str, n: int | None = None) -> RunFolder:
    protocol = config.Protocol(
        version=1,
        name=name,
        systems=[config.System("files", "system", {"folder": system})],
        prompts=config.Prompts(source="folder", path=reference, seconds=SECONDS, n=n),
        reference=config.Reference(source="folder", path=reference),
        metrics={metric: config.MetricChoice(presets) for metric, presets in metrics.items()},
    )
    return pipeline.run(config.Run(protocol))


def counts(folder: RunFolder) -> dict[tuple[str, str], int]:
    """Clips by metric and preset; the values themselves are numbers."""
    for row in folder.scores():
        assert all(math.isfinite(value) for value in (row.value, row.low, row.high))
    assert all(math.isfinite(row.value) and row.value != -1 for row in folder.clip_scores())
    return {(row.metric, row.preset): row.n for row in folder.scores() if not row.versus}


def reasons(folder: RunFolder) -> dict[tuple[str, str], list[str]]:
    """What is said of each clip, by stage and clip."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in folder.failures():
        assert row["reason"] and "\n" not in row["reason"]
        found.setdefault((row["stage"], row["prompt_id"]), []).append(row["reason"])
    return found


METRICS = {
    "fad_vggish": ["native", "audiocraft-tf", "audioldm_eval-cnn14"], "kl_passt": ["native"], "kl_cnn14": ["native"],
    "clap_score": ["native"], "audiobox_pq": ["native"],
}  # fmt: skip


def test_odd_clips_of_a_system(files):
    folder = scored("odd", "well", METRICS, "odd-clips")
    said = reasons(folder)
    assert {name for stage, name in said if stage == "generate"} == UNREADABLE
    assert all(name in said["generate", name][0] for name in UNREADABLE)
    assert {name for stage, name in said if stage == "score"} == {SHORT, MANY}
    assert len(said["score", MANY]) == 1 and "8 channels" in said["score", MANY][0]  # in audiocraft-tf alone
    whole = len(NAMES) - len(UNREADABLE)
    assert counts(folder) == {
        ("fad_vggish", "native"): whole - 1, ("fad_vggish", "audiocraft-tf"): whole - 2,
        ("fad_vggish", "audioldm_eval-cnn14"): whole,  # pads to 2 s
        ("kl_passt", "native"): whole, ("kl_cnn14", "native"): whole - 1, ("clap_score", "native"): whole,
        ("clap_score_shuffled", "native"): whole, ("audiobox_pq", "native"): whole,
    }  # fmt: skip
    checks = folder.manifest()["checks"]["system"]
    assert checks["summary"] == f"1 of {whole} clips are odd: 1 short"
    assert {clip.sample_rate for clip in folder.clips("system")} == {RATE}  # most files', not the first one's


def test_odd_real_clips(files):
    folder = scored("well", "odd", METRICS, "odd-reference")
    said = reasons(folder)
    assert {row["system"] for row in folder.failures()} == {"reference"}
    assert {name for _, name in said} == UNREADABLE | {SHORT}  # nothing levels real clips: 8 channels are well
    left = len(NAMES) - len(UNREADABLE)
    assert counts(folder) == {
        ("fad_vggish", "native"): len(NAMES), ("fad_vggish", "audiocraft-tf"): len(NAMES),
        ("fad_vggish", "audioldm_eval-cnn14"): len(NAMES), ("kl_passt", "native"): left,
        ("kl_cnn14", "native"): left - 1, ("clap_score", "native"): len(NAMES),
        ("clap_score_shuffled", "native"): len(NAMES), ("audiobox_pq", "native"): len(NAMES),
    }  # fmt: skip


def test_a_folder_of_nothing_but_odd_files_is_one_line(files, tmp_path):
    for name in UNREADABLE - {"d NaN", "c no samples"}:  # those two have a header
        ODD[name](tmp_path / f"{name}.wav")
    with pytest.raises(ValueError, match=r"none of the 2 audio files in .* can be read") as caught:
        scored(str(tmp_path), "well", METRICS, "none")
    assert "\n" not in str(caught.value)


def test_odd_audio_of_a_data_set_is_counted_when_it_is_prepared(world, capsys):
    kinds = dict(zip(HAVE, ("a corrupt", "d NaN", "h 0.2 s", "c no samples"), strict=False))
    for name in HAVE:
        path = world / "spoilt" / f"{name}.wav"
        write(path, clip(1, RATE), RATE)
        if name in kinds:
            ODD[kinds[name]](path)
    words = ["dataset=musiccaps", "csv=musiccaps.csv", "audio=spoilt", "out=spoilt.jsonl", "json=true"]
    assert cli.main(["data", "prepare", *words]) == 0
    found = json.loads(capsys.readouterr().out)["statuses"]
    assert found == {"have": 1, "missing": 1, "wrong length": 1, "silent": 0, "duplicated": 1, "unreadable": 3}
    prompts = read_prompts(config.Prompts(source="musiccaps", path="spoilt.jsonl"))
    assert len(prompts) == len(IDS) and sum(bool(prompt.reference) for prompt in prompts) == 1


def captions(path: Path, *texts: str) -> None:
    """musiccaps.csv with other captions in its first rows."""
    with Path("musiccaps.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row, text in zip(rows, texts, strict=False):
        row["caption"] = text
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def test_odd_captions_are_scored_as_they_are(world):
    odd = "a\tb", "a\nb\r\nc", "\u202e \U0001f3b8 漢字", "x" * 2000
    captions(world / "odd.csv", *odd)
    assert cli.main(["data", "prepare", "dataset=musiccaps", "csv=odd.csv", "audio=clips", "out=odd.jsonl"]) == 0
    where = ["protocol.prompts.path=odd.jsonl", "protocol.reference.path=odd.jsonl", "results=texts"]
    chosen = ["~protocol.metrics.fad_vggish", "~protocol.metrics.kl_passt", "protocol.speed=null"]
    assert cli.main(["run", "protocol=musiccaps-musicgen", "systems=[near]", *where, *chosen]) == 0
    folder = RunFolder.of("texts", "musiccaps-musicgen", 1)
    assert {prompt.text for prompt in folder.prompts()} >= set(odd)
    assert counts(folder)["clap_score", "audiocraft-tf"] == len(IDS) and folder.failures() == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x" * 10_000, "has 10000 characters, allowed are 2000"),
        (" ", "line 2: caption is empty"),
        ("a\0b", "holds the control character"),
    ],
    ids=["too long", "blank", "NUL"],
)
def test_a_caption_that_is_none_is_refused_in_one_line(world, text, words, capsys):
    captions(world / "odd.csv", text)
    where = ["protocol.prompts.path=odd.csv", "protocol.prompts.audio=clips"]
    capsys.readouterr()
    assert cli.main(["run", "protocol=musiccaps-musicgen", "systems=[near]", "results=texts", *where]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("magnet-eval:")]
    assert words in line and len(line) < 300


def test_an_embedder_that_gives_nan_costs_the_clips_that_it_gives_it_for(files, monkeypatch):
    """One clip, then all of them: absent rows with their reasons; the other metrics are there."""
    embed = vggish.VGGishEmbedder.embed
    for name in NAMES:
        write(files / "nan" / f"{name}.wav", clip(31, RATE, 1, SECONDS / 2 if name == "p1" else SECONDS), RATE)

    def sometimes(self, samples):
        frames = embed(self, samples)
        return frames * np.nan if len(samples) < SECONDS * 16_000 else frames

    metrics = {"fad_vggish": ["native"], "clap_score": ["native"]}
    monkeypatch.setattr(vggish.VGGishEmbedder, "embed", sometimes)
    folder = scored("nan", "well", metrics, "nan-one")
    assert counts(folder)["fad_vggish", "native"] == len(NAMES) - 1
    assert [(name, "no finite frames" in text[0]) for (_, name), text in reasons(folder).items()] == [("p1", True)]

    monkeypatch.setattr(vggish.VGGishEmbedder, "embed", lambda self, samples: embed(self, samples) * np.inf)
    monkeypatch.setattr(vggish.VGGishEmbedder, "version", "spoilt")  # so that nothing is known of it
    for card in Path("results/cache").glob("*.json"):
        if '"sample_rate": 16000' in card.read_text():
            card.unlink()
    folder = scored("nan", "well", metrics, "nan-all")
    assert set(counts(folder)) == {("clap_score", "native"), ("clap_score_shuffled", "native")}
    assert len(reasons(folder)) == len(NAMES)


def test_damaged_weights_are_one_line_and_no_clip_is_lost(world, capsys):
    place = world / "models" / "embedders" / "vggish-10086976.pth"
    kept = place.read_bytes()
    place.write_bytes(kept[: len(kept) // 2])
    words = ["run", "protocol=musiccaps-musicgen", "systems=[near]", "protocol.speed=null", "results=damaged"]
    try:
        assert cli.main(words) == 2
    finally:
        place.write_bytes(kept)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("magnet-eval:")]
    assert place.name in line and "damaged" in line
    assert len(RunFolder.of("damaged", "musiccaps-musicgen", 1).clips("near")) == len(IDS)


def test_fewer_clips_than_dimensions_have_a_distance_with_its_floor(files):
    """The bias of so few is not hidden: n and the score of as many real clips stand beside."""
    metrics = {"fad_passt": ["native"], "fad_clap": ["native"], "fad_vggish": ["native"]}
    folder = scored("well", "well", metrics, "few", n=4)
    rows = [row for row in folder.scores() if not row.versus]
    assert len(rows) == 3
    for row in rows:
        assert row.n == 4 and row.params["n_reference"] == len(NAMES)
        assert row.floor > 0 and row.low < row.value < row.high
        assert -1e-6 < row.value < 2 * row.floor
