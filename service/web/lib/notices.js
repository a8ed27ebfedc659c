/** Notes in place of content: while it loads, while there is none, and when loading failed. */

import { button, element, fill, say } from "./dom.js";

/** Return a note that something is on its way. */
export function loading(what) {
  return element(
    "p",
    { class: "notice", role: "status" },
    element("span", { class: "spinner", "aria-hidden": "true" }),
    `Loading ${what} …`,
  );
}

/** Return a note that there is nothing yet, with what to do about it. */
export function empty(text, ...action) {
  return element("div", { class: "notice" }, element("p", {}, text), action);
}

/** Return an error with its cause and hint, and a button to try again, if that can help. */
export function failure(error, again = null) {
  const details = (error.errors ?? []).slice(1).map((one) => element("li", {}, `${one.pointer}: ${one.detail}`));
  return element(
    "div",
    { class: "notice failed", role: "alert" },
    element("p", {}, error.message),
    details.length > 0 && element("ul", {}, details),
    again && button("Try again", again),
  );
}

const turns = new WeakMap();

/**
 * Fill a node with what `build` makes of what `load` brings: a note while it loads, and the error if it fails. Only the last call
 * for a node fills it, and none does, or builds, after the signal has aborted.
 */
export async function fillLater(node, what, signal, load, build = (loaded) => loaded) {
  const turn = (turns.get(node) ?? 0) + 1;
  turns.set(node, turn);
  const isWanted = () => !signal.aborted && turns.get(node) === turn;
  fill(node, loading(what));
  try {
    const loaded = await load();
    if (isWanted()) fill(node, build(loaded));
  } catch (error) {
    if (isWanted())
      fill(
        node,
        failure(error, () => fillLater(node, what, signal, load, build)),
      );
  }
}

/** Carry out the action of a button, once at a time. An error is shown next to the button, which keeps the focus. */
export async function act(event, work, done = null) {
  const pressed = event.currentTarget;
  if (pressed.ariaDisabled === "true") return;
  pressed.ariaDisabled = "true";
  pressed.parentElement.querySelector(":scope > .refused")?.remove();
  try {
    await work();
    if (done) say(done);
  } catch (error) {
    pressed.after(element("span", { class: "refused", role: "alert" }, error.message));
  } finally {
    pressed.ariaDisabled = null;
  }
}
