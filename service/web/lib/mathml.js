/** Formulas as MathML, which browsers typeset themselves: no fonts, no markup of text, no inline styles. */

const NAMESPACE = "http://www.w3.org/1998/Math/MathML";

/** Return an element of MathML. Children: nodes, or texts. */
function node(tag, ...children) {
  const made = document.createElementNS(NAMESPACE, tag);
  made.append(...children);
  return made;
}

/** Return a symbol in upright or slanted letters, as MathML has it. */
export const letter = (name) => node("mi", name);
export const digits = (text) => node("mn", text);
export const sign = (text) => node("mo", text);
export const words = (text) => node("mtext", text);

/** Return parts one after another; plain texts are signs. */
export const row = (...parts) => node("mrow", ...parts.map((part) => (typeof part === "string" ? sign(part) : part)));
export const below = (base, index) => node("msub", base, index);
export const raised = (base, power) => node("msup", base, power);
export const fraction = (above, under) => node("mfrac", above, under);
export const root = (...parts) => node("msqrt", ...parts.map((part) => (typeof part === "string" ? sign(part) : part)));
export const over = (base, accent) => node("mover", base, sign(accent));

/** Return a sum over an index. */
export const sumOver = (index) => node("munder", sign("∑"), letter(index));

/** Return a formula on a line of its own, which `words` read aloud. */
export function formula(spoken, ...parts) {
  const made = node("math", row(...parts));
  made.setAttribute("display", "block");
  made.setAttribute("aria-label", spoken);
  return made;
}
