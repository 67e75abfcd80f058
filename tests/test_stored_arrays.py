"""Arrays in model files: they are read back unchanged, and refused if they are damaged."""

from dataclasses import fields

import h5py
import numpy as np
import pytest

from lesion_lens.model.other_pictures import TERMS
from lesion_lens.model.pictures import DESCRIPTION
from tests.support.models import LIKE, OTHER, PROVEN

KEPT = {rule.attribute: rule for rule in (LIKE, OTHER, PROVEN)}
SPOILT = {
    "likeness": [
        ("means", np.zeros((6, 7))),
        ("means", np.full((7, 7), np.nan)),
        ("means", "seven numbers"),
        ("means", h5py.Empty("f")),
        ("covariance", np.eye(6)),
        ("covariance", np.full((7, 7), np.inf)),
        ("covariance", np.triu(np.ones((7, 7)))),
        ("covariance", np.diag([1, 1, 1, 1, 1, 1, -1])),
        ("threshold", np.array([1.0, 2.0])),
        ("threshold", np.nan),
        ("threshold", -1.0),
    ],
    "other_picture": [
        ("centre", np.zeros(DESCRIPTION - 1)),
        ("centre", np.full(DESCRIPTION, np.nan)),
        ("centre", "many numbers"),
        ("scale", np.zeros(DESCRIPTION)),
        ("scale", -np.ones(DESCRIPTION)),
        ("weights", np.zeros((TERMS, 1))),
        ("weights", np.full(TERMS, np.inf)),
        ("weights", h5py.Empty("f")),
        ("threshold", np.zeros(1)),
        ("threshold", np.nan),
    ],
    "picture_group": [
        ("means", np.zeros((3, 7))),
        ("means", np.full((4, 7), np.nan)),
        ("means", "four groups"),
        ("covariances", np.eye(7)),
        ("covariances", np.stack([*[np.eye(7)] * 3, np.triu(np.ones((7, 7)))])),
        ("covariances", np.stack([*[np.eye(7)] * 3, np.zeros((7, 7))])),
        ("shares", np.array([0.5, 0.5, 0, 0])),
        ("shares", np.array([1.5, 0.5, -0.5, -0.5])),
        ("shares", np.full(4, 0.3)),
        ("shares", h5py.Empty("f")),
        ("proven", np.array([1, 0, 0, 0.5])),
        ("proven", np.array([1, 0, 0, np.nan])),
        ("proven", np.ones(5)),
    ],
}


@pytest.mark.parametrize(
    ("kind", "name", "spoilt"), [(kind, *case) for kind, cases in SPOILT.items() for case in cases]
)
def test_spoilt_attributes_are_refused(kind, name, spoilt):
    attributes = KEPT[kind].to_attributes()
    assert f"{kind}_{name}" in attributes
    with pytest.raises(ValueError, match=f"^{name}: "):
        type(KEPT[kind]).from_attributes(attributes | {f"{kind}_{name}": spoilt})


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, field.name) for kind in KEPT for field in fields(KEPT[kind])]
)
def test_a_missing_attribute_is_refused(kind, name):
    attributes = KEPT[kind].to_attributes()
    del attributes[f"{kind}_{name}"]
    with pytest.raises(ValueError, match=f"An attribute of the {kind} is missing"):
        type(KEPT[kind]).from_attributes(attributes)


@pytest.mark.parametrize("kind", KEPT)
def test_a_file_keeps_every_array(kind, tmp_path):
    with h5py.File(tmp_path / "model.h5", "w") as file:
        file.attrs["another"] = "fact"
        file.attrs.update(KEPT[kind].to_attributes())
    with h5py.File(tmp_path / "model.h5") as file:
        kept = type(KEPT[kind]).from_attributes(file.attrs)
    for field in fields(kept):
        assert np.array_equal(getattr(kept, field.name), getattr(KEPT[kind], field.name))
