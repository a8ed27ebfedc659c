/** Watch: all jobs and experiments; or one experiment, or some jobs, as they train. */

import { list } from "../lib/address.js";
import { openOverview } from "./watch/overview.js";
import { openTraining } from "./watch/training.js";

/** Open the view in a container, until `signal` aborts. */
export function open(container, params, signal) {
  const jobs = list(params, "jobs");
  const experiment = params.get("experiment");
  if (experiment || jobs.length) openTraining(container, { experiment, jobs }, params, signal);
  else openOverview(container, params, signal);
}
