"""Cards: what a model is, its hash, its figures; and the YAML files that pin the hash."""

import hashlib

from magnet_eval.training import cards


def test_a_card_names_the_weights_and_the_figures(tmp_path):
    (tmp_path / "magnet").mkdir()
    (tmp_path / "magnet" / "model.safetensors").write_bytes(b"weights")
    cards.write_card("magnet", tmp_path, {"steps": 7, "held_out": {"masked 60%": [0.5, 1.25]}})
    text = (tmp_path / "magnet" / "README.md").read_text()
    assert hashlib.sha256(b"weights").hexdigest() in text
    assert "- steps: 7\n- held out:\n  - masked 60%: 0.5, 1.25\n" in text
    assert "same network, data, tokens" in text


def test_pinned_hashes_follow_the_weights(tmp_path):
    (tmp_path / "tiny" / "codec").mkdir(parents=True)
    (tmp_path / "tiny" / "codec" / "model.safetensors").write_bytes(b"new")
    old, elsewhere = "0" * 64, "1" * 64
    text = f"# why\nsha256:\n  tiny/codec/model.safetensors: {old}\n  tiny/gone/model.safetensors: {elsewhere}\n"
    (tmp_path / "a.yaml").write_text(text)
    cards.pin(tmp_path)
    new = hashlib.sha256(b"new").hexdigest()
    assert (tmp_path / "a.yaml").read_text() == text.replace(old, new)
