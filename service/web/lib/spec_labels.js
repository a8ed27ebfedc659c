/** Short names for specs that are looked at together, as the API names the members of an experiment. */

/** Return a name for each spec: its scheme, and of all other fields but the seed those in which the specs differ. */
export function namesOf(specs) {
  const flat = specs.map((spec) => flattened(spec));
  const fields = [...new Set(flat.flatMap((one) => Object.keys(one)))];
  const differing = fields.filter(
    (name) => !/^(seed|init\.scheme)$/.test(name) && new Set(flat.map((one) => one[name])).size > 1,
  );
  return flat.map((one) =>
    [
      one["init.scheme"],
      ...differing.filter((name) => name in one).map((name) => `${name.split(".").at(-1)} ${one[name]}`),
    ].join(", "),
  );
}

function flattened(value, prefix = "") {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return { [prefix]: shown(value) };
  return Object.assign(
    {},
    ...Object.entries(value).map(([name, below]) => flattened(below, prefix ? `${prefix}.${name}` : name)),
  );
}

/** Return a value in short: [512, 512] -> "2 x 512", [256, 128] -> "256-128". */
export function shown(value) {
  if (!Array.isArray(value)) return String(value);
  return new Set(value).size === 1 ? `${value.length} x ${value[0]}` : value.join("-");
}
