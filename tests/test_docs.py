"""The documents agree with the code."""

import inspect
import re
import tomllib

import pytest

from attacks.clients import HEADER_DEADLINE, SLOW
from attacks.servers import ANSWER, HARMLESS, HEALTH, MOST_GROWTH
from attacks.serving import BACK, LASTING
from benchmarks import bulk, table, training
from lesion_lens import ROOT
from lesion_lens.model.admission import MAX_REQUESTS
from lesion_lens.model.decisions import HEADLINES, HIGH_RISK
from lesion_lens.model.decoding import FOR_SMALL, SLICE
from lesion_lens.model.exports import MOST_DEVIATION
from lesion_lens.model.image_files import MAX_BYTES
from lesion_lens.model.limits import (
    ANSWER_LIMIT,
    CPU_LIMIT,
    DECODE_MEMORY,
    MAX_DECODES,
    MAX_PIXELS,
    MAX_SIDE,
    MEGA,
    PIXEL_LIMITS,
    WALL_LIMIT,
)
from lesion_lens.model.outliers import FLAGGED_SHARE
from lesion_lens.model.picture_groups import GROUPS
from lesion_lens.model.statistics import clopper_pearson_lower
from lesion_lens.model.views import PATCHES
from lesion_lens.training import csv_files, tables
from lesion_lens.training.calibration import conformal_thresholds, low_risk_threshold
from lesion_lens.training.other_pictures import BEYOND
from lesion_lens.training.picture_groups import CONFIDENCE, MOST_WRONG
from lesion_lens.training.recipe import QUICK, SEED, Recipe
from lesion_lens.training.split import CALIBRATION_SHARE, TEST_SHARE
from lesion_lens.web.bodies import _PATIENCE
from lesion_lens.web.cli import INTERRUPTED, NO_IMAGE, NO_MODEL
from lesion_lens.web.limits import (
    BATCH_LIMIT,
    BODY_LIMIT,
    HEADER_LIMIT,
    LARGE_BODIES,
    LEAST_SENT,
    MAX_IMAGES,
    MAX_MEGABYTES,
    MEGABYTE,
    SILENCE,
    SMALL_BODIES,
)
from lesion_lens.web.openapi import openapi_document
from skin_cancer_detection import CODES, EXACT_PIXELS, PARAMETERS, build_model
from tests.support.drawings import draw_lesion
from train import parse_arguments

PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"))
}
README = PAGES["README.md"]
WORDS = {1: "one", 2: "two", 3: "three", 4: "four", 16: "sixteen"}


def rows_under(page, header):
    """Return the cells of the table under a header line."""
    lines = PAGES[page].split(f"{header}\n", 1)[1].splitlines()[1:]
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def text_of(page):
    """Return a page with each run of white space as one space."""
    return " ".join(PAGES[page].split())


# --- The pages -------------------------------------------------------------------------------


def test_the_readme_is_read_in_a_sitting():
    assert len(README.splitlines()) <= 150


def test_the_index_has_every_page():
    linked = re.findall(r"^- \[.*?\]\((.*?)\)", PAGES["docs/index.md"], re.M)
    assert sorted(linked) == sorted({path.name for path in ROOT.glob("docs/*.md")} - {"index.md"})


def test_the_index_begins_with_a_page_for_each_reader():
    first = PAGES["docs/index.md"].split("\n\n")[2]
    assert re.findall(r"^- To (\w+) .*\((\w+\.md)\)\.$", first, re.M) == [
        ("upload", "statements.md"),
        ("put", "deploy.md"),
        ("train", "training.md"),
        ("read", "architecture.md"),
    ]


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", PAGES[page]):
        if target.startswith("https://"):
            continue
        file, _, anchor = target.partition("#")
        path = (ROOT / page).parent / file if file else ROOT / page
        assert path.exists(), target
        if anchor:
            assert anchor in anchors_of(path.read_text(encoding="utf-8")), target


def anchors_of(text):
    """Return the anchors that GitHub makes from a page's headings."""
    headings = re.findall(r"^#+ (.*)", text, re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_changelog_begins_with_the_version_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    first = re.search(r"^## (\S+) \(\d{4}-\d\d-\d\d\)$", PAGES["CHANGELOG.md"], re.M)
    assert first[1] == project["version"]
    document = openapi_document(root="/api/v1", docs="/api/v1/docs", max_megabytes=MAX_MEGABYTES)
    assert document["info"]["version"] == project["version"]


# --- The network -----------------------------------------------------------------------------


def test_the_layers_are_those_of_the_network():
    model = build_model()
    rows = [
        [kind.split()[0].rstrip(","), output, parameters]
        for kind, output, parameters in rows_under(
            "docs/network.md", "| layer | output | parameters |"
        )
    ]
    assert rows == [
        [
            type(layer).__name__,
            ", ".join(map(str, layer.output.shape[1:])),
            f"{layer.count_params():,}",
        ]
        for layer in model.layers
    ]
    trainable = sum(weight.numpy().size for weight in model.trainable_weights)
    assert f"{PARAMETERS:,} parameters, {trainable:,} of them trainable" in PAGES["docs/network.md"]
    assert f"in the order {', '.join(CODES)}." in text_of("docs/network.md")
    assert f"to within {MOST_DEVIATION:.0e}".replace("e-0", "e-") in PAGES["docs/network.md"]


def test_the_readmes_snippet_runs_as_it_is(tmp_path, monkeypatch, capsys):
    (tmp_path / "best_model.h5").symlink_to(ROOT / "best_model.h5")
    draw_lesion().save(tmp_path / "lesion.jpg")
    monkeypatch.chdir(tmp_path)
    snippet = re.search(r"```python\n(.*?)```", README, re.S)[1]
    assert snippet.rstrip().endswith(f"# {', '.join(CODES)}")
    exec(snippet, {})  # noqa: S102 (the snippet is our own)
    assert len(re.findall(r"\d\.\d+", capsys.readouterr().out)) == len(CODES)


# --- Statements, limits and defaults ---------------------------------------------------------


def default(function, name):
    return inspect.signature(function).parameters[name].default


def test_the_rules_of_the_statements_are_those_of_the_code():
    said = text_of("docs/statements.md")
    for sentence in (
        f"the true class for {100 * default(conformal_thresholds, 'level'):.0f} in 100 lesions",
        f"fewer than {default(conformal_thresholds, 'least')} calibration lesions",
        f"at least {100 * default(low_risk_threshold, 'least'):.0f} in 100 such lesions",
        f"with {100 * default(low_risk_threshold, 'confidence'):.0f} % confidence",
        f"than those of {100 - FLAGGED_SHARE} in 100 calibration lesions",
        f"with {100 * CONFIDENCE:.0f} % confidence, that at most {100 * MOST_WRONG:.0f} in 100",
        f"at most {100 * BEYOND:.0f} in 100 images from a clinic",
        f"divided into {WORDS[GROUPS]} groups",
        f"each of {PATCHES**2} patches covered",
    ):
        assert sentence in said
    enough = next(n for n in range(1, 999) if clopper_pearson_lower(n, n) >= 1 - MOST_WRONG)
    assert f"at least {enough} such lesions" in said
    rows = rows_under("docs/statements.md", "| if | `risk_level` | the page begins with |")
    assert {row[1]: row[2] for row in rows} == {f"`{name}`": x for name, x in HEADLINES.items()}
    assert f"all three together have a probability of {HIGH_RISK} or more" in rows[1][0]


def test_the_limits_are_those_of_the_code():
    for page, sentence in (
        ("README.md", f"up to {MAX_IMAGES} images"),
        (
            "docs/uploads.md",
            f"Upload at most {MAX_IMAGES} images at once, each of at most {MAX_MEGABYTES} MB",
        ),
        ("docs/uploads.md", f"| JPEG | {PIXEL_LIMITS['JPEG'] // MEGA}, as"),
        ("docs/uploads.md", f"| WebP | {PIXEL_LIMITS['WEBP'] // MEGA}; about"),
        ("docs/uploads.md", f"| any other | {MAX_PIXELS // MEGA} |"),
        ("docs/uploads.md", f"at most {MAX_SIDE:,} pixels on one side"),
        ("docs/uploads.md", f"| decode an image, in processor time | {CPU_LIMIT} s |"),
        ("docs/uploads.md", f"| decode an image, in elapsed time | {WALL_LIMIT} s |"),
        (
            "docs/uploads.md",
            f"{(DECODE_MEMORY - FOR_SMALL) // MEGA} MB of the {DECODE_MEMORY // MEGA} MB",
        ),
        ("docs/uploads.md", f"A decode that takes longer than {SLICE} seconds"),
        ("docs/uploads.md", f"| wait for a decoder and decode | {ANSWER_LIMIT} s |"),
        ("docs/uploads.md", f"| wait for memory to hold the body | {_PATIENCE} s |"),
        ("docs/uploads.md", f"| begin the last image of a request | {BATCH_LIMIT} s |"),
        ("docs/uploads.md", f"| send the header of a request | {HEADER_LIMIT} s |"),
        ("docs/uploads.md", f"| send each {LEAST_SENT // 1024} KB of the body | {SILENCE} s |"),
        ("docs/uploads.md", f"| send the whole body | {BODY_LIMIT // 60} minutes |"),
        (
            "docs/uploads.md",
            f"{SMALL_BODIES // MEGA} MB of bodies of up to 1 MB, and {LARGE_BODIES // MEGA} MB",
        ),
        ("docs/uploads.md", f"a single request of at most {MAX_MEGABYTES} MB"),
        ("docs/uploads.md", f"up to {WORDS[EXACT_PIXELS // 1_000_000]} megapixels"),
        ("docs/uploads.md", f"At most {WORDS[MAX_DECODES]} images are decoded at once"),
        ("docs/uploads.md", f"Up to {WORDS[MAX_REQUESTS]} requests with images"),
        ("docs/api.md", f"1 to {MAX_IMAGES} images, at most {MAX_MEGABYTES} MB together"),
        ("docs/cli.md", f"up to {MAX_BYTES // MEGABYTE} MB"),
        ("docs/training.md", f"an image {MAX_BYTES // MEGABYTE} MB"),
        (
            "docs/training.md",
            f"The CSV of pixels may have up to {csv_files.MAX_BYTES // MEGABYTE} MB",
        ),
        ("docs/training.md", f"any other table {tables.MAX_BYTES // MEGABYTE} MB"),
        ("docs/cli.md", f"{WORDS[MAX_DECODES].capitalize()} images are classified at a time"),
    ):
        assert sentence in text_of(page), sentence


def test_the_problems_of_the_api_are_those_of_its_document():
    document = openapi_document(root="/api/v1", docs="/api/v1/docs", max_megabytes=MAX_MEGABYTES)
    responses = document["paths"]["/predictions"]["post"]["responses"]
    rows = rows_under("docs/api.md", "| status | type | what is wrong |")
    assert [row[:2] for row in rows] == [
        [status, f"`{name}`"]
        for status, response in responses.items()
        if status != "200"
        for name in response["content"]["application/problem+json"]["examples"]
    ]


def test_the_exit_codes_are_those_of_the_command():
    codes = [int(code) for code, _ in rows_under("docs/cli.md", "| code | meaning |")]
    assert codes == [0, NO_IMAGE, 2, NO_MODEL, INTERRUPTED]


def test_the_options_are_those_of_the_training(capsys):
    with pytest.raises(SystemExit):
        parse_arguments(["--help"])
    options = set(re.findall(r"--[a-z]+(?:-[a-z]+)*", capsys.readouterr().out)) - {"--help"}
    rows = rows_under("docs/training.md", "| option | what it does |")
    assert {option for cell, _ in rows for option in re.findall(r"`(--[a-z-]+)`", cell)} == options
    for default_value in (
        f"number of teachers ({Recipe.teachers})",
        f"for each network ({Recipe.epochs})",
        f"no teachers and {QUICK.epochs} epochs",
        f"fixes everything random ({SEED})",
        f"first {TEST_SHARE} % are the test part, the next {CALIBRATION_SHARE} %",
    ):
        assert default_value in text_of("docs/training.md")


def test_every_figure_that_a_command_prints_is_in_the_readme():
    rows = rows_under("docs/training.md", "| figure | command | time |")
    figures = re.findall(r"\*\*(.+?)\*\*", " ".join(cell for cell, *_ in rows))
    assert len(figures) == len(rows)
    assert not [figure for figure in figures if figure not in text_of("README.md")]


def test_the_gpu_build_is_of_the_pinned_version():
    version = re.search(r"tensorflow-cpu==([\d.]+)", (ROOT / "requirements.in").read_text())[1]
    assert f'"tensorflow[and-cuda]=={version}"' in PAGES["docs/training.md"]


# --- Development -----------------------------------------------------------------------------


def test_the_guide_to_an_eighth_class_names_what_exists():
    guide = PAGES["docs/development.md"].split("### Adding an eighth class")[1].split("\n## ")[0]
    named = re.findall(r"`([\w/]+\.\w+)`", guide)
    assert len(named) > 15
    assert [name for name in named if not (ROOT / name).exists()] == []
    names = re.findall(r"`(_[A-Z]+|[A-Z]{4,})`", guide)
    code = (ROOT / "lesion_lens/training/diagnoses.py").read_text(encoding="utf-8")
    code += (ROOT / "skin_cancer_detection.py").read_text(encoding="utf-8")
    assert {"CLASSES", "_NAMES", "_HOMELESS"} <= set(names)
    assert all(f"\n{name}" in code for name in names)


def test_every_make_target_is_listed():
    targets = re.search(r"^\.PHONY: (.*)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    rows = rows_under("docs/development.md", "| target | what it does |")
    assert sorted(cell for cell, _ in rows) == sorted(
        f"`make {name}`" for name in targets[1].split()
    )


def test_every_environment_variable_is_listed():
    sources = [ROOT / name for name in ("app.py", "train.py", "gunicorn.conf.py")]
    sources += [*ROOT.glob("lesion_lens/**/*.py"), *ROOT.glob("scripts/*.py")]
    code = "".join(path.read_text(encoding="utf-8") for path in sources)
    read = set(re.findall(r"""environ(?:\.get\(|\[)["'](\w+)["']""", code))
    rows = rows_under("docs/development.md", "| variable | what it sets |")
    assert {cell.strip("`") for cell, _ in rows} == read


@pytest.mark.parametrize("wing", ["model", "web", "training"])
def test_every_module_is_listed(wing):
    modules = {path.stem for path in ROOT.glob(f"lesion_lens/{wing}/[a-z]*.py")}
    section = PAGES["docs/architecture.md"].split(f"### lesion_lens/{wing}:")[1].split("\n#")[0]
    assert sorted(re.findall(r"^\| `(\w+)`", section, re.M)) == sorted(modules)
    assert f"- `lesion_lens/{wing}/` " in README


def test_every_module_of_the_attacks_is_listed():
    modules = {path.name.removesuffix(".py") for path in ROOT.glob("attacks/*")}
    section = PAGES["docs/architecture.md"].split("### attacks:")[1].split("\n#")[0]
    listed = set(re.findall(r"^\| `(\w+)`", section, re.M))
    assert listed == modules - {"__init__", "__pycache__"}


def test_the_attacks_judge_by_what_is_promised():
    said = text_of("docs/reliability.md")
    for sentence in (
        f"is answered within {ANSWER} seconds",
        f"at most {MOST_GROWTH} MB more anonymous memory",
        f"within {HARMLESS} seconds and `/healthz` within {HEALTH} second**",
        f"an upload are answered within {SLOW} seconds",
        f"whose header is not complete after {HEADER_DEADLINE - 2} seconds",
        f"are answered again within {BACK} seconds",
        f"more than {LASTING} MB left in use",
    ):
        assert sentence in said, sentence


def test_the_benchmarks_explain_their_tables_as_the_code_does():
    page = PAGES["docs/benchmarks.md"]
    for name, legends in {
        "serving": (table.LEGEND, table.START_LEGEND),
        "bulk": (bulk.LEGEND,),
        "training": (training.LEGEND,),
    }.items():
        section = page.split(f"<!-- {name} -->")[1].split(f"<!-- end of {name} -->")[0]
        assert all(legend in section for legend in legends)


def test_the_platforms_get_python_3_12_and_developers_the_same_packages():
    assert (ROOT / ".python-version").read_text(encoding="utf-8").strip() == "3.12"
    assert (
        (ROOT / "requirements-dev.txt")
        .read_text(encoding="utf-8")
        .startswith("-r requirements.txt\n")
    )
