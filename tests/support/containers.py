"""Images and containers without a registry and without Docker, on Debian and as root.

debootstrap makes the base image from Debian's packages, and buildah builds a Dockerfile on it with
chroot isolation: it reads the Dockerfile and the .dockerignore, and executes each step. util-linux
then runs the image's command as `docker run --read-only --tmpfs /tmp` does: as the image's user and
process 1, with no new privileges. Unlike in Docker, the network is that of this machine, and no
seccomp profile applies.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.servers import family, free_port
from tests.support.servers import Gunicorn
from tests.support.skipping import skip_or_fail

# Each program, and Debian's package that has it.
PROGRAMS = {
    "buildah": "buildah",
    "debootstrap": "debootstrap",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
}
BASE_PACKAGES = "python3,python3-pip,ca-certificates"
# Where this machine's pip finds packages. The other settings do not concern a build.
PIP_SETTINGS = ("cert", "index-url", "proxy", "timeout", "trusted-host")

# $1: the image's files. The rest: a command that leaves them for the container.
ENTER = """
set -e
image=$1; shift
mount --bind "$image" "$image"
mount -t proc proc "$image/proc"
mount -t tmpfs -o mode=1777 tmpfs "$image/tmp"
mount -t tmpfs -o mode=755 tmpfs "$image/dev"
for device in null zero random urandom; do
    touch "$image/dev/$device"
    mount --bind "/dev/$device" "$image/dev/$device"
done
mount -o remount,bind,ro "$image"
exec setpriv --no-new-privs "$@"
"""


def run(*command):
    """Run a command; returns what it prints, and fails with what it says."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command[0]}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


@dataclass(frozen=True)
class Image:
    """An image that was built.

    Attributes:
        files: the folder in which its file system is mounted.
        config: dict, what `docker inspect` calls Config.
    """

    files: Path
    config: dict

    def command(self, words, **settings):
        """Write a command as the image runs it: in its folder, with its environment and `settings`.

        Docker sets HOME to / for a user who is not in /etc/passwd.
        """
        environment = [
            *self.config["Env"],
            *(f"{name}={value}" for name, value in settings.items()),
        ]
        folder = f"--chdir={self.config['WorkingDir']}"
        return ["env", "--ignore-environment", folder, "HOME=/", *environment, *words]


@dataclass
class Container(Gunicorn):
    """A container that was started.

    Attributes:
        image: Image.
        process: subprocess.Popen, the parent of the container's process 1.
        port: as a Gunicorn has it.
        log: likewise.
    """

    image: Image

    @property
    def first(self):
        """The process id, on this machine, of the container's process 1."""
        return int(list(family(self.process.pid))[1].name)

    def healthcheck(self, **settings):
        """Run the image's health check in the container as its user; returns its exit code."""
        kind, *words = self.image.config["Healthcheck"]["Test"]
        assert kind == "CMD"
        user, group = self.image.config["User"].split(":")
        enter = ["nsenter", f"--target={self.first}", "--mount", "--pid", "--root"]
        enter += [f"--setuid={user}", f"--setgid={group}"]
        command = self.image.command(words, **{"PORT": self.port, **settings})
        return subprocess.run([*enter, *command], capture_output=True, check=False).returncode

    def stop(self):
        """Stop it as `docker stop` does; returns its exit code."""
        os.kill(self.first, signal.SIGTERM)
        return self.process.wait(timeout=60)


class Builder:
    """Builds images into a folder, which must be empty. Skips where it cannot; fails in CI."""

    def __init__(self, folder):
        missing = [program for program in PROGRAMS if not shutil.which(program)]
        if missing:
            packages = dict.fromkeys(map(PROGRAMS.get, missing))
            skip_or_fail(f"needs {' and '.join(missing)}: apt-get install {' '.join(packages)}")
        if os.geteuid() != 0:
            skip_or_fail("only root can build and run containers without Docker")
        self._folder = folder
        self._options = self._pip_options()

    def make_base(self):
        """Make the base of all images, of the Debian that runs here."""
        release = dict(re.findall(r'^(\w+)="?([^"\n]*)', Path("/etc/os-release").read_text(), re.M))
        if release["ID"] != "debian":
            skip_or_fail("makes the base image of this machine's Debian, and this is none")
        suite = release["VERSION_CODENAME"]
        targets = ["Created-By: Packages", f"Codename: {suite}"]
        mirror = run("apt-get", "indextargets", "--format", "$(REPO_URI)", *targets).split()[0]
        container = self._buildah("from", "scratch").strip()
        files = self._buildah("mount", container).strip()
        include = f"--include={BASE_PACKAGES}"
        run("debootstrap", "--variant=minbase", include, suite, files, mirror)
        self._buildah("umount", container)
        self._buildah("commit", "--rm", container, "base")

    def build(self, engine, folder):
        """Build the Dockerfile of a folder with an engine; returns its Image."""
        arguments = ["--build-arg", "BASE=localhost/base", "--build-arg", f"ENGINE={engine}"]
        build = ["bud", "--isolation", "chroot", "--format", "docker", *arguments, *self._options]
        self._buildah(*build, "--tag", engine, str(folder))
        said = self._buildah("inspect", "--type", "image", f"localhost/{engine}")
        container = self._buildah("from", f"localhost/{engine}").strip()
        files = Path(self._buildah("mount", container).strip())
        return Image(files, json.loads(said)["Docker"]["config"])

    def close(self):
        """Unmount and remove all images; pytest would keep some gigabytes."""
        self._buildah("rm", "--all")
        shutil.rmtree(self._folder)

    def _buildah(self, *words):
        store = [f"--root={self._folder / 'store'}", f"--runroot={self._folder / 'run'}"]
        return run("buildah", *store, *words)

    def _pip_options(self):
        """Have the build find packages where this machine does: pip's settings, mounted."""
        said = run(sys.executable, "-m", "pip", "config", "list")
        named = dict(re.findall(r"^(?:global|install|:env:)\.([\w-]+)='(.*)'$", said, re.M))
        found = {name: named[name] for name in PIP_SETTINGS if name in named}
        file = self._folder / "pip.conf"
        file.write_text("".join(["[global]\n", *(f"{k} = {v}\n" for k, v in found.items())]))
        options = [f"--volume={file}:/etc/pip.conf:ro"]
        if "cert" in found:
            options.append(f"--volume={found['cert']}:{found['cert']}:ro")
        return options


@contextlib.contextmanager
def running(image, log, enter="", **settings):
    """Run an image's command while the context lasts; gives its Container, which need not be ready.

    Args:
        image: Image.
        log: the file that it writes to.
        enter: what a shell does before, such as entering a cgroup.
        settings: added to the image's environment.
    """
    port = free_port()
    command = image.command(image.config["Cmd"], **settings, PORT=port)
    chroot = ["chroot", f"--userspec={image.config['User']}", "--groups=", image.files, *command]
    unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", ENTER, "sh"]
    with log.open("w") as output:
        process = subprocess.Popen(
            ["sh", "-c", f'{enter} exec "$@"', "sh", *unshare, image.files, *chroot],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Container(process, port, log, image)
    finally:
        process.kill()
        process.wait()
