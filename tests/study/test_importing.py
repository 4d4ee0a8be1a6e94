import csv
import json
import sys
from pathlib import Path

import pytest
import yaml

from magnet_eval.lookup import UserError
from magnet_eval.records import Rating, read_jsonl
from magnet_eval.study import schema, summary, verbs
from magnet_eval.study.exchange.export import export
from magnet_eval.study.exchange.importing import HALF, PRACTICE, TWICE, UNTOUCHED, WITHDRAWN, take_in
from magnet_eval.study.exchange.tabular import read_csv, to_csv
from magnet_eval.study.options import ExportOptions, ImportOptions, PrepareOptions, WithdrawOptions
from magnet_eval.study.packet.prepare import prepare
from magnet_eval.study.schema import Folders
from magnet_eval.study.server.answers import Answers

sys.path.insert(0, str(Path(__file__).parent))
from study_runs import make_run

SHORT = "columns are missing or too many, or a quote is not closed: a line cut short?"
HOSTILE = [
    "<script>alert(1)</script>",
    '& + % " \' ; , \n \r\n',
    "🎧 日本",
    "=HYPERLINK(\"http://x\")",
    "@SUM(A1)",
    "'quoted",
    "x" * 2**20,
]  # fmt: skip


@pytest.fixture(scope="module")
def packets(tmp_path_factory):
    """Packets of two systems and four prompts, by method."""
    folder = tmp_path_factory.mktemp("packets")
    run = make_run(folder / "noises-v1", systems=("alpha-net", "beta-net"), prompts=5)
    for method in schema.PROTOCOLS:
        options = {"prompts": 4, "raters": 2, "repeats": 0.5}
        prepare(PrepareOptions(run=str(run.path), out=str(folder / method), method=method, **options))
    return {method: Folders.of(folder / method) for method in schema.PROTOCOLS}


class Study:
    """A packet, what is known of it, and a folder of its own for answers."""

    def __init__(self, folders, folder):
        self.folders, self.folder = folders, folder
        self.packet, self.key = schema.read_packet(folders), schema.read_key(folders)
        self.slots = {}
        for row in schema.read_assignments(folders):
            self.slots.setdefault(row.slot, []).append(row)
        for path in folders.responses.glob("*"):
            path.unlink()

    def rows(self, score=lambda entry: 70.0, session="r_1", slot=0):
        """Complete answers of one listener in the plain long form."""
        return [
            {"session": session, "stimulus_id": name, "score": score(self.key.stimuli[name]), "page_id": row.page_id,
             "position": place, "page_no": row.position, "plays": 2, "heard_all": 1, "comment": ""}
            for row in self.slots[slot]
            for place, name in enumerate(row.stimuli)
        ]  # fmt: skip

    def table(self, rows, name="answers.csv"):
        path = self.folder / name
        path.write_text(to_csv(list(rows[0]), rows), encoding="utf-8")
        return path

    def take(self, *paths):
        return take_in(ImportOptions(str(self.folders.study), [str(path) for path in paths]))[0]

    def document(self, pages):
        """The file that the page gives where there is no server."""
        return {
            "schema_version": 1, "study_id": self.packet.study_id, "key_sha256": self.packet.key_sha256, "pages": pages,
            "session": "r_0123456789ab", "slot": 0, "language": "de", "started": "2026-01-01T00:00:00Z",
        }  # fmt: skip

    def n_counted(self):
        pages = {page.page_id: page for page in self.packet.pages}
        return sum(len(row.stimuli) for row in self.slots[0] if not pages[row.page_id].training)


@pytest.fixture
def study(packets, tmp_path):
    return lambda method="multi_nr": Study(packets[method], tmp_path)


def reasons(found):
    return [row["why"] for row in found.refused]


def test_a_table_of_answers_becomes_ratings_with_what_the_key_knows(study):
    own = study()
    found = own.take(own.table(own.rows(lambda entry: 90 if entry.system == "alpha-net" else 40)))
    assert len(found.ratings) == own.n_counted() and not found.refused
    assert found.left_out == {PRACTICE: 4}
    for rating in found.ratings:
        entry = own.key.stimuli[rating.stimulus_id]
        assert (rating.system, rating.prompt_id, rating.role) == (entry.system, entry.prompt_id, entry.role)
        assert rating.value == (90 if rating.system == "alpha-net" else 40)
        assert rating.repeat_of == (entry.repeat_of or "") and rating.plays == 2 and rating.versus == ""
    assert {rating.dimension for rating in found.ratings} == {"ovl", "rel"}
    assert list(read_jsonl(Rating, own.folders.responses / "ratings.jsonl")) == found.ratings
    assert read_csv(own.folders.responses / "sessions.csv")[1][0][1]["session"] == "r_1"


def test_the_plain_form_comes_back_as_it_went(study):
    own = study()
    first = own.take(own.table(own.rows()))
    again = own.take(own.folders.responses / "answers.csv")
    assert again.ratings == first.ratings


def test_untouched_is_missing_and_zero_is_a_score(study):
    own = study()
    rows = own.rows(lambda entry: {"gold": "", "alpha-net": 0}.get(entry.system, 50))
    found = own.take(own.table(rows))
    values = {rating.system: rating.value for rating in found.ratings}
    assert values == {"alpha-net": 0, "beta-net": 50, "anchor35": 50}
    assert found.left_out[UNTOUCHED] == sum(rating.system == "alpha-net" for rating in found.ratings)


def test_of_two_answers_the_later_one_counts(study):
    own = study()
    rows = own.rows()
    found = own.take(own.table([*rows, *({**row, "score": 10} for row in rows[-3:]), *rows[-1:]]))
    assert found.left_out[TWICE] == 4 and len(found.ratings) == own.n_counted()
    assert sorted(rating.value for rating in found.ratings)[:3] == [10, 10, 70]


@pytest.mark.parametrize(
    "change, why",
    [
        ({"stimulus_id": "s_00000000"}, "unknown stimulus id"),
        ({"stimulus_id": "../../etc/passwd"}, "unknown stimulus id '../../etc/passwd'"),
        ({"stimulus_id": "<img src=x>"}, "unknown stimulus id"),
        ({"page_id": "p_00000000"}, "is not on page"),
        ({"session": "../r_1"}, "session is no code"),
        ({"session": ""}, "session is no code"),
        ({"session": "x" * 65}, "session is no code"),
        ({"score": "101"}, "score is not from 0 to 100"),
        ({"score": "-1"}, "score is not from 0 to 100"),
        ({"score": "nan"}, "score is not from 0 to 100"),
        ({"score": "1e999"}, "score is not from 0 to 100"),
        ({"score": "good"}, "score is no number: 'good'"),
        ({"plays": "many"}, "plays is no number"),
        ({"heard_all": "perhaps"}, "heard_all is neither 1 nor 0"),
    ],
)
def test_a_row_that_is_no_answer_is_refused_kept_and_counted(study, change, why):
    own = study()
    rows = own.rows()
    found = own.take(own.table([*rows[:-1], {**rows[-1], **change}]))
    assert len(found.refused) == 1 and why in found.refused[0]["why"]
    assert len(found.ratings) == own.n_counted() - 1
    kept = read_csv(own.folders.responses / "refused.csv")[1]
    assert len(kept) == 1 and kept[0][1]["line"] == str(len(rows) + 1)
    assert all(kept[0][1][name] == str(value) for name, value in change.items())


def test_a_file_cut_short_loses_its_last_row_only(study):
    own = study()
    path = own.table(own.rows())
    content = path.read_bytes()
    path.write_bytes(content[: len(content) - 8])
    found = own.take(path)
    assert reasons(found) == [SHORT]
    assert len(found.ratings) == own.n_counted() - 1


@pytest.mark.parametrize("comment", ['"never closed', '"closed" too early', '"two\nlines", and more'])
def test_a_quote_that_is_not_closed_loses_its_own_row_only(study, comment):
    own = study()
    path = own.table([{**row, "comment": "as it, should be"} for row in own.rows()])
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    lines[7] = lines[7].replace('"as it, should be"', comment)
    path.write_text("".join(lines), encoding="utf-8")
    found = own.take(path)
    assert len(found.ratings) == own.n_counted() - 1
    assert set(reasons(found)) == {SHORT} and found.refused[0]["line"] == 8


def test_a_file_cut_short_inside_a_quote_loses_its_last_row_only(study):
    own = study()
    path = own.table([{**row, "comment": "a long, long comment"} for row in own.rows()])
    path.write_text(path.read_text(encoding="utf-8")[:-8], encoding="utf-8")
    found = own.take(path)
    assert reasons(found) == [SHORT] and len(found.ratings) == own.n_counted() - 1


def test_many_lines_that_are_no_rows_take_no_time(tmp_path):
    path = tmp_path / "many.csv"
    path.write_text("a,b\n" + "1\n" * 50_000)
    assert [row for _, row in read_csv(path)[1]] == [None] * 50_000


def test_comments_are_kept_whole_and_obeyed_by_no_spreadsheet(study):
    own = study()
    rows = own.rows()
    for row, comment in zip(rows, HOSTILE, strict=False):
        row["comment"] = comment
    found = own.take(own.table(rows))
    assert len(found.ratings) == own.n_counted() and not found.refused
    path = own.folders.responses / "answers.csv"
    read = [row["comment"] for _, row in read_csv(path)[1]]
    assert read[: len(HOSTILE)] == HOSTILE
    before = csv.field_size_limit(2**24)
    with path.open(encoding="utf-8", newline="") as lines:
        cells = [cell for row in csv.reader(lines) for cell in row]
    csv.field_size_limit(before)
    assert not any(cell.startswith(("=", "+", "@", "\t", "\r")) for cell in cells)


def test_tables_of_spreadsheets(study):
    own = study()
    path = own.table(own.rows(lambda entry: "72,5"))
    rows = list(csv.reader(path.open(encoding="utf-8", newline="")))
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(";".join(row) for row in rows).encode())
    found = own.take(path)
    assert {rating.value for rating in found.ratings} == {72.5} and not found.refused


def test_pairs_are_whole_or_not_counted(study):
    own = study("ab")
    rows = own.rows(lambda entry: 100 if entry.system in ("alpha-net", "gold") else 0)
    rows[-1]["score"] = rows[-2]["score"] = 100  # both preferred
    found = own.take(own.table(rows))
    assert found.left_out[HALF] == 2 and len(found.ratings) == own.n_counted() - 2
    assert {(r.system, r.versus, r.value) for r in found.ratings} == {
        ("alpha-net", "beta-net", 100), ("beta-net", "alpha-net", 0),
        ("gold", "anchor35", 100), ("anchor35", "gold", 0),
    }  # fmt: skip


def test_single_ratings_are_on_their_own_scale(study):
    own = study("acr")
    found = own.take(own.table(own.rows(lambda entry: 5)))
    assert {rating.value for rating in found.ratings} == {5}
    path = own.table(own.rows(lambda entry: 6))
    with pytest.raises(UserError, match="none of these answers counts; .* from 1 to 5.* of an earlier import stay"):
        own.take(path)
    assert {rating.value for rating in read_jsonl(Rating, own.folders.responses / "ratings.jsonl")} == {5}
    (own.folders.responses / "ratings.jsonl").unlink()
    assert not (found := own.take(path)).ratings and all("from 1 to 5" in why for why in reasons(found))


def answered(own, score=50.0):
    """Bodies of all pages of slot 0, as the page sends them."""
    return {
        row.page_id: {
            "scores": [
                {"stimulus_id": name, "score": score, "touched": True, "plays": 1, "heard_s": 1.0, "heard_all": True,
                 "position": place}
                for place, name in enumerate(row.stimuli)
            ],
            "comment": "fine & well", "t_client": "2026-01-01T00:00:00Z", "page_no": row.position,
        }
        for row in own.slots[0]
    }  # fmt: skip


def test_answers_of_the_server(study):
    own = study()
    answers = Answers(own.folders.responses / "answers.sqlite", own.packet, schema.read_assignments(own.folders))
    session = answers.begin({"language": "en", "headphones_correct": 5, "headphones_total": 6, "slot": 0})["session"]
    for page_id, body in answered(own).items():
        answers.save(session, page_id, body)
    answers.finish(session)
    found = own.take()
    assert len(found.ratings) == own.n_counted() and found.ratings[0].rater == session
    row = read_csv(own.folders.responses / "sessions.csv")[1][0][1]
    assert row["headphones_correct"] == "5" and row["language"] == "en" and row["finished"]


def test_files_of_the_page_without_a_server(study):
    own = study()
    pages = answered(own)
    last = list(pages)[-1]
    pages[last] = {**pages[last], "scores": pages[last]["scores"][:-1]}
    document = own.document(pages)
    path = own.folder / "answers.json"
    path.write_text(json.dumps(document))
    found = own.take(path)
    assert len(found.ratings) == own.n_counted() - len(pages[last]["scores"]) - 1
    assert len(found.refused) == 1 and "needs one score for each" in reasons(found)[0]
    assert found.sessions[0]["started"] == "2026-01-01T00:00:00Z"
    path.write_text(json.dumps({**document, "study_id": "t_other000"}))
    with pytest.raises(UserError, match="these are answers to another packet.* of an earlier import stay"):
        own.take(path)
    for text in ("[]", "{", '{"pages": 3}'):
        path.write_text(text)
        with pytest.raises(UserError, match="no file of the page's answers"):
            own.take(path)


HOSTILE_VALUES = ([1], {"a": 1}, 10**30, "\ud800", float("nan"), "me@example.org", True)


@pytest.mark.parametrize("value", HOSTILE_VALUES, ids=repr)
@pytest.mark.parametrize("name", ["code", "session", "slot", "language", "started", "sample_rate", "pages", "study_id"])
def test_hostile_values_in_a_file_of_the_page_are_a_line_or_a_row(study, name, value):
    own = study()
    path = own.folder / "answers.json"
    pages = answered(own) | {"\ud800": {}}
    path.write_text(json.dumps(own.document(pages) | {name: value}))
    try:
        found = own.take(path)
    except UserError:
        assert name == "pages"
    else:
        assert found.refused and (not found.ratings or name in ("slot", "started", "sample_rate"))


def test_withdrawing_a_file_of_the_page(study):
    own = study()
    for number, code in enumerate(("ME", "YOU")):
        document = own.document(answered(own)) | {"session": f"r_0000000{number}", "code": code}
        for place in (own.folder, own.folders.responses):  # mailed, and put where import looks
            place.mkdir(exist_ok=True)
            (place / f"answers-{number}.json").write_text(json.dumps(document))
    assert {rating.rater for rating in own.take().ratings} == {"r_00000000", "r_00000001"}
    text = verbs.withdraw(WithdrawOptions(str(own.folders.study), "ME"))
    assert text.startswith(f"{len(own.slots[0])} pages deleted")
    assert all("r_00000000" not in path.read_text() for path in own.folders.responses.glob("*[vln]"))
    assert [path.name for path in own.folders.responses.glob("*.json")] == ["answers-1.json"]
    found = own.take(own.folder / "answers-0.json", own.folder / "answers-1.json")
    assert {rating.rater for rating in found.ratings} == {"r_00000001"} and found.left_out[WITHDRAWN] > 0
    with pytest.raises(UserError, match="no session has the code 'NOBODY'"):
        verbs.withdraw(WithdrawOptions(str(own.folders.study), "NOBODY"))


def test_withdrawing_what_came_from_a_table_elsewhere(study):
    own = study()
    path = own.table([*own.rows(session="listener-1"), *own.rows(session="listener-2")])
    own.take(path)
    verbs.withdraw(WithdrawOptions(str(own.folders.study), "listener-1"))
    assert {one.rater for one in read_jsonl(Rating, own.folders.responses / "ratings.jsonl")} == {"listener-2"}
    assert {rating.rater for rating in own.take(path).ratings} == {"listener-2"}


def test_an_import_says_what_it_replaces(study):
    own = study()
    assert "replace" not in summary.taken_in(own.take(own.table(own.rows(session="r_1"))), own.folders)
    text = summary.taken_in(own.take(own.table(own.rows(session="r_2"))), own.folders)
    assert f"an earlier import: {own.n_counted()} ratings of 1 listeners, 1 of whom are not in these answers" in text
    text = summary.taken_in(own.take(own.table(own.rows(session="r_2"))), own.folders)
    assert "1 listeners.\n" in text


def webmushra(own, score, session="5d6b6b5e-0000-4000-8000-000000000000"):
    """What webMUSHRA writes: no hidden reference of ours, one of its own; 100 where nothing was touched."""
    columns = ["session_test_id", "session_uuid", "trial_id", "rating_stimulus", "rating_score", "rating_time",
               "rating_comment"]  # fmt: skip
    rows = []
    for assignment in own.slots[0]:
        for name in assignment.stimuli:
            entry = own.key.stimuli[name]
            shown = "reference" if entry.system == "reference" else name
            rows.append([own.packet.study_id, session, assignment.page_id, shown, score(entry), 1234, ""])
    path = own.folder / "mushra.csv"
    path.write_text("\n".join(",".join(map(str, row)) for row in [columns, *rows]) + "\n")
    return path


def test_results_of_webmushra(study):
    own = study("mushra")
    found = own.take(webmushra(own, lambda entry: {"reference": 100, "anchor35": 20}.get(entry.system, 60)))
    assert len(found.ratings) == own.n_counted() and not found.refused
    assert {r.value for r in found.ratings if r.system == "reference"} == {100}
    assert {r.role for r in found.ratings} == {"system", "reference", "anchor35", "repeat"}
    assert sorted({r.page_no for r in found.ratings}) == list(range(1, len(own.slots[0])))


def test_pages_of_webmushra_that_nobody_touched_are_missing(study):
    own = study("mushra")
    page = own.slots[0][1].page_id
    found = own.take(webmushra(own, lambda entry: 100 if entry.page_id == page else 50))
    assert page not in {rating.page_id for rating in found.ratings}
    assert found.left_out[UNTOUCHED] == len(own.slots[0][1].stimuli)


def test_results_of_another_webmushra_test_are_refused(study):
    own = study("mushra")
    path = webmushra(own, lambda entry: 50)
    path.write_text(path.read_text().replace(own.packet.study_id, "other"))
    found = own.take(path)
    assert not found.ratings and set(reasons(found)) == {"of another test than this study"}


def test_what_is_no_file_of_answers_is_one_line(study):
    own = study()
    with pytest.raises(UserError, match="there are no answers in"):
        own.take()
    with pytest.raises(UserError, match="no file"):
        own.take(own.folder / "none.csv")
    path = own.folder / "other.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="lacks the columns score, session, stimulus_id"):
        own.take(path)
    path.write_bytes(bytes(range(256)))
    with pytest.raises(UserError, match="other.csv"):
        own.take(path)


def test_a_changed_key_makes_no_ratings(study):
    own = study()
    path = own.table(own.rows())
    key = own.folders.key / "key.json"
    before = key.read_text()
    key.write_text(before.replace("alpha-net", "beta-net"))
    try:
        with pytest.raises(UserError, match="is not the key"):
            own.take(path)
    finally:
        key.write_text(before)


# export


def exported(own, to, **changes):
    out = own.folder / to
    text = export(ExportOptions(to=to, study=str(own.folders.study), out=str(out), **changes))
    return out, text


def test_a_table_to_fill_in_comes_back(study):
    own = study("acr")
    out, _ = exported(own, "csv")
    columns, rows = read_csv(out / "answers.csv")
    assert len(rows) == sum(len(row.stimuli) for slot in own.slots.values() for row in slot)
    filled = [{**row, "score": 4} for _, row in rows]
    (out / "answers.csv").write_text(to_csv(columns, filled), encoding="utf-8")
    found = own.take(out / "answers.csv")
    assert len({rating.rater for rating in found.ratings}) == len(own.slots) and not found.refused


def test_webmushra_gets_a_drop_in_folder(study):
    own = study("mushra")
    out, text = exported(own, "webmushra")
    config = yaml.safe_load((out / "configs" / f"{own.packet.study_id}.yaml").read_text())
    assert config["stopOnErrors"] and config["pages"][-1]["showResults"] is False
    trials = [config["pages"][1], *config["pages"][2][1:]]
    assert config["pages"][2][0] == "random" and {page["type"] for page in trials} == {"mushra"}
    assert [trial["id"] for trial in trials[:1]] == [page.page_id for page in own.packet.pages if page.training]
    for trial in trials:
        assert not trial["createAnchor35"] and not trial["createAnchor70"] and not trial["showWaveform"]
        assert {own.key.stimuli[name].system for name in trial["stimuli"]} == {"alpha-net", "beta-net", "anchor35"}
        for path in (trial["reference"], *trial["stimuli"].values()):
            assert (out / path).is_file()
    assert not any(word in path.read_text() for path in out.rglob("*.yaml") for word in ("alpha-net", "prompt-0"))
    with pytest.raises(UserError, match="is there already"):
        exported(own, "webmushra")


@pytest.mark.parametrize("method", ["multi_nr", "ab", "acr"])
def test_what_webmushra_would_corrupt_is_refused(study, method):
    with pytest.raises(UserError, match="webMUSHRA cannot run .*method=mushra"):
        exported(study(method), "webmushra")


def test_prolific_and_mturk_get_an_address(study):
    own = study()
    with pytest.raises(UserError, match="needs url=https://"):
        exported(own, "prolific")
    out, text = exported(own, "prolific", url="https://listen.example.org/", reward=1.5)
    body = json.loads((out / "study.json").read_text())
    assert body["external_study_url"].startswith("https://listen.example.org/?PROLIFIC_PID={{%PROLIFIC_PID%}}&")
    assert body["reward"] == 150 and body["total_available_places"] == len(own.slots)
    assert body["completion_codes"][0]["code"] in text
    out, _ = exported(own, "mturk", url="https://listen.example.org/")
    assert "${url}" in (out / "layout.html").read_text()
    assert (out / "hits.csv").read_text() == "url\nhttps://listen.example.org/\n"


def test_platforms_send_as_many_listeners_as_were_asked_for(tmp_path):
    run = make_run(tmp_path / "noises-v1", systems=("alpha-net", "beta-net"))
    sizes = {"prompts": 5, "prompts_per_rater": 3, "raters": 6}
    own, plan = prepare(PrepareOptions(run=str(run.path), out=str(tmp_path / "study"), **sizes))
    assert len({row.slot for row in schema.read_assignments(Folders.of(tmp_path / "study"))}) == 10
    assert "6, and 10 places: only 5 or a multiple" in summary.prepared(own, plan, "study")
    options = {"study": str(tmp_path / "study"), "out": str(tmp_path / "out"), "url": "https://listen.example.org/"}
    export(ExportOptions(to="prolific", **options))
    assert json.loads((tmp_path / "out" / "study.json").read_text())["total_available_places"] == 6


def test_webmushra_reads_no_list_that_begins_on_the_line_of_another(study):
    # Its own reader takes "- - random" for a page without a type, and ends the test there.
    out, _ = exported(study("mushra"), "webmushra")
    text = next(out.rglob("*.yaml")).read_text()
    lines = text.splitlines()
    assert "- -" not in text and lines[lines.index("        - random") - 1] == "    -"
    assert all(": " in line or line.lstrip().startswith("-") or line.endswith(":") for line in lines)
