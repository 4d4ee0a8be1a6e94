"""Files from strangers: nothing in them is run, obeyed or written elsewhere. See SECURITY.md."""

import ast
import json
import logging
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch

import magnet_eval
from magnet_eval import cli, config, generators
from magnet_eval.generators.checkpoints import read_pickled
from magnet_eval.lookup import UserError
from magnet_eval.prompts import read_prompts
from magnet_eval.store import RunFolder
from magnet_eval.terminal import Formatter, visible

ROOT = Path(__file__).resolve().parents[1]
CAPTION = (
    "<script>alert(1)</script><img src=x onerror=alert(1)> \\input{/etc/passwd} \\write18{touch w} $(touch s) `touch b`"
)
FORMULA = '=HYPERLINK("http://evil","x")'


# files of weights


@pytest.mark.parametrize("tag", ["apply:os.system [touch {}]", "object/new:os.system [touch {}]", "name:os.system {}"])
def test_the_configuration_in_a_checkpoint_is_plain_yaml(tmp_path, tag):
    folder = Path(shutil.copytree(ROOT / "tests" / "data" / "pipeline" / "magnet", tmp_path / "magnet"))
    marker = tmp_path / "marker"
    content = {**read_pickled(folder / "state_dict.bin"), "xp.cfg": f"x: !!python/{tag.format(marker)}"}
    torch.save(content, folder / "state_dict.bin")
    model = config.Model(family="masked", checkpoint=str(folder))
    with pytest.raises(UserError, match="xp.cfg is no YAML") as caught:
        generators.build(model, "cpu")
    assert not marker.exists() and "\n" not in str(caught.value)


def test_shards_of_a_checkpoint_lie_in_its_folder(tmp_path):
    (tmp_path / "m").mkdir()
    shutil.copy(ROOT / "models/tiny/codec/config.json", tmp_path / "m" / "config.json")
    index = {"weight_map": {"a": "../outside.safetensors"}}
    (tmp_path / "m" / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match="not in its own folder"):
        generators.fingerprint(config.Model(family="codec", codec=str(tmp_path / "m")))


def test_weights_are_those_that_the_model_names(tmp_path, monkeypatch):
    model = config.load_model("codec-tiny")
    generators.check_weights(model)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "mine.yaml").write_text((ROOT / "models" / "codec-tiny.yaml").read_text())
    copy = Path(shutil.copytree(ROOT / "models" / "tiny" / "codec", tmp_path / "models" / "tiny" / "codec"))
    content = bytearray((copy / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (copy / "model.safetensors").write_bytes(content)
    pinned = model.sha256["tiny/codec/model.safetensors"]
    with pytest.raises(UserError, match=f"has sha256 .* model mine says {pinned[:8]}.*Get it again") as caught:
        generators.build(config.load_model("mine"), "cpu")
    assert "\n" not in str(caught.value)
    unpinned = config.Model(family="codec", codec=str(copy))
    generators.check_weights(unpinned)


def test_every_embedded_model_says_the_hash_of_its_weights():
    for name in config.list_models():
        model = config.load_model(name)
        if model.tiny:
            assert model.sha256, name
            generators.check_weights(model)


# the package itself

FORBIDDEN = {  # names of calls, and keyword arguments with the value that is meant
    "eval", "exec", "system", "popen", "extractall", "unpack_archive", "full_load", "unsafe_load",
    "shell=True", "weights_only=False", "allow_pickle=True", "trust_remote_code=True",
    "pickle.load", "pickle.loads", "yaml.load", "marshal.loads",
}  # fmt: skip


def calls_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            function = ast.unparse(node.func)
            arguments = {f"{word.arg}={ast.unparse(word.value)}" for word in node.keywords}
            is_method = isinstance(node.func, ast.Attribute)
            # network.eval() is torch's
            plain = function.rpartition(".")[2] if not (is_method and node.func.attr in ("eval", "exec")) else ""
            found |= {function, plain, *arguments}
    return found


def test_the_package_runs_no_code_out_of_files():
    for path in Path(magnet_eval.__file__).parent.rglob("*.py"):
        own = {"pickle.loads"} if path.parent.name == "engines" else set()  # between the processes of one run
        assert not calls_of(path) & (FORBIDDEN - own), path


# names


NAMES = ["../up", "/etc/x", "a/b", "..", "a\0b", "x" * 300, "a\nb", "\x1b[31mred", ".", "a\\b"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_ids_that_lead_elsewhere(tmp_path, name, kind):
    (tmp_path / "captions.jsonl").write_text(json.dumps({"id": name, "text": "waltz"}))
    (tmp_path / "captions.csv").write_text('id,text\n"' + name + '",waltz\n')
    settings = config.Prompts(source="jsonl", path=str(tmp_path / f"captions.{kind}"))
    with pytest.raises(UserError, match="cannot name a file|occurs|cannot read|needs a text"):
        read_prompts(settings)


@pytest.mark.parametrize("name", NAMES)
def test_labels_that_lead_elsewhere(name):
    with pytest.raises(UserError, match="no folder name"):
        config.System("magnet-tiny", label=name)


@pytest.mark.parametrize("changes", [{"path": "../../real/p0.wav"}, {"path": "{}/real/p0.wav"}, {"prompt_id": "../p"}])
def test_a_run_from_elsewhere_has_no_file_outside_it_removed(calls, caplog, changes):
    assert cli.main(["generate", "protocol=fake", "systems=[good]"]) == 0
    record = Path("results/fake-v1/good/clips.jsonl")
    rows = [json.loads(line) for line in record.read_text().splitlines()]
    stray = {name: value.format(Path.cwd()) for name, value in changes.items()}
    rows[0] |= {"key": "stale", **stray}
    record.write_text("".join(json.dumps(row) + "\n" for row in rows))
    real = {path: path.read_bytes() for path in Path("real").iterdir()}
    assert cli.main(["generate", "protocol=fake", "systems=[good]"]) == 0
    assert {path: path.read_bytes() for path in Path("real").iterdir()} == real
    assert "not inside the run folder" in caplog.text
    assert len(RunFolder("results/fake-v1").clips("good")) == 6


@pytest.mark.parametrize("place", ["good", "good/audio", "good/order", "good/clips.jsonl", ".lock"])
def test_a_link_in_a_run_from_elsewhere_has_no_file_outside_it_changed(calls, capsys, tmp_path, place):
    Path("models/good.yaml").write_text('{"family": "pipeline_fakes:Chords", "decoding": {"masked": 1}}')
    assert cli.main(["generate", "protocol=fake", "systems=[good]"]) == 0
    run = Path("results/fake-v1")
    (run / place).rename(tmp_path / "outside")
    (run / place).symlink_to(tmp_path / "outside")
    outside = tmp_path / "outside"
    before = {path: path.read_bytes() for path in [outside, *outside.rglob("*")] if path.is_file()}
    capsys.readouterr()
    for words in (["generate", "seed=1"], ["generate", "seed=1", "audio=flac"]):
        code = cli.main([words[0], "protocol=fake", "systems=[good]", *words[1:]])
        (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("magnet-eval: ")] or [""]
        assert (code, "link" in line) == ((0, False) if place == "good/clips.jsonl" and not line else (2, True))
        assert {path: path.read_bytes() for path in [outside, *outside.rglob("*")] if path.is_file()} == before


# texts


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append(tag if tag in ("script", "iframe", "object", "embed") else "")
        assert not [name for name, _ in attrs if name.startswith("on")], attrs


@pytest.fixture
def hostile(calls):
    """A run whose captions, title, metric labels and reasons are hostile."""
    rows = [json.dumps({"id": f"p{i}", "text": f"{CAPTION} {i}"}) for i in range(6)]
    Path("real/captions.jsonl").write_text("\n".join(rows))
    path = Path("protocols/fake.yaml")
    path.write_text(json.dumps({**json.loads(path.read_text()), "title": CAPTION}))
    assert cli.main(["run", "protocol=fake"]) == 0
    record = Path("results/fake-v1/scores.jsonl")
    rows = [json.loads(line) for line in record.read_text().splitlines()]
    record.write_text("".join(json.dumps({**row, "label": CAPTION, "preset": FORMULA}) + "\n" for row in rows))
    run = RunFolder("results/fake-v1")
    failure = {"system": CAPTION, "prompt_id": "p0", "reason": "\x1b]0;owned\x07" + CAPTION}
    run.set_failures("generate", [failure])
    return run


def test_no_text_becomes_markup(hostile):
    assert cli.main(["report", "protocol=fake"]) == 0
    page = Path("reports/fake-v1.html").read_text()
    tags = Tags(page).found
    assert tags.count("script") == len(re.findall(r"<script", page)) and "<script>alert" not in page
    assert not {"iframe", "object", "embed"} & set(tags) and "<img src=x" not in page


def test_no_text_becomes_a_command_of_latex(hostile):
    assert cli.main(["report", "protocol=fake", "format=latex"]) == 0
    lines = [line for line in Path("reports/fake-v1.tex").read_text().splitlines() if not line.startswith("%")]
    commands = set(re.findall(r"\\([a-zA-Z]+)", "\n".join(lines)))
    assert "textbackslash" in commands and not commands & {"input", "write", "include", "openout", "immediate"}


def test_no_text_becomes_a_formula(hostile):
    assert cli.main(["report", "protocol=fake", "format=csv"]) == 0
    text = Path("reports/fake-v1.csv").read_text()
    assert "'=HYPERLINK" in text and not re.search(r'(^|,)"?=', text, re.MULTILINE)


def test_no_text_becomes_a_command_of_the_shell_or_the_terminal(hostile, capsys):
    assert not [name for name in "wsb" if Path(name).exists()]
    assert cli.main(["report", "protocol=fake", "json=true"]) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown and "\x07" not in shown
    assert json.loads(shown)


def test_control_characters_are_spelt_out(capsys):
    text = "a\x1b[2J\x9b5n\u202eb\tc\nd é 音"
    assert visible(text) == "a\\u001b[2J\\u009b5n\\u202eb\tc\nd é 音"
    assert json.loads(visible(json.dumps({"x": "\x9b\x7f"}, ensure_ascii=False))) == {"x": "\x9b\x7f"}
    record = logging.LogRecord("x", logging.WARNING, "", 0, "%s", ("\x1b]0;owned\x07",), None)
    assert Formatter("%(message)s").format(record) == "\\u001b]0;owned\\u0007"
    assert cli.main(["run", "protocol=\x1b[31mfake"]) == 2
    assert "\x1b" not in capsys.readouterr().err
