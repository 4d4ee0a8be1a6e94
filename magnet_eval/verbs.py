"""What run, generate, score, bench, report, data and train do; each returns what goes to stdout."""

import dataclasses
import json
import shlex
from collections.abc import Iterator
from pathlib import Path

from magnet_eval import config, mirror, places, remote
from magnet_eval.config import Generation, Protocol, Run
from magnet_eval.environment import command
from magnet_eval.lookup import UserError, load
from magnet_eval.options import (
    BenchOptions,
    CompareOptions,
    DataOptions,
    GenerateOptions,
    ReportOptions,
    TrainOptions,
)
from magnet_eval.progress import Progress, bar
from magnet_eval.store import RunFolder, writing
from magnet_eval.table import table


def run(chosen: Run) -> str:
    """The main job: generate, score, time, report; the table of scores and where the report is."""
    from magnet_eval import metric_checks, pipeline

    metric_checks.check(chosen.protocol)  # now, not after an hour of generating
    with bar() as progress:
        folder = pipeline.run(chosen, progress=progress)
        if chosen.protocol.speed:
            _bench(chosen, folder, progress, again=False)
    return _answer(chosen, folder, _report(chosen, folder))


def generate(chosen: GenerateOptions) -> str:
    """Clips of a protocol, or of texts of one's own: where they are."""
    if chosen.protocol is None:
        return "\n".join(str(path) for path in _clips(chosen))
    from magnet_eval import pipeline

    names = [field.name for field in dataclasses.fields(Run) if field.name not in ("reports", "json")]
    with bar() as progress:
        settings = Run(**{name: getattr(chosen, name) for name in names})
        folder = pipeline.generate(settings, progress=progress)
    rows = [[system.label, str(len(folder.clips(system.label)))] for system in settings.protocol.systems]
    return f"{table(['system', 'clips'], rows)}\n\nclips: {folder.path}"


def score(chosen: Run) -> str:
    """The scores of clips that are there already."""
    from magnet_eval import pipeline

    with bar() as progress:
        folder = pipeline.score(chosen, progress=progress)
    return _answer(chosen, folder)


def bench(chosen: BenchOptions) -> str:
    """Latency and throughput of the protocol's systems, measured now."""
    from magnet_eval import pipeline

    folder = pipeline.folder_of(chosen)
    with bar() as progress:
        _bench(chosen, folder, progress, again=True)
    return _answer(chosen, folder)


def report(chosen: ReportOptions) -> str:
    """The report of what the run folder holds: where it is."""
    from magnet_eval import pipeline
    from magnet_eval.report import formats

    folder = pipeline.folder_of(chosen) if chosen.run is None else _run_folder(chosen.run)
    if chosen.format == "html":
        what, path = "report", _report(chosen, folder)
    else:
        what, path = "tables", formats.write(folder, Path(chosen.reports) / folder.path.name, chosen.format)
    return _answer(chosen, folder, path) if chosen.json else f"{what}: {path}"


def compare(chosen: CompareOptions) -> str:
    """Systems of several runs, scored again on their common prompts; the table of scores and where the report is."""
    from magnet_eval import comparison

    assert chosen.runs  # CompareOptions has checked them
    out = remote.run_folder(places.join(chosen.results, chosen.name))
    with bar() as progress:
        comparison.compare(chosen.runs, out, chosen.systems, progress)
    return _answer(chosen, out, _report(chosen, out))


def data(chosen: DataOptions) -> str:
    """The availability of a data set's clips and where its manifest is; or how many clips were downloaded."""
    from magnet_eval.prompts import DATASETS, availability, datasets

    assert chosen.dataset and chosen.out  # DataOptions has checked them
    dataset = load(DATASETS, chosen.dataset, "dataset")
    entries = datasets.read(dataset, mirror.here(chosen.csv or ""), chosen.split)
    out = Path(chosen.out).expanduser()
    with bar() as progress:
        if chosen.action == "download":
            from magnet_eval.prompts.download import download

            return download(entries, out, progress)
        folder = Path(chosen.audio).expanduser() if chosen.audio else None
        found = availability.prepare(dataset, entries, folder, out, tolerance=chosen.tolerance, progress=progress)
    return json.dumps(found, indent=1, ensure_ascii=False) if chosen.json else availability.shown(found, out)


def train(chosen: TrainOptions) -> str:
    """Makes the embedded models again, or the networks that a protocol compares: which figures were written."""
    from magnet_eval.training import train as train_models

    if chosen.protocol is not None:
        return _train_for(chosen, chosen.protocol)
    paths = Path(chosen.work), Path(chosen.out)
    cards = train_models(
        chosen.what, *paths, chosen.minutes, seed=chosen.seed, threads=chosen.threads, steps=chosen.steps
    )
    return "\n".join(str(card) for card in cards) or f"nothing to do: everything is in {chosen.work}"


def _train_for(chosen: TrainOptions, protocol: Protocol) -> str:
    from magnet_eval.training.lab import train_variants

    found = train_variants(protocol, Path(chosen.work), chosen.threads)
    words = [word for word in shlex.split(command()) if word.lstrip("~+").startswith("protocol")]
    words = words or [f"protocol={protocol.name}"]  # called from Python
    return "\n".join([*map(str, found), "", f"next: {shlex.join(['magnet-eval', 'run', *words])}"])


def _clips(chosen: GenerateOptions) -> Iterator[Path]:
    """Makes one clip of each text; their files."""
    from magnet_eval import audio, generators
    from magnet_eval.clips import batches, clip_seed
    from magnet_eval.prompts import prompts_from_texts

    model = chosen.model
    assert model is not None and chosen.prompts  # GenerateOptions has checked them
    given = {name: getattr(chosen, name) for name in ("device", "batch", "seed", "audio")}
    settings = Generation(**{name: value for name, value in given.items() if value is not None})
    prompts = prompts_from_texts(chosen.prompts, chosen.seconds)
    generator = generators.build(model, settings.device, settings.dtype)
    with bar() as progress:
        for done, batch in enumerate(batches(prompts, settings.batch)):
            made = generator.generate(batch, [clip_seed(settings.seed, prompt.id) for prompt in batch])
            for prompt, samples in zip(batch, made.audio, strict=True):
                path = Path(chosen.out) / f"{prompt.id}.{model.name}.seed{settings.seed}.{settings.audio}"
                with writing(path):
                    path.parent.mkdir(parents=True, exist_ok=True)
                    audio.write(path, samples, generator.sample_rate)
                yield path
            progress(model.name, min((done + 1) * settings.batch, len(prompts)), len(prompts))


def _bench(chosen: Run, folder: RunFolder, progress: Progress, again: bool) -> None:
    """Times the systems; unless ``again``, only those of which there is no timing of the same work."""
    from magnet_eval.prompts import read_prompts
    from magnet_eval.speed.bench import Scenario
    from magnet_eval.speed.bench import bench as measure

    protocol = chosen.protocol
    assert protocol.speed is not None  # BenchOptions and ``run`` have checked
    systems = [(system.label, config.resolve_system(system)) for system in protocol.systems]
    scenario = Scenario(protocol.speed, read_prompts(protocol.prompts), protocol.generation)
    measure(systems, scenario, folder, protocol=(protocol.name, protocol.version), again=again, progress=progress)


def _run_folder(path: str) -> RunFolder:
    """A run folder from anywhere. Raises UserError if it is none."""
    folder = remote.run_folder(path)
    if not any((folder.path / name).is_file() for name in ("manifest.json", "scores.jsonl")):
        raise UserError(f"{path} is no run folder: it holds no manifest.json. Unpack a zip first; run=FOLDER.")
    return folder


def _report(chosen: Run | CompareOptions, folder: RunFolder) -> Path:
    """The page of a run; where it stands among the results, their index is made new as well."""
    from magnet_eval.report import build, runs

    path = build(folder, Path(chosen.reports) / folder.path.name)
    results = Path(chosen.results)
    if folder.path.resolve().parent == results.resolve():
        runs.write_index(results, Path(chosen.reports))
    return path


def _answer(chosen: Run | CompareOptions, folder: RunFolder, report: Path | None = None) -> str:
    """What goes to stdout in the end: the short table and where the report is, or all of it as JSON."""
    from magnet_eval.report import document, short_table

    if chosen.json:
        return json.dumps(document(folder, report), indent=1, ensure_ascii=False)
    return f"{short_table(folder)}\n\nreport: {report}" if report else short_table(folder)
