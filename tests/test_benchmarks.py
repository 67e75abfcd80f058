"""The benchmarks measure what they claim; these tests do not check the figures."""

import os
import shutil
import signal
import subprocess
import sys
from itertools import cycle

import numpy as np
import pytest

from benchmarks import bulk, table, training
from benchmarks.floor import latencies
from benchmarks.pictures import photograph
from benchmarks.servers import LITERT_MODEL, PREDICTION, CannotMeasure, Running, memory_of
from benchmarks.serving import load
from benchmarks.table import Load, Row
from lesion_lens.training.data import read_dataset
from tests.support.servers import serving
from tests.support.skipping import require, skip_or_fail

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the benchmarks read /proc")
SMALL = photograph((60, 45))


def test_the_floor_counts_the_images_of_all_its_processes_until_the_time_is_up():
    require("ai_edge_litert")
    taken = latencies(SMALL, 8, LITERT_MODEL, processes=2, seconds=0.2)
    assert 0.4 <= sum(taken) < 0.4 + 2 * max(taken)  # each process finishes its current image


def test_an_answer_other_than_200_is_an_error_and_no_answer():
    if shutil.which("wrk") is None:
        skip_or_fail("needs wrk: apt-get install wrk")
    statuses = cycle(["200 OK", "503 Service Unavailable"])

    def application(environ, start_response):
        environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        start_response(next(statuses), [("Content-Length", "0")])
        return []

    with serving(application) as port:
        found = load(Running(os.getpid(), port, 0, 0), PREDICTION, SMALL, clients=1, seconds=1)
    assert found.errors > 10
    assert found.rate == pytest.approx(found.errors, rel=0.2)
    assert 0 < found.p50 <= found.p99


def test_the_memory_is_that_of_a_process_and_its_children():
    child = "held = bytearray(100_000_000); print('ready', flush=True); input()"
    command = ["sh", "-c", f'"{sys.executable}" -c "{child}"; exit']
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as shell:
        assert shell.stdout.readline() == b"ready\n"
        memory = memory_of(shell.pid)
        shell.communicate(b"\n")
    assert 100 < memory.anonymous < memory.resident < 130


def test_the_command_for_folders_is_timed_and_watched(tmp_path):
    require("ai_edge_litert")
    (tmp_path / "drawn.jpg").write_bytes(SMALL)
    bulk.make_folder(tmp_path / "images", 3, [tmp_path / "drawn.jpg"])
    found = bulk.classify(tmp_path / "images", 3, LITERT_MODEL)
    assert 0 < found.start < found.seconds
    assert found.rate > 2 / (found.seconds - found.start)
    assert 20 < found.anonymous < found.resident < 2000


def test_the_rows_for_training_are_kaggles_and_repeated(tmp_path):
    pixels, labels = training.random_rows(20)
    csv_path, _, metadata_path = training.write_files(tmp_path, (pixels, labels), 2)
    data = read_dataset(csv_path, metadata_path)
    assert np.array_equal(data.pixels, np.concatenate([pixels, pixels]))


def test_a_figure_stands_beside_its_ratios_to_the_baseline_and_to_the_floor_of_as_many_views():
    rows = [
        Row("600×450", 1, table.BASELINE, "page", 1, Load(10, 100, 150, 0, 0.01)),
        Row("600×450", 1, "app", "API", 8, Load(80, 12.5, 25, 3, 0.02)),
        Row("600×450", 1, table.FLOOR, "8 views", 8, Load(160, 6.25, 10)),
    ]
    baseline, app, _ = table.load_table(rows, decode=2.5).splitlines()[4:]
    # There is no floor for one view.
    assert baseline.startswith("| 1 | baseline, page | 10.0 (1.00×, –) |")
    assert app == (
        "| 1 | app, API | 80.0 (8.00×, 0.50×) | 12.5 (0.12×, 2.00×) | 25.0 (0.17×, 2.50×) "
        "| 5.00 | 2.00 | 3 | 2 % |"
    )


def test_an_error_ends_a_command_with_its_message_and_sigterm_ends_it_too():
    def run(message):
        raise CannotMeasure(message)

    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with pytest.raises(SystemExit, match=r"^wrk is missing$"):
            table.as_command(run, "wrk is missing")
        with pytest.raises(SystemExit) as ended:
            table.as_command(signal.raise_signal, signal.SIGTERM)
        assert ended.value.code == 143
    finally:
        signal.signal(signal.SIGTERM, before)
