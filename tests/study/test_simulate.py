"""Synthetic raters: through the real server, with the effects that were planted."""

import dataclasses
from collections import defaultdict

import numpy as np
import pytest

from magnet_eval.lookup import UserError
from magnet_eval.progress import silent
from magnet_eval.study import schema, verbs
from magnet_eval.study.options import ImportOptions, PrepareOptions, ServeOptions, SimulateOptions, WithdrawOptions
from magnet_eval.study.schema import Dimension, Key, Stimulus
from magnet_eval.study.server.serving import running, site_of
from magnet_eval.study.server.simulate import Client, Ears, on_scale, preference, simulate

QUIET = {f"{name}_sd": 0.0 for name in ("rater", "item", "system_item", "rater_system", "residual")}


def by_system(study):
    """Scores of the rehearsal."""
    folders = schema.Folders.of(study).rehearsed()
    key, scores = schema.read_key(folders), defaultdict(list)
    for row in site_of(str(folders)).answers.rows():
        scores[key.stimuli[row["stimulus_id"]].system].append(row["score"])
    return scores


def test_planted_effects_come_out_of_the_answers(hand_packet):
    study = str(hand_packet(prompts=3))
    text = verbs.simulate(SimulateOptions(study, raters=5, effects={"two": 8, "three": -20}, **QUIET))
    assert text.startswith("5 synthetic raters took part")
    scores = by_system(study)
    assert {name: set(found) for name, found in scores.items()} == {"one": {55}, "two": {63}, "three": {35}}
    assert {len(found) for found in scores.values()} == {5 * 3 * 2}
    assert all(one["finished"] for one in site_of(f"{study}.rehearsal").answers.sessions())


def test_a_rehearsal_is_apart_from_people(hand_packet):
    study = hand_packet(prompts=1)
    text = verbs.simulate(SimulateOptions(str(study), raters=2))
    assert text.endswith(f"study import study={study}.rehearsal")
    people = site_of(str(study)).answers
    assert people.sessions() == [] and people.begin({"language": "en"})["slot"] == 0
    verbs.take_in(ImportOptions(f"{study}.rehearsal"))
    folders = schema.Folders.of(f"{study}.rehearsal")
    assert folders == schema.Folders.of(study).rehearsed() and (folders.key, folders.study) == (
        schema.Folders.of(study).key,
        study,
    )
    assert folders.responses == study.with_name("study.rehearsal") and (folders.responses / "ratings.jsonl").is_file()
    assert folders.analysis == study.with_name("study.rehearsal.analysis")
    assert not (schema.Folders.of(study).responses / "ratings.jsonl").exists()
    verbs.simulate(SimulateOptions(str(study), raters=1))
    assert len(site_of(f"{study}.rehearsal").answers.sessions()) == 1, "in place of the earlier ones"
    assert not (folders.responses / "ratings.jsonl").exists()


def test_synthetic_raters_do_not_go_where_people_are_asked(hand_packet):
    study = str(hand_packet(prompts=1))
    people, rehearsal = site_of(study), site_of(f"{study}.rehearsal")
    with running(people) as url, pytest.raises(UserError, match="study serve study=.*study.rehearsal"):
        verbs.simulate(SimulateOptions(study, raters=1, url=f"{url}/"))
    assert people.answers.sessions() == []
    with running(rehearsal) as url:
        for _ in range(2):
            verbs.simulate(SimulateOptions(study, raters=1, url=f"{url}/"))
    assert len(rehearsal.answers.sessions()) == 2


def test_the_same_seed_hears_the_same(hand_packet, tmp_path):
    study = str(hand_packet(prompts=1))
    verbs.simulate(SimulateOptions(study, raters=4, careless=1))
    first = by_system(study)
    verbs.simulate(SimulateOptions(study, raters=4, careless=1))
    again = by_system(study)
    assert {name: sorted(found) for name, found in first.items()} == {
        name: sorted(found) for name, found in again.items()
    }


@pytest.mark.parametrize(
    ("protocol", "allowed"), [("ab", {0, 50, 100}), ("acr", {1, 2, 3, 4, 5}), ("mushra", set(range(101)))]
)
def test_every_protocol_can_be_rehearsed(hand_packet, protocol, allowed):
    study = str(hand_packet(protocol=protocol))
    verbs.simulate(SimulateOptions(study, raters=6))
    assert {score for found in by_system(study).values() for score in found} <= allowed


@pytest.mark.parametrize("part", [name.removesuffix("_sd") for name in QUIET])
def test_each_spread_is_the_one_that_was_asked_for(part):
    stimuli = {
        f"s_{system}_{prompt}": Stimulus(system, str(prompt), "system", "p", "", "", 0.0, 0)
        for system in ("one", "two")
        for prompt in range(60)
    }
    options = SimulateOptions(**{**QUIET, f"{part}_sd": 6.0})
    key = Key("test", "", 0, "", stimuli)
    values = np.array(
        [
            [[ears.points(f"s_{system}_{prompt}", "ovl") for prompt in range(60)] for system in ("one", "two")]
            for ears in (Ears(key, None, options, rater, False) for rater in range(60))
        ]
    )  # rater, system, prompt
    axes = {"rater": (1, 2), "item": (0, 1), "system_item": (0,), "rater_system": (2,), "residual": ()}[part]
    means = values.mean(axis=axes) if axes else values
    assert np.isclose(means.std(), values.std()), "it varies with nothing else"
    assert abs(means.std() - 6) < 1.5


def test_scores_lie_on_the_scale():
    mos = Dimension("ovl", {}, [1.0, 5.0], 1.0, {}, False)
    assert [on_scale(points, mos) for points in (-50, 0, 49, 87.6, 1e9)] == [1, 1, 3, 5, 5]
    assert [preference([50, 57]), preference([57, 50]), preference([50, 53])] == [[0, 100], [100, 0], [50, 50]]


def test_a_repeat_sounds_as_what_it_repeats():
    entries = {"s_1": ("one", "system", None), "s_2": ("gold", "gold", None), "s_3": ("gold", "repeat", "s_2")}
    stimuli = {
        name: Stimulus(system, "p", role, "p", "", "", 0.0, 0, first) for name, (system, role, first) in entries.items()
    }
    key = Key("test", "", 0, "", stimuli)
    ears = Ears(key, None, SimulateOptions(**QUIET), 0, False)
    assert [ears.points(name, "ovl") for name in stimuli] == [55, 88, 88]
    with pytest.raises(UserError, match="unknown system 'gold'"):
        simulate(None, key, SimulateOptions(effects={"gold": 3.0}), "http://127.0.0.1:9", silent)


def test_an_unknown_system_or_server_is_a_line(hand_packet):
    study = str(hand_packet())
    with pytest.raises(UserError, match="unknown system 'thre'. Did you mean three"):
        verbs.simulate(SimulateOptions(study, effects={"thre": 8.0}))
    with pytest.raises(UserError, match="Is study serve running"):
        Client("http://127.0.0.1:9", patience=0).send("POST", "/api/session", {})
    with pytest.raises(UserError, match="url must be"):
        Client("ftp://x")


def test_withdrawing_by_the_verb(hand_packet):
    study = str(hand_packet())
    verbs.simulate(SimulateOptions(study, raters=2))
    rehearsal = f"{study}.rehearsal"
    first = site_of(rehearsal).answers.sessions()[0]["session"]
    assert verbs.withdraw(WithdrawOptions(rehearsal, first)).startswith("4 pages deleted")
    assert first not in {row["session"] for row in site_of(rehearsal).answers.rows()}
    with pytest.raises(UserError, match="code=CODE"):
        WithdrawOptions(study)


@pytest.mark.parametrize("wrong", [{"raters": 0}, {"careless": 21}, {"rater_sd": -1.0}, {"seed": -1}])
def test_wrong_options_are_refused(wrong):
    with pytest.raises(UserError):
        SimulateOptions(**wrong)
    with pytest.raises(UserError):
        dataclasses.replace(ServeOptions(), port=70_000)


def test_no_study_is_called_as_a_rehearsal():
    with pytest.raises(UserError, match=r"out=a\.rehearsal is the name of a rehearsal"):
        PrepareOptions(run="results/q-v1", out="a.rehearsal")
