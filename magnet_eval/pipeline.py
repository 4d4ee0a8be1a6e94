"""The story on one screen: prompts -> clips -> embeddings -> scores.

``generate`` makes the clips that are not there yet, ``score`` judges them, ``run`` does both. Each reads and writes
the run folder (see store.py), can be rerun alone, and does nothing twice.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from magnet_eval import config, engines, generators, remote, scoring
from magnet_eval.changes import changes
from magnet_eval.clips import ClipMaker
from magnet_eval.environment import command, environment
from magnet_eval.generators import files
from magnet_eval.lookup import UserError
from magnet_eval.progress import Progress, silent
from magnet_eval.prompts import read_prompts
from magnet_eval.records import Prompt
from magnet_eval.store import RunFolder, ids_hash

log = logging.getLogger(__name__)
SHOWN_CHANGES = 3  # of a run's settings, in the warning


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
        warn_of_changes(folder, described)
        folder.write_prompts(prompts)
        folder.update_manifest(**described)
        failures, n_made = [], {}
        for label, model in models.items():
            maker = ClipMaker(folder, label, model, fingerprints[label], protocol.generation, engine)
            n_made[label] = maker.make(prompts, progress)
            failures += maker.failures
        folder.set_failures("generate", failures)
        if any(n_made.values()):
            folder.add_history("generate", environment(), n_clips=n_made, engine=settings.engine)
    return folder


def warn_of_changes(folder: RunFolder, described: Mapping[str, Any]) -> None:
    """Says in one line, before old clips are replaced, how a run is another one than the folder's."""
    changed = changes(folder.manifest(), described)
    if changed:
        more = f" and {len(changed) - SHOWN_CHANGES} more" if len(changed) > SHOWN_CHANGES else ""
        log.warning(
            "%s was made with %s%s. Clips that this changes are made anew, in place of the old ones; "
            "results=FOLDER starts afresh and keeps both.",
            folder.path,
            "; ".join(changed[:SHOWN_CHANGES]),
            more,
        )


def score(settings: config.Run, progress: Progress = silent) -> RunFolder:
    """Judges the clips of the run folder with the protocol's metrics. Raises UserError if there are none."""
    folder = folder_of(settings)
    with folder.lock():
        if scoring.score(settings.protocol, folder, progress):
            folder.add_history("score", environment())
    return folder


def folder_of(settings: config.Run) -> RunFolder:
    """The run folder of a run's protocol; where results is a URL, its copy here, as it is there now."""
    protocol = settings.protocol
    return remote.run_folder(f"{settings.results.rstrip('/')}/{protocol.name}-v{protocol.version}")


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
                **asdict(model),
                "settings": model.settings_in_full(),
                "fingerprint": fingerprints[label],
                "weights": generators.weights(model),
                **({"about": files.about(files.folder_of(model))} if model.family == "files" else {}),
            }
            for label, model in models.items()
        },
        "n_prompts": len(prompts),
        "ids_hash": ids_hash(prompt.id for prompt in prompts),
        "command": command(),
    }
