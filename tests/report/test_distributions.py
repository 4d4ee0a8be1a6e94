"""The figure of clip scores: every clip is there, in its system's colour, and nothing is left behind."""

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_hex

from magnet_eval.records import ClipScore
from magnet_eval.report import distributions
from magnet_eval.report.data import load
from magnet_eval.report.figures import STYLE


def drawn(axes, kind, labels):
    """The x values and the colour of the strip or of the median of every system, from top to bottom."""
    if kind == "strip":
        artists = [(np.asarray(dots.get_offsets()), dots.get_edgecolors()) for dots in axes.collections]
    else:
        lines = [line for line in axes.lines if line.get_marker() not in ("", "None")]
        artists = [(line.get_xydata(), [line.get_color()]) for line in lines]
    found = {}
    for points, colours in artists:
        x, y = points[np.isfinite(points).all(axis=1)].T  # a median's line has a place for every system
        (place,), (colour,) = set(y.tolist()), {to_hex(colour) for colour in colours}
        found[labels[round(place)]] = (sorted(x.tolist()), colour)
    return found


def test_every_clip_and_median_has_its_value_and_colour(whole_run):
    data = load(whole_run)
    with mpl.rc_context(STYLE):
        _, axes = distributions.draw(data, distributions.frame(data, "clap_tiny"))
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == list(data.systems)
    strips, medians = drawn(axes, "strip", labels), drawn(axes, "median", labels)
    for label, system in data.systems.items():
        values = sorted(row.value for row in data.clip_scores if row.system == label)
        assert strips[label] == (pytest.approx(values), system.colour.lower())
        assert medians[label] == ([pytest.approx(np.median(values))], system.colour.lower())


def test_the_same_records_make_the_same_drawing_and_leave_nothing_behind(whole_run):
    from matplotlib import pyplot

    data, before = load(whole_run), dict(mpl.rcParams)
    figure = distributions.clip_scores(data, "clap_tiny")
    assert figure == distributions.clip_scores(data, "clap_tiny")
    assert not pyplot.get_fignums() and dict(mpl.rcParams) == before


def test_words_say_unit_direction_and_n(run):
    run.write_clip_scores(run.clip_scores()[:-1])
    figure = distributions.clip_scores(load(run), "clap_tiny")
    assert "higher is better" in figure.caption and "n = 2 to 3" in figure.caption
    assert ">CLAP-tiny of one clip</text>" in figure.svg and "var(--ground)" in figure.svg


def test_scores_over_orders_of_magnitude_get_a_logarithmic_axis(run):
    run.write_clip_scores([ClipScore("magnet-tiny", f"p{i}", "clap_tiny", 10.0**i) for i in range(-2, 3)])
    data = load(run)
    _, axes = distributions.draw(data, distributions.frame(data, "clap_tiny"))
    assert axes.get_xscale() == "log"
    assert drawn(axes, "strip", ["magnet-tiny"])["magnet-tiny"][0] == pytest.approx([0.01, 0.1, 1, 10, 100])


def test_no_figure_where_clips_have_no_scores(whole_run):
    assert distributions.clip_scores(load(whole_run), "fad_musicnn_tiny") is None
