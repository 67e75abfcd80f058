// Whether the model knows this kind of picture, and if not, why: lesion_lens/model/familiarity.py with
// outliers.py, other_pictures.py and picture_groups.py. `rules` is from
// lesion_lens/model/device_rules.py; a rule that the model file lacks is null.
import { describe, features, fieldOfView, fillFrame, flatShare } from "./pictures.js";

// What is said about one picture, 28 × 28 × 3 numbers; null if the rule for it is missing.
export function judge(pixels, rules) {
  const { outliers, others, groups } = rules;
  const inside = fieldOfView(pixels, rules.picture_limits);
  const described = features(pixels, rules.picture_limits);
  const distance = outliers && distanceOf(described, outliers);
  let familiarity = null;
  if (outliers) familiarity = distance <= outliers.threshold ? "familiar" : "unfamiliar";
  if (others && isOther(pixels, inside, rules)) familiarity = "not dermatoscopic";
  return {
    familiarity,
    reason: familiarity === "unfamiliar" ? reasonOf(pixels, inside, described, rules) : null,
    distance,
    proven: groups && groups.proven[groupOf(described, groups)] === 1,
    lacks_rules: !outliers || !others || !groups,
  };
}

// The key in rules.reasons for what most sets an unfamiliar picture apart.
function reasonOf(pixels, inside, described, { outliers, outlier_limits, picture_limits }) {
  const { column_groups, small_frame, large_part } = outlier_limits;
  const left = column_groups.map(({ columns }) => distanceWithout(columns, described, outliers));
  const least = Math.min(...left);
  if (outside(inside) > small_frame) {
    const filled = distanceOf(features(fillFrame(pixels, inside), picture_limits), outliers);
    if (filled <= outliers.threshold || filled < least) return "frame";
  }
  if (flatShare(pixels, inside, picture_limits) > large_part) return "one colour";
  const { columns, too_little, too_much } = column_groups[left.indexOf(least)];
  const away = outliers.means.map((mean) => difference(described, mean));
  const squares = away.map((one) => squaredDistance(one, outliers.covariance));
  const nearest = away[squares.indexOf(Math.min(...squares))];
  // Whether it is too much or too little, given the other numbers.
  const givenOthers = eliminate(outliers.covariance, nearest).solved;
  return columns.reduce((total, column) => total + givenOthers[column], 0) > 0 ? too_much : too_little;
}

// The Mahalanobis distance from the class with the nearest mean.
function distanceOf(described, { means, covariance }) {
  const squares = means.map((mean) => squaredDistance(difference(described, mean), covariance));
  return Math.sqrt(Math.max(Math.min(...squares), 0)); // rounding may turn 0 into a little less
}

function distanceWithout(columns, described, { means, covariance }) {
  const keep = (values) => values.filter((_, column) => !columns.includes(column));
  return distanceOf(keep(described), { means: means.map(keep), covariance: keep(covariance).map(keep) });
}

// Whether it is not a dermatoscopic image. A picture whose score is NaN is not one either.
function isOther(pixels, inside, { others, other_limits, picture_limits }) {
  const { farthest, frame_discount, most_flat } = other_limits;
  if (flatShare(pixels, inside, picture_limits) > most_flat) return true;
  const standard = describe(pixels, inside, picture_limits).map((value, i) => (
    Math.min(Math.max((value - others.centre[i]) / others.scale[i], -farthest), farthest)
  ));
  const products = standard.flatMap((value, i) => standard.slice(i).map((other) => value * other));
  const terms = [1, ...standard, ...products];
  const odds = terms.reduce((total, term, i) => total + term * others.weights[i], 0);
  return !(odds - frame_discount * outside(inside) <= others.threshold);
}

// The group that a picture most likely belongs to. Each group is a Gaussian with a share.
function groupOf(described, { means, covariances, shares }) {
  const likelihoods = shares.map((share, group) => {
    const away = difference(described, means[group]);
    const { logDeterminant } = eliminate(covariances[group], away);
    return Math.log(share) - (squaredDistance(away, covariances[group]) + logDeterminant) / 2;
  });
  return likelihoods.indexOf(Math.max(...likelihoods));
}

function outside(inside) {
  return 1 - inside.reduce((total, value) => total + value, 0) / inside.length;
}

function difference(a, b) {
  return a.map((value, i) => value - b[i]);
}

function squaredDistance(away, covariance) {
  const { solved } = eliminate(covariance, away);
  return away.reduce((total, value, i) => total + value * solved[i], 0);
}

// Gaussian elimination: the x for which matrix · x = values. A covariance needs no pivoting, because it
// is positive definite.
function eliminate(matrix, values) {
  const rows = matrix.map((row, i) => [...row, values[i]]);
  rows.forEach((pivot, k) => {
    for (const row of rows.slice(k + 1)) {
      const factor = row[k] / pivot[k];
      for (let column = k; column < row.length; column += 1) row[column] -= factor * pivot[column];
    }
  });
  const solved = new Array(rows.length).fill(0);
  for (let k = rows.length - 1; k >= 0; k -= 1) {
    const known = solved.reduce((total, value, i) => total + value * rows[k][i], 0); // x of k is still 0
    solved[k] = (rows[k].at(-1) - known) / rows[k][k];
  }
  return { solved, logDeterminant: rows.reduce((total, row, k) => total + Math.log(row[k]), 0) };
}
