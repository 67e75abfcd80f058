"""A browser fills in the same page as the server, letter by letter."""

import itertools
import json
from dataclasses import asdict, dataclass
from datetime import date

import numpy as np
import pytest
from flask import render_template
from jinja2 import DictLoader, nodes

from lesion_lens.model.classifier import Answer
from lesion_lens.model.crops import Box, Crop
from lesion_lens.model.decisions import DecisionFacts, decide
from lesion_lens.model.decoder import DecodedImage
from lesion_lens.model.files import read_attributes
from lesion_lens.model.litert_files import append_attributes
from lesion_lens.model.wording import about_in_100, count, in_words, of_100, percent, shorten
from lesion_lens.web.current import get_classifier
from lesion_lens.web.device_page import page_of
from lesion_lens.web.pages import as_png, context_of, data_address
from lesion_lens.web.template_trees import trees_of
from skin_cancer_detection import CODES
from tests.support.cards import made_clinic
from tests.support.models import (
    FACTS,
    LIKE,
    LITERT,
    OWN,
    PROVEN,
    attributes_of,
    made_counts,
    made_scores,
    shares_of,
)
from tests.support.pages import app_of, app_with

SHARES = [
    shares_of(nv=0.98),
    shares_of(mel=0.98),
    shares_of(df=0.95),
    shares_of(nv=0.82, akiec=0.09, mel=0.03),
    shares_of(nv=0.42, mel=0.28, bcc=0.28),
    shares_of(nv=0.92, mel=0.07),
    shares_of(nv=0.92, vasc=0.07),
    [1 / 7] * 7,
    [0.0000014, 0, 0.00001, 0.0001, 0.9998876, 0.000001, 0],
]
# familiarity, whether 'low risk' has proved right, and the reason
KINDS = [
    ("familiar", True, None),
    ("familiar", False, None),
    ("familiar", None, None),
    ("unfamiliar", True, "colour cast"),
    ("not dermatoscopic", False, None),
    (None, None, None),
]
CUT = Box(0.1, 0.1, 0.9, 0.9)
CROPS = [
    None,
    Crop(Box(0, 0, 0.999, 1)),
    Crop(Box(0.02, 0, 1, 1)),
    Crop(CUT, view=CUT),
    Crop(Box(0.3, 0.3, 0.7, 0.7)),
]
NAMES = [
    "lesion.png",
    "<b>\"one\" & 'two'.jpg",
    "شامة على الكتف 5 mm.jpg",
    "🩺👩🏽‍⚕️, the left arm of the day before yesterday IMG_0042.jpg",
    "x" * 17 + " \u00a0" * 3 + "y" * 30,
    "=1+1, a.csv",
    "4 % of\n100, 5 mm 5 mmé {} </code> 3\tof 100.png",
    "",
]
IMAGE = DecodedImage(np.full((28, 28, 3), 7, np.uint8), (600, 450), b"a preview", (320, 240))
# The branches of the template that only the server takes, by their conditions.
ON_THE_SERVER = {
    "is_sample: yes",
    "on_device: no",
    "image likely: no",
    "image preview: yes",
    "with_note: no",
    "with_note: yes",  # of a failed row
}


@dataclass
class Case:
    """An answer and what the page shows with it; `shown` is the server's page."""

    model: int
    answer: Answer
    name: str
    was_sent: bool
    shown: str

    def to_dict(self):
        """Convert it to the form that the modules of static/ use."""
        answer, crop = self.answer, self.answer.crop
        names = ("familiarity", "reason", "distance", "lacks_rules", "risk_level", "next_step")
        return {
            "model": self.model,
            "name": self.name,
            "wasSent": self.was_sent,
            "answer": {name: getattr(answer, name) for name in (*names, "urgency")}
            | {
                "probabilities": answer.probabilities.tolist(),
                "occlusion": answer.occlusion.tolist(),
                "statements": asdict(answer.statements),
                "crop": crop
                and {name: getattr(crop, name) for name in ("is_harmless", "removed", "cut_black")},
            },
        }


def made_app(folder, facts, *rules):
    """Make an app whose model file has exactly these facts and rules."""
    path = folder / f"{len(list(folder.iterdir()))}.tflite"
    path.write_bytes(LITERT.read_bytes()[: read_attributes(LITERT)["network_bytes"]])
    texts = {"class_order": ",".join(CODES), "training_facts": json.dumps(facts)}
    append_attributes(path, texts | attributes_of(*rules))
    return app_of(path)


def made_apps(folder):
    """Make apps whose model files allow all the page's statements."""
    nothing = {"precision": {"value": None}, "sensitivity": {"value": None}}
    scores = made_scores() | {"decisions": made_counts(1000, 1)}  # without melanomas
    scores["eight_views"]["per_class"] |= {"mel": nothing, "nv": nothing}
    clinics = {"a": made_clinic() | made_counts(500, 1), "b": made_clinic() | made_counts(500, 90)}
    other = {"data": "Ours", "test": scores, "rows_may_share_lesions": True}
    one = {"a": made_clinic() | {"melanoma_sensitivity": None}}  # makes a range a single number
    few = made_scores()
    few["eight_views"]["images"] = 10
    few["eight_views"]["per_class"]["mel"]["images"] = 3
    known = {
        "data": "HAM10000",
        "data_sha256": "0123456789abcdef" * 4,
        "test": few | {"subgroups": {"clinic": one}},
    }
    pooled = DecisionFacts(**asdict(FACTS) | {"pooled_classes": ("df", "mel")})
    never = DecisionFacts(**asdict(FACTS) | {"low_risk_threshold": None})
    return [
        app_with(),
        made_app(folder, {}),
        made_app(folder, other, pooled, LIKE, OWN, PROVEN),
        made_app(folder, known | {"other_clinics": {"clinics": clinics}}, never, OWN),
    ]


def occlusions():
    """Yield maps endlessly: empty, with one noticeable patch, with several, with faint ones."""
    rng = np.random.default_rng(5)
    one = np.zeros((7, 7), np.float32)
    one[6, 2] = 0.02
    noise = (rng.normal(0, 0.2, (7, 7)).astype(np.float32) for _ in itertools.count())
    return itertools.cycle(
        [np.zeros((7, 7), np.float32), one, 0.999 * one, *itertools.islice(noise, 9)]
    )


def made_cases(apps):
    """Make half of all combinations, so that all pairs of values still occur."""
    names, maps = itertools.cycle(NAMES), occlusions()
    for combination in itertools.product(*map(enumerate, (apps, SHARES, KINDS, CROPS))):
        (model, *places), (app, shares, kind, crop) = zip(*combination, strict=True)
        if (model + sum(places)) % 2:
            continue
        with app.test_request_context():
            classifier = get_classifier()
            familiarity, proven, reason = kind
            probabilities = np.array(shares)
            answer = Answer(
                probabilities,
                decide(probabilities, classifier.decision_facts, familiarity, proven, crop),
                familiarity,
                reason,
                lacks_rules=classifier.picture_rules.lack_one,
                occlusion=next(maps),
                crop=crop,
            )
            context = context_of(name := next(names), IMAGE, answer)
            context |= {"on_device": True, "was_sent": proven is True}
            shown = render_template("result.html", **context)
            yield Case(model, answer, name, context["was_sent"], shown)


@pytest.fixture(scope="module")
def apps(tmp_path_factory):
    return made_apps(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def cases(apps):
    return list(made_cases(apps))


@pytest.fixture(scope="module")
def filled(page, apps, cases):
    """The browser's pages for all cases, and the branches that it never took."""
    pages = []
    for app in apps:
        with app.app_context():
            pages.append(page_of(get_classifier()))
    image = {
        "preview": data_address(IMAGE.preview, "image/jpeg"),
        "preview_size": IMAGE.size,
        "png": data_address(as_png(IMAGE.pixels), "image/png"),
    }
    trees = json.dumps(pages[0]["trees"])
    assert all(json.dumps(one.pop("trees")) == trees for one in pages)
    given = {"pages": pages, "trees": trees, "image": image, "today": str(context_day(cases))}
    return page.evaluate(FILL, given | {"cases": [case.to_dict() for case in cases]})


# Each branch is a property that records when it is read.
FILL = """async ({ pages, trees, image, today, cases }) => {
    const { pageOf } = await import("/static/device_page.js");
    const untaken = new Set();
    const words = (test) => JSON.stringify(test)
        .match(/"(name|attr|value|op)":("[^"]*"|[\\d.]+)/g)
        .map((found) => found.split(":")[1].replaceAll('"', "")).join(" ");
    const watch = (node, key, label) => {
        const place = { label };
        untaken.add(place);
        const value = node[key];
        Object.defineProperty(node, key, { get: () => { untaken.delete(place); return value; } });
    };
    const parsed = JSON.parse(trees, (_, node) => {
        if (node?.kind === "If" || node?.kind === "CondExpr") {
            const [yes, no] = node.kind === "If" ? ["body", "else_"] : ["expr1", "expr2"];
            watch(node, yes, `${words(node.test)}: yes`);
            watch(node, no, `${words(node.test)}: no`);
        }
        return node;
    });
    for (const page of pages) page.trees = parsed;
    const html = cases.map(({ model, answer, name, wasSent }) =>
        pageOf(answer, image, name, { page: pages[model] }, { today, wasSent }));
    return { html, untaken: [...untaken].map(({ label }) => label) };
}"""


def context_day(cases):
    """Return the day on the pages, even if midnight has passed since."""
    return date.fromisoformat(cases[0].shown.split('<time datetime="')[1][:10])


def between(html, start, end):
    return html[html.index(start) + len(start) : html.index(end)]


def test_every_page_is_that_of_the_server(cases, filled):
    for case, html in zip(cases, filled["html"], strict=True):
        theirs = between(case.shown, '<main id="main">', "</main>").strip()
        assert between(html, '<main id="main">', "</main>").strip() == theirs


def test_title_and_language_are_those_of_the_server(cases, filled):
    for tag in ("<title>", '<html lang="en" dir="ltr">'):
        assert all(tag in html for html in filled["html"])
    titles = {between(html, "<title>", "</title>") for html in filled["html"]}
    assert titles == {between(case.shown, "<title>", "</title>") for case in cases}


def test_the_cases_reach_every_branch_of_the_template_that_a_device_can(filled):
    assert set(filled["untaken"]) == ON_THE_SERVER


def test_the_cases_are_of_every_level_and_familiarity(cases):
    found = {(case.answer.risk_level, case.answer.familiarity) for case in cases}
    familiar = {(level, "familiar") for level in ("high", "raised", "low")}
    assert found >= familiar | {("high", "unfamiliar"), ("raised", "unfamiliar"), ("high", None)}
    assert ("unknown", "not dermatoscopic") in found


def test_it_says_whether_it_was_sent(cases, filled):
    for case, html in zip(cases, filled["html"], strict=True):
        assert ("It was not sent." in html) is not case.was_sent
        assert ("The server may have received it, too." in html) is case.was_sent


def test_the_server_s_pages_do_not_say_so(cases, apps):
    answer = cases[0].answer
    with apps[0].test_request_context():
        shown = render_template("result.html", **context_of("a.png", IMAGE, answer))
    assert "It was not stored." in shown
    assert "this device" not in shown


def test_addresses_are_those_of_an_app_under_a_path(page, cases):
    """The modules are loaded from below that path too."""
    page.route(
        "**/lens/**", lambda route: route.fulfill(response=route.fetch(url=unprefixed(route)))
    )
    with app_with().app_context():
        facts = {"page": page_of(get_classifier())}
    html = page.evaluate(
        """async ([facts, { answer, name }, image]) => {
            const { pageOf } = await import("/lens/static/device_page.js");
            return pageOf(answer, image, name, facts, { today: "2026-03-07" });
        }""",
        [facts, cases[0].to_dict(), {"preview": "", "preview_size": [4, 3], "png": ""}],
    )
    assert 'href="/lens/model"' in html
    assert 'href="/lens/" data-home' in html


def unprefixed(route):
    return route.request.url.replace("/lens/", "/")


# --- The trees -------------------------------------------------------------------------------


def walk(tree):
    """Yield all nodes of a tree."""
    if isinstance(tree, list):
        for one in tree:
            yield from walk(one)
    elif isinstance(tree, dict):
        yield tree
        for one in tree.values():
            yield from walk(one)


@pytest.fixture(scope="module")
def found():
    """All nodes of the result page's trees."""
    with app_with().app_context():
        trees = trees_of("result.html", ("title", "main"))
    return [node for tree in trees.values() for node in walk(tree) if "kind" in node]


@pytest.mark.parametrize(
    ("table", "kinds"), [("statements", (nodes.Stmt,)), ("expressions", (nodes.Expr,))]
)
def test_a_browser_knows_every_node(page, found, table, kinds):
    known = page.evaluate(
        "async (table) => Object.keys((await import('/static/templates.js'))[table])", table
    )
    used = {node["kind"] for node in found if issubclass(getattr(nodes, node["kind"]), kinds)}
    assert used - {"Slice"} <= set(known)  # a part of another node


def test_the_template_reads_all_that_it_is_given(found):
    with app_with().app_context():
        context = page_of(get_classifier())["context"]
    read = {node.get("name") or node.get("attr") for node in found}
    assert {*context, *context["facts"], *context["class_of"]["mel"]} <= read


@pytest.mark.parametrize(("kind", "table"), [("Filter", "ownFilters"), ("Test", "tests")])
def test_a_browser_knows_every_filter_and_test(page, found, kind, table):
    known = page.evaluate(
        """async ([table, wording]) => {
            const { filtersOf } = await import("/static/wording.js");
            const own = (await import("/static/templates.js"))[table];
            return [...Object.keys(own), ...Object.keys(filtersOf(wording))];
        }""",
        [table, wording()],
    )
    assert {node["name"] for node in found if node["kind"] == kind} <= set(known)


def test_what_a_browser_does_not_know_is_named(page):
    trees = [
        [{"kind": "Extends"}],
        [{"kind": "Output", "nodes": [{"kind": "Pow"}]}],
        [
            {
                "kind": "Output",
                "nodes": [{"kind": "Filter", "name": "upper", "node": {"kind": "Const"}}],
            }
        ],
    ]
    said = filled_or_said(page, trees, {})
    assert [words.split()[-1] for words in said] == ["Extends", "Pow", "upper"]


def filled_or_said(page, trees, context):
    """Return what a browser makes of each tree, or its error."""
    return page.evaluate(
        """async ([trees, context]) => {
            const { render } = await import("/static/templates.js");
            return trees.map((tree) => {
                try { return render(tree, context); } catch (error) { return error.message; }
            });
        }""",
        [trees, context],
    )


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("{% for one in all if one %}{% endfor %}", "for … if"),
        ("{% for one in all %}{% else %}none{% endfor %}", "for … else"),
        ("{% for one in all recursive %}{% endfor %}", "recursive loops"),
        ("{{ name | indent(width=2) }}", "indent takes no named"),
        ("{{ name is divisibleby(num=2) }}", "divisibleby takes no named"),
    ],
)
def test_what_a_browser_cannot_fill_becomes_no_tree(source, words):
    with pytest.raises(TypeError, match=words):
        tree_of(source)


def tree_of(source):
    """Return the tree of a template with this source."""
    app = app_with()
    app.jinja_env.loader = DictLoader({"a.html": "{% block main %}" + source + "{% endblock %}"})
    with app.app_context():
        return trees_of("a.html", ["main"])["main"]


def test_a_browser_joins_no_markup(page):
    """Jinja keeps the markup as it is and escapes the text that it is joined with."""
    (node,) = tree_of("{{ head ~ name }}")
    data = {"kind": "TemplateData", "data": "<b>"}
    trees = [[node], [{**node, "nodes": [{"kind": "Concat", "nodes": [data, data]}]}]]
    assert filled_or_said(page, trees, {"head": "<", "name": "&"}) == [
        "&lt;&amp;",
        "templates cannot join the output of a macro",
    ]


# --- Numbers ---------------------------------------------------------------------------------


def wording():
    with app_with().app_context():
        return page_of(get_classifier())["wording"]


def made_shares():
    """Make 2,000 shares, including those halfway between two rounded values."""
    rng = np.random.default_rng(7)
    halves = [i / 2**k for k in range(1, 9) for i in range(2**k + 1)]
    thousandths = [i / 1000 for i in range(1001)]
    small = (10 ** rng.uniform(-8, -2, 200)).tolist()
    return [*halves, *thousandths, *small, *rng.random(300).tolist()]


def test_a_browser_writes_numbers_as_python_does(page):
    shares = made_shares()
    assert len(shares) > 2000
    written = page.evaluate(
        """async ([wording, shares]) => {
            const { filtersOf, fixed, rounded } = await import("/static/wording.js");
            const { percent, of_100, about_in_100 } = filtersOf(wording);
            return shares.map((share) => [
                percent(share), percent(share, 1), of_100(share), about_in_100(share),
                fixed(share, 6), fixed(share, 2), fixed(100 * share, 2), fixed(100 * share, 0),
                fixed(1000 * share, 1), rounded(share, 6),
            ]);
        }""",
        [wording(), shares],
    )
    for share, row in zip(shares, written, strict=True):
        assert row == [
            percent(share),
            percent(share, 1),
            of_100(share),
            about_in_100(share),
            f"{share:.6f}",
            f"{share:.2f}",
            f"{100 * share:.2f}",
            f"{100 * share:.0f}",
            f"{1000 * share:.1f}",
            str(round(float(share), 6)),
        ]


def test_a_browser_writes_counts_days_and_names_as_python_does(page):
    counts = [0, 7, 999, 1000, 2345, 99_999, 1_000_000, 1_234_567_890]
    days = [date(2026, month, month + 1) for month in range(1, 13)]
    names = [
        *NAMES,
        *("x" * i + f"{space}🩺" * 12 for i in range(20) for space in " \u2003\ufeff\x1f"),
    ]
    written = page.evaluate(
        """async ([wording, counts, days, names]) => {
            const { filtersOf } = await import("/static/wording.js");
            const { thousands, in_words, shorten } = filtersOf(wording);
            return [counts.map(thousands), days.map(in_words), names.map(shorten)];
        }""",
        [wording(), counts, [str(day) for day in days], names],
    )
    assert written == [[*map(count, counts)], [*map(in_words, days)], [*map(shorten, names)]]
