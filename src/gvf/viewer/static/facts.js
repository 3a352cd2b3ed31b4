// What is known about an asset, as lines of text.

/** Return {name, value} lines of nested facts; names are joined by " · " and underscores become spaces. */
export function factLines(facts, prefix = "") {
  return Object.entries(facts ?? {}).flatMap(([key, value]) => {
    const name = prefix + key.replaceAll("_", " ");
    if (value === null || value === undefined || value === "") return [];
    if (Array.isArray(value)) return [{ name, value: value.map((item) => shown(item)).join(", ") }];
    if (typeof value === "object") return factLines(value, `${name} · `);
    return [{ name, value: shown(value) }];
  });
}

function shown(value) {
  if (typeof value === "number") return Number.isInteger(value) ? value.toLocaleString("en") : String(Number(value.toPrecision(4)));
  if (typeof value === "boolean") return value ? "yes" : "no";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
