/** The frame of the page: which view is shown, light or dark, whether the service answers, and its key. */

import { redrawAll, redrawNow } from "./charts/plotly_chart.js";
import * as address from "./lib/address.js";
import { isAlive, Offline, useKey } from "./lib/api.js";
import { button, element, field, fill, say } from "./lib/dom.js";
import { failure } from "./lib/notices.js";

const VIEWS = {
  learn: "Learn",
  start: "Start",
  watch: "Watch",
  understand: "Understand",
  try: "Try",
  models: "Models",
};
const WITHOUT_A_TAB = { handout: "Handout" };
const THEMES = { auto: "Theme: as the system", light: "Theme: light", dark: "Theme: dark" };
const ALIVE_INTERVAL_MS = 2000;

let leaving = new AbortController();

/** Show the view that the address names. A view gets its container, its parameters, and a signal that it is left. */
async function show() {
  const { view, params } = address.read();
  const titles = { ...VIEWS, ...WITHOUT_A_TAB };
  const name = Object.hasOwn(titles, view) ? view : "learn";
  leaving.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  document.title = `${titles[name]} · Fanin`;
  showTabs(name);
  const container = element("div", { class: `view ${name}` });
  fill(document.getElementById("main"), container);
  const loaded = await import(`./views/${name}.js`).catch(() => null);
  if (signal.aborted) return;
  // A browser may remember that a file could not be had, so that only a new page asks for it again.
  if (loaded === null)
    fill(
      container,
      failure(new Offline(), () => location.reload()),
    );
  else loaded.open(container, params, signal);
}

/** Load the other views while the first is looked at: they are there if the service then does not answer. */
function loadViews() {
  const load = async () => {
    for (const name of Object.keys(VIEWS)) await import(`./views/${name}.js`).catch(() => {});
  };
  (globalThis.requestIdleCallback ?? setTimeout)(load);
}

const tabs = new Map(
  Object.entries(VIEWS).map(([name, title]) => [name, element("a", { href: address.link(name) }, title)]),
);

function showTabs(present) {
  const nav = document.getElementById("views");
  if (!nav.children.length) fill(nav, [...tabs.values()]);
  for (const [name, tab] of tabs) {
    if (name === present) tab.setAttribute("aria-current", "page");
    else tab.removeAttribute("aria-current");
  }
}

/** Move the focus to the top of the new view if the focused element was part of the previous view. */
function keepFocus() {
  if (document.activeElement === document.body) document.getElementById("main").focus({ preventScroll: true });
}

/** Redraw what is painted in the colours of the theme; style sheets apply to the rest. */
function repaint() {
  redrawAll();
  dispatchEvent(new Event("fanin-theme"));
}

function setUpTheme() {
  const control = document.getElementById("theme");
  const names = Object.keys(THEMES);
  const use = (theme) => {
    localStorage.setItem("fanin.theme", theme);
    document.documentElement.dataset.theme = theme;
    control.textContent = THEMES[theme];
    repaint();
  };
  control.addEventListener("click", () =>
    use(names[(names.indexOf(document.documentElement.dataset.theme) + 1) % names.length]),
  );
  use(names.includes(localStorage.getItem("fanin.theme")) ? localStorage.getItem("fanin.theme") : "auto");
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
}

/** Paper is white: what is painted in the colours of the theme is painted in light ones while the page is printed. */
function setUpPrinting() {
  const { dataset } = document.documentElement;
  let before = dataset.theme;
  const paint = (theme) => {
    dataset.theme = theme;
    redrawNow();
    dispatchEvent(new Event("fanin-theme"));
  };
  addEventListener("beforeprint", () => {
    before = dataset.theme;
    paint("light");
  });
  addEventListener("afterprint", () => paint(before));
}

function setUpOfflineBanner() {
  const banner = document.getElementById("offline");
  let asking = null;
  addEventListener("fanin-silent", () => {
    banner.textContent = "The service does not answer. The page may be out of date; it retries every 2 s.";
    banner.hidden = false;
    asking ??= setInterval(() => isAlive().catch(() => {}), ALIVE_INTERVAL_MS);
  });
  addEventListener("fanin-answered", () => {
    if (banner.hidden) return;
    banner.hidden = true;
    clearInterval(asking);
    asking = null;
    say("The service answers again.");
  });
}

function setUpKey() {
  const banner = element(
    "p",
    { class: "banner", hidden: true },
    "This service needs its key. ",
    button("Give the key", () => askForKey(), { class: "quiet small" }),
  );
  document.getElementById("offline").after(banner);
  let isGiven = false;
  function askForKey() {
    banner.hidden = true;
    const input = element("input", { type: "password", autocomplete: "current-password", required: true });
    const use = (event) => {
      event.preventDefault();
      useKey(input.value);
      isGiven = true;
      dialog.close("used");
      show();
    };
    const dialog = element(
      "dialog",
      { "aria-label": "Key of the service" },
      element(
        "form",
        { onsubmit: use },
        isGiven && element("p", { class: "refused", role: "alert" }, "That key was refused."),
        element(
          "p",
          {},
          "This service needs its key, the value of FANIN_API_KEY. It is kept until this tab is closed.",
        ),
        field("Key", input),
        element(
          "p",
          { class: "row" },
          element("button", {}, "Use it"),
          button("Not now", () => dialog.close(), { class: "quiet" }),
        ),
      ),
    );
    dialog.addEventListener("close", () => {
      banner.hidden = dialog.returnValue === "used";
      dialog.remove();
    });
    document.body.append(dialog);
    dialog.showModal();
  }
  addEventListener("fanin-key-needed", () => {
    if (banner.hidden && !document.querySelector("dialog[open]")) askForKey();
  });
}

setUpTheme();
setUpPrinting();
setUpOfflineBanner();
setUpKey();
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // its #main would be read as a view
  document.getElementById("main").focus();
});
addEventListener("hashchange", () => show().then(keepFocus));
show().then(loadViews);
