/** Plays recorded curves again: play, pause, a step back or forward, and a slider over the epochs. */

import { button, element } from "../lib/dom.js";

const STEPS = 40;
const PLAY_MS = 8000;

/** Return {node, until, show}: `until()` is the epoch up to which curves are drawn, and `show(most)` sets the last epoch there is. */
export function replayControl(changed, signal) {
  let most = 0;
  let step = STEPS;
  let timer = 0;
  const slider = element("input", {
    type: "range",
    min: 0,
    max: STEPS,
    value: STEPS,
    "aria-label": "Epochs that are shown",
    oninput: () => moveTo(Number(slider.value)),
  });
  const at = element("output", { class: "faint" });
  const play = button("Play again", () => (timer ? pause() : start()), { class: "quiet small" });
  const moveBy = (label, by) =>
    button(label, () => moveTo(step + by), { class: "quiet small", "aria-label": by < 0 ? "Step back" : "Step on" });
  const node = element("div", { class: "row replay", hidden: true }, play, moveBy("‹", -1), slider, moveBy("›", 1), at);
  function pause() {
    clearInterval(timer);
    timer = 0;
    play.textContent = "Play again";
  }
  function start() {
    if (step >= STEPS) set(0);
    timer = setInterval(() => (step < STEPS ? set(step + 1) : pause()), PLAY_MS / STEPS);
    play.textContent = "Pause";
  }
  function moveTo(to) {
    pause();
    set(to);
  }
  function set(to) {
    step = Math.min(STEPS, Math.max(0, to));
    slider.value = String(step);
    say();
    changed();
  }
  function say() {
    at.textContent = step < STEPS ? `up to epoch ${until().toFixed(1)} of ${most}` : `all of ${most} epochs`;
  }
  const until = () => (step < STEPS ? (step / STEPS) * most : Number.POSITIVE_INFINITY);
  signal.addEventListener("abort", pause);
  return {
    node,
    until,
    show(last) {
      node.hidden = last === 0;
      if (last === most) return;
      most = last;
      say();
    },
  };
}
