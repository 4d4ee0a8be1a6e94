"""The story on one screen: prompts -> clips -> embeddings -> scores.

``generate`` makes the clips that are not there yet, ``score`` judges them, ``run`` does both. Each reads and writes
the run folder (see store.py), can be rerun alone, and does nothing twice.
"""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from magnet_eval import config, engines, generators, places, remote, scoring, stale
from magnet_eval.clips import BrokenModel, ClipMaker
from magnet_eval.environment import command, environment
from magnet_eval.generators import files
from magnet_eval.lookup import UserError
from magnet_eval.progress import Progress, silent
from magnet_eval.prompts import read_prompts
from magnet_eval.records import Prompt
from magnet_eval.store import RunFolder, ids_hash


def run(settings: config.Run, progress: Progress = silent) -> RunFolder:
    """``generate`` and ``score``: the whole of a protocol but for its timings and its report."""
    generate(settings, progress)
    return score(settings, progress)


def generate(settings: config.Run, progress: Progress = silent) -> RunFolder:
    """Makes every clip of the run that is not there yet.

    A clip that cannot be made is an absent row, named with its reason in the manifest; the others go on.
    Raises UserError on settings that cannot work, before anything is made.
    """
    protocol, folder = settings.protocol, folder_of(settings)
    engine = engines.build(settings.engine, settings.workers)
    prompts = read_prompts(protocol.prompts)
    models = {system.label: config.resolve_system(system) for system in protocol.systems}
    for label, model in models.items():
        if model.weights:
            raise UserError(
                f"{label} has weights: {model.weights}, which makes noise: for bench, not for clips to judge."
            )
    fingerprints = {label: generators.fingerprint(model) for label, model in models.items()}
    with folder.lock():
        described = description(protocol, models, fingerprints, prompts)
        makers = {
            label: ClipMaker(folder, label, model, fingerprints[label], protocol.generation, engine)
            for label, model in models.items()
        }
        stale.drop(folder, makers, prompts, described)
        folder.write_prompts(prompts)
        folder.update_manifest(**described)
        n_made = {}
        try:
            for label, maker in makers.items():
                n_made[label] = maker.make(prompts, progress)
        except BrokenModel:
            folder.set_failures("generate", failures_of(makers))
            raise
        folder.set_failures("generate", failures_of(makers))
        if any(n_made.values()):
            folder.add_history("generate", environment(), n_clips=n_made, engine=settings.engine)
    return folder


def failures_of(makers: Mapping[str, ClipMaker]) -> list[dict[str, str]]:
    """Which clips could not be made, and why."""
    return [row for maker in makers.values() for row in maker.failures]


def score(settings: config.Run, progress: Progress = silent) -> RunFolder:
    """Judges the clips of the run folder with the protocol's metrics.

    Raises UserError if there are none, or if they are of other settings.
    """
    folder = folder_of(settings)
    with folder.lock():
        refuse_others(settings.protocol, folder)
        if scoring.score(settings.protocol, folder, progress):
            folder.add_history("score", environment())
    return folder


def refuse_others(protocol: config.Protocol, folder: RunFolder) -> None:
    """Raises UserError where the folder's clips are of other settings, as far as the models are here to tell."""
    models = {}
    fingerprints = {}
    for system in protocol.systems:
        with contextlib.suppress(UserError, OSError):  # whoever only scores need not have the weights
            model = config.resolve_system(system)
            fingerprints[system.label] = generators.fingerprint(model)
            models[system.label] = model
    makers = {
        label: ClipMaker(folder, label, model, fingerprints[label], protocol.generation)
        for label, model in models.items()
    }
    described = {"protocol": asdict(protocol), "systems": systems_of(models, fingerprints)}
    stale.refuse(folder, makers, described)


def folder_of(settings: config.Run) -> RunFolder:
    """The run folder of a run's protocol; where results is a URL, its copy here, as it is there now."""
    protocol = settings.protocol
    return remote.run_folder(places.join(settings.results, f"{protocol.name}-v{protocol.version}"))


def description(
    protocol: config.Protocol,
    models: Mapping[str, config.Model],
    fingerprints: Mapping[str, str],
    prompts: Sequence[Prompt],
) -> dict[str, Any]:
    """What the manifest says of how the clips are made."""
    return {
        "protocol": asdict(protocol),
        "systems": {
            label: {
                **settings,
                "weights": generators.weights(models[label]),
                **({"about": files.about(files.folder_of(models[label]))} if models[label].family == "files" else {}),
            }
            for label, settings in systems_of(models, fingerprints).items()
        },
        "n_prompts": len(prompts),
        "ids_hash": ids_hash(prompt.id for prompt in prompts),
        "command": command(),
    }


def systems_of(models: Mapping[str, config.Model], fingerprints: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The settings of each system and what stands for all that makes its clips."""
    return {
        label: {**asdict(model), "settings": model.settings_in_full(), "fingerprint": fingerprints[label]}
        for label, model in models.items()
    }
