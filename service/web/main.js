/** The frame of the page: which view is shown, light or dark, whether the service answers, and its key. */

import * as address from "./address.js";
import { isAlive, useKey } from "./api.js";
import { button, element, field, fill, say } from "./dom.js";
import { redrawAll } from "./charts.js";

const VIEWS = { start: "Start", watch: "Watch", understand: "Understand", try: "Try", models: "Models" };
const THEMES = { auto: "Theme: as the system", light: "Theme: light", dark: "Theme: dark" };
const ALIVE_INTERVAL_MS = 2000;

let leaving = new AbortController();

/** Show the view that the address names. A view gets its container, its parameters, and a signal that it is left. */
async function show() {
    const { view, params } = address.read();
    const name = view in VIEWS ? view : "start";
    leaving.abort();
    leaving = new AbortController();
    const { signal } = leaving;
    document.title = `${VIEWS[name]} · Fanin`;
    showTabs(name);
    const container = element("div", { class: `view ${name}` });
    fill(document.getElementById("main"), container);
    const { open } = await import(`./views/${name}.js`);
    if (!signal.aborted) open(container, params, signal);
}

function showTabs(present) {
    const tabs = Object.entries(VIEWS).map(([name, title]) =>
        element("a", { href: address.link(name), "aria-current": name === present && "page" }, title),
    );
    fill(document.getElementById("views"), tabs);
}

function setUpTheme() {
    const control = document.getElementById("theme");
    const names = Object.keys(THEMES);
    const use = (theme) => {
        localStorage.setItem("fanin.theme", theme);
        document.documentElement.dataset.theme = theme;
        control.textContent = THEMES[theme];
        redrawAll();
    };
    control.addEventListener("click", () => use(names[(names.indexOf(document.documentElement.dataset.theme) + 1) % names.length]));
    use(names.includes(localStorage.getItem("fanin.theme")) ? localStorage.getItem("fanin.theme") : "auto");
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redrawAll);
}

function setUpOfflineBanner() {
    const banner = document.getElementById("offline");
    let asking = null;
    addEventListener("fanin-silent", () => {
        banner.textContent = "The service does not answer. What is shown may be old; it is asked again every two seconds.";
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
    addEventListener("fanin-key-needed", () => {
        if (document.querySelector("dialog[open]")) return;
        const input = element("input", { type: "password", autocomplete: "current-password", required: true });
        const dialog = element(
            "dialog",
            { "aria-label": "Key of the service" },
            element(
                "form",
                {
                    onsubmit: (event) => {
                        event.preventDefault();
                        useKey(input.value);
                        dialog.close();
                        show();
                    },
                },
                element("p", {}, "This service needs its key, the value of FANIN_API_KEY. It is kept until this tab is closed."),
                field("Key", input),
                element("p", { class: "row" }, element("button", {}, "Use it"), button("Not now", () => dialog.close(), { class: "quiet" })),
            ),
        );
        dialog.addEventListener("close", () => dialog.remove());
        document.body.append(dialog);
        dialog.showModal();
    });
}

setUpTheme();
setUpOfflineBanner();
setUpKey();
addEventListener("hashchange", show);
show();
