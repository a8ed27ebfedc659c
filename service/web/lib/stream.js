/** Following events as they happen: server-sent events over fetch, which can send a key (EventSource cannot). */

const FIRST_RETRY_MS = 500;
const MAX_RETRY_MS = 8000;

/**
 * Follow a stream until it has ended or the signal aborts; after a break go on from the last event.
 *
 * `open(lastId, signal)` returns the response of a stream. `onEvents` gets a list of events at a time, as they arrive together;
 * `onState` gets "live", "lost" or "ended". Starts after the event `since`, and returns the id of the last event it has seen.
 */
export async function follow(open, { onEvents, onState, signal, since = null }) {
  let lastId = since;
  let retryMs = FIRST_RETRY_MS;
  while (!signal.aborted) {
    try {
      const response = await open(lastId, signal);
      if (response.status === 204) {
        onState("ended");
        return lastId;
      }
      onState("live");
      for await (const events of batches(response.body)) {
        retryMs = FIRST_RETRY_MS;
        if (events.length) lastId = events.at(-1).id;
        if (events.length && !signal.aborted) onEvents(events);
      }
      continue; // it was closed in order: asking again tells whether it has ended
    } catch (error) {
      if (signal.aborted) return lastId;
      if (error.status !== undefined && error.status < 500) throw error;
      onState("lost");
    }
    await new Promise((resolve) => setTimeout(resolve, retryMs));
    retryMs = Math.min(2 * retryMs, MAX_RETRY_MS);
  }
  return lastId;
}

/** Yield the events of each piece of a stream, as lists. */
async function* batches(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    yield blocks.map(eventIn).filter((event) => event !== null);
  }
}

function eventIn(block) {
  const line = block.split("\n").find((one) => one.startsWith("data: "));
  return line === undefined ? null : JSON.parse(line.slice(6));
}
