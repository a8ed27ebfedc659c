/** What is shown where there is nothing to show: while something loads, where nothing is there yet, and where it failed. */

import { button, element, fill, say } from "./dom.js";

/** Return a note that something is on its way. */
export function loading(what) {
    return element("p", { class: "notice", role: "status" }, element("span", { class: "spinner", "aria-hidden": "true" }), `Loading ${what} …`);
}

/** Return a note that there is nothing yet, with what to do about it. */
export function empty(text, ...action) {
    return element("div", { class: "notice" }, element("p", {}, text), action);
}

/** Return an error with its cause and mend, and a button to try again, if that can help. */
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

/**
 * Fill a node with what `make` returns, once it has it: a note while it works, and the error if it fails.
 * What comes after the signal has aborted is dropped.
 */
export async function fillLater(node, what, signal, make) {
    fill(node, loading(what));
    try {
        const made = await make();
        if (!signal.aborted) fill(node, made);
    } catch (error) {
        if (!signal.aborted) fill(node, failure(error, () => fillLater(node, what, signal, make)));
    }
}

/** Do something that a click asks for; the button is off meanwhile, and an error is told beside it. */
export async function act(event, work, done = null) {
    const pressed = event.currentTarget;
    pressed.disabled = true;
    pressed.parentElement.querySelector(":scope > .refused")?.remove();
    try {
        await work();
        if (done) say(done);
    } catch (error) {
        pressed.after(element("span", { class: "refused", role: "alert" }, error.message));
    } finally {
        pressed.disabled = false;
    }
}
