"""The page: complete, self-contained, safe, and quick where nothing changed."""

import base64
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import soundfile

from magnet_eval import report
from magnet_eval.report import figures, listen, speed_figures
from magnet_eval.report.data import load


class Page(HTMLParser):
    """Tags with their attributes, text outside scripts and styles, and JSON blocks by id."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.text, self.blocks, self._in = [], [], {}, None
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._in = (tag, dict(attributes).get("id")) if tag in ("script", "style") else None

    def handle_endtag(self, tag):
        self._in = None

    def handle_data(self, data):
        if self._in is None:
            self.text.append(data)
        elif self._in[1]:
            self.blocks[self._in[1]] = json.loads(data)

    def prompts(self):
        """The JSON blocks of the prompts, in order."""
        return [self.blocks[f"prompt-{i}"] for i in range(sum(name.startswith("prompt-") for name in self.blocks))]


@pytest.fixture(scope="module")
def page(whole_run):
    return Page(report.build(whole_run, whole_run.path.parent / "report.html"))


def test_every_system_and_section_is_there(page):
    text = " ".join(page.text)
    for words in ("magnet-tiny", "musicgen-tiny", "codec-tiny", "Comparisons", "Speed", "Listen", "How this was made"):
        assert words in text
    assert "123 of 125 token frames" in text and "out of memory" in text and "magnet-eval run protocol=quick" in text
    assert "FAD-musicnn (tiny)" in text and "not the published metrics" in text
    assert not re.search(r"\b(nan|none|undefined|inf)\b", text, re.IGNORECASE)


def test_nothing_is_loaded_from_anywhere(page):
    for tag, attributes in page.tags:
        for name in ("src", "href", "data", "srcset", "action", "poster"):
            value = attributes.get(name) or ""
            assert value.startswith("#") or not value, (tag, name, value[:80])
    assert not [tag for tag, _ in page.tags if tag in ("link", "iframe", "object", "embed", "base")]
    assert not re.search(r"@import|url\((?!#)", page.source)


def test_policy_allows_the_own_script_alone(page):
    import hashlib

    policy = next(a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    script = re.search(r"<script>(.*?)</script>", page.source, re.DOTALL).group(1)
    own = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'") and f"script-src 'sha256-{own}'" in policy
    assert not [attributes for _, attributes in page.tags if any(name.startswith("on") for name in attributes)]


def test_captions_and_labels_cannot_become_markup(tmp_path, make_hostile_run):
    hostile = "</script><script>alert(1)</script>"
    page = Page(report.build(make_hostile_run(hostile), tmp_path / "report.html"))
    assert "<script>alert" not in page.source and "<b>bold</b>" not in page.source
    assert hostile in [entry["text"] for entry in page.prompts()]
    assert "a <b>bold</b> $x_1$ & co" in " ".join(page.text)


def test_inline_audio_is_the_clip_sample_by_sample(whole_run, page):
    clip = whole_run.clips("musicgen-tiny")[1]
    entry = next(entry for entry in page.prompts() if entry["id"] == clip.prompt_id)
    item = next(item for item in entry["items"] if item["system"] == "musicgen-tiny")
    inside, rate = soundfile.read(io.BytesIO(base64.b64decode(item["audio"])), dtype="int16")
    outside, _ = soundfile.read(whole_run.path / clip.path, dtype="int16")
    assert rate == clip.sample_rate and np.array_equal(inside, outside)
    assert base64.b64decode(item["picture"]).startswith(b"\x89PNG")
    assert entry["items"][0]["system"] == listen.REFERENCE and entry["items"][0]["audio"]


def test_audio_beyond_the_limit_lies_beside_the_page(run, tmp_path, monkeypatch):
    monkeypatch.setattr(listen.Sounds.__init__, "__defaults__", (60_000,))
    page = Page(report.build(run, tmp_path / "report.html"))
    items = [item for entry in page.prompts() for item in entry["items"]]
    beside = [item["src"] for item in items if "src" in item]
    assert beside and any("audio" in item for item in items)
    assert sorted(f"report_audio/{path.name}" for path in (tmp_path / "report_audio").iterdir()) == sorted(beside)
    assert f"{len(beside)} clips lie in the folder beside it" in " ".join(page.text)


def test_a_missing_clip_says_so(run, tmp_path):
    run.write_clips("magnet-tiny", run.clips("magnet-tiny")[:1])
    run.audio("musicgen-tiny", "p1").write_bytes(b"not audio")
    page = Page(report.build(run, tmp_path / "report.html"))
    missing = {(e["id"], i["system"]): i["missing"] for e in page.prompts() for i in e["items"] if "missing" in i}
    assert missing.keys() == {("p1", "magnet-tiny"), ("p2", "magnet-tiny"), ("p1", "musicgen-tiny")}
    assert missing["p1", "magnet-tiny"] == "no clip" and "cannot read" in missing["p1", "musicgen-tiny"]


def test_a_page_of_the_same_records_is_left_alone(run, tmp_path):
    out = report.build(run, tmp_path / "report.html")
    out.write_text(out.read_text(encoding="utf-8") + "<!-- mark -->", encoding="utf-8")
    assert "<!-- mark -->" in report.build(run, out).read_text(encoding="utf-8")
    run.replace_scores([], lambda row: row.system == "magnet-tiny")
    assert "<!-- mark -->" not in report.build(run, out).read_text(encoding="utf-8")


def test_an_empty_run_still_makes_a_page(tmp_path):
    (tmp_path / "empty-v1").mkdir()
    out = report.build(tmp_path / "empty-v1", tmp_path / "empty-v1")
    assert out == tmp_path / "empty-v1.html"
    page = Page(out)
    assert "Nothing to compare yet" in " ".join(page.text)


def test_ids_are_unique_and_references_resolve(page):
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    anchors = [a["href"][1:] for _, a in page.tags if (a.get("href") or "").startswith("#")]
    anchors += re.findall(r"url\(#([^)]+)\)", page.source)
    assert set(anchors) <= set(ids)


def test_figures_keep_text_and_take_the_pages_colours(whole_run):
    svg = figures.quality(load(whole_run), "clap_tiny").svg
    assert ">magnet-tiny</text>" in svg and "var(--ink)" in svg and "#E69F00".lower() in svg.lower()
    assert "http" not in svg and svg == figures.quality(load(whole_run), "clap_tiny").svg


def test_captions_say_n_and_direction(whole_run):
    data = load(whole_run)
    found = [figures.quality(data, "clap_tiny"), speed_figures.stages(data, 8), speed_figures.throughput(data)]
    for figure, words in zip(found, ("higher is better", "lower is better", "higher is better"), strict=True):
        assert words in figure.caption and re.search(r"n = \d", figure.caption)
    assert figures.quality_latency(data, "fad_musicnn_tiny").caption.startswith("Better is bottom left.")


def test_names_of_points_do_not_cover_each_other():
    placed = figures.spread([0.0, 1.0, 1.5, 50.0], 12)
    gaps = np.diff(sorted(placed))
    assert gaps.min() >= 12 - 1e-9 and placed == sorted(placed)


def test_telling_prompts_come_first(whole_run):
    order = [(prompt.id, badge) for prompt, badge in listen.in_order(load(whole_run))]
    mean = {}
    for row in whole_run.clip_scores():
        if row.system != "codec-tiny":
            mean.setdefault(row.prompt_id, []).append(row.value)
    best = max(mean, key=lambda key: np.mean(mean[key]))
    worst = min(mean, key=lambda key: np.mean(mean[key]))
    assert order[:2] == [(best, "best"), (worst, "worst")] and {key for key, _ in order} == set(mean)


def test_spectrogram_shows_a_tone_where_it_is():
    rate = 16_000
    low, high = (np.sin(2 * np.pi * hertz * np.arange(rate) / rate) for hertz in (300, 5000))
    row = [int(np.argmin(listen.spectrogram(tone, rate)[:, 100])) for tone in (low, high)]
    assert row[0] > 45 and row[1] < 20  # up is high
    assert listen.spectrogram(np.zeros(rate), rate).shape == (64, 200)


def test_a_page_is_made_again_when_sounds_come_back_or_go(run, tmp_path, monkeypatch):
    monkeypatch.setattr(listen.Sounds.__init__, "__defaults__", (0,))  # all of them beside the page
    clip = run.audio("magnet-tiny", "p1")
    content = clip.read_bytes()
    clip.unlink()
    out = report.build(run, tmp_path / "page.html")
    assert '"missing":"no audio file' in out.read_text() or '"missing"' in out.read_text()
    clip.write_bytes(content)
    assert '"missing"' not in report.build(run, out).read_text()
    beside = sorted((tmp_path / "page_audio").iterdir())
    assert beside
    beside[0].unlink()
    report.build(run, out)
    assert beside[0].is_file()
