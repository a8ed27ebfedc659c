/** An experiment again, at seeds that it has not had. */

import { go } from "../lib/address.js";
import { submitExperiment } from "../lib/api.js";
import { button } from "../lib/dom.js";
import { randomKey } from "../lib/idempotency_key.js";
import { act } from "../lib/notices.js";

/** Return the button that submits an experiment's request with as many other seeds, and then shows the new one. */
export function repeatButton({ request, members, labels }) {
  const used = [...new Set(members.map(({ seed }) => seed))];
  const seeds = used.map((_, index) => Math.max(...used) + 1 + index);
  const repeat = async () => {
    const experiment = await submitExperiment({ ...request, seeds, labels }, randomKey());
    go("watch", { experiment: experiment.id });
  };
  const label = seeds.length === 1 ? `Again at seed ${seeds[0]}` : `Again at seeds ${seeds[0]} to ${seeds.at(-1)}`;
  return button(label, (event) => act(event, repeat), { class: "quiet" });
}
