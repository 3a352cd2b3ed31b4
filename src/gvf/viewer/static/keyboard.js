// The keyboard: which key does what, and the same as a list for the help.

import { orbited, panned, zoomed } from "./camera.js";

const TURN = 5; // degrees
const MOVE = 0.03; // of the view
const ZOOM = 1.1;

/** Return the keys as {keys, text, run}: `keys` are values of KeyboardEvent.key, the first of which the help names. */
export function shortcuts(player, actions) {
  const look = (change) => () => {
    player.camera = change(player.camera);
  };
  return [
    { keys: [" ", "k"], text: "Play or pause", run: () => (player.playing ? player.pause() : player.play()) },
    { keys: [","], text: "Previous or next frame", run: () => player.step(-1) },
    { keys: ["."], text: "Previous or next frame", run: () => player.step(1) },
    { keys: ["Home"], text: "First or last frame", run: () => (player.frame = 0) },
    { keys: ["End"], text: "First or last frame", run: () => (player.frame = player.numFrames - 1) },
    { keys: ["["], text: "Slower or faster", run: actions.slower },
    { keys: ["]"], text: "Slower or faster", run: actions.faster },
    { keys: ["l"], text: "Loop, or play back and forth", run: actions.mode },
    { keys: ["m"], text: "Interpolate between frames", run: actions.interpolation },
    { keys: ["ArrowLeft"], text: "Rotate the view", run: look((camera) => orbited(camera, -TURN, 0)) },
    { keys: ["ArrowRight"], text: "Rotate the view", run: look((camera) => orbited(camera, TURN, 0)) },
    { keys: ["ArrowUp"], text: "Rotate the view", run: look((camera) => orbited(camera, 0, TURN)) },
    { keys: ["ArrowDown"], text: "Rotate the view", run: look((camera) => orbited(camera, 0, -TURN)) },
    { keys: ["Shift+ArrowLeft"], text: "Pan", run: look((camera) => panned(camera, -MOVE, 0)) },
    { keys: ["Shift+ArrowRight"], text: "Pan", run: look((camera) => panned(camera, MOVE, 0)) },
    { keys: ["Shift+ArrowUp"], text: "Pan", run: look((camera) => panned(camera, 0, -MOVE)) },
    { keys: ["Shift+ArrowDown"], text: "Pan", run: look((camera) => panned(camera, 0, MOVE)) },
    { keys: ["+", "="], text: "Zoom in or out", run: look((camera) => zoomed(camera, 1 / ZOOM)) },
    { keys: ["-"], text: "Zoom in or out", run: look((camera) => zoomed(camera, ZOOM)) },
    { keys: ["r"], text: "Reset the view", run: actions.reset },
    { keys: ["c"], text: "View from the input's camera", run: actions.inputCamera },
    { keys: ["b"], text: "Next background", run: actions.background },
    { keys: ["v"], text: "Input video beside the object", run: actions.beside },
    { keys: ["o"], text: "Object over the input video", run: actions.over },
    { keys: ["s"], text: "Save the view as a PNG", run: actions.save },
    { keys: ["f"], text: "Full screen", run: actions.fullscreen },
    { keys: ["?"], text: "Show this help", run: actions.help },
  ];
}

/** Run the shortcut of a key pressed anywhere on the page, unless the element in focus needs that key itself. */
export function listen(list) {
  const byKey = new Map(list.flatMap(({ keys, run }) => keys.map((key) => [key, run])));
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]") !== null) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const run = byKey.get(event.shiftKey && event.key.length > 1 ? `Shift+${key}` : key);
    if (run === undefined || belongsTo(event.target, event.key)) return;
    event.preventDefault();
    run();
  });
}

/** Return {name, value} lines for the help: all keys that belong to one text, by their names for people. */
export function keyLines(list) {
  const lines = new Map();
  for (const { keys, text } of list) lines.set(text, [...(lines.get(text) ?? []), keyName(keys[0])]);
  return [...lines].map(([value, names]) => ({ name: names.join("  "), value }));
}

function keyName(key) {
  const names = { " ": "Space", ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓" };
  return key
    .split(/(?<=.)\+/)
    .map((part) => names[part] ?? (part.length === 1 ? part.toUpperCase() : part))
    .join(" ");
}

function belongsTo(element, key) {
  if (!(element instanceof Element)) return false;
  if (element.matches("input[type=range], select, input[type=radio]")) return /^(Arrow|Home|End|Page| )/.test(key);
  if (element.matches("button, a, summary")) return key === " " || key === "Enter";
  return element.matches("input, textarea");
}
