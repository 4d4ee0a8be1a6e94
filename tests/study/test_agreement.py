"""Agreement of raters: worked examples, other people's packages, and tables with holes."""

import numpy as np
import pytest

from magnet_eval.records import Rating
from magnet_eval.study.analysis.agreement import alpha, consistency, icc, rank_correlation, split_half

SHROUT_FLEISS = np.array([[9, 6, 8, 7, 10, 6], [2, 1, 4, 1, 5, 2], [5, 3, 6, 2, 6, 4], [8, 2, 8, 6, 9, 7]], dtype=float)
NAN = np.nan
KRIPPENDORFF = np.array(  # the worked example of "Computing Krippendorff's alpha-reliability": interval alpha 0.849
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
        [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
    ]
)


def holes(seed=0, size=(6, 15), share=0.3):
    rng = np.random.default_rng(seed)
    table = rng.normal(0, 8, (1, size[1])) + rng.normal(0, 3, (size[0], 1)) + rng.normal(0, 5, size)
    table[rng.random(size) < share] = NAN
    return table


def test_icc_of_the_published_example():
    """Shrout and Fleiss (1979), table 2: ICC(2,1) = 0.29, ICC(2,4) = 0.62."""
    single, mean, k = icc(SHROUT_FLEISS)
    assert (round(single, 2), round(mean, 2), k) == (0.29, 0.62, 4)


def test_alpha_of_the_published_example():
    assert alpha(KRIPPENDORFF) == pytest.approx(0.849, abs=5e-4)


def test_alpha_is_one_for_perfect_agreement_and_about_zero_for_none():
    table = np.tile(np.arange(10.0), (3, 1))
    assert alpha(table) == 1
    assert abs(alpha(np.random.default_rng(0).normal(size=(20, 200)))) < 0.02


def test_alpha_and_icc_do_not_depend_on_the_scale():
    table = holes()
    assert alpha(3 * table + 40) == pytest.approx(alpha(table))
    assert icc(3 * table + 40) == pytest.approx(icc(table))


def test_a_bias_of_raters_lowers_absolute_agreement():
    clips = np.arange(10.0)
    assert icc(np.stack([clips, clips]))[0] == pytest.approx(1)
    assert icc(np.stack([clips, clips + 5]))[0] < 0.6


def test_icc_with_holes_is_near_that_without():
    rng = np.random.default_rng(0)
    table = rng.normal(0, 6, (1, 400)) + rng.normal(0, 4, (40, 1)) + rng.normal(0, 8, (40, 400))
    whole = icc(table)[0]
    table[rng.random(table.shape) < 0.6] = NAN
    assert icc(table)[0] == pytest.approx(whole, abs=0.03)


@pytest.mark.parametrize("table", [np.full((3, 4), NAN), np.array([[1.0, NAN], [NAN, 2.0]]), np.full((3, 4), 7.0)])
def test_nothing_to_compare(table):
    assert alpha(table) is None
    assert icc(table) is None


def test_alpha_beside_the_package():
    package = pytest.importorskip("krippendorff")
    for seed in range(5):
        table = holes(seed)
        assert alpha(table) == pytest.approx(package.alpha(table, level_of_measurement="interval"))


def test_icc_beside_the_package():
    package, pandas = pytest.importorskip("pingouin"), pytest.importorskip("pandas")
    table = holes(share=0)
    long = pandas.DataFrame(
        [(rater, clip, value) for rater, row in enumerate(table) for clip, value in enumerate(row)],
        columns=["rater", "clip", "value"],
    )
    found = package.intraclass_corr(long, "clip", "rater", "value")
    values = found.set_index(found["Type"].str.replace("(", "").str.replace(",", "").str.replace(")", ""))["ICC"]
    single = values.get("ICC2", values.get("ICCA1"))
    mean = values.get("ICC2k", values.get("ICCAk"))
    assert icc(table)[:2] == pytest.approx((single, mean))


def test_split_half():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(4), 10)
    agreed = 10.0 * groups + rng.normal(0, 1, (8, 40))
    assert split_half(agreed, groups, rng) == pytest.approx(1)
    assert abs(split_half(rng.normal(size=(8, 40)), np.arange(40), rng)) < 0.25
    assert split_half(agreed[:3], groups, rng) is None
    assert split_half(agreed[:, :20], groups[:20], rng) is None  # two systems


def test_rank_correlation():
    assert rank_correlation(np.array([1.0, 2, NAN, 3]), np.array([10.0, 20, 0, 1000])) == pytest.approx(1)
    assert rank_correlation(np.array([1.0, 1, 1]), np.array([1.0, 2, 3])) is None
    assert rank_correlation(np.array([1.0, 2]), np.array([1.0, 2])) is None
    from scipy.stats import spearmanr

    x, y = np.random.default_rng(0).integers(0, 5, (2, 30)).astype(float)
    assert rank_correlation(x, y) == pytest.approx(spearmanr(x, y).statistic)


def test_consistency_of_repeats():
    first = [Rating("s", "a", "ovl", "x", f"p{i}", "system", 10.0 * i, stimulus_id=f"s{i}") for i in range(4)]
    again = [
        Rating("s", "a", "ovl", "x", f"p{i}", "repeat", 10.0 * i + 4, stimulus_id=f"t{i}", repeat_of=f"s{i}")
        for i in range(4)
    ]
    lost = Rating("s", "b", "ovl", "x", "p0", "repeat", 3.0, stimulus_id="t0", repeat_of="s0")  # b never gave a first
    found = consistency([*first, *again, lost], "ovl")
    assert (found.n, found.mean_distance, found.correlation) == (4, 4.0, pytest.approx(1))
    assert consistency(first, "ovl") is None
