// The texts of the scripts, from templates/texts.html.

const texts = document.getElementById("texts").content;

// Return the sentence of this key, with the words in braces filled in.
export function text(key, values = {}) {
  const sentence = texts.querySelector(`[data-text="${key}"]`).textContent;
  return sentence.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}
