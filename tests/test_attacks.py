"""A quick part of `make attack`: small hostile files, some mutants, slow clients and faults."""

import contextlib
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from attacks import fuzzing, reading, serving, table
from attacks.clients import SLOW, SLOW_KINDS, SlowClients
from attacks.files import HOSTILE, title_of
from attacks.files.sizes import MOST_BYTES
from attacks.malformed import judge_exchange, malformed_requests
from attacks.servers import ANSWER, PHOTO, Reply, attacked, crowd, harmless, health, judge
from attacks.table import Case
from lesion_lens import ROOT
from lesion_lens.model.decoding import decode
from lesion_lens.model.errors import ImageError
from tests.support.skipping import require

SMALL = 0.005  # scale of the hostile files
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_answered_in_time_and_decoding_goes_on(name):
    begin = time.monotonic()
    with contextlib.suppress(ImageError):
        decode(HOSTILE[name](SMALL))
    assert time.monotonic() - begin < ANSWER
    assert decode(PHOTO, with_preview=True).size == (600, 450)


def test_many_hostile_files_at_once_end_no_decoding():
    def refused(data):
        with contextlib.suppress(ImageError):
            decode(data)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(refused, [make(SMALL) for make in HOSTILE.values()]))
    assert decode(PHOTO).pixels.shape == (28, 28, 3)


def test_hostile_files_can_be_uploaded_and_each_is_told_from_the_others():
    titles = [title_of(name) for name in HOSTILE]
    assert len(set(titles)) == len(titles) > 60
    assert len(HOSTILE["tiff_huge_tile"](1)) < 150
    for name in ("jpeg_comments", "png_unknown_chunks", "tiff_five_million_tiles"):
        assert MOST_BYTES / 2 < len(HOSTILE[name](1)) < MOST_BYTES


@linux
def test_mutants_are_read_without_a_fault():
    case = fuzzing.mutations(seconds=20, most=400, processes=1)
    assert not case.failures
    assert case.count == 400


@linux
def test_atheris_finds_no_fault():
    require("atheris")
    case = fuzzing.coverage_guided(1, processes=1)
    assert not case.failures
    assert case.count > 0


@linux
def test_an_error_other_than_an_image_error_is_a_fault(monkeypatch):
    def read_image(data, reserve):
        raise ValueError("not foreseen")

    monkeypatch.setattr("lesion_lens.model.images.read_image", read_image)
    assert reading.fault_of(PHOTO) == "ValueError: not foreseen"


@linux
def test_a_crash_of_the_reader_is_a_fault_and_reading_goes_on(monkeypatch):
    script = (
        "import os, signal, sys; first = int(sys.argv[2]); print(first, flush=True); "
        "first or os.kill(os.getpid(), signal.SIGSEGV); print('done')"
    )

    def start(*arguments, **options):
        return popen([sys.executable, "-c", script, *map(str, arguments)], stdout=-1)

    popen = fuzzing.subprocess.Popen
    monkeypatch.setattr(fuzzing, "_reading", start)
    case = fuzzing.mutations(seconds=10, most=9, processes=1)
    assert dict(case.failures) == {"ended by SIGSEGV (mutant 0)": 1}
    assert case.count == 2


@pytest.mark.parametrize(
    ("status", "seconds", "failure"),
    [(200, 1, None), (500, 1, "answered 500"), (200, 6, "later than 5 s")],
)
def test_an_answer_that_is_late_or_wrong_fails(status, seconds, failure):
    case = Case("")
    judge(case, Reply(status, seconds, f"answered {status}"), (200,))
    assert list(case.failures) == [failure] * bool(failure)


@pytest.mark.parametrize(("sound", "fails"), [(0, True), (1, False)])
def test_a_malformed_request_that_is_answered_fails(sound, fails):
    case = Case("malformed requests")
    judge_exchange(case, "two Hosts", b"HTTP/1.1 200 OK\r\n\r\nok\n", 0.1, sound)
    assert bool(case.failures) == fails


def test_the_table_tells_what_failed():
    case = Case("sent", count=1200, worst_time=1.234, worst_memory=9.6)
    case.fail("answered 500", 3)
    text = table.document([("On Keras", [case, Case("other")])], "A remark.", 300)
    assert "| sent | 1,200 | 1.23 | 10 | 3 |\n| other | 0 | – | – | 0 |" in text
    assert "- sent: 3 × answered 500" in text
    assert text.endswith("3 failures in total.")


def test_the_page_has_the_marks_for_the_table():
    page = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    assert "<!-- attacks -->" in page
    assert "<!-- end of attacks -->" in page


# --- A server --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    if sys.platform != "linux":
        pytest.skip("reads /proc")
    require("ai_edge_litert")
    with attacked("LiteRT", tmp_path_factory.mktemp("attacked")) as (target, _):
        yield target


def test_slow_clients_of_all_kinds_hold_up_nobody(target):
    case = Case("")
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(SlowClients(target.port, kind, 50)) for kind in SLOW_KINDS]
        time.sleep(0.5)
        assert sum(clients.open() for clients in slow) > 250
        with crowd(harmless(target, case, SLOW), health(target, case, SLOW)):
            time.sleep(2)
    assert not case.failures
    assert case.count > 3


def test_malformed_requests_are_refused(target):
    assert not malformed_requests(target).failures


@pytest.mark.parametrize("name", serving.FAULTS)
def test_a_fault_costs_no_request_but_those_in_flight(target, name):
    case = serving.fault(target, name, serving.FAULTS[name], seconds=1)
    assert not case.failures
    assert case.count > 3


def test_mixed_requests_get_what_they_should(target):
    files = {name: HOSTILE[name](SMALL) for name in ("gif_comments", "heic_many_turns")}
    assert not serving.soak(target, files, 60).failures
