# `make repro` builds the environment and the whole study, `make test` runs the tests, `make plots` draws DVC's plots,
# `make experiment` shows the experiment that asks people.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
PAGES := experiment/page
PACKAGES := $(PAGES)/node_modules/.ready
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
# Idle OpenMP threads must sleep: on few cores, spinning ones slow every small operation.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: repro plots experiment test fuzz lint lock bench clean-venv check-clone check-python check-npm

repro: check-clone $(READY)
	python -m tools.check
	dvc repro
	python -m tools.plots_page
	@echo "Done. Open reports/report.html; tables are in results/tables, figures in reports/figures."

# The drawing library goes into the page here, so that no downloaded code is in git.
plots: check-clone $(READY)
	python -m tools.plots_page
	dvc plots show
	@echo "Open dvc_plots/index.html; it works offline. Versions side by side: dvc plots diff HEAD EXPERIMENT"

# Questions of the study as it is here, asked on this machine: two-alternative trials and ratings, each at an address of its own.
experiment: check-clone check-npm $(READY) $(PACKAGES)
	python -m experiment show

# As many processes as cores, or MIS_TEST_WORKERS, of one thread each. All tests of a file run in one process, because what they
# share is costly. `python -m pytest tests/test_x.py` runs some of them, in one process.
test: export OMP_NUM_THREADS ?= 1
test: check-clone $(READY)
	@! command -v npm >/dev/null || $(MAKE) --no-print-directory $(PACKAGES) || echo "npm fetches no packages: tests of pages will be skipped" >&2
	python -m pytest --numprocesses $${MIS_TEST_WORKERS:-$$(getconf _NPROCESSORS_ONLN)} --dist loadfile --no-loadscope-reorder

# Readers on inputs that no one wrote by hand: 10,000 each, or INPUTS, from the seed SEED; the counts are kept.
INPUTS ?= 10000
SEED ?= 0
fuzz: export MIS_FUZZ := $(INPUTS)
fuzz: export MIS_FUZZ_SEED := $(SEED)
fuzz: export MIS_FUZZ_KEPT ?= benchmarks/results/fuzz.csv
fuzz: $(READY)
	python -m pytest tests/fuzz --numprocesses $${MIS_TEST_WORKERS:-$$(getconf _NPROCESSORS_ONLN)}

lint: $(READY)
	ruff check .
	basedpyright

# All sizes at their defaults take about 20 minutes on two cores and rewrite benchmarks/results. `make bench QUICK=1` runs the
# same code on little data in about three minutes and writes to a temporary folder: it shows that all works, not how fast.
SIMILARITIES ?= lpips-alex lpips-squeeze dreamsim-clip_vitb32
ifdef QUICK
bench: export MIS_BENCHMARKS := $(shell mktemp -d)
endif
bench: $(READY)
	python -m benchmarks.selection $(if $(QUICK),--units 512 --images 2048 --rounds 1 --late-batches 2 --wide 1024)
	python -m benchmarks.windows $(if $(QUICK),--units 4 --images 4000 --rounds 1)
	python -m benchmarks.selection_on_gpu $(if $(QUICK),--units 100 --batches 4 --rounds 1 --stream 12000 --stream-units 16)
	python -m benchmarks.scoring $(if $(QUICK),--images 2000 --dim 64 --units 128 --rounds 2)
	python -m benchmarks.end_to_end $(if $(QUICK),--images 2000 --dim 64 --units 512 --rounds 1)
	python -m benchmarks.library $(if $(QUICK),--images 2000 --dim 64 --units 512 --rounds 1)
	python -m benchmarks.capture $(if $(QUICK),mobilenetv2_100 --batch 4 --rounds 2 --seen 512)
	python -m benchmarks.launches $(if $(QUICK),test_resnet --batches 2)
	python -m benchmarks.codes $(if $(QUICK),--latents 256 --batch 3 --rounds 1)
	python -m benchmarks.loading $(if $(QUICK),--files 60 --rounds 1)
	python -m benchmarks.listing $(if $(QUICK),--files 20000 --folders 20 --rounds 1)
	python -m benchmarks.scaling $(if $(QUICK),--repeats 1 --share 20)
	python -m benchmarks.similarities $(if $(QUICK),lpips-alex --sizes 64,$(SIMILARITIES))
	python -m benchmarks.text_scores $(if $(QUICK),--units 40 --texts 50 --images 3000 --rounds 2 --pairs 100)
	python -m benchmarks.label_free $(if $(QUICK),--units 64 --images 1000 --dim 32 --rounds 2 --draws 50)
	python -m benchmarks.crowd_setting1 $(if $(QUICK),--units 24 --images 3000 --draws 2 --latent 12)
	python -m benchmarks.experiment_load $(if $(QUICK),--people 20 --seconds 3)
	python -m benchmarks.projection --rates benchmarks/rates/one_gpu.csv --rates benchmarks/rates/eight_gpus.csv
	@echo "Tables are in $${MIS_BENCHMARKS:-benchmarks/results}"

# A fresh environment is built beside nothing: an interrupted build leaves no .ready and starts over.
$(READY): requirements.lock | check-python
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r requirements.lock
	@echo "Compiling bytecode once, so that every stage starts fast"
	# some packages ship files for newer Pythons only; what does not compile is not imported here either
	env -u PYTHONDONTWRITEBYTECODE $(VENV)/bin/python -m compileall -q -j 0 $(VENV)/lib >/dev/null 2>&1 || true
	@echo "Compiling the kernels of the stages once, which takes most of a minute"
	-$(VENV)/bin/python -m tools.kernels  # a stage compiles what is missing
	touch $(READY)

# What the pages of the experiment need, in the versions and with the digests of the lock. Nothing that npm fetches may run code
# here, and nothing of it is in git. An interrupted fetch leaves no .ready.
$(PACKAGES): $(PAGES)/package.json $(PAGES)/package-lock.json $(PAGES)/.npmrc
	cd $(PAGES) && npm ci --ignore-scripts --no-audit --no-fund
	touch $(PACKAGES)

check-npm:
	@command -v npm >/dev/null || { echo "The pages of the experiment need npm once, to fetch jsPsych: install it (Debian: apt-get install npm) and call 'make experiment' again." >&2; exit 2; }

check-python:
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and f"Python 3.11 or newer is needed, {sys.executable} is {v[0]}.{v[1]}. Name another one: make PYTHON=python3.12 repro")'

check-clone:
	@git rev-parse --git-dir >/dev/null 2>&1 || { echo "This folder is not a git clone. DVC keeps its history in git, so a downloaded zip does not work: use 'git clone' (or run 'git init && git add -A && git commit -m start' here)." >&2; exit 2; }

# Needs uv (https://docs.astral.sh/uv): rewrites the pinned environment from the ranges in pyproject.toml, and beside it Ray and
# the reader of data sets with all that they need. Existing pins stay; to move them, delete the files first.
COMPILE := uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --custom-compile-command 'make lock'
EXTRA = $(PYTHON) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["$(1)"], sep="\n")'
lock:
	$(COMPILE) --extra experiment --extra dev pyproject.toml -o requirements.lock
	$(call EXTRA,cluster) | $(COMPILE) --constraints requirements.lock - -o requirements-cluster.lock
	$(call EXTRA,datasets) | $(COMPILE) --constraints requirements.lock --constraints requirements-cluster.lock - -o requirements-datasets.lock

clean-venv:
	rm -rf $(VENV)
