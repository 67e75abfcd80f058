"""The groups of pictures in which 'low risk' proves right: the mixture, and the rule by hand."""

import numpy as np
import pytest

from lesion_lens.model.outliers import features
from lesion_lens.model.picture_groups import PictureGroups, log_likelihoods
from lesion_lens.model.views import eight_views
from lesion_lens.training.picture_groups import (
    fit_mixture,
    fit_picture_groups,
    proven_groups,
)
from tests.support.drawings import draw_spots
from tests.support.skipping import require

KINDS = np.repeat(range(4), (60, 90, 120, 130))


def spots_of_four_kinds(seed):
    """Draw spots as four cameras would take them: lighter or darker, bluer or redder."""
    light = np.array([[1, 1, 1], [0.5, 0.5, 0.5], [0.7, 0.8, 1.1], [0.9, 0.6, 0.5]])
    spots = draw_spots(len(KINDS), seed) * light[KINDS][:, np.newaxis, np.newaxis]
    return np.clip(spots, 0, 255).astype(np.uint8)


PIXELS = spots_of_four_kinds(seed=0)


# --- The groups ------------------------------------------------------------------------------


def groups_of(**changes):
    """Make groups that differ only in brightness, with the first one proven."""
    means = np.zeros((4, 7))
    means[:, 0] = (100, 200, 300, 400)
    arrays = {"covariances": [np.eye(7)] * 4, "shares": [0.25] * 4, "proven": [1, 0, 0, 0]}
    return PictureGroups(**{"means": means, **arrays, **changes})


def grey(level):
    return np.full((1, 28, 28, 3), level / 3**0.5)  # its brightness is the level


@pytest.mark.parametrize(("level", "group"), [(99, 0), (149, 0), (151, 1), (260, 2), (440, 3)])
def test_a_picture_is_in_the_nearest_of_equal_groups(level, group):
    assert groups_of().group(grey(level)).tolist() == [group]
    assert groups_of().is_proven(grey(level)).tolist() == [group == 0]


def test_a_frequent_or_wide_group_is_larger():
    frequent = groups_of(shares=[0.997, 0.001, 0.001, 0.001])
    assert frequent.group(grey(150.02)).tolist() == [0]
    wide = groups_of(covariances=[4 * np.eye(7), *[np.eye(7)] * 3])
    assert wide.group(grey(160)).tolist() == [0]


def test_the_likelihoods_are_scipys_but_for_a_constant():
    stats = require("scipy.stats")
    rng = np.random.default_rng(0)
    roots = rng.normal(size=(4, 7, 7))
    means, covariances = rng.normal(size=(4, 7)), roots @ roots.swapaxes(1, 2) + np.eye(7)
    shares, rows = np.array([0.1, 0.2, 0.3, 0.4]), rng.normal(size=(50, 7))
    expected = np.stack(
        [
            np.log(share) + stats.multivariate_normal(mean, covariance).logpdf(rows)
            for mean, covariance, share in zip(means, covariances, shares, strict=True)
        ],
        axis=1,
    )
    found = log_likelihoods(rows, means, covariances, shares)
    assert np.allclose(found - expected, 7 / 2 * np.log(2 * np.pi))


def test_the_eight_views_are_in_the_same_group():
    fitted = PictureGroups(*fit_mixture(PIXELS), np.ones(4))
    groups = np.stack([fitted.group(view) for view in eight_views(PIXELS[::10])])
    assert (groups == groups[0]).all()


# --- Fitting the mixture ---------------------------------------------------------------------


def test_four_kinds_of_pictures_are_told_apart():
    means, covariances, shares = fit_mixture(PIXELS)
    groups = PictureGroups(means, covariances, shares, np.ones(4)).group(spots_of_four_kinds(1))
    group_of = np.array([np.bincount(groups[kind == KINDS]).argmax() for kind in range(4)])
    assert set(group_of.tolist()) == {0, 1, 2, 3}
    assert (group_of[KINDS] == groups).mean() > 0.97
    assert sorted(shares) == pytest.approx([0.15, 0.225, 0.3, 0.325], abs=0.01)


def test_scikit_learn_finds_the_same_mixture_from_the_same_beginning():
    mixture = require("sklearn.mixture")
    described = features(PIXELS)
    standard = (described - described.mean(axis=0)) / described.std(axis=0)
    direction = np.linalg.eigh(standard.T @ standard)[1][:, -1]
    # The sign of the direction reverses the order of the quarters, which does not matter.
    quarters = np.argsort(np.argsort(standard @ direction)) * 4 // len(described)
    begin = [described[quarters == k] for k in range(4)]
    theirs = mixture.GaussianMixture(
        4,
        tol=1e-6,
        reg_covar=1e-3,
        max_iter=500,
        weights_init=np.full(4, 0.25),
        means_init=[rows.mean(axis=0) for rows in begin],
        precisions_init=[
            np.linalg.inv(np.cov(rows, rowvar=False, bias=True) + 1e-3 * np.eye(7))
            for rows in begin
        ],
    ).fit(described)
    means, covariances, shares = fit_mixture(PIXELS)
    order, their_order = np.argsort(means[:, 0]), np.argsort(theirs.means_[:, 0])
    assert np.allclose(shares[order], theirs.weights_[their_order], atol=1e-3)
    assert np.allclose(means[order], theirs.means_[their_order], rtol=1e-2, atol=1e-2)
    assert np.allclose(covariances[order], theirs.covariances_[their_order], rtol=1e-2, atol=5e-2)


def test_few_or_equal_images_are_enough():
    for pixels in (PIXELS[:2], np.repeat(PIXELS[:1], 9, axis=0)):
        fitted = PictureGroups(*fit_mixture(pixels), np.zeros(4))  # or it raises ValueError
        assert np.isfinite(fitted.means).all()


# --- Where 'low risk' is proven --------------------------------------------------------------

# The fewest lesions that show, with a confidence of 0.9, that it is wrong for less than 2 in 100.
# Without an error: 0.1 ** (1 / 114) is 0.980005. With 1 or 5 errors: from SciPy's binomial.
PROVING = [(114, 0), (194, 1), (462, 5)]


@pytest.mark.parametrize(("lesions", "wrong"), PROVING)
def test_low_risk_is_proven_by_so_many_lesions_and_not_by_one_less(lesions, wrong):
    binom = require("scipy.stats").binom
    assert binom.cdf(wrong, lesions, 0.02) <= 0.1 < binom.cdf(wrong, lesions - 1, 0.02)
    for count, expected in ((lesions, 1), (lesions - 1, 0)):
        said = np.ones(count, bool)
        proven = proven_groups(np.zeros(count, int), 1, said, np.arange(count) < wrong)
        assert proven.tolist() == [expected]


def test_each_group_is_proven_by_its_own_lesions():
    group = np.repeat([0, 1, 2, 3], [200, 200, 200, 200])
    said = np.ones(800, bool)
    said[400:500] = False  # of the third group's lesions, only a hundred are called low risk
    said[600:] = False  # and of the fourth's, none
    is_malignant = np.zeros(800, bool)
    is_malignant[200:205] = True  # of the second group's
    assert proven_groups(group, 4, said, is_malignant).tolist() == [1, 0, 0, 0]


def test_a_cancer_that_is_not_called_low_risk_disproves_nothing():
    said = np.arange(200) < 120
    assert proven_groups(np.zeros(200, int), 1, said, ~said).tolist() == [1]


def test_the_groups_of_the_calibration_lesions_are_those_of_the_training_images():
    calibration = np.repeat(PIXELS[[0, -1]], 150, axis=0)  # the first kind and the last
    is_malignant = np.arange(300) % 10 == 0
    is_malignant[150:] = False
    fitted = fit_picture_groups(PIXELS, calibration, np.ones(300, bool), is_malignant)
    assert fitted.is_proven(PIXELS[[0, -1]]).tolist() == [False, True]
    assert fitted.proven.sum() == 1


# --- What a file keeps -----------------------------------------------------------------------
