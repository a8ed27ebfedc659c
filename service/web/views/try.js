/** Try: draw a digit, or bring a picture of one, and read what several models make of it. */

import { keep, link, list } from "../lib/address.js";
import { listDatasets, testDigit } from "../lib/api.js";
import { copyAsCurl } from "../lib/curl.js";
import { button, element, fill } from "../lib/dom.js";
import { act, empty, failure, fillLater } from "../lib/notices.js";
import { asker, EMPTY } from "../panels/digit_question.js";
import { board, PEN, pictureOf } from "../panels/drawing_board.js";
import { insidePanel } from "../panels/inside_panel.js";
import { bestAndFailed, choosableModels } from "../panels/model_picker.js";
import { postedOf } from "../panels/photo.js";

const MAX_MODELS = 16;
const MODELS_AT_FIRST = 12;
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
  const inside = insidePanel(signal);
  const ask = asker(state, { seen, answers, spoken, inside }, signal);
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
  const wipe = () => {
    for (const place of [seen, answers, spoken]) fill(place);
    inside.show(null);
  };
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
    element("section", { class: "card", "aria-label": "Inside" }, inside.node),
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
