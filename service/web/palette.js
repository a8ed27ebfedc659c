/** Colours that people with colour blindness can tell apart (Okabe and Ito 2008), each with a dash and a marker of its own. */

const LIGHT = ["#0072b2", "#d55e00", "#00795a", "#a8467f", "#8a6100", "#1f7fb8", "#555555"];
const DARK = ["#56b4e9", "#ff8a3d", "#2fc99b", "#e59ac6", "#e6b840", "#9ad0f5", "#bbbbbb"];
const DASHES = ["solid", "dash", "dot", "dashdot", "longdash"];
const MARKERS = ["circle", "square", "diamond", "triangle-up", "cross", "x", "star"];

/** Return how the group of a number is drawn: {colour, dash, marker}. After seven colours the dashes change. */
export function styleOf(number) {
    const colours = isDark() ? DARK : LIGHT;
    const round = Math.floor(number / colours.length);
    return {
        colour: colours[number % colours.length],
        dash: DASHES[round % DASHES.length],
        marker: MARKERS[(number + round) % MARKERS.length],
    };
}

/** Return a colour with an opacity, as rgba(). */
export function faded(colour, opacity) {
    const parts = [1, 3, 5].map((start) => parseInt(colour.slice(start, start + 2), 16));
    return `rgba(${parts.join(", ")}, ${opacity})`;
}

/** Say whether the page is dark now. */
export function isDark() {
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
