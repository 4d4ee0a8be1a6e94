"""Figures: what is written on their axes."""

from magnet_eval.report import figures


def test_logarithmic_axes_write_plain_numbers():
    with figures.mpl.rc_context(figures.STYLE):
        drawing, axes = figures.canvas(2)
        axes.plot([0.01, 100], [1, 2])
        figures.logarithmic(axes, "x")
        svg = figures.to_svg(drawing, "log")
    assert "mathdefault" not in svg
    assert ">0.1<" in svg and ">10<" in svg
