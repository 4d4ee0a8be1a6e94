"""Who is compared with whom, and when there are too many pairs for any difference to show."""

import hashlib
from itertools import combinations

import pytest

from magnet_eval import config, metrics
from magnet_eval.ablation import Training, Variant
from magnet_eval.records import Clip, Prompt
from magnet_eval.scoring import Scorer
from magnet_eval.store import RunFolder


@pytest.fixture
def scorer(tmp_path):
    """A function from systems, a plan of training and controls to what scores them; each has one clip."""

    def make(systems=(), training=None, controls=()):
        folder = RunFolder(tmp_path / "run")
        protocol = config.Protocol(
            1, [config.System("any", label) for label in systems], training=training, model="any"
        )
        folder.write_prompts([Prompt("p", "a bell", 1.0)])
        families = {}
        for system in protocol.systems:
            path = folder.audio(system.label, "p")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(system.label.encode())
            digest, where = hashlib.sha256(path.read_bytes()).hexdigest(), str(path.relative_to(folder.path))
            folder.write_clips(system.label, [Clip("p", system.label, where, 8000, 10, 0, digest, "key")])
            families[system.label] = {"family": "codec" if system.label in controls else "masked"}
        folder.update_manifest(systems=families)
        return Scorer(protocol, folder, progress=None)

    return make


def test_every_two_systems_are_compared_and_a_control_with_the_first(scorer):
    found = scorer(["a", "b", "c", "real"], controls=["real"]).pairs()
    assert found == [("b", "a"), ("c", "a"), ("real", "a"), ("c", "b")]


def test_trained_variants_are_compared_at_the_same_seed(scorer):
    plan = Training({"x": Variant(), "y": Variant(span_len=1)}, seeds=[0, 7])
    found = scorer(["plain"], plan).pairs()
    assert {frozenset(pair) for pair in found if "plain" not in pair} == {
        frozenset({"x, seed 0", "y, seed 0"}),
        frozenset({"x, seed 7", "y, seed 7"}),
    }
    assert {label for label, versus in found if versus == "plain"} == {f"{v}, seed {n}" for v in "xy" for n in (0, 7)}


@pytest.mark.parametrize(("n_systems", "warns"), [(10, False), (11, True)])
def test_more_pairs_than_permutations_can_tell_apart(scorer, n_systems, warns):
    made, n_pairs = scorer(["a"]), len(list(combinations(range(n_systems), 2)))
    for name in ("fad_musicnn_tiny", "kad_musicnn_tiny", "clap_tiny"):
        made.warn_of_many(metrics.get(name), n_pairs)
    assert len(made.warnings) == warns  # once, for both metrics of sets
    if warns:
        assert "55 pairs" in made.warnings[0] and "no p is below 0.055" in made.warnings[0]
        assert made.warnings[0].endswith("name fewer systems")
