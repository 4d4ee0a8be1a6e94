"""Notes to audio: many pieces in one MIDI file, rendered by fluidsynth with the FluidR3 GM sound font.

Needs the Debian packages ``fluidsynth`` and ``fluid-soundfont-gm`` and the extra ``train`` (mido); only training
needs them. Effects are off and pieces start on the sample grid of the token frames, so that the same piece
always gives the same samples.
"""

import importlib.util
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from magnet_eval.lookup import UserError
from magnet_eval.training.composer import CLIP_MS, GAP_MS, Piece, notes, programs

SOUND_FONT = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")
SAMPLE_RATE = 16_000
SLOT_MS = CLIP_MS + GAP_MS


def _midi(pieces: Sequence[Piece], path: Path) -> None:
    import mido

    events: list[tuple[int, int, Any]] = []  # time, order at equal time, message
    for i, piece in enumerate(pieces):
        base = i * SLOT_MS
        for channel, program in enumerate(programs(piece)):
            events.append((base, 0, mido.Message("program_change", channel=channel, program=program)))
        for note in notes(piece):
            message = {"channel": note.channel, "note": note.pitch}
            events.append((base + note.start, 2, mido.Message("note_on", velocity=note.velocity, **message)))
            events.append((base + note.end, 1, mido.Message("note_off", velocity=0, **message)))
        for channel in (0, 1, 2, 9):  # all sound off: no tail reaches the next piece
            events.append((base + CLIP_MS + 40, 3, mido.Message("control_change", channel=channel, control=120)))
    events.sort(key=lambda event: event[:2])
    midi = mido.MidiFile(ticks_per_beat=500)
    track = mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=500_000)])  # 500 ticks in 500 ms: a tick is 1 ms
    now = 0
    for time, _, event in events:
        track.append(event.copy(time=time - now))
        now = time
    track.append(mido.Message("note_off", channel=0, note=0, time=GAP_MS))
    midi.tracks.append(track)
    midi.save(path)


def _render_file(pieces: Sequence[Piece]) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        midi, wav = Path(folder, "pieces.mid"), Path(folder, "pieces.wav")
        _midi(pieces, midi)
        command = ["fluidsynth", "-niq", "-R", "0", "-C", "0", "-g", "0.35", "-r", str(SAMPLE_RATE)]
        subprocess.run([*command, "-O", "s16", "-F", str(wav), str(SOUND_FONT), str(midi)], check=True)
        audio, _ = soundfile.read(wav, dtype="float32")
    mono = audio.mean(axis=1)
    slot, length = SLOT_MS * SAMPLE_RATE // 1000, CLIP_MS * SAMPLE_RATE // 1000
    mono = np.pad(mono, (0, max(0, slot * len(pieces) - len(mono))))
    return mono[: slot * len(pieces)].reshape(len(pieces), slot)[:, :length]


def render(pieces: Sequence[Piece], per_file: int = 250, workers: int = 2) -> np.ndarray:
    """Audio of all pieces: float32 [n, 80,000], 16 kHz mono, range -1 to 1.

    Raises UserError if fluidsynth, the sound font or the extra ``train`` is missing.
    """
    if shutil.which("fluidsynth") is None or not SOUND_FONT.is_file():
        raise UserError(
            f"rendering needs fluidsynth and {SOUND_FONT}; type: apt-get install fluidsynth fluid-soundfont-gm"
        )
    if importlib.util.find_spec("mido") is None:
        raise UserError("rendering needs the package mido, which is not here: pip install 'magnet-eval[train]'")
    parts = [pieces[i : i + per_file] for i in range(0, len(pieces), per_file)]
    with ThreadPoolExecutor(workers) as pool:
        return np.concatenate(list(pool.map(_render_file, parts)))
