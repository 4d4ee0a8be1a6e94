"""Ceilings, and the share of them that a stage reaches."""

import numpy as np
import pytest

from magnet_eval import speed
from magnet_eval.records import Timing
from magnet_eval.speed import ceilings, cost, roofline

PROTOCOL = ("quick", 1)
LIMITS = {"float32": ceilings.Ceilings(1e9, 1e8), "float16": ceilings.Ceilings(4e9, 1e8)}
LM = {"dim": 8, "num_heads": 2, "num_layers": 2, "hidden_scale": 4, "n_q": 2, "card": 16, "text_dim": 6,
      "subcodes_context": 2, "dtype": "float16"}  # fmt: skip
SHAPES = {
    "kind": "autoregressive", "frame_rate": 10, "unit": 1, "segment": 100, "stride": 60, "ar_guided": True, "lm": LM,
    "text": {"dim": 6, "inner": 6, "hidden": 12, "layers": 1, "gated": False, "dtype": "float32"},
    "text_tokens": [3, 5],
    "codec": {
        "num_filters": 2, "upsampling_ratios": [2, 2], "hidden_size": 4, "kernel_size": 7, "num_lstm_layers": 1,
        "compress": 2, "residual_kernel_size": 3, "use_conv_shortcut": False, "num_residual_layers": 1,
        "audio_channels": 1, "last_kernel_size": 7, "dtype": "float32",
    },
}  # fmt: skip


def timing(stage, values, batch=2, dtype="float16"):
    return Timing("m", stage, batch, 2.0, tuple(values), "cpu", dtype, 20, 40)


def rows(*timings, shapes=SHAPES, limits=LIMITS):
    found = roofline.rows(timings, {"m": shapes}, limits, PROTOCOL)
    return {row.params["stage"]: row for row in found}


def test_the_longer_of_the_two_times_is_the_limit():
    both = LIMITS["float32"]
    assert roofline.limit(cost.Cost(2e9, 1e7, "float32"), both) == (2.0, "compute")
    assert roofline.limit(cost.Cost(1e8, 1e8, "float32"), both) == (1.0, "memory")


def test_a_share_is_limit_over_median_with_its_interval_turned_round():
    (row,) = rows(timing("codec", [0.1, 0.2, 0.3, 0.4, 0.5])).values()
    least, bound = roofline.limit(cost.of(SHAPES, 2, 2.0, 5)["codec"], LIMITS["float32"])
    assert row.value == pytest.approx(least / 0.3) and row.params["bound"] == bound and row.n == 5
    assert least / 0.5 <= row.low < row.value < row.high <= least / 0.1
    assert row.params["batch"] == 2 and row.metric == speed.ROOFLINE_SHARE


def test_a_total_is_the_sum_of_its_stages_and_tokens_those_of_the_language_model():
    names = ("text", "prefill", "decode", "codec")
    found = rows(*(timing(name, [1.0]) for name in (*names, "tokens", speed.TOTAL)))
    assert found[speed.TOTAL].value == pytest.approx(sum(found[name].value for name in names))
    assert found["tokens"].value == pytest.approx(found["prefill"].value + found["decode"].value)
    assert found["tokens"].params["flops"] == found["prefill"].params["flops"] + found["decode"].params["flops"]
    assert found[speed.TOTAL].low is None  # one call


def test_what_is_not_known_has_no_row():
    assert rows(timing("write", [1.0])) == {}
    assert rows(timing("codec", [1.0]), shapes={}) == {}
    half = {"float16": LIMITS["float16"]}
    assert set(rows(*(timing(name, [1.0]) for name in ("codec", "decode", speed.TOTAL)), limits=half)) == {"decode"}


def test_texts_are_padded_to_the_longest_of_each_call():
    assert roofline.text_tokens([3, 5, 4], 1, 3) == 4
    assert roofline.text_tokens([3, 5, 4], 2, 3) == np.mean([5, 4, 5])
    assert roofline.text_tokens([3, 5, 4], 8, 1) == 5


def test_ceilings_are_amount_over_time(monkeypatch):
    monkeypatch.setitem(ceilings.COPY_BYTES, "cpu", 2**16)
    monkeypatch.setitem(ceilings.PRODUCT, "cpu", (64, 128))
    now = iter(range(1000))
    assert ceilings.measure("cpu", "float32", lambda: next(now)) == (2 * 64**3, 2**17)  # each takes a second
    now = iter(np.arange(1000) * 1e-3)
    assert ceilings.measure("cpu", "float32", lambda: next(now)).flops_per_s == pytest.approx(2 * 128**3 / 1e-3)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_ceilings_of_this_machine(monkeypatch, dtype):
    monkeypatch.setitem(ceilings.COPY_BYTES, "cpu", 2**20)
    monkeypatch.setitem(ceilings.PRODUCT, "cpu", (64, 128))
    found = ceilings.measure("cpu", dtype)
    assert 1e6 < found.flops_per_s < 1e16 and 1e6 < found.bytes_per_s < 1e14
