// Prints what the Khronos glTF validator finds in each GLB file named on the command line: {path: [{severity, code, ...}]}.
// Severities: 0 error, 1 warning, 2 information, 3 hint.
import { readFileSync } from 'node:fs';
import validator from 'gltf-validator';

const found = {};
for (const path of process.argv.slice(2)) {
  const report = await validator.validateBytes(new Uint8Array(readFileSync(path)), { uri: path, maxIssues: 0 });
  found[path] = report.issues.messages;
}
console.log(JSON.stringify(found));
