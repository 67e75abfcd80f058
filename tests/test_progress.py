"""An interrupted run can be resumed, with the same result as an uninterrupted one."""

import json
import os
import subprocess
import sys
import time

import pytest

from lesion_lens import ROOT
from lesion_lens.web import bulk
from lesion_lens.web.bulk import Result, Task
from lesion_lens.web.progress import ProgressError, key_of, progress_beside
from tests.support.drawings import draw_grainy_lesion, encode
from tests.support.models import QUICK
from tests.support.tables import csv_rows


@pytest.fixture
def images(tmp_path):
    """A folder of twelve images, one of them damaged."""
    (tmp_path / "images").mkdir()
    for number in range(11):
        data = encode(draw_grainy_lesion(number, (120, 90)))
        (tmp_path / "images" / f"{number:02}.png").write_bytes(data)
    (tmp_path / "images" / "05b.png").write_bytes(b"hello")
    return tmp_path / "images"


@pytest.fixture
def interrupted(run, images, tmp_path, monkeypatch):
    """The table of a run interrupted at the eighth image."""
    decode = bulk.decode
    begun = []

    def interrupting(data, with_preview):
        begun.append(data)
        if len(begun) > 7:
            raise KeyboardInterrupt
        return decode(data, with_preview)

    with monkeypatch.context() as patch:
        patch.setattr(bulk, "decode", interrupting)
        done = run(images, "--csv", tmp_path / "out.csv")
    assert done.exit_code == 130
    assert "To continue, run the same command with --resume." in done.stderr
    return tmp_path / "out.csv"


def progress_of(table):
    return table.with_name(f"{table.name}.progress")


def test_a_resumed_run_does_what_is_missing_and_writes_the_same(
    run, images, interrupted, tmp_path, monkeypatch
):
    done_before = len([row for row in csv_rows(interrupted) if not row["error"]])
    assert 0 < done_before < 8
    decode, again = bulk.decode, []
    monkeypatch.setattr(
        bulk, "decode", lambda data, with_preview: again.append(data) or decode(data, with_preview)
    )
    done = run(images, "--csv", interrupted, "--resume")
    assert done.exit_code == 0
    assert f"Classified in an earlier run: {done_before}." in done.stderr
    assert len(again) == 12 - done_before
    assert not progress_of(interrupted).exists()
    run(images, "--csv", tmp_path / "whole.csv")
    assert interrupted.read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_a_resumed_run_draws_the_maps_that_are_missing(run, images, interrupted, tmp_path):
    maps = tmp_path / "maps"
    assert run(images, "--csv", interrupted, "--heat-maps", maps, "--resume").exit_code == 0
    assert len(list(maps.iterdir())) == 11


def test_without_resume_nothing_of_it_is_lost(run, images, interrupted):
    before = interrupted.read_bytes(), progress_of(interrupted).read_bytes()
    done = run(images, "--csv", interrupted)
    assert done.exit_code == 2
    assert "Add --resume to continue it, or delete it to start again." in done.stderr
    assert (interrupted.read_bytes(), progress_of(interrupted).read_bytes()) == before


def test_resume_without_an_earlier_run_begins_with_the_first_image(run, images, tmp_path):
    done = run(images, "--csv", tmp_path / "out.csv", "--resume")
    assert done.exit_code == 0
    assert "out.csv.progress; starting with the first image." in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"images", "out.csv"}


@pytest.mark.parametrize("outputs", [(), ("--csv", "-")])
def test_resume_needs_a_file(run, images, outputs):
    done = run(images, *outputs, "--resume")
    assert done.exit_code == 2
    assert "--resume needs the same --csv or --json file" in done.stderr


def test_a_killed_run_goes_on(images, tmp_path):
    data = encode(draw_grainy_lesion(0, (120, 90)))
    for number in range(2000):
        (images / f"more {number:04}.png").write_bytes(data)
    table = tmp_path / "out.csv"
    command = [sys.executable, "-m", "flask", "--app", "app", "classify", images, "--csv", table]
    options = {"cwd": ROOT, "env": os.environ | {"MODEL_PATH": str(QUICK)}}
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, **options) as process:
        while process.poll() is None and not lines_of(progress_of(table)) > 20:
            time.sleep(0.01)
        process.kill()
    assert not table.exists()
    for path in images.glob("more*"):  # so that the test does not wait for them
        if not path.name.startswith("more 000"):
            path.unlink()
    done = subprocess.run(
        [*command, "--resume"], capture_output=True, text=True, check=True, **options
    )
    assert "Classified in an earlier run: " in done.stderr
    assert len(csv_rows(table)) == 22
    assert {path.name for path in tmp_path.iterdir()} == {"images", "out.csv"}


def lines_of(path):
    return path.read_bytes().count(b"\n") if path.exists() else 0


# --- The file --------------------------------------------------------------------------------


def task_of(path, number=0):
    return Task(number, str(path), key_of(str(path)))


@pytest.fixture
def left(tmp_path):
    """An output with a progress file that has one image."""
    (tmp_path / "a.png").write_bytes(b"picture")
    with progress_beside(tmp_path / "out.csv", "0123", resume=False) as progress:
        progress.add(task_of(tmp_path / "a.png"), Result({"x": 1}, None, 0.5))
    return tmp_path / "out.csv"


def recalls(output, path):
    with progress_beside(output, "0123", resume=True) as progress:
        return progress.recall(task_of(path))


def test_an_image_that_was_changed_is_done_again(left, tmp_path):
    assert recalls(left, tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes(b"another")
    os.utime(tmp_path / "a.png", ns=(1, 1))
    assert not recalls(left, tmp_path / "a.png")


@pytest.mark.parametrize("tail", [b'{"key": "01', b"\0\0\0\0", b'{"key": 7}\n', b"[]\n", b"\xff"])
def test_a_spoiled_last_line_spoils_no_other(left, tmp_path, tail):
    with progress_of(left).open("ab") as file:
        file.write(tail)
    (tmp_path / "b.png").write_bytes(b"picture")
    with progress_beside(left, "0123", resume=True) as progress:
        assert progress.recall(task_of(tmp_path / "a.png"))
        progress.add(task_of(tmp_path / "b.png", 1), Result({"x": 2}, None, 0.25))
        assert [entry.record["x"] for entry in progress.entries()] == [2, 1]
    assert recalls(left, tmp_path / "b.png")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"model_sha256": "4567"},
            "was started with a different model file. Set MODEL_PATH to that one",
        ),
        ({"version": "0.9"}, r"was started by version 0\.9 of Lesion Lens"),
        ({"kind": "recipe"}, "is not a progress file of this command. Move it"),
    ],
)
def test_the_progress_of_another_run_is_refused(left, change, sentence):
    head, rest = progress_of(left).read_text("utf-8").split("\n", 1)
    progress_of(left).write_text(json.dumps(json.loads(head) | change) + "\n" + rest, "utf-8")
    with (
        pytest.raises(ProgressError, match=sentence),
        progress_beside(left, "0123", resume=True),
    ):
        pass
    assert progress_of(left).exists()


def test_a_file_of_the_users_is_left_alone(tmp_path):
    (tmp_path / "out.csv.progress").write_text("my notes")
    with (
        pytest.raises(ProgressError, match="is not a progress file"),
        progress_beside(tmp_path / "out.csv", "0123", resume=False),
    ):
        pass
    assert (tmp_path / "out.csv.progress").read_text() == "my notes"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locks")
def test_two_runs_do_not_write_the_same_file(tmp_path):
    with (
        progress_beside(tmp_path / "out.csv", "0123", resume=False),
        pytest.raises(ProgressError, match=r"Another run is writing .*out\.csv"),
        progress_beside(tmp_path / "out.csv", "0123", resume=False),
    ):
        pass


def test_a_fault_is_tried_again_by_the_next_run(tmp_path):
    (tmp_path / "a.png").write_bytes(b"picture")
    with progress_beside(tmp_path / "out.csv", "0123", resume=False) as progress:
        progress.add(task_of(tmp_path / "a.png"), Result(fault="The image is damaged."))
        assert [entry.fault for entry in progress.faults()] == ["The image is damaged."]
    assert not recalls(tmp_path / "out.csv", tmp_path / "a.png")
