/** Asking models about the present picture: one request at a time, the newest picture last. */

import { answerBars } from "../charts/probability_bars.js";
import { predict } from "../lib/api.js";
import { element, fill } from "../lib/dom.js";
import { percent } from "../lib/format.js";
import { empty, failure } from "../lib/notices.js";
import { pictureOf } from "./drawing_board.js";

/** The source of no picture. */
export const EMPTY = { kind: "empty" };

/**
 * Return a function that posts the present picture to the models: one request at a time, the newest picture last. Screen readers
 * hear the answer once the pen is lifted.
 */
export function asker(state, places, signal) {
  let isAsking = false;
  let isWanted = false;
  let isSpoken = false;
  return async function ask(isDone) {
    isWanted = true;
    isSpoken = isDone;
    if (isAsking) return;
    isAsking = true;
    while (isWanted && !signal.aborted) {
      isWanted = false;
      await askOnce(state, places, isSpoken, signal);
    }
    isAsking = false;
  };
}

async function askOnce(state, { seen, answers, spoken, inside }, isSpoken, signal) {
  const { source } = state;
  if (source === EMPTY || (source.kind === "drawing" && state.board.isBlank())) return undefined;
  if (state.models.length === 0) return void fill(answers, empty("Choose at least one model."));
  const isOld = () => signal.aborted || state.source !== source;
  try {
    const { content, type, pixels, isFitted } = contentOf(state);
    const found = await predict(content, type, { models: state.models.join(","), fit: isFitted || null });
    if (isOld()) return undefined;
    const { label = null } = source;
    const picture = found.answers[0].seen ?? pixels;
    const inverted = found.answers[0].inverted ? "The picture was dark on light, so the service inverted it." : "";
    fill(
      seen,
      picture && pictureOf(picture, { class: "seen pixels", "aria-label": "The 28x28 picture that the network saw" }),
      inverted,
      warnings(found.warnings),
    );
    fill(answers, answerBars(found.answers, label));
    inside.show({ model: state.models[0], content, type, fit: isFitted || null });
    if (isSpoken)
      spoken.textContent = found.answers
        .map((one) => `${one.model.scheme} says ${one.label}, ${percent(Math.max(...one.probabilities), 0)}`)
        .join("; ");
  } catch (error) {
    if (isOld()) return undefined;
    for (const place of [seen, spoken]) fill(place);
    inside.show(null);
    fill(answers, failure(error));
  }
  return undefined;
}

/** Return the request body: the whole picture if the service fits it, else 784 grey levels. */
function contentOf({ source, isFitted, board: pen }) {
  if (source.kind === "file") return { content: source.content, type: source.type, pixels: null, isFitted };
  if (source.kind === "drawing" && isFitted)
    return { content: pen.npy(), type: "application/x-npy", pixels: null, isFitted };
  const pixels = source.kind === "digit" ? Uint8Array.from(source.pixels.flat()) : pen.pixels();
  return { content: pixels, type: "application/octet-stream", pixels, isFitted: false };
}

function warnings(list) {
  return (list ?? []).map((one) => element("p", { class: "notice" }, one.detail));
}
