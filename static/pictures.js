// Numbers that describe a picture, like lesion_lens/model/pictures.py and `features` of outliers.py.
// A picture is 28 × 28 × 3 numbers, RGB row by row, 0–255. A mask has 1 or 0 for each pixel. `limits`
// are the constants of those modules, from rules.picture_limits of lesion_lens/model/device_rules.py.

// The mask of the part that is not a black frame, bars or dark corners: 0 for black pixels that are
// connected to the edge by black ones, and for their neighbours. All 1 for a picture that is nearly all
// black.
export function fieldOfView(pixels, { side, black, least_view }) {
  const frame = new Uint8Array(side * side);
  const waiting = [];
  const visit = (x, y) => {
    const i = y * side + x;
    if (x < 0 || y < 0 || x >= side || y >= side || frame[i]) return;
    if (Math.max(pixels[3 * i], pixels[3 * i + 1], pixels[3 * i + 2]) >= black) return;
    frame[i] = 1;
    waiting.push([x, y]);
  };
  for (let k = 0; k < side; k += 1) {
    [0, side - 1].forEach((edge) => {
      visit(k, edge);
      visit(edge, k);
    });
  }
  const inside = new Uint8Array(side * side).fill(1);
  while (waiting.length) {
    const [x, y] = waiting.pop();
    visit(x - 1, y);
    visit(x + 1, y);
    visit(x, y - 1);
    visit(x, y + 1);
    for (let v = Math.max(y - 1, 0); v <= Math.min(y + 1, side - 1); v += 1) {
      for (let u = Math.max(x - 1, 0); u <= Math.min(x + 1, side - 1); u += 1) inside[v * side + u] = 0;
    }
  }
  return mean(inside) < least_view ? inside.fill(1) : inside;
}

// The picture with its frame filled with the mean colour of what is inside.
export function fillFrame(pixels, inside) {
  const weights = weightsOf(inside);
  const colour = [0, 1, 2].map((channel) => weighted(weights, (i) => pixels[3 * i + channel]));
  return Float64Array.from(pixels, (level, k) => (inside[Math.floor(k / 3)] ? level : colour[k % 3]));
}

// The share of the inside that is flat: of nearly the same colour as its neighbours.
export function flatShare(pixels, inside, { side, same_levels }) {
  const flat = inside.slice();
  for (const [here, there] of pairs(side, 1)) {
    const isSame = [0, 1, 2].every((c) => Math.abs(pixels[3 * here + c] - pixels[3 * there + c]) <= same_levels);
    if (!isSame) flat[here] = flat[there] = 0;
  }
  return sum(flat) / sum(inside);
}

// Seven numbers: the means along the colour axes, the logarithms of the standard deviations along them,
// and the logarithm of the steps in brightness between neighbours. The frame counts, too.
export function features(pixels, limits) {
  const everywhere = new Uint8Array(limits.side ** 2).fill(1);
  const colours = coloursOf(pixels, limits.colour_axes);
  const contrasts = colours.map((values) => Math.sqrt(meanSquare(centred(values, mean(values)))));
  contrasts.push(rootMeanSquareStep(colours[0], everywhere, 1, limits.side));
  return [...colours.map(mean), ...contrasts.map((contrast) => Math.log(contrast + limits.least_contrast))];
}

// Seventeen numbers about the inside; pictures.py explains them.
export function describe(pixels, inside, limits) {
  const { side, lags, least_contrast, least_variance, least_kurtosis, most_correlation } = limits;
  const weights = weightsOf(inside);
  const over = (values) => weighted(weights, (i) => values[i]);
  const colours = coloursOf(pixels, limits.colour_axes);
  const means = colours.map(over);
  const away = colours.map((values, axis) => centred(values, means[axis]));
  const variances = away.map((values) => over(values.map((value) => value ** 2)));
  const kurtosis = away.map((values, axis) => (
    over(values.map((value) => value ** 4)) / (variances[axis] + least_variance) ** 2
  ));
  const steps = lags.map((lag) => rootMeanSquareStep(colours[0], inside, lag, side));
  const distances = squaredDistances(side);
  const outward = centred(distances, over(distances));
  const covariance = over(outward.map((value, i) => value * away[0][i]));
  const spread = Math.sqrt(over(outward.map((value) => value ** 2)) * (variances[0] + least_variance));
  const correlation = Math.min(Math.max(covariance / spread, -most_correlation), most_correlation);
  return [
    ...means,
    ...variances.map((variance) => Math.log(Math.sqrt(variance) + least_contrast)),
    ...steps.map((step) => Math.log(step + least_contrast)),
    ...kurtosis.map((value) => Math.log(value + least_kurtosis)),
    Math.atanh(correlation),
    ...away.map((values) => {
      const shown = values.map((value, i) => value * inside[i]);
      return Math.asin(Math.sqrt(symmetricShare(shown, side, least_variance)));
    }),
  ];
}

// The values along each of three axes of colour.
function coloursOf(pixels, axes) {
  return axes.map(([red, green, blue]) => (
    Float64Array.from({ length: pixels.length / 3 }, (_, i) => (
      red * pixels[3 * i] + green * pixels[3 * i + 1] + blue * pixels[3 * i + 2]
    ))
  ));
}

// Squared distances from the middle of a picture, in units of half its side.
function squaredDistances(side) {
  const from = (k) => (2 * k) / (side - 1) - 1;
  return Float64Array.from({ length: side * side }, (_, i) => from(i % side) ** 2 + from(Math.floor(i / side)) ** 2);
}

// The share of the variance that remains in the mean of the eight views.
function symmetricShare(away, side, leastVariance) {
  const last = side - 1;
  const at = (x, y) => away[y * side + x];
  const upright = (x, y) => at(x, y) + at(last - x, y) + at(x, last - y) + at(last - x, last - y);
  const average = away.map((_, i) => {
    const [x, y] = [i % side, Math.floor(i / side)];
    return (upright(x, y) + upright(y, x)) / 8;
  });
  return Math.min(meanSquare(average) / (meanSquare(away) + leastVariance), 1); // above 1 only by rounding
}

// The root mean square of the steps over `lag` pixels, down and across together.
function rootMeanSquareStep(brightness, inside, lag, side) {
  const squares = { down: 0, across: 0 };
  const counts = { down: 0, across: 0 };
  for (const [here, there, way] of pairs(side, lag)) {
    if (!inside[here] || !inside[there]) continue;
    squares[way] += (brightness[here] - brightness[there]) ** 2;
    counts[way] += 1;
  }
  return Math.sqrt(squares.down / Math.max(counts.down, 1) + squares.across / Math.max(counts.across, 1));
}

// All pairs of pixels that are `lag` apart, down or across.
function* pairs(side, lag) {
  for (let i = 0; i < side * side; i += 1) {
    if (i + lag * side < side * side) yield [i + lag * side, i, "down"];
    if ((i % side) + lag < side) yield [i + lag, i, "across"];
  }
}

// The weights of a mask, summing to 1.
function weightsOf(inside) {
  const count = sum(inside);
  return Float64Array.from(inside, (value) => value / count);
}

function weighted(weights, valueOf) {
  return weights.reduce((total, weight, i) => total + weight * valueOf(i), 0);
}

function centred(values, middle) {
  return values.map((value) => value - middle);
}

function meanSquare(values) {
  return mean(values.map((value) => value * value));
}

function mean(values) {
  return sum(values) / values.length;
}

function sum(values) {
  return values.reduce((total, value) => total + value, 0);
}
