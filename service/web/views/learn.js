/** Learn: seven steps on why initialization matters. Each has a text, a formula, a guess, a run, and an exercise. */

import { FORMULAS } from "../lessons/formulas.js";
import { LANGUAGES, textsFor, useLanguage } from "../lessons/languages.js";
import { STEPS } from "../lessons/steps.js";
import { go, link } from "../lib/address.js";
import { choice, element, fill } from "../lib/dom.js";
import { lessonRun } from "../panels/lesson_run.js";

const PROGRESS = "fanin.lesson";

/** Open the view in a container, until `signal` aborts. */
export function open(container, params, signal) {
  const texts = textsFor(params);
  const number = Math.max(
    0,
    STEPS.findIndex((step) => step.name === params.get("step")),
  );
  const step = STEPS[number];
  const progress = readProgress();
  const to = (name) => link("learn", { step: name, lang: params.get("lang") });
  const score = element("p", { class: "faint", role: "status" });
  const list = element("ol", { class: "steps" });
  const showProgress = () => {
    fill(list, ...itemsOf(texts, number, progress, to));
    const guesses = Object.values(progress);
    score.textContent = guesses.length ? texts.page.score(guesses.filter(Boolean).length, guesses.length) : "";
  };
  const keepGuess = (isRight) => {
    progress[step.name] = isRight;
    localStorage.setItem(PROGRESS, JSON.stringify(progress));
    showProgress();
  };
  const run = lessonRun(step, texts, keepGuess, signal);
  container.lang = texts.code;
  showProgress();
  fill(
    container,
    headOf(texts, step),
    element("nav", { "aria-label": texts.page.steps }, list),
    element(
      "div",
      { class: "columns" },
      textOf(texts, step, number),
      element("section", { class: "card", "aria-label": texts.page.guess }, run.node, score),
    ),
    element("section", { class: "view", "aria-label": texts.page.pictures }, run.pictures),
    turns(texts, number, to),
  );
}

/** Return which guesses were right, by the steps' names. */
function readProgress() {
  try {
    const found = JSON.parse(localStorage.getItem(PROGRESS) ?? "{}");
    return Object.fromEntries(
      STEPS.filter(({ name }) => name in found).map(({ name }) => [name, found[name] === true]),
    );
  } catch {
    return {};
  }
}

function headOf({ page, code }, step) {
  const languages = choice(
    LANGUAGES.map((one) => [one.code, one.name]),
    code,
    (chosen) => {
      useLanguage(chosen);
      go("learn", { step: step.name, lang: chosen });
    },
    { "aria-label": page.language },
  );
  return element(
    "div",
    { class: "row apart" },
    element("div", {}, element("h1", {}, page.title), element("p", { class: "faint" }, page.intro)),
    languages,
  );
}

function itemsOf({ steps }, present, progress, to) {
  return STEPS.map(({ name }, number) =>
    element(
      "li",
      {},
      element("a", { href: to(name), "aria-current": number === present && "step" }, steps[name].title),
      name in progress && element("span", { class: progress[name] ? "good" : "bad" }, progress[name] ? " ✓" : " ✕"),
    ),
  );
}

function textOf({ page, steps }, { name, source }, number) {
  const [title, address] = source;
  const { title: heading, text } = steps[name];
  return element(
    "section",
    { class: "card lesson", "aria-label": heading },
    element("p", { class: "faint" }, page.step(number + 1, STEPS.length)),
    element("h2", {}, heading),
    text.map((paragraph) => element("p", {}, paragraph)),
    FORMULAS[name](),
    element(
      "p",
      { class: "faint" },
      `${page.source}: `,
      element("a", { href: address, rel: "noreferrer", target: "_blank" }, title),
    ),
  );
}

function turns({ page }, number, to) {
  const turn = (other, label, kind) =>
    STEPS[other] && element("a", { class: kind, href: to(STEPS[other].name) }, label);
  return element(
    "nav",
    { class: "row apart", "aria-label": `${page.previous}, ${page.next}` },
    turn(number - 1, page.previous, "button quiet") ?? element("span"),
    turn(number + 1, page.next, "button") ?? element("a", { class: "button", href: link("start") }, page.free),
  );
}
