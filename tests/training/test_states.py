"""States of trainings: whole, fitting, of one seed, and in the hands of one process."""

import multiprocessing
import re

import pytest
import torch

from magnet_eval.lookup import UserError
from magnet_eval.training import states


def test_a_state_comes_back(tmp_path):
    states.save(tmp_path / "new" / "a.pt", {"seed": 3, "step": 7})
    with states.reading(tmp_path / "new" / "a.pt", 3) as saved:
        assert saved == {"seed": 3, "step": 7}
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.pt"]


def test_another_seed_is_refused_with_both_named(tmp_path):
    states.save(tmp_path / "a.pt", {"seed": 3})
    said = r"a\.pt was begun with seed=3, got seed=4; type seed=3"
    with pytest.raises(UserError, match=said), states.reading(tmp_path / "a.pt", 4):
        pytest.fail("it was read")


@pytest.mark.parametrize("content", [b"", b"not a state", None])
def test_a_damaged_state_is_one_line(tmp_path, content):
    path = tmp_path / "a.pt"
    states.save(path, {"seed": 0, "model": {"weight": torch.zeros(2)}})
    path.write_bytes(path.read_bytes()[:200] if content is None else content)
    said = f"damaged; to begin anew: rm {re.escape(str(path))}"
    with pytest.raises(UserError, match=said), states.reading(path, 0):
        pytest.fail("it was read")


def test_a_state_of_another_shape_is_one_line(tmp_path):
    states.save(tmp_path / "a.pt", {"seed": 0, "model": torch.nn.Linear(2, 3).state_dict()})
    said = "no state of this training"
    with pytest.raises(UserError, match=said), states.reading(tmp_path / "a.pt", 0) as saved:
        torch.nn.Linear(2, 2).load_state_dict(saved["model"])


def _try(path, queue):
    with states.held(path) as free:
        queue.put(free)


def test_one_process_at_a_time(tmp_path):
    context = multiprocessing.get_context("fork")
    queue = context.Queue()

    def elsewhere() -> bool:
        process = context.Process(target=_try, args=(tmp_path / "a.pt", queue))
        process.start()
        found = queue.get(timeout=30)
        process.join()
        return found

    with states.held(tmp_path / "a.pt") as free:
        assert free and not elsewhere()
    assert elsewhere()
