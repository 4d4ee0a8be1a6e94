"""Tab completion: verbs by us, everything behind a verb by Hydra.

Hydra's completion knows programs of one command only, so the verb is taken out of the line before Hydra sees it.
"""

import os
from collections.abc import Mapping
from typing import Any

from magnet_eval.compose import hydra_main


def complete(words: list[str], verbs: Mapping[str, type[Any]]) -> str:
    """The verbs that may stand at the end of the line; where Hydra answers (options, the shell's script), it prints."""
    if not any(word.startswith("query=") for word in words):
        hydra_main(verbs["run"], ["--shell-completion", *words], _nothing)
        return ""
    program, *typed = os.environ.get("COMP_LINE", "magnet-eval ").split(" ")
    if typed[0] == "study" and len(typed) > 1:  # its verbs are two words
        typed = [" ".join(typed[:2]), *typed[2:]]
    if len(typed) < 2:
        first, words_before = "".join(typed), "".join(typed).count(" ")
        found = (verb.split(" ")[words_before] for verb in verbs if verb.startswith(first))
        return "\n".join(dict.fromkeys(found)) + "\n"
    verb, *rest = typed
    if verb in verbs:
        os.environ["COMP_LINE"] = " ".join([program, *rest])
        hydra_main(verbs[verb], ["--shell-completion", *words], _nothing)
    return ""


def _nothing(chosen: Any) -> None:
    """What a completion does with the options: nothing."""
