"""Which runs there are, and a run that was sent."""

import json
import shutil

import pytest

from magnet_eval import speed
from magnet_eval.cli import main
from magnet_eval.report import runs


def test_runs_say_when_what_how_much_and_on_what(run):
    (row,) = runs.runs(run.path.parent)
    n = sum(not score.versus and score.metric not in speed.METRICS for score in run.scores())
    assert row == {
        "run": str(run.path), "date": "2026-01-02 03:04", "protocol": "quick v1", "systems": 3, "prompts": 3,
        "scores": n, "hardware": "Test CPU",
    }  # fmt: skip


def test_a_damaged_manifest_hides_no_other_run(run, tmp_path):
    (tmp_path / "bad-v1").mkdir()
    (tmp_path / "bad-v1" / "manifest.json").write_text("{")
    rows = runs.runs(tmp_path)
    assert [row["protocol"] for row in rows][1] == "quick v1" and "is damaged" in rows[0]["protocol"]


def test_the_index_links_the_reports_that_there_are(run, tmp_path):
    shutil.copytree(run.path, tmp_path / "sub" / "other <b>-v1")
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "quick-v1.html").write_text("")
    page = runs.write_index(tmp_path, tmp_path / "reports").read_text(encoding="utf-8")
    assert 'href="reports/quick-v1.html"' in page and page.count("href=") == 1
    assert "sub/other &lt;b&gt;-v1" in page and "2026-01-02 03:04" in page and "src=" not in page


@pytest.fixture
def sent(run, tmp_path, monkeypatch):
    """The run in another place, without its real clips; the working directory in a third, where no protocol is."""
    shutil.move(run.path, tmp_path / "inbox" / "quick-v1")
    shutil.rmtree(tmp_path / "reference")
    (tmp_path / "desk").mkdir()
    monkeypatch.chdir(tmp_path / "desk")
    return tmp_path / "inbox" / "quick-v1"


def test_a_run_that_was_sent_has_a_report(sent, capsys):
    assert main(["report", "run=../inbox/quick-v1"]) == 0
    assert capsys.readouterr().out.strip() == "report: reports/quick-v1.html"
    page = (sent.parents[1] / "desk" / "reports" / "quick-v1.html").read_text(encoding="utf-8")
    assert "Quick comparison" in page and "not on this machine" in page and '"audio":' in page
    assert not (sent.parent / runs.INDEX).exists()  # somebody else's folder


def test_a_report_as_json_names_page_and_scores(sent, capsys):
    assert main(["report", f"run={sent}", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["run"] == str(sent) and said["report"] == "reports/quick-v1.html"
    assert (said["protocol"], said["version"], said["n_prompts"]) == ("quick", 1, 3)
    assert said["systems"] == ["magnet-tiny", "musicgen-tiny", "codec-tiny"]
    assert {"fad_musicnn_tiny", "latency"} <= {row["metric"] for row in said["scores"]}
    assert said["failures"][0]["reason"] == "out of memory" and said["warnings"] == []
    assert main(["report", f"run={sent}", "format=csv", "json=true"]) == 0
    assert json.loads(capsys.readouterr().out)["report"] == "reports/quick-v1.csv"


def test_what_is_no_run_is_refused(sent, capsys):
    for path in ("gone", ".."):
        assert main(["report", f"run={path}"]) == 2
        assert "is no run folder" in capsys.readouterr().err
