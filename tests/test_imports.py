"""Imports go one way, and the light parts stay light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import magnet_eval

PACKAGE = Path(magnet_eval.__file__).parent
LAYERS = [  # a module may import from its own layer and those above it in this list
    {
        "records",
        "lookup",
        "places",
        "audio",
        "resample",
        "numerics",
        "front",
        "reference",
        "stats",
        "metrics",
        "progress",
        "environment",
        "table",
        "terminal",
    },
    {"typed", "decoding", "presets", "zoo", "ablation", "blocks", "model", "config"},
    {"store", "mirror", "remote", "prompts", "generators", "embedders", "speed"},
    {
        "changes",
        "clips",
        "making",
        "embedding",
        "inspection",
        "judged",
        "metric_checks",
        "other_side",
        "scoring",
        "stale",
        "pipeline",
        "comparison",
        "engines",
        "study",
        "report",
        "training",
    },
    {"options", "compose", "completion", "listing", "doctor", "prune", "verbs", "cli", "__main__"},
]
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def own_imports(path: Path) -> set[str]:
    """First names below magnet_eval that a file imports, inside functions too."""
    tops = {child.stem for child in PACKAGE.iterdir()}
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module == "magnet_eval":
            names = [f"magnet_eval.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("magnet_eval.")} & tops
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_go_one_way(path):
    part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert part in RANK, f"{part} has no place in LAYERS yet"
    upward = {name for name in own_imports(path) if RANK.get(name, 0) > RANK[part]}
    assert not upward, f"{part} imports {sorted(upward)}, which stand on it"


def modules_after(code: str) -> set[str]:
    """Top names in sys.modules after ``code`` in a fresh interpreter."""
    ending = "\nimport sys; print('MODULES', *{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code + ending], capture_output=True, text=True, check=True)
    return set(done.stdout.rpartition("MODULES")[2].split())


@pytest.mark.parametrize(
    "code",
    [
        "import magnet_eval",
        "from magnet_eval.cli import main; assert main(['--help']) == 0",
        "from magnet_eval.cli import main; assert main(['run', '--help']) == 0",
        "import magnet_eval.config, magnet_eval.records, magnet_eval.lookup, magnet_eval.store, magnet_eval.verbs",
    ],
)
def test_light_imports(code):
    assert not modules_after(code) & {"torch", "transformers", "pandas", "scipy", "matplotlib", "hydra"}


def test_public_names_are_there_and_others_are_not():
    for name in magnet_eval.__all__:
        assert getattr(magnet_eval, name) is not None
    assert set(magnet_eval.__all__) <= set(dir(magnet_eval))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = magnet_eval.nonsense
