"""`classify --dask` with a scheduler and workers on this machine."""

import contextlib
import csv
import io
import os
import shutil
import subprocess
import sys
import time

import pytest

from benchmarks.servers import free_port
from lesion_lens import ROOT
from lesion_lens.web import dask_cluster
from lesion_lens.web.dask_cluster import BATCH, KILLER, ClusterError
from tests.support.drawings import draw_grainy_lesion, encode
from tests.support.models import KERAS, LITERT
from tests.support.skipping import require, skip_or_fail

distributed = require("distributed")
DEADLY = "deadly.png"  # kills every worker that reads it
# Dask runs this more than once, so it must be repeatable.
PRELOAD = f"""
import os
from lesion_lens.web import bulk

def read(path):
    if path.endswith("{DEADLY}"):
        os._exit(1)
    with open(path, "rb") as file:
        return file.read()

bulk.read = read
"""


@contextlib.contextmanager
def processes(*commands, **environment):
    """Run Dask's programs while the context lasts."""
    started = [
        subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.dask_{program}", "--no-dashboard", *arguments],
            cwd=ROOT,
            env=os.environ | environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for program, *arguments in commands
    ]
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.wait()


@pytest.fixture
def scheduler():
    """A function that runs a scheduler, which gives an image up after one lost worker."""

    def start(*workers, scheme="tcp", **environment):
        address = f"{scheme}://127.0.0.1:{free_port()}"
        environment |= {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"}
        commands = [("scheduler", "--host", address), *(("worker", address, *x) for x in workers)]
        running = stack.enter_context(processes(*commands, **environment))
        return address, running

    with contextlib.ExitStack() as stack:
        yield start


@pytest.fixture
def images(tmp_path):
    """A folder with files for a dozen batches; one is deadly and one is not an image."""
    (tmp_path / "images").mkdir()
    drawn = [encode(draw_grainy_lesion(seed, (60, 45))) for seed in range(4)]
    for number in range(12 * BATCH - 2):
        (tmp_path / "images" / f"{number:03}.png").write_bytes(drawn[number % 4])
    (tmp_path / "images" / "010b.png").write_bytes(b"hello")
    (tmp_path / "images" / DEADLY).write_bytes(drawn[0])
    return tmp_path / "images"


def table_of(images, table, *options):
    command = [sys.executable, "-m", "flask", "--app", "app", "classify", images, "--csv", table]
    environment = os.environ | {"MODEL_PATH": str(LITERT)}
    done = subprocess.run(
        [*command, *options],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return list(csv.reader(io.StringIO(table.read_text("utf-8")))), done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_lost_workers_cost_no_image_but_the_one_that_ends_them(images, tmp_path, scheduler):
    require("ai_edge_litert")
    (tmp_path / "preload.py").write_text(PRELOAD)
    worker = ("--no-nanny", "--nthreads", "1", "--preload", str(tmp_path / "preload.py"))
    address, _ = scheduler(*[worker] * 3, MODEL_PATH=str(LITERT))
    found, said = table_of(images, tmp_path / "dask.csv", "--dask", address)
    assert f"{12 * BATCH - 2} of {12 * BATCH} images classified." in said
    assert f"{DEADLY}: {KILLER}" in said
    (images / DEADLY).unlink()
    expected, _ = table_of(images, tmp_path / "plain.csv")
    assert [row for row in found if not row[0].endswith(DEADLY)] == expected


# --- What is wrong with a cluster ------------------------------------------------------------


def test_without_dask_its_package_is_named(run, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    done = run(folder, "--dask", "tcp://127.0.0.1:8786")
    assert (done.exit_code, done.stderr) == (
        2,
        '--dask needs Dask: pip install "dask[distributed]"\n',
    )


@pytest.mark.parametrize("address", ["", "nowhere", "http://127.0.0.1:1", "tcp://127.0.0.1:1"])
def test_an_address_without_a_scheduler_is_told(run, folder, monkeypatch, address):
    monkeypatch.setattr(dask_cluster, "CONNECT", 0.5)
    done = run(folder, "--dask", address)
    assert done.exit_code == 2
    assert done.stderr.startswith(f"No Dask scheduler answers at “{address}”. Check the address")
    assert len(done.stderr.splitlines()) == 1


def test_a_scheduler_takes_certificates_from_dasks_settings(
    run, folder, tmp_path, monkeypatch, scheduler
):
    if not shutil.which("openssl"):
        skip_or_fail("needs openssl")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=test"),
            *("-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    settings = {"distributed.comm.tls.ca-file": str(certificate)}
    for role in ("scheduler", "client"):
        settings |= {f"distributed.comm.tls.{role}.key": str(key)}
        settings |= {f"distributed.comm.tls.{role}.cert": str(certificate)}
    variables = {
        "DASK_" + name.upper().replace(".", "__").replace("-", "_"): value
        for name, value in settings.items()
    }
    address, _ = scheduler(scheme="tls", **variables)
    monkeypatch.setattr(dask_cluster, "PATIENCE", 0)  # there is no worker
    import dask

    with dask.config.set(settings):
        end = time.monotonic() + 20
        while "No Dask scheduler" in (done := run(folder, "--dask", address)).stderr:
            assert time.monotonic() < end
    assert "The cluster has had no worker for 0 seconds." in done.stderr
    refused = run(folder, "--dask", address)
    assert refused.stderr.startswith(f"No Dask scheduler answers at “{address}”.")


# --- What a worker refuses -------------------------------------------------------------------


@pytest.fixture
def worker(monkeypatch):
    """Make this process look like a worker."""
    monkeypatch.setenv("MODEL_PATH", str(KERAS))
    monkeypatch.setattr(
        distributed, "get_worker", lambda: type("Worker", (), {"address": "tcp://a:1"})
    )


@pytest.mark.parametrize(
    ("sha256", "version", "sentence"),
    [
        ("0123", dask_cluster.version(), "The worker tcp://a:1 has a different model file."),
        ("0123", "0.9", "The worker tcp://a:1 has version .* of Lesion Lens, not 0.9."),
    ],
)
def test_a_worker_with_another_model_or_version_is_refused(worker, sha256, version, sentence):
    with pytest.raises(ClusterError, match=sentence):
        dask_cluster.classify_batch([], sha256, version, False)


def test_a_worker_names_the_fault_of_its_model_file(worker, monkeypatch, tmp_path):
    monkeypatch.setenv("MODEL_PATH", str(tmp_path / "none.h5"))
    with pytest.raises(ClusterError, match=r"The worker tcp://a:1 cannot use its model file\. .*"):
        dask_cluster.classify_batch([], "0123", dask_cluster.version(), False)
