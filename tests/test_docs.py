"""What the documents say is what the code does."""

import json
import re
import runpy

import pytest
from conftest import ROOT
from packaging.requirements import Requirement
from test_model import TABLE

from app import create_app
from lesion_lens.model.limits import MAX_PIXELS
from lesion_lens.model.turns import MAX_DECODES, MAX_WAITING
from lesion_lens.training.recipe import QUICK, SEED, Recipe
from lesion_lens.training.score_table import METRIC_NAMES, score_table
from lesion_lens.web.cli import MAX_BYTES
from lesion_lens.web.limits import MAX_IMAGES, MEGABYTE
from train import parse_arguments

README = (ROOT / "README.md").read_text(encoding="utf-8")


def rows_after(header):
    """The cells of the README's table under a header line."""
    lines = README.split(header, 1)[1].splitlines()[2:]
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def test_the_readme_has_the_network():
    rows = [
        (kind.split()[0].rstrip(","), output, parameters)
        for kind, output, parameters in rows_after("| layer | output | parameters |")
    ]
    assert rows == [
        (kind, ", ".join(map(str, output)), f"{parameters:,}") for kind, output, parameters in TABLE
    ]


METRICS = json.loads((ROOT / "metrics.json").read_text(encoding="utf-8"))


def test_the_readme_has_the_scores_of_the_committed_model():
    table = score_table(METRICS)
    rows = rows_after("| score | one view | eight views |")
    assert [name for name, *_ in rows] == list(METRIC_NAMES.values())
    for name, one, eight in rows:
        assert re.search(rf"^{re.escape(name)} +{re.escape(one)} +{re.escape(eight)}$", table, re.M)
    assert f"On the {METRICS['test']['one_view']['images']:,} test images" in README
    assert f"{METRICS['lesions']['test']:,} lesions" in README


def test_the_readme_has_the_scores_of_each_class():
    rows = rows_after("| class | images | sensitivity | specificity | precision | AUC |")
    per_class = METRICS["test"]["eight_views"]["per_class"]
    assert rows == [
        [f"`{code}`", f"{row['images']:,}"]
        + [f"{row[key]['value']:.3f}" for key in ("sensitivity", "specificity", "precision", "auc")]
        for code, row in per_class.items()
    ]
    found = 100 * per_class["mel"]["sensitivity"]["value"]
    assert f"the most likely class is melanoma for {found:.0f} in 100" in " ".join(README.split())
    missed = METRICS["test"]["decisions"]["low_risk"]["statement"]["missed_per_100"]
    assert f"misses about {missed:.1f} in 100 lesions" in " ".join(README.split())


def test_no_option_is_missing_from_the_readme(capsys):
    with pytest.raises(SystemExit):
        parse_arguments(["--help"])
    for option in set(re.findall(r"--[a-z]+", capsys.readouterr().out)) - {"--help"}:
        assert f"`{option}`" in README


def test_every_make_target_and_setting_is_in_the_readme():
    for target in re.search(r"\.PHONY: (.*)", (ROOT / "Makefile").read_text(encoding="utf-8"))[
        1
    ].split():
        assert f"make {target}" in README
    for setting in ("MODEL_PATH", "PORT", "HAM10000_DIR"):
        assert setting in README


def test_defaults_in_the_readme():
    assert f"passes over the training part, of each network ({Recipe.epochs})" in README
    assert f"networks to learn from ({Recipe.teachers})" in README
    assert f"no teachers and {QUICK.epochs} epochs" in README
    assert f"everything that is random ({SEED})" in README


def test_links_in_the_readme_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target


@pytest.mark.parametrize("name", ["requirements", "requirements-slim", "requirements-dev"])
def test_everything_asked_for_is_pinned(name):
    def read(path):
        lines = (
            line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()
        )
        return [Requirement(line) for line in lines if line and not line.startswith("-")]

    pinned = {r.name: str(r.specifier) for r in read(ROOT / f"{name}.txt")}
    assert all(specifier.startswith("==") for specifier in pinned.values())
    assert {r.name for r in read(ROOT / f"{name}.in")} <= set(pinned)


def test_the_platforms_get_python_3_12_and_developers_the_same_packages():
    assert (ROOT / ".python-version").read_text(encoding="utf-8").strip() == "3.12"
    assert (
        (ROOT / "requirements-dev.txt")
        .read_text(encoding="utf-8")
        .startswith("-r requirements.txt\n")
    )


def test_the_limits_in_the_readme_are_those_of_the_code():
    said = " ".join(README.split())
    words = {2: "two", 8: "eight", 12: "twelve"}
    megabytes = create_app().config["MAX_CONTENT_LENGTH"] // MEGABYTE
    assert f"At most {MAX_IMAGES} images, each of at most {megabytes} MB" in said
    assert f"{MAX_PIXELS // 1_000_000} million pixels" in said
    assert f"decodes at most {words[MAX_DECODES]} images at once" in said
    assert f"lets {words[MAX_WAITING]} more requests wait" in said
    assert f"up to {MAX_BYTES // MEGABYTE} MB" in said
    threads = runpy.run_path(str(ROOT / "gunicorn.conf.py"))["threads"]
    assert f"one process with {words[threads]} threads" in said
    assert threads > MAX_DECODES + MAX_WAITING
