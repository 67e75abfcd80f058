"""What the documents say is what the code does."""

import json
import re

import pytest
from conftest import ROOT
from packaging.requirements import Requirement
from test_model import TABLE

import train

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


def test_the_readme_has_the_scores_of_the_committed_model():
    metrics = json.loads((ROOT / "metrics.json").read_text(encoding="utf-8"))
    rows = rows_after("| class | images | sensitivity | specificity | precision | AUC |")
    expected = [
        [f"`{code}`", f"{row['images']:,}"]
        + [f"{row[name]:.3f}" for name in ("sensitivity", "specificity", "precision", "auc")]
        for code, row in metrics["test"]["per_class"].items()
    ]
    assert rows == expected
    melanomas = 100 * metrics["test"]["per_class"]["mel"]["sensitivity"]
    assert f"The model finds {melanomas:.0f} in 100 melanomas" in README
    for name in ("accuracy", "balanced_accuracy", "macro_auc"):
        words = name.replace("_auc", "_AUC").replace("_", " ")
        assert f"{words} {metrics['test'][name]:.3f}" in README
    assert f"On the {metrics['test']['images']:,} test images" in README
    assert f"{metrics['lesions']['test']:,} lesions" in README


def test_no_option_is_missing_from_the_readme(capsys):
    with pytest.raises(SystemExit):
        train.parse_arguments(["--help"])
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
    assert f"passes over the training part ({train.EPOCHS})" in README
    assert f"everything that is random ({train.SEED})" in README


def test_links_in_the_readme_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target


@pytest.mark.parametrize("name", ["requirements", "requirements-dev"])
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
