"""Where a model's parts lie: the hub's cache, folders, files; what is missing is named, nothing is downloaded."""

import json
import logging
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from magnet_eval import config, doctor, generators, listing, zoo
from magnet_eval.generators.parts import parts
from magnet_eval.lookup import UserError
from magnet_eval.model import Model
from magnet_eval.options import DoctorOptions, ListOptions
from magnet_eval.records import Prompt

DATA = Path(__file__).parents[1] / "data" / "pipeline"
ENCODEC = "facebook/encodec_32khz"
PROMPT = Prompt("p", "slow waltz", 0.18)  # three spans of three frames


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Fails a test that asks the network for anything, even where the asker takes no for an answer."""
    asked = []

    def refuse(*args, **kwargs):
        asked.append(args)
        raise OSError("no network here")

    for name in ("getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    yield
    assert not asked


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Puts a folder into a cache of the hub, as its newest snapshot; returns its place there."""
    cache = tmp_path / "hub"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    monkeypatch.chdir(tmp_path)

    def put(name: str, source: Path, *files: str, commit: str = "1") -> Path:
        repository = cache / f"models--{name.replace('/', '--')}"
        snapshot = repository / "snapshots" / (commit * 40)
        snapshot.mkdir(parents=True)
        for file in files or [path.name for path in source.iterdir()]:
            shutil.copy(source / file, snapshot)
        (repository / "refs").mkdir(exist_ok=True)
        (repository / "refs" / "main").write_text(commit * 40)
        return snapshot

    return put


def places(model: Model) -> dict[str, Path]:
    return {part.role: part.place for part in parts(model)}


def missing(name: str) -> dict[str, str]:
    """Role to what doctor says is to be done, of parts that are not here."""
    facts = doctor.model_facts(name)
    assert not facts["error"]
    return {part["part"]: part["get"] for part in facts["parts"] if part["problem"]}


def here(name: str) -> str:
    return next(row["here"] for row in listing.models(ListOptions()) if row["model"] == name)


def small(name: str, **changes) -> Model:
    """A published model of the zoo, with the few steps and the one second of its stand-in."""
    model = config.load_model(name)
    settings = {"steps": [2, 1, 1, 1]} if model.family == "masked" else {"top_k": 20}
    return Model(**{**vars(model), "seconds": 1.0, "decoding": settings, **changes})


def test_a_model_of_the_hub_from_nothing_to_audio(hub):
    name = "magnet-small-10secs"
    get = "Get it: hf download facebook/magnet-small-10secs state_dict.bin compression_state_dict.bin"
    text = "Get it: hf download google-t5/t5-base --include '*.json' --include model.safetensors --include spiece.model"
    assert missing(name) == {"checkpoint": get, "text": text, "codec": get}
    assert here(name) == "no checkpoint text codec"
    with pytest.raises(UserError, match="checkpoint facebook/magnet-small-10secs: not here") as caught:
        generators.build(small(name), "cpu")
    assert str(caught.value).endswith(f"{get}.")
    with pytest.raises(UserError, match="checkpoint facebook/magnet-small-10secs: not here"):
        generators.fingerprint(small(name))

    place = hub("facebook/magnet-small-10secs", DATA / "magnet")
    words = hub("google-t5/t5-base", DATA / "text")
    assert missing(name) == {} and here(name) == "yes"
    assert places(small(name)) == {"checkpoint": place, "text": words, "codec": place}
    found = {part["part"]: [file["file"] for file in part["files"]] for part in doctor.model_facts(name)["parts"]}
    assert found["checkpoint"] == ["state_dict.bin"] and found["codec"] == ["compression_state_dict.bin"]
    assert found["text"] == ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    made = generators.build(small(name), "cpu").generate([PROMPT], [1])
    assert made.audio[0].shape == (1, 5760)


def test_a_folder_without_its_packages_files_is_not_here(hub):
    hub("facebook/musicgen-small", DATA / "musicgen")
    hub("cvssp/audioldm2", DATA / "encodec")
    hub("facebook/magnet-small-10secs", DATA / "magnet", "state_dict.bin")
    for name, place, lacks in (
        ("musicgen-small-transformers", "facebook/musicgen-small", "config.json"),
        ("audioldm2", "cvssp/audioldm2", "model_index.json"),
        ("magnet-small-10secs-audiocraft", "facebook/magnet-small-10secs", "compression_state_dict.bin"),
    ):
        assert missing(name) == {"checkpoint": f"Get it: hf download {place}"}
        assert f"has no {lacks}" in doctor.model_facts(name)["parts"][0]["problem"]
        with pytest.raises(UserError, match=f"has no {lacks}"):
            generators.build(config.load_model(name), "cpu")


def test_doctor_stands_empty_folders_and_files_for_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models" / "empty").mkdir(parents=True)
    (tmp_path / "weights.npz").write_bytes(b"1")
    for name, family, place in (
        ("a", "transformers", "empty"), ("b", "audiocraft", "weights.npz"), ("c", "my.own:Family", "empty")
    ):  # fmt: skip
        (tmp_path / "models" / f"{name}.yaml").write_text(f"family: {family}\ncheckpoint: {place}\n")
    assert [here(name) for name in "abc"] == ["no checkpoint"] * 3
    shown = doctor.doctor(DoctorOptions())
    for words in ("has no config.json", "no checkpoint folder", "empty is empty"):
        assert words in shown


def test_a_family_of_ones_own_has_files_of_any_kind(tmp_path):
    folder = tmp_path / "weights"
    (folder / ".cache").mkdir(parents=True)
    (folder / ".cache" / "lock").write_text("a")
    (folder / "numbers.npz").write_bytes(b"1")
    for place in (folder, folder / "numbers.npz"):
        model = Model(family="my.own:Family", checkpoint=str(place))
        assert [path.name for part in parts(model) for path in part.files] == ["numbers.npz"]
        assert list(generators.weights(model)) == ["checkpoint/numbers.npz"]


def test_a_pointer_leads_to_the_codecs_own_place(hub):
    hub("facebook/musicgen-small", DATA / "musicgen")
    hub("google-t5/t5-base", DATA / "text")
    get = f"Get it: hf download {ENCODEC} --include '*.json' --include model.safetensors --include spiece.model"
    assert missing("musicgen-small") == {"codec": get}
    codec = hub(ENCODEC, DATA / "encodec")
    assert missing("musicgen-small") == {} and here("musicgen-small") == "yes"
    assert places(small("musicgen-small"))["codec"] == codec
    assert "codec/model.safetensors" in generators.weights(small("musicgen-small"))
    assert generators.build(small("musicgen-small"), "cpu").sample_rate == 32_000


def test_an_incomplete_snapshot_is_missing_what_it_lacks(hub):
    hub("facebook/magnet-small-10secs", DATA / "magnet", "state_dict.bin")
    hub("google-t5/t5-base", DATA / "text")
    get = "Get it: hf download facebook/magnet-small-10secs state_dict.bin compression_state_dict.bin"
    assert missing("magnet-small-10secs") == {"codec": get}
    assert here("magnet-small-10secs") == "no codec"


def test_a_damaged_checkpoint_is_said_by_doctor_and_list(hub):
    place = hub("facebook/magnet-small-10secs", DATA / "magnet")
    (place / "state_dict.bin").write_bytes(b"<html>")
    assert str(place / "state_dict.bin") in doctor.model_facts("magnet-small-10secs")["error"]
    row = next(row for row in listing.models(ListOptions()) if row["model"] == "magnet-small-10secs")
    assert row["description"].startswith("broken: ")


def test_the_newest_snapshot_and_the_old_name_of_t5(hub):
    hub("facebook/magnet-small-10secs", DATA / "magnet")
    newest = hub("facebook/magnet-small-10secs", DATA / "magnet", commit="2")
    old = hub("t5-base", DATA / "text")
    assert places(small("magnet-small-10secs")) == {"checkpoint": newest, "text": old, "codec": newest}
    new = hub("google-t5/t5-base", DATA / "text")
    assert places(small("magnet-small-10secs"))["text"] == new


def test_two_published_models_make_a_hybrid(hub):
    hub("facebook/magnet-small-30secs", DATA / "magnet")
    hub("google-t5/t5-base", DATA / "text")
    hybrid = small("two-model-hybrid-small-30secs", decoding={"prompt_seconds": 0.1, "masked": {"steps": [2, 1, 1, 1]}})
    with pytest.raises(UserError, match="prompter facebook/musicgen-small: not here") as caught:
        generators.fingerprint(hybrid)
    assert "hf download facebook/musicgen-small state_dict.bin" in str(caught.value)
    hub("facebook/musicgen-small", DATA / "musicgen")
    made = generators.build(hybrid, "cpu").generate([PROMPT], [1])
    assert set(made.stage_seconds) >= {"text", "prefill", "decode", "codebook 1", "codebook 4", "codec"}
    rescored = small("rescored-magnet-small-30secs")
    assert generators.build(rescored, "cpu").generate([PROMPT], [1]).iterations == 5


def test_the_published_hybrid_is_refused_in_one_line(hub):
    hub("facebook/hybrid-magnet-small", DATA / "magnet")
    hub("google-t5/t5-base", DATA / "text")
    with pytest.raises(UserError, match="was never published; take a two-model hybrid"):
        generators.build(small("hybrid-magnet-small", decoding=None), "cpu")


def test_ones_own_folder_wins_over_the_hubs_cache(hub, tmp_path):
    cached = hub("facebook/magnet-small-10secs", DATA / "magnet")
    assert zoo.find("facebook/magnet-small-10secs") == cached
    beside = tmp_path / "facebook" / "magnet-small-10secs"
    shutil.copytree(DATA / "magnet", beside)
    assert zoo.find("facebook/magnet-small-10secs") == beside
    own = tmp_path / "models" / "facebook" / "magnet-small-10secs"
    shutil.copytree(DATA / "magnet", own)
    (tmp_path / "models" / "mine.yaml").write_text("family: masked\ncheckpoint: facebook/magnet-small-10secs\n")
    assert zoo.find("facebook/magnet-small-10secs") == own
    (own / "compression_state_dict.bin").unlink()
    facts = doctor.model_facts("mine")
    codec = next(part for part in facts["parts"] if part["part"] == "codec")
    assert f"{own} has no config.json" in codec["problem"] and codec["get"] == ""  # a hub has no say in it


@pytest.mark.parametrize("value", ["facebook/none", "t5-base", "a b/c", "../x", "tiny/none", "facebook/a/b"])
def test_what_is_nowhere_has_the_place_where_it_would_be(hub, value):
    assert zoo.cached(value) is None
    assert zoo.find(value) == zoo.root() / "models" / value
    assert not zoo.find(value).exists()


def test_absolute_paths_and_the_home_folder(tmp_path, monkeypatch):
    assert zoo.find(str(DATA / "magnet")) == DATA / "magnet"
    assert zoo.find("/nowhere/at/all") == Path("/nowhere/at/all")
    monkeypatch.setenv("HOME", str(DATA))
    assert zoo.find("~/magnet") == DATA / "magnet"
    assert zoo.how_to_get("/nowhere/at/all") == "Check the path /nowhere/at/all"


def local(checkpoint: Path | str, **changes) -> Model:
    settings = {"text": str(DATA / "text"), "decoding": {"steps": [2, 1, 1, 1]}, **changes}
    return Model("masked", str(checkpoint), name="m", **settings)


def clip(model: Model) -> np.ndarray:
    return generators.build(model, "cpu").generate([PROMPT], [1]).audio[0]


def test_a_single_file_of_audiocraft(tmp_path):
    file = DATA / "magnet" / "state_dict.bin"
    assert [part.files for part in parts(local(file))][::2] == [(file,), (file.parent / "compression_state_dict.bin",)]
    whole = clip(local(DATA / "magnet"))
    assert np.array_equal(clip(local(file)), whole)
    alone = Path(shutil.copy(file, tmp_path / "best.th"))
    assert np.array_equal(clip(local(alone, codec=str(DATA / "magnet"))), whole)
    codec = shutil.copy(DATA / "magnet" / "compression_state_dict.bin", tmp_path / "codec.pt")
    assert np.array_equal(clip(local(alone, codec=codec)), whole)
    assert generators.fingerprint(local(file)) == generators.fingerprint(local(DATA / "magnet"))


def test_a_single_safetensors_file_is_that_file(zoo, tmp_path):
    folder = Path(shutil.copytree(zoo / "lm", tmp_path / "lm"))
    other = load_file(zoo / "other" / "model.safetensors")
    save_file(other, folder / "best.safetensors")
    places = {role: str(zoo / role) for role in ("text", "codec")}
    best, plain = local(folder / "best.safetensors", **places), local(folder, **places)
    assert parts(best)[0].files == (folder / "config.json", folder / "best.safetensors")
    assert np.array_equal(clip(best), clip(local(zoo / "other", **places)))
    assert not np.array_equal(clip(best), clip(plain))
    (folder / "config.json").unlink()
    with pytest.raises(UserError, match=r"has no config\.json"):
        generators.build(best, "cpu")


# What a checkpoint says of itself


def test_the_checkpoints_own_text_encoder_is_used(hub, caplog):
    hub("google-t5/t5-base", DATA / "text")
    large = hub("google-t5/t5-large", DATA / "text")
    wrong = local(DATA / "sound", text="google-t5/t5-base")
    with caplog.at_level(logging.WARNING, "magnet_eval"):
        assert places(wrong)["text"] == large
        clip(wrong)
    warnings = [record.message for record in caplog.records]
    assert warnings == [
        f"{DATA / 'sound' / 'state_dict.bin'} was trained with google-t5/t5-large, not google-t5/t5-base; "
        "the checkpoint is right"
    ]
    caplog.clear()
    assert places(local(DATA / "sound", text="")) == places(local(DATA / "sound", text="google-t5/t5-large"))
    assert not caplog.records


def test_a_place_for_the_text_encoder_wins(hub, caplog):
    hub("google-t5/t5-large", DATA / "text")
    assert places(local(DATA / "sound"))["text"] == DATA / "text"
    assert not caplog.records


def test_a_preset_for_another_length_is_refused():
    published = {"preset": "official-eval", "task": "music"}
    with pytest.raises(UserError, match=r"was trained on clips of 1 s, models/m\.yaml says 10") as caught:
        generators.build(local(DATA / "magnet", **published, seconds=10.0), "cpu")
    assert "set seconds" in str(caught.value)
    assert clip(local(DATA / "magnet", **published, seconds=1.0)).shape == (1, 5760)
    assert clip(local(DATA / "magnet", seconds=10.0)).shape == (1, 5760)  # without a preset nothing depends on it


def test_an_autoregressive_preset_needs_no_length():
    settings = {"text": str(DATA / "text"), "codec": str(DATA / "encodec"), "decoding": {"top_k": 20}}
    model = Model("autoregressive", str(DATA / "musicgen"), preset="api", **settings)
    assert clip(model).shape == (1, 5760)


def without_vocabulary(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def of_t5_without_its_file(folder: Path) -> None:
    """What the hub's folder looks like where spiece.model and tokenizer.json were not fetched."""
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "T5Tokenizer", "extra_ids": 100}))


def of_another_size(folder: Path, keep: int = 0, add: int = 0) -> None:
    content = json.loads((folder / "tokenizer.json").read_text())
    words = list(content["model"]["vocab"])
    words = words[: keep or None] + [f"word{i}" for i in range(add)]
    content["model"]["vocab"] = {word: i for i, word in enumerate(words)}
    (folder / "tokenizer.json").write_text(json.dumps(content))


TOKENIZERS = {
    "no vocabulary": without_vocabulary,
    "T5 without its file": of_t5_without_its_file,
    "a smaller vocabulary": lambda folder: of_another_size(folder, keep=150),
    "a larger vocabulary": lambda folder: of_another_size(folder, add=40),
    "no JSON": lambda folder: (folder / "tokenizer.json").write_text("{"),
}


@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_tokenizer_that_is_not_the_encoders_is_refused(tmp_path, name):
    folder = Path(shutil.copytree(DATA / "text", tmp_path / "text"))
    TOKENIZERS[name](folder)
    with pytest.raises(UserError, match="tokenizer") as caught:
        generators.build(local(DATA / "magnet", text=str(folder)), "cpu")
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)


def test_a_text_encoder_of_another_width_is_refused(zoo, tmp_path):
    from transformers import T5Config, T5EncoderModel

    folder = Path(shutil.copytree(DATA / "text", tmp_path / "text"))
    torch.manual_seed(0)
    T5EncoderModel(T5Config(vocab_size=258, d_model=32, d_kv=8, d_ff=16, num_layers=1, num_heads=4)).save_pretrained(
        folder
    )
    with pytest.raises(UserError, match="has text_dim 24, but its text encoder and codec go with 32"):
        generators.build(local(DATA / "magnet", text=str(folder)), "cpu")
