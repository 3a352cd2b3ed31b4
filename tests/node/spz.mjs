// Reads an SPZ file with the format's reference implementation, in the axes of PLY files (x right, y down, z forward).
// Prints {antialiased, degree, positions, scales (logarithms), rotations (xyzw), alphas (logits), colors (SH)}.
import { readFileSync } from 'node:fs';
import createSpzModule from '@adobe/spz';

const spz = await createSpzModule({ print: () => {} }); // it logs to stdout
const cloud = spz.loadSpzFromBuffer(new Uint8Array(readFileSync(process.argv[2])), { to: spz.CoordinateSystem.RDF });
const fields = ['positions', 'scales', 'rotations', 'alphas', 'colors'];
console.log(
  JSON.stringify({
    antialiased: cloud.antialiased,
    degree: cloud.shDegree,
    ...Object.fromEntries(fields.map((name) => [name, Array.from(cloud[name])])),
  }),
);
