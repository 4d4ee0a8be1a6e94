"""The picture of the order of decoding: the right boxes of the right clip, and nothing where there is no record."""

import io
import re

import numpy as np
import pytest

from magnet_eval.report import decoding_order, html
from magnet_eval.report.data import load
from magnet_eval.store import write_atomic


def keep(run, system, prompt, order):
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(order, np.uint16))
    write_atomic(run.order(system, prompt), buffer.getvalue())


ORDER = [[0, 0, 2, 2, 1, 3], [0, 0, 1, 1, 2, 2]]  # two frames were given


def test_a_box_for_every_stretch_and_none_for_what_was_given(run, monkeypatch):
    keep(run, "magnet-tiny", "p1", ORDER)
    drawn = []
    collection = decoding_order.PolyCollection
    monkeypatch.setattr(
        decoding_order, "PolyCollection", lambda boxes, **look: drawn.append(boxes) or collection(boxes, **look)
    )
    (figure,) = decoding_order.figures(load(run))
    frame = 2.0 / 6
    corners = [(box[0], box[2]) for box in drawn[0]]
    expected = [(2, 4, 1), (4, 5, 0), (5, 6, 2), (2, 4, 3), (4, 6, 4)]  # codebook 2 begins below the 3 of codebook 1
    assert np.allclose(corners, [((a * frame, y), (b * frame, y + 1)) for a, b, y in expected])
    assert "slow waltz number 1" in figure.caption and "0.67 s that were there before" in figure.caption
    assert "codebook 2" in figure.svg


def test_the_prompt_that_most_systems_have(run):
    keep(run, "magnet-tiny", "p0", ORDER)
    for system in ("magnet-tiny", "musicgen-tiny"):
        keep(run, system, "p2", ORDER)
    text, found = decoding_order.orders(load(run))
    assert text.startswith("slow waltz number 2") and list(found) == ["magnet-tiny", "musicgen-tiny"]


@pytest.mark.parametrize("content", [b"", b"no array", b"\x93NUMPY\x01\x00"])
def test_another_file_in_its_place_is_left_out(run, content):
    write_atomic(run.order("magnet-tiny", "p0"), content)
    assert not decoding_order.figures(load(run))


def test_an_array_that_is_no_order_is_left_out(run):
    for i, array in enumerate((np.zeros(3, np.uint16), np.zeros((2, 0), np.uint16), np.ones((2, 2)))):
        buffer = io.BytesIO()
        np.save(buffer, array)
        write_atomic(run.order("magnet-tiny", f"p{i}"), buffer.getvalue())
    assert not decoding_order.figures(load(run))


def test_the_section_is_there_where_there_is_a_record(run, tmp_path):
    def anchors(name):
        return re.findall(r'<h2 id="(\w+)"', html.build(run, tmp_path / name).read_text())

    assert "order" not in anchors("without.html")
    keep(run, "magnet-tiny", "p1", ORDER)
    assert "order" in anchors("with.html")
