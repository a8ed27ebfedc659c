/** The name, the note and the labels of a job or an experiment: shown, and changed under its version. */

import { button, element, field, fill } from "../lib/dom.js";
import { act } from "../lib/notices.js";

/** Return labels as small texts. */
export function labelsOf(labels) {
  return Object.entries(labels).map(([key, value]) => element("span", { class: "tag" }, `${key}: ${value}`));
}

/**
 * Return the place where a job or an experiment is described. `edit(changes, condition)` sends a change and returns the thing as it
 * then is; `saved(thing)` is called with it.
 */
export function descriptionPanel(thing, edit, saved) {
  const node = element("div", { class: "description" });
  const show = (now) => fill(node, shownPart(now), editor(now, edit, done));
  const done = (then) => {
    show(then);
    saved(then);
  };
  show(thing);
  return node;
}

function shownPart({ note, labels }) {
  return [
    note && element("p", { class: "note" }, note),
    Object.keys(labels).length > 0 && element("p", { class: "row" }, labelsOf(labels)),
  ];
}

function editor(thing, edit, done) {
  const name = element("input", { type: "text", maxlength: "100", value: thing.name ?? "" });
  const note = element("textarea", { maxlength: "2000", rows: "3" }, thing.note ?? "");
  const labels = element("input", {
    type: "text",
    value: Object.entries(thing.labels)
      .map(([key, value]) => `${key}:${value}`)
      .join(", "),
    placeholder: "course:a, week:3",
  });
  const save = async () => {
    const wanted = labelsIn(labels.value);
    const gone = Object.keys(thing.labels).filter((key) => !(key in wanted));
    const changes = { labels: { ...wanted, ...Object.fromEntries(gone.map((key) => [key, null])) } };
    if (name.value.trim() !== (thing.name ?? "")) changes.name = name.value.trim() || null;
    if (note.value.trim() !== (thing.note ?? "")) changes.note = note.value.trim() || null;
    const version = { "If-Match": `"${thing.version}"` };
    done(await edit(changes, version).catch(inWords));
  };
  return element(
    "details",
    {},
    element("summary", {}, "Name, note and labels"),
    field("Name", name),
    field("Note", note),
    field("Labels", labels, "key:value, separated by commas; at most 16."),
    element(
      "p",
      { class: "row" },
      button("Save", (event) => act(event, save, "Saved.")),
    ),
  );
}

function inWords(error) {
  throw error.status === 412 ? new Error("It has been changed elsewhere. Reload the page to see how.") : error;
}

/** Return the labels of a text such as "course:a, week:3". Raises an error for a part without a colon. */
export function labelsIn(text) {
  const parts = text
    .split(",")
    .map((part) => part.trim())
    .filter(Boolean);
  return Object.fromEntries(
    parts.map((part) => {
      const colon = part.indexOf(":");
      if (colon < 1) throw new Error(`“${part}” is no label: write key:value.`);
      return [part.slice(0, colon).trim(), part.slice(colon + 1).trim()];
    }),
  );
}
