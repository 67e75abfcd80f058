# `make run` starts the app, `make test` runs the tests. Both set up .venv on first use;
# `make setup` does only that.

# The first of these that runs and is Python 3.11, 3.12 or 3.13. To use another: `make PYTHON=...`.
PYTHON ?= $(shell for python in python3 python3.12 python3.13 python3.11 python; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	2>/dev/null && echo $$python && break; done)
BIN := .venv/bin

.PHONY: setup run test test-litert test-deploy test-portable lint format slug-size requirements upgrade sbom architecture icons sample notebook card screenshots lighthouse benchmark benchmark-bulk benchmark-training attack

setup: .venv/test

run: .venv/run
	$(BIN)/python app.py

# Each test file runs in one worker, so that its fixtures are made once. tests/conftest.py orders the
# files. Importing the two plugins takes seconds, and no test uses them.
PYTEST := $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder \
	-p no:schemathesis -p no:hypothesispytest

test: .venv/test
	$(PYTEST)

# Repeats, with the other engine, what an engine can change: numbers, the command line, the start.
# Texts, pages, browsers and the privacy of uploads do not depend on it.
APP_TESTS := $(patsubst %,tests/test_%.py,api cli server start uploads) \
	tests/test_result_page.py::test_the_results_page \
	tests/test_result_page.py::test_the_bars_are_the_eight_views_with_the_second_temperature \
	tests/test_real_data.py::test_uploads_get_the_probabilities_of_their_rows

test-litert: .venv/test
	MODEL_PATH=best_model.tflite $(PYTEST) $(APP_TESTS)

# Installs afresh what a push deploys, and uses it for a minute. Takes a few minutes for both engines.
test-deploy: .venv/test
	$(BIN)/python -m pytest -m deploy -s tests/test_deployment.py tests/test_container.py

# Opens our files in other programs, each in its own environment. Takes a few minutes for all.
test-portable: .venv/test
	$(BIN)/python -m pytest -m portable tests/test_portable.py tests/test_isic_scoring.py tests/test_markup.py \
		tests/test_api_clients.py

lint: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

slug-size: .venv/test
	$(BIN)/python -m scripts.slug_size

requirements: $(BIN)/uv
	PATH=$(BIN):$$PATH sh scripts/compile_requirements.sh

upgrade: $(BIN)/uv
	PATH=$(BIN):$$PATH sh scripts/compile_requirements.sh --upgrade

sbom: sbom.cdx.json sbom-slim.cdx.json

sbom.cdx.json: requirements.txt
sbom-slim.cdx.json: requirements-slim.txt
# Hides the tool's warning that a list of packages does not say which package needs which.
sbom.cdx.json sbom-slim.cdx.json: pyproject.toml | .venv/test
	$(BIN)/python -W ignore::UserWarning:cyclonedx.model.bom -m cyclonedx_py requirements \
		--pyproject pyproject.toml --output-file $@ $(filter requirements%,$^)

architecture: .venv/run
	$(BIN)/python -m scripts.draw_architecture

icons: .venv/test
	$(BIN)/python -m scripts.draw_icons

sample: .venv/test
	$(BIN)/python -m scripts.draw_sample

notebook: .venv/test
	$(BIN)/python -m scripts.run_notebook

screenshots: .venv/test
	$(BIN)/python -m scripts.take_screenshots

lighthouse: .venv/test
	$(BIN)/python -m scripts.check_lighthouse

benchmark: .venv/test
	$(BIN)/python -m benchmarks.serving --memory

benchmark-bulk: .venv/test
	$(BIN)/python -m benchmarks.bulk

benchmark-training: .venv/test
	$(BIN)/python -m benchmarks.training

attack: .venv/test
	$(BIN)/python -m attacks

card: .venv/run
	$(BIN)/python -m scripts.write_scores

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 was not found. If you have one, run: make PYTHON=/path/to/python3.12"; exit 1; }
	$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }

.venv/run: requirements.txt | $(BIN)/python
	@echo "Installing the packages into .venv. This takes a minute or two, once."
	@$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements.txt
	@touch $@

.venv/test: requirements-dev.txt .venv/run
	@echo "Installing the packages for the tests."
	@$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements-dev.txt
	@touch $@

# Needs only uv, so that it can recompile requirements that contradict each other.
$(BIN)/uv:
	$(MAKE) .venv/test
