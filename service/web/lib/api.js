/**
 * The service's public API: every request that the page sends goes through this file. Each operation is named by its method
 * and path as openapi.json has them; a test holds them against it.
 */

const KEY = "fanin.key";

/** An error that the service explains: `message` names the cause and the hint. */
export class Problem extends Error {
  constructor(status, document) {
    super(document.detail);
    this.status = status;
    this.errors = document.errors ?? [];
  }
}

/** The service does not answer at all. */
export class Offline extends Error {
  constructor() {
    super("The service does not answer. Is it running, and is this machine on its network?");
  }
}

/** Say whether a key is sent. */
export const hasKey = () => sessionStorage.getItem(KEY) !== null;

/** Remember the service's key until the browser's tab is closed. */
export function useKey(key) {
  sessionStorage.setItem(KEY, key);
}

export const listSchemes = () => call("GET", "/init-schemes");
export const preview = (scheme, body) => call("POST", `/init-schemes/${safe(scheme)}/preview`, { body });
export const phaseDiagram = (body) => call("POST", "/theory/phase", { body });
export const listDatasets = () => call("GET", "/datasets");
export const testDigit = (dataset, index) => call("GET", `/datasets/${safe(dataset)}/test/${safe(index)}`);

export const estimate = (body) => call("POST", "/jobs", { query: { validate_only: true }, body });
export const submitJob = (body, key) => call("POST", "/jobs", { body, headers: { "Idempotency-Key": key } });
export const listJobs = (query) => call("GET", "/jobs", { query });
export const getJob = (id) => call("GET", `/jobs/${safe(id)}`);
export const diagnosticsOf = (id, query) => call("GET", `/jobs/${safe(id)}/diagnostics`, { query });
export const checkpointsOf = (id) => call("GET", `/jobs/${safe(id)}/checkpoints`);
export const cancelJob = (id) => call("POST", `/jobs/${safe(id)}/cancel`);
export const pauseJob = (id) => call("POST", `/jobs/${safe(id)}/pause`);
export const resumeJob = (id) => call("POST", `/jobs/${safe(id)}/resume`);
export const retryJob = (id) => call("POST", `/jobs/${safe(id)}/retry`);
export const editJob = (id, changes, condition) =>
  call("PATCH", `/jobs/${safe(id)}`, { body: changes, headers: condition });
export const deleteJob = (id) => call("DELETE", `/jobs/${safe(id)}`);
export const deleteJobs = (query) => call("DELETE", "/jobs", { query });

export const listRecipes = () => call("GET", "/recipes");
export const submitExperiment = (body, key) =>
  call("POST", "/experiments", { body, headers: { "Idempotency-Key": key } });
export const listExperiments = (query) => call("GET", "/experiments", { query });
export const getExperiment = (id) => call("GET", `/experiments/${safe(id)}`);
export const eventsOfExperiment = (id, query) => call("GET", `/experiments/${safe(id)}/events`, { query });
export const comparisonOf = (id) => call("GET", `/experiments/${safe(id)}/comparison`);
export const comparisonTableOf = (id) =>
  call("GET", `/experiments/${safe(id)}/comparison`, { accept: "text/csv", as: "blob" });
export const refineExperiment = (id) => call("POST", `/experiments/${safe(id)}/refine`);
export const editExperiment = (id, changes, condition) =>
  call("PATCH", `/experiments/${safe(id)}`, { body: changes, headers: condition });
export const cancelExperiment = (id) => call("POST", `/experiments/${safe(id)}/cancel`);

export const listModels = (query) => call("GET", "/models", { query });
export const getModel = (id) => call("GET", `/models/${safe(id)}`);
export const evaluationOf = (id) => call("GET", `/models/${safe(id)}/evaluation`);
export const mistakesOf = (id, query) => call("GET", `/models/${safe(id)}/mistakes`, { query });
export const weightsOf = (id, format) => call("GET", `/models/${safe(id)}/weights`, { query: { format }, as: "blob" });
export const weightBytesOf = (id, first, last) =>
  call("GET", `/models/${safe(id)}/weights`, { headers: { Range: `bytes=${first}-${last}` }, as: "arrayBuffer" });
export const distributionsOf = (id) => call("GET", `/models/${safe(id)}/distributions`);
export const pathOf = (id, content, type, query) =>
  call("POST", `/models/${safe(id)}/path`, { query, content, headers: { "Content-Type": type } });
export const samplesOf = (id, query) => call("GET", `/models/${safe(id)}/samples`, { query });
export const predict = (content, type, query) =>
  call("POST", "/predict", { query, content, headers: { "Content-Type": type } });

export const listAliases = (query) => call("GET", "/aliases", { query });
export const setAlias = (name, model, condition) =>
  call("PUT", `/aliases/${safe(name)}`, { body: { model }, headers: condition });
export const deleteAlias = (name, version) =>
  call("DELETE", `/aliases/${safe(name)}`, { headers: { "If-Match": `"${version}"` } });

export const isAlive = () => call("GET", "/healthz");

/** Open the stream of events of an experiment, or of up to 100 jobs: returns the response. */
export const streamOfExperiment = (id, lastId, signal) =>
  call("GET", `/experiments/${safe(id)}/events`, streaming(lastId, signal));
export const streamOfJobs = (ids, lastId, signal) =>
  call("GET", "/events", { query: { job: ids.join(",") }, ...streaming(lastId, signal) });

/** Give all items of a list, page after page, to a limit. */
export async function everyPage(list, query = {}, most = 1000) {
  const found = [];
  for (let after = ""; found.length < most && after !== null; ) {
    const page = await list({ ...query, limit: 100, after });
    found.push(...page.data);
    after = page.next;
  }
  return found;
}

const safe = encodeURIComponent;

function streaming(lastId, signal) {
  const since = lastId === null ? {} : { "Last-Event-ID": String(lastId) };
  return { headers: { Accept: "text/event-stream", ...since }, as: "response", signal };
}

/**
 * Send one request. Raises `Problem`, `Offline`, or the signal's AbortError.
 * @param {string} method
 * @param {string} path
 * @param {{query?: object, body?: object, content?: BodyInit, headers?: object, accept?: string, as?: string, signal?: AbortSignal}} [options]
 */
async function call(
  method,
  path,
  { query = {}, body, content, headers = {}, accept = "application/json", as = "json", signal } = {},
) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const address = given.length ? `${path}?${new URLSearchParams(given)}` : path;
  const key = sessionStorage.getItem(KEY);
  const all = { Accept: accept, ...(key ? { Authorization: `Bearer ${key}` } : {}), ...headers };
  if (body !== undefined) all["Content-Type"] = "application/json";
  const response = await sent(address, {
    method,
    headers: all,
    body: body === undefined ? content : JSON.stringify(body),
    signal,
  });
  if (!response.ok) throw await problemIn(response);
  if (as === "response") return response;
  const answer = await response[as]();
  return answer.object === "list" ? { ...answer, next: cursorIn(response) } : answer;
}

/** Return where the next page of a list starts, null after the last one. */
function cursorIn(response) {
  const next = /<([^>]*)>; rel="next"/.exec(response.headers.get("Link") ?? "");
  return next && new URL(next[1], location.origin).searchParams.get("after");
}

async function sent(address, request) {
  try {
    const response = await fetch(address, request);
    dispatchEvent(new Event("fanin-answered"));
    return response;
  } catch (error) {
    if (error.name === "AbortError") throw error;
    dispatchEvent(new Event("fanin-silent"));
    throw new Offline();
  }
}

async function problemIn(response) {
  const document = await response.json().catch(() => ({ detail: `The service answered ${response.status}.` }));
  if (response.status === 401) dispatchEvent(new Event("fanin-key-needed"));
  return new Problem(response.status, document);
}
