"""The protocols of the published numbers, run whole on random weights in the published formats."""

import json
from pathlib import Path

import pytest
from published_world import CAPTIONS, HAVE, IDS, PIPELINE, write_weights

from magnet_eval import cli, config, embedders, generators
from magnet_eval.embedders import sources
from magnet_eval.prompts import read_prompts
from magnet_eval.report import published
from magnet_eval.store import RunFolder, ids_hash

PROTOCOLS = ("musiccaps-musicgen", "audiocaps-native", "audiocaps-magnet", "musiccaps-native")
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in PROTOCOLS[1:]]
PAIRED = ("kl_passt", "kl_cnn14")
NEIGHBOURS = ("density_clap", "coverage_clap")  # of so few clips all are neighbours


def run(protocol: str, *words: str, systems: str = "near,far") -> int:
    """The exit code of the main job, without its timings unless they are asked for."""
    speed = [] if any(word.startswith("protocol.speed") for word in words) else ["protocol.speed=null"]
    return cli.main(["run", f"protocol={protocol}", f"systems=[{systems}]", *speed, *words])


def folder_of(protocol: str, results: str = "results") -> RunFolder:
    return RunFolder.of(results, protocol, config.load_protocol(protocol).version)


def scores(folder: RunFolder) -> dict[tuple[str, str], object]:
    """Each system's own row of each metric."""
    return {(row.system, row.metric): row for row in folder.scores() if not row.versus}


def refuse_work(monkeypatch) -> None:
    """Fails where a generator or an embedder is built."""
    for module in (generators, embedders):
        monkeypatch.setattr(module, "build", lambda *args, **options: pytest.fail(f"built {args} {options}"))


def one_line(capsys) -> str:
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("magnet-eval:")]
    assert len(said) == 1
    return said[0]


@pytest.mark.parametrize("protocol", [PROTOCOLS[0], *SLOW])
def test_a_protocol_runs_and_runs_again_without_work(world, protocol, monkeypatch):
    assert run(protocol) == 0
    folder, chosen = folder_of(protocol), config.load_protocol(protocol)
    rows = scores(folder)
    for metric, choice in chosen.metrics.items():
        for system in ("near", "far"):
            row, ids = rows[system, metric], HAVE if metric in PAIRED else IDS
            assert [row.preset] == choice.preset
            assert row.low < row.value < row.high or (metric in NEIGHBOURS and row.low == row.value == row.high)
            assert (row.n, row.ids_hash) == (len(ids), ids_hash(ids))
            assert (row.floor is not None) == metric.startswith(("fad", "kad"))
    assert rows["near", "fad_vggish"].value < rows["far", "fad_vggish"].value
    assert rows["near", "kl_passt"].value < rows["far", "kl_passt"].value
    compared = {row.metric for row in folder.scores() if (row.system, row.versus) == ("far", "near")}
    assert compared == set(chosen.metrics)
    assert folder.failures() == []

    page = Path("reports", f"{folder.path.name}.html").read_text()
    for metric, choice in chosen.metrics.items():
        assert choice.preset[0] in page and rows["near", metric].label in page
    assert "Beside published numbers" not in page  # near and far are nobody's models

    manifest = (folder.path / "manifest.json").read_bytes()
    refuse_work(monkeypatch)
    assert run(protocol) == 0
    assert (folder.path / "manifest.json").read_bytes() == manifest
    assert scores(folder) == rows


def test_the_codecs_ceiling_is_a_row_of_the_native_protocol(world):
    """Without the clip that has no real audio; and without what six clips are too few for, each in one line."""
    system = "codec-encodec-32khz"
    assert run("musiccaps-native", systems=f"near,{system}") == 0
    folder = folder_of("musiccaps-native")
    rows = {metric: row for (label, metric), row in scores(folder).items() if label == system}
    assert set(rows) == {*config.load_protocol("musiccaps-native").metrics, "clap_score_shuffled"} - set(NEIGHBOURS)
    assert {(row.n, row.ids_hash) for row in rows.values()} == {(len(HAVE), ids_hash(HAVE))}
    reasons = [row["reason"] for row in folder.failures()]
    assert len(reasons) == 3 and all("\n" not in reason for reason in reasons)
    assert f"prompt {IDS[-1]} has no reference clip" in reasons[0]
    assert "Density-CLAP" in reasons[1] and "Coverage-CLAP" in reasons[2]


def test_captions_of_audiocaps_are_one_a_clip(world):
    """Those of the lowest ids; their newlines and quotes come through the table and the manifest."""
    prompts = {prompt.id: prompt.text for prompt in read_prompts(config.load_protocol("audiocaps-magnet").prompts)}
    assert prompts == {name: f"{caption} Take 1." for name, caption in zip(IDS, CAPTIONS, strict=True)}


@pytest.mark.parametrize(
    ("protocol", "lost", "command"),
    [
        ("musiccaps-musicgen", "vggish-10086976.pth",
         "curl -L --create-dirs -o models/embedders/vggish-10086976.pth https://github.com/"),
        ("musiccaps-native", "music_audioset_epoch_15_esc_90.14.pt",
         "hf download lukewys/laion_clap music_audioset_epoch_15_esc_90.14.pt"),
        ("audiocaps-magnet", "roberta-base",
         "hf download FacebookAI/roberta-base config.json tokenizer.json tokenizer_config.json"),
        ("musiccaps-native", "audiobox", "hf download facebook/audiobox-aesthetics"),
    ],
)  # fmt: skip
def test_missing_weights_stop_a_run_before_it_generates(world, protocol, lost, command, capsys, monkeypatch):
    refuse_work(monkeypatch)
    place = world / "models" / "embedders" / lost
    place.rename(world / "elsewhere")
    try:
        assert run(protocol, "results=stopped") == 2
    finally:
        (world / "elsewhere").rename(place)
    assert f"Get them: {command}" in one_line(capsys)
    assert not Path("stopped").exists()


def test_weights_are_found_where_the_command_puts_them(tmp_path, monkeypatch):
    """Also in a folder that has no models of its own."""
    from magnet_eval.embedders.sources import SOURCES

    monkeypatch.chdir(tmp_path)
    words = SOURCES["vggish"].get.split()
    place = Path(words[words.index("-o") + 1])
    place.parent.mkdir(parents=True)
    place.touch()
    assert SOURCES["vggish"].find().samefile(place)


@pytest.mark.parametrize("protocol", ["musiccaps-musicgen", "audiocaps-native"])
def test_a_data_set_without_audio_stops_a_run_before_it_generates(world, protocol, capsys, monkeypatch):
    refuse_work(monkeypatch)
    dataset = protocol.partition("-")[0]
    words = [f"dataset={dataset}", f"csv={next(world.glob(f'{dataset}*.csv'))}", "out=silent.jsonl"]
    assert cli.main(["data", "prepare", *words]) == 0
    capsys.readouterr()
    where = "protocol.prompts.path=silent.jsonl", "protocol.reference.path=silent.jsonl"
    assert run(protocol, *where, "results=stopped") == 2
    assert "has no audio. Prepare a data set with its audio (magnet-eval data prepare)" in one_line(capsys)
    assert run(protocol, where[0], "results=stopped") == 2
    assert "no prompt has one. Prepare the data set with its audio: magnet-eval data prepare" in one_line(capsys)
    assert run(protocol, "protocol.prompts.path=none.jsonl", "results=stopped") == 2
    assert f"there is no manifest none.jsonl. Make it: magnet-eval data prepare dataset={dataset}" in one_line(capsys)
    assert not Path("stopped").exists()


def test_a_published_model_stands_beside_its_published_numbers(world, monkeypatch):
    """A checkpoint in audiocraft's layout under the zoo's name, timed too; but only where the judges are published."""
    speed = (f"protocol.speed.{word}" for word in ("batches=[1]", "repeats=1", "warmup=0", "seconds=1"))
    words = "protocol.prompts.n=2", "results=own", *speed
    assert run("musiccaps-musicgen", *words, systems="magnet-small-10secs,near") == 0
    folder = folder_of("musiccaps-musicgen", "own")
    assert folder.manifest()["systems"]["magnet-small-10secs"]["checkpoint"] == str(PIPELINE / "magnet")
    assert {timing.system for timing in folder.timings()} == {"magnet-small-10secs"}
    page = Path("reports", f"{folder.path.name}.html")
    assert "4.22" not in page.read_text().partition("Beside published numbers")[2]  # these weights are the tests' own
    monkeypatch.setattr(sources, "standing", lambda name, hashes: "published" if name else "")
    monkeypatch.setattr(published, "is_changed", lambda data: False)  # 2 prompts of a checkpoint that lies elsewhere
    monkeypatch.setattr(published, "shipped", lambda kind, place, name: folder.manifest()["systems"][name])
    page.unlink()
    assert run("musiccaps-musicgen", *words, systems="magnet-small-10secs,near") == 0
    section = page.read_text().partition("Beside published numbers")[2]
    for words in ("4.22", "1.11", "0.28", "model cards", "2 here, 5,469 published", "audiocraft-tf"):
        assert words in section


@pytest.mark.slow
def test_full_size_networks(tmp_path, monkeypatch):
    """As the published files are in every shape but the text tower's: 2.4 GB of weights, two clips a system."""
    from clap_files import TINY
    from published_world import clip, write, write_systems, write_tables

    write_weights(tmp_path / "models" / "embedders", TINY)
    real = [clip(seed, 32_000) for seed in range(len(IDS))]
    for name, samples in zip(HAVE, real, strict=False):
        write(tmp_path / "clips" / f"{name}.wav", samples, 32_000)
    write_tables(tmp_path)
    write_systems(tmp_path, real)
    monkeypatch.chdir(tmp_path)
    for protocol in PROTOCOLS:
        few = "protocol.prompts.n=2", "protocol.reference.n=3"
        assert run(protocol, *few) == 0
        folder = folder_of(protocol)
        absent = {json.dumps(row["reason"]) for row in folder.failures()}
        # Density and coverage need six real clips, and the embeddings of the other metrics are those of the first ones.
        assert all("nearest other row" in reason for reason in absent)
        wanted = set(config.load_protocol(protocol).metrics) - {"density_clap", "coverage_clap"}
        assert {metric for system, metric in scores(folder) if system == "near"} >= wanted
