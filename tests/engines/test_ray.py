"""Actors of a Ray cluster: the same bytes as this process makes, whatever happens to actors and nodes."""

import os
import threading
import time
from pathlib import Path

import pytest

from magnet_eval import engines
from magnet_eval.engines.ray import Actors
from magnet_eval.lookup import UserError
from magnet_eval.store import RunFolder

ray = pytest.importorskip("ray", reason="needs the extra: pip install 'magnet-eval[ray]'")
CPUS = 4


@pytest.fixture(scope="module")
def cluster():
    """A cluster on this machine, with more CPUs than it has. Its workers import from where this process does."""
    with pytest.MonkeyPatch.context() as patch:
        for folder in (Path(__file__).parents[1], Path(__file__).parent):
            patch.syspath_prepend(str(folder))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        ray.init("local", num_cpus=CPUS, include_dashboard=False, log_to_driver=False)
        yield
        ray.shutdown()


def test_two_actors_make_the_same_files_as_this_process(cluster, world):
    _, files, failures = world("local")
    assert world("ray", "ray", 2)[1:] == (files, failures)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 4])
def test_one_and_four_actors_do_too(cluster, world, workers):
    _, files, failures = world("local")
    assert world("ray", "ray", workers)[1:] == (files, failures)


@pytest.mark.slow
def test_a_run_begun_here_and_ended_on_ray_is_the_same(cluster, world, tmp_path):
    folder, files, failures = world("whole")
    half = tmp_path / "half" / "fake-v1" / "plain"
    half.mkdir(parents=True)
    (half / "audio").mkdir()
    lines = (folder.path / "plain" / "clips.jsonl").read_text().splitlines(keepends=True)
    (half / "clips.jsonl").write_text("".join(lines[3:7]))
    for clip in folder.clips("plain")[3:7]:
        (half.parent / clip.path).write_bytes((folder.path / clip.path).read_bytes())
    assert world("half", "ray", 2)[1:] == (files, failures)


def test_a_killed_actor_costs_nothing(cluster, world, deadly, caplog):
    _, files, failures = world("killed", "ray", 2, systems=[deadly(once=True)])
    assert "is gone while it works: Ray says: its worker process has died" in caplog.text
    assert not failures
    assert files == world("unharmed", systems=[deadly(once=True)])[1]


@pytest.mark.slow
def test_a_clip_that_kills_every_actor_is_named(cluster, world, deadly):
    folder, _, failures = world("deadly", "ray", 2, systems=[deadly(once=False)])
    assert [row["prompt_id"] for row in failures] == ["p02", "p03"]
    assert "\n" not in failures[0]["reason"] and failures[0]["reason"].startswith("3 workers died of it")
    assert len(folder.clips("fragile")) == 10


@pytest.mark.slow
def test_errors_come_home_and_actors_have_the_parents_threads_and_folder(cluster, tmp_path, monkeypatch):
    import engine_fakes
    import torch

    monkeypatch.chdir(tmp_path)
    with pytest.raises(KeyError, match="boom"):
        list(engines.build("ray", 2).map(engine_fakes.square, [1, "boom"], "cpu"))
    seen = [answer for _, answer in engines.build("ray", 2).map(engine_fakes.where, range(6), "auto")]
    assert len({pid for pid, *_ in seen} - {os.getpid()}) == 2
    assert {rest[1:] for rest in seen} == {("auto", torch.get_num_threads(), str(tmp_path))}


@pytest.mark.slow
def test_more_actors_than_the_cluster_has_room_for_do_not_hold_it_up(cluster, fakes_on_path):
    import engine_fakes

    done = dict(engines.build("ray", CPUS + 3).map(engine_fakes.square, range(40), "cpu"))
    assert done == {i: i * i for i in range(40)}


def test_what_ray_cannot_give_is_said(cluster, fakes_on_path, caplog, monkeypatch):
    import engine_fakes

    with pytest.raises(UserError, match="chooses the GPUs itself, got device=cuda:1"):
        list(engines.build("ray", 1).map(engine_fakes.square, [1], "cuda:1"))
    monkeypatch.setattr("magnet_eval.engines.ray.PATIENCE", 0.2)
    crew = Actors(engine_fakes.square, "cuda", num_gpus=1)
    member = crew.start(0)
    threading.Timer(1.0, crew.stop, [member]).start()
    crew.wait([member])
    assert "no worker has loaded yet; each needs {'num_gpus': 1" in caplog.text


@pytest.mark.slow
def test_a_trained_model_gives_the_same_bytes(cluster, world):
    _, files, _ = world("here", systems=["magnet-tiny"])
    assert world("there", "ray", 2, systems=["magnet-tiny"])[1] == files


@pytest.mark.slow
@pytest.mark.parametrize("address", ["127.0.0.1:1", "auto"])
def test_a_cluster_that_is_not_there_is_said_at_once(world, monkeypatch, address):
    from ray._private.services import find_gcs_addresses

    ray.shutdown()
    until = time.monotonic() + 30
    while find_gcs_addresses() and time.monotonic() < until:  # one that is just ending would be waited for
        time.sleep(0.2)
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(UserError, match=f"no Ray cluster at RAY_ADDRESS={address}"):
        world("results", "ray", 1)


@pytest.mark.slow
def test_a_node_that_is_lost_costs_nothing(world, monkeypatch, caplog):
    """Two nodes beside the head; one is killed as the first clips arrive."""
    from ray.cluster_utils import Cluster

    ray.shutdown()
    _, files, failures = world("local")
    monkeypatch.setenv("FAKE_SECONDS", "0.5")
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    doomed = [nodes.add_node(num_cpus=2), nodes.add_node(num_cpus=2)][:1]
    append = RunFolder.append_clips

    def append_and_kill(self, system, clips):
        append(self, system, clips)
        if doomed:
            nodes.remove_node(doomed.pop(), allow_graceful=False)

    monkeypatch.setattr(RunFolder, "append_clips", append_and_kill)
    try:
        monkeypatch.setenv("RAY_ADDRESS", nodes.address)
        assert world("lost", "ray", 4)[1:] == (files, failures)
    finally:
        ray.shutdown()
        nodes.shutdown()
    assert not doomed and "is gone while it works: Ray says: " in caplog.text
