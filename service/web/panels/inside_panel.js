/** What happens inside of a model while it answers: opened on demand, and drawn again with each picture. */

import { signalPath } from "../charts/signal_path.js";
import { pathOf } from "../lib/api.js";
import { element, fill } from "../lib/dom.js";
import { failure } from "../lib/notices.js";

/** Return {node, show}; `show({model, content, type, fit})` draws the path of a picture through a model if the panel is open. */
export function insidePanel(signal) {
  const place = element("div", { class: "view" });
  const name = element("strong", {}, "the first model");
  let wanted = null;
  let turn = 0;
  const node = element(
    "details",
    { ontoggle: () => node.open && draw() },
    element("summary", {}, "Inside of ", name, ": the path of this picture"),
    element(
      "p",
      { class: "faint" },
      "A line is a weight times the activation of the unit on its left. Orange and solid: it raises the unit on its right. Blue and dashed: it lowers it. Only the strongest lines are drawn, from the answer back to the first hidden layer. Below them is every unit of every layer.",
    ),
    place,
  );
  async function draw() {
    if (wanted === null) return;
    const mine = ++turn;
    const { model, content, type, fit } = wanted;
    try {
      const path = await pathOf(model, content, type, { fit });
      if (mine !== turn || signal.aborted) return;
      name.textContent = path.model.scheme;
      fill(place, signalPath(path));
    } catch (error) {
      if (mine === turn && !signal.aborted) fill(place, failure(error));
    }
  }
  return {
    node,
    show(asked) {
      wanted = asked;
      if (asked === null) fill(place);
      else if (node.open) draw();
    },
  };
}
