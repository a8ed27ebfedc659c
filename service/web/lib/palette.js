/**
 * Colours that people with colour blindness can tell apart (after Okabe and Ito 2008), from the style sheet; dashes and markers too.
 */

import { element } from "./dom.js";

const COLOURS = 7;
const DASHES = ["solid", "dash", "dot", "dashdot", "longdash"];
const MARKERS = ["circle", "square", "diamond", "triangle-up", "cross", "x", "star"];

/** Return how the group of a number is drawn: {colour, dash, marker}. After seven colours the dashes change. */
export function styleOf(number) {
  const round = Math.floor(number / COLOURS);
  return {
    colour: inkOf(`group-${number % COLOURS}`),
    dash: DASHES[round % DASHES.length],
    marker: MARKERS[(number + round) % MARKERS.length],
  };
}

/** Return a small patch in the colour of a group, for a legend. */
export function keyOf(number) {
  const key = element("i", { class: "key", "aria-hidden": "true" });
  key.style.background = `var(--group-${number % COLOURS})`;
  return key;
}

/** Return a colour, as `styleOf` and `inkOf` give it, with an opacity. */
export function faded(colour, opacity) {
  return colour.replace(/^rgb\((.*)\)$/, `rgba($1, ${opacity})`);
}

/** Say whether the page is dark now. */
function isDark() {
  const { theme } = document.documentElement.dataset;
  return theme === "dark" || (theme !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
}

/** Return the colour that a CSS variable of the style sheet has now. */
export function inkOf(name) {
  const probe = document.createElement("span");
  probe.style.color = `var(--${name})`;
  document.body.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

/** Return [r, g, b] of a weight between -1 and 1: blue below 0, the background at 0, orange above. */
export function diverging(value) {
  const ground = isDark() ? [22, 26, 32] : [255, 255, 255];
  const end = value < 0 ? (isDark() ? [86, 180, 233] : [0, 92, 160]) : isDark() ? [255, 150, 70] : [190, 80, 0];
  const share = Math.min(1, Math.abs(value));
  return ground.map((from, index) => Math.round(from + (end[index] - from) * share));
}
