"""The user's own images: folders, zips, tables of labels in various forms, and DermaMNIST."""

import zipfile

import numpy as np
import pytest
from PIL import Image

from lesion_lens.training.diagnoses import NO_HOME, label_of
from lesion_lens.training.errors import DataError
from lesion_lens.training.label_tables import read_labels
from lesion_lens.training.medmnist import read_medmnist
from lesion_lens.training.near_duplicates import NEAR_DUPLICATES
from lesion_lens.training.own_images import ReadingOptions, read_images
from lesion_lens.training.split import read_split
from skin_cancer_detection import CODES, preprocess
from tests.support.data import made_images

SKIPPING = ReadingOptions(skip_unknown=True, skip_missing=True)


def picture(path, image_format=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.effect_noise((60, 45), 60).convert("RGB")
    image.save(path, image_format, quality=95)


@pytest.fixture
def folder(tmp_path):
    """A folder of seven pictures, one for each class, and their labels."""
    for row, code in enumerate(CODES):
        suffix = ".heic" if code == "nv" else ".jpg" if row % 2 else ".png"
        picture(tmp_path / f"{code}{suffix}")
    labels = tmp_path / "labels.csv"
    labels.write_text("image_id,dx\n" + "".join(f"{code},{code}\n" for code in CODES))
    return tmp_path, labels


def read(folder, options=None):
    return read_images([folder[0]], folder[1], options)


def fault_of(folder, content=None, options=None):
    if content is not None:
        folder[1].write_text(content)
    with pytest.raises(DataError) as caught:
        read(folder, options)
    return str(caught.value)


def labels_of(path, content):
    path.write_text(content)
    return [CODES[label] if label >= 0 else None for label in read_labels(path).labels]


# --- Reading ---------------------------------------------------------------------------------


def test_own_images_get_the_one_preprocessing(folder):
    data = read(folder)
    expected = preprocess(Image.open(folder[0] / "akiec.png"))
    assert data.pixels.shape == (len(CODES), 28, 28, 3)
    assert np.array_equal(data.pixels[0], expected)
    assert data.labels.tolist() == list(range(len(CODES)))
    assert data.lesion_ids is None


def test_labels_as_a_spreadsheet_saves_them(folder):
    folder[1].write_text(folder[1].read_text(encoding="utf-8"), encoding="utf-8-sig")
    assert len(read(folder).labels) == len(CODES)


def test_labels_that_are_wrong_are_named(folder):
    assert "is empty" in fault_of(folder, "")
    assert "no rows" in fault_of(folder, "image_id,dx\n")
    assert "row 1, column image_id: found nothing" in fault_of(folder, "image_id,dx\n,mel\n")
    assert "row 1, column dx: found nothing" in fault_of(folder, "image_id,dx\nmel,\n")
    assert "no column image_id" in fault_of(folder, "file,dx\nmel,mel\n")
    assert "no column dx" in fault_of(folder, "image_id,kind\nmel,mel\n")
    folder[1].write_bytes("image_id,dx\né,mel".encode("latin1"))
    assert "not a text file in UTF-8" in fault_of(folder)


def test_spoiled_and_missing_images_are_named(folder):
    (folder[0] / "bcc.jpg").write_bytes(b"not an image")
    (folder[0] / "df.jpg").unlink()
    fault = fault_of(folder)
    assert "2 of 7 images" in fault
    assert "bcc: The file is not an image" in fault
    assert "df: no such file" in fault
    assert "Missing: 1, which --skip-missing leaves out" in fault


def test_of_many_missing_images_twenty_are_named(folder):
    names = [f"image{row}" for row in range(3000)]
    fault = fault_of(folder, "image_id,dx\n" + "".join(f"{name},mel\n" for name in names))
    assert "3,000 of 3,000 images" in fault
    assert all(f"{name}: no such file" in fault for name in names[:20])
    assert fault.endswith("and 2,980 more")
    assert fault.count("\n") == 21


def test_missing_images_are_left_out_and_counted(folder):
    (folder[0] / "df.jpg").unlink()
    data = read(folder, SKIPPING)
    assert len(data.labels) == 6
    assert "Left out: rows without an image (1)." in data.remarks


def test_a_table_of_which_nothing_is_there(folder):
    assert "No row of" in fault_of(folder, "image_id,dx\nx,mel\n", SKIPPING)


def test_an_image_named_twice_is_refused(folder):
    content = "image_id,dx\nmel,mel\nmel,mel\n"
    assert "row 2, column image_id: mel appears twice" in fault_of(folder, content)


def test_images_that_no_row_names_are_counted(folder):
    picture(folder[0] / "more.png")
    assert read(folder).remarks == ("Left out: images that are not in the table (1).",)


def test_a_source_that_is_neither_a_folder_nor_a_zip(folder):
    for name in ("none", "labels.csv"):
        with pytest.raises(DataError, match="is neither a folder nor a zip"):
            read_images([folder[0] / name], folder[1])


def test_a_folder_without_images(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="There is no image in"):
        read_images([tmp_path / "empty"], folder[1])


# --- Where the images are --------------------------------------------------------------------


def test_kaggles_two_folders_are_one_data_set(tmp_path):
    for part, name in (("part_1", "ISIC_1"), ("part_2", "ISIC_2")):
        picture(tmp_path / f"HAM10000_images_{part}" / f"{name}.jpg")
    labels = tmp_path / "HAM10000_metadata.csv"
    labels.write_text("lesion_id,image_id,dx\nL1,ISIC_1,nv\nL2,ISIC_2,mel\n")
    parts = [tmp_path / f"HAM10000_images_part_{number}" for number in (1, 2)]
    for sources in (parts, [tmp_path]):
        assert read_images(sources, labels).lesion_ids.tolist() == ["L1", "L2"]


def test_folders_that_overlap_have_each_image_once(tmp_path):
    picture(tmp_path / "mel" / "a.png")
    assert len(read_images([tmp_path, tmp_path / "mel", tmp_path], None).labels) == 1


def test_a_zip_is_read_as_it_is(folder, tmp_path):
    archive = tmp_path / "ISIC-images.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in folder[0].iterdir():
            if path.suffix not in (".csv", ".zip"):
                file.write(path, f"ISIC-images/{path.name}")
        file.writestr("metadata.csv", folder[1].read_text())
        file.writestr("licenses/CC-0.txt", "")
    data = read_images([archive], archive)
    assert np.array_equal(data.pixels, read(folder).pixels)


def test_a_spoiled_member_of_a_zip_is_named(tmp_path):
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("mel/a.png", bytes(1000))
    data = bytearray(archive.read_bytes())
    data[45] ^= 255
    archive.write_bytes(data)
    with pytest.raises(DataError, match=r"mel/a.png: It cannot be unpacked"):
        read_images([archive], None)


@pytest.mark.parametrize("suffix", [".JPG", ".jfif", ".mpo", ".hif", ".tiff", ""])
def test_every_suffix_that_the_app_reads(folder, suffix):
    (folder[0] / "bcc.jpg").rename(folder[0] / f"BCC{suffix}")
    assert len(read(folder).labels) == len(CODES)


@pytest.mark.parametrize(
    "image_id",
    [
        "a_1",
        "A_1",
        "a_1.jpg",
        "a_1_downsampled",
        "a_1_downsampled.jpg",
        "part/a_1.jpg",
        "images/part/a_1",
        r"C:\data\part\a_1.jpg",
    ],
)
def test_an_image_is_found_by_any_form_of_its_name(tmp_path, image_id):
    picture(tmp_path / "part" / "a_1.jpg")
    (tmp_path / "l.csv").write_text(f"image_id,dx\n{image_id},mel\n")
    assert len(read_images([tmp_path], tmp_path / "l.csv").labels) == 1


def test_two_files_of_a_name_are_told_apart_by_their_folders(tmp_path):
    for folder in ("x", "y"):
        picture(tmp_path / folder / "1.png")
    labels = tmp_path / "l.csv"
    labels.write_text("image_id,dx\nx/1,mel\ny/1.png,nv\n")
    data = read_images([tmp_path], labels)
    assert np.array_equal(data.pixels[1], preprocess(Image.open(tmp_path / "y" / "1.png")))
    assert data.image_ids.tolist() == ["x/1", "y/1.png"]
    labels.write_text("image_id,dx\n1,mel\n")
    with pytest.raises(DataError, match=r"1: there are 'x/1.png' and 'y/1.png'"):
        read_images([tmp_path], labels)


def test_a_row_of_another_folder_is_no_row_of_this_image(tmp_path):
    for name in ("clinicA/1.png", "clinicA/2.png"):
        picture(tmp_path / name)
    (tmp_path / "l.csv").write_text("image_id,dx\nclinicB/1.png,mel\nclinicA/2.png,nv\n")
    data = read_images([tmp_path], tmp_path / "l.csv", SKIPPING)
    assert data.labels.tolist() == [CODES.index("nv")]


def test_letters_with_accents_are_found_however_they_are_written(tmp_path):
    picture(tmp_path / "\u00e9t\u00e9.png")
    (tmp_path / "l.csv").write_text("image_id,dx\ne\u0301te\u0301,mel\n")
    assert len(read_images([tmp_path], tmp_path / "l.csv").labels) == 1


def test_a_link_to_a_folder_is_the_folder(tmp_path):
    picture(tmp_path / "in" / "mel" / "a.png")
    (tmp_path / "link").symlink_to(tmp_path / "in")
    assert len(read_images([tmp_path / "in", tmp_path / "link"], None).labels) == 1


def test_other_tables_find_the_images_whatever_their_ids_look_like(tmp_path):
    names = [f"{code}{number}" for code in CODES for number in range(3)]
    rows = ["image_id,split"]
    rows += [f"{name},{('train', 'val', 'test')[row % 3]}" for row, name in enumerate(names)]
    (tmp_path / "s.csv").write_text("\n".join(rows))
    ids = np.array([f"{name}.jpg" for name in names])
    labels = np.repeat(np.arange(len(CODES)), 3)
    assert read_split(tmp_path / "s.csv", ids, labels)[0] == "training"


# --- Class folders ---------------------------------------------------------------------------


def test_class_folders_need_no_table(tmp_path):
    for name in ("mel/a", "train/NV/b", "train/nevus/patient/b", "Basal Cell Carcinoma/d"):
        picture(tmp_path / f"{name}.png")
    data = read_images([tmp_path], None)
    assert sorted(CODES[label] for label in data.labels) == ["bcc", "mel", "nv", "nv"]


def test_the_folder_that_is_named_may_be_a_class(tmp_path):
    picture(tmp_path / "mel" / "a.png")
    assert read_images([tmp_path / "mel"], None).labels.tolist() == [CODES.index("mel")]


def test_folders_of_other_diagnoses(tmp_path):
    for name in ("mel/a", "scc/b", "scc/c"):
        picture(tmp_path / f"{name}.png")
    with pytest.raises(DataError, match=r"Images in .*: 2 \(scc 2\)\. .*--skip-unknown"):
        read_images([tmp_path], None)
    data = read_images([tmp_path], None, SKIPPING)
    assert data.remarks == ("Left out: images of other diagnoses (2: scc 2).",)


def test_images_in_no_class_folder(folder):
    with pytest.raises(DataError, match="add a table of labels with --labels"):
        read_images([folder[0]], None)


# --- Tables of labels ------------------------------------------------------------------------


def test_the_one_hot_table_of_2018(tmp_path):
    content = "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\na,0.0,1.0,0.0,0.0,0.0,0.0,0.0\nb,0,0,0,1,0,0,0\n"
    assert labels_of(tmp_path / "l.csv", content) == ["nv", "akiec"]


def test_the_one_hot_table_of_2019(tmp_path):
    content = "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK\n"
    content += "a,0,0,0,1,0,0,0,0,0\nb,0,0,0,0,0,0,0,1,0\nc,0,0,0,0,0,0,0,0,1\n"
    assert labels_of(tmp_path / "l.csv", content) == ["akiec", None, None]


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ("a,1,1", "exactly one of MEL, NV must be 1, but 2 are"),
        ("a,0,0", "exactly one of MEL, NV must be 1, but 0 are"),
        ("a,0.7,0.3", "column MEL: found '0.7' instead of 0 or 1"),
        ("a,,1", "column MEL: found '' instead of 0 or 1"),
    ],
)
def test_a_one_hot_row_of_no_class_or_of_two(tmp_path, row, sentence):
    with pytest.raises(DataError, match=sentence):
        labels_of(tmp_path / "l.csv", f"image,MEL,NV\n{row}\n")


def test_the_metadata_of_the_isic_archive(tmp_path):
    content = (
        "isic_id,diagnosis_1,diagnosis_2,diagnosis_3,diagnosis_4,lesion_id\n"
        'a,Benign,Benign melanocytic proliferations,Nevus,"Nevus, Combined",\n'
        "b,Malignant,Malignant melanocytic proliferations (Melanoma),,,\n"
        "c,Indeterminate,,Solar or actinic keratosis,,\n"
        'd,Malignant,,"Squamous cell carcinoma, NOS",,\n'
        "e,Malignant,,Merkel cell carcinoma,,\n"
        "f,,,,,\n"
        "g,Benign,Benign soft tissue proliferations - Vascular,,,\n"
    )
    expected = ["nv", "mel", "akiec", None, None, None, "vasc"]
    assert labels_of(tmp_path / "l.csv", content) == expected


def test_columns_that_contradict_each_other_are_refused(tmp_path):
    content = "image_id,dx,MEL,NV\na,mel,1,0\nb,mel,0,1\n"
    with pytest.raises(
        DataError, match=r"row 2: its columns contradict each other, 'mel' and 'NV'"
    ):
        labels_of(tmp_path / "l.csv", content)


def test_the_capitals_of_a_header_do_not_matter(tmp_path):
    assert labels_of(tmp_path / "l.csv", "Image_ID, DX\na,MEL\n") == ["mel"]


@pytest.mark.parametrize("sign", [",", ";", "\t"])
def test_columns_separated_by_commas_semicolons_or_tabs(tmp_path, sign):
    assert labels_of(tmp_path / "l.csv", f"image_id{sign}dx\na{sign}mel\n") == ["mel"]


def test_columns_separated_by_bars_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"its columns are separated by '\|'; save it with commas"):
        labels_of(tmp_path / "l.csv", "image_id|dx\na|mel\n")


def test_the_older_metadata_of_the_isic_archive(tmp_path):
    content = "isic_id,diagnosis,lesion_id\na,nevus,x\nb,lentigo NOS,y\nc,,z\n"
    assert labels_of(tmp_path / "l.csv", content) == ["nv", None, None]


@pytest.mark.parametrize(("label", "code"), enumerate(CODES))
def test_a_code_is_a_diagnosis(label, code):
    assert label_of(code) == label_of(code.upper()) == label


@pytest.mark.parametrize("name", ["MEL", "mel ", "Melanoma in situ"])
def test_the_spelling_of_a_diagnosis(name):
    assert label_of(name) == CODES.index("mel")


@pytest.mark.parametrize("name", ["melanom", "not mel", "", "SCC", "lentigo simplex"])
def test_a_diagnosis_is_never_guessed(name):
    assert label_of(name) == NO_HOME


def test_a_diagnosis_without_a_class_is_refused_or_left_out(folder):
    content = "image_id,dx\nmel,MEL\nnv,nv\nbcc,SCC\ndf,SCC\nvasc,wart\n"
    fault = fault_of(folder, content)
    assert "row 3: found 'SCC' instead of one of akiec" in fault
    assert "Rows with such a diagnosis: 3 (SCC 2, wart 1)" in fault
    data = read(folder, SKIPPING)
    assert len(data.labels) == 2
    assert data.remarks[0] == "Left out: images of other diagnoses (3: SCC 2, wart 1)."


def test_a_row_is_counted_as_in_the_file_whatever_is_left_out(folder):
    rows = ["bcc,scar,", "df,scar,", "mel,mel,L", "nv,nv,L"]
    fault = fault_of(folder, "\n".join(["image_id,dx,lesion_id", *rows]), SKIPPING)
    assert "row 4, column dx: lesion L is nv here but mel in row 3" in fault


def test_an_image_that_is_left_out_contradicts_none_of_its_lesion(folder):
    folder[1].write_text("image_id,dx,lesion_id\nbcc,scar,L\nmel,mel,L\nnv,scar,L\n")
    assert read(folder, SKIPPING).lesion_ids.tolist() == ["L"]


def test_an_image_of_another_diagnosis_is_counted_once(folder):
    folder[1].write_text("image_id,dx\n" + "".join(f"{c},{c}\n" for c in CODES[1:]) + "akiec,x\n")
    assert read(folder, SKIPPING).remarks == ("Left out: images of other diagnoses (1: x 1).",)


# --- Lesions and groups ----------------------------------------------------------------------


def test_own_images_may_name_their_lesions(folder):
    folder[1].write_text("image_id,dx,lesion_id\n" + "".join(f"{c},{c},L{c}\n" for c in CODES))
    assert read(folder).lesion_ids[0] == "Lakiec"


def test_a_blank_lesion_is_one_of_its_own(folder):
    folder[1].write_text("image_id,dx,lesion_id\nmel,mel,a\nnv,nv,\nbcc,bcc, \n")
    data = read(folder)
    assert len(set(data.lesion_ids)) == 3
    assert "Images without a lesion_id: 2. Each counts as a lesion of its own." in data.remarks


def test_a_column_of_blank_lesions_says_nothing(folder):
    folder[1].write_text("image_id,dx,lesion_id\nmel,mel,\nnv,nv,\n")
    assert read(folder).lesion_ids is None


def test_near_duplicates_in_a_folder_are_one_lesion_too(folder):
    directory, labels = folder
    for image, name in zip(sorted(directory.iterdir())[:2], NEAR_DUPLICATES[0], strict=True):
        image.rename(directory / f"{name}{image.suffix}")
    first, second = NEAR_DUPLICATES[0]
    labels.write_text(f"image_id,dx,lesion_id\n{first}.jpg,nv,b\n{second},nv,a\n")
    assert read(folder).lesion_ids.tolist() == ["a", "a"]


def test_any_column_may_be_a_group(folder):
    folder[1].write_text("image_id,dx,age_approx,device\nmel,mel,50,X\nnv,nv,,\n")
    groups = read(folder, ReadingOptions(("device",))).groups
    assert groups["device"].tolist() == ["X", "unknown"]
    assert groups["age"].tolist() == ["45–59", "unknown"]
    fault = fault_of(folder, options=ReadingOptions(("camera",)))
    assert "no column 'camera': --group takes one of image_id, dx, age_approx, device" in fault


# --- DermaMNIST ------------------------------------------------------------------------------


def write_npz(path, side=28, **changes):
    """Write a small DermaMNIST, with two made images per class in each part; return their data."""
    data = made_images(lesions_per_class=2, images_per_lesion=1)
    order = [CODES.index(code) for code in ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")]
    numbers = np.array([order.index(label) for label in data.labels], np.uint8)[:, None]
    pixels = np.kron(data.pixels, np.ones((1, side // 28, side // 28, 1), np.uint8))
    arrays = {f"{word}_images": pixels for word in ("train", "val", "test")}
    arrays |= {f"{word}_labels": numbers for word in ("train", "val", "test")}
    arrays |= changes
    np.savez_compressed(
        path, **{name: array for name, array in arrays.items() if array is not None}
    )
    return data


@pytest.mark.parametrize("side", [28, 56])
def test_dermamnist_has_classes_in_another_order_and_a_split(tmp_path, side):
    made = write_npz(tmp_path / "d.npz", side)
    data = read_medmnist(tmp_path / "d.npz")
    assert data.labels.tolist() == made.labels.tolist() * 3
    assert data.parts[[0, 14, 28]].tolist() == ["training", "calibration", "test"]
    expected = [
        preprocess(Image.fromarray(np.kron(image, np.ones((2, 2, 1), np.uint8))))
        for image in made.pixels
    ]
    assert np.array_equal(data.pixels[:14], made.pixels if side == 28 else expected)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"val_images": None}, "it holds no array val_images"),
        ({"test_labels": np.full((14, 1), 3)}, "not every class of"),
        ({"test_labels": np.full((14, 1), 8)}, "numbers other than 0 to 6"),
        ({"test_labels": np.zeros((13, 1), int)}, "14 test images have 13 labels"),
        ({"train_images": np.zeros((14, 28, 28), np.uint8)}, r"the shape \(14, 28, 28\)"),
        ({"train_images": np.zeros((14, 28, 28, 3))}, "train_images holds float64"),
        ({"train_images": np.array([{}])}, "train_images holds object"),
        ({"train_images": np.zeros((1, 9, 9, 3), np.uint8)}, "1 images of 9 pixels a side"),
    ],
)
def test_another_npz_is_refused(tmp_path, changes, sentence):
    write_npz(tmp_path / "d.npz", **changes)
    with pytest.raises(DataError, match=sentence):
        read_medmnist(tmp_path / "d.npz")


@pytest.mark.parametrize("share", [0.3, 0.99])
def test_a_truncated_npz_is_named(tmp_path, share):
    path = tmp_path / "d.npz"
    write_npz(path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(DataError, match="truncated or not a zip"):
        read_medmnist(path)
