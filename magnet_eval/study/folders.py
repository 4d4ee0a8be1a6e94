"""Where the parts of a study are."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

REHEARSAL = ".rehearsal"  # behind a study's name, wherever one is asked for: its synthetic raters instead of people


@dataclass(frozen=True)
class Folders:
    """Where the parts of a study are. As text it is what ``study=`` takes."""

    study: Path
    rehearsal: bool = False

    @classmethod
    def of(cls, study: Path | str) -> "Folders":
        """Those of the study in the folder ``study``, there or not; of its rehearsal for ``STUDY.rehearsal``."""
        path = Path(study).expanduser().resolve()
        if path.name.endswith(REHEARSAL):
            return cls(path.with_name(path.name.removesuffix(REHEARSAL)), rehearsal=True)
        return cls(path)

    def __str__(self) -> str:
        """The study, or its rehearsal, as Folders.of takes it."""
        return f"{self.study}{REHEARSAL if self.rehearsal else ''}"

    def rehearsed(self) -> "Folders":
        """The same packet and key, with the answers of synthetic raters."""
        return dataclasses.replace(self, rehearsal=True)

    @property
    def key(self) -> Path:
        """What no listener may see."""
        return self.study.with_name(f"{self.study.name}.key")

    @property
    def responses(self) -> Path:
        """What listeners answered."""
        return Path(str(self)) if self.rehearsal else self.study.with_name(f"{self.study.name}.responses")

    @property
    def analysis(self) -> Path:
        """What their answers say."""
        return Path(f"{self}.analysis")
