# make demo | test | test-slow | soak | reference | check: each sets up all that it needs, in .venv, from Python >= 3.11.
PYTHON ?= python3
BIN := .venv/bin
export HF_HUB_OFFLINE ?= 1

.PHONY: demo test test-slow soak reference check audit

demo: .venv/installed
	$(BIN)/magnet-eval run protocol=quickstart

test: .venv/installed  # a process for each core, each with one thread: they would only get into each other's way
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --dist worksteal

test-slow: .venv/installed
	$(BIN)/pytest -m slow

soak: .venv/installed  # what takes long: kills, bad inputs, the memory of 50,000 clips, workers and nodes that die
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[clusters]'
	$(BIN)/pytest -m slow tests/faults tests/engines
	$(BIN)/python tests/benchmarks/faults.py

reference: .venv/reference

check: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

audit: .venv/installed  # known weaknesses of the installed packages; asks pypi.org
	@if $(BIN)/python -c "import urllib.request as u; u.urlopen('https://pypi.org/pypi/pip/json', timeout=5)" 2>/dev/null; \
	then $(BIN)/pip install --quiet pip-audit && $(BIN)/pip-audit --skip-editable; \
	else echo "audit skipped: pypi.org cannot be reached from here"; fi

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

# The packages of the extra `reference` without torchvision and torchaudio, whose builds may not fit torch. Nothing that
# is installed changes, but for a SciPy that is too new for them.
.venv/reference: .venv/installed
	$(BIN)/pip freeze --exclude-editable --exclude scipy > .venv/constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -c .venv/constraints.txt -e '.[reference-needs]'
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps \
	  encodec==0.1.1 laion-clap==1.1.7 frechet-audio-distance==0.3.4
	touch $@
