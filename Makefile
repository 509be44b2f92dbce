# make demo · make test · make bench · make lint: each sets up .venv from constraints.txt when missing or stale.
VENV := .venv
PYTHON := $(VENV)/bin/python
STAMP := $(VENV)/.from-constraints

BENCHMARKS := bilevel_step meta_tasks epoch scale
PICTURE_scale := --picture docs/figures/scale.png

.PHONY: demo test bench lint format clean
.DEFAULT_GOAL := help

help:
	@echo "make demo   LambdaOptMF on ml-100k beside fixed regularisation and BPR (some minutes)"
	@echo "make test   the tests"
	@echo "make bench  the speed benchmarks (a quarter of an hour; see benchmarks/README.md)"
	@echo "make lint   ruff and mypy"
	@echo "make format ruff's formatting"

demo: $(STAMP)
	$(PYTHON) -W ignore benchmarks/compare.py demo --jobs 2

test: $(STAMP)
	$(PYTHON) -m pytest

bench: $(STAMP) $(BENCHMARKS:%=bench-%)

bench-%: $(STAMP)
	$(PYTHON) -W ignore benchmarks/$*.py --json results/speed/$*.json $(PICTURE_$*)

lint: $(STAMP)
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	@long=$$(git ls-files '*.py' | xargs wc -l | awk '$$1 > 300 && $$2 != "total"'); \
	  test -z "$$long" || { echo "Files over 300 lines:"; echo "$$long"; exit 1; }

format: $(STAMP)
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

clean:
	rm -rf $(VENV) build dist *.egg-info log log_tensorboard saved

# A command named python3.10 may be there and not run (pyenv's shims): each candidate is tried.
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
