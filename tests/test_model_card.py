"""The model card has the figures of metrics.json and everything that a model card should say."""

import re
from inspect import signature

import pytest
from bs4 import BeautifulSoup
from markdown_it import MarkdownIt

from lesion_lens import ROOT
from lesion_lens.model import outliers
from lesion_lens.model.decisions import HIGH_RISK, LEVELS
from lesion_lens.model.files import DEFAULT_MODEL_PATH, check_model_file
from lesion_lens.model.picture_groups import GROUPS
from lesion_lens.model.statistics import clopper_pearson
from lesion_lens.training import calibration, picture_groups
from lesion_lens.training.evaluation import FEWEST_MELANOMAS, SMALLEST_GROUP, evaluate
from lesion_lens.training.metrics import BINS
from lesion_lens.training.teachers import HELD_OUT_FOLDS
from lesion_lens.web.card_tables import Meaning, level_table, meaning, pairs
from lesion_lens.web.model_card import CardError, model_card, read_metrics
from skin_cancer_detection import CODES
from tests.support.cards import estimates_in, made_clinic, shown, with_sources
from tests.support.models import LAYERS, made_counts


@pytest.fixture
def metrics():
    # Read again for each test, so that tests may change it.
    return with_sources(read_metrics(ROOT / "metrics.json"))


def share(value, trials):
    low, high = clopper_pearson(round(value * trials), trials)
    return shown({"value": value, "low": low, "high": high})


def in_words(card):
    """Return the card on one line, without emphasis marks."""
    return " ".join(card.replace("*", "").split())


def section(card, heading):
    return re.split(r"^#+ ", card.split(f"# {heading}\n")[1], maxsplit=1, flags=re.MULTILINE)[0]


def tables(text):
    """Return the rows of each table as lists of cells, without the header."""
    found = re.findall(r"^\|.*\n\|[-| ]+\|\n((?:\|.*\n)+)", text, flags=re.MULTILINE)
    return [[row.strip("| ").split(" | ") for row in table.splitlines()] for table in found]


def with_all(kind, values, other):
    """Replace all values of one type in nested dicts."""
    if isinstance(values, dict):
        return {name: with_all(kind, value, other) for name, value in values.items()}
    return other if type(values) is kind else values


# --- Figures ---------------------------------------------------------------------------------


def test_the_committed_model_file_holds_the_committed_metrics():
    assert check_model_file(DEFAULT_MODEL_PATH) == read_metrics(ROOT / "metrics.json")


def test_every_interval_of_the_metrics_is_on_the_card(metrics):
    card = model_card(metrics)
    found = list(estimates_in(metrics["test"]))
    assert len(found) > 100
    assert not [figure for figure in found if shown(figure) not in card]


def test_no_figure_of_the_results_stands_in_the_template(metrics):
    metrics["test"] = with_all(float, metrics["test"], None)
    # So that all shares are undefined.
    metrics["test"]["decisions"] = with_all(int, metrics["test"]["decisions"], 0)
    metrics["test"]["decisions"]["low_risk"]["threshold"] = 0.5  # without it, there is no table
    del metrics["other_clinics"]  # their table has its own test
    card = model_card(metrics)
    results = card.split("## Results")[1].split("## Limits")[0]
    # The specificity in a score's name, the bound that the threshold must keep, and the probability
    # from which the risk is high.
    assert set(re.findall(r"\d+\.\d+", results)) == {"0.80", "0.95", "0.5", "0.500"}
    cells = {cell for table in tables(results) for row in table for cell in row[1:]}
    assert {cell for cell in cells if not re.fullmatch(r"[\d,]+|its own|pooled|", cell)} == {"–"}


def test_the_scores_of_all_classes_stand_in_their_rows(metrics):
    one, eight = metrics["test"]["one_view"], metrics["test"]["eight_views"]
    keys = ["accuracy", "balanced_accuracy", "macro_auc", "malignant_auc"]
    keys += ["melanoma_sensitivity_at_specificity_0.80"]
    (rows,) = tables(section(model_card(metrics), "Results"))
    assert [row[1:] for row in rows[:5]] == [[shown(one[key]), shown(eight[key])] for key in keys]
    assert [row[1:] for row in rows[5:]] == [
        [shown(views["prior_divided"][key]) for views in (one, eight)] for key in keys[:2]
    ]
    assert rows[0][0] == "accuracy"
    assert "macro AUC" in rows[2][0]
    assert "0.80" in rows[4][0]
    assert "balanced accuracy, prior divided out" in rows[6][0]


@pytest.mark.parametrize(
    ("heading", "views"),
    [("By class, eight views", "eight_views"), ("By class, one view", "one_view")],
)
def test_the_scores_of_each_class_stand_in_its_row(metrics, heading, views):
    (rows,) = tables(section(model_card(metrics), heading))
    names = ("sensitivity", "specificity", "precision", "auc")
    assert rows == [
        [f"`{code}`", f"{row['images']:,}", *(shown(row[name]) for name in names)]
        for code, row in metrics["test"][views]["per_class"].items()
    ]


def test_the_scores_of_each_group_stand_in_its_row(metrics):
    found = tables(section(model_card(metrics), "By sex, age and part of the body"))
    for name, rows in zip(("sex", "age", "site"), found, strict=True):
        groups = metrics["test"]["subgroups"][name]
        assert {row[0] for row in rows} == set(groups)
        for group, *cells in rows:
            row = groups[group]
            names = ("accuracy", "melanoma_sensitivity", "malignant_auc")
            assert cells == [f"{row['images']:,}", *(shown(row[name]) for name in names)]


def test_the_scores_of_each_source_stand_in_its_row_where_they_are_known(metrics):
    groups = metrics["test"]["subgroups"]["clinic"]
    (rows,) = tables(section(model_card(metrics), "By source"))
    assert {row[0]: row[2] for row in rows} == {
        f"`{name}`": shown(scores["accuracy"]) for name, scores in groups.items()
    }
    del metrics["test"]["subgroups"]["clinic"]
    assert "### By source" not in model_card(metrics)


ELSEWHERE = "Images from elsewhere"


def columns_of(metrics):
    """Return the rows of the first table on images from elsewhere: name -> cells, in order."""
    return [(row[0], row[1:]) for row in tables(section(model_card(metrics), ELSEWHERE))[0]]


def test_the_auc_of_an_unseen_source_stands_above_that_of_the_model_that_knows_it(metrics):
    metrics["other_clinics"]["clinics"] = {"a": made_clinic(0.7), "b": made_clinic(None)}
    row = metrics["test"]["subgroups"]["sex"]["male"] | {"malignant_auc": {"value": 0.8}}
    row["malignant_auc"] |= {"low": 0.75, "high": 0.85}
    metrics["test"]["subgroups"]["clinic"] = {"a": row}
    names = [name for name, _ in columns_of(metrics)]
    place = names.index("AUC of malignant against benign")
    (_, unseen), (_, known) = columns_of(metrics)[place : place + 2]
    assert unseen[1:] == ["0.700 (0.600–0.800)", "–"]
    assert known == ["–", "0.800 (0.750–0.850)", "–"]


def test_low_risk_that_is_never_said_has_no_sensitivity(metrics):
    never, said = made_clinic(), made_clinic()
    never["statements"]["low"] = dict.fromkeys(("lesions", "malignant", "melanomas"), 0)
    metrics["other_clinics"]["clinics"] = {"a": never, "b": said}
    cells = dict(columns_of(metrics))["sensitivity of ‘low risk’"]
    assert cells[1:] == ["–", share(8 / 20, 20)]  # 12 of 20 malignant lesions are called low risk


@pytest.mark.parametrize(
    ("heading", "part", "whole"),
    [
        ("Share of all lesions with each statement", 30, 80),
        ("Share of lesions with each statement that are malignant", 12, 30),
        ("Share of all malignant lesions with each statement", 12, 20),
        ("Share of all melanomas with each statement", 6, 10),
    ],
)
def test_what_a_statement_means_for_a_source(metrics, heading, part, whole):
    metrics["other_clinics"]["clinics"] = {"a": made_clinic()}
    (rows,) = tables(section(model_card(metrics), heading))
    assert {row[2] for row in rows} == {share(part / whole, whole)}


def with_aucs(metrics, known, unseen):
    """Return the metrics with a source for each pair of AUCs (known, unseen)."""
    row = metrics["test"]["subgroups"]["sex"]["male"]
    metrics["test"]["subgroups"]["clinic"] = {
        str(number): row | {"malignant_auc": {"value": auc, "low": auc, "high": auc}}
        for number, auc in enumerate(known)
    }
    metrics["other_clinics"]["clinics"] = {
        str(number): made_clinic(auc) for number, auc in enumerate(unseen)
    }
    return metrics


def test_only_sources_of_which_both_aucs_are_known_are_compared(metrics):
    facts = with_aucs(metrics, [0.8, 0.9, 0.5], [0.7, 0.75, None])
    facts["other_clinics"]["clinics"]["new"] = made_clinic(0.6)
    assert pairs(facts) == {"known": (0.8, 0.9), "unseen": (0.7, 0.75)}
    assert "of 0.70–0.75 on its images" in in_words(model_card(facts))
    assert "reaches 0.80–0.90" in in_words(model_card(facts))


def test_a_card_without_other_sources_says_so(metrics):
    del metrics["other_clinics"]
    card = in_words(model_card(metrics))
    assert "The model file does not say how good such a model is on images from a clinic" in card
    assert "Expect lower scores on images from elsewhere. The model file does not say how" in card


def test_facts_of_before_the_risk_levels_make_no_card(metrics):
    del metrics["test"]["decisions"]["statements"]["high"]
    with pytest.raises(CardError, match="lacks facts that the card needs"):
        model_card(metrics)


def test_spoiled_scores_of_a_source_make_no_card(metrics):
    scores = next(iter(metrics["other_clinics"]["clinics"].values()))
    scores["statements"]["low"]["malignant"] = scores["lesions"] + 1
    with pytest.raises(CardError, match="lacks facts that the card needs"):
        model_card(metrics)


@pytest.mark.parametrize(
    "name", ["St. Mary’s", "a | b", "<b>", "__x__", "[y](https://example.org)"]
)
def test_a_source_of_any_name_is_text_on_the_card(metrics, name):
    groups = metrics["test"]["subgroups"]
    groups["clinic"] = {name: next(iter(groups["clinic"].values()))}
    metrics["other_clinics"]["clinics"] = {name: made_clinic()}
    html = MarkdownIt("commonmark").enable("table").render(model_card(metrics))
    page = BeautifulSoup(html, "html.parser")
    assert name in [cell.get_text() for cell in page.select("th")]
    assert name in [cell.get_text() for cell in page.select("td")]


def test_the_sources_are_explained_only_where_they_are_those_of_ham10000(metrics):
    row = next(iter(metrics["test"]["subgroups"]["clinic"].values()))
    metrics["test"]["subgroups"]["clinic"] = {"a": row}
    assert "practice in Queensland. The" not in in_words(model_card(metrics))
    names = ("rosendahl", "vidir_modern", "vidir_molemax", "vienna_dias")
    metrics["test"]["subgroups"]["clinic"] = dict.fromkeys(names, row)
    assert "`rosendahl` is a practice in Queensland. The images" in in_words(model_card(metrics))


def test_groups_stand_in_the_order_of_age(metrics):
    row = metrics["test"]["subgroups"]["sex"]["female"]
    bands = ["under 30", "30–44", "45–59", "60–74", "75 and over", "unknown"]
    metrics["test"]["subgroups"]["age"] = dict.fromkeys(sorted(bands), row)
    ages = tables(section(model_card(metrics), "By sex, age and part of the body"))[1]
    assert [row[0] for row in ages] == bands


def test_the_calibration_stands_in_its_rows(metrics):
    one, eight = metrics["test"]["one_view"], metrics["test"]["eight_views"]
    (rows,) = tables(section(model_card(metrics), "Calibration"))
    chance = "simulated_calibration_error"
    assert [row[1:] for row in rows] == [
        [shown(one["calibration_error"]), shown(eight["calibration_error"])],
        [f"{one[chance]['mean']:.3f}", f"{eight[chance]['mean']:.3f}"],
        [f"{one[chance]['percentile_95']:.3f}", f"{eight[chance]['percentile_95']:.3f}"],
        [shown(one["brier_score"]), shown(eight["brier_score"])],
        [shown(one["log_loss"]), shown(eight["log_loss"])],
    ]


def test_what_low_risk_finds_and_costs(metrics):
    decisions = metrics["test"]["decisions"]
    decisions |= made_counts(1000, 200)
    decisions["low_risk"] = {
        "threshold": 0.0625,
        "below_threshold": low_risk_scores(missed=6, of_benign=700),
        "statement": low_risk_scores(missed=4, of_benign=640),
    }
    text = section(model_card(metrics), "Low risk")
    (rows,) = tables(text)
    assert "below **0.062**" in text
    assert [row[1:] for row in rows] == [
        ["200", "200"],
        ["0.970 (0.936–0.989)", "0.980 (0.950–0.995)"],
        ["0.875 (0.850–0.897)", "0.800 (0.771–0.827)"],
        ["0.706 (0.677–0.734)", "0.644 (0.613–0.674)"],
    ]
    assert "of 100 benign lesions, about 80 are called low risk" in in_words(text)


def low_risk_scores(missed, of_benign):
    """Return the scores for 200 malignant and 800 benign lesions."""
    low, high = clopper_pearson(200 - missed, 200)
    return {
        "share": (missed + of_benign) / 1000,
        "malignant": 200,
        "sensitivity": {"value": 1 - missed / 200, "low": low, "high": high},
        "missed_per_100": missed / 2,
        "specificity": of_benign / 800,
    }


def test_the_coverage_of_each_class_stands_in_its_row(metrics):
    decisions = metrics["test"]["decisions"]
    conformal = decisions["conformal"]
    text = section(model_card(metrics), "What cannot be excluded")
    (rows,) = tables(text)
    assert rows == [
        *(
            [
                f"`{code}`",
                f"{row['lesions']:,}",
                share(row["coverage"], row["lesions"]),
                "pooled" if row["pooled"] else "its own",
            ]
            for code, row in conformal["per_class"].items()
        ),
        ["all", f"{decisions['lesions']:,}", share(conformal["coverage"], decisions["lesions"])],
    ]
    assert f"{conformal['mean_set_size']:.2f}" in text


def test_the_shares_of_the_other_statements_stand_in_their_rows(metrics):
    decisions = metrics["test"]["decisions"]
    decisions |= made_counts(1000, 300, unfamiliar=(50, 8, 4), not_dermatoscopic=(3, 1, 0))
    decisions["flagged"] = {"share": 0.2, "right": 0.25}
    (rows,) = tables(section(model_card(metrics), "The other statements"))
    assert [row[1] for row in rows] == [
        share(0.2, 1000),
        share(0.25, 200),
        share(0.05, 1000),
        share(0.003, 1000),
    ]


def test_what_a_risk_level_means_stands_in_its_row(metrics):
    decisions = metrics["test"]["decisions"]
    decisions |= made_counts(1000, 300, high=(200, 140, 60), low=(0, 0, 0))
    (rows,) = tables(section(model_card(metrics), "Risk levels"))
    assert [row[0] for row in rows] == [f"`{level}`" for level in LEVELS]
    shares = [share(0.2, 1000), share(0.7, 200), share(140 / 300, 300), share(0.4, 150)]
    assert rows[0][1:] == ["200", *shares]
    assert rows[LEVELS.index("low")][1:4] == ["0", share(0.0, 1000), "–"]


def test_a_level_of_test_lesions_that_hold_no_melanoma_has_no_share_of_them():
    (rows,) = tables(level_table(made_counts(1000, 1)) + "\n")
    assert {row[-1] for row in rows} == {"–"}


def test_the_melanomas_are_counted_from_the_confusion_matrix(metrics):
    scored = metrics["test"]["eight_views"]
    scored["confusion_matrix"][CODES.index("mel")] = [1, 2, 3, 4, 50, 0, 140]
    scored["images"] = 800
    text = in_words(model_card(metrics))
    assert "most likely class for 140 of the 200 test images of melanomas" in text
    assert "For 50, it is naevus" in text
    assert "In that mix, 25 % of the images show a melanoma (200 of the 800 test images)" in text


def test_the_images_and_lesions_of_each_class_and_part(metrics):
    test, card = metrics["test"], model_card(metrics)
    per_class = test["eight_views"]["per_class"], test["decisions"]["conformal"]["per_class"]
    assert [(row[0], *row[3:]) for row in tables(section(card, "Model details"))[0]] == [
        (f"`{code}`", f"{per_class[0][code]['images']:,}", f"{per_class[1][code]['lesions']:,}")
        for code in CODES
    ]
    assert [row[:3] for row in tables(section(card, "Data"))[0]] == [
        [part, f"{metrics['images'][part]:,}", f"{metrics['lesions'][part]:,}"]
        for part in ("training", "calibration", "test")
    ]


# --- What a level meant, in a sentence -------------------------------------------------------


def of_sources(**counts):
    """Return facts with left-out sources, by name."""
    clinics = {name: made_clinic() | one for name, one in counts.items()}
    return {"other_clinics": {"clinics": clinics}}


@pytest.mark.parametrize("familiarity", ["familiar", "not dermatoscopic", None])
def test_what_a_level_meant_is_that_of_the_test_lesions(familiarity):
    facts = of_sources(a=made_counts(100, 90, high=(20, 20, 0)))
    facts["test"] = {"decisions": made_counts(1000, 157, high=(200, 141, 60))}
    assert meaning(facts, "high", familiarity) == Meaning(0.705, 0.157, 60 / 78, is_unseen=False)


def test_of_an_unfamiliar_image_it_is_that_of_the_source_with_the_most_malignant_of_the_level():
    facts = of_sources(
        a=made_counts(100, 40, high=(50, 25, 9), raised=(50, 15, 9)),
        b=made_counts(100, 30, high=(25, 20, 9), raised=(50, 10, 5)),
    )
    facts["test"] = {"decisions": made_counts(100, 95, high=(90, 90, 40))}
    assert meaning(facts, "high", "unfamiliar") == Meaning(0.8, 0.3, 9 / 15, is_unseen=True)
    assert meaning(facts, "raised", "unfamiliar") == Meaning(0.3, 0.4, 9 / 20, is_unseen=True)


def test_of_fewer_than_20_lesions_nothing_is_said():
    few, enough = made_counts(100, 40, high=(19, 19, 9)), made_counts(100, 40, high=(20, 10, 9))
    assert meaning({"test": {"decisions": few}}, "high", "familiar") is None
    assert meaning({"test": {"decisions": enough}}, "high", "familiar").malignant == 0.5
    assert meaning(of_sources(a=few), "high", "unfamiliar") is None
    assert meaning(of_sources(a=few, b=enough), "high", "unfamiliar").malignant == 0.5


@pytest.mark.parametrize("test", [None, {}, {"decisions": {}}])
def test_without_counts_nothing_is_said(test):
    for familiarity in ("familiar", "unfamiliar"):
        assert meaning({"test": test}, "high", familiarity) is None


def test_without_left_out_sources_nothing_is_said_of_an_unfamiliar_image():
    facts = {"test": {"decisions": made_counts(1000, 157)}}
    assert meaning(facts, "high", "familiar")
    assert meaning(facts, "high", "unfamiliar") is None


# --- Text ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "It does not diagnose",
        "It must not be used to diagnose",
        "It must not be used to rule out cancer",
        "It must not be used commercially",
        "hold for the mix of lesions that specialist clinics photographed, not for the public",
        "Dark skin is hardly represented",
        "The model knows only seven classes, and forces anything else into one of them",
        "all images were taken with a dermatoscope",
        "about half of the images have a diagnosis confirmed by histology",
        "under the [MIT licence](../LICENSE)",
        "CC BY-NC 4.0",
        "for non-commercial use only",
        "Tschandl, P., Rosendahl, C. & Kittler, H.",
        "Scientific Data 5, 180161",
        "https://doi.org/10.7910/DVN/DBW86T",
    ],
)
def test_the_card_says(statement, metrics):
    assert statement in in_words(model_card(metrics)).replace("> ", "")


def test_the_share_of_melanomas_is_that_of_the_test_images(metrics):
    scored = metrics["test"]["eight_views"]
    percent = 100 * scored["per_class"]["mel"]["images"] / scored["images"]
    text = in_words(model_card(metrics))
    assert f"In that mix, {percent:.0f} % of the images show a melanoma" in text


def test_the_sections_of_a_model_card_are_there(metrics):
    wanted = ["Model details", "Intended use", "What it must not be used for", "Factors", "Data"]
    wanted += ["Training", "Metrics", "Results", "Calibration", "Decisions"]
    wanted += ["Images from elsewhere", "Limits"]
    wanted += ["Ethical notes", "Licence", "Citation"]
    assert re.findall(r"^## (.+)$", model_card(metrics), flags=re.MULTILINE) == wanted


@pytest.mark.parametrize("threshold", [0.1, None])
def test_the_numbers_in_the_text_are_those_of_the_code(metrics, threshold):
    metrics["test"]["decisions"]["low_risk"]["threshold"] = threshold
    text = in_words(model_card(metrics))
    assert f"{sum(parameters for *_, parameters in LAYERS):,} parameters" in text
    assert f"in {BINS} bins" in text
    assert f"fewer than {SMALLEST_GROUP} images" in text
    assert f"fewer than {FEWEST_MELANOMAS} images of melanomas" in text
    assert f"{outliers.FLAGGED_SHARE} % of the calibration lesions are beyond it" in text
    assert f"have a probability of {HIGH_RISK} or more" in text
    replicates = signature(evaluate).parameters["replicates"].default
    assert f"resamples whole lesions {replicates:,} times" in text
    bound = signature(calibration.low_risk_threshold).parameters
    assert f"one-sided {100 * bound['confidence'].default:.0f} % lower bound" in text
    assert f"at least {bound['least'].default}" in text
    sets = signature(calibration.conformal_thresholds).parameters
    assert f"true class for {100 * sets['level'].default:.0f} % of the lesions" in text
    assert f" {sets['least'].default} calibration lesions" in text


def test_where_low_risk_has_proved_right_is_told_with_the_numbers_of_the_code(metrics):
    metrics["test"]["decisions"]["low_risk"]["threshold"] = 0.1
    text = in_words(section(model_card(metrics), "Low risk"))
    assert GROUPS == 4
    assert "four groups" in text
    assert f"{100 * picture_groups.MOST_WRONG:.0f} in 100" in text
    assert f"with {100 * picture_groups.CONFIDENCE:.0f} % confidence" in text


def test_the_text_follows_the_recipe(metrics):
    metrics["recipe"] |= {"teachers": 3, "teacher_share": 0.625}
    text = in_words(model_card(metrics))
    assert "The teachers (3 here) are trained first." in text
    assert "makes up 0.625 of its loss" in text
    assert HELD_OUT_FOLDS == 10
    assert "each leaves out a different tenth of the training lesions" in text
    metrics["recipe"]["teachers"] = 0
    text = in_words(model_card(metrics))
    assert "it has no teachers" in text
    assert "Distillation" not in text


def test_the_text_follows_the_thresholds(metrics):
    decisions = metrics["test"]["decisions"]
    decisions["low_risk"]["threshold"] = None
    for row in decisions["conformal"]["per_class"].values():
        row["pooled"] = False
    card = model_card(metrics)
    assert "‘low risk’ is never said" in in_words(card)
    assert not tables(section(card, "Low risk"))
    assert "Every class has at least 19 calibration lesions" in in_words(card)
    for code in ("akiec", "df", "vasc"):
        decisions["conformal"]["per_class"][code]["pooled"] = True
    assert "(pooled): `akiec`, `df` and `vasc`." in in_words(model_card(metrics))


@pytest.mark.parametrize(
    ("error", "verdict"),
    [(0.02, "is not above the 95th percentile"), (0.03, "is above the 95th percentile")],
)
def test_the_calibration_error_is_judged_by_chance(metrics, error, verdict):
    scored = metrics["test"]["eight_views"]
    scored["calibration_error"]["value"] = error
    scored["simulated_calibration_error"]["percentile_95"] = 0.02
    assert f"The error of eight views {verdict}" in in_words(model_card(metrics))


def test_links_on_the_card_lead_somewhere(metrics):
    card = model_card(metrics)
    anchors = {
        re.sub(r"[^a-z -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", card, flags=re.MULTILINE)
    }
    for target in re.findall(r"\]\(([^)]+)\)", card):
        if target.startswith("#"):
            assert target[1:] in anchors
        else:
            assert (
                target.startswith("https://") or (ROOT / "docs" / target.split("#")[0]).exists()
            ), target


@pytest.mark.parametrize(
    "name", ["confusion_matrix", "roc_curves", "reliability", "learning_curves"]
)
def test_every_picture_is_there_and_described(metrics, name):
    alternative = re.search(rf"!\[(.+)\]\(\.\./figures/{name}\.png\)", model_card(metrics))[1]
    assert len(alternative.split()) > 8


# --- Metrics that do not allow a card --------------------------------------------------------


@pytest.mark.parametrize(
    "change", [{"data": "images of one's own"}, {"rows_may_share_lesions": True}]
)
def test_metrics_of_other_data(metrics, change):
    with pytest.raises(CardError, match=r"made\.json does not come from HAM10000 split"):
        model_card(metrics | change, "made.json")


@pytest.mark.parametrize("text", ["<b>", "[here](https://example.org)", "![](//x)", "a | b", "`"])
def test_metrics_with_a_text_that_is_more_than_text(metrics, text):
    metrics["versions"]["keras"] = text
    with pytest.raises(CardError, match="lacks facts that the card needs"):
        model_card(metrics)
    with pytest.raises(CardError, match="lacks facts that the card needs"):
        model_card(metrics | {"versions": {text: "1.0"}})
