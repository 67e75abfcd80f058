// What may be said about an image, given its probabilities: lesion_lens/model/decisions.py under the
// same names. The numbers and sentences are in `rules`, from lesion_lens/model/device_rules.py.
// tests/decision_cases.json checks that both give the same answers.

// The mean of the calibrated probabilities, seven for each view, corrected by its own temperature.
export function combineViews(views, temperature = 1) {
  const mean = Array.from(views[0], (_, label) => sum(views.map((view) => view[label])) / views.length);
  const most = Math.max(...mean);
  return shares(mean.map((probability) => (probability / most) ** (1 / temperature)));
}

// Everything that may be said about one image; null if the model file lacks the facts for it. `crop` is
// what was cut away, from cuts.js, or null for a whole picture.
export function decide(probabilities, rules, familiarity, proven, crop = null) {
  const { codes, malignant_codes, decision_facts: facts } = rules;
  const isMalignant = (label) => malignant_codes.includes(codes[label]);
  const labels = codes.map((_, label) => label);
  const cancers = labels.filter(isMalignant);
  const mostLikely = largest(probabilities);
  const risk = Math.min(sum(cancers.map((label) => probabilities[label])), 1); // rounding can exceed 1
  const statements = {
    most_likely: codes[mostLikely],
    malignant_probability: risk,
    likeliest_cancer: codes[cancers[largest(cancers.map((label) => probabilities[label]))]],
    flagged: null,
    cannot_be_excluded: null,
    inconclusive: null,
    low_risk: null,
    unproven: false,
    cropped: false,
  };
  if (facts === null) return statements;

  // The class that would be most likely if all were equally frequent.
  const named = largest(shares(labels.map((label) => probabilities[label] / facts.class_shares[label])));
  const inSet = labels.filter((label) => probabilities[label] >= facts.conformal_thresholds[label]);
  const notExcluded = labels.filter((label) => inSet.includes(label) || label === mostLikely);
  const malignant = notExcluded.filter(isMalignant).length;
  const isLow = facts.low_risk_threshold !== null
    && risk < facts.low_risk_threshold
    && (named === mostLikely || !isMalignant(named))
    && inSet.length > 0
    && malignant === 0
    && familiarity === "familiar";
  const isWhole = crop === null || crop.is_harmless;
  return {
    ...statements,
    flagged: named === mostLikely ? null : codes[named],
    cannot_be_excluded: notExcluded.sort((a, b) => probabilities[b] - probabilities[a]).map((label) => codes[label]),
    inconclusive: malignant > 0 && malignant < notExcluded.length,
    low_risk: isLow && proven === true && isWhole,
    unproven: isLow && proven === false,
    cropped: isLow && proven === true && !isWhole,
  };
}

// The word of rules.levels that sums up all statements.
export function riskLevel(statements, familiarity, rules) {
  const { most_likely, malignant_probability, low_risk } = statements;
  if (low_risk === null || familiarity === "not dermatoscopic") return "unknown";
  if (rules.malignant_codes.includes(most_likely) || malignant_probability >= rules.high_risk) return "high";
  return low_risk ? "low" : "raised";
}

// The sentence that says what to do and whom to see.
export function nextStep(level, statements, rules) {
  const { likeliest_cancer, malignant_probability } = statements;
  if (level === "high" && likeliest_cancer === "mel") return rules.next_steps["high, melanoma"];
  if (level === "unknown" && malignant_probability >= rules.high_risk) return rules.next_steps["unknown, high"];
  return rules.next_steps[level];
}

// The number that sorts the most urgent first: by level, then by decreasing malignant probability.
export function urgency(level, probability, rules) {
  return rules.levels.indexOf(level) + (1 - probability) / 2; // below the next level's numbers
}

// The place of the largest value; among equals, the first.
function largest(values) {
  return values.indexOf(Math.max(...values));
}

function shares(values) {
  const total = sum(values);
  return values.map((value) => value / total);
}

function sum(values) {
  return values.reduce((total, value) => total + value, 0);
}
