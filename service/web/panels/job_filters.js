/** Which jobs a list shows and in which order, and the deletion of all that it finds. */

import { deleteJobs, listSchemes } from "../lib/api.js";
import { button, choice, element, field, fill, say } from "../lib/dom.js";
import { counted } from "../lib/format.js";
import { failure } from "../lib/notices.js";

const STATES = ["queued", "running", "paused", "succeeded", "failed", "cancelled"];
const ORDERS = [
  ["", "newest first"],
  ["created_at", "oldest first"],
  ["-accuracy", "most accurate first"],
  ["loss", "lowest loss first"],
];
const FILTERS = ["state", "scheme", "label"];
const KEPT_SHOWN = 5;

/**
 * Return {node, remove}: the fields, and the button that deletes what they find. `state` has the values of state, scheme, label and
 * sort, which `turn(changes)` changes; `deleted()` is called when jobs have been deleted.
 */
export function jobFilters(state, turn, deleted) {
  const changed = (name) => (value) => {
    turn({ [name]: value, after: "" });
    remove.disabled = !FILTERS.some((filter) => state[filter]);
  };
  const schemes = choice([["", "any"]], "", changed("scheme"));
  listSchemes().then(
    (found) => schemes.append(...found.data.map(({ name }) => option(name, state.scheme))),
    () => {}, // the list goes without
  );
  const label = element("input", {
    type: "text",
    value: state.label,
    placeholder: "course:a",
    size: "12",
    maxlength: "127",
    onchange: (event) => changed("label")(event.target.value.trim()),
  });
  const query = () => Object.fromEntries(FILTERS.map((name) => [name, state[name]]).filter(([, value]) => value));
  const remove = button("Delete these …", () => openDeletion(query(), deleted), {
    class: "quiet",
    disabled: !FILTERS.some((filter) => state[filter]),
  });
  const states = choice([["", "any"], ...STATES.map((name) => [name, name])], state.state, changed("state"));
  const node = element(
    "div",
    { class: "row" },
    field("State", states),
    field("Scheme", schemes),
    field("Label", label),
    field("Order", choice(ORDERS, state.sort, changed("sort"))),
  );
  return { node, remove };
}

function option(name, selected) {
  return element("option", { value: name, selected: name === selected }, name);
}

/** Ask the service what the filter would delete, show it in a dialog, and delete it there. */
async function openDeletion(query, deleted) {
  const content = element("div", {}, "Looking …");
  const dialog = element("dialog", { "aria-label": "Delete jobs", onclose: () => dialog.remove() }, content);
  const close = button("Keep them", () => dialog.close(), { class: "quiet" });
  document.body.append(dialog);
  dialog.showModal();
  try {
    const { jobs, kept, has_more: hasMore } = await deleteJobs({ ...query, dry_run: true });
    const filter = Object.entries(query).map(([name, value]) => `${name} ${value}`);
    const remove = button(`Delete ${counted(jobs.length, "job")}`, async () => {
      remove.disabled = true;
      try {
        const done = await deleteJobs({ ...query, dry_run: false });
        say(`${counted(done.jobs.length, "job")} deleted.`);
        dialog.close();
        deleted();
      } catch (error) {
        fill(content, failure(error), close);
      }
    });
    remove.disabled = jobs.length === 0;
    fill(
      content,
      element("h2", {}, "Delete jobs"),
      element("p", {}, `${counted(jobs.length, "job")} of ${filter.join(", ")}, with models, metrics and events.`),
      hasMore && element("p", {}, "There are more; they can be deleted after these."),
      kept.length > 0 &&
        element(
          "div",
          {},
          element("p", {}, "Kept:"),
          element(
            "ul",
            {},
            kept.slice(0, KEPT_SHOWN).map(({ reason }) => element("li", {}, reason)),
          ),
        ),
      element("p", { class: "row" }, remove, close),
    );
    close.focus();
  } catch (error) {
    fill(content, failure(error), close);
  }
}
