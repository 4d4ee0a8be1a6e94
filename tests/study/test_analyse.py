"""From ratings on disk to what they say: planted effects are found, and nothing a stranger typed does harm."""

import contextlib
import csv
import html
import io
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from magnet_eval.cli import main
from magnet_eval.lookup import UserError
from magnet_eval.records import ClipScore, Rating, Score, read_jsonl, to_jsonl
from magnet_eval.store import RunFolder
from magnet_eval.study import schema
from magnet_eval.study.analysis import correlation, figures, grid, output, rows, words
from magnet_eval.study.analysis.analyse import Settings, analyse

HOSTILE = "<script>alert(1)</script>&'\"%\u2603"
EFFECTS = {"one": 50.0, "two": 50.0, "three": 62.0}


def made(seed=0, raters=14, prompts=12, effects=EFFECTS, questions=("ovl",), careless=1, per_rater=None):
    """Answers with a gold clip on every page; the first raters are careless."""
    rng, found = np.random.default_rng(seed), []
    for question in questions:
        lenient, easy = rng.normal(0, 8, raters), rng.normal(0, 6, prompts)
        for r in range(raters):
            pages = rng.permutation(prompts)[:per_rater]
            for page_no, p in enumerate(pages):
                order = rng.permutation([*effects, "gold"])
                for position, system in enumerate(order):
                    value = rng.normal(effects.get(system, 95), 5) + (lenient[r] + easy[p]) * (system in effects)
                    value = rng.uniform(0, 100) if r < careless else value
                    role = "system" if system in effects else "gold"
                    found.append(
                        Rating(
                            "st", f"r{r:02}", question, str(system), f"p{p:02}", role,
                            float(np.clip(value, 0, 100)), f"{question}{p}", page_no, position, 1, True,
                            f"s_{question}{p:02}{system}",
                        )
                    )  # fmt: skip
    return found


SETTINGS = Settings("st", systems=tuple(EFFECTS), margin=4.0)


@pytest.fixture(scope="module")
def analysis():
    return analyse(made(questions=("ovl", "rel")), [], SETTINGS)


def pair(found, system, versus, dimension="ovl"):
    (row,) = [
        row for row in found.comparisons if (row.dimension, row.system, row.versus) == (dimension, system, versus)
    ]
    return row


def test_planted_difference_and_planted_equality_are_found(analysis):
    assert pair(analysis.kept, "one", "two").verdict == "equivalent"
    for other in ("one", "two"):
        row = pair(analysis.kept, other, "three")
        assert row.verdict == "lower" and row.low < -12 < row.high and row.p_adjusted < 0.001
    text = " ".join(words.sentences(analysis))
    assert "three is rated higher than one by" in text
    assert "one and two are equivalent" in text


def test_who_is_left_out_and_what_that_changes(analysis):
    assert analysis.dropped == {"r00"}
    assert (analysis.kept.raters, analysis.everyone.raters) == (13, 14)
    kept, everyone = ({(r.dimension, r.system): r for r in x.conditions} for x in (analysis.kept, analysis.everyone))
    assert kept["ovl", "gold"].mean > everyone["ovl", "gold"].mean
    assert [row.system for row in analysis.kept.conditions if row.dimension == "ovl"] == ["one", "two", "three", "gold"]


def test_p_values_are_adjusted_over_all_questions(analysis):
    rows_ = analysis.kept.comparisons
    assert len(rows_) == 6  # 3 pairs x 2 questions
    best = min(rows_, key=lambda row: row.p_value)
    assert best.p_adjusted == pytest.approx(6 * best.p_value)


def test_holes_and_uneven_numbers_of_answers():
    """Each rater heard 5 of 12 prompts; a tenth of the answers is missing; one rater answered once."""
    rng = np.random.default_rng(0)
    ratings = [row for row in made(raters=20, per_rater=5) if rng.random() > 0.1]
    once = [row for row in ratings if row.rater == "r19"]
    ratings = [row for row in ratings if row.rater != "r19" or row is once[0]]
    found = analyse(ratings, [], SETTINGS).kept
    row = pair(found, "one", "three")
    assert row.verdict == "lower" and row.n < 100
    assert all(np.isfinite([c.mean, c.low, c.high]).all() for c in found.conditions)


def test_two_raters_and_one_prompt_have_means_without_intervals():
    found = analyse(made(raters=3, prompts=1), [], SETTINGS)
    assert {row.low for row in found.kept.conditions} == {None}
    assert found.kept.comparisons == []
    assert all(row.low is None for row in rows.scores(found))
    assert figures.all_figures(found, output.looks(dict.fromkeys(EFFECTS, "")))


def test_unusable_answers_are_counted_and_left_out():
    ratings = made()
    usable, problems = grid.validate(ratings)
    assert len(usable) == len(ratings) and problems == {}
    bad = [
        replace(ratings[0], value=float("nan"), rater="x"),
        replace(ratings[0], value=101.0, rater="x"),
        replace(ratings[0], value=-0.5, rater="x"),
        replace(ratings[0], value=True, rater="x"),
        replace(ratings[0], value="72", rater="x"),
        replace(ratings[0], role="trap", rater="x"),
        replace(ratings[0], value=1.0),
    ]
    usable, problems = grid.validate([*ratings, *bad])
    assert len(usable) == len(ratings)
    assert problems == {
        "no finite number": 3, "off the scale": 2, "unknown role": 1, "answered twice, the later answer counts": 1,
    }  # fmt: skip
    assert next(row for row in usable if row.stimulus_id == ratings[0].stimulus_id).value == 1


def test_no_answer_about_a_system():
    with pytest.raises(UserError, match="none is a usable answer"):
        analyse([row for row in made() if row.role == "gold"], [], SETTINGS)


def test_rules_that_leave_nobody_say_so():
    with pytest.raises(UserError, match=r"musicgen leaves 0 of 3 raters.*rules=\[\]"):
        analyse(made(raters=3, careless=3), [], SETTINGS)


def test_unknown_rule_set_names_the_nearest():
    with pytest.raises(UserError, match="Did you mean musicgen"):
        Settings("st", exclusions=("musicgenn",))


def test_choices_between_two_systems():
    rng, ratings = np.random.default_rng(0), []
    strength = {"one": 0.0, "two": 0.0, "three": 1.5}
    for r in range(12):
        for p in range(10):
            for a, b in (("one", "two"), ("two", "three"), ("three", "one")):
                first = rng.random() < 1 / (1 + np.exp(strength[b] - strength[a]))
                common = {"page_id": f"{a}{b}{p}", "stimulus_id": ""}
                for system, other, value in ((a, b, 100.0 * first), (b, a, 100.0 - 100 * first)):
                    ratings.append(
                        Rating(
                            "st", f"r{r}", "pref", system, f"p{p}", "system", value, versus=other, **common
                        )
                    )  # fmt: skip
    settings = replace(SETTINGS, protocol="ab", exclusions=("headphones",), margin=20.0)
    found = analyse(ratings, [], settings).kept
    value = {row.system: row.value for row in found.strengths}
    assert value["three"] - value["one"] == pytest.approx(1.5, abs=0.6)
    assert pair(found, "one", "three", "pref").verdict.startswith("lower")
    assert -50 <= pair(found, "one", "two", "pref").difference <= 50
    assert pair(found, "one", "two", "pref").verdict == "equivalent"


def test_repeats_do_not_enter_means_but_say_how_steady_a_rater_is():
    ratings = made(careless=0)
    again = [
        replace(row, role="repeat", value=min(100.0, row.value + 2), stimulus_id="t" + row.stimulus_id,
                repeat_of=row.stimulus_id, page_id="again")
        for row in ratings if row.system == "one"
    ]  # fmt: skip
    found, without = (analyse(x, [], SETTINGS).kept for x in ([*ratings, *again], ratings))
    assert found.conditions == without.conditions
    assert found.concord[0].consistency.mean_distance == pytest.approx(2, abs=0.1)


# metrics and people


def clip_scores(own, sign=1.0, noise=0.0):
    means = correlation._means(own)
    draw = np.random.default_rng(0)
    return [
        ClipScore(system, prompt, "clap", float(sign * means[s, p] + noise * draw.standard_normal()))
        for s, system in enumerate(own.systems) for p, prompt in enumerate(own.prompts)
    ]  # fmt: skip


def score(system, value, better="lower", metric="fad"):
    return Score("q", 1, system, metric, metric.upper(), value, "", better, 12)


def test_a_metric_that_orders_as_people_do(analysis):
    own = analysis.grids[0]
    (found,) = correlation.agreements(own, [], clip_scores(own), np.random.default_rng(0))
    assert (found.by, found.value, found.n, found.label) == ("clip", pytest.approx(1), 36, "clap")
    (found,) = correlation.agreements(own, [], clip_scores(own, noise=8.0), np.random.default_rng(0))
    assert 0.3 < found.low < found.value < found.high < 1


def test_less_is_better_turns_the_sign(analysis):
    own = analysis.grids[0]
    scores = [score("one", 3.0), score("two", 2.9), score("three", 1.0)]
    (found,) = correlation.agreements(own, scores, [], np.random.default_rng(0))
    assert (found.by, found.n) == ("system", 3) and found.value in (0.5, 1.0)  # one and two are equals
    known = [replace(row, metric="clap", better="lower") for row in scores]
    by_clip, by_system = correlation.agreements(own, known, clip_scores(own, -1.0), np.random.default_rng(0))
    assert by_clip.value == pytest.approx(1)


def test_an_unrelated_metric_has_an_interval_around_zero(analysis):
    own = analysis.grids[0]
    draw = np.random.default_rng(5)
    noise = [replace(row, value=draw.random()) for row in clip_scores(own)]
    (found,) = correlation.agreements(own, [], noise, np.random.default_rng(0))
    assert found.low < 0 < found.high


def test_two_systems_differences_and_speed_are_no_correlation(analysis):
    own = analysis.grids[0]
    scores = [score("one", 1.0), score("two", 2.0), score("elsewhere", 3.0)]
    scores += [replace(score(s, v), versus="base") for s, v in (("one", 1.0), ("two", 2.0), ("three", 3.0))]
    scores += [score(s, v, metric="latency") for s, v in (("one", 1.0), ("two", 2.0), ("three", 3.0))]
    assert correlation.agreements(own, scores, [], np.random.default_rng(0)) == []


# the folder, through the command line


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A study whose answers, run and names are hostile; its folder. Intervals are of few resamples."""
    monkeypatch.setattr(correlation, "N_RESAMPLES", 100)
    return make_study(tmp_path)


@pytest.fixture(scope="module")
def analysed(tmp_path_factory):
    """The same after its analysis, into the run as well; and what that said."""
    folders, said = make_study(tmp_path_factory.mktemp("analysed")), io.StringIO()
    with contextlib.redirect_stdout(said):
        assert main(["study", "analyse", f"study={folders.study}", "into_runs=true"]) == 0
    return folders, said.getvalue()


def make_study(folder):
    folders = schema.Folders.of(folder / "study")
    for part in (folders.study, folders.key, folders.responses):
        part.mkdir()
    plan = schema.Plan(
        HOSTILE, "multi_nr", ["ovl"], list(EFFECTS), [], 0.05, 4.0, ["musicgen"], 14, 12, 12,
        runs=[str(folder / "results" / "q-v1")],
    )  # fmt: skip
    key = schema.to_json(schema.Key(HOSTILE, "salt", 0, schema.sha256(schema.to_json(plan)), {}))
    dimension = schema.Dimension("ovl", {"en": "?"}, [0.0, 100.0], 1.0, {"en": list("abcde")}, False)
    packet = schema.Packet(
        HOSTILE, "t", "multi_nr", [dimension], [schema.Pass("p1", "ovl")], [],
        schema.AudioFacts(16000, 1, 5.0, 80000, -20.0, -1.0), schema.Rules(), ["en"], {}, False, [],
        schema.sha256(key), "0",
    )  # fmt: skip
    (folders.study / "packet.json").write_text(schema.to_json(packet), encoding="utf-8")
    (folders.key / "plan.json").write_text(schema.to_json(plan), encoding="utf-8")
    (folders.key / "key.json").write_text(key, encoding="utf-8")
    ratings = [replace(row, study=HOSTILE, rater=HOSTILE + row.rater) for row in made()]
    (folders.responses / "ratings.jsonl").write_text(to_jsonl(ratings), encoding="utf-8")
    run = RunFolder(folder / "results" / "q-v1")
    run.replace_scores([score("one", 3.0), score("two", 2.5), score("three", 1.0)], lambda row: True)
    run.write_clip_scores(clip_scores(grid.grid(ratings, "ovl"), noise=5.0))
    return folders


def test_a_rehearsal_is_called_one_and_stays_out_of_runs(study, capsys):
    study.responses.rename(study.rehearsed().responses)
    assert main(["study", "analyse", f"study={study.rehearsed()}", "into_runs=true"]) == 2
    assert "is a rehearsal" in capsys.readouterr().err
    assert main(["study", "analyse", f"study={study.rehearsed()}"]) == 0
    assert "A rehearsal: the raters are synthetic." in capsys.readouterr().out
    assert (study.rehearsed().analysis / "methods.md").read_text().startswith("A rehearsal: no person took part")
    assert not study.analysis.exists()


def test_analyse_through_the_command_line(analysed):
    study, said = analysed
    assert "three is rated higher than one by" in said and "one and two are equivalent" in said
    assert "1 of 14 raters left out (musicgen)" in said
    scores = list(read_jsonl(Score, study.analysis / "scores.jsonl"))
    assert {row.metric for row in scores} == {
        "people_ovl", "agrees_ovl_clap_by_clip", "agrees_ovl_fad_by_system",
    }  # fmt: skip
    assert sum(bool(row.versus) for row in scores) == 3
    summary = json.loads((study.analysis / "summary.json").read_text(encoding="utf-8"))
    assert summary["with_exclusions"]["raters"] == 13 and summary["without_exclusions"]["raters"] == 14
    with (study.analysis / "screening.csv").open(encoding="utf-8", newline="") as lines:
        verdicts = list(csv.DictReader(lines))
    assert {row["rater"] for row in verdicts if row["dropped"] == "True" and row["rule_set"] == "musicgen"} == {
        HOSTILE + "r00"
    }
    methods = (study.analysis / "methods.md").read_text(encoding="utf-8")
    assert "Of 14 raters 1 were left out" in methods and "±4 points" in methods


def test_ratings_stand_beside_metrics_in_the_runs_report(analysed):
    study, _ = analysed
    assert main(["study", "analyse", f"study={study.study}", "into_runs=true"]) == 0  # replaces the first ones
    (path,) = schema.read_plan(study).runs
    run = RunFolder(path)
    assert sum(row.metric == "people_ovl" for row in run.scores()) == 6  # 3 means, 3 differences; not the gold's
    assert sum(row.metric == "fad" for row in run.scores()) == 3
    assert sum(row.metric == "people_ovl" for row in run.clip_scores()) == 36
    from magnet_eval.report import build

    page = build(run, study.study.with_name("report")).read_text(encoding="utf-8")
    assert "OVL (people)" in page


def test_the_page_escapes_what_strangers_typed_and_asks_nothing_of_the_network(analysed):
    study, _ = analysed
    page = (study.analysis / "analysis.html").read_text(encoding="utf-8")
    assert "<script" not in page and "&lt;script&gt;" in page
    assert "default-src 'none'" in html.unescape(page) and "<image" not in page
    for path in (study.analysis / "figures").iterdir():
        text = path.read_text(encoding="utf-8")
        assert 'xmlns="http://www.w3.org/2000/svg"' in text and "--ink" in text


def test_the_same_ratings_give_the_same_files(analysed):
    study, _ = analysed
    before = files(study.analysis)
    shutil.rmtree(study.analysis)
    assert main(["study", "analyse", f"study={study.study}", "into_runs=true"]) == 0
    assert files(study.analysis) == before


def files(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("words_", "said"),
    [
        (["rules=[musicgenn]"], "unknown screening rule set"),
        (["margin=0"], "margin must be above 0"),
        (["alpha=0.7"], "alpha must be between"),
        (["runs=[nowhere]"], "there is no run nowhere"),
    ],
)
def test_mistakes_are_one_line(study, capsys, words_, said):
    assert main(["study", "analyse", f"study={study.study}", *words_]) == 2
    error = capsys.readouterr().err
    assert said in error and "Traceback" not in error


def test_a_plan_or_key_that_was_changed_decides_nothing(study, capsys):
    path = study.key / "plan.json"
    before = path.read_text(encoding="utf-8")
    path.write_text(before.replace('"margin": 4.0', '"margin": 30.0'), encoding="utf-8")
    assert main(["study", "analyse", f"study={study.study}"]) == 2
    assert "plan.json was changed since the packet was made" in capsys.readouterr().err
    path.write_text(before, encoding="utf-8")
    key = study.key / "key.json"
    key.write_text(key.read_text(encoding="utf-8").replace("salt", "malt"), encoding="utf-8")
    assert main(["study", "analyse", f"study={study.study}"]) == 2
    assert "is not the key" in capsys.readouterr().err
    assert not study.analysis.exists()


def test_what_departs_from_the_plan_is_said_in_the_results(study, capsys):
    assert main(["study", "analyse", f"study={study.study}", "margin=30", "rules=[crowdmos]", "alpha=0.05"]) == 0
    said = capsys.readouterr().out
    assert "Not as planned: margin 30 (planned: 4)." in said and "alpha" not in said
    assert "exclusions crowdmos (planned: musicgen)" in said
    for name in ("methods.md", "analysis.html", "summary.json"):
        assert "margin 30 (planned: 4)" in (study.analysis / name).read_text(encoding="utf-8")
    assert main(["study", "analyse", f"study={study.study}"]) == 0
    assert "lanned" not in (study.analysis / "methods.md").read_text(encoding="utf-8")


def test_ratings_of_another_study_are_refused(study, capsys):
    path = study.responses / "ratings.jsonl"
    ratings = list(read_jsonl(Rating, path))
    path.write_text(to_jsonl([*ratings[:-1], replace(ratings[-1], study="t_other")]), encoding="utf-8")
    assert main(["study", "analyse", f"study={study.study}"]) == 2
    assert "ratings of study t_other" in capsys.readouterr().err


def test_a_run_that_is_gone_only_takes_its_metrics_along(study, capsys, caplog):
    (path,) = schema.read_plan(study).runs
    RunFolder(path).path.rename(study.study.with_name("moved"))
    assert main(["study", "analyse", f"study={study.study}"]) == 0
    assert f"there is no run {path}" in caplog.text + capsys.readouterr().err
    assert {row.metric for row in read_jsonl(Score, study.analysis / "scores.jsonl")} == {"people_ovl"}
    assert main(["study", "analyse", f"study={study.study}", f"runs=[{study.study.with_name('moved')}]"]) == 0
    assert any(row.metric.startswith("agrees") for row in read_jsonl(Score, study.analysis / "scores.jsonl"))


def test_only_a_test_with_all_its_anchors_has_the_name_of_the_standard():
    assert words.test_name("mushra", ["reference", "anchor35", "anchor70"]) == "a MUSHRA test (ITU-R BS.1534-3)"
    assert "MUSHRA-style test" in words.test_name("mushra", ["reference", "anchor35"])
    assert "without its 7 kHz anchor" in words.test_name("mushra", ["reference", "anchor35"])
    assert words.test_name("ab", []) == "a paired comparison test"


def test_only_rules_that_looked_at_something_are_in_the_methods():
    as_mushra = [replace(row, role="reference" if row.role == "gold" else row.role) for row in made()]
    settings = replace(SETTINGS, protocol="mushra", exclusions=("bs1534", "headphones"))
    text = words.methods(analyse(as_mushra, [], settings))
    assert "MUSHRA-style" in text and "who missed the hidden reference (below 90)" in text
    assert "took the 7 kHz anchor" not in text and "Huggins" not in text
    verdicts = analyse(as_mushra, [], settings).screening.verdicts
    assert {(row.rule_set, row.rule) for row in verdicts} == set(words.RULES)


def test_no_ratings_yet(tmp_path, capsys):
    assert main(["study", "analyse", f"study={tmp_path / 'nothing'}"]) == 2
    assert "study import" in capsys.readouterr().err


def test_damaged_lines_are_left_out(study, capsys):
    path = study.responses / "ratings.jsonl"
    path.write_text(path.read_text(encoding="utf-8") + '{"study": "torn\n[1, 2]\n{"nonsense": 1}\n', encoding="utf-8")
    assert main(["study", "analyse", f"study={study.study}"]) == 0


def test_when_nobody_is_left_the_audit_is_still_written(study, capsys):
    path = study.responses / "ratings.jsonl"
    ratings = [replace(row, heard_all=False) for row in read_jsonl(Rating, path)]
    path.write_text(to_jsonl(ratings), encoding="utf-8")
    assert main(["study", "analyse", f"study={study.study}"]) == 2
    assert "rules=[]" in capsys.readouterr().err
    assert "clip not heard to its end" in (study.analysis / "screening.csv").read_text(encoding="utf-8")
    assert main(["study", "analyse", f"study={study.study}", "rules=[]"]) == 0


def test_spreadsheets_run_no_formula():
    ratings = [replace(row, rater="=cmd()" + row.rater) for row in made(raters=2, prompts=2)]
    from magnet_eval.study.analysis.screening import screen

    assert "\n=" not in output.screening_csv(screen(ratings))


def test_plan_through_the_command_line(study, capsys):
    assert main(["study", "plan", "raters=[20]", "prompts=[20]", "per_rater=[20]", "json=true"]) == 0
    (design,) = json.loads(capsys.readouterr().out)[""]["designs"]
    assert (design["raters"], design["answers"]) == (20, 400)
    assert main(["study", "plan", f"pilot={study.study}"]) == 0
    assert capsys.readouterr().out.startswith("OVL\n")
    assert main(["study", "plan", "raters=[1]"]) == 2
    capsys.readouterr()
    assert main(["study", "plan", "raters=[10]", "prompts=[50,100]", "per_rater=[5]", "json=true"]) == 0
    (design,) = json.loads(capsys.readouterr().out)[""]["designs"]
    assert (design["prompts"], design["answers"]) == (50, 50)
    assert main(["study", "plan", "residual_sd=0", "system_item_sd=0", "rater_system_sd=0"]) == 2
