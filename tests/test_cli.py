"""The command line: answers on stdout, mistakes in one line with exit code 2, no litter, nothing lost."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from magnet_eval import cli, config, environment, lookup, verbs

RATE = 16_000


@pytest.fixture
def bench_top(tmp_path, monkeypatch):
    """A working directory with two folders of audio as systems, captions, and a protocol over them."""
    rng = np.random.default_rng(0)
    for folder in ("captioned", "audio"):
        (tmp_path / folder).mkdir()
        for name in ("one", "two"):
            soundfile.write(tmp_path / folder / f"{name}.wav", rng.normal(0, 0.1, 3 * RATE), RATE)
    lines = [json.dumps({"id": name, "text": f"number {name}", "file": f"{name}.wav"}) for name in ("one", "two")]
    (tmp_path / "captioned" / "captions.jsonl").write_text("\n".join(lines) + "\n")
    (tmp_path / "models").mkdir()
    folder = (tmp_path / "audio").as_posix()
    (tmp_path / "models" / "mine.yaml").write_text(f"family: files\nfolder: {folder}\n")
    (tmp_path / "models" / "hollow.yaml").write_text("family: masked\ncheckpoint: gone\ntext: gone\ncodec: gone\n")
    (tmp_path / "protocols").mkdir()
    (tmp_path / "protocols" / "own.yaml").write_text(
        "version: 1\nsystems: [mine]\nprompts: {source: folder, path: captioned, seconds: 3}\n"
        "reference: {source: folder, path: captioned}\nmetrics: {}\n"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def mistake(capsys, *words: str) -> str:
    """The one line that a mistake ends with."""
    assert cli.main(words) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1 and shown.err.startswith("magnet-eval: ")
    return shown.err


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("rnu", "unknown verb 'rnu'. Did you mean run"),
        ("run protocl=own", "unknown key 'protocl'. Did you mean protocol?"),
        ("run protocol=onw", "unknown protocol 'onw'. Did you mean own?"),
        ("run protocol=own,quickstar", "unknown protocol 'quickstar'. Did you mean quickstart or quickstart-sounds?"),
        ("generate model=mien prompts=[a]", "unknown model 'mien'. Did you mean mine?"),
        ("run protocol=own seed=many", "seed must be a whole number, got 'many'"),
        ("run protocol=own batch=1.5", "batch must be a whole number, got 1.5"),
        ("run protocol=own device=gpu", "unknown device 'gpu'. Did you mean cpu"),
        ("run protocol=own systems=[mien]", "unknown system 'mien'. Did you mean mine"),
        ("run protocol=own systems=[]", "systems is empty"),
        ("run protocol=own protocol.generation.sede=1", "Did you mean protocol.generation.seed"),
        ("run protocol=own protocol.speed.batches=[1]", "protocol.speed is not set"),
        ("bench protocol=quickstart batches=[0]", "speed.batches must be between 1 and 4096, got 0"),
        ("bench protocol=quickstart protocol.speed.seconds=-3", "speed.seconds must be between 0.1 and 600, got -3"),
        ("bench protocol=quickstart scenarios=[ofline]", "Did you mean offline"),
        ("bench protocol=quickstart weights=rnadom", "unknown speed.weights 'rnadom'. Did you mean random?"),
        ("run own", "Did you mean protocol=own?"),
        ("run --seed=1", "Did you mean seed=...?"),
        ("list modles", "unknown list 'modles'. Did you mean models?"),
        ("doctor json=please", "json must be true or false, got 'please'"),
        ("train minutes=-3", "minutes must be at least 0.01, got -3"),
        ("generate model=mine prompts=[]", "the prompt list is empty"),
        ("generate", "got neither"),
    ],
)
def test_mistakes_in_words(bench_top, capsys, line, expected):
    assert expected in mistake(capsys, *line.split(" "))
    assert not (bench_top / "results").exists()


def test_a_prompt_of_5000_characters_is_refused_with_the_limit(bench_top, capsys):
    line = mistake(capsys, "generate", "model=mine", f"prompts=[{'x' * 5000}]")
    assert "5000 characters, allowed are 2000" in line and len(line) < 200


def test_unknown_metrics_are_found_before_anything_is_made(bench_top, capsys):
    words = ["run", "protocol=own", "+protocol.metrics.fad_musicn_tiny={}"]
    assert "Did you mean fad_musicnn_tiny" in mistake(capsys, *words)
    assert not (bench_top / "results").exists()


def test_missing_folders_are_named(bench_top, capsys):
    assert "nowhere" in mistake(capsys, "generate", "protocol=own", "protocol.prompts.path=nowhere")


def test_missing_weights_are_named(bench_top, capsys):
    line = mistake(capsys, "generate", "model=hollow", "prompts=[a bell]")
    assert "gone" in line
    assert not (bench_top / "clips").exists()


@pytest.mark.parametrize(("part", "file"), [("checkpoint", "counts.safetensors"), ("codec", "model.safetensors")])
def test_corrupt_weights_are_named(bench_top, capsys, part, file):
    source = config.load_model("unigram-tiny")
    shutil.copytree(source.find(getattr(source, part)), bench_top / "torn")
    (bench_top / "torn" / file).write_bytes(b"not a tensor in sight")
    words = ["generate", "model=unigram-tiny", "prompts=[a bell]", f"model.{part}={(bench_top / 'torn').as_posix()}"]
    assert str(bench_top / "torn") in mistake(capsys, *words)


def test_a_results_folder_that_cannot_be_written_is_named(bench_top, capsys):
    (bench_top / "taken").write_text("a file, where a folder is asked for")
    assert "taken" in mistake(capsys, "generate", "protocol=own", "results=taken/results")


def test_a_bug_keeps_its_traceback_and_a_mistake_shows_it_on_request(bench_top, monkeypatch):
    monkeypatch.setattr(verbs, "generate", lambda chosen: {}["a bug"])
    with pytest.raises(KeyError, match="a bug"):
        cli.main(["generate", "protocol=own"])
    monkeypatch.setenv(cli.TRACE, "1")
    with pytest.raises(lookup.UserError, match="unknown verb"):
        cli.main(["rnu"])


def test_ctrl_c_says_how_to_go_on(bench_top, monkeypatch, capsys):
    def stopped(chosen):
        raise KeyboardInterrupt

    monkeypatch.setattr(verbs, "generate", stopped)
    assert cli.main(["generate", "protocol=own"]) == 130
    assert "same command goes on" in capsys.readouterr().err


def test_a_protocols_clips_are_made_once(bench_top, capsys):
    assert cli.main(["generate", "protocol=own"]) == 0
    answer = capsys.readouterr().out
    clips = sorted((bench_top / "results" / "own-v1" / "mine" / "audio").iterdir())
    assert [path.name for path in clips] == ["one.wav", "two.wav"]
    assert "mine" in answer and str(bench_top.joinpath("results", "own-v1").relative_to(bench_top)) in answer
    times = [path.stat().st_mtime_ns for path in clips]
    assert cli.main(["generate", "protocol=own"]) == 0
    assert [path.stat().st_mtime_ns for path in clips] == times


def test_the_main_job_ends_with_a_table_and_the_path_of_the_report(bench_top, capsys):
    words = ["run", "protocol=own", "+protocol.metrics.kl_mtt_tiny={}"]
    assert cli.main(words) == 0
    *table, last = capsys.readouterr().out.splitlines()
    assert any("KL-MTT" in line for line in table) and any(line.startswith("mine") for line in table)
    page = bench_top / last.removeprefix("report: ")
    assert page.is_relative_to(bench_top / "reports") and "KL-MTT" in page.read_text(encoding="utf-8")
    page.unlink()
    # The report can be rendered again from the run folder alone, elsewhere.
    assert cli.main(["report", "protocol=own", "reports=elsewhere"]) == 0
    assert (bench_top / capsys.readouterr().out.strip().removeprefix("report: ")).is_file()


def test_programs_get_one_json_document(bench_top, capsys):
    for verb in ("run", "score", "report"):
        assert cli.main([verb, "protocol=own", "--json"]) == 0
        said = json.loads(capsys.readouterr().out)
        assert (said["run"], said["systems"], said["scores"]) == ("results/own-v1", ["mine"], [])
        assert said["report"] == (None if verb == "score" else "reports/own-v1.html")
    assert "reports/own-v1.html" in (bench_top / "results" / "index.html").read_text(encoding="utf-8")
    assert "unknown key 'json'" in mistake(capsys, "train", "--json")


def test_a_report_of_no_run_is_refused(bench_top, capsys):
    assert "there is no run" in mistake(capsys, "report", "protocol=own")
    assert not (bench_top / "reports").exists()


def test_bench_of_a_protocol_without_a_speed_block_says_what_to_add(bench_top, capsys):
    assert "no speed block; add speed:" in mistake(capsys, "bench", "protocol=own")


def test_clips_are_counted_of_the_chosen_systems_only(bench_top, capsys):
    words = ["generate", "protocol=own", "systems=[{model: mine, label: other}]"]
    assert cli.main(words) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[2:3]] == ["other"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["/somewhere/bin/magnet-eval", "run", "-m", "seed=1,2"], "magnet-eval run -m seed=1,2"),
        (["-m", "magnet_eval", "run", "prompts=[a b]"], "magnet-eval run 'prompts=[a b]'"),
        (["mine.py"], "python mine.py"),
    ],
)
def test_the_command_on_record_is_what_was_typed(monkeypatch, words, expected):
    monkeypatch.setattr(sys, "orig_argv", ["/somewhere/bin/python", *words])
    assert environment.command() == expected


def test_a_sweep_keeps_its_points_apart_and_leaves_no_litter(bench_top, capsys):
    assert cli.main(["generate", "-m", "protocol=own", "seed=1,2", "results=results"]) == 0
    points = sorted(path.name for path in (bench_top / "results" / "sweeps").iterdir() if path.is_dir())
    assert points == ["protocol=own,seed=1", "protocol=own,seed=2"]
    for seed, point in zip((1, 2), points, strict=True):
        manifest = json.loads((bench_top / "results" / "sweeps" / point / "own-v1" / "manifest.json").read_text())
        assert manifest["protocol"]["generation"]["seed"] == seed
    assert not {"outputs", "multirun", "cli.log"} & {path.name for path in bench_top.iterdir()}


def test_a_sweeps_mistake_is_found_before_its_first_point(bench_top, capsys):
    assert "unknown model 'mien'" in mistake(capsys, "generate", "-m", "model=mine,mien", "prompts=[a]")


def test_cfg_shows_everything_that_can_be_set(bench_top, capsys):
    assert cli.main(["run", "protocol=own", "--cfg", "job"]) == 0
    assert "seconds: 3.0" in capsys.readouterr().out


@pytest.mark.parametrize("what", ["models", "protocols", "metrics", "runs"])
def test_lists_as_table_and_as_json(bench_top, capsys, what):
    assert cli.main(["generate", "protocol=own"]) == 0
    capsys.readouterr()
    assert cli.main(["list", what, "json=true"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert cli.main(["list", what]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(rows) + 2
    expected = {"models": "mine", "protocols": "own", "metrics": "fad_musicnn_tiny", "runs": "results/own-v1"}
    names = [next(iter(row.values())) for row in rows]
    assert expected[what] in names
    assert all(line.startswith(str(name)) for line, name in zip(lines[2:], names, strict=True))


def test_presets_are_listed_the_first_one_first(capsys):
    assert cli.main(["list", "metrics", "json=true"]) == 0
    presets = {row["metric"]: row["presets"].split(", ") for row in json.loads(capsys.readouterr().out)}
    assert presets["kl_passt"][0] == "native" and "audiocraft-tf-sound" in presets["kl_passt"]
    assert presets["clap_tiny"] == ["clap-tiny-v1"]


def test_a_reader_that_has_enough_is_no_error():
    command = [sys.executable, "-c", "import magnet_eval.cli as c; c.entry()", "list", "metrics"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()  # before a word is written
        said = process.stderr.read()
    assert (process.returncode, said) == (141, b"")


def test_a_metric_that_a_protocol_lacks_is_added(bench_top, capsys):
    words = "protocol=own", "protocol.metrics={fad_vggish: native}"
    assert "metric fad_vggish (native)" in mistake(capsys, "run", *words)
    assert "metric fad_vggish (native)" in mistake(capsys, "run", words[0], f"+{words[1]}")
    assert "To add a key, put + before it" in mistake(capsys, "run", words[0], "protocol.prompts={other: 1}")


def test_doctor_finds_what_is_missing_and_is_no_error(bench_top, capsys):
    assert cli.main(["doctor", "json=true"]) == 0
    found = json.loads(capsys.readouterr().out)
    parts = {model["model"]: {part["part"]: part for part in model["parts"]} for model in found["models"]}
    assert list(parts["hollow"]) == ["checkpoint", "text", "codec"]
    assert all("not here" in part["problem"] for part in parts["hollow"].values())
    assert not parts["mine"], "clips of a folder count one by one"
    (shipped,) = parts["unigram-tiny"]["checkpoint"]["files"]
    assert shipped["file"] == "counts.safetensors" and len(shipped["sha256"]) == 64
    published = parts["magnet-small-10secs"]["checkpoint"]
    assert published["get"] == (
        "Get it: hf download facebook/magnet-small-10secs state_dict.bin compression_state_dict.bin"
    )
    assert cli.main(["doctor"]) == 0
    shown = capsys.readouterr().out
    assert published["get"] in shown and "hollow (checkpoint)" in shown
    assert found["packages"]["torch"]


def test_help_of_every_verb_names_its_options(capsys):
    for name, verb in cli.VERBS.items():
        assert cli.main([*name.split(), "--help"]) == 0
        text = capsys.readouterr().out
        assert all(f"  {option}=" in text for option in verb.options.__dataclass_fields__)
    assert cli.main([]) == 0
    overview = capsys.readouterr().out
    assert all(f"  {name} " in overview for name in {name.split()[0] for name in cli.VERBS})
    assert cli.main(["study"]) == 0
    actions = capsys.readouterr().out
    assert all(f"  {action} " in actions for action in cli.STUDY)


@pytest.mark.parametrize("name", [name for name in cli.VERBS if name not in ("doctor", "list")])
def test_the_examples_of_the_help_are_understood(name):
    import shlex

    words = shlex.split(cli.VERBS[name].example)
    assert isinstance(cli.understood(name, words), cli.VERBS[name].options)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("magnet-eval ", {"run", "generate", "doctor"}),
        ("magnet-eval ge", {"generate"}),
        ("magnet-eval run protocol=", {"protocol=own", "protocol=quickstart"}),
        ("magnet-eval generate model=m", {"model=mine"}),
        ("magnet-eval run protocol=own see", {"seed="}),
        ("magnet-eval run protocol=own protocol.generation.", {"protocol.generation.seed="}),
    ],
)
def test_tab_completion(bench_top, capsys, monkeypatch, line, expected):
    monkeypatch.setenv("COMP_LINE", line)
    assert cli.main(["--shell-completion", "query=bash"]) == 0
    assert expected <= set(capsys.readouterr().out.split())


def test_the_program_itself(bench_top):
    """As typed: exit codes, streams, and the script that bash evaluates."""

    def typed(*words: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "magnet_eval", *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)

    done = typed("run", "protocol=onw")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"magnet-eval: {done.stderr[13:].splitlines()[0]}\n"
    done = typed("--shell-completion", "install=bash")
    assert done.returncode == 0 and "complete -o nospace" in done.stdout and "magnet-eval" in done.stdout.split()[-1]
    done = typed("--version")
    assert done.stdout.strip() == __import__("magnet_eval").__version__


def test_a_missing_folder_of_clips_is_one_line(tmp_path, capsys):
    system = "systems=[{model: files, label: mine, set: {folder: nowhere}}]"
    assert cli.main(["run", "protocol=quickstart", system, f"results={tmp_path}"]) == 2
    said = capsys.readouterr().err.strip()
    assert "nowhere" in said and "\n" not in said
