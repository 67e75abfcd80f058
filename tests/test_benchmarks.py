"""The benchmark's own parts; its figures are nobody's to test."""

import io
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
import requests
from conftest import ROOT, skip_or_fail
from PIL import Image

from benchmarks.floor import latencies
from benchmarks.pictures import SIZES, photograph
from benchmarks.servers import (
    BASELINE,
    LITERT_MODEL,
    CannotMeasure,
    Memory,
    baseline,
    family,
    litert_is_missing,
    memory_of,
    running,
    shipped,
)
from benchmarks.serving import load, memory_curve
from benchmarks.table import (
    FLOOR,
    MARKS,
    Load,
    Row,
    Start,
    document,
    load_table,
    start_table,
    write_between_marks,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the benchmark reads /proc")
SMALL = photograph(SIZES["600×450"])


@pytest.fixture(scope="module")
def server():
    with running(baseline(), SMALL) as server:
        yield server


@pytest.fixture
def wrk():
    if shutil.which("wrk") is None:
        skip_or_fail("needs wrk: apt-get install wrk")


@pytest.mark.parametrize(
    ("name", "least", "most"), [("600×450", 60_000, 75_000), ("4000×3000", 2e6, 5e6)]
)
def test_the_pictures_are_the_same_every_time_and_as_large_as_said(name, least, most):
    data = photograph(SIZES[name])
    assert data == photograph(SIZES[name])
    assert Image.open(io.BytesIO(data)).size == SIZES[name]
    assert least < len(data) < most


def test_the_baseline_answers_an_upload_with_a_page(server):
    address = f"http://127.0.0.1:{server.port}"
    files = {"pic": ("lesion.jpg", SMALL, "image/jpeg")}
    response = requests.post(f"{address}/showresult", files=files, timeout=60)
    assert response.status_code == 200
    assert response.text.count("<tr>") == 7
    assert 0 < server.first_page < server.first_answer


def test_a_load_is_answered_without_an_error(server, wrk):
    found = load(server, baseline().requests[0], SMALL, clients=2, seconds=1)
    assert found.rate > 0
    assert found.errors == 0
    assert 0 < found.p50 <= found.p99
    assert 0 <= found.wrk_share < 1


def test_answers_other_than_200_are_errors_and_not_answers(server, wrk):
    found = load(server, replace(baseline().requests[0], field="no"), SMALL, clients=1, seconds=1)
    assert found.rate == 0
    assert found.errors > 0


def test_the_memory_is_that_of_all_processes(server):
    worker = list(family(server.pid))[1].name
    memory = memory_of(server.pid)
    assert memory.resident > memory.anonymous > memory_of(worker).anonymous > 100
    assert memory_of(worker).anonymous > 5 * (memory.anonymous - memory_of(worker).anonymous)


def test_the_memory_is_read_until_all_requests_are_answered(wrk):
    if why := litert_is_missing():
        skip_or_fail(why)
    with running(shipped("app on LiteRT", LITERT_MODEL), SMALL) as server:
        curve = memory_curve(server, SMALL, requests=1)
    assert len(curve) == 1
    answered, megabytes, errors = curve[0]
    assert answered >= 1
    assert 10 < megabytes < 500
    assert errors == 0


@pytest.mark.parametrize("views", [1, 8])
def test_the_floor_is_of_all_its_processes(views):
    if why := litert_is_missing():
        skip_or_fail(why)
    taken = latencies(SMALL, views, LITERT_MODEL, processes=2, seconds=0.2)
    assert 0.4 <= sum(taken) < 1.2  # two loops of 0.2, each of which ends its last image
    assert min(taken) > 0


def test_a_server_that_cannot_start_is_named():
    broken = replace(baseline(), command=("gunicorn", "no_such_module:app"))
    sentence = r"The baseline ended .* `gunicorn no_such_module:app`"
    with pytest.raises(CannotMeasure, match=sentence), running(broken, SMALL):
        pass


def test_without_wrk_one_sentence_says_how_to_get_it(tmp_path):
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "serving.py"],
        env=os.environ | {"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.strip().splitlines() == [
        "wrk, which sends the load, is missing: run `apt-get install wrk`."
    ]


# --- The table -------------------------------------------------------------------------------

ROWS = [
    Row("600×450", 1, BASELINE, "page", 1, Load(10, 100, 150, 0, 0.01)),
    Row("600×450", 1, "app", "API", 8, Load(80, 12.5, 25, 3, 0.02)),
    Row("600×450", 1, FLOOR, "1 view", 1, Load(200, 5, 6)),
    Row("600×450", 1, FLOOR, "8 views", 8, Load(160, 6.25, 10)),
]


def test_the_table_has_the_ratios_to_the_baseline_and_to_the_floor_with_as_many_views():
    lines = load_table(ROWS, decode=2.5).splitlines()
    assert lines[0] == "A JPEG of 600×450, whose full decode takes 2.5 ms:"
    assert lines[4:6] == [
        "| 1 | baseline, page | 10.0 (1.00×, 0.05×) | 100 (1.00×, 20.00×) | 150 (1.00×, 25.00×) "
        "| 40.00 | 1.50 | 0 | 1 % |",
        "| 1 | app, API | 80.0 (8.00×, 0.50×) | 12.5 (0.12×, 2.00×) | 25.0 (0.17×, 2.50×) "
        "| 5.00 | 2.00 | 3 | 2 % |",
    ]
    assert lines[7].endswith("| 2.50 | 1.60 | 0 | – |")


def test_what_was_not_measured_is_a_dash():
    line = load_table(ROWS[:1], decode=2.5).splitlines()[-1]
    assert line.startswith("| 1 | baseline, page | 10.0 (1.00×, –) |")


def test_a_load_that_was_not_answered_has_a_line_too():
    nothing = Row("600×450", 1, BASELINE, "page", 1, Load(0, 0, 0, 1, 0.01))
    line = load_table([nothing], decode=2.5).splitlines()[-1]
    assert (
        line == "| 1 | baseline, page | 0.0 (–, –) | 0.0 (–, –) | 0.0 (–, –) | 0.00 | – | 1 | 1 % |"
    )


STARTS = [
    Start(BASELINE, 6, 8, {"600×450": Memory(600, 300)}, []),
    Start("app", 3, 4, {"600×450": Memory(450, 200)}, [(1000, 150, 0), (2000, 151, 0)]),
]


def test_the_starts_have_their_ratios_to_the_baseline():
    assert start_table(STARTS).splitlines()[-1] == (
        "| app | 3.0 (0.50×) | 4.0 (0.50×) | 450 (0.75×) | 200 (0.67×) |"
    )


def test_the_document_says_on_what_it_was_measured_and_what_is_missing():
    text = document(ROWS, STARTS, {"600×450": 2.5}, "LiteRT was left out.")
    assert text.startswith(f"Measured on {len(os.sched_getaffinity(0))} cores, Python 3.")
    assert "150 MB after 1,000, 151 MB after 2,000, 151 MB at most; 0 errors" in text
    assert text.endswith("\nLiteRT was left out.\n")


def test_only_what_stands_between_the_marks_is_replaced(tmp_path):
    page = tmp_path / "README.md"
    page.write_text(f"before\n\n{MARKS[0]}\nold\n{MARKS[1]}\n\nafter\n", encoding="utf-8")
    for text in ("| \\1 |\n", "| new |\n"):
        assert write_between_marks(page, text)
    assert page.read_text(encoding="utf-8") == (
        f"before\n\n{MARKS[0]}\n\n| new |\n\n{MARKS[1]}\n\nafter\n"
    )


def test_a_page_without_the_marks_stays_as_it_is(tmp_path):
    page = tmp_path / "README.md"
    page.write_text(f"{MARKS[1]} {MARKS[0]}", encoding="utf-8")
    assert not write_between_marks(page, "new")
    assert page.read_text(encoding="utf-8") == f"{MARKS[1]} {MARKS[0]}"
