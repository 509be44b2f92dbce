# Targets such as demo, test, bench and lint first set up a virtual environment, if it is missing or out of date:
# .venv with today's packages, or with STACK=recbole .venv-recbole with the packages that RecBole 1.2.1 pins.
comma := ,
STACK := today
VENV := $(if $(filter recbole,$(STACK)),.venv-recbole,.venv)
CONSTRAINTS := $(if $(filter recbole,$(STACK)),constraints-recbole.txt,constraints.txt)
PYTHONS := $(if $(filter recbole,$(STACK)),,python3.13 python3.12) python3.11 python3 python
VERSIONS := $(if $(filter recbole,$(STACK)),3.11,3.11 3.12 3.13)
EXTRAS := $(if $(filter recbole,$(STACK)),$(comma)pins)
PYTHON := $(VENV)/bin/python
PIP_INSTALL := $(PYTHON) -m pip install --quiet --disable-pip-version-check
STAMP := $(VENV)/.from-constraints
DOCS_STAMP := $(VENV)/.docs-from-constraints

BENCHMARKS := bilevel_step softmax_step meta_tasks epoch scale reading processes
PICTURE_scale := --picture docs/figures/scale.png

# The tests use all cores with one thread per process, because torch's threads spin while the cores are busy.
PYTEST := OMP_NUM_THREADS=1 $(PYTHON) -m pytest -n logical --dist worksteal

.PHONY: demo test test-all bench gpu lint format docs clean
.DEFAULT_GOAL := help

help:
	@echo "make demo   LambdaOptMF on ml-100k beside EASE, ItemKNN, BPR and given λ (some minutes)"
	@echo "make test   the tests, without the slow ones"
	@echo "make test-all  all tests, with many more draws of hypothesis"
	@echo "make bench  the speed benchmarks (a quarter of an hour; see benchmarks/README.md)"
	@echo "make gpu    parity, training, lists and speed on a GPU (six minutes; without one the CPU takes its place)"
	@echo "make lint   ruff, mypy, and the rules on who imports whom and how long files are"
	@echo "make format ruff's formatting"
	@echo "make docs   the documentation, as a site in build/site"

demo: $(STAMP)
	$(PYTHON) -W ignore benchmarks/compare.py demo --jobs 2

test: $(STAMP)
	$(PYTEST) -m "not slow"

test-all: $(DOCS_STAMP)
	$(PYTEST) --hypothesis-profile=all

bench: $(STAMP) $(BENCHMARKS:%=bench-%)

bench-%: $(STAMP)
	$(PYTHON) -W ignore benchmarks/$*.py --json results/speed/$*.json $(PICTURE_$*)

gpu: $(STAMP)
	$(PYTHON) -W ignore benchmarks/gpu.py --json

lint: $(STAMP)
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	$(VENV)/bin/lint-imports --no-cache
	$(PYTHON) benchmarks/house.py
	@long=$$(git ls-files '*.py' | xargs wc -l | awk '$$1 > 300 && $$2 != "total"'); \
	  test -z "$$long" || { echo "Files over 300 lines:"; echo "$$long"; exit 1; }

format: $(STAMP)
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

docs: $(DOCS_STAMP)
	rm -rf build/site
	NO_MKDOCS_2_WARNING=1 $(PYTHON) -W ignore -m mkdocs build --quiet
	@echo "Open build/site/index.html; its search needs a server: $(PYTHON) -m http.server -d build/site"

clean:
	rm -rf .venv .venv-recbole build dist *.egg-info log log_tensorboard saved

# Each candidate is tried, because a command such as python3.12 may exist but not run (pyenv's shims).
# RecBole comes last and without its pins, unless these are asked for.
$(STAMP): $(CONSTRAINTS) setup.cfg
	@found=; for python in $(PYTHONS); do \
	  if $$python -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] not in "$(VERSIONS)".split())' \
	    2>/dev/null; then found=$$python; break; fi; done; \
	if [ -z "$$found" ]; then \
	  echo "recbole_ext needs Python $(VERSIONS) here, and found none. Install one, for example with"; \
	  echo "pyenv, uv or conda, so that the command python3.11 runs, and call make again."; exit 1; fi; \
	echo "Setting up $(VENV) with $$found and $(CONSTRAINTS) ..."; rm -rf $(VENV); $$found -m venv $(VENV)
	$(PIP_INSTALL) -c $(CONSTRAINTS) setuptools wheel
	$(PIP_INSTALL) -c $(CONSTRAINTS) -e '.[test$(EXTRAS)]'
	$(PIP_INSTALL) --no-deps recbole==1.2.1
	@touch $(STAMP)

$(DOCS_STAMP): $(STAMP)
	$(PIP_INSTALL) -c $(CONSTRAINTS) -e '.[docs]'
	@touch $(DOCS_STAMP)
