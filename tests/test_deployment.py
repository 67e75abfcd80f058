"""What a push deploys: the Procfile's command in a new environment with 512 MB, and the guide.

The tests marked `deploy` take some minutes. `make test-deploy` runs them, `make test` does not.
"""

import contextlib
import hashlib
import importlib.metadata
import io
import itertools
import json
import re
import shutil
import subprocess
import sys
import tarfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
import requests

from attacks.servers import LIMIT, MemoryGroup
from benchmarks.pictures import photograph
from benchmarks.servers import family
from lesion_lens import ROOT
from lesion_lens.model.files import DEFAULT_MODEL_PATH
from lesion_lens.web.limits import MEGABYTE
from scripts.slug_size import packed_size
from tests.support.servers import BOOT, COMMAND, gunicorn
from train import parse_arguments

GUIDE = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
MANIFEST = json.loads((ROOT / "app.json").read_text(encoding="utf-8"))

CLIENTS, SECONDS = 8, 60
# Each engine's packages and model file.
ENGINES = {
    "Keras": ("requirements.txt", "best_model.h5"),
    "LiteRT": ("requirements-slim.txt", "best_model.tflite"),
}

deploy = pytest.mark.deploy


@dataclass
class Deployment:
    """Measurements of an engine that was installed, started, used and stopped.

    Attributes:
        packages: list of importlib.metadata.Distribution, the installed packages.
        start: seconds from the command to the first page.
        served: SHA-256 of the model file that answered.
        expected: SHA-256 of the model file that should answer.
        resident: bytes, the largest resident memory of one process while photographs of 600×450
            were sent.
        anonymous: bytes, the largest anonymous memory of all processes together at any time.
        answers: collections.Counter of the answers to the clients: statuses, or exceptions' names.
    """

    packages: list
    start: float
    served: str
    expected: str
    resident: int
    anonymous: int
    answers: Counter


def checkout(folder):
    """Write the files that a push deploys: the committed ones except those in .slugignore."""
    if shutil.which("git") and (ROOT / ".git").exists():
        archive = subprocess.run(
            ["git", "archive", "HEAD"], cwd=ROOT, stdout=subprocess.PIPE, check=True
        ).stdout
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            tar.extractall(folder, filter="data")
    else:
        shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(".venv", "data", "runs"))
    for pattern in (ROOT / ".slugignore").read_text(encoding="utf-8").split():
        for path in folder.glob(pattern.removeprefix("/")):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return folder


def install(requirements, folder):
    """Make an environment with only these packages; return its folder of programs."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    programs = folder / "bin"
    command = [programs / "python", "-m", "pip", "install", "--quiet", "--require-hashes"]
    subprocess.run([*command, "--requirement", requirements], check=True)
    return programs


class Memory:
    """The memory of a server: always sampled, and limited by a cgroup if one can be made.

    Attributes:
        group: MemoryGroup.
        anonymous: bytes, the largest anonymous memory of all processes together so far; a shared
            page counts once.
        resident: bytes, the largest resident memory of one process so far.
    """

    def __init__(self):
        self.group, self.anonymous, self.resident = MemoryGroup(), 0, 0
        self._ended = threading.Event()

    def sample(self, pid):
        """Sample a process and all its descendants every 0.1 s until `close`."""
        while not self._ended.wait(0.1):
            try:
                samples = [memory_of(member) for member in family(pid)]
                self.anonymous = max(self.anonymous, sum(one["Pss_Anon"] for one in samples))
                self.resident = max(self.resident, *(one["VmRSS"] for one in samples))
            except (OSError, KeyError):  # a process is ending
                continue

    def close(self):
        """Stop sampling and remove the group."""
        self._ended.set()
        self.group.close()


def memory_of(folder):
    """Read a process's memory figures from /proc, in bytes: `VmRSS`, `Pss_Anon` and so on."""
    status = (folder / "status").read_text() + (folder / "smaps_rollup").read_text()
    return {name: 1024 * int(value) for name, value in re.findall(r"(\w+):\s+(\d+) kB", status)}


def send(session, address, path, photo):
    """Send a photograph to the page or to the API and return the response."""
    field = "pic" if path == "/showresult" else "image"
    return session.post(f"{address}{path}", files={field: ("a.jpg", photo)}, timeout=30)  # H12


def use(address, photos, seconds):
    """Let clients send photographs, each client one after another, and count the answers."""
    mix = list(itertools.product(photos, ["/showresult", "/api/v1/predictions"]))
    ended = threading.Event()

    def client(number):
        answers = Counter()
        with requests.Session() as session:
            for photo, path in itertools.islice(itertools.cycle(mix), number, None):
                if ended.is_set():
                    return answers
                try:
                    answers[send(session, address, path, photo).status_code] += 1
                except requests.RequestException as error:
                    answers[type(error).__name__] += 1

    with ThreadPoolExecutor(CLIENTS) as pool:
        try:
            clients = pool.map(client, range(CLIENTS))
            ended.wait(seconds)
        finally:
            ended.set()
        return sum(clients, Counter())


@contextlib.contextmanager
def on_heroku(app, programs, settings):
    """Run the Procfile's command as Heroku does; yield address, memory and start time."""
    memory, begin = Memory(), time.monotonic()
    settings = {"HOME": str(app), **settings}
    try:
        with gunicorn(app.parent / "log", programs, app, memory.group.enter, **settings) as server:
            pid = server.process.pid
            threading.Thread(target=memory.sample, args=[pid], daemon=True).start()
            server.wait_until_ready()
            requests.get(server.address, timeout=30).raise_for_status()
            yield server.address, memory, time.monotonic() - begin
    finally:
        memory.close()


def deployed(engine, folder):
    """Install, start, use and stop an engine; print and return its `Deployment`."""
    requirements, model = ENGINES[engine]
    app = checkout(folder / "app")
    programs = install(app / requirements, folder / "venv")
    settings = {} if engine == "Keras" else {"MODEL_PATH": model}
    small, large = photograph((600, 450)), photograph((4000, 3000))
    with on_heroku(app, programs, settings) as (address, memory, start):
        served = send(requests, address, "/api/v1/predictions", small).json()["model"]["sha256"]
        use(address, [small], 5)
        resident = memory.resident
        answers = use(address, 9 * [small] + [large], SECONDS)
    site = next((folder / "venv").glob("lib/python*/site-packages"))
    packages = importlib.metadata.distributions(path=[str(site)])
    print(
        f"\n{engine}, of {requirements}, in {LIMIT / MEGABYTE:.0f} MB that "
        f"{'a cgroup holds' if memory.group.is_there else 'nothing holds but this test'}:\n"
        f"{start:9.1f} s  to the first page\n"
        f"{answers.total():9,}    answers to {CLIENTS} clients in {SECONDS} s, "
        f"{answers.total() / SECONDS:.1f} a second: {dict(answers)}\n"
        f"{memory.anonymous / MEGABYTE:9.0f} MB anonymous at most, all processes\n"
        f"{resident / MEGABYTE:9.0f} MB resident at most in one, photographs of 600×450 alone"
    )
    return Deployment(
        packages=[one for one in packages if one.name not in ("pip", "setuptools")],
        start=start,
        served=served,
        expected=hashlib.sha256((app / model).read_bytes()).hexdigest(),
        resident=resident,
        anonymous=memory.anonymous,
        answers=answers,
    )


@pytest.fixture(scope="module")
def keras(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keras")
    yield deployed("Keras", folder)
    shutil.rmtree(folder / "venv")  # pytest would keep its 2 GB


@pytest.fixture(scope="module")
def litert(tmp_path_factory):
    folder = tmp_path_factory.mktemp("litert")
    yield deployed("LiteRT", folder)
    shutil.rmtree(folder / "venv")


@pytest.fixture(params=["keras", "litert"])
def deployment(request):
    if sys.platform != "linux":
        pytest.skip("reads /proc")
    return request.getfixturevalue(request.param)


def test_heroku_takes_the_manifest():
    """It keeps the limits of Heroku's app.json schema."""
    assert 3 <= len(MANIFEST["name"]) <= 30
    assert len(MANIFEST["description"]) <= 140
    assert MANIFEST["buildpacks"] == [{"url": "heroku/python"}]  # reads requirements.txt


def test_the_manifest_serves_what_the_code_serves_without_it(client):
    assert (ROOT / MANIFEST["env"]["MODEL_PATH"]["value"]).samefile(DEFAULT_MODEL_PATH)
    assert client.get(MANIFEST["success_url"]).status_code == 200


def test_the_guide_names_files_and_pages_that_there_are(client):
    named = re.findall(r"`(Procfile|\.[a-z-]+|[\w.-]+\.(?:h5|json|py|tflite|txt))`", GUIDE)
    named += re.findall(r"_PATH=([\w.-]+)", GUIDE)
    assert {"requirements-slim.txt", ".python-version", "best_model.tflite"} <= set(named)
    made = (ROOT / "Makefile").read_text(encoding="utf-8")  # names what it makes
    for name in named:
        assert (ROOT / name).exists() or f"\n{name}: " in made, name
    for page in re.findall(r"(?:ADDRESS|page `)(/\w+)", GUIDE):
        assert client.get(page).status_code in (200, 503), page


def test_the_guide_starts_what_the_procfile_starts():
    given = re.search(r'--startup-file "(.*)"', GUIDE)[1]
    assert given.replace("--config gunicorn.conf.py ", "") == COMMAND


def test_the_guide_names_options_that_the_training_has(capsys):
    with pytest.raises(SystemExit):
        parse_arguments(["--help"])
    options = capsys.readouterr().out
    for option in re.findall(r"train\.py (--[a-z]+)", GUIDE):
        assert f"{option} " in options


def test_what_the_slug_leaves_out_is_there():
    for pattern in (ROOT / ".slugignore").read_text(encoding="utf-8").split():
        assert any(ROOT.glob(pattern.removeprefix("/"))), pattern


@deploy
def test_eight_clients_get_nothing_but_answers_for_a_minute(deployment):
    assert set(deployment.answers) == {200}


@deploy
def test_it_stays_within_the_memory_of_the_smallest_dyno(deployment):
    assert 0 < deployment.anonymous < LIMIT


@deploy
def test_the_first_page_comes_before_the_platform_gives_up(deployment):
    assert deployment.start < BOOT


@deploy
def test_the_model_that_answers_is_the_committed_one(deployment):
    assert deployment.served == deployment.expected


@deploy
def test_the_slim_process_takes_less_than_120_mb(litert):
    assert 0 < litert.resident < 120 * MEGABYTE


@deploy
def test_the_slim_install_packs_into_less_than_100_mb(litert):
    size = sum(map(packed_size, litert.packages))
    print(f"  {size / MEGABYTE:8.1f} MB of packages, gzipped")
    assert size < 100 * MEGABYTE


@deploy
def test_the_slim_install_has_no_training_framework(litert):
    names = {package.name for package in litert.packages}
    assert "ai-edge-litert" in names
    assert not names & {"tensorflow", "tensorflow-cpu", "keras", "h5py"}
