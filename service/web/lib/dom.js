/** Building the page's elements. Text is always set as text, never as HTML. */

import { saveCsv } from "./csv.js";

/**
 * Return a new element. Attributes: a function under `on...` listens (`onclick`), `true` sets an empty attribute, `false`,
 * `null` and `undefined` leave it out. Children: nodes, texts, or lists of them; empty ones are left out.
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...listed(children));
  return made;
}

/** Put children in place of all that a node holds. */
export function fill(node, ...children) {
  node.replaceChildren(...listed(children));
  return node;
}

const SAID_MS = 6000;
let silence = 0;

/** Tell a short message: it is shown at the foot of the page for some seconds, and read out by screen readers. */
export function say(text) {
  const place = document.getElementById("said");
  place.textContent = text;
  clearTimeout(silence);
  silence = setTimeout(() => place.replaceChildren(), SAID_MS);
}

/** Return a button. */
export function button(label, onclick, attributes = {}) {
  return element("button", { type: "button", onclick, ...attributes }, label);
}

/** Return a labelled field: a label, the control in it, and a hint. */
export function field(label, control, hint = null) {
  return element("label", { class: "field" }, element("span", {}, label), control, hint && element("small", {}, hint));
}

/** Return a box in which something wide, such as a table, is scrolled sideways, by keys too. */
export function scrolled(name, kind, ...children) {
  return element("div", { class: `scroll ${kind}`, role: "region", "aria-label": name, tabindex: "0" }, children);
}

/**
 * Return a table in a box that scrolls. Rows are a list of them, or a tbody. Heads that `figures` matches stand over numbers. On a
 * phone a table of kind "cards" shows each row as a card.
 */
export function tableOf(name, heads, rows, { caption = null, kind = "", figures = /^$/ } = {}) {
  const cells = heads.map((head) => element("th", { scope: "col", class: figures.test(head) && "figure" }, head));
  const table = element(
    "table",
    {},
    caption && element("caption", {}, caption),
    element("thead", {}, element("tr", {}, cells)),
    Array.isArray(rows) ? element("tbody", {}, rows) : rows,
  );
  return element(
    "div",
    { class: "tabled" },
    scrolled(name, kind, table),
    element("p", { class: "savers" }, csvButton(name, table)),
  );
}

/** Return the button that saves a table as it stands, without what is only pressed in it. */
function csvButton(name, table) {
  const save = () => {
    const heads = [...table.tHead.rows[0].cells].map((cell) => cell.textContent);
    const isText = heads.map((head) => head !== "Actions");
    // biome-ignore lint/performance/useDomNodeTextContent: what stands apart in a cell is to be apart in the file
    const kept = (cells) => [...cells].filter((_, index) => isText[index]).map((cell) => cell.innerText.trim());
    saveCsv(
      name,
      heads.filter((_, index) => isText[index]),
      [...table.tBodies[0].rows].map((row) => kept(row.cells)),
    );
  };
  return button("CSV", save, { class: "quiet small", "aria-label": `${name} as CSV` });
}

/** Return the buttons of a list in pages: `after` is where this page starts, and `turn(after)` shows another. */
export function pager(page, after, turn, { first = "Newest", next = "Older" } = {}) {
  return [
    after && button(first, () => turn(""), { class: "quiet" }),
    page.has_more && button(next, () => turn(page.next), { class: "quiet" }),
  ];
}

/** Return a select of [value, text] pairs. */
export function choice(options, value, onchange, attributes = {}) {
  const made = element("select", { onchange: () => onchange(made.value), ...attributes });
  made.append(...options.map(([key, text]) => element("option", { value: key, selected: key === value }, text)));
  return made;
}

function listed(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
}
