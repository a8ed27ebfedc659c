/** The answers of models about one image, side by side: the digit and ten probabilities. */

import { element } from "../lib/dom.js";
import { percent, shortId } from "../lib/format.js";

/** Return the answers of several models; `label` is the right digit, where it is known. */
export function answerBars(answers, label = null) {
  return element(
    "div",
    { class: "answers" },
    answers.map((answer) => one(answer, label)),
  );
}

function one({ label: said, probabilities, model }, label) {
  const right = label === null ? null : said === label;
  const verdict =
    right === null
      ? null
      : element(
          "span",
          { class: `state ${right ? "succeeded" : "failed"}` },
          right ? "right" : `wrong: it is ${label}`,
        );
  const bars = probabilities.flatMap((share, digit) => {
    const bar = element("i");
    bar.style.width = `${100 * share}%`;
    return [
      element("dt", {}, String(digit)),
      element("dd", { class: `bar ${digit === said ? "best" : ""}` }, bar),
      element("dd", { class: "figure" }, percent(share, 1)),
    ];
  });
  return element(
    "article",
    { class: "answer", "aria-label": `Answer of ${model.scheme}` },
    element(
      "h3",
      {},
      `${model.scheme} `,
      element(
        "small",
        {},
        `${shortId(model.id)}${model.accuracy == null ? "" : `, ${percent(model.accuracy)} right on images that it had not seen`}`,
      ),
    ),
    element("p", { class: "row" }, element("span", { class: "big" }, String(said)), verdict),
    element("dl", { class: "bars" }, bars),
  );
}
