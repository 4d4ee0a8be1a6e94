"""The vocabulary: every file of the zoo composes, every mistake is one line that names the place and the neighbours."""

import dataclasses

import pytest

from magnet_eval import compose, config, zoo
from magnet_eval.decoding import HybridDecoding, MaskedDecoding
from magnet_eval.lookup import UserError
from magnet_eval.options import GenerateOptions
from magnet_eval.typed import typed

MASKED = {"family": "masked", "checkpoint": "a", "text": "b", "codec": "c"}


@pytest.fixture
def own_zoo(tmp_path, monkeypatch):
    """A working directory with a model and a protocol of its own."""
    (tmp_path / "models").mkdir()
    (tmp_path / "protocols").mkdir()
    (tmp_path / "models" / "mine.yaml").write_text("family: masked\ncheckpoint: weights\n")
    (tmp_path / "protocols" / "short.yaml").write_text(
        "version: 2\nsystems:\n  - mine\n  - {model: mine, label: 60 steps, set: {decoding.steps: [60, 10, 10, 10]}}\n"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", config.list_protocols())
def test_every_protocol_composes_and_its_systems_resolve(name):
    protocol = compose.compose(config.Run, [f"protocol={name}"]).protocol
    assert dataclasses.replace(protocol) == config.load_protocol(name)
    models = [config.resolve_system(system) for system in protocol.systems]
    assert [model.name for model in models] == [system.model for system in protocol.systems]


@pytest.mark.parametrize("name", config.list_models())
def test_every_model_composes(name):
    options = compose.compose(GenerateOptions, [f"model={name}", "prompts=[a bell]"])
    assert options.model == config.load_model(name)
    assert options.model.description and (options.model.licence or not options.model.checkpoint)
    # Whatever is embedded says so; see the label rule of the report.
    assert options.model.tiny or "tiny" not in options.model.checkpoint


def test_values_reach_the_dataclasses_and_nothing_else_changes(own_zoo):
    run = compose.compose(config.Run, ["protocol=short", "seed=3", "batch=2", "protocol.prompts.n=5"])
    expected = config.load_protocol("short")
    expected.generation = config.Generation(batch=2, seed=3)
    expected.prompts.n = 5
    assert run.protocol == expected
    assert (run.results, run.reports) == ("results", "reports")


def test_an_ablation_runs_on_another_model(own_zoo):
    """Systems that name no model take the protocol's; their labels stay, as they name what is varied."""
    (own_zoo / "protocols" / "axis.yaml").write_text(
        "version: 1\nmodel: mine\nsystems: [{label: a, set: {decoding.top_p: 0.5}}, {label: b}, unigram-tiny]\n"
    )
    run = compose.compose(config.Run, ["protocol=axis", "protocol.model=magnet-tiny"])
    assert [system.model for system in run.protocol.systems] == ["magnet-tiny", "magnet-tiny", "unigram-tiny"]
    assert [system.label for system in run.protocol.systems] == ["a", "b", "unigram-tiny"]
    assert config.load_protocol("axis").systems[0].model == "mine"
    with pytest.raises(UserError, match="system 'a' names no model"):
        typed(config.Protocol, {"version": 1, "systems": [{"label": "a"}]})


def test_a_models_decoding_can_be_changed_on_the_command_line(own_zoo):
    words = ["model=mine", "prompts=[a bell]", "model.decoding.top_p=0.5", "model.decoding.steps=[5,4,3,2]"]
    model = compose.compose(GenerateOptions, words).model
    assert model.settings() == MaskedDecoding(steps=[5, 4, 3, 2], top_p=0.5)
    assert model.decoding == {"steps": [5, 4, 3, 2], "top_p": 0.5}


def test_systems_are_picked_by_label_or_taken_from_the_zoo(own_zoo):
    run = compose.compose(config.Run, ["protocol=short", "systems=[60 steps, unigram-tiny]"])
    first, second = run.protocol.systems
    assert first.set == {"decoding.steps": [60, 10, 10, 10]}
    assert (second.model, second.label) == ("unigram-tiny", "unigram-tiny")
    with pytest.raises(UserError, match=r"unknown system '61 steps'\. Did you mean 60 steps"):
        compose.compose(config.Run, ["protocol=short", "systems=[61 steps]"])


def test_a_chosen_system_with_changes_is_not_the_protocols_own_of_that_name(own_zoo):
    run = compose.compose(config.Run, ["protocol=short", "systems=[{model: mine, set: {decoding.top_p: 0.5}}]"])
    (system,) = run.protocol.systems
    assert config.resolve_system(system).settings().top_p == 0.5
    with pytest.raises(UserError, match=r"decoding\.steps must be a list such as \[a, b\], got \{'x': 1\}"):
        config.resolve_system(config.System("mine", set={"decoding.steps.x": 1}))
    run = compose.compose(config.Run, ["protocol=short", "systems=[{model: unigram-tiny, label: 60 steps}]"])
    assert run.protocol.systems[0].model == "unigram-tiny"


def test_changes_of_a_system_do_not_leak_into_the_model(own_zoo):
    changed = config.resolve_system(config.System("mine", set={"decoding.steps": [60, 1, 1, 1]}))
    assert changed.settings().steps == [60, 1, 1, 1]
    assert config.load_model("mine").settings().steps == [20, 10, 10, 10]


def test_a_file_of_the_working_directory_wins_and_finds_its_own_weights(own_zoo):
    (own_zoo / "models" / "weights").mkdir()
    assert config.load_model("mine").find("weights") == own_zoo / "models" / "weights"
    assert config.load_model("mine").find("elsewhere") == config.models_dir() / "elsewhere"
    assert zoo.files("protocols")["quickstart"] == config.protocols_dir() / "quickstart.yaml"


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        (config.Model, {**MASKED, "chekpoint": "x"}, r"unknown key 'chekpoint'\. Did you mean checkpoint"),
        (config.Model, {**MASKED, "family": "maskd"}, r"unknown family 'maskd'\. Did you mean masked"),
        (
            config.Model,
            {**MASKED, "decoding": {"step": [1]}},
            r"unknown key 'decoding.step'\. Did you mean decoding.step",
        ),
        (config.Model, {**MASKED, "decoding": {"steps": []}}, r"decoding\.steps is empty"),
        (config.Model, {**MASKED, "decoding": {"steps": [0]}}, r"decoding\.steps must be at least 1|between 1 and"),
        (config.Model, {**MASKED, "decoding": {"top_p": 1.5}}, r"decoding\.top_p must be between 0 and 1, got 1\.5"),
        (config.Model, {**MASKED, "decoding": {"schedule": "papr"}}, r"'papr'\. Did you mean paper"),
        (config.Model, {**MASKED, "rescorer": {"weight": 0.5}}, r"rescorer\.checkpoint is missing"),
        (config.Model, {**MASKED, "rescorer": {"checkpoint": "x", "weight": 2}}, r"rescorer\.weight must be between"),
        (config.Model, {**MASKED, "prompter": "x"}, r"prompter belongs to family hybrid"),
        (config.Model, {"family": "codec", "decoding": {"steps": [1]}}, r"family codec has no decoding settings"),
        (config.Protocol, {"version": 1, "systems": []}, r"systems is empty"),
        (config.Protocol, {"version": 0, "systems": ["a"]}, r"version must be at least 1"),
        (config.Protocol, {"version": "1", "systems": ["a"]}, r"version must be a whole number, got '1'"),
        (config.Protocol, {"version": True, "systems": ["a"]}, r"version must be a whole number, got True"),
        (config.Protocol, {"version": 1, "systems": "a"}, r"systems must be a list such as \[a, b\], got 'a'"),
        (config.Protocol, {"version": 1, "systems": ["a", "a"]}, r"two systems are labelled 'a'"),
        (config.Protocol, {"version": 1, "systems": [{"model": "a", "label": "../a"}]}, r"'../a' is no folder name"),
        (config.Protocol, {"version": 1, "systems": ["a"], "speed": {"batches": [0]}}, r"speed\.batches must be"),
        (config.Protocol, {"version": 1, "systems": ["a"], "prompts": {"n": 0}}, r"prompts\.n must be at least 1"),
        (config.Protocol, {"version": 1, "systems": ["a"], "metrics": ["fad"]}, r"metrics must be a mapping"),
        (config.Generation, {"device": "gpu"}, r"unknown device 'gpu'"),
        (config.Generation, {"device": "cuda:one"}, r"device must be auto, cpu, cuda or cuda:N, got 'cuda:one'"),
        (config.Generation, {"device": "cpu:0"}, r"got 'cpu:0'"),
        (config.Generation, {"dtype": "float23"}, r"Did you mean float32"),
    ],
)
def test_mistakes_are_named(kind, value, message):
    with pytest.raises(UserError, match=message) as caught:
        typed(kind, value)
    assert "\n" not in str(caught.value)


def test_a_family_of_ones_own_keeps_its_decoding_as_it_is():
    model = typed(config.Model, {"family": "my_package.mine:Generator", "decoding": {"anything": 1}})
    assert model.decoding == {"anything": 1}


def test_broken_files_are_named_with_their_place(own_zoo):
    (own_zoo / "models" / "torn.yaml").write_text("family: [masked\n")
    (own_zoo / "models" / "odd.yaml").write_text("family: masked\nchekpoint: x\n")
    (own_zoo / "models" / "list.yaml").write_text("- a\n")
    for name, message in (
        ("torn", "is no YAML"),
        ("odd", "models/odd.yaml: unknown key"),
        ("list", "must be a mapping"),
    ):
        with pytest.raises(UserError, match=message):
            config.load_model(name)
    # A broken neighbour does not keep the others from working.
    assert compose.compose(GenerateOptions, ["model=mine", "prompts=[a]"]).model.name == "mine"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "got neither"),
        (["model=mine", "protocol=short"], "got both"),
        (["model=mine"], "prompt list is empty"),
        (["model=mine", "prompts=[]"], "prompt list is empty"),
        (["model=mine", "prompts=['  ']"], "a prompt is empty"),
        (["model=mine", f"prompts=[{'la ' * 1700}]"], "allowed are 2000"),
        (["model=mine", "prompts=[a]", "seconds=-1"], "seconds must be between"),
        (
            ["model=mine", "prompts=[a]", "model.decoding.steps.x=1"],
            "steps is not set, so model.decoding.steps.x cannot",
        ),
        (["model=mine", "prompts=[a]", "model.rescorer.weight=1"], "model.rescorer is not set"),
        (["model=mine", "prompts=[a]", "+colour=red"], "unknown key 'colour'"),
        (["model=mine", "prompts=[a: (b]"], "needs quotes of its own"),
        (["protocol.prompts.n=1", "model=mine"], "protocol is not set"),
    ],
)
def test_mistakes_in_generate_options(own_zoo, words, message):
    with pytest.raises(UserError) as caught:
        compose.compose(GenerateOptions, words)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_hybrid_has_one_kind_of_random_numbers():
    with pytest.raises(UserError, match="decoding.masked.sampling"):
        typed(HybridDecoding, {"prompt_seconds": 1.0, "masked": {"sampling": "reference"}})


@pytest.mark.parametrize("text", ["nul \x00 inside", "escape \x1b[2J", "bell\x07"])
def test_control_characters_are_no_prompt(text):
    with pytest.raises(UserError, match="control character"):
        config.check_text(text)


def test_line_breaks_and_tabs_are():
    assert config.check_text("a waltz,\r\n\tslow") == "a waltz,\r\n\tslow"
