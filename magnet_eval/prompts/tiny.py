"""The embedded reference set: held-out clips of the tiny zoo, with captions and known attributes."""

from magnet_eval import zoo
from magnet_eval.lookup import UserError
from magnet_eval.prompts.folder import read_folder
from magnet_eval.records import Prompt


def read(path: str | None, seconds: float) -> list[Prompt]:
    """Every held-out clip. ``path`` must be left out. Raises UserError if the set is not installed."""
    if path:
        raise UserError(f"prompt source 'tiny' has no path, got {path!r}. For a folder of your own use source: folder.")
    places = [folder / "tiny" / "reference" for folder in zoo.folders("models")]
    found = [place for place in places if (place / "captions.jsonl").is_file()]
    if not found:
        raise UserError(f"the embedded reference set is missing; looked in {', '.join(map(str, places))}.")
    return read_folder(str(found[0]), seconds)
