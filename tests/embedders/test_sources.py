"""Which file an embedder's weights are: by name, path or hub id, by its hash, and whether it is the published one."""

import hashlib
from dataclasses import replace

import pytest

from magnet_eval import config, embedders, metric_checks, zoo
from magnet_eval.embedders import sources
from magnet_eval.lookup import UserError


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A file that stands for VGGish's, where it is looked for."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "models" / "embedders" / "vggish-10086976.pth"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"weights")
    return path


def sha(content=b"weights"):
    return hashlib.sha256(content).hexdigest()


def test_a_hub_id_is_looked_for_in_the_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(zoo, "cached", lambda name: tmp_path if name == "lukewys/foo" else None)
    assert sources.place_of("lukewys/foo") == tmp_path
    with pytest.raises(UserError, match="the weights lukewys/bar are not here. Get it: hf download lukewys/bar"):
        sources.place_of("lukewys/bar")
    assert "hf download lukewys/bar" in embedders.missing("passt", {"weights": "lukewys/bar"})


def test_names_come_before_paths_and_paths_before_hub_ids(weights, tmp_path):
    assert sources.place_of("vggish") == weights
    assert sources.place_of(str(weights)) == weights
    (tmp_path / "owner").mkdir()
    (tmp_path / "owner" / "name").write_bytes(b"")
    assert sources.place_of("owner/name").read_bytes() == b""


def test_standing(monkeypatch):
    assert sources.standing("vggish", {"x.pth": sha()}) == "other"
    monkeypatch.setitem(sources.SOURCES, "vggish", replace(sources.SOURCES["vggish"], sha256=sha()))
    assert sources.standing("vggish", {"x.pth": sha()}) == "published"
    assert sources.standing("passt-20s", {"x.pt": sha()}) == "unconfirmed"  # no hash of it is known
    assert sources.standing("", {"x.pt": sha()}) == ""


@pytest.mark.parametrize(
    ("given", "fits"), [(sha(), True), (sha()[:8].upper(), True), (sha()[:7], False), ("0" * 64, False)]
)
def test_a_hash_that_a_protocol_asks_for(weights, given, fits):
    protocol = config.Protocol(
        version=1, name="x", systems=[config.System("magnet-tiny")],
        metrics={"fad_vggish": config.MetricChoice(sha256=given)},
    )  # fmt: skip
    if fits:
        metric_checks.check(protocol)
    else:
        with pytest.raises(UserError, match="fad_vggish .* has sha256 .* the protocol asks for"):
            metric_checks.check(protocol)


def test_a_hash_of_a_folder_is_refused(tmp_path):
    assert "is a folder" in sources.mismatch(tmp_path, "0" * 64)
