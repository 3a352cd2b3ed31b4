// The page around the canvas: buttons, timeline, dialogs. Everything acts on the player, and shows its state.

import { BACKGROUNDS } from "./background.js";
import { Controls } from "./controls.js";
import { factGroups } from "./facts.js";
import { InputVideo } from "./input_video.js";
import { keyLines, listen, shortcuts } from "./keyboard.js";
import { MODES } from "./playback.js";

/** Wires the page's elements, found by their ids, to a player. */
export class Interface {
  #player;
  #page;
  #video;

  /** page: {title, facts}. video: the source of the input video, or null. */
  constructor(player, page, video) {
    this.#player = player;
    this.#page = page;
    new Controls(part("view"), player);
    this.#actions = {
      beside: () => this.#showVideo(isPressed("beside") ? "" : "beside"),
      over: () => this.#showVideo(isPressed("over") ? "" : "over"),
      background: () => this.#nextBackground(),
      fullscreen: () => toggleFullscreen(),
      help: () => part("help").showModal(),
      details: () => part("details").showModal(),
      inputCamera: () => this.#lookFromInput(),
      interpolation: () => {
        player.interpolated = !player.interpolated;
      },
      mode: () => {
        player.mode = MODES[(MODES.indexOf(player.mode) + 1) % MODES.length];
      },
      next: () => player.step(1),
      play: () => (player.playing ? player.pause() : player.play()),
      previous: () => player.step(-1),
      reset: () => {
        player.camera = player.home;
      },
      save: () => this.#save(),
      slower: () => this.#changeSpeed(-1),
      faster: () => this.#changeSpeed(1),
    };
    for (const button of document.querySelectorAll("button[data-action]")) {
      button.addEventListener("click", this.#actions[button.dataset.action]);
    }
    set("view", "aria-label", `${page.title}. Drag or use the arrow keys to rotate the view.`);
    part("full").hidden = !document.fullscreenEnabled;
    this.#wireTimeline();
    this.#wireBackground();
    this.#wireVideo(video);
    this.#wireDialogs();
    player.addEventListener("change", () => this.#show());
    player.addEventListener("failure", ({ message }) => showMessage(message));
    this.#show();
  }

  #actions;

  #wireTimeline() {
    const player = this.#player;
    const still = player.numFrames < 2;
    part("time").max = player.numFrames - 1;
    part("time").addEventListener("input", (event) => {
      const frame = event.target.valueAsNumber; // read before the pause shows the old frame again
      player.pause();
      player.frame = frame;
    });
    part("speed").addEventListener("change", (event) => {
      player.speed = Number(event.target.value);
    });
    for (const id of ["time", "play", "previous", "next", "speed", "mode", "interpolation"]) part(id).disabled = still;
  }

  #wireBackground() {
    for (const choice of document.querySelectorAll("input[name=background]")) {
      choice.addEventListener("change", () => this.#setBackground(choice.value));
    }
    part("color").addEventListener("input", (event) => this.#setBackground(event.target.value));
  }

  #wireVideo(source) {
    part("inputCamera").hidden = this.#player.inputCamera === null;
    part("over").hidden = source === null || this.#player.inputCamera === null;
    part("beside").hidden = source === null;
    if (source === null) return;
    const element = part("video");
    element.src = source;
    this.#video = new InputVideo(element, this.#player);
    element.addEventListener("loadeddata", () => this.#video.follow());
    element.addEventListener("error", () => {
      this.#showVideo("");
      for (const id of ["beside", "over"]) Object.assign(part(id), { disabled: true, title: "This browser cannot play the input video" });
    });
    part("mix").addEventListener("input", (event) => {
      part("view").style.opacity = event.target.value;
    });
    this.#showVideo("beside");
  }

  #wireDialogs() {
    const list = shortcuts(this.#player, this.#actions);
    listen(list);
    part("keys").replaceChildren(terms(keyLines(list)));
    const { numFrames, numGaussians, framesPerSecond } = this.#player;
    const own = { Frames: numFrames, Gaussians: numGaussians, "Frames per second": framesPerSecond };
    for (const { title, lines } of factGroups({ ...own, ...this.#page.facts })) {
      if (title !== "") part("facts").append(element("h3", title));
      part("facts").append(terms(lines));
    }
    for (const dialog of document.querySelectorAll("dialog")) {
      dialog.addEventListener("click", (event) => {
        if (event.target === dialog) dialog.close(); // the area around it
      });
    }
    const frames = numFrames === 1 ? "1 frame" : `${numFrames.toLocaleString("en")} frames`;
    part("summary").textContent = `${frames} · ${numGaussians.toLocaleString("en")} Gaussians`;
  }

  #show() {
    const player = this.#player;
    const number = `${player.frame + 1} / ${player.numFrames}`;
    if (part("time").valueAsNumber !== player.frame) part("time").value = player.frame;
    set("time", "aria-valuetext", `Frame ${player.frame + 1} of ${player.numFrames}`);
    if (part("clock").textContent !== number) part("clock").textContent = number;
    name("play", player.playing ? "Pause" : "Play", "Space");
    press("play", player.playing);
    name("mode", player.mode === "loop" ? "Loop: play from the start again" : "Loop: play back and forth", "L");
    press("mode", player.mode !== "loop");
    press("interpolation", player.interpolated);
    const speeds = [...part("speed").options].map(({ value }) => Number(value));
    const nearest = speeds.reduce((best, value) => (Math.abs(value - player.speed) < Math.abs(best - player.speed) ? value : best));
    if (part("speed").value !== String(nearest)) part("speed").value = String(nearest);
    const shown = Object.hasOwn(BACKGROUNDS, player.background) ? player.background : "custom";
    for (const choice of document.querySelectorAll("input[name=background]")) choice.checked = choice.value === shown;
    document.body.dataset.background = shown;
    part("stage").style.setProperty("--ground", BACKGROUNDS[shown] ?? player.background);
  }

  #setBackground(value) {
    this.#player.background = value;
    if (!Object.hasOwn(BACKGROUNDS, value)) part("color").value = value;
  }

  #nextBackground() {
    const names = Object.keys(BACKGROUNDS);
    this.#setBackground(names[(names.indexOf(this.#player.background) + 1) % names.length]);
  }

  /** Choose the next of the offered speeds in one direction. */
  #changeSpeed(direction) {
    const { options, selectedIndex } = part("speed");
    const next = options[selectedIndex + direction];
    if (next !== undefined) this.#player.speed = Number(next.value);
  }

  #lookFromInput() {
    if (this.#player.inputCamera !== null) this.#player.camera = this.#player.inputCamera;
  }

  /** Show the input video `beside` the object, under it (`over`: the object over the video), or not at all (""). */
  #showVideo(place) {
    if ((place !== "" && part(place).hidden) || part("beside").disabled) place = "";
    const stage = part("stage");
    const was = stage.dataset.video;
    press("beside", place === "beside");
    press("over", place === "over");
    stage.dataset.video = place;
    part("input").hidden = place === "";
    part("mixing").hidden = place !== "over";
    part("view").style.opacity = place === "over" ? part("mix").value : "";
    if (place === "over") {
      this.#lookFromInput();
      this.#setBackground("transparent");
    } else if (was === "over") {
      this.#setBackground("white");
    }
    this.#player.refresh();
  }

  async #save() {
    const address = URL.createObjectURL(await this.#player.picture());
    const plain = this.#page.title.replace(/[^\p{L}\p{N}_-]+/gu, "-").replace(/^-+|-+$/g, "") || "view";
    Object.assign(document.createElement("a"), { href: address, download: `${plain}-${this.#player.frame + 1}.png` }).click();
    setTimeout(() => URL.revokeObjectURL(address), 10_000);
  }
}

/** Show a message instead of the object: what is wrong, and what to do. */
export function showMessage(text) {
  part("loading").hidden = true;
  part("message").hidden = false;
  part("text").textContent = text;
  document.body.dataset.state = "failed";
}

function part(id) {
  return document.getElementById(id);
}

/** Set an attribute of an element, if it is not so already: the page is shown many times a second. */
function set(id, attribute, value) {
  if (part(id).getAttribute(attribute) !== value) part(id).setAttribute(attribute, value);
}

function isPressed(id) {
  return part(id).getAttribute("aria-pressed") === "true";
}

function press(id, pressed) {
  set(id, "aria-pressed", String(pressed));
}

function name(id, text, key) {
  set(id, "aria-label", text);
  set(id, "title", `${text} (${key})`);
}

function terms(lines) {
  const list = document.createElement("dl");
  for (const { name: term, value, whole = "" } of lines) {
    list.append(element("dt", term), Object.assign(element("dd", value), { title: whole === value ? "" : whole }));
  }
  return list;
}

function element(tag, text) {
  return Object.assign(document.createElement(tag), { textContent: text });
}

function toggleFullscreen() {
  if (document.fullscreenElement) document.exitFullscreen();
  else document.documentElement.requestFullscreen?.().catch(() => {});
}
