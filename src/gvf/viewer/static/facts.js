// What is known about an asset, as text for people.

const DIGEST = /^[0-9a-f]{40,}$/i;

/**
 * Return nested facts as groups {title, lines: [{name, value, whole}]}: first, without a title, those that are not nested;
 * then one group for each that is. value: shortened where it is a digest, `whole` is not.
 */
export function factGroups(facts) {
  const own = { title: "", lines: [] };
  const groups = [own];
  for (const [key, value] of Object.entries(facts ?? {})) {
    if (value !== null && typeof value === "object" && !Array.isArray(value)) {
      groups.push({ title: readable(key), lines: lines(value) });
    } else {
      own.lines.push(...lines({ [key]: value }));
    }
  }
  return groups.filter((group) => group.lines.length > 0);
}

function lines(facts, prefix = "") {
  return Object.entries(facts).flatMap(([key, value]) => {
    const name = prefix + readable(key);
    if (value === null || value === undefined || value === "" || value.length === 0) return [];
    if (typeof value === "object" && !Array.isArray(value)) return lines(value, `${name}: `);
    const whole = Array.isArray(value) ? value.map(shown).join(", ") : shown(value);
    return [{ name, value: DIGEST.test(whole) ? `${whole.slice(0, 12)}…` : whole, whole }];
  });
}

function readable(key) {
  const words = key.replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

function shown(value) {
  if (typeof value === "number") return Number.isInteger(value) ? value.toLocaleString("en") : String(Number(value.toPrecision(4)));
  if (typeof value === "boolean") return value ? "yes" : "no";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
