"""The speed section: figures by stage and batch, crossover, limits, streaming, serving; its sentences."""

import re
from dataclasses import replace

import pytest

from magnet_eval import report, speed
from magnet_eval.report import figures, numbers, speed_figures, speed_tables, summary
from magnet_eval.report.data import load
from magnet_eval.speed import crossover, roofline
from magnet_eval.speed.ceilings import Ceilings
from magnet_eval.speed.loop import Calls, Series
from magnet_eval.speed.rows import Rows
from magnet_eval.speed.subject import Loaded

FAMILIES = {"magnet": "masked", "hybrid": "hybrid", "musicgen": "autoregressive", "peer": "transformers"}
BATCHES = (1, 2, 4, 8, 16)
BEGINNING = {"text": 0.01}
CODEBOOKS = {"codebook 1": 0.4, "codebook 2": 0.2, "codebook 3": 0.2, "codebook 4": 0.2}
STAGES = {
    "magnet": BEGINNING | CODEBOOKS | {"codec": 0.1, "write": 0.01},
    "hybrid": BEGINNING | {"prefill": 0.02, "decode": 0.5} | CODEBOOKS | {"codec": 0.1, "write": 0.01},
    "musicgen": BEGINNING | {"prefill": 0.02, "decode": 4.0, "codec": 0.1, "write": 0.01},
    "peer": BEGINNING | {"tokens": 6.0, "codec": 0.1},
}
GROWTH = {"decode": 0.15, "tokens": 0.15, "prefill": 0.5}  # exponent of the batch size; the rest grows in proportion
LM = {"dim": 256, "num_heads": 4, "num_layers": 4, "hidden_scale": 4, "n_q": 4, "card": 256, "text_dim": 128,
      "subcodes_context": 5, "dtype": "float32"}  # fmt: skip
SHAPES = {
    "frame_rate": 25, "segment": 125, "stride": 75, "unit": 1, "ar_guided": True, "text_tokens": [8, 12], "lm": LM,
    "steps": [[(0.6, True)] * 19 + [(0.01, False)]] + [[(0.6, True)] * 9 + [(0.01, False)]] * 3, "beginning": 24,
    "span": 3,
    "text": {"dim": 128, "inner": 128, "hidden": 256, "layers": 2, "gated": False, "dtype": "float32"},
    "codec": {
        "num_filters": 24, "upsampling_ratios": [2, 2, 10, 16], "hidden_size": 64, "kernel_size": 7, "compress": 2,
        "num_lstm_layers": 1, "residual_kernel_size": 3, "use_conv_shortcut": False, "num_residual_layers": 1,
        "audio_channels": 1, "last_kernel_size": 7, "dtype": "float32",
    },
}  # fmt: skip
DRIFT = (0.96, 1.05, 1.0, 0.98, 1.02)


def calls_of(label, batch, loaded):
    """Five calls, every stage of which drifts alike."""
    parts = {stage: seconds * batch ** GROWTH.get(stage, 1) for stage, seconds in STAGES[label].items()}
    parts = {"total": sum(parts.values()) * 1.02, **parts}
    values = {stage: [seconds * drift for drift in DRIFT] for stage, seconds in parts.items()}
    made = Calls(label, loaded, Series("offline", batch, 5), 5.0, values, warmup=[9.0, 2.0, 2.0], iterations=50)
    made.network_evaluations, made.peak_mb = 100, {"process": 612.3, "allocated": 400.0}
    return made


def bench_rows(families, random_weights=False):
    """What the verb bench writes of these systems."""
    rows, timings, scores = Rows("quick", 1), [], []
    for label in families:
        loaded = Loaded("cpu", "float32", 0.231, "random" if random_weights else "")
        scores.append(rows.of_system(label, loaded))
        for batch in BATCHES:
            made = calls_of(label, batch, loaded)
            timings += made.timings()
            scores += rows.of_calls(made)
    shapes = {label: {**SHAPES, "kind": family} for label, family in families.items()}
    shapes = {label: {**one, "kind": "autoregressive"} if label == "peer" else one for label, one in shapes.items()}
    scores += roofline.rows(timings, shapes, {"float32": Ceilings(4e11, 2e10)}, ("quick", 1))
    return scores + crossover.crossover(timings, families, ("quick", 1))


@pytest.fixture
def timed(make_data, make_score):
    """What a report reads of a run of four systems, with streams and a server."""

    def make(*labels, **how):
        families = {label: FAMILIES[label] for label in labels or FAMILIES}
        more = []
        if not labels:
            stream = {"batch": 1, "seconds": 5.0, "scenario": "time_to_first_audio", "stream_seconds": 4.6}
            more += [make_score(label, speed.FIRST_AUDIO, value, low=value - 0.1, high=value + 0.1, params=stream)
                     for label, value in (("hybrid", 0.8), ("musicgen", 1.1))]  # fmt: skip
            bound = {"bound": 5.0, "p90": 4.31, "seconds": 5.0, "scenario": "server"}
            more += [make_score("magnet", speed.SERVER_RATE, 0.62, "higher", params=bound)]
        return make_data(*bench_rows(families, **how), *more, families=families)

    return make


def words(figure):
    """The texts of a figure in order."""
    return re.findall(r"<text[^>]*>([^<]*)</text>", figure.svg)


def test_stages_come_in_the_order_of_a_call(timed):
    figure = speed_figures.stages(timed(), 1)
    order = [
        "text",
        "prefill",
        "decode",
        "tokens",
        "codebook 1",
        "codebook 2",
        "codebook 3",
        "codebook 4",
        "codec",
        "write",
    ]
    shown = [word for word in words(figure) if word in order]
    assert sorted(shown, key=order.index) == sorted(order, key=order.index) and len(shown) == len(order)
    assert sorted(order[::-1], key=speed_figures.stage_key) == order
    assert speed_figures.stage_key("codebook 10") > speed_figures.stage_key("codebook 9")
    assert (
        speed_figures.stage_key("rescorer") < speed_figures.stage_key("unheard of") < speed_figures.stage_key("codec")
    )


def test_throughput_marks_where_the_other_overtakes(timed):
    with_ring = speed_figures.throughput(timed("magnet", "musicgen"))
    assert "rings: musicgen overtakes magnet at 5.2 [" in with_ring.caption
    assert "rings" not in speed_figures.throughput(timed("magnet", "hybrid")).caption


def test_speedup_names_what_it_is_over(timed):
    alone, several = speed_figures.speedup(timed("magnet", "hybrid", "musicgen")), speed_figures.speedup(timed())
    assert alone.title == "Speed-up over musicgen" and "magnet" in words(alone)
    assert several.title == "Speed-up over an autoregressive decoder" and "magnet : peer" in words(several)
    assert speed_figures.speedup(timed("magnet", "hybrid")) is None


def test_what_calls_are_too_few_or_too_uneven_for_is_said(timed, make_data):
    (small, uneven) = speed_tables.notes(timed("magnet", "musicgen"))
    assert small.startswith("n too small for p50, p90, p99") and "p90 takes 64" in small
    assert uneven.startswith("10 of 10 series") and "magnet (batch 1, 2, 4, 8, 16); musicgen" in uneven
    assert not speed_tables.notes(make_data())


def test_systems_that_were_not_timed_in_turn_are_compared_with_a_word_on_it(timed):
    data = timed("magnet", "musicgen")
    assert "not timed in turn" not in summary.speed_clause(data, "magnet", "musicgen").text
    later = [replace(row, params={**row.params, "session": "later"}) if row.system == "magnet" else row
             for row in data.scores]  # fmt: skip
    assert "not timed in turn" in summary.speed_clause(replace(data, scores=later), "magnet", "musicgen").text


def test_first_audio_tells_who_cannot_stream(timed):
    caption = speed_figures.first_audio(timed()).caption
    assert "cannot stream, so the whole clip counts: magnet, peer" in caption
    assert speed_figures.first_audio(timed("magnet")) is None


def test_roofline_places_the_token_loop(timed):
    data = timed("magnet", "musicgen")
    for label in ("magnet", "musicgen"):
        path = speed_figures.token_loop(data, label)
        assert len(path) == len(BATCHES) and all(flops < 4e11 and flops < x * 2e10 for x, flops in path)
    intensity = [x for x, _ in speed_figures.token_loop(data, "musicgen")]
    assert intensity == sorted(intensity)  # a batch shares the weights
    figure = speed_figures.roofline(data)
    assert "400 GFLOP/s" in figure.caption and "20 GB/s" in figure.caption


def test_shares_have_a_row_for_each_stage(timed):
    shown = speed_tables.shares(timed(), 1)
    rows = dict(shown.rows)
    assert [column.label for column in shown.columns] == list(FAMILIES)
    assert list(rows)[0] == "text" and list(rows)[-2:] == ["codec", "whole call"]
    magnet, musicgen = rows["whole call"][0], rows["decode"][2]
    assert magnet.note == "compute" and musicgen.note == "memory" and rows["decode"][0].text == "–"
    assert speed_tables.shares(timed(), 3).rows == []


def test_tables_tell_rates_from_resources(timed):
    rates, resources = speed_tables.timed(timed(), 4)
    labels = [column.label for column in rates.columns]
    assert labels[0] == "Latency" and "Share of the limit" in labels and "Real-time factor" in labels
    assert [column.label for column in resources.columns][-2:] == ["Peak memory", "Peak memory, tensors"]
    assert not any("Crossover" in column.label or "Speed-up over" in column.label for column in rates.columns)
    (loading,) = speed_tables.timed(timed(), None)
    assert [column.label for column in loading.columns] == ["Load time"]


def test_serving_says_its_bound(timed):
    (row,) = speed_tables.serving(timed()).rows
    assert row[0] == "magnet" and [cell.text for cell in row[1]] == ["0.620", "4.31", "5.00"]


def test_sentences_say_how_the_batch_changes_it(timed):
    (sentence,) = [one.text for one in summary.pairs(timed("magnet", "musicgen"))]
    pattern = r"musicgen is 3.\d× slower than magnet at batch 1; musicgen makes more clips per second from batch \d"
    assert re.match(pattern, sentence), sentence


@pytest.mark.parametrize(("values", "half", "expected"), [
    ((4.0, 2.0), 0.1, "a makes more clips per second up to batch 8, 2.0× there"),
    ((0.5, 0.25), 0.1, "b makes more clips per second up to batch 8, 4.0× there"),
    ((1.2, 1.03), 0.1, None),  # an interval holds 1
    ((4.0, 2.0), None, None),  # too few calls for one
])  # fmt: skip
def test_sentences_without_a_crossover(make_data, make_score, values, half, expected):
    rows = [make_score("a", speed.SPEEDUP_VS, value, "higher", params={"batch": batch, "versus": "b"},
                       **({"low": value - half, "high": value + half} if half else {}))
            for batch, value in zip((1, 8), values, strict=True)]  # fmt: skip
    clause = summary.batches_clause(make_data(*rows, make_score("b")), "a", "b")
    assert (clause and clause.text) == expected


@pytest.mark.parametrize(("low", "high", "expected"), [
    (9.04, 13.2, "11 [9.0, 13]"), (None, 13.2, "11 [below 1, 13]"), (9.04, None, "11 [9.0, above 64]"),
    (None, None, "11"),
])  # fmt: skip
def test_a_crossover_in_words(make_score, low, high, expected):
    row = make_score("a", value=11.3, low=low, high=high, params={"batches": [1, 64]})
    assert numbers.batch_text(row) == expected


def test_pareto_front_keeps_what_nothing_beats_in_both():
    points = [(1.0, 5.0), (2.0, 3.0), (2.0, 4.0), (3.0, 3.0), (4.0, 1.0)]
    assert figures.pareto(points, "lower") == [(1.0, 5.0), (2.0, 3.0), (4.0, 1.0)]
    assert figures.pareto(points, "higher") == [(1.0, 5.0)]


def test_the_page_of_a_bench_alone(timed, tmp_path):
    text = report.build(timed(random_weights=True).folder, tmp_path / "page.html").read_text(encoding="utf-8")
    for shown in (
        "Random weights",
        "Share of the limit",
        "Requests at random",
        "Time to first audio",
        "<details><summary>Batch 2",
    ):
        assert shown in text
    ids = re.findall(r' id="([^"]+)"', text)
    assert len(ids) == len(set(ids))


def test_rows_of_an_older_bench_are_shown(run):
    data = load(run)
    assert speed_figures.stages(data, 8) and speed_figures.throughput(data) and speed_figures.roofline(data) is None
    assert "Share of the limit" not in report.build(run, run.path.parent / "page.html").read_text(encoding="utf-8")
