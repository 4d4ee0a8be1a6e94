"""Words of the command line to typed options, by Hydra. Its two config groups are the folders models/ and protocols/.

Misspellings are caught here, before Hydra sees them, because its own words are several lines and name no neighbours.
"""

import dataclasses
import os
import sys
import typing
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from magnet_eval import config, places, zoo
from magnet_eval.lookup import UserError, check, nearest
from magnet_eval.typed import typed

GROUPS: dict[str, Callable[[str], Any]] = {"model": config.load_model, "protocol": config.load_protocol}
SWEEP = {  # Hydra's own settings: no litter beside the results, no log files, nothing on stdout
    "run": {"dir": "."},
    "output_subdir": None,
    "job": {
        "config": {"override_dirname": {"exclude_keys": ["results", "reports", "json"]}}
    },  # a point has them already
    "sweep": {"dir": "${results}/sweeps", "subdir": "${hydra:job.override_dirname}"},
}
HYDRA_DEFAULTS = [{"override hydra/job_logging": "none"}, {"override hydra/hydra_logging": "none"}]


def compose(options: type[Any], arguments: Sequence[str]) -> Any:
    """An instance of the dataclass ``options`` from words such as ``seed=1``. Raises UserError on a wrong one."""
    check_arguments(options, arguments)
    with hydra_errors():
        import hydra
        from omegaconf import OmegaConf

        register(options, arguments)
        words = [f"++{word}" if word.startswith("protocol.metrics=") else word for word in arguments]  # new names too
        with hydra.initialize(version_base="1.3", config_path=None):
            composed = hydra.compose(options.__name__.lower(), words)
        return typed(options, OmegaConf.to_container(composed, resolve=True))


def hydra_main(options: type[Any], arguments: Sequence[str], act: Callable[[Any], None]) -> None:
    """Hydra's own entry, for its flags (-m, --cfg, --info, --shell-completion); ``act`` gets each job's options."""
    if "-m" in arguments or "--multirun" in arguments:
        check_arguments(options, [word for word in arguments if not word.startswith("-")])
        check_places(arguments)
    with hydra_errors(), _process(["magnet-eval", *arguments], {"HYDRA_FULL_ERROR": "1"}):
        import hydra
        from hydra.core.hydra_config import HydraConfig
        from omegaconf import DictConfig, OmegaConf

        def job(composed: DictConfig) -> None:
            values = typing.cast(dict[str, Any], OmegaConf.to_container(composed, resolve=True))
            # Each point of a sweep has folders of its own: all of them are runs of one protocol.
            point = Path("sweeps") / HydraConfig.get().job.override_dirname
            for name in {"results", "reports"} & set(values):
                values[name] = str(Path(values[name]) / point)
            act(typed(options, values))

        # As a function of "the main script" it has no folder, else Hydra takes the package's folders for config groups.
        job.__module__ = "__main__"
        register(options)
        hydra.main(version_base="1.3", config_path=None, config_name=options.__name__.lower())(job)()


def check_places(arguments: Sequence[str]) -> None:
    """Raises UserError on a wrong place in the words of a sweep, for which Hydra makes folders before all else."""
    for name, _, value in (word.partition("=") for word in arguments):
        if name == "results" and places.is_url(value):
            raise UserError("a sweep needs results=FOLDER on a disk; with results=URL start its points one by one.")
        if name in ("results", "reports"):
            places.check(name, value.strip("'\""), url=False)


def register(options: type[Any], arguments: Sequence[str] | None = None) -> None:
    """Tells Hydra the options of one verb and the zoo, or the part of it that ``arguments`` name: the rest takes time.

    A zoo file with a mistake in it matters only when chosen.
    """
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    values = defaults(options)
    for group, load in GROUPS.items():
        store.repo.pop(group, None)  # what an earlier command of this process named
        words = [word.partition("=")[2] for word in arguments or () if word.startswith(f"{group}=")]
        known = zoo.names(f"{group}s")
        for name in known if arguments is None else sorted({str(values.get(group)), *words} & {*known}):
            try:
                node = node_of(load(name))
            except UserError:
                node = {}
            store.store(group=group, name=name, node=node)
    groups = [{group: values.pop(group)} for group in GROUPS if group in values]
    node = {"defaults": [*groups, *HYDRA_DEFAULTS, "_self_"], "hydra": SWEEP, **values}
    store.store(name=options.__name__.lower(), node=node)


def node_of(chosen: Any) -> dict[str, Any]:
    """A model or protocol as plain values, with a key for everything that can be set."""
    return chosen.node()


def defaults(options: type[Any]) -> dict[str, Any]:
    """Option name to plain default value; for a group the name chosen by default, or None."""
    return {
        field.name: field.metadata.get("choice")
        if field.name in GROUPS
        else field.default_factory()
        if field.default_factory is not dataclasses.MISSING
        else field.default
        for field in dataclasses.fields(options)
    }


def check_arguments(options: type[Any], arguments: Sequence[str]) -> None:
    """Nothing if every word reads as key=value of a known key. Raises UserError otherwise."""
    tree = defaults(options)
    rest = []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals and not key.startswith("~"):
            near = nearest(argument, [*tree, *zoo.names("protocols"), *zoo.names("models")], n=1)
            raise UserError(f"{argument!r} is no key=value.{_guess(near[:1], tree)} See: magnet-eval VERB --help.")
        if key in GROUPS and key in tree:
            tree[key] = _chosen(key, argument, value)
        elif not key.startswith(("+", "~", "hydra")):
            rest.append(key)
    for group in GROUPS:
        if isinstance(tree.get(group), str):
            tree[group] = node_of(GROUPS[group](tree[group]))
    for key in rest:
        _check_key(key, tree)


def _guess(near: list[str], tree: dict[str, Any]) -> str:
    if not near:
        return ""
    if near[0] in tree:
        return f" Did you mean {near[0]}=...?"
    return f" Did you mean {'protocol' if near[0] in zoo.names('protocols') else 'model'}={near[0]}?"


def _chosen(group: str, argument: str, value: str) -> str | None:
    """The first of the (sweep's) choices of a group, after checking all of them."""
    names = [name.strip() for name in value.split(",")]
    for name in names:
        if name != "null":
            check(group, name, zoo.names(f"{group}s"))
    return None if names[0] == "null" else names[0]


def _check_key(key: str, tree: dict[str, Any]) -> None:
    block: Any = tree
    done: list[str] = []
    for part in key.split("."):
        if block is None:
            place = ".".join(done)
            raise UserError(f"{place} is not set, so {key} cannot be changed; set {place}=... first.")
        if isinstance(block, list):
            block = {str(index): item for index, item in enumerate(block)}
        prefix = "".join(f"{name}." for name in done)
        allowed = [prefix + name for name in block] if isinstance(block, dict) else []
        if not allowed:
            raise UserError(f"unknown key {key!r}: {prefix.rstrip('.')} has no keys below it.")
        check("key", prefix + part, allowed)
        block = block[part]
        done.append(part)


@contextmanager
def hydra_errors() -> Iterator[None]:
    """Hydra's complaints about what was typed, as a UserError of one line."""
    from hydra.errors import HydraException
    from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        text = " ".join(str(error.__cause__ or error).split())
        if isinstance(error.__cause__, ConfigAttributeError | ConfigKeyError):
            raise UserError(f"{text.partition(' full_key')[0]}. To add a key, put + before it: +KEY=...") from error
        raise UserError(
            f"{text} Text with , : = or brackets in it needs quotes of its own: 'key=[\"a, b\"]'."
        ) from error
    except RuntimeError as error:  # submitit's
        if "srun" not in str(error):
            raise
        raise UserError(
            "hydra/launcher=submitit_slurm found no srun here; start the sweep where sbatch and srun are, or on this "
            "machine alone with hydra/launcher=joblib."
        ) from error


@contextmanager
def _process(argv: list[str], environment: dict[str, str]) -> Iterator[None]:
    """sys.argv and environment as Hydra's entry wants them, put back afterwards."""
    before, kept = sys.argv, {name: os.environ.get(name) for name in environment}
    sys.argv = argv
    os.environ.update(environment)
    try:
        yield
    finally:
        sys.argv = before
        for name, value in kept.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
