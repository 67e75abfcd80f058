"""Start the app as a user does, ask it for two pages and stop it.

    python -m scripts.check_start

Asks for /healthz, and for /sample, which decodes and classifies an image. Uses nothing that only
Linux has.
"""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

from lesion_lens import ROOT

PATIENCE = 180  # seconds for the first start, which compiles every package
ANSWER = 60  # seconds for an answer
PATIENCE_AT_THE_END = 10  # seconds for the app to end by itself
CLASS = b'<strong id="likely">'  # in the sentence that names the most likely class
# Without proxies: urllib would ask the one that HTTP_PROXY names for 127.0.0.1.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def main() -> int:
    """Run the command; returns its exit code."""
    port = free_port()
    command = [sys.executable, "app.py"]
    with subprocess.Popen(command, cwd=ROOT, env=os.environ | {"PORT": str(port)}) as server:
        try:
            wait_until_healthy(server, f"http://127.0.0.1:{port}/healthz")
            page = ask(f"http://127.0.0.1:{port}/sample")
        finally:
            server.terminate()
            try:
                server.wait(PATIENCE_AT_THE_END)
            except subprocess.TimeoutExpired:
                server.kill()
    if CLASS not in page:
        print("/sample does not name the most likely class.", file=sys.stderr)
        return 1
    print("The app started and classified its sample.")
    return 0


def free_port() -> int:
    """A port that nobody uses at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def wait_until_healthy(server: "subprocess.Popen[bytes]", address: str) -> None:
    """Ask again until the app answers; ends this program if it exits or takes too long."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if server.poll() is not None:
            sys.exit(f"The app ended with exit code {server.returncode}.")
        with contextlib.suppress(OSError):  # it does not listen yet
            if ask(address) == b"ok\n":
                return
        time.sleep(0.5)
    sys.exit(f"The app did not answer within {PATIENCE} seconds.")


def ask(address: str) -> bytes:
    """Fetch a page of the app; ends this program if the app answers with an error."""
    try:
        with OPENER.open(address, timeout=ANSWER) as answer:
            body: bytes = answer.read()
            return body
    except urllib.error.HTTPError as error:
        sys.exit(f"The app answered {address} with the status {error.code}.")


if __name__ == "__main__":
    sys.exit(main())
