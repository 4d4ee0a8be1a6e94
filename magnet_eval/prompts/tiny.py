"""The embedded reference sets: held-out clips of the tiny zoo, with captions and known attributes."""

from magnet_eval import zoo
from magnet_eval.lookup import UserError
from magnet_eval.prompts.folder import read_folder
from magnet_eval.records import Prompt


def read(path: str | None, seconds: float) -> list[Prompt]:
    """Every held-out clip of music. ``path`` must be left out. Raises UserError if the set is not installed."""
    return _embedded("tiny", "tiny/reference", path, seconds)


def read_sounds(path: str | None, seconds: float) -> list[Prompt]:
    """Every held-out sound effect. ``path`` must be left out. Raises UserError if the set is not installed."""
    return _embedded("tiny-sounds", "tiny/audio/reference", path, seconds)


def _embedded(source: str, folder: str, path: str | None, seconds: float) -> list[Prompt]:
    if path:
        raise UserError(
            f"prompt source {source!r} has no path, got {path!r}. For a folder of your own use source: folder."
        )
    places = [home / folder for home in zoo.folders("models")]
    found = [place for place in places if (place / "captions.jsonl").is_file()]
    if not found:
        raise UserError(f"the embedded reference set is missing; looked in {', '.join(map(str, places))}.")
    return read_folder(str(found[0]), seconds)
