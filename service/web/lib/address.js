/** The page's state in its address, after the #, so that a view can be shared, reloaded and kept as a bookmark. */

/** Return the view that the address names, and its parameters. */
export function read() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  return { view: path, params: new URLSearchParams(query) };
}

/** Return the address of a view; parameters that are empty or null are left out. */
export function link(view, params = {}) {
  const kept = Object.entries(params).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const query = new URLSearchParams(kept.map(([name, value]) => [name, String(value)]))
    .toString()
    .replaceAll("%2C", ",");
  return `#/${view}${query ? `?${query}` : ""}`;
}

/** Change parameters of the present view in the address, without a new history entry; null removes one. */
export function keep(changes) {
  const { view, params } = read();
  history.replaceState(null, "", link(view, { ...Object.fromEntries(params), ...changes }));
}

/** Go to a view. */
export function go(view, params = {}) {
  location.hash = link(view, params);
}

/** Return a parameter's comma-separated parts. */
export function list(params, name) {
  return (params.get(name) ?? "").split(",").filter(Boolean);
}
