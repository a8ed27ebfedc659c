/** Building drawings as SVG. */

const NAMESPACE = "http://www.w3.org/2000/svg";

/** Return a new element of SVG with attributes and children. */
export function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS(NAMESPACE, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  made.append(...children.flat());
  return made;
}
