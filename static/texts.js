// What the scripts say, as templates/texts.html has it.

const texts = document.getElementById("texts").content;

// Give the sentence of this key, its words in braces filled in.
export function text(key, values = {}) {
  const sentence = texts.querySelector(`[data-text="${key}"]`).textContent;
  return sentence.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}
