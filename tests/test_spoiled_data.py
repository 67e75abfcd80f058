"""Damaged tables: they are read exactly as written, or refused with a clear message."""

import csv
import io
import os
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lesion_lens.model.image_files import MAX_BYTES
from lesion_lens.training import csv_files
from lesion_lens.training.data import read_dataset, read_sources
from lesion_lens.training.errors import DataError
from lesion_lens.training.own_images import read_images
from lesion_lens.training.pixel_rows import read_pixels
from lesion_lens.training.tables import read_table
from skin_cancer_detection import CODES
from tests.support.data import made_images, write_csv
from tests.support.skipping import require

hypothesis = require("hypothesis")
st = require("hypothesis.strategies")

DATA = made_images(lesions_per_class=1, images_per_lesion=1)
LONGEST = 500  # letters of a message without the path


def fault_of(path, read):
    """Return the error for a file, a single message of limited length."""
    with pytest.raises(DataError) as caught:
        read()
    sentence = str(caught.value)
    assert str(path) in sentence
    assert len(sentence.replace(str(path), "")) < LONGEST
    assert "\n" not in sentence
    return sentence


# --- Whatever is done to a file --------------------------------------------------------------

TOKENS = [
    *(b"\0", b"\r", b"\n", b"\r\n", b"\n\n", b'"', b'""', b",", b";", b"\t", b" ", b"'"),
    *(b"-", b"+", b".", b"0", b"5", b"e1", b"_", b"1e400", b"12.5", b"-1", b"256", b"99" * 20),
    *(b"nan", b"True", b"0x1F", b"\xff", b"\xef\xbb\xbf", b"\xff\xfe", "٣ü\u00a0".encode(), b"NA"),
    *(b'"a\nb"', b"x" * 2000, b"mel", b"nv,", b"ISIC_0000001"),
]


@st.composite
def spoiled(draw, data):
    """Return the bytes of a table with one to three faults at random places."""
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        token = draw(st.sampled_from(TOKENS))
        fault = draw(st.sampled_from(["insert", "cell", "delete", "cut", "repeat", "swap"]))
        begin, end = data.rfind(b",", 0, at) + 1, data.find(b",", at)
        if fault == "insert":
            data = data[:at] + token + data[at:]
        elif fault == "cell":
            data = data[:begin] + token + data[end:]
        elif fault == "delete":
            data = data[:at] + data[at + draw(st.integers(1, 30)) :]
        elif fault == "cut":
            data = data[:at]
        else:
            lines = data.split(b"\n")
            one, other = (draw(st.integers(0, len(lines) - 1)) for _ in range(2))
            if fault == "repeat":
                lines.insert(one, lines[other])
            else:
                lines[one], lines[other] = lines[other], lines[one]
            data = b"\n".join(lines)
    return data


def every(data, count):
    """Run a test on `count` damaged copies, the same ones each time."""

    def decorate(test):
        given = hypothesis.given(content=spoiled(data))
        settings = hypothesis.settings(
            max_examples=count, deadline=None, derandomize=True, database=None
        )
        return settings(given(test))

    return decorate


def cells_of(content):
    """Read a table with Python's own reader: the header, and the rows that are not empty."""
    text = io.StringIO(content.decode("utf-8-sig"), newline="")
    header, *rows = filter(None, csv.reader(text))
    return header, rows


def read_or_refuse(folder, name, content, read):
    """Read a damaged file; return None if it is refused with a clear message."""
    path = folder / name
    path.write_bytes(content)
    try:
        return read(path)
    except DataError:
        fault_of(path, lambda: read(path))
        return None


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("spoiled")


@pytest.fixture(scope="module", autouse=True)
def files(folder):
    return write_csv(DATA, folder)


with tempfile.TemporaryDirectory() as place:
    PIXELS, METADATA = (path.read_bytes() for path in write_csv(DATA, Path(place)))


def test_spoiled_pixels_are_the_same_numbers_or_refused(folder):
    accepted = []

    @every(PIXELS, 250)
    def check(content):
        read = read_or_refuse(folder, "pixels.csv", content, read_pixels)
        if read is not None:
            _, rows = cells_of(content)
            numbers = np.column_stack([read[0].reshape(len(rows), -1), read[1]])
            assert np.array_equal(numbers, np.array(rows, float))
            accepted.append(content)

    check()
    assert 5 < len(accepted) < 200  # some are accepted and some refused


def test_spoiled_metadata_says_the_same_or_is_refused(folder, files):
    accepted = []

    @every(METADATA, 400)
    def check(content):
        data = read_or_refuse(folder, "m.csv", content, lambda path: read_dataset(files[0], path))
        if data is not None:
            header, rows = cells_of(content)
            said = {name: [row[place] for row in rows] for place, name in enumerate(header)}
            assert data.lesion_ids.tolist() == said["lesion_id"]
            assert [CODES[label] for label in data.labels] == said["dx"]
            if data.image_ids is not None:
                assert data.image_ids.tolist() == said["image_id"]
                assert len({name.casefold() for name in said["image_id"]}) == len(rows)
            accepted.append(content)

    check()
    assert 5 < len(accepted) < 300


def test_a_spoiled_table_says_the_same_or_is_refused(folder):
    sources = b"image_id,dataset,note\n" + b"".join(b'i%d,"a, b",\n' % row for row in range(9))

    @every(sources, 400)
    def check(content):
        read = read_or_refuse(folder, "t.csv", content, lambda path: read_table(path, ["image_id"]))
        if read is not None:
            header, rows = cells_of(content)
            assert read.columns.tolist() == header
            assert read.to_numpy().tolist() == rows

    check()


# --- Kaggle's CSV ----------------------------------------------------------------------------


def pixels_fault(tmp_path, content):
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    return fault_of(path, lambda: read_pixels(path))


def with_cell(value, column=100):
    """Return the CSV with a value in the second row."""
    lines = PIXELS.split(b"\n")
    cells = lines[2].split(b",")
    cells[column] = value
    return b"\n".join([*lines[:2], b",".join(cells), *lines[3:]])


@pytest.mark.parametrize(
    "value",
    [
        *(b"1e400", b"12.5", b"-1", b"256", b"1e1", b"True", b"0x1F", b"1_0", b"1\x002", b"\xff"),
        *(b'"12"', b"1 2", b"\xd9\xa3", b"9" * 200_000, b"x" * 3_000_000, b"1\r2", b"-0"),
    ],
    ids=lambda value: repr(value)[:12],
)
def test_what_is_no_whole_number_is_named_in_few_words(tmp_path, value):
    fault = pixels_fault(tmp_path, with_cell(value))
    assert "row 2, column pixel0100: found " in fault
    assert "instead of a whole number from 0 to 255" in fault


@pytest.mark.parametrize("value", [b"012", b"12.0", b"12.", b" 12\t", b"+12"])
def test_a_whole_number_may_be_written_as_other_programs_do(tmp_path, value):
    (tmp_path / "a.csv").write_bytes(with_cell(value))
    assert read_pixels(tmp_path / "a.csv")[0][1].ravel()[100] == 12


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (PIXELS.replace(b"\n", b"\r"), "lines end in CR alone, as on an old Mac"),
        (b"x" * 200_000, "cannot be read as CSV"),
        (PIXELS.replace(b",", b";"), "no column pixel0000"),
        (PIXELS.decode().encode("utf-16"), "is not a text file in UTF-8"),
        (b"\0" * 10_000, "is not a text file in UTF-8"),
        (b"\n" + PIXELS, "is empty"),
    ],
)
def test_an_invalid_header_is_refused(tmp_path, content, sentence):
    assert sentence in pixels_fault(tmp_path, content)


def test_an_endless_line_is_not_read_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr("lesion_lens.training.pixel_rows.MAX_LINE", 50_000)
    fault = pixels_fault(tmp_path, PIXELS + b"1," * 50_000)
    assert "row 8: the line has more than 50,000 bytes" in fault


def test_rows_that_end_in_cr_lf_after_a_byte_order_mark(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbf" + PIXELS.replace(b"\n", b"\r\n"))
    assert np.array_equal(read_pixels(tmp_path / "a.csv")[0], DATA.pixels)


def test_a_huge_file_is_not_read(tmp_path):
    path = tmp_path / "a.csv"
    path.touch()
    os.truncate(path, csv_files.MAX_BYTES + 1)  # takes no room on the disk
    assert "more than the 1000 MB allowed" in fault_of(path, lambda: read_pixels(path))
    fault = fault_of(path, lambda: read_table(path, ["dx"]))
    assert "more than the 50 MB allowed" in fault


def test_a_huge_member_of_a_zip_is_not_unpacked(tmp_path):
    path = tmp_path / "a.csv.zip"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a.csv", "w") as member,
    ):
        for _ in range(6):
            member.write(bytes(10_000_000))
    fault = fault_of(path, lambda: read_table(path, ["dx"]))
    assert "has 60 MB, more than the 50 MB" in fault


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA], ids=str
)
@pytest.mark.parametrize("spoiled", [slice(39, 40), slice(55, 65)], ids=str)
def test_a_zip_of_any_compression_whose_bytes_are_spoiled_is_named(tmp_path, method, spoiled):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("a.csv", b"pixel0000,label\n" + b"1,2\n" * 5000)
    content = bytearray(path.read_bytes())
    content[spoiled] = b"\xff" * len(content[spoiled])
    path.write_bytes(content)
    fault_of(path, lambda: read_pixels(path))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")
@pytest.mark.parametrize("name", ["/dev/zero", "pipe", "loop", "."])
def test_a_folder_device_or_pipe_is_not_read(tmp_path, name):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    path = tmp_path / name
    for read in (read_pixels, lambda path: read_table(path, ["dx"])):
        fault = fault_of(path, lambda read=read: read(path))
        assert ("is a folder, a device or a pipe" in fault) != (name == "loop")


# --- Tables ----------------------------------------------------------------------------------


def table_fault(tmp_path, content):
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    return fault_of(path, lambda: read_table(path, ["image_id", "dx"]))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"image_id|dx\na|mel", "seem to be separated by '|'; save it with commas"),
        (b"image_id;dx\na;mel;x", "put values that contain a semicolon in quotation marks"),
        (b"image_id,dx,dx\na,mel,nv", "has two columns 'dx': rename or remove one of them"),
        (b"image_id,dx\na,mel\nb", "row 2, column dx: found nothing"),
        (
            b"image_id,dx,n\na,mel,\nb,mel",
            "row 2, column n: found nothing, because the row has only 2 of 3 values",
        ),
        (b"image_id,dx\na,mel\nb,mel,c", "row 2: there are more values than columns"),
        (b'image_id,dx\na,mel\n"b,mel\n', "row 2: this is not CSV (unexpected end of data)"),
        (b'image_id,dx\n"a"b,mel\n', "row 1: this is not CSV ("),
        (b'image_id,dx,n\na,mel,"x\ny"', "row 1, column 'n': the cell contains a line break"),
        (b"image_id,dx\na,mel\n" + b"x" * 200_000 + b",nv", "row 2, column 'image_id': found 'xx"),
        (b"image_id,dx\na,mel\nb\0,nv", "row 2 is not a text file in UTF-8"),
        (b"image_id,dx\na,mel\nb\xff,nv", "row 2 is not a text file in UTF-8"),
        (b"image_id,dx\n  ,mel", "row 1, column image_id: found nothing"),
    ],
)
def test_an_invalid_table_is_refused(tmp_path, content, sentence):
    assert sentence in table_fault(tmp_path, content)


def test_a_table_that_ends_its_lines_in_cr_is_read(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"image_id,dx\ra,mel\rb,nv\r")
    assert read_table(tmp_path / "t.csv", ["dx"])["dx"].tolist() == ["mel", "nv"]


def test_reading_leaves_the_limit_of_others_as_it_was(tmp_path):
    before = csv.field_size_limit()
    table_fault(tmp_path, b'image_id,dx\n"a,mel')
    assert csv.field_size_limit() == before < csv_files.MAX_LINE


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("ISIC_0000001", "ISIC_0000000"), "column image_id: ISIC_0000000 appears twice"),
        (("ISIC_0000001", "isic_0000000"), "row 2, column image_id: found 'isic_0000000', but"),
        (("HAM_0000001", "ham_0000000"), "row 2, column lesion_id: found 'ham_0000000', but 'HAM"),
        (("HAM_0000001", "HAM_0000000 "), "row 2, column lesion_id: found 'HAM_0000000 ', but"),
        (("HAM_0000001", "HAM\x1b"), "which has a character that cannot be printed; remove it"),
        (("bcc", "x" * 900), "row 2, column dx: found 'xxx"),
    ],
)
def test_metadata_whose_names_are_doubtful(tmp_path, files, change, sentence):
    path = tmp_path / "m.csv"
    path.write_text(METADATA.decode().replace(*change, 1), encoding="utf-8")
    assert sentence in fault_of(path, lambda: read_dataset(files[0], path))


def metadata_with(tmp_path, column, values):
    path = tmp_path / "m.csv"
    lines = METADATA.decode().split()
    path.write_text("\n".join(f"{x},{y}" for x, y in zip(lines, [column, *values], strict=True)))
    return path


@pytest.mark.parametrize("age", ["1e400", "-1", "131", "8O", "nan1", "inf", "male", "1e1"])
def test_an_invalid_age_is_refused(tmp_path, files, age):
    path = metadata_with(tmp_path, "age", [50.0, age, *[""] * 5])
    fault = fault_of(path, lambda: read_dataset(files[0], path))
    assert f"row 2, column age: found {age!r} instead of an age in years from 0 to 130" in fault


def test_an_age_that_is_not_known(tmp_path, files):
    path = metadata_with(tmp_path, "age", ["50", "0.0", "130", "", "NA", "unknown", "nan"])
    groups = read_dataset(files[0], path).groups["age"].tolist()
    assert groups == ["45–59", "under 30", "75 and over", *["unknown"] * 4]


@pytest.mark.parametrize("column", ["sex", "localization", "dataset"])
def test_groups_that_differ_by_capitals_alone(tmp_path, files, column):
    path = metadata_with(tmp_path, column, ["aa", "AA", *["aa"] * 5])
    fault = fault_of(path, lambda: read_dataset(files[0], path))
    assert f"row 2, column {column}: found 'AA', but 'aa' in row 1; write both alike" in fault


def test_sources_that_differ_by_capitals_alone(tmp_path):
    path = tmp_path / "s.csv"
    path.write_text("image_id,dataset\na,Vienna\nb,vienna\n")
    fault = fault_of(path, lambda: read_sources(path, np.array(["a", "b"])))
    assert "row 2, column dataset: found 'vienna', but 'Vienna' in row 1" in fault


# --- Images ----------------------------------------------------------------------------------


@pytest.fixture
def pictures(tmp_path):
    """A function that reads labels for a folder of two pictures, `I0.jpg` and `b.png`."""
    for name in ("I0.jpg", "b.png"):
        Image.new("RGB", (30, 30), "pink").save(tmp_path / name)

    def read(rows):
        (tmp_path / "labels.csv").write_text("\n".join(["image_id,dx", *rows]))
        return read_images([tmp_path], tmp_path / "labels.csv")

    return read


def images_fault(pictures, rows):
    with pytest.raises(DataError) as caught:
        pictures(rows)
    return str(caught.value)


def test_several_names_of_one_image_are_refused(pictures, tmp_path):
    assert len(pictures(["I0,mel", "b,nv"]).labels) == 2
    assert "row 2, column image_id: found 'i0', but 'I0'" in images_fault(
        pictures, ["I0,mel", "i0,mel"]
    )
    (tmp_path / "link.jpg").symlink_to("I0.jpg")
    for other in ("I0.jpg", "link"):
        fault = images_fault(pictures, ["I0,mel", f"{other},mel"])
        assert f"row 2: {other!r} is the file" in fault
        assert "as is 'I0' in row 1; remove one of the two rows" in fault


def test_of_two_files_of_a_name_none_is_chosen(pictures, tmp_path):
    Image.new("RGB", (30, 30), "brown").save(tmp_path / "b.bmp")
    fault = images_fault(pictures, ["I0,mel", "b,nv"])
    assert "b: there are 'b.bmp' and 'b.png'; rename one" in fault
    assert len(pictures(["I0,mel", "b.bmp,nv"]).labels) == 2


def test_files_that_cannot_be_read_are_named(pictures, tmp_path):
    (tmp_path / "huge.jpg").touch()
    os.truncate(tmp_path / "huge.jpg", 3_000_000_000)  # takes no room on the disk
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    (tmp_path / "empty.jpg").touch()
    names = ["huge", "folder", "loop", "zero", "empty", "none", "../../x", "x" * 900]
    fault = images_fault(pictures, [f"{name},mel" for name in names])
    assert fault.startswith("8 of 8 images in ")
    for sentence in (
        f"huge: The file has more than {MAX_BYTES // 1_000_000} MB.",
        "folder: no such file",
        "loop: The file cannot be read (Too many levels of symbolic links).",
        "zero: This is not an image file.",
        "empty: The file is empty.",
        "none: no such file",
        "../../x: no such file",
    ):
        assert f"\n  {sentence}" in fault
    assert len(fault) < 2000
