/** A view as a file that opens without the service: its styles in it, its charts as pictures, nothing to press. */

const GONE = "button, input, select, textarea, .button, .savers, .replay, .field, script, dialog";
const OF_FILES = "img { max-width: 100%; height: auto; }";
const SETTLED_MS = 300;
const WAIT_MS = 15_000;

/** Return the HTML of what a node shows. Waits until its charts are drawn; they are painted in light colours. */
export async function staticPageOf(node, title) {
  await settled(node);
  dispatchEvent(new Event("beforeprint")); // what is painted gets the colours of paper
  try {
    const copy = node.cloneNode(true);
    await replaceCharts(node, copy);
    replaceCanvases(node, copy);
    for (const part of copy.querySelectorAll(GONE)) part.remove();
    for (const details of copy.querySelectorAll("details")) details.setAttribute("open", "");
    for (const anchor of copy.querySelectorAll('a[href^="#"], a[href^="/"]')) anchor.replaceWith(...anchor.childNodes);
    return [
      "<!doctype html>",
      '<html lang="en" data-theme="light"><head><meta charset="utf-8">',
      '<meta name="viewport" content="width=device-width">',
      `<title>${escaped(title)}</title><style>${stylesOf(document)}\n${OF_FILES}</style></head>`,
      `<body><main>${new XMLSerializer().serializeToString(copy)}</main></body></html>\n`,
    ].join("\n");
  } finally {
    dispatchEvent(new Event("afterprint"));
  }
}

/** Wait until nothing loads and no chart is empty any more, but not for ever. */
async function settled(node) {
  const until = Date.now() + WAIT_MS;
  const isWaiting = () =>
    node.querySelector(".spinner") || node.querySelector(".plot:not(.js-plotly-plot)") || !node.querySelector(".plot");
  do await new Promise((resolve) => setTimeout(resolve, SETTLED_MS));
  while (isWaiting() && Date.now() < until);
}

async function replaceCharts(node, copy) {
  const copies = [...copy.querySelectorAll(".plot")];
  for (const [index, plot] of [...node.querySelectorAll(".plot")].entries()) {
    if (!plot.classList.contains("js-plotly-plot")) continue;
    const { width, height } = plot.getBoundingClientRect();
    const address = await globalThis.Plotly.toImage(plot, { format: "svg", width, height });
    copies[index].replaceWith(pictureOf(address, plot.getAttribute("aria-label"), width));
  }
}

function replaceCanvases(node, copy) {
  const copies = [...copy.querySelectorAll("canvas")];
  for (const [index, canvas] of [...node.querySelectorAll("canvas")].entries())
    copies[index].replaceWith(
      pictureOf(canvas.toDataURL(), canvas.getAttribute("aria-label"), canvas.getBoundingClientRect().width),
    );
}

function pictureOf(address, text, width) {
  const picture = document.createElement("img");
  picture.src = address;
  picture.alt = text ?? "";
  picture.width = Math.round(width);
  return picture;
}

function stylesOf({ styleSheets }) {
  return [...styleSheets].flatMap((sheet) => [...sheet.cssRules].map((rule) => rule.cssText)).join("\n");
}

function escaped(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}
