"""How a run that is asked for differs from the one that its folder holds: the settings that make other clips."""

from collections.abc import Iterator, Mapping
from typing import Any

from magnet_eval.store import content_key

OF_CLIPS = {"generation": ("seed", "dtype"), "prompts": ("source", "path", "audio", "split", "captions", "seconds")}


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Each setting of clips that differs between two manifests, one text each; empty for a first run.

    Systems and prompts that only one of the two has are no change: clips are made or left, none is made anew.
    """
    found = []
    for block, names in OF_CLIPS.items():
        before, now = (mapping(mapping(manifest, "protocol"), block) for manifest in (old, new))
        found += [f"{block}.{line}" for line in differences(before, now) if line.partition("=")[0] in names and before]
    for label, system in new["systems"].items():
        known = mapping(mapping(old, "systems"), label)
        if known and known.get("fingerprint") != system["fingerprint"]:
            before, now = (dict(leaves(mapping(model, "settings"))) for model in (known, system))
            found += [f"{label}: {line}" for line in differences(before, now) or ["another model"]]
    return found


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Each name that has another value, with both values."""
    return [
        f"{name}={old.get(name)!r} (now {new.get(name)!r})"
        for name in {**old, **new}
        if content_key(old.get(name)) != content_key(new.get(name))  # a manifest's lists were tuples
    ]


def mapping(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The mapping of that name; an empty one where there is none."""
    found = values.get(name)
    return found if isinstance(found, Mapping) else {}


def leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested mappings by their dotted names."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
