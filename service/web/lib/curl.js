/** The request behind a view as a curl command: whatever the page does, a shell can do. */

import { hasKey } from "./api.js";
import { button, say } from "./dom.js";

/** Return a button that copies the command of a request; `describe` returns {method, path, body, file} when it is pressed. */
export function copyAsCurl(describe) {
  return button(
    "Copy as curl",
    async () => {
      const command = curlOf(describe());
      try {
        await navigator.clipboard.writeText(command);
        say("The curl command is copied.");
      } catch {
        prompt("Copy the command:", command);
      }
    },
    { class: "quiet" },
  );
}

/** Return a request as a curl command for a POSIX shell; `file` stands for bytes that are read from a file. */
export function curlOf({ method = "GET", path, body, file, accept }) {
  const parts = ["curl -sS"];
  if (method !== "GET" && !((body || file) && method === "POST")) parts.push(`-X ${method}`);
  if (hasKey()) parts.push('-H "Authorization: Bearer $FANIN_API_KEY"');
  if (accept) parts.push(`-H ${quoted(`Accept: ${accept}`)}`);
  if (accept === "text/event-stream") parts.push("-N");
  if (body) parts.push("-H 'Content-Type: application/json'", `-d ${quoted(JSON.stringify(body))}`);
  if (file) parts.push(`--data-binary @${file}`);
  return [...parts, quoted(new URL(path, location.origin).href)].join(" ");
}

function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
