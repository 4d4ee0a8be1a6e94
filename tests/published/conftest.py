"""Lets the tests here import their neighbours; a world with the published networks and data sets in it, made once."""

import shutil
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "embedders")]

import published_world  # noqa: E402

from magnet_eval import zoo  # noqa: E402


@pytest.fixture(scope="session")
def template(tmp_path_factory) -> Path:
    """The world of published_world.make, to be copied."""
    home = tmp_path_factory.mktemp("published")
    with pytest.MonkeyPatch.context() as patch:
        published_world.shrink(patch)
        published_world.make(home)
    return home


@pytest.fixture(scope="module")
def world(template, tmp_path_factory):
    """The working directory of a module's tests: a world of its own, in which the networks are small."""
    home = tmp_path_factory.mktemp("world") / "home"
    shutil.copytree(template, home)
    with pytest.MonkeyPatch.context() as patch:
        published_world.shrink(patch)
        published_world.hurry(patch)
        patch.chdir(home)
        # Of the machine's own models and weights, nothing is found.
        folders = zoo.folders
        patch.setattr(zoo, "folders", lambda kind: [home / kind] if kind == "models" else folders(kind))
        patch.setattr(zoo, "cached", lambda value: None)
        patch.setenv("TORCH_HOME", str(home / "torch"))
        yield home
