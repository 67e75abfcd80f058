# `make run` starts the app, `make test` runs the tests; both set up .venv first, once.

# The first of these that runs and is 3.11, 3.12 or 3.13; `make PYTHON=...` names another.
PYTHON ?= $(shell for python in python3 python3.12 python3.13 python3.11 python; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	2>/dev/null && echo $$python && break; done)
BIN := .venv/bin

.PHONY: run test test-litert test-deploy test-portable lint format slug-size requirements upgrade sbom architecture icons sample notebook card screenshots lighthouse benchmark benchmark-bulk benchmark-training attack

run: .venv/run
	$(BIN)/python app.py

# A file of tests is one worker's, so that what its tests share is made once; the order of the files
# is that of tests/conftest.py. No test uses the plugins, which take seconds to import.
PYTEST := $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder \
	-p no:schemathesis -p no:hypothesispytest

test: .venv/test
	$(PYTEST)

# What an engine can change, once more with the other one: numbers, the command line, the start.
# Words, pages, browsers and the privacy of an upload are the same to both.
APP_TESTS := $(patsubst %,tests/test_%.py,api cli server start uploads) \
	tests/test_result_page.py::test_the_results_page \
	tests/test_result_page.py::test_the_bars_are_the_eight_views_with_the_second_temperature \
	tests/test_real_data.py::test_uploads_get_the_probabilities_of_their_rows

test-litert: .venv/test
	MODEL_PATH=best_model.tflite $(PYTEST) $(APP_TESTS)

# What a push deploys, installed afresh and used for a minute: some minutes for both engines.
test-deploy: .venv/test
	$(BIN)/python -m pytest -m deploy -s tests/test_deployment.py tests/test_container.py

# What we write in other programs: each in an environment of its own, some minutes for all.
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
# The tool warns that a list of packages does not say which of them needs which.
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
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed and was not found; name it: make PYTHON=/path/to/python3.12"; exit 1; }
	$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }

.venv/run: requirements.txt | $(BIN)/python
	@echo "Installing the packages into .venv: a minute or two, once."
	@$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements.txt
	@touch $@

.venv/test: requirements-dev.txt .venv/run
	@echo "Installing what the tests need besides."
	@$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements-dev.txt
	@touch $@

# Asks for no more than uv, so that files that do not fit together can be compiled anew.
$(BIN)/uv:
	$(MAKE) .venv/test
