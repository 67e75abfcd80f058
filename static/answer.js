// Everything that is said about one image: `Answer` of lesion_lens/model/classifier.py.
import { combineViews, decide, nextStep, riskLevel, urgency } from "./decisions.js";

// `prediction` is from occlusion.js, `judged` from familiarity.js, `crop` from cuts.js or null.
export function answerOf(prediction, judged, crop, facts) {
  const { rules } = facts;
  const { familiarity, reason, distance, proven, lacks_rules } = judged;
  const temperature = rules.decision_facts?.eight_view_temperature ?? 1;
  const probabilities = combineViews(prediction.views, temperature);
  const statements = decide(probabilities, rules, familiarity, proven, crop);
  const level = riskLevel(statements, familiarity, rules);
  return {
    probabilities,
    statements,
    familiarity,
    reason,
    distance,
    lacks_rules,
    occlusion: prediction.occlusion,
    crop,
    risk_level: level,
    next_step: nextStep(level, statements, rules),
    urgency: urgency(level, statements.malignant_probability, rules),
  };
}
