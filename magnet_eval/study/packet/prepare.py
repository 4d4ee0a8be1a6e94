"""From finished runs to a packet that gives nothing away, and the key that tells what is what.

Order: draw prompts, find what all clips have in common, measure them, choose one loudness, write every stimulus under
an id of its own, then the key, the packet and the page. All of it is made in a folder aside and put in its place at the
end, after the leak check: a packet is there whole or not at all.
"""

import logging
import os
import secrets
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from magnet_eval import __version__
from magnet_eval.lookup import UserError
from magnet_eval.progress import Progress, silent
from magnet_eval.store import file_hash, writing
from magnet_eval.study.analysis.analyse import BY_PROTOCOL
from magnet_eval.study.options import PrepareOptions
from magnet_eval.study.packet import headphones, levels, packing, sounds
from magnet_eval.study.packet.anchors import LEAST_RATE
from magnet_eval.study.packet.check import check
from magnet_eval.study.packet.design import Draft, Slot, Wanted, design
from magnet_eval.study.packet.packing import Clip, Names
from magnet_eval.study.packet.questions import dimensions, languages, read_questions
from magnet_eval.study.packet.selection import Selection, has_real, select
from magnet_eval.study.packet.sounds import Format, Sound
from magnet_eval.study.schema import (
    AudioFacts,
    Dimension,
    Folders,
    HeadphoneTrial,
    Key,
    Packet,
    Pass,
    Plan,
    Rules,
    Stimulus,
    sha256,
    to_json,
    write_assignments,
)

log = logging.getLogger(__name__)
PAGE = Path(__file__).parents[1] / "page"
LONGEST = {"mushra": 12.0}  # s (BS.1534-3)
TESTS = [
    "two-way (rater x prompt) bootstrap of paired differences, Holm-adjusted",
    "equivalence: two one-sided tests within the margin",
]


@dataclass(frozen=True)
class Material:
    """What is heard, before anybody is to hear it."""

    selection: Selection
    sounds: Mapping[Clip, Sound]
    controls: Mapping[str, tuple[str, ...]]  # roles of clips that no system made, by prompt id
    form: Format


def prepare(chosen: PrepareOptions, progress: Progress = silent) -> tuple[Packet, Plan]:
    """Makes STUDY/ and STUDY.key/ as ``chosen``. Raises UserError where something is wrong, and leaves nothing then."""
    rng = np.random.default_rng(chosen.seed)
    questions = read_questions(chosen.questions)
    asked = dimensions(questions, chosen.method, chosen.dimensions)
    spoken = languages(questions, asked)
    with aside(Folders.of(chosen.out)) as folders:
        material = gathered(chosen, rng)
        gains, facts = levelled(material, chosen.loudness, progress)
        wanted = wanted_of(chosen, material, [f"p{number}" for number, _ in enumerate(asked, start=1)])
        drafts, slots = design(wanted, rng)
        names = Names(chosen.salt or secrets.token_hex(16))
        stimuli = write_stimuli(folders, material, gains, drafts, names, progress)
        trials = write_headphones(folders, material.form.rate, names, rng) if chosen.headphones else []
        plan = planned(chosen, wanted, asked, names)
        plan_text = to_json(plan)
        key_text = to_json(Key(plan.study_id, names.salt, chosen.seed, sha256(plan_text), stimuli))
        packet = Packet(
            study_id=plan.study_id,
            title=chosen.title,
            protocol=chosen.method,
            dimensions=asked,
            passes=[Pass(name, one.id) for name, one in zip(wanted.passes, asked, strict=True)],
            pages=packing.pages_of(drafts, texts(material, wanted, asked), names),
            audio=facts,
            rules=Rules(),
            languages=spoken,
            consent={one: questions.consent[one] for one in spoken},
            headphone_check=chosen.headphones,
            headphones=trials,
            key_sha256=sha256(key_text),
            tool_version=__version__,
        )
        write_folders(folders, {"plan.json": plan_text, "key.json": key_text}, packet, slots, names)
        progress("leak check", 0, 1)
        check(folders)
    return packet, plan


@contextmanager
def aside(final: Folders) -> Iterator[Folders]:
    """Folders to make a study in, which become ``final`` if all goes well and are gone if not.

    Raises UserError if a study is there already: answers may refer to it.
    """
    for folder in (final.study, final.key):
        if folder.exists():
            raise UserError(f"{folder} is there already. Choose another folder with out=FOLDER, or remove it first.")
    made = Folders(final.study.with_name(f".{final.study.name}.making"))
    try:
        for folder, mode in ((made.study, 0o755), (made.key, 0o700)):
            shutil.rmtree(folder, ignore_errors=True)
            with writing(folder):
                folder.mkdir(parents=True, mode=mode)
        yield made
        made.key.replace(final.key)
        made.study.replace(final.study)
    finally:
        shutil.rmtree(made.study, ignore_errors=True)
        shutil.rmtree(made.key, ignore_errors=True)


def gathered(chosen: PrepareOptions, rng: np.random.Generator) -> Material:
    """Draws prompts and finds their clips, and what all of these have in common. Reads no more than it must."""
    assert isinstance(chosen.run, list)  # PrepareOptions has made it one
    is_mushra = chosen.method == "mushra"
    selection = select(chosen.run, chosen.systems, chosen.prompts, chosen.leave_out, rng=rng, real=is_mushra)
    prompts = list({prompt.id: prompt for prompt in (*selection.prompts, selection.training)}.values())
    found: dict[Clip, Sound] = {}
    for prompt in prompts:
        for entry in selection.entries:
            clip = entry.clips[prompt.id]
            name = f"{entry.label}, prompt {prompt.id}"
            found[prompt.id, entry.label] = Sound(name, entry.run / clip.path, "system", clip.sha256)
    found = {clip: sounds.verified(sound) for clip, sound in found.items()}
    form = sounds.format_of(list(found.values()))
    roles = controls_of(chosen, form)
    controls = {prompt.id: roles for prompt in prompts if has_real(prompt)}
    for prompt in prompts:
        for role in controls.get(prompt.id, ()):
            sound = Sound(f"{role} of prompt {prompt.id}", Path(prompt.reference), role, "")
            found[prompt.id, role] = sounds.verified(sound)
    if is_mushra:
        found = {
            clip: sounds.aligned(sound, found[clip[0], "reference"], form) if sound.role == "system" else sound
            for clip, sound in found.items()
        }
    longest = LONGEST.get(chosen.method, float("inf"))
    n_samples = sounds.length(list(found.values()), form, chosen.seconds, longest)
    return Material(selection, found, controls, Format(form.rate, form.channels, n_samples))


def controls_of(chosen: PrepareOptions, form: Format) -> tuple[str, ...]:
    """Roles of the clips of a prompt's real audio. Raises UserError where one makes no sense."""
    asked = chosen.controls
    if asked is None:
        usual = ["anchor35", "anchor70"] if chosen.method == "mushra" else ["gold", "anchor35"]
        roles = [role for role in usual if form.rate >= LEAST_RATE.get(role, 0)]
    else:
        roles = list(dict.fromkeys(asked))
    for role in roles:
        if form.rate < LEAST_RATE.get(role, 0):
            raise UserError(
                f"{role} makes no sense at {form.rate} Hz: its low-pass needs {LEAST_RATE[role]} Hz or more."
            )
        if chosen.method == "mushra" and role == "gold":
            raise UserError("method=mushra has the hidden reference for its gold; leave gold out of controls.")
    return ("reference", *roles) if chosen.method == "mushra" else tuple(roles)


def levelled(material: Material, most: float, progress: Progress) -> tuple[dict[Clip, float], AudioFacts]:
    """Measures every clip as it will be heard and chooses one loudness for all: gains in dB, and what comes of them."""
    form, found = material.form, {}
    clipped: Counter[str] = Counter()

    def level(sound: Sound) -> levels.Level:
        return levels.measure(sounds.rendered(sound, form), form.rate, sound.name)

    with ThreadPoolExecutor() as pool:
        measured = pool.map(level, material.sounds.values())
        for done, (clip, sound) in enumerate(material.sounds.items(), start=1):
            found[clip] = next(measured)
            clipped[clip[1]] += sound.role == "system" and found[clip].clipped > 0
            progress("levels", done, len(material.sounds))
    for label in +clipped:
        log.warning("%d clips of %s were clipped when they were made; they stay as they are", clipped[label], label)
    by_name = {material.sounds[clip].name: level for clip, level in found.items()}
    target = levels.common_loudness(by_name, most)
    gains = {clip: target - level.lufs for clip, level in found.items()}
    peak = max(found[clip].dbtp + gain for clip, gain in gains.items())
    seconds = form.n_samples / form.rate
    facts = AudioFacts(form.rate, form.channels, seconds, form.n_samples, round(target, 3), round(peak, 2))
    return gains, facts


def wanted_of(chosen: PrepareOptions, material: Material, passes: Sequence[str]) -> Wanted:
    """What the design is to be."""
    prompts = [prompt.id for prompt in material.selection.prompts]
    return Wanted(
        protocol=chosen.method,
        passes=passes,
        systems=tuple(entry.label for entry in material.selection.entries),
        controls=material.controls,
        prompts=prompts,
        training=material.selection.training.id,
        raters=chosen.raters,
        per_rater=min(chosen.prompts_per_rater or len(prompts), len(prompts)),
        repeats=chosen.repeats,
    )


def texts(material: Material, wanted: Wanted, asked: Sequence[Dimension]) -> dict[tuple[str, str], str]:
    """What is to be read on a page, by pass and prompt id; nothing where the question hides it."""
    prompts = (*material.selection.prompts, material.selection.training)
    return {
        (name, prompt.id): prompt.text
        for name, one in zip(wanted.passes, asked, strict=True)
        if one.show_prompt
        for prompt in prompts
    }


def planned(chosen: PrepareOptions, wanted: Wanted, asked: Sequence[Dimension], names: Names) -> Plan:
    """What is decided before the first answer."""
    low, high = asked[0].scale
    return Plan(
        study_id=names.of("t", "study"),
        protocol=chosen.method,
        dimensions=[one.id for one in asked],
        systems=list(wanted.systems),
        tests=TESTS,
        alpha=chosen.alpha,
        margin=(high - low) / 20 if chosen.margin is None else chosen.margin,
        exclusions=BY_PROTOCOL[chosen.method] if chosen.exclusions is None else chosen.exclusions,
        raters=chosen.raters,
        prompts=len(wanted.prompts),
        prompts_per_rater=wanted.per_rater,
        left_out=chosen.leave_out,
        runs=[str(Path(run).resolve()) for run in chosen.run or ()],
    )


def write_stimuli(
    folders: Folders,
    material: Material,
    gains: Mapping[Clip, float],
    drafts: Sequence[Draft],
    names: Names,
    progress: Progress,
) -> dict[str, Stimulus]:
    """Writes every stimulus; their entries in the key, by id. A clip is made once, whatever the number of its ids."""
    entries, ids = {}, defaultdict(list)
    for name, clip, entry in packing.stimuli_of(drafts, material.sounds, gains, names):
        entries[name] = entry
        ids[clip].append(name)
    (folders.study / "stimuli").mkdir()
    for done, (clip, of_clip) in enumerate(ids.items(), start=1):
        samples = sounds.rendered(material.sounds[clip], material.form) * 10 ** (gains[clip] / 20)
        for name in of_clip:
            sounds.write_wav(folders.study / "stimuli" / f"{name}.wav", samples, material.form.rate)
        progress("stimuli", done, len(ids))
    return dict(sorted(entries.items()))


def write_headphones(folders: Folders, rate: int, names: Names, rng: np.random.Generator) -> list[HeadphoneTrial]:
    """Writes the noises of the headphone check."""
    answers = rng.permutation([1 + i % 3 for i in range(headphones.TRIALS)])
    trials = [HeadphoneTrial(f"{names.of('h', i)}.wav", int(answer)) for i, answer in enumerate(answers)]
    for trial in trials:
        samples = headphones.trial(rng, rate, trial.answer)
        sounds.write_wav(folders.study / "stimuli" / trial.file, samples, rate)
    return trials


def write_folders(
    folders: Folders, secret: Mapping[str, str], packet: Packet, slots: Sequence[Slot], names: Names
) -> None:
    """Writes the key's files, the packet's, the page, and at last the sums of all that a listener may see."""
    for name, text in secret.items():
        path = folders.key / name
        path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8")
    shutil.copytree(PAGE, folders.study, dirs_exist_ok=True, copy_function=shutil.copyfile)
    (folders.study / "packet.json").write_text(to_json(packet), encoding="utf-8")
    rows = write_assignments(packing.assignments_of(slots, names))
    (folders.study / "assignments.csv").write_text(rows, encoding="utf-8")
    files = sorted(path for path in folders.study.rglob("*") if path.is_file())
    sums = [f"{file_hash(path)}  {path.relative_to(folders.study).as_posix()}\n" for path in files]
    (folders.study / "SHA256SUMS").write_text("".join(sums), encoding="utf-8")
    for path in folders.study.rglob("*"):
        os.utime(path, (sounds.MTIME, sounds.MTIME))
