"""The command line for folders, with the committed model and drawn images."""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import skin_cancer_detection as scd
from app import create_app
from lesion_lens import ROOT
from lesion_lens.model.decisions import HEADLINES, LEVELS
from lesion_lens.model.decoding import decode
from lesion_lens.model.errors import Busy
from lesion_lens.model.image_files import MAX_BYTES, UnreadableFile, read
from lesion_lens.model.limits import MAX_DECODES
from lesion_lens.web import bulk
from lesion_lens.web.about import describe_classes
from lesion_lens.web.bulk import AHEAD, Task, results
from lesion_lens.web.current import get_classifier
from lesion_lens.web.folders import files_in, images_in
from lesion_lens.web.outputs import whole_file
from tests.support.drawings import draw_for, draw_grainy_lesion, draw_lesion, encode
from tests.support.models import KERAS, MODEL, QUICK, change_layer
from tests.support.skipping import require
from tests.support.tables import csv_rows


def test_a_folder_is_read_with_its_folders_and_spoiled_files_come_last(run, folder):
    result = run(folder)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    names = {line.split(": ")[0] for line in lines}
    assert names == {str(folder / "b.PNG"), str(folder / "inner" / "c.jpg")}
    assert all("Most likely class: " in line for line in lines)
    assert "2 of 3 images classified." in result.stderr
    assert "Skipped other files: 1." in result.stderr
    assert result.stderr.index("Images that could not be used (1):") < result.stderr.index(
        "a.png: The file is"
    )


def test_both_files_say_the_same_as_the_model(run, folder, tmp_path):
    table, document = tmp_path / "out.csv", tmp_path / "out.json"
    result = run(folder, "--csv", table, "--json", document)
    assert (result.exit_code, result.stdout) == (0, "")
    rows, said = csv_rows(table), json.loads(document.read_text(encoding="utf-8"))
    assert [row["file"] for row in rows] == [entry["file"] for entry in said["results"]]
    assert rows[-1]["error"] == said["results"][-1]["error"] != ""
    assert said["classes"] == describe_classes()
    assert said["model"]["sha256"] == rows[1]["model_sha256"]
    probabilities = said["results"][1]["prediction"]["probabilities"]
    assert {code: float(rows[1][code]) for code in scd.CODES} == probabilities


def test_a_file_that_is_named_itself_needs_no_suffix(run, folder):
    (folder / "b.PNG").rename(folder / "scan")
    assert "0 of 1" not in run(folder / "scan").stderr
    assert run(folder / "scan").exit_code == 0


def test_without_any_usable_image_the_code_is_1(run, folder):
    result = run(folder / "a.png")
    assert result.exit_code == 1
    assert "0 of 1 images classified." in result.stderr


def test_a_folder_without_images_is_said_and_replaces_no_table(run, tmp_path):
    (tmp_path / "old.csv").write_text("old")
    result = run(tmp_path, "--csv", tmp_path / "old.csv")
    assert result.exit_code == 1
    assert "No image was found. Name a folder with images" in result.stderr
    assert (tmp_path / "old.csv").read_text() == "old"


def test_a_path_that_is_missing_stops_before_the_work(run, folder, tmp_path):
    result = run(folder, tmp_path / "none", "--csv", tmp_path / "out.csv")
    assert result.exit_code == 2
    assert "does not exist" in result.stderr
    assert not (tmp_path / "out.csv").exists()


def test_a_place_that_cannot_be_written_stops_before_the_work(run, folder, tmp_path):
    result = run(folder, "--csv", tmp_path / "none" / "out.csv")
    assert result.exit_code == 2
    assert "out.csv cannot be written (No such file or directory)." in result.stderr
    assert "classified" not in result.stderr


def test_two_documents_in_one_file_are_refused(run, folder, tmp_path):
    (tmp_path / "link").symlink_to("out")
    result = run(folder, "--csv", tmp_path / "out", "--json", tmp_path / "link")
    assert result.exit_code == 2
    assert "--csv and --json name the same file." in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_dash_is_the_standard_output(run, folder):
    result = run(folder, "--json", "-")
    assert len(json.loads(result.stdout)["results"]) == 3


def test_a_link_goes_on_leading_to_the_table(run, folder, tmp_path):
    (tmp_path / "link.csv").symlink_to("out.csv")
    run(folder, "--csv", tmp_path / "link.csv")
    assert (tmp_path / "link.csv").is_symlink()
    assert len(csv_rows(tmp_path / "out.csv")) == 3


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such pipes")
def test_a_pipe_or_device_is_not_replaced_by_a_file(run, folder, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    assert run(folder, "--csv", tmp_path / "pipe").exit_code == 0
    assert os.read(reader, 10_000).startswith(b"file,risk_level,")
    os.close(reader)
    assert (tmp_path / "pipe").is_fifo()


def test_a_file_without_end_is_not_read(run, folder):
    (folder / "slide.tif").touch()
    os.truncate(folder / "slide.tif", MAX_BYTES + 1)  # takes no room on the disk
    result = run(folder)
    assert result.exit_code == 0
    assert "slide.tif: The file has more than 200 MB." in result.stderr


def test_a_folder_that_may_not_be_looked_into_is_named(run, folder, monkeypatch):
    def scandir(path, real=os.scandir):
        if Path(path).name == "inner":  # the user who runs the tests may have all permissions
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr("os.scandir", scandir)
    result = run(folder)
    assert "1 of 3 images classified." in result.stderr
    assert f"{folder / 'inner'}: The file cannot be read" in result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")
def test_a_name_gives_a_terminal_no_orders(run, folder):
    (folder / "a.png").rename(folder / "\x1b[2Ja\n.png")
    (folder / "b.PNG").rename(folder / "\x1b[2Jb\n.png")
    result = run(folder)
    assert "\x1b" not in result.output
    assert f"{folder}/\ufffd[2Ja\ufffd.png: The file is not" in result.stderr
    assert f"{folder}/\ufffd[2Jb\ufffd.png: " in result.stdout


def test_a_file_that_vanished_stops_nothing(run, folder):
    (folder / "c.png").symlink_to("nowhere.png")
    result = run(folder)
    assert result.exit_code == 0
    assert "c.png: The file cannot be read (No such file or directory)." in result.stderr


def test_a_decoder_without_time_stops_nothing(run, folder, monkeypatch):
    def decode(data, with_preview):
        raise Busy

    monkeypatch.setattr(bulk, "decode", decode)
    done = run(folder)
    assert done.exit_code == 1
    assert "No time was left for this image." in done.output


def test_a_loop_of_links_ends(folder):
    (folder / "inner" / "loop").symlink_to(folder)
    assert len(list(files_in([folder]))) == 4


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has such names")
def test_a_name_that_is_no_text_is_written(run, folder, tmp_path):
    os.rename(folder / "b.PNG", os.fsencode(folder) + b"/\xff.png")
    assert run(folder, "--json", tmp_path / "out.json").exit_code == 0
    names = [r["file"] for r in json.loads((tmp_path / "out.json").read_text("utf-8"))["results"]]
    assert str(folder / "�.png") in names


def test_an_older_file_is_replaced_and_nothing_else_is_left(run, folder, tmp_path):
    (tmp_path / "out.csv").write_text("old")
    run(folder, "--csv", tmp_path / "out.csv")
    assert len(csv_rows(tmp_path / "out.csv")) == 3
    assert {path.name for path in tmp_path.iterdir()} == {"images", "out.csv"}


def test_a_model_that_cannot_be_loaded_gives_its_sentence(folder, tmp_path):
    path = shutil.copy(KERAS, tmp_path / "m.h5")
    change_layer(path, -1, activation="linear")
    runner = create_app({"MODEL_PATH": path}).test_cli_runner()
    result = runner.invoke(args=["classify", str(folder), "--csv", str(tmp_path / "out.csv")])
    assert result.exit_code == 3
    assert "has a different activation in layer" in result.stderr
    assert not (tmp_path / "out.csv").exists()


def coloured_images(folder, count):
    for i in range(count):
        colour = tuple(np.random.default_rng(i).integers(0, 256, 3).tolist())
        Image.new("RGB", (30, 30), colour).save(folder / f"{i:03}.png")


def tasks_in(folder):
    return (Task(number, path, "") for number, path in enumerate(images_in([folder])))


def test_images_are_decoded_side_by_side_and_come_in_the_order_of_the_files(
    app, tmp_path, monkeypatch
):
    coloured_images(tmp_path, 3 * AHEAD)
    together = threading.Barrier(MAX_DECODES)

    def decoded_together(data, with_preview):
        together.wait(20)
        return decode(data, with_preview)

    monkeypatch.setattr(bulk, "decode", decoded_together)
    given = results(tasks_in(tmp_path), get_classifier(app))
    assert [task.number for task, _ in given] == list(range(3 * AHEAD))


@pytest.mark.parametrize("option", [(), ("--csv", "-"), ("--json", "-")])
def test_the_most_urgent_come_first_and_spoiled_files_last(run, folder, option):
    for level in LEVELS:
        (folder / f"{level}.png").write_bytes(encode(draw_for(level)))
    said = run(folder, *option).stdout
    ranks = [
        LEVELS.index(level)
        for line in said.splitlines()
        for level, headline in HEADLINES.items()
        if headline in line or f",{level}," in line
    ]
    assert set(ranks) == set(range(len(LEVELS)))
    assert ranks == sorted(ranks)
    if option:
        assert max(said.find("b.PNG"), said.find("c.jpg")) < said.find("a.png")


def test_within_a_level_the_larger_probability_comes_first(run, folder, tmp_path):
    for seed in range(6):
        (folder / f"{seed}.png").write_bytes(encode(draw_grainy_lesion(seed)))
    run(folder, "--csv", tmp_path / "out.csv")
    rows = [row for row in csv_rows(tmp_path / "out.csv") if row["risk_level"] == "raised"]
    risks = [float(row["malignant_probability"]) for row in rows]
    assert len(risks) > 2
    assert risks == sorted(risks, reverse=True)


def test_images_wait_for_the_answers_before_them_to_be_written(app, tmp_path):
    coloured_images(tmp_path, 2 * AHEAD)
    taken = []
    tasks = (taken.append(task) or task for task in tasks_in(tmp_path))
    given = results(tasks, get_classifier(app))
    next(given)
    assert len(taken) == AHEAD
    next(given)
    assert len(taken) == AHEAD + 1
    given.close()


def test_after_an_interruption_only_what_is_begun_is_waited_for(app, tmp_path, monkeypatch):
    coloured_images(tmp_path, AHEAD)
    begun, interrupted = [], threading.Event()

    def held(path):
        begun.append(path)
        assert len(begun) == 1 or interrupted.wait(20)
        return read(path)

    class Pool(ThreadPoolExecutor):
        def shutdown(self, wait=True, **options):
            super().shutdown(wait=False, **options)
            interrupted.set()
            super().shutdown(wait=wait)

    monkeypatch.setattr(bulk, "read", held)
    monkeypatch.setattr(bulk, "ThreadPoolExecutor", Pool)
    given = results(tasks_in(tmp_path), get_classifier(app))
    next(given)
    given.close()
    assert len(begun) <= 1 + MAX_DECODES


def test_the_memory_does_not_grow_with_the_folder(run, tmp_path, monkeypatch):
    coloured_images(tmp_path, 300)
    sizes = []

    def measured(data, with_preview):
        sizes.append(resident_megabytes())
        return decode(data, with_preview)

    monkeypatch.setattr(bulk, "decode", measured)
    assert run(tmp_path, "--csv", tmp_path / "out.csv").exit_code == 0
    assert len(sizes) == 300
    assert sizes[-1] < sizes[50] + 20


def test_no_name_of_a_file_is_kept(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"picture")
    for number in range(10_000):
        os.link(tmp_path / "a.jpg", f"{tmp_path}/{number:06}.jpg")
    tracemalloc.start()
    for number in range(10_000):
        assert read(f"{tmp_path}/{number:06}.jpg") == b"picture"
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 200_000  # bytes; pathlib would keep 600,000


def resident_megabytes():
    if sys.platform != "linux":
        pytest.skip("reads /proc")
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def test_an_interruption_while_the_files_are_counted_says_so(run, folder, monkeypatch):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("lesion_lens.web.folders.files_in", interrupted)
    result = run(folder, "--csv", folder / "out.csv")
    assert result.exit_code == 130
    assert result.stderr == "Interrupted before the first image; nothing was written.\n"
    assert not (folder / "out.csv").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal")
def test_an_interruption_keeps_what_is_done(tmp_path):
    data = encode(draw_lesion((30, 30)))
    for i in range(2000):
        (tmp_path / f"{i}.png").write_bytes(data)
    command = [sys.executable, "-m", "flask", "--app", "app", "classify", str(tmp_path)]
    termios = pytest.importorskip("termios")
    screen, end = os.openpty()  # progress is shown only on a terminal
    termios.tcsetwinsize(end, (24, 80))
    command += ["--csv", str(tmp_path / "out.csv")]
    environment = os.environ | {"MODEL_PATH": str(QUICK)}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=end)
    os.close(end)
    said, is_told = "", False
    with contextlib.suppress(OSError):  # the terminal raises it after the process has ended
        while text := os.read(screen, 10_000).decode(errors="replace"):
            said += text
            if not is_told and re.search(r"[1-9]\d+/2000", said):
                process.send_signal(signal.SIGINT)
                is_told = True
    os.close(screen)
    assert process.wait(60) == 130
    assert "Interrupted; the images done so far are kept." in said
    assert "Traceback" not in said
    assert 10 <= len(csv_rows(tmp_path / "out.csv")) < 2000


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")
def test_a_pipe_in_a_folder_stops_nothing(run, folder):
    os.mkfifo(folder / "z.png")
    result = run(folder)
    assert result.exit_code == 0
    assert "z.png: This is not an image file." in result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")
@pytest.mark.parametrize("target", ["/dev/zero", "/dev/tty", "/proc/self/mem", "x.jpg"])
def test_a_link_to_what_is_no_file_is_named_and_stops_nothing(run, folder, target):
    (folder / "x.jpg").symlink_to(target)
    result = run(folder)
    assert result.exit_code == 0
    assert "2 of 4 images classified." in result.stderr
    assert re.search(r"x\.jpg: (This is not an image|The) file", result.stderr)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")
def test_a_socket_is_named_and_stops_nothing(run, folder, monkeypatch):
    monkeypatch.chdir(folder)  # the name of a socket must be short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("x.jpg")
        assert "x.jpg: This is not an image file." in run(folder).stderr


def test_a_file_that_grows_while_it_is_read_is_read_to_the_limit(tmp_path, monkeypatch):
    (tmp_path / "a.jpg").write_bytes(b"x" * 100)
    monkeypatch.setattr("lesion_lens.model.image_files.MAX_BYTES", 99)
    monkeypatch.setattr("lesion_lens.model.image_files._check", lambda _: None)  # told 0 bytes
    with pytest.raises(UnreadableFile, match="more than"):
        read(str(tmp_path / "a.jpg"))


@pytest.mark.parametrize("option", ["--csv", "--json"])
def test_no_image_is_overwritten(run, folder, option):
    before = (folder / "b.PNG").read_bytes()
    (folder / "link.csv").symlink_to("b.PNG")
    for path in (folder / "b.PNG", folder / "link.csv", folder / "new.jpg"):
        result = run(folder, option, path)
        assert result.exit_code == 2
        assert f"{option} names " in result.stderr
    (folder / "b.PNG").rename(folder / "scan")
    assert "which is one of the images" in run(folder / "scan", option, folder / "scan").stderr
    assert (folder / "scan").read_bytes() == before


def test_the_model_is_not_overwritten(run, folder):
    assert "--csv names the model file" in run(folder, "--csv", MODEL).stderr


def shell(command, folder):
    """Run a shell line with the command in it and return its messages."""
    classify = [sys.executable, "-m", "flask", "--app", "app", "classify", str(folder)]
    line = command.format(shlex.join(classify))
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=ROOT,
        env=os.environ | {"MODEL_PATH": str(QUICK)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.returncode, done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is full")
@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("{} --csv - > /dev/full", "The output cannot be written (No space left on device)."),
        ("{} > /dev/full", "The output cannot be written (No space left on device)."),
        ("{} --csv /dev/full", "/dev/full cannot be written (No space left on device)."),
        ("set -o pipefail; {} --csv - | true", "The output was closed before everything"),
        ("set -o pipefail; {} | true", "The output was closed before everything"),
        ("{} --json - >&-", "The output is closed."),
    ],
)
def test_an_output_that_takes_no_more_is_said(folder, command, sentence):
    code, said = shell(command, folder)
    assert code == 2
    assert sentence in said
    assert "Traceback" not in said
    assert "Exception ignored" not in said


def test_the_output_at_fault_is_named(run, folder, tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("needs a disk that is full")
    result = run(folder, "--csv", "/dev/full", "--json", tmp_path / "out.json")
    assert "/dev/full cannot be written" in result.stderr
    assert "out.json" not in result.stderr


def test_folders_come_in_the_order_of_the_alphabet(tmp_path):
    for name in ("c", "a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.png").touch()
    assert [Path(path).parent.name for path, _ in files_in([tmp_path])] == ["a", "b", "c"]


def test_a_table_takes_the_place_of_the_older_one_when_it_is_finished(tmp_path):
    (tmp_path / "out.csv").write_text("old")
    with whole_file(tmp_path / "out.csv") as file:
        file.write("half")
        file.flush()
        assert (tmp_path / "out.csv").read_text() == "old"
    assert (tmp_path / "out.csv").read_text() == "half"


def test_the_documents_show_what_is_printed(run, tmp_path, monkeypatch):
    require("playwright.sync_api")
    from scripts.take_screenshots import LESIONS

    cli, api = ((ROOT / "docs" / page).read_text("utf-8") for page in ("cli.md", "api.md"))
    monkeypatch.chdir(tmp_path)
    Path("photographs").mkdir()
    for name, data in LESIONS.items():
        Path("photographs", name).write_bytes(data)
    for line in run("photographs").stdout.splitlines():
        assert f"    {line}\n" in cli
    assert f"    {run('photographs', '--csv', '-').stdout.splitlines()[0]}\n" in cli
    said = json.loads(run("photographs", "--json", "-").stdout)["results"][-1]["prediction"]
    shown = json.loads(api.split("```json\n")[1].split("```")[0])
    assert list(shown) == list(said)
    assert shown["probabilities"] == pytest.approx(said["probabilities"], abs=1e-5)
    rest = set(said) - {"probabilities", "malignant_probability"}
    assert {name: shown[name] for name in rest} == {name: said[name] for name in rest}
    assert shown["malignant_probability"] == pytest.approx(said["malignant_probability"], abs=1e-5)
