"""Reading and splitting the data set, and the messages for faulty files."""

import hashlib
import zipfile

import numpy as np
import pytest
from PIL import Image

from lesion_lens.training.data import (
    SOURCES_NAME,
    Dataset,
    read_dataset,
)
from lesion_lens.training.download import add_clinics
from lesion_lens.training.errors import DataError
from lesion_lens.training.near_duplicates import NEAR_DUPLICATES, merge_near_duplicates
from lesion_lens.training.pixel_rows import read_pixels
from lesion_lens.training.split import PARTS, lesion_folds, read_split, split_by_lesion
from skin_cancer_detection import CODES
from tests.support.data import made_images, write_csv
from tests.support.drawings import encode

DATA = made_images()


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    csv_path, _ = write_csv(DATA, tmp_path_factory.mktemp("lines"))
    return csv_path.read_text(encoding="utf-8").splitlines()


@pytest.fixture
def files(tmp_path):
    return write_csv(DATA, tmp_path)


def set_value(lines, row, column, value):
    """Copy the CSV's lines and change one value; rows count from 1, without the header."""
    place = lines[0].split(",").index(column)
    values = lines[row].split(",")
    values[place] = value
    return [*lines[:row], ",".join(values), *lines[row + 1 :]]


def fault_of(path, content):
    path.write_text(content if isinstance(content, str) else "\n".join(content) + "\n")
    with pytest.raises(DataError) as caught:
        read_pixels(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def zipped(csv_path):
    """Write the CSV as the one member of a zip beside it."""
    zip_path = csv_path.with_name(csv_path.name + ".zip")
    with zipfile.ZipFile(zip_path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(csv_path, csv_path.name)
    return zip_path


# --- Reading ---------------------------------------------------------------------------------


def test_the_csv_comes_back_as_it_was_written(files):
    data = read_dataset(*files)
    assert data.pixels.dtype == np.uint8
    assert np.array_equal(data.pixels, DATA.pixels)
    assert np.array_equal(data.labels, DATA.labels)
    assert np.array_equal(data.lesion_ids, DATA.lesion_ids)


def test_zip_and_csv_are_the_same_data(files):
    csv_path, metadata_path = files
    plain = read_dataset(csv_path, metadata_path)
    same = read_dataset(zipped(csv_path), metadata_path)
    assert plain.sha256 == same.sha256 == DATA.sha256


def test_one_pixel_changes_the_checksum():
    pixels = DATA.pixels.copy()
    pixels[0, 0, 0, 0] ^= 1
    assert Dataset(pixels, DATA.labels, DATA.lesion_ids).sha256 != DATA.sha256


def test_rows_are_numbered_across_chunks(tmp_path, lines, monkeypatch):
    monkeypatch.setattr("lesion_lens.training.pixel_rows._BLOCK_ROWS", 10)
    fault = fault_of(tmp_path / "a.csv", set_value(lines, 47, "pixel0003", "256"))
    assert "row 47, column pixel0003: found 256 instead of a whole number from 0 to 255" in fault


@pytest.mark.parametrize(
    "value", ["-1", "256", "1.5", "abc", "", "1e9", "nan", "inf", "99999999999999999999"]
)
def test_a_bad_pixel_is_named(tmp_path, lines, value):
    fault = fault_of(tmp_path / "a.csv", set_value(lines, 3, "pixel0100", value))
    assert "row 3, column pixel0100: found" in fault


@pytest.mark.parametrize("value", ["7", "-1", "mel", ""])
def test_an_unknown_label_is_named(tmp_path, lines, value):
    fault = fault_of(tmp_path / "a.csv", set_value(lines, 5, "label", value))
    assert "row 5, column label: found" in fault
    assert "0 to 6" in fault


@pytest.mark.parametrize("row", [1, 4])
def test_a_row_too_long_is_named(tmp_path, lines, row):
    changed = [*lines[:row], lines[row] + ",9", *lines[row + 1 :]]
    fault = fault_of(tmp_path / "a.csv", changed)
    assert f"row {row}: there are more values than the 2353 columns" in fault


@pytest.mark.parametrize("row", [1, 4])
def test_a_row_much_too_long_is_named(tmp_path, lines, row):
    changed = [*lines[:row], lines[row] + ",9,9,9", *lines[row + 1 :]]
    fault = fault_of(tmp_path / "a.csv", changed)
    assert f"row {row}: there are more values than the 2353 columns" in fault


def test_a_row_too_short_is_named(tmp_path, lines):
    fault = fault_of(tmp_path / "a.csv", [*lines[:2], lines[2].rsplit(",", 5)[0], *lines[3:]])
    assert "row 2, column pixel2348: found nothing" in fault


def test_a_csv_cut_off_is_named(tmp_path, lines):
    content = "\n".join(lines)
    fault = fault_of(tmp_path / "a.csv", content[: len(content) // 2])
    assert "found nothing" in fault


def test_a_missing_column_is_named(tmp_path, lines):
    header = lines[0].replace("pixel0007,", "")
    assert "no column pixel0007" in fault_of(tmp_path / "a.csv", [header, *lines[1:]])


def test_an_extra_column_is_named(tmp_path, lines):
    fault = fault_of(tmp_path / "a.csv", [lines[0] + ",extra", *lines[1:]])
    assert "an extra column 'extra'" in fault


def test_a_wrong_header_is_named(tmp_path):
    assert "no column pixel0000" in fault_of(tmp_path / "a.csv", "a,b,c\n1,2,3\n")


def test_columns_in_another_order_are_refused(tmp_path, lines):
    header = lines[0].split(",")
    fault = fault_of(tmp_path / "a.csv", [",".join(header[1:] + header[:1]), *lines[1:]])
    assert "order" in fault


def test_an_empty_file_and_one_without_rows(tmp_path, lines):
    assert "is empty" in fault_of(tmp_path / "a.csv", "")
    assert "no rows" in fault_of(tmp_path / "b.csv", lines[:1])


def test_no_such_file(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_pixels(tmp_path / "none.csv")


def test_a_picture_is_no_csv(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(encode(Image.effect_noise((64, 64), 80)))
    with pytest.raises(DataError, match=r"a\.csv"):
        read_pixels(path)


def test_a_zip_made_by_macos_is_read(files):
    zip_path = zipped(files[0]).rename(files[0].with_suffix(".csv.ZIP"))
    with zipfile.ZipFile(zip_path, "a") as archive:
        archive.writestr(f"__MACOSX/._{files[0].name}", b"its own")
    assert np.array_equal(read_pixels(zip_path)[0], DATA.pixels)


def test_a_locked_zip_is_named(files):
    zip_path = zipped(files[0])
    content = bytearray(zip_path.read_bytes())
    content[6] |= 1  # the bit that says 'encrypted', in the file's header and in the directory
    content[content.rindex(b"PK\x01\x02") + 8] |= 1
    zip_path.write_bytes(content)
    with pytest.raises(DataError, match="cannot be unpacked"):
        read_pixels(zip_path)


@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_a_truncated_zip_is_named(files, share):
    zip_path = zipped(files[0])
    content = zip_path.read_bytes()
    zip_path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(DataError, match="truncated or not a zip"):
        read_pixels(zip_path)


def test_spoiled_bytes_inside_a_zip_are_named(files):
    zip_path = zipped(files[0])
    content = bytearray(zip_path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 100] = bytes(100)
    zip_path.write_bytes(content)
    with pytest.raises(DataError, match=zip_path.name):
        read_pixels(zip_path)


# --- Metadata --------------------------------------------------------------------------------


def metadata_fault(files, change):
    _, metadata_path = files
    metadata_path.write_text(change(metadata_path.read_text(encoding="utf-8")))
    with pytest.raises(DataError) as caught:
        read_dataset(*files)
    return str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("4,akiec", "4,mel", "row 5, column dx: mel, but the CSV’s label there is 0 (akiec)"),
        ("0,akiec", "0,wart", "row 1, column dx: found 'wart'"),
        ("lesion_id", "x", "no column lesion_id"),
        ("ISIC_0000000,", "ISIC_0000000,9,", "row 1: there are more values than columns"),
        ("ISIC_0000003,", "ISIC_0000003,9,", "row 4: there are more values than columns"),
        ("HAM_0000006", "HAM_0000005", "lesion HAM_0000005 is bcc here but akiec in row 11"),
    ],
)
def test_metadata_that_contradicts_is_named(files, old, new, sentence):
    assert sentence in metadata_fault(files, lambda text: text.replace(old, new, 2))


def test_a_blank_lesion_of_the_metadata_is_one_of_its_own(files):
    text = files[1].read_text(encoding="utf-8")
    files[1].write_text(text.replace("HAM_0000000,ISIC_0000001", ",ISIC_0000001"))
    data = read_dataset(*files)
    assert data.lesion_ids[1] not in {data.lesion_ids[0], data.lesion_ids[2]}
    assert data.remarks == ("Images without a lesion_id: 1. Each counts as a lesion of its own.",)


def test_the_capitals_of_dx_do_not_matter(files):
    files[1].write_text(files[1].read_text(encoding="utf-8").replace("akiec", "AKIEC"))
    assert np.array_equal(read_dataset(*files).labels, DATA.labels)


def test_metadata_of_another_length_is_refused(files):
    assert "has 83 rows but the CSV has 84" in metadata_fault(
        files, lambda text: text.rsplit("\n", 2)[0] + "\n"
    )


# --- Splitting -------------------------------------------------------------------------------


def test_the_split_is_the_written_rule():
    parts = split_by_lesion(DATA.lesion_ids, DATA.labels)
    for label in range(len(CODES)):
        lesions = sorted(
            set(DATA.lesion_ids[DATA.labels == label]),
            key=lambda lesion: int(hashlib.sha256(lesion.encode()).hexdigest(), 16),
        )
        # 6 lesions: 20 % are 1.2 and 35 % are 2.1; a lesion at a boundary counts before it
        expected = dict(
            zip(lesions, ["test"] * 2 + ["calibration"] + ["training"] * 3, strict=True)
        )
        for lesion, part in zip(DATA.lesion_ids, parts, strict=True):
            assert part == expected.get(lesion, part)


def test_no_lesion_stands_in_two_parts():
    data = made_images(lesions_per_class=40, images_per_lesion=3)
    parts = split_by_lesion(data.lesion_ids, data.labels)
    for lesion in set(data.lesion_ids):
        assert len(set(parts[data.lesion_ids == lesion])) == 1
    shares = [np.mean(parts == part) for part in ("test", "calibration", "training")]
    assert shares == pytest.approx([0.20, 0.15, 0.65])


def test_the_order_of_the_rows_does_not_matter():
    order = np.random.default_rng(0).permutation(len(DATA.labels))
    parts = split_by_lesion(DATA.lesion_ids, DATA.labels)
    shuffled = split_by_lesion(DATA.lesion_ids[order], DATA.labels[order])
    assert np.array_equal(parts[order], shuffled)


@pytest.mark.parametrize("lesions", [0, 1, 2])
def test_a_class_with_too_few_lesions_is_named(lesions):
    keep = (DATA.labels != 3) | np.isin(
        DATA.lesion_ids, sorted(set(DATA.lesion_ids[DATA.labels == 3]))[:lesions]
    )
    with pytest.raises(DataError, match=rf"Too few lesions of some classes \(df {lesions}\)"):
        split_by_lesion(DATA.lesion_ids[keep], DATA.labels[keep])


def test_all_classes_with_too_few_lesions_are_named():
    rows = DATA.labels == 3
    with pytest.raises(DataError, match=r"\(akiec 0, bcc 0, bkl 0, nv 0, vasc 0, mel 0\)"):
        split_by_lesion(DATA.lesion_ids[rows], DATA.labels[rows])


def test_without_lesions_every_row_is_one():
    parts = split_by_lesion(None, DATA.labels)
    assert set(parts) == set(PARTS)


def test_folds_deal_the_lesions_of_each_class_evenly():
    folds = lesion_folds(DATA.lesion_ids, DATA.labels, 3)
    assert len(set(zip(DATA.lesion_ids, folds, strict=True))) == len(set(DATA.lesion_ids))
    for label in range(len(CODES)):
        rows = DATA.labels == label
        assert [len(set(DATA.lesion_ids[rows & (folds == fold)])) for fold in range(3)] == [2, 2, 2]


def test_folds_without_lesions_deal_the_rows():
    folds = lesion_folds(None, DATA.labels, 4)
    assert np.bincount(folds).tolist() == [21, 21, 21, 21]


def test_only_some_rows_of_everything():
    groups = {"sex": np.repeat(["male", "female"], len(DATA.labels) // 2)}
    data = Dataset(
        DATA.pixels, DATA.labels, DATA.lesion_ids, image_ids=DATA.lesion_ids, groups=groups
    )
    rows = np.arange(len(DATA.labels)) % 5 == 0
    some = data.only(rows)
    assert np.array_equal(some.pixels, DATA.pixels[rows])
    assert np.array_equal(some.labels, DATA.labels[rows])
    assert np.array_equal(some.lesion_ids, DATA.lesion_ids[rows])
    assert np.array_equal(some.image_ids, DATA.lesion_ids[rows])
    assert np.array_equal(some.groups["sex"], groups["sex"][rows])


# --- Near-duplicates -------------------------------------------------------------------------


def named_after_a_pair(files, first="akiec", second="akiec"):
    """Give the first two lesions' images the names of a near-duplicate pair, and these classes."""
    header, *rows = files[1].read_text(encoding="utf-8").splitlines()
    pair = NEAR_DUPLICATES[0]
    rows[0], rows[2] = f"HAM_0000000,{pair[0]},{first}", f"HAM_0000001,{pair[1]},{second}"
    files[1].write_text("\n".join([header, *rows]) + "\n")


def test_two_lesions_of_a_near_duplicate_pair_are_one(files):
    named_after_a_pair(files)
    lesion_ids = read_dataset(*files).lesion_ids
    assert lesion_ids[:5].tolist() == ["HAM_0000000"] * 4 + ["HAM_0000002"]


def test_other_images_are_not_merged():
    ids = np.array(["a", "b", "c"])
    images = np.array([NEAR_DUPLICATES[0][0], "mine", NEAR_DUPLICATES[1][0]])
    assert merge_near_duplicates(ids, images, np.zeros(3, int)).tolist() == ["a", "b", "c"]


def test_a_pair_that_somebody_labels_differently_is_two_lesions():
    ids, labels = np.array(["a", "b"]), np.array([0, 1])
    assert merge_near_duplicates(ids, np.array(NEAR_DUPLICATES[0]), labels).tolist() == ["a", "b"]


# --- Groups, and existing splits -------------------------------------------------------------


def test_sex_age_band_and_site_come_with_the_metadata(files):
    header, first, second, *rest = files[1].read_text(encoding="utf-8").splitlines()
    rows = [
        f"{header},age,sex,localization",
        f"{first},29.5,female,back",
        f"{second},75.0,,",
        *(f"{line},,unknown,ear" for line in rest),
    ]
    files[1].write_text("\n".join(rows) + "\n")
    data = read_dataset(*files)
    assert {name: values[:3].tolist() for name, values in data.groups.items()} == {
        "sex": ["female", "unknown", "unknown"],
        "age": ["under 30", "75 and over", "unknown"],
        "site": ["back", "unknown", "ear"],
    }


def test_the_clinic_comes_with_harvards_metadata(files):
    header, first, second, *rest = files[1].read_text(encoding="utf-8").splitlines()
    lines = [
        f"{header},dataset",
        f"{first},rosendahl",
        f"{second},",
        *(f"{line}," for line in rest),
    ]
    files[1].write_text("\n".join(lines) + "\n")
    clinics = read_dataset(*files).groups["clinic"]
    assert clinics[:3].tolist() == ["rosendahl", "unknown", "unknown"]


def test_harvards_metadata_may_be_separated_by_tabs(files):
    table = files[1].with_suffix(".tab")
    table.write_text(files[1].read_text(encoding="utf-8").replace(",", "\t"))
    assert np.array_equal(read_dataset(files[0], table).lesion_ids, DATA.lesion_ids)


@pytest.mark.parametrize("suffix", [".xz", ".tar", ".zst"])
def test_metadata_that_is_packed_is_refused_in_a_sentence(files, suffix):
    packed = files[1].rename(files[1].with_suffix(f".csv{suffix}"))
    packed.write_bytes(b"\xfd7zXZ\x00\x00" + bytes(range(128, 256)))
    with pytest.raises(DataError, match="is not a text file in UTF-8"):
        read_dataset(files[0], packed)


def test_a_name_too_long_for_a_table_is_refused(files, sources):
    sources.write_text(sources.read_text(encoding="utf-8").replace("3,a", f"3,{'a' * 61}", 1))
    with pytest.raises(DataError, match="column dataset: the name has more than 60 characters"):
        add_clinics(read_dataset(*files), sources)


@pytest.fixture
def sources(files):
    """A file with the clinic of each image, beside the data and in another order."""
    path = files[1].with_name(SOURCES_NAME)
    clinics = ["a", "b", "c"] * 28
    rows = [f"ISIC_{row:07},{clinic}" for row, clinic in enumerate(clinics)]
    path.write_text("\n".join(["image_id,dataset", *rows[::-1]]) + "\n")
    return path


def test_the_clinic_comes_by_image_from_a_file_beside_the_data(files, sources):
    clinics = add_clinics(read_dataset(*files), None, beside=files[1]).groups["clinic"]
    assert clinics.tolist() == ["a", "b", "c"] * 28


def test_the_metadatas_clinic_goes_before_a_file_that_nobody_named(files, sources):
    data = read_dataset(*files).with_clinics(np.array(["mine"] * 84))
    assert add_clinics(data, None, beside=files[1]).groups["clinic"][0] == "mine"
    assert add_clinics(data, sources, beside=files[1]).groups["clinic"][0] == "a"


def test_a_file_beside_data_without_image_ids_does_not_matter(files, sources):
    data = read_dataset(files[0])
    assert add_clinics(data, None, beside=files[0]).groups == {}
    with pytest.raises(DataError, match="refers to image ids, which these data lack"):
        add_clinics(data, sources, beside=files[0])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda text: text.rsplit("\n", 2)[0],
            "has no row for 1 of the images, such as ISIC_0000000",
        ),
        (
            lambda text: text + "ISIC_0000000,a\n",
            "row 85, column image_id: ISIC_0000000 appears",
        ),
        (lambda text: text.replace("dataset", "source"), "has no column dataset"),
        (lambda text: text.replace("3,a", "3,", 1), "column dataset: found nothing"),
    ],
)
def test_sources_that_cannot_be_used(files, sources, change, sentence):
    sources.write_text(change(sources.read_text(encoding="utf-8")))
    with pytest.raises(DataError) as fault:
        add_clinics(read_dataset(*files), sources, beside=files[1])
    assert sentence in str(fault.value)


def test_metadata_of_few_columns_has_no_groups(files):
    assert read_dataset(*files).groups == {}


@pytest.fixture
def split(tmp_path):
    """A function that writes a split's rows and returns the path."""

    def write(rows):
        path = tmp_path / "split.csv"
        path.write_text("\n".join(["image_id,split", *rows]) + "\n")
        return path

    return write


LABELS = np.repeat(np.arange(7), 3)
IDS = np.array([f"i{row}" for row in range(21)])
ROWS = [f"i{row},{word}" for row, word in enumerate(["train", "val", "test"] * 7)]


def test_a_split_is_found_by_image_whatever_its_order(split):
    parts = read_split(split(ROWS[::-1]), IDS, LABELS)
    assert parts.tolist() == ["training", "calibration", "test"] * 7


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (ROWS[:-1], "no row for 1 of the images, such as i20"),
        (["i0,dev", *ROWS[1:]], "row 1, column split: found 'dev' instead of train"),
        ([*ROWS, "i0,test"], "row 22, column image_id: i0 appears twice"),
        ([*ROWS[:10], "i10,train", *ROWS[11:]], "has no val image of class df"),
    ],
)
def test_a_split_that_is_wrong_is_named(rows, sentence, split):
    with pytest.raises(DataError) as caught:
        read_split(split(rows), IDS, LABELS)
    assert sentence in str(caught.value)


def test_a_split_needs_image_ids(split):
    with pytest.raises(DataError, match="pass metadata with a column image_id"):
        read_split(split(ROWS), None, LABELS)
