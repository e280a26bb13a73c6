import { ask, Latest, Refused } from "./api.js";
import { Drawing, png, show } from "./drawing.js";

const $ = (id) => document.getElementById(id);
const canvas = $("drawing"), stage = $("stage");
const WHITE = 0xffffff;

let runs = [], run = null, beside = new Set();
let drawing = null, file = null, style = null;
let palette = new Map(), ground = WHITE, value = 0, tool = "brush";
let zoom = 1, pan = [0, 0], seed = 0, swiping = false, cross = null;
const latest = new Map();

/* What the server has to say, and what went wrong. */
function tell(sentence, refused = false) {
  $("told").textContent = sentence;
  $("told").classList.toggle("refused", refused);
}
const guarded = (work) => async (...given) => {
  try { await work(...given); } catch (error) {
    if (error instanceof Refused) tell(error.message, true);
    else if (error instanceof TypeError) tell("the server does not answer: is it still running?", true);
    else { tell("this page met a fault: " + error.message, true); throw error; }
  }
};

const hex = (colour) => "#" + colour.toString(16).padStart(6, "0");
const number = (text) => parseInt(text.slice(1), 16);
const colourOf = (v) => (run.labels ? palette.get(v) ?? 0 : v);
const redraw = (box = null) => { show(canvas, drawing, colourOf, box); if (cross) drawCross(); };

/* Runs, palettes, examples. */

const choose = guarded(async (name) => {
  run = runs.find((each) => each.name === name);
  style = null; file = null; zoom = 1; pan = [0, 0]; cross = null;
  for (const id of ["tools", "undo", "redo", "clear", "closer", "farther", "whole", "save"]) $(id).hidden = !run.drawable;
  $("trained-label").hidden = !run.drawable || !run.resized;
  $("styles").hidden = !run.styles;
  $("another").hidden = run.needs_style;
  if (run.labels) {
    palette = new Map(run.labels.map(({ id, colour }) => [id, number(colour)]));
    ground = run.labels[0].id;
    value = run.labels[Math.min(1, run.labels.length - 1)].id;
    swatches(run.labels.map(({ id, name: called, colour }) => [id, called, number(colour)]));
  } else {
    ground = WHITE;
    value = 0;
    swatches([[0, "black", 0], [WHITE, "white", WHITE]]);
  }
  $("own").hidden = Boolean(run.labels) || run.channels[0] !== 3;
  drawing = new Drawing(run.size[1], run.size[0], ground);
  fit();
  redraw();
  others();
  frames();
  history();
  await examples();
  if (!run.drawable) tell("This run takes measured values: open a file of them.");
  else if (!run.examples) changed();
});

function swatches(entries) {
  $("swatches").replaceChildren(...entries.map(([v, called, colour], k) => {
    const button = document.createElement("button"), box = document.createElement("i");
    box.style.background = hex(colour);
    button.type = "button";
    button.setAttribute("role", "radio");
    button.dataset.value = v;
    button.title = called + (k < 9 ? " (" + (k + 1) + ")" : "");
    button.append(box, called);
    button.addEventListener("click", () => take(v));
    return button;
  }));
  take(value);
}

function take(v) {
  value = v;
  if (!run.labels) $("colour").value = hex(v);
  for (const button of $("swatches").children) button.setAttribute("aria-checked", Number(button.dataset.value) === v);
}

async function examples() {
  const home = $("examples"), asked = run;
  home.replaceChildren();
  for (let k = 0; k < asked.examples; k++) {
    const answer = await ask("api/runs/" + encodeURIComponent(asked.name) + "/examples/" + k);
    const read = await readImage(await answer.blob());
    if (run !== asked) return;
    const button = document.createElement("button"), small = document.createElement("canvas");
    button.type = "button";
    button.title = "Begin from example " + (k + 1);
    button.setAttribute("aria-label", button.title);
    show(small, read, colourOf);
    button.append(small);
    button.addEventListener("click", () => begin(read));
    home.append(button);
    if (k === 0) {
      if (!run.labels && run.channels[0] === 3) offer(read);
      begin(read, false);
    }
  }
}

/* A picture of few colours (labels without a list of classes) tells the colours to paint with. */
function offer(read) {
  const counts = new Map();
  for (const v of read.values) counts.set(v, (counts.get(v) ?? 0) + 1);
  const common = [...counts].filter(([, n]) => n > read.values.length / 500).sort((a, b) => b[1] - a[1]).slice(0, 16);
  const share = common.reduce((sum, [, n]) => sum + n, 0) / read.values.length;
  if (share < 0.8 || common.length < 2) return;
  ground = common[0][0];
  value = common[1][0];
  swatches(common.map(([v]) => [v, hex(v), v]));
}

function begin(read, undoable = true) {
  file = null;
  if (undoable && read.width === drawing.width && read.height === drawing.height) drawing.replace(read.values.slice());
  else { drawing = new Drawing(read.width, read.height, ground); drawing.values = read.values.slice(); }
  fit();
  redraw();
  frames();
  changed();
}

/* Images from files, the clipboard, or dropped. */

async function readImage(blob) {
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none", premultiplyAlpha: "none" }).catch(() => null);
  if (!bitmap) throw new Refused("this browser cannot show that file as an image: PNG, JPEG and WebP work everywhere");
  const shrink = Math.min(1, Math.sqrt(run.pixels / (bitmap.width * bitmap.height)));
  const [width, height] = run.resized && $("trained").checked ? [run.size[1], run.size[0]]
    : [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.floor(side * shrink)));
  const scratch = new OffscreenCanvas(width, height), context = scratch.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingEnabled = !run.labels;
  context.fillStyle = "#fff";
  if (!run.labels) context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height);
  const read = new Drawing(width, height, 0);
  for (let k = 0; k < read.values.length; k++) {
    read.values[k] = (data[4 * k] << 16 | data[4 * k + 1] << 8 | data[4 * k + 2]) >>> 0;
  }
  if (run.labels) toIds(read);
  return read;
}

/* Colours of the classes, or grey whose level is the id, become ids. */
function toIds(read) {
  const byColour = new Map([...palette].map(([id, colour]) => [colour, id]).reverse());
  const grey = read.values.every((v) => v >> 16 === (v & 255) && (v >> 8 & 255) === (v & 255));
  const known = grey && read.values.every((v) => palette.has(v & 255));
  for (let k = 0; k < read.values.length; k++) {
    const v = read.values[k], id = known ? v & 255 : byColour.get(v);
    if (id === undefined) throw new Refused("the image holds the colour " + hex(v) + ", which no class has: open a label map of this run's classes");
    read.values[k] = id;
  }
}

const open = guarded(async (blob) => {
  if (!blob) return;
  if (!run.drawable) {
    file = blob;
    frames();
    changed();
    return;
  }
  begin(await readImage(blob));
});

/* Pictures. */

function shownRuns() { return runs.filter((each) => each === run || beside.has(each.name)); }

function frames() {
  const old = new Map([...$("pictures").children].map((figure) => [figure.dataset.run, figure]));
  $("pictures").replaceChildren(...shownRuns().map((each) => old.get(each.name) ?? frame(each)));
  for (const figure of $("pictures").children) {
    figure.querySelector(".frame").style.aspectRatio = drawing.width + " / " + drawing.height;
    for (const part of figure.querySelectorAll(".over, .edge, input")) part.hidden = !swiping || Boolean(file);
  }
}

function frame(each) {
  const figure = document.createElement("figure");
  figure.dataset.run = each.name;
  figure.innerHTML = '<div class="frame"><img alt=""><canvas class="over" hidden></canvas><div class="edge" hidden></div></div>'
    + '<input type="range" min="0" max="100" value="50" aria-label="Swipe between source and picture" hidden>'
    + '<figcaption><span></span><a hidden>Download</a></figcaption>';
  const [box, image, range] = [".frame", "img", "input"].map((name) => figure.querySelector(name));
  figure.querySelector("span").textContent = each.name;
  const move = () => box.style.setProperty("--at", range.value + "%");
  range.addEventListener("input", move);
  box.addEventListener("pointermove", (event) => {
    if (!swiping) return;
    const { left, width } = box.getBoundingClientRect();
    range.value = 100 * (event.clientX - left) / width;
    move();
  });
  image.alt = "The picture that " + each.name + " makes of the source";
  return figure;
}

async function translateWith(each, blob, current) {
  const form = new FormData();
  form.append("source", blob, "source.png");
  form.append("run", each.name);
  form.append("seed", seed);
  if (current && each.styles) form.append("style", current, "style");
  const figure = $("pictures").querySelector('[data-run="' + CSS.escape(each.name) + '"]');
  if (!figure) return;
  const began = performance.now();
  try {
    const answer = await ask("api/translate", { method: "POST", body: form });
    const url = URL.createObjectURL(await answer.blob());
    const image = figure.querySelector("img"), link = figure.querySelector("a"), before = image.src;
    image.src = url;
    await image.decode().catch(() => {});
    if (before) URL.revokeObjectURL(before);
    link.href = url;
    link.hidden = false;
    link.download = each.name + ".png";
    const took = Math.round(performance.now() - began);
    figure.dataset.milliseconds = took;
    tell("picture in " + took + " ms");
  } catch (error) {
    if (!(error instanceof Refused) && !(error instanceof TypeError)) throw error;
    tell(error instanceof Refused ? error.message : "the server does not answer: is it still running?", true);
  }
}

function changed() {
  if (run.needs_style && !style) { tell("Choose a picture whose style is wanted."); return; }
  for (const each of shownRuns()) {
    if (!latest.has(each.name)) {
      latest.set(each.name, new Latest(async (source, current) => translateWith(each, file ?? await png(source, kindFor(each)), current)));
    }
    latest.get(each.name).ask(drawing, style);
  }
  if (swiping && !file) {
    for (const over of document.querySelectorAll(".over")) show(over, drawing, colourOf);
  }
}
const kindFor = (each) => (each.labels ? "ids" : each.channels[0] === 1 ? "grey" : "colour");

/* Several runs may share one drawing where they take the same. */
function others() {
  const form = JSON.stringify([run.labels, run.channels[0]]);
  const fitting = runs.filter((each) => each !== run && JSON.stringify([each.labels, each.channels[0]]) === form && !each.needs_style);
  beside = new Set([...beside].filter((name) => fitting.some((each) => each.name === name)));
  $("beside").hidden = !fitting.length;
  $("beside").replaceChildren($("beside").querySelector("legend"), ...fitting.map((each) => {
    const label = document.createElement("label"), box = document.createElement("input");
    box.type = "checkbox";
    box.checked = beside.has(each.name);
    box.addEventListener("change", () => {
      if (box.checked) beside.add(each.name); else beside.delete(each.name);
      frames();
      changed();
    });
    label.append(box, " " + each.name);
    return label;
  }));
}

/* The view of the drawing. */

function fit() {
  stage.style.aspectRatio = drawing.width + " / " + drawing.height;
  const [width, height] = [stage.clientWidth, stage.clientHeight];
  pan = pan.map((v, k) => Math.min(0, Math.max(v, (1 - zoom) * [width, height][k])));
  canvas.style.transform = "translate(" + pan[0] + "px," + pan[1] + "px) scale(" + zoom + ")";
}

function zoomTo(wanted, x = stage.clientWidth / 2, y = stage.clientHeight / 2) {
  const next = Math.min(16, Math.max(1, wanted));
  pan = [x - (x - pan[0]) * next / zoom, y - (y - pan[1]) * next / zoom];
  zoom = next;
  fit();
}

function place(event) {
  const box = canvas.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width * drawing.width - 0.5, (event.clientY - box.top) / box.height * drawing.height - 0.5];
}

function drawCross() {
  const context = canvas.getContext("2d"), [x, y] = cross;
  context.fillStyle = "#e0007a";
  for (const [dx, dy, w, h] of [[-6, 0, 5, 1], [2, 0, 5, 1], [0, -6, 1, 5], [0, 2, 1, 5]]) context.fillRect(x + dx, y + dy, w, h);
}

/* Painting. */

const size = () => Number($("size").value);
const paints = () => (tool === "eraser" ? ground : value);
const fingers = new Map();
let stroke = null;

function press(x, y) {
  if (tool === "pick") {
    const [column, row] = [Math.round(x), Math.round(y)];
    if (drawing.holds(column, row)) take(drawing.at(column, row));
    pick("brush");
    return;
  }
  file = null;
  drawing.mark();
  if (tool === "fill") { drawing.fill(x, y, value); redraw(); finish(); return; }
  stroke = { from: [x, y], last: [x, y], before: drawing.values.slice() };
  drag(x, y);
}

function drag(x, y) {
  if (!stroke) return;
  const [fx, fy] = stroke.from, [lx, ly] = stroke.last;
  if (tool === "line" || tool === "rectangle") {
    drawing.values.set(stroke.before);
    if (tool === "line") drawing.line(fx, fy, x, y, size(), value); else drawing.rectangle(fx, fy, x, y, value);
    redraw();
  } else redraw(drawing.line(lx, ly, x, y, size(), paints()));
  stroke.last = [x, y];
  changed();
}

function finish() { stroke = null; history(); changed(); }

function cancel() {
  if (!stroke) return;
  drawing.undo();
  drawing.future = [];
  stroke = null;
  redraw();
}

canvas.addEventListener("pointerdown", (event) => {
  if (!run?.drawable || event.button > 1) return;
  event.preventDefault();
  canvas.focus({ preventScroll: true });
  canvas.setPointerCapture(event.pointerId);
  fingers.set(event.pointerId, event);
  cross = null;
  if (event.button === 1 || event.altKey || (event.pointerType === "touch" && fingers.size > 1)) cancel();
  else press(...place(event));
});
canvas.addEventListener("pointermove", (event) => {
  const before = fingers.get(event.pointerId);
  if (!before) return;
  if (fingers.size > 1) {
    const [a, b] = [...fingers.values()], distance = Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
    fingers.set(event.pointerId, event);
    const [c, d] = [...fingers.values()], { left, top } = stage.getBoundingClientRect();
    pan = [pan[0] + (event.clientX - before.clientX) / 2, pan[1] + (event.clientY - before.clientY) / 2];
    zoomTo(zoom * Math.hypot(c.clientX - d.clientX, c.clientY - d.clientY) / Math.max(1, distance), (c.clientX + d.clientX) / 2 - left, (c.clientY + d.clientY) / 2 - top);
    return;
  }
  fingers.set(event.pointerId, event);
  if (stroke) for (const each of event.getCoalescedEvents?.() ?? [event]) drag(...place(each));
  else if (event.buttons & 4 || event.altKey) { pan = [pan[0] + event.clientX - before.clientX, pan[1] + event.clientY - before.clientY]; fit(); }
});
for (const kind of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(kind, (event) => {
    fingers.delete(event.pointerId);
    if (stroke) finish();
  });
}
stage.addEventListener("wheel", (event) => {
  event.preventDefault();
  const { left, top } = stage.getBoundingClientRect();
  zoomTo(zoom * Math.exp(-event.deltaY / 400), event.clientX - left, event.clientY - top);
}, { passive: false });

/* Keys. */

canvas.addEventListener("keydown", (event) => {
  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  if (!run?.drawable || !(event.key in moves || event.key === " ")) return;
  event.preventDefault();
  cross ??= [Math.floor(drawing.width / 2), Math.floor(drawing.height / 2)];
  if (event.key === " ") { press(...cross); if (stroke) finish(); redraw(); return; }
  const step = event.shiftKey ? 1 : Math.max(1, Math.round(size() / 2)), [dx, dy] = moves[event.key];
  cross = [Math.min(drawing.width - 1, Math.max(0, cross[0] + step * dx)), Math.min(drawing.height - 1, Math.max(0, cross[1] + step * dy))];
  redraw();
});
canvas.addEventListener("blur", () => { if (cross) { cross = null; redraw(); } });
document.addEventListener("keydown", (event) => {
  if (event.target.matches("input, select, textarea") || !run?.drawable) return;
  const key = event.key.toLowerCase();
  if (event.ctrlKey || event.metaKey) {
    const back = key === "z" && !event.shiftKey, forth = key === "y" || (key === "z" && event.shiftKey);
    if (back || forth) { event.preventDefault(); step(back); }
    return;
  }
  const tools = { b: "brush", l: "line", r: "rectangle", f: "fill", e: "eraser", i: "pick" };
  if (key in tools) pick(tools[key]);
  else if (key === "[" || key === "]") resize(size() + (key === "]" ? 2 : -2));
  else if (key === "+" || key === "=") zoomTo(zoom * 1.5);
  else if (key === "-") zoomTo(zoom / 1.5);
  else if (key === "0") zoomTo(1);
  else if (/^[1-9]$/.test(key)) $("swatches").children[Number(key) - 1]?.click();
});

function pick(name) {
  tool = name;
  for (const button of $("tools").querySelectorAll("button")) button.setAttribute("aria-pressed", button.dataset.tool === name);
}
function resize(to) { $("size").value = to; $("size-told").value = $("size").value; }
function step(back) { if (back ? drawing.undo() : drawing.redo()) { redraw(); finish(); } }
function history() { $("undo").disabled = !drawing.past.length; $("redo").disabled = !drawing.future.length; }

/* Buttons. */

$("tools").addEventListener("click", (event) => { if (event.target.dataset.tool) pick(event.target.dataset.tool); });
$("size").addEventListener("input", () => resize($("size").value));
$("colour").addEventListener("input", () => take(number($("colour").value)));
$("undo").addEventListener("click", () => step(true));
$("redo").addEventListener("click", () => step(false));
$("clear").addEventListener("click", () => { drawing.mark(); drawing.values.fill(ground); redraw(); finish(); });
$("closer").addEventListener("click", () => zoomTo(zoom * 1.5));
$("farther").addEventListener("click", () => zoomTo(zoom / 1.5));
$("whole").addEventListener("click", () => zoomTo(1));
$("open").addEventListener("click", () => $("file").click());
$("file").addEventListener("change", () => { open($("file").files[0]); $("file").value = ""; });
$("save").addEventListener("click", guarded(async () => {
  const url = URL.createObjectURL(await png(drawing, kindFor(run))), link = document.createElement("a");
  link.href = url;
  link.download = "drawing.png";
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}));
$("run").addEventListener("change", () => choose($("run").value));
for (const [id, on] of [["apart", false], ["swipe", true]]) {
  $(id).addEventListener("click", () => {
    swiping = on;
    $("apart").setAttribute("aria-pressed", !on);
    $("swipe").setAttribute("aria-pressed", on);
    frames();
    changed();
  });
}
$("another").addEventListener("click", () => { seed = (seed + 1) % 2 ** 32; changed(); });
$("style-open").addEventListener("click", () => $("style-file").click());
$("style-file").addEventListener("change", () => { style = $("style-file").files[0] ?? null; $("style-file").value = ""; $("style-none").hidden = !style; changed(); });
$("style-none").addEventListener("click", () => { style = null; $("style-none").hidden = true; changed(); });
document.addEventListener("paste", (event) => { const [given] = event.clipboardData.files; if (given) open(given); });
for (const kind of ["dragover", "dragleave", "drop"]) {
  stage.addEventListener(kind, (event) => {
    event.preventDefault();
    stage.classList.toggle("dropping", kind === "dragover");
    if (kind === "drop") open(event.dataTransfer.files[0]);
  });
}
new ResizeObserver(() => { if (drawing) fit(); }).observe(stage);

guarded(async () => {
  runs = await (await ask("api/runs")).json();
  $("run").replaceChildren(...runs.map(({ name }) => new Option(name, name)));
  await choose(runs[0].name);
})();
