"""The Dockerfile: what it says, and each of its steps executed (tests/support/containers.py).

buildah builds the image of each engine, on a Debian that debootstrap makes in place of Docker's
Python image. Its command then serves uploads from a read-only file system, in 512 MB where the
kernel holds that. `make test-deploy` runs this; `make test` runs what needs no build.
"""

import contextlib
import hashlib
import importlib.metadata
import itertools
import json
import re
import shlex
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from attacks.servers import LIMIT, MemoryGroup
from benchmarks.pictures import photograph
from benchmarks.servers import family, free_port
from lesion_lens import ROOT
from lesion_lens.web.limits import MEGABYTE
from tests.support.containers import Builder, Image, running
from tests.support.servers import COMMAND
from tests.test_deployment import memory_of, send

DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
IGNORED = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
GUIDE = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
SECTION = re.search(r"^## A container\n(.*?)^## ", GUIDE, re.M | re.S)[1]

UPLOADS = 100
# Each engine's model file and package, and those that must not be there.
ENGINES = {
    "slim": ("best_model.tflite", "ai-edge-litert", {"tensorflow", "tensorflow-cpu", "keras"}),
    "keras": ("best_model.h5", "keras", {"ai-edge-litert"}),
}

deploy = pytest.mark.deploy


@dataclass
class Served:
    """What was seen of an image that was built, run, used and stopped.

    Attributes:
        engine: the build argument.
        image: Image.
        packages: set of the names of what is installed.
        size: bytes of the files that the build added to the base.
        processes: list of dict, what the kernel says of each process of the container after the
            uploads, and its anonymous memory in bytes.
        answers: Counter of the statuses of the uploads.
        served: SHA-256 of the model file that answered.
        kills: how many processes the kernel ended for want of memory.
        healthy: exit code of the health check.
        unhealthy: that of the same check on a port on which nobody listens.
        stopped: exit code after SIGTERM.
        said: the log.
    """

    engine: str
    image: Image
    packages: set
    size: int
    processes: list
    answers: Counter
    served: str
    kills: int
    healthy: int
    unhealthy: int
    stopped: int
    said: str

    @property
    def anonymous(self):
        """Bytes of anonymous memory of all processes together."""
        return sum(process["anonymous"] for process in self.processes)


def files_in(folder):
    """The paths of all files in a folder, relative to it."""
    return {path.relative_to(folder) for path in folder.rglob("*") if not path.is_dir()}


def packages_in(image):
    site = next((image.files / "opt/venv/lib").glob("python*/site-packages"))
    return {package.name for package in importlib.metadata.distributions(path=[str(site)])}


def processes_of(pid):
    """What the kernel says of a process and its descendants, leaving out those that just ended."""
    found = []
    for folder in family(pid):
        with contextlib.suppress(OSError):
            lines = (folder / "status").read_text().splitlines()
            said = {name: value.strip() for name, value in (line.split(":", 1) for line in lines)}
            found.append({**said, "anonymous": memory_of(folder)["Pss_Anon"]})
    return found


def mounts_of(pid):
    """The options of what is mounted in the file system that a process sees, by folder."""
    lines = Path(f"/proc/{pid}/mounts").read_text().splitlines()
    return {folder: options.split(",") for _, folder, _, options, *_ in map(str.split, lines)}


def use(container):
    """Send the uploads, every eleventh of 12 megapixels; returns the responses."""
    small, large = photograph((600, 450)), photograph((4000, 3000))
    paths = itertools.cycle(["/showresult", "/api/v1/predictions"])
    photos = itertools.cycle([*10 * [small], large])
    with requests.Session() as session:
        return [
            send(session, container.address, path, photo)
            for path, photo, _ in zip(paths, photos, range(UPLOADS), strict=False)
        ]


@pytest.fixture(scope="module")
def builder(tmp_path_factory):
    with contextlib.closing(Builder(tmp_path_factory.mktemp("images"))) as builder:
        builder.make_base()
        yield builder


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A folder as after a checkout with umask 077, with files that do not belong into an image."""
    folder = tmp_path_factory.mktemp("checkout") / "here"
    ignore = shutil.ignore_patterns(".git", ".venv", ".*_cache", "data", "docs", "tests")
    shutil.copytree(ROOT, folder, ignore=ignore)
    for name in (".env", "static/.env", "static/key.pem", "lesion_lens/.env", "data.csv"):
        (folder / name).touch()
    for path in (folder, *folder.rglob("*")):
        path.chmod(path.stat().st_mode & 0o700)
    return folder


@pytest.fixture(scope="module", params=ENGINES)
def served(request, builder, checkout, tmp_path_factory):
    image = builder.build(request.param, checkout)
    log = tmp_path_factory.mktemp("container") / "log"
    # As in Docker, the limit holds for all processes of the container together.
    with (
        contextlib.closing(MemoryGroup()) as memory,
        running(image, log, memory.enter) as container,
    ):
        container.wait_until_ready()
        assert "ro" in mounts_of(container.first)["/"]  # `running` has mounted it so
        responses = use(container)
        seen = Served(
            engine=request.param,
            image=image,
            packages=packages_in(image),
            size=sum(
                (image.files / folder / path).lstat().st_size
                for folder in ("app", "opt/venv")
                for path in files_in(image.files / folder)
            ),
            processes=processes_of(container.first),
            answers=Counter(response.status_code for response in responses),
            served=responses[-1].json()["model"]["sha256"],
            healthy=container.healthcheck(),
            unhealthy=container.healthcheck(PORT=free_port()),
            stopped=container.stop(),
            kills=memory.kills(),
            said=container.said,
        )
    print(
        f"\n{request.param}, in {LIMIT / MEGABYTE:.0f} MB that "
        f"{'a cgroup holds' if memory.is_there else 'nothing holds'}:\n"
        f"{seen.size / MEGABYTE:9.0f} MB of files on top of the base image\n"
        f"{seen.anonymous / MEGABYTE:9.0f} MB anonymous after {UPLOADS} uploads, all processes"
    )
    return seen


def test_the_base_has_the_python_of_the_platforms():
    version = (ROOT / ".python-version").read_text(encoding="utf-8").strip()
    assert re.search(r"^ARG BASE=python:([\d.]+)-slim", DOCKERFILE, re.M)[1] == version


def test_the_container_starts_what_the_procfile_starts():
    assert json.loads(re.search(r"^CMD (.*)", DOCKERFILE, re.M)[1]) == shlex.split(COMMAND)


def test_the_build_gets_what_it_copies_and_nothing_else():
    """Only then does an upload to the build, and a forgotten `COPY . .`, leak nothing."""
    copies = [line.split()[1:-1] for line in re.findall(r"^COPY .*", DOCKERFILE, re.M)]
    copied = set(itertools.chain(*copies)) - {"${MODEL_PATH}"}
    copied |= set(re.findall(r"^ENV MODEL_PATH=(.*)", DOCKERFILE, re.M))
    assert IGNORED[1] == "*"
    assert {line.removeprefix("!/") for line in IGNORED if line.startswith("!")} == copied
    for name in copied:
        assert (ROOT / name).exists(), name


def test_the_guide_builds_with_arguments_that_the_dockerfile_has():
    given = re.findall(r"--build-arg (\w+)=", SECTION)
    assert "ENGINE" in given
    for name in given:
        assert f"ARG {name}=" in DOCKERFILE
    for engine in re.findall(r"--build-arg ENGINE=(\w+)", SECTION):
        assert f"AS {engine}\n" in DOCKERFILE


def test_the_guide_stops_the_container_later_than_gunicorn_stops_itself():
    settings = (ROOT / "gunicorn.conf.py").read_text(encoding="utf-8")
    graceful = int(re.search(r"^graceful_timeout = (\d+)", settings, re.M)[1])
    assert f"{graceful} seconds" in SECTION
    assert int(re.search(r"--stop-timeout (\d+)", SECTION)[1]) > graceful


@deploy
def test_the_container_answers_every_upload(served):
    """On a file system that is read-only except for /tmp."""
    assert served.answers == {200: UPLOADS}


@deploy
def test_the_container_stays_within_512_mb(served):
    assert served.kills == 0
    assert 0 < served.anonymous < LIMIT


@deploy
def test_the_container_has_the_engine_that_was_asked_for(served):
    model, package, others = ENGINES[served.engine]
    assert served.served == hashlib.sha256((ROOT / model).read_bytes()).hexdigest()
    assert package in served.packages
    assert not served.packages & others


@deploy
def test_no_process_of_the_container_is_root(served):
    assert len(served.processes) >= 3  # gunicorn, its worker, and one that decodes
    for process in served.processes:
        assert set(process["Uid"].split() + process["Gid"].split()) == {"10001"}
        assert int(process["CapEff"], 16) == 0


@deploy
def test_the_image_holds_only_what_serves(served):
    allowed = {line.removeprefix("!/") for line in IGNORED if line.startswith("!")}
    model, *_ = ENGINES[served.engine]
    allowed -= {other for other, *_ in ENGINES.values()} - {model}
    files = files_in(served.image.files / "app")
    assert {path.parts[0] for path in files} == allowed - {"requirements-slim.txt"}
    for path in files:
        assert (ROOT / path).is_file()
        assert path.parts[:2] != ("lesion_lens", "training")
        assert "__pycache__" not in path.parts


@deploy
def test_the_health_check_tells_a_living_server_from_none(served):
    assert served.healthy == 0
    assert served.unhealthy != 0


@deploy
def test_the_container_ends_in_peace(served):
    assert served.stopped == 0
    assert "Traceback" not in served.said
