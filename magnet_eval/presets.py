"""Named decoding settings of the published models: where each of the conflicting defaults comes from.

``api``            what the reference package's Python classes do when nothing is set
``official-eval``  what its evaluation grids ran, and so what the model cards' numbers stand for
``notebook``       what its demo notebooks set
``paper``          MAGNeT as its paper prints it (Ziv et al., 2024): the printed masking schedule. The paper's number of
                   steps is not confirmed, so the steps are those of ``official-eval``.

A preset is a mapping of decoding settings; what a model's ``decoding`` says comes over it.
"""

from typing import Any

from magnet_eval.lookup import UserError, check

PRESETS = ("api", "official-eval", "notebook", "paper")
_MUSIC = {"temperature": 3.0, "top_p": 0.9, "top_k": 0, "cfg_max": 10.0, "cfg_min": 1.0}
_SOUND = {"temperature": 3.5, "top_p": 0.8, "top_k": 0, "cfg_max": 20.0, "cfg_min": 1.0}


def preset(name: str, family: str, task: str, seconds: float) -> dict[str, Any]:
    """The decoding settings of a preset for a model of ``family``, trained for ``task`` on clips of ``seconds``.

    Raises UserError where there is none.
    """
    check("preset", name, PRESETS)
    if family == "masked":
        return _masked(name, task, seconds)
    if family == "autoregressive":
        return _autoregressive(name)
    if family == "hybrid":
        first = "api" if name == "paper" else name
        return {"autoregressive": _autoregressive(first), "masked": _masked(name, task, seconds)}
    raise UserError(f"family {family} has no presets, got preset {name!r}; take it out and set decoding: instead.")


def _masked(name: str, task: str, seconds: float) -> dict[str, Any]:
    """MAGNeT's. ``task`` and ``seconds`` count: only ``api`` is the same for every checkpoint."""
    if task not in ("music", "sound") or seconds <= 0:
        raise UserError(
            f"preset {name!r} depends on what the model was trained for; set task: music (or sound) and seconds: 10."
        )
    tuned = _SOUND if task == "sound" else _MUSIC
    long = [60, 10, 10, 10] if seconds > 10 else [20, 10, 10, 10]
    if name == "api":
        return {**_MUSIC, "steps": [20, 10, 10, 10], "span_arrangement": "nonoverlap"}
    if name == "notebook":
        return {**tuned, "steps": [int(20 * seconds // 10), 10, 10, 10], "span_arrangement": "stride1"}
    if name == "paper" and task == "sound":
        raise UserError("preset 'paper' is confirmed for music only; for sound take official-eval.")
    schedule = {"schedule": "paper"} if name == "paper" else {}
    return {**tuned, "steps": long, "span_arrangement": "nonoverlap", **schedule}


def _autoregressive(name: str) -> dict[str, Any]:
    """MusicGen's and AudioGen's (Copet et al., 2023; Kreuk et al., 2022)."""
    if name == "paper":
        raise UserError("preset 'paper' is MAGNeT's; an autoregressive model has api, official-eval and notebook.")
    settings = {"temperature": 1.0, "top_k": 250, "top_p": 0.0, "cfg": 3.0}
    return {**settings, "two_step_cfg": True} if name == "official-eval" else settings
