/** Try: draw a digit, or bring a picture of one, and read what several models make of it. */

import { answerBars } from "../charts/probability_bars.js";
import { keep, link, list } from "../lib/address.js";
import { listDatasets, predict, testDigit } from "../lib/api.js";
import { copyAsCurl } from "../lib/curl.js";
import { button, element, fill } from "../lib/dom.js";
import { percent } from "../lib/format.js";
import { act, empty, failure, fillLater } from "../lib/notices.js";
import { board, PEN, pictureOf } from "../panels/drawing_board.js";
import { bestAndFailed, choosableModels } from "../panels/model_picker.js";
import { postedOf } from "../panels/photo.js";

const MAX_MODELS = 16;
const MODELS_AT_FIRST = 12;
const EMPTY = { kind: "empty" };
const LAST_DRAWING = "fanin.drawing";

/** Open the view in a container, until `signal` aborts. */
export function open(container, params, signal) {
  const load = () => Promise.all([choosableModels(), listDatasets()]);
  fillLater(container, "the models", signal, load, ([models, datasets]) => {
    if (models.length === 0)
      return empty("No model yet: train one first.", element("a", { class: "button", href: link("start") }, "Start"));
    const dataset = datasets.data.find((one) => one.available)?.name;
    return page(models, dataset, params, signal);
  });
}

function page(models, dataset, params, signal) {
  const chosen = list(params, "models").slice(0, MAX_MODELS);
  const state = {
    models: chosen.length ? chosen : bestAndFailed(models),
    isFitted: params.get("fit") !== "no",
    source: EMPTY,
  };
  const seen = element("div", { class: "view" });
  const answers = element("div", { class: "view" });
  const spoken = element("p", { class: "faint", role: "status" });
  const ask = asker(state, { seen, answers, spoken }, signal);
  state.board = board((isDone) => {
    if (state.source.kind !== "drawing") {
      state.source = { kind: "drawing" };
      keep({ digit: null });
    }
    if (isDone) sessionStorage.setItem(LAST_DRAWING, state.board.dataUrl());
    ask(isDone);
  });
  const sources = sourcesOf(state, dataset, ask, signal);
  takeDropsAndPastes(state.board.node, sources.takeFile, signal);
  if (params.get("digit") && dataset)
    sources.takeDigit(params.get("digit")).catch((error) => fill(answers, failure(error)));
  else takeLastDrawing(state, ask, signal);
  const wipe = () => [seen, answers, spoken].map((place) => fill(place));
  const clear = () => {
    sources.clear();
    wipe();
  };
  const undo = () => {
    if (!sources.undo()) return;
    if (state.board.isBlank()) wipe();
    ask(true);
  };
  const left = inputs(state, dataset, { ...sources, clear, undo }, ask);
  const right = element(
    "div",
    { class: "view" },
    spoken,
    element("h2", {}, "What the network saw"),
    seen,
    element("h2", {}, "What models say"),
    answers,
  );
  return [
    element(
      "section",
      { class: "card", "aria-label": "Digit" },
      element("h1", {}, "Draw a digit"),
      element("div", { class: "board" }, left, right),
    ),
    element("section", { class: "card", "aria-label": "Models" }, modelChips(models, state, ask)),
  ];
}

/** Show what was drawn before the reader left the page, and ask about it; a blank drawing asks nothing. */
function takeLastDrawing(state, ask, signal) {
  const kept = sessionStorage.getItem(LAST_DRAWING);
  if (kept === null) return;
  const picture = new Image();
  picture.onload = () => {
    if (signal.aborted || state.source !== EMPTY) return;
    state.board.paint(picture);
    state.source = { kind: "drawing" };
    ask(true);
  };
  picture.src = kept;
}

/** Return the ways to get a picture {upload, takeFile, takeDigit, clear, undo}; each new picture is posted. */
function sourcesOf(state, dataset, ask, signal) {
  const use = (source) => {
    state.source = source;
    keep({ digit: source.kind === "digit" ? source.index : null });
    return ask(true);
  };
  const takeFile = async (file) => {
    const bitmap = await createImageBitmap(file).catch(() => null);
    if (signal.aborted) return;
    if (bitmap) state.board.paint(bitmap);
    else state.board.clear(); // the browser cannot read the file; the response of the service says why
    await use({ kind: "file", ...postedOf(file, bitmap) });
  };
  const takeDigit = async (index) => {
    const digit = await testDigit(dataset, index);
    if (signal.aborted) return;
    state.board.paint(pictureOf(digit.pixels));
    await use({ kind: "digit", ...digit });
  };
  const upload = element("input", {
    type: "file",
    accept: "image/*",
    "aria-label": "Upload a picture of a digit",
    onchange: (event) => event.target.files[0] && takeFile(event.target.files[0]),
  });
  const clear = () => {
    state.board.clear();
    upload.value = "";
    state.source = EMPTY;
    sessionStorage.removeItem(LAST_DRAWING);
    keep({ digit: null });
  };
  const undo = () => {
    if (!state.board.undo()) return false;
    upload.value = "";
    state.source = { kind: "drawing" };
    sessionStorage.setItem(LAST_DRAWING, state.board.dataUrl());
    keep({ digit: null });
    return true;
  };
  return { upload, takeFile, takeDigit, clear, undo };
}

/** Return the board with its buttons, and the other ways to bring a picture. */
function inputs(state, dataset, sources, ask) {
  const fit = element("input", {
    type: "checkbox",
    checked: state.isFitted,
    onchange: () => {
      state.isFitted = fit.checked;
      keep({ fit: fit.checked ? null : "no" });
      ask(true);
    },
  });
  const path = () =>
    `/predict?models=${state.models.join(",")}${state.isFitted && state.source.kind !== "digit" ? "&fit=true" : ""}`;
  const tools = element(
    "div",
    { class: "row" },
    button("Undo", sources.undo, { class: "quiet" }),
    button("Clear", sources.clear, { class: "quiet" }),
    dataset && button("Random test digit", (event) => act(event, () => sources.takeDigit("random"))),
    copyAsCurl(() => ({ method: "POST", path: path(), file: "digit.png" })),
  );
  const pen = element("input", {
    type: "range",
    ...PEN,
    oninput: () => state.board.setPen(pen.valueAsNumber),
  });
  return element(
    "div",
    { class: "view" },
    state.board.node,
    tools,
    element("label", { class: "row" }, "Pen width", pen),
    element(
      "label",
      { class: "field" },
      element("span", {}, "or a picture: upload, drop on the board, or paste"),
      sources.upload,
    ),
    element("label", { class: "check" }, fit, "crop, scale and centre it as MNIST was made"),
  );
}

function modelChips(models, state, ask) {
  const known = [...models];
  for (const id of state.models) if (!known.some((one) => one.id === id)) known.unshift({ id, text: id });
  const first = known.filter((one, index) => index < MODELS_AT_FIRST || state.models.includes(one.id));
  const place = element("div", { class: "chips" });
  const limit = () => {
    for (const box of place.querySelectorAll("input")) box.disabled = !box.checked && state.models.length >= MAX_MODELS;
  };
  const show = (shown) => {
    fill(
      place,
      shown.map(({ id, text }) => {
        const box = element("input", {
          type: "checkbox",
          checked: state.models.includes(id),
          onchange: () => {
            state.models = box.checked ? [...state.models, id] : state.models.filter((one) => one !== id);
            keep({ models: state.models.join(",") });
            limit();
            ask(true);
          },
        });
        return element("label", { class: "chip" }, box, text);
      }),
      shown.length < known.length && button(`Show all ${known.length}`, () => show(known), { class: "quiet small" }),
    );
    limit();
  };
  show(first);
  return element("fieldset", {}, element("legend", {}, `Ask up to ${MAX_MODELS} models`), place);
}

/**
 * Return a function that posts the present picture to the models: one request at a time, the newest picture last. Screen readers
 * hear the answer once the pen is lifted.
 */
function asker(state, places, signal) {
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

async function askOnce(state, { seen, answers, spoken }, isSpoken, signal) {
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
    if (isSpoken)
      spoken.textContent = found.answers
        .map((one) => `${one.model.scheme} says ${one.label}, ${percent(Math.max(...one.probabilities), 0)}`)
        .join("; ");
  } catch (error) {
    if (isOld()) return undefined;
    for (const place of [seen, spoken]) fill(place);
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

function takeDropsAndPastes(target, takeFile, signal) {
  target.addEventListener("dragover", (event) => {
    event.preventDefault();
    target.classList.add("over");
  });
  target.addEventListener("dragleave", () => target.classList.remove("over"));
  target.addEventListener("drop", (event) => {
    event.preventDefault();
    target.classList.remove("over");
    if (event.dataTransfer.files[0]) takeFile(event.dataTransfer.files[0]);
  });
  const onPaste = (event) => {
    const file = [...(event.clipboardData?.files ?? [])].find((one) => one.type.startsWith("image/"));
    if (file) takeFile(file);
  };
  document.addEventListener("paste", onPaste, { signal });
}
