# Targets such as demo, test, bench and lint first set up .venv from constraints.txt if it is missing or out of date.
VENV := .venv
PYTHON := $(VENV)/bin/python
STAMP := $(VENV)/.from-constraints
DOCS_STAMP := $(VENV)/.docs-from-constraints

BENCHMARKS := bilevel_step softmax_step meta_tasks epoch scale
PICTURE_scale := --picture docs/figures/scale.png

# The tests use all cores with one thread per process, because torch's threads spin while the cores are busy.
PYTEST := OMP_NUM_THREADS=1 $(PYTHON) -m pytest -n logical --dist worksteal

.PHONY: demo test test-all bench lint format docs clean
.DEFAULT_GOAL := help

help:
	@echo "make demo   LambdaOptMF on ml-100k beside EASE, ItemKNN, BPR and given λ (some minutes)"
	@echo "make test   the tests, without the slow ones"
	@echo "make test-all  all tests, with many more draws of hypothesis"
	@echo "make bench  the speed benchmarks (a quarter of an hour; see benchmarks/README.md)"
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
	rm -rf $(VENV) build dist *.egg-info log log_tensorboard saved

# Each candidate is tried, because a command such as python3.10 may exist but not run (pyenv's shims).
$(STAMP): constraints.txt setup.cfg
	@found=; for python in python3.11 python3.10 python3 python; do \
	  if $$python -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 10), (3, 11)))' \
	    2>/dev/null; then found=$$python; break; fi; done; \
	if [ -z "$$found" ]; then \
	  echo "recbole_ext needs Python 3.11 or 3.10 (RecBole needs ray<=2.6.3, which has no wheel"; \
	  echo "for later ones), and found neither. Install one, for example with pyenv, uv or conda,"; \
	  echo "so that the command python3.11 runs, and call make again."; exit 1; fi; \
	echo "Setting up $(VENV) with $$found ..."; rm -rf $(VENV); $$found -m venv $(VENV)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check -c constraints.txt setuptools wheel
	$(PYTHON) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $(STAMP)

$(DOCS_STAMP): $(STAMP)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	@touch $(DOCS_STAMP)
