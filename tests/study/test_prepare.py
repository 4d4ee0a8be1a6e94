import json
import os
import shutil
import stat
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from magnet_eval import audio
from magnet_eval.lookup import UserError
from magnet_eval.records import Prompt
from magnet_eval.study import schema
from magnet_eval.study.options import PrepareOptions
from magnet_eval.study.packet import levels
from magnet_eval.study.packet.check import check, secrets_of
from magnet_eval.study.packet.prepare import prepare
from magnet_eval.study.packet.selection import balanced
from magnet_eval.study.schema import Folders

sys.path.insert(0, str(Path(__file__).parent))
from study_runs import RATE, SYSTEMS, make_run, noise, put_clip

RNG = np.random.default_rng(1)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs") / "noises-v1")


@pytest.fixture(scope="module")
def packets(run, tmp_path_factory):
    """A packet of each protocol: its folders, by protocol."""
    folder = tmp_path_factory.mktemp("packets")
    for method in schema.PROTOCOLS:
        made(run, folder / method, method=method)
    return {method: Folders.of(folder / method) for method in schema.PROTOCOLS}


@pytest.fixture
def packet(packets, tmp_path):
    """A copy of the multi_nr packet, to be spoilt."""
    source, folders = packets["multi_nr"], Folders.of(tmp_path / "study")
    shutil.copytree(source.study, folders.study)
    shutil.copytree(source.key, folders.key)
    return folders


def made(first_run, out, **changes):
    given = {"run": str(first_run.path), "out": str(out), "prompts": 4, "raters": 4, "salt": "salt", "repeats": 0.25}
    return prepare(PrepareOptions(**given | changes))


def own_run(tmp_path, **changes):
    return make_run(tmp_path / "own-v1", **changes)


@pytest.mark.parametrize("method", schema.PROTOCOLS)
def test_packets_fit_together_and_pass_the_check(packets, method):
    folders = packets[method]
    packet, key = schema.read_packet(folders), schema.read_key(folders)
    found = check(folders)
    assert found.n_stimuli == len(key.stimuli) and found.peak_dbtp <= levels.PEAK
    assert max(found.lufs) - min(found.lufs) < 0.05
    files = list((folders.study / "stimuli").glob("s_*.wav"))
    assert len(files) == len(key.stimuli) and len({path.stat().st_size for path in files}) == 1
    assert stat.S_IMODE(folders.key.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folders.key.iterdir()} == {0o600}
    pages = {page.page_id: page for page in packet.pages}
    for row in schema.read_assignments(folders):
        assert sorted(row.stimuli) == pages[row.page_id].stimuli
    assert schema.read_plan(folders).systems == list(SYSTEMS)


def test_what_a_page_of_each_protocol_shows(packets):
    def roles(method):
        folders = packets[method]
        key = schema.read_key(folders)
        pages = schema.read_packet(folders).pages
        return Counter(tuple(sorted(key.stimuli[name].system for name in page.stimuli)) for page in pages)

    systems = tuple(SYSTEMS)
    assert set(roles("multi_nr")) == {tuple(sorted((*systems, "gold", "anchor35")))}
    assert set(roles("mushra")) == {tuple(sorted((*systems, "reference", "anchor35")))}  # no 7 kHz anchor at 16 kHz
    assert ("anchor35", "gold") in roles("ab") and (systems[0], systems[1]) in roles("ab")
    assert {(name,) for name in (*systems, "gold", "anchor35")} == set(roles("acr"))


def test_the_open_reference_is_not_rated_and_is_the_hidden_one(packets):
    folders = packets["mushra"]
    key, packet = schema.read_key(folders), schema.read_packet(folders)
    for page in packet.pages:
        hidden = [name for name in page.stimuli if key.stimuli[name].system == "reference"]
        assert len(hidden) == 1 and page.reference not in page.stimuli
        first, second = (folders.study / "stimuli" / f"{name}.wav" for name in (hidden[0], page.reference))
        assert first.read_bytes() == second.read_bytes()


def test_prompts_are_shown_where_the_question_needs_them(packets):
    packet = schema.read_packet(packets["multi_nr"])
    shown = {page.pass_id: set() for page in packet.pages}
    for page in packet.pages:
        shown[page.pass_id].add(bool(page.prompt_text))
    assert shown == {"p1": {False}, "p2": {True}}


def test_ids_are_fresh_on_every_page(packets):
    for folders in packets.values():
        packet = schema.read_packet(folders)
        ids = [name for page in packet.pages for name in schema.stimuli_of(page)]
        assert len(set(ids)) == len(ids)


def test_repeats_point_at_what_they_repeat(packets):
    for folders in packets.values():
        stimuli = schema.read_key(folders).stimuli
        repeats = [entry for entry in stimuli.values() if entry.role == "repeat"]
        assert repeats
        for entry in repeats:
            first = stimuli[entry.repeat_of]
            assert (first.system, first.prompt_id, first.sha256) == (entry.system, entry.prompt_id, entry.sha256)
            assert first.role != "repeat" and first.page_id != entry.page_id


def test_practice_is_with_a_prompt_that_does_not_count(packets):
    for folders in packets.values():
        packet, stimuli = schema.read_packet(folders), schema.read_key(folders).stimuli
        prompts = {True: set(), False: set()}
        for page in packet.pages:
            prompts[page.training] |= {stimuli[name].prompt_id for name in page.stimuli}
        assert len(prompts[True]) == 1 and len(prompts[False]) == 4 and not prompts[True] & prompts[False]


def test_gains_are_logged_and_bring_the_source_to_what_is_heard(packets):
    folders = packets["multi_nr"]
    packet, key = schema.read_packet(folders), schema.read_key(folders)
    for name, entry in key.stimuli.items():
        if entry.role == "system":
            source = audio.read(entry.source)[0]
            heard = audio.read(folders.study / "stimuli" / f"{name}.wav")[0]
            inner = slice(200, packet.audio.n_samples - 200)
            assert np.allclose(heard[:, inner], source[:, inner] * 10 ** (entry.gain_db / 20), atol=1e-4)


def test_the_same_salt_and_seed_give_the_same_packet(run, packets, tmp_path):
    made(run, tmp_path / "again")
    first, again = packets["multi_nr"].study, tmp_path / "again"
    names = {path.relative_to(first) for path in first.rglob("*") if path.is_file()}
    assert names == {path.relative_to(again) for path in again.rglob("*") if path.is_file()}
    assert all((first / name).read_bytes() == (again / name).read_bytes() for name in names)
    made(run, tmp_path / "other", salt=None)
    assert not {path.name for path in (tmp_path / "other" / "stimuli").iterdir()} & {path.name for path in names}


def test_prompts_are_drawn_fairly_from_genres():
    prompts = [Prompt(f"{style}-{i}", "text", 1.0, {"genre": style}) for style in "abc" for i in range(20)]
    for n in (3, 9, 30):
        drawn = balanced(prompts, np.random.default_rng(0))[:n]
        assert set(Counter(prompt.tags["genre"] for prompt in drawn).values()) == {n // 3}
    assert balanced(prompts, np.random.default_rng(0)) != balanced(prompts, np.random.default_rng(1))
    split = [Prompt(f"{i}", "text", 1.0, {"split": "balanced" if i % 4 == 0 else "eval"}) for i in range(40)]
    assert {prompt.tags["split"] for prompt in balanced(split, np.random.default_rng(0))[:10]} == {"balanced"}


def test_two_runs_share_their_prompts(run, tmp_path):
    other = make_run(tmp_path / "elsewhere-v1", systems=("delta-net",), prompts=5)
    packet, plan = made(
        run, tmp_path / "study", run=[str(run.path), str(other.path)], systems=["alpha-net", "delta-net"]
    )
    assert plan.systems == ["alpha-net", "delta-net"]
    assert len({entry.prompt_id for entry in schema.read_key(Folders.of(tmp_path / "study")).stimuli.values()}) == 5


def test_the_plan_finds_its_runs_from_anywhere_and_listeners_do_not_get_the_path(run, tmp_path, monkeypatch):
    monkeypatch.chdir(run.path.parent)
    _, plan = made(run, tmp_path / "study", run=run.path.name)
    assert plan.runs == [str(run.path)]
    shown = (tmp_path / "study" / "packet.json").read_text(encoding="utf-8")
    assert run.path.name not in shown and str(run.path.parent) not in shown


def test_nothing_is_left_where_a_study_cannot_be_made(run, tmp_path):
    with pytest.raises(UserError):
        made(run, tmp_path / "study", systems=["alpha-net", "no such"])
    with pytest.raises(UserError, match="prompt to leave out"):
        made(run, tmp_path / "study", leave_out=["prompt-99"])
    assert not list(tmp_path.iterdir())
    made(run, tmp_path / "study")
    with pytest.raises(UserError, match="is there already"):
        made(run, tmp_path / "study")
    check(Folders.of(tmp_path / "study"))


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda run: run.audio("beta-net", "prompt-01").unlink(), "beta-net, prompt prompt-01: no audio file"),
        (lambda run: audio.write(run.audio("beta-net", "prompt-01"), noise(RNG, 1, RATE, 0.1), RATE), "was changed"),
        (lambda run: put_clip(run, "beta-net", "prompt-01", np.zeros((1, RATE))), "beta-net, prompt .*-01 is silent"),
        (lambda run: put_clip(run, "beta-net", "prompt-01", noise(RNG, 0.5, RATE, 0.1)), "beta-net.*is 0.50 s long"),
        (lambda run: put_clip(run, "beta-net", "prompt-01", noise(RNG, 0.05, RATE, 0.1)), "beta-net.*is 0.05 s long"),
    ],
)  # fmt: skip
def test_a_clip_that_cannot_be_heard_is_named(tmp_path, spoil, message):
    run = own_run(tmp_path)
    spoil(run)
    with pytest.raises(UserError, match=message):
        made(run, tmp_path / "study", prompts=6)
    made(run, tmp_path / "study", prompts=6, leave_out=["prompt-01"])


def test_a_clipped_clip_stays_as_it_is_and_is_reported(tmp_path, caplog):
    run = own_run(tmp_path)
    put_clip(run, "beta-net", "prompt-01", np.clip(noise(RNG, 1, RATE, 3.0), -1, 1))
    made(run, tmp_path / "study", prompts=6)
    assert "1 clips of beta-net were clipped" in caplog.text


def test_prompts_that_a_system_lacks_are_not_drawn(tmp_path, caplog):
    run = own_run(tmp_path)
    run.write_clips("gamma-net", run.clips("gamma-net")[1:])
    made(run, tmp_path / "study", prompts=6)
    key = schema.read_key(Folders.of(tmp_path / "study"))
    assert "prompt-00" not in {entry.prompt_id for entry in key.stimuli.values()}
    assert "alpha-net: 5 of its 6 clips count" in caplog.text and "only 5 prompts" in caplog.text


def test_without_real_clips_there_is_no_gold_and_no_mushra(tmp_path):
    run = own_run(tmp_path, real=False)
    packet, _ = made(run, tmp_path / "study")
    assert {len(page.stimuli) for page in packet.pages} == {3}
    with pytest.raises(UserError, match="two prompts with a real clip"):
        made(run, tmp_path / "mushra", method="mushra")


def test_controls_that_make_no_sense_are_refused(run, tmp_path):
    with pytest.raises(UserError, match="anchor70 makes no sense at 16000 Hz"):
        made(run, tmp_path / "study", controls=["anchor70"])
    with pytest.raises(UserError, match="hidden reference for its gold"):
        made(run, tmp_path / "study", method="mushra", controls=["gold"])
    packet, _ = made(run, tmp_path / "study", controls=[])
    assert {len(page.stimuli) for page in packet.pages} == {3}


def test_questions_of_ones_own(run, tmp_path):
    own = tmp_path / "own.yaml"
    own.write_text(
        'dimensions:\n  fun: {question: {en: "How much fun is it?"}, scale: ten}\n'
        "scales:\n  ten: {ends: [0, 10], step: 1, labels: {en: [a, b, c, d, e]}}\nconsent: {en: Agreed.}\n"
    )
    packet, plan = made(run, tmp_path / "study", questions=str(own), dimensions=["fun"])
    assert packet.dimensions[0].scale == [0, 10] and packet.languages == ["en"] and packet.consent == {"en": "Agreed."}
    assert plan.margin == 0.5
    own.write_text("dimensions: {fun: {question: {en: x}, colour: red}}")
    with pytest.raises(UserError, match="own.yaml: unknown key 'dimensions.fun.colour'"):
        made(run, tmp_path / "other", questions=str(own))


# the leak check


def rewritten(path, change):
    """Changes a file and leaves its date, as a careful leak would."""
    before = path.stat()
    path.write_bytes(change(path.read_bytes()))
    os.utime(path, (before.st_atime, before.st_mtime))


def first_wav(folders):
    return sorted((folders.study / "stimuli").glob("s_*.wav"))[0]


def with_sums(folders):
    """SHA256SUMS made again, so that only the leak itself is left to find."""
    from magnet_eval.store import file_hash
    from magnet_eval.study.packet.sounds import MTIME

    path = folders.study / "SHA256SUMS"
    names = [line.split("  ")[1] for line in path.read_text().splitlines()]
    path.write_text("".join(f"{file_hash(folders.study / name)}  {name}\n" for name in names))
    os.utime(path, (MTIME, MTIME))


def edit_json(folders, change, name="packet.json"):
    def changed(content):
        values = json.loads(content)
        change(values)
        return json.dumps(values).encode()

    rewritten(folders.study / name, changed)


def louder(content):
    samples = np.frombuffer(content[44:], "<i2").astype(float)
    return content[:44] + (samples * 0.8).astype("<i2").tobytes()


def tagged(content):
    return content[:36] + b"LIST" + content[40:]


LEAKS = {
    "another size": (lambda f: rewritten(first_wav(f), lambda x: x + b"\0\0"), "bytes, .* are right"),
    "another header": (lambda f: rewritten(first_wav(f), tagged), "carries metadata"),
    "another rate": (lambda f: rewritten(first_wav(f), lambda x: x[:24] + b"\x44\xac\0\0" + x[28:]), "another header"),
    "another level": (lambda f: rewritten(first_wav(f), louder), "LUFS, the packet says"),
    "a date": (lambda f: os.utime(first_wav(f), (1.7e9, 1.7e9)), "a date of its own"),
    "another file": (lambda f: (f.study / "notes.txt").write_text("x"), "notes.txt does not belong"),
    "a missing file": (lambda f: first_wav(f).unlink(), "is missing"),
    "a system in the title": (lambda f: edit_json(f, lambda p: p.update(title="Is Beta-Net good?")), "'Beta-Net'"),
    "a part of a label in the title": (lambda f: edit_json(f, lambda p: p.update(title="GAMMA2?")), "title.*'gamma'"),
    "a part of a label in the consent": (lambda f: edit_json(f, lambda p: p["consent"].update(en="Alpha?")), "'alpha'"),
    "a prompt id": (lambda f: edit_json(f, lambda p: p["consent"].update(en="see prompt-03")), "'prompt-03'"),
    "a role": (lambda f: edit_json(f, lambda p: p.update(title="find the gold")), "'gold'"),
    "a prompt": (lambda f: edit_json(f, lambda p: [page.update(prompt_text="x") for page in p["pages"]]), "hides"),
    "an order": (lambda f: edit_json(f, lambda p: p["pages"].reverse()), "not in the order of their ids"),
    "a name in the page": (lambda f: rewritten(f.study / "index.html", lambda x: x + b"alpha-net"), "alpha-net"),
    "an open key": (lambda f: f.key.chmod(0o755), "chmod 700"),
    "another plan": (lambda f: (f.key / "plan.json").write_text((f.key / "plan.json").read_text() + " "), "plan.json"),
}  # fmt: skip


@pytest.mark.parametrize("leak", LEAKS)
def test_every_leak_is_found(packet, leak):
    spoil, message = LEAKS[leak]
    check(packet)
    spoil(packet)
    if leak != "a missing file":
        with_sums(packet)
    with pytest.raises(UserError, match=message):
        check(packet)


def test_a_part_of_a_label_that_every_study_says_is_no_leak(tmp_path):
    run = own_run(tmp_path, systems=("music-quality-net", "listening-waltz-net"))
    text = "A waltz in this listening test: is the music of quality?"
    made(run, tmp_path / "study", title=text)
    with pytest.raises(UserError, match="2 problems. the title has 'magnet' in it, a part .*the title has 'musicgen'"):
        other = own_run(tmp_path / "more", systems=("musicgen-tiny", "magnet_v2"))
        made(other, tmp_path / "other", title="MAGNeT against MusicGen")


def test_a_changed_file_is_not_as_its_sum_says(packet):
    rewritten(first_wav(packet), lambda content: content[:-2] + b"\1\0")
    with pytest.raises(UserError, match="not as SHA256SUMS says"):
        check(packet)


def test_all_leaks_are_said_at_once(packet):
    os.utime(first_wav(packet), (1.7e9, 1.7e9))
    (packet.study / "notes.txt").write_text("alpha-net")
    with pytest.raises(UserError, match="5 problems.*notes.txt does not belong.*alpha-net"):
        check(packet)


def test_a_changed_key_is_refused(packet):
    path = packet.key / "key.json"
    path.write_text(path.read_text().replace("alpha-net", "beta-net", 1))
    with pytest.raises(UserError, match="is not the key that study/packet.json was made with"):
        check(packet)


def test_unknown_and_damaged_packets_are_one_line(packet):
    edit_json(packet, lambda values: values.update(schema_version=2))
    with pytest.raises(UserError, match="schema_version 2; this magnet-eval reads 1"):
        check(packet)
    (packet.study / "packet.json").write_text("{")
    with pytest.raises(UserError, match="packet.json is damaged"):
        check(packet)
    with pytest.raises(UserError, match="Prepare a study first"):
        check(Folders.of(packet.study.parent / "none"))


def test_words_of_the_key_that_are_everywhere_are_not_looked_for(packets):
    key = schema.read_key(packets["mushra"])
    words = secrets_of(key, ["results/noises-v1"])
    assert {"alpha-net", "salt", "noises-v1", "gold", "anchor35"} <= words
    assert sum(word.startswith("prompt-") and "." not in word for word in words) == 5
    assert not {"reference", "repeat", "system", "0"} & words
