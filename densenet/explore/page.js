"use strict";
/* The page itself: what is chosen, what follows from it, and the hands on it. */

const data = JSON.parse(/** @type {string} */ (byId("data").textContent));

/** @param {string} id @returns {HTMLElement} */
function byId(id) {
  return /** @type {HTMLElement} */ (document.getElementById(id));
}
/** @param {string} id */
const inputOf = (id) => /** @type {HTMLInputElement} */ (byId(id));
/** @param {string} id */
const selectOf = (id) => /** @type {HTMLSelectElement} */ (byId(id));
/** @param {string} id */
const chartOf = (id) => /** @type {SVGElement} */ (/** @type {unknown} */ (byId(id)));

/** @param {string} tag @param {string} className @param {...(Node | string)} children */
function html(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

/** Numbers from base64. @param {{kind: string, shape: number[], data: string}} packed */
function unpacked({ kind, data: text }) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  return kind === "f4" ? Float64Array.from(new Float32Array(bytes.buffer)) : new Float64Array(bytes.buffer);
}

/** Numbers to base64. @param {ArrayLike<number>} values */
function packedText(values) {
  const bytes = new Uint8Array(Float64Array.from(values).buffer);
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}

// -- what there is ------------------------------------------------------------------------------------------------

/** A network as the page's data have it. @param {any} given */
function networkOf(given) {
  return new Network({
    loss: given.loss,
    layers: given.layers.map((/** @type {any} */ layer) => ({
      W: unpacked(layer.W),
      b: layer.b ? unpacked(layer.b) : null,
      nIn: layer.W.shape[0],
      nOut: layer.W.shape[1],
      rateW: layer.rateW,
      rateB: layer.rateB,
      between: layer.between.map((/** @type {any} */ between) =>
        between.kind === "PReLU" ? { ...between, a: Float64Array.from(between.a) } : { ...between },
      ),
    })),
  });
}

const net = networkOf(data);
const X = unpacked(data.x);
const T = unpacked(data.targets);
const rowsInAll = /** @type {number} */ (data.n);
const firstWeights = net.flat();
const firstBetween = net.layers.map((layer) => layer.between);
const firstLoss = net.lossName;
const recorded = data.recorded ? { steps: data.recorded.steps, params: unpacked(data.recorded.params) } : null;

/** E and its gradient over all rows, for the weights as given, where the page has but some of the rows. */
const everyRow = data.whole ? { E: data.whole.E, gradients: unpacked(data.whole.gradients) } : null;

/** All rows, and what is looked at: all of them, or one. */
const all = new Pass(net, X, T, rowsInAll);
let view = all;
/** @type {number | null} */
let row = null;
/** @type {Chosen} */
let selection = { layer: 0, source: 0, target: 0 };
/** @type {Routes} */
let routes;
/** @type {RoutePath[]} */
let paths = [];
let pathAt = 0;
/** @type {Map<number, number>} */
let whatIf = new Map();
let alpha = 0.5;
let allStale = true;
let dirtyFrom = 0;
/** The lowest layer whose dE/dZ is up to date; beyond the last one, none is. */
let backTo = net.depth;
/** Whether the sums of layer `dirtyFrom` are up to date, and the lowest layer whose sums were nudged: they round. */
let summed = false;
let nudgedFrom = Infinity;
/** The weight that is being dragged. @type {Nudge | null} */
let nudge = null;
let started = false;
let stepAt = -1;
let answered = true;
/** @type {Unit[]} */
let units = [];
/** @type {{at: number, E: number}[]} */
let curve = [];
/** @type {{promised: number, found: number} | null} */
let drop = null;
/** @type {number[]} */
let errorsByEpoch = [];
/**
 * All that undo takes back.
 * @typedef {{flat: Float64Array, loss: string, activation: string, between: Between[][]}} Kept
 */
/** @type {Kept[]} */
const undone = [];
/** What the hidden neurons compute: "as given", or the function that was switched to. */
let activation = "as given";
const picture = new Picture(chartOf("base"), chartOf("lit"), net);

/** The row of the view that derivations are of: of all rows the one looked at last, at first the one that pulls most. */
const viewRow = () => (row !== null ? 0 : Math.min(lastRow, view.n - 1));
let lastRow = 0;

// -- computing ----------------------------------------------------------------------------------------------------

/** Weights changed, from dense layer `from` (from 0) on. */
function touched(from = 0) {
  dirtyFrom = Math.min(dirtyFrom, from);
  backTo = net.depth;
  summed = false;
  nudge = null;
  allStale = true;
}

/** Bring the view up to date, with derivatives from the error back to dense layer `to` (from 0). */
function compute(to = 0) {
  if (dirtyFrom < net.depth) {
    view.forward(dirtyFrom, summed);
    dirtyFrom = net.depth;
  }
  if (to < backTo) {
    view.backward(to, backTo);
    backTo = to;
  }
  if (view === all && backTo === 0) allStale = false;
  routes = new Routes(view, selection);
}

/** Bring up to date what the routes of the chosen weight need, which is all that follows a drag at once. */
function computeRoutes() {
  const { layer, target } = selection;
  const above = layer < net.depth - 1 && backTo > layer;
  if (above) {
    compute(layer + 1);
    view.backwardOne(layer, target);
    routes = new Routes(view, selection);
  } else compute(layer);
}

/** Bring the view up to date by whole products: what was nudged while it was dragged has rounded. */
function computeExactly() {
  if (nudgedFrom < net.depth) touched(nudgedFrom);
  nudgedFrom = Infinity;
  compute();
}

/** Bring all rows up to date. */
function computeAll() {
  if (view === all) compute();
  else if (allStale) {
    all.forward();
    all.backward();
  }
  allStale = false;
}

/** Look at one row, or at all. @param {number | null} r */
function look(r) {
  row = rowsInAll === 1 && r !== null ? 0 : r;
  if (r !== null) lastRow = r;
  view = row === null ? all : new Pass(net, takeRows(X, rowsInAll, [row]), takeRows(T, rowsInAll, [row]), 1);
  touched();
}

/** The value of a weight or bias. @param {Chosen} s */
function weightOf({ layer, source, target }) {
  const { W, b, nOut } = net.layers[layer];
  return source < 0 ? /** @type {Float64Array} */ (b)[target] : W[source * nOut + target];
}

/** The arrays of dense layer m (from 0) and of what learns after it in the network as given, whatever it is switched to. @param {number} m */
function givenArrays(m) {
  const { W, b } = net.layers[m];
  const learned = firstBetween[m].filter(({ kind }) => kind === "PReLU").map(({ a }) => /** @type {Float64Array} */ (a));
  return b ? [W, b, ...learned] : [W, ...learned];
}

/** All parameters in the order of the network as given. */
const givenFlat = () => Float64Array.from(net.layers.flatMap((_, m) => givenArrays(m).flatMap((array) => Array.from(array))));

/** @param {Float64Array} values in that order */
function setGiven(values) {
  let at = 0;
  for (const array of net.layers.flatMap((_, m) => givenArrays(m))) {
    array.set(values.subarray(at, at + array.length));
    at += array.length;
  }
}

/** Where a weight or bias stands in that order. @param {Chosen} s */
function placeOf({ layer, source, target }) {
  let before = 0;
  for (let m = 0; m < layer; m++) before += givenArrays(m).reduce((sum, array) => sum + array.length, 0);
  const { W, nOut } = net.layers[layer];
  return before + (source < 0 ? W.length + target : source * nOut + target);
}

/** @param {Chosen} s @param {number} value */
function put(s, value) {
  const { layer, source, target } = s;
  const { W, b, nOut } = net.layers[layer];
  const moving = nudge?.weight === s ? nudge : dirtyFrom === net.depth ? new Nudge(view, s, weightOf(s)) : null;
  if (source < 0) /** @type {Float64Array} */ (b)[target] = value;
  else W[source * nOut + target] = value;
  touched(layer);
  if (!moving) return;
  nudge = moving;
  dirtyFrom = moving.to(value);
  summed = true;
  nudgedFrom = Math.min(nudgedFrom, layer);
}

/** The network as it is. @returns {Kept} */
const kept = () => ({ flat: net.flat(), loss: net.lossName, activation, between: net.layers.map((layer) => layer.between) });

/** Remember what undo goes back to; a training that goes on is paused by any other change. @param {Kept} before */
function remember(before = kept()) {
  if (training) toggleTraining();
  undone.push(before);
  if (undone.length > 60) undone.shift();
  /** @type {HTMLButtonElement} */ (byId("undo")).disabled = false;
}

/** Weights beyond are no use, and sums of two of them may be infinite. */
const LARGEST_WEIGHT = 1e300;

/** Whether all numbers of an array are finite. @param {Float64Array} array */
function finite(array) {
  let sum = 0;
  for (let i = 0; i < array.length; i++) sum += array[i] * 0; // 0, or NaN from inf and NaN on
  return sum === 0;
}

/** Whether E and what leads back from it to the chosen weight are numbers. */
function soundRoutes() {
  const above = selection.layer + 1;
  return Number.isFinite(view.E) && Number.isFinite(routes.gradient) && [...view.dZ.slice(above), ...view.dA.slice(above)].every(finite);
}

/** Whether E, everything that leads back from it, and the weights are numbers of a size that is of use. */
function sound() {
  if (!soundRoutes() || ![...view.dZ, ...view.dA].every(finite)) return false;
  return net.parameters().every((array) => array.every((w) => Math.abs(w) <= LARGEST_WEIGHT));
}

const TOO_LARGE = "E would be too large a number there: taken back.";

/**
 * Set a weight, where E stays a number; in a drag only what the routes need is computed, and looked at.
 * @param {Chosen} at @param {number} value @param {string | null} where the trouble is told
 */
function putSound(at, value, where, inDrag = false) {
  const old = weightOf(at);
  put(at, value);
  if (inDrag) computeRoutes();
  else compute();
  const good = inDrag ? Math.abs(value) <= LARGEST_WEIGHT && soundRoutes() : sound();
  if (!good) {
    put(at, old);
    touched(at.layer);
    compute();
  }
  if (where) byId(where).textContent = good ? "" : TOO_LARGE;
  return good;
}

/** Make a change that undo takes back; it is taken back at once where E is no number after it. @param {() => void} change @param {string} where the trouble is told */
function attempt(change, where) {
  remember();
  change();
  refresh();
  compute();
  const good = sound();
  if (!good) takeBack();
  picture.drawWeights();
  showAll();
  byId(where).textContent = good ? "" : TOO_LARGE;
  return good;
}

/** As many rows of the view are taken for the curve. */
const MOST_CURVE_ROWS = 256;

/** E of the view as a function of the chosen weight, by a forward pass of its own. @returns {(value: number) => number} */
function errorOf() {
  const { n, x, t } = view;
  const rows = n <= MOST_CURVE_ROWS ? null : Array.from({ length: MOST_CURVE_ROWS }, (_, i) => Math.floor((i * n) / MOST_CURVE_ROWS));
  const pass = rows ? new Pass(net, takeRows(x, n, rows), takeRows(t, n, rows), rows.length) : new Pass(net, x, t, n);
  pass.forward();
  const moving = new Nudge(pass, selection, weightOf(selection));
  return (value) => pass.forward(moving.to(value), true);
}

// -- showing ------------------------------------------------------------------------------------------------------

/** The list of paths follows a drag at once up to so many factors; beyond, when nothing has moved for a moment. */
const MOST_AT_ONCE = 500;
let drawing = 0;
let resting = 0;
let tracing = 0;
let sliderRange = { low: -2, high: 2 };

/** What waits until nothing has moved for a moment, each in a task of its own, so that a hand that goes on need not wait. */
const AT_REST = [computeAtRest, drawPaths, traceCurve, drawFigures, drawPulls, drawScatter, drawPixels, drawFading, drawSteps, drawRegions, drawUpdate];

/** Show at the next frame; what takes longer follows when nothing has moved for a moment. */
function show() {
  if (!drawing) drawing = requestAnimationFrame(draw);
  clearTimeout(resting);
  cancelAnimationFrame(tracing);
  resting = window.setTimeout(() => restFrom(0), 140);
}

/** @param {number} at */
function restFrom(at) {
  AT_REST[at]();
  if (at + 1 < AT_REST.length) resting = window.setTimeout(() => restFrom(at + 1));
}

/** Show at once, all of it. */
function showAll() {
  clearTimeout(resting);
  computeExactly();
  draw();
  for (const part of AT_REST) part();
}

/** Whose values the neurons show, and whose gradient the routes. */
function readingHelp() {
  const [r, n] = [viewRow(), view.n];
  if (rowsInAll === 1) return "Neurons show their values.";
  return n === 1 ? `Values and routes are of row ${row}.` : `Neurons show their values for row ${r}; the routes are of E over all ${n.toLocaleString("en")} rows.`;
}

function draw() {
  if (drawing) cancelAnimationFrame(drawing);
  drawing = 0;
  computeRoutes();
  picture.drawValues(view, viewRow());
  const labels = !document.body.classList.contains("quiet");
  picture.drawRoutes(routes, labels);
  if (routes.count * view.n * net.depth <= MOST_AT_ONCE) drawPaths();
  drawWeight();
  drawPoint();
  write("reads", readingHelp());
}

/** All of it by whole products; a drag that ended where something is no number is taken back. */
function computeAtRest() {
  computeExactly();
  if (!sound()) {
    takeBack();
    compute();
    draw();
    byId("trouble").textContent = TOO_LARGE;
  }
  computeAll();
  if (selection.source >= 0) picture.drawWeights([{ m: selection.layer, i: selection.source, j: selection.target }]);
}

/** E(w) at 81 values, some of them a frame where the network is large. */
function traceCurve() {
  cancelAnimationFrame(tracing);
  const { low, high } = sliderRange;
  const E = errorOf();
  /** @type {{at: number, E: number}[]} */
  const found = [];
  const trace = () => {
    const until = performance.now() + 8;
    do {
      const at = low + ((high - low) * found.length) / 80;
      found.push({ at, E: E(at) });
    } while (found.length < 81 && performance.now() < until);
    if (found.length < 81) tracing = requestAnimationFrame(trace);
    else {
      curve = found;
      drawCurve();
    }
  };
  trace();
}

function drawEverything() {
  picture.layout(byId("picture").clientWidth || 800, true);
  picture.drawWeights();
  showAll();
}

/** What a derivative is of. */
const ofWhat = () => (rowsInAll === 1 ? "E" : row !== null ? `the error of row ${row}` : `E, the mean over ${rowsInAll.toLocaleString("en")} rows`);

function drawWeight() {
  const value = weightOf(selection);
  const field = inputOf("value");
  if (document.activeElement !== field) field.value = digits(value);
  const { low, high } = sliderRange;
  const slider = inputOf("slider");
  slider.value = String(Math.round(((value - low) / (high - low)) * 1000));
  slider.setAttribute("aria-valuetext", digits(value));
  const { gradient } = routes;
  write("moves", gradient === 0 ? " grows a little, E stays where it is: the gradient is 0." : ` grows by 0.01, E ${gradient > 0 ? "rises" : "falls"} by about `);
  write("moves-by", gradient === 0 ? "" : `${plain(Number((0.01 * Math.abs(gradient)).toPrecision(3)))}.`);
}

/** Text, written only where it changes. @param {Element} element @param {string} text */
function rewrite(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** @param {string} id @param {string} text */
const write = (id, text) => rewrite(byId(id), text);

function drawFigures() {
  const name = weightName(selection);
  const h = 1e-5 * Math.max(1, Math.abs(weightOf(selection)));
  const w = weightOf(selection);
  const E = errorOf();
  const estimated = view.n <= MOST_CURVE_ROWS ? (E(w + h) - E(w - h)) / (2 * h) : NaN;
  /** @type {[Node | string, Node | string][]} */
  const rows = [
    [formula("E"), html("span", "number", plain(view.E))],
    [formula(`dE/d${name}`), html("span", "number", plain(routes.gradient))],
  ];
  if (everyRow) {
    const all_ = `over all ${data.total.toLocaleString("en")} rows, weights as given`;
    rows.push([html("span", "", formula("E"), ` ${all_}`), html("span", "number", plain(everyRow.E))]);
    rows.push([html("span", "", formula(`dE/d${name}`), ` ${all_}`), html("span", "number", plain(everyRow.gradients[placeOf(selection)]))]);
  }
  if (Number.isFinite(estimated)) rows.push(["measured by a small step up and down", html("span", "number", plain(estimated))]);
  byId("figures").replaceChildren(...rows.flatMap(([term, value]) => [html("dt", "", term), html("dd", "", value)]));
}

// -- routes and factors -------------------------------------------------------------------------------------------

/** @param {RoutePath} path */
const pathName = ({ neurons }) => neurons.map((neuron) => (neuron < 0 ? "bias" : String(neuron + 1))).join("-");

/** @typedef {{name: string, value: number, share: number | null}} PathRow a path, what the others add, or the sum */

function drawPaths() {
  const before = paths[pathAt] && pathName(paths[pathAt]);
  paths = routes.largest(8);
  pathAt = Math.max(0, paths.findIndex((path) => pathName(path) === before));
  const rest = routes.gradient - paths.reduce((sum, path) => sum + path.contribution, 0);
  const count = routes.count;
  /** @type {PathRow[]} */
  const rows = paths.map((path) => ({ name: pathName(path), value: path.contribution, share: path.share }));
  if (count > paths.length) rows.push({ name: `${(count - paths.length).toLocaleString("en")} more`, value: rest, share: null });
  rows.push({ name: "sum", value: routes.gradient, share: null });
  const box = byId("paths");
  if (box.childElementCount !== rows.length || box.querySelectorAll("[data-path]").length !== paths.length) box.replaceChildren(...rows.map(pathElement));
  const most = Math.max(...rows.map(({ value }) => Math.abs(value)), 1e-300);
  rows.forEach((row_, at) => fillPath(box.children[at], row_, most));
  markPath();
  const many = count === 1 ? "One path leads" : `${count.toLocaleString("en")} paths lead`;
  const choice = routes.exact ? "" : " Those shown are the largest of some rows.";
  write("routes-about", `${many} from this weight to E, named by the neurons on it. Each adds its part to the gradient of ${ofWhat()}; the percentage is its share of all parts without their signs.${choice}`);
  drawFactors();
}

/** @param {PathRow} row_ @param {number} at */
function pathElement({ name, share }, at) {
  const bar = svg("svg", { viewBox: "0 0 100 14", preserveAspectRatio: "none", "aria-hidden": "true" });
  bar.append(svg("rect", { x: 1, y: 2, height: 10, "vector-effect": "non-scaling-stroke" }));
  const element = html(share === null ? "div" : "button", share === null ? "path rest" : "path", html("span", ""), bar, html("span", "number"), html("span", "number share"));
  if (name === "sum") element.classList.add("total");
  if (share === null) return element;
  element.setAttribute("type", "button");
  element.dataset.path = String(at);
  return element;
}

/** @param {Element} element @param {PathRow} row_ @param {number} most the longest bar */
function fillPath({ children: [label_, bar, number, part] }, { name, value, share }, most) {
  const rect = /** @type {Element} */ (bar.firstChild);
  rect.setAttribute("class", value < 0 ? "negative" : "positive");
  rect.setAttribute("width", (Math.min(98, (Math.abs(value) / most) * 98) || 0).toFixed(2));
  rewrite(label_, name);
  rewrite(number, plain(value));
  rewrite(part, share === null ? "" : `${share > 0 ? "+" : ""}${(100 * share).toFixed(1)}%`.replace("-", "\u2212"));
}

/** Show which path's factors are written out. */
function markPath() {
  byId("paths").querySelectorAll("[data-path]").forEach((button, at) => button.setAttribute("aria-pressed", String(at === pathAt)));
}

/** The factors of a path in the row that derivations are of. @param {RoutePath} path @returns {Factor[]} */
function factorsOf(path) {
  const { layer, source } = selection;
  const r = viewRow();
  const derivation = new Derivation(view, r, alpha);
  const last = net.depth - 1;
  /** @type {Factor[]} */
  const factors = [];
  if (source >= 0) {
    const name = `a(${layer})_${source + 1}`;
    factors.push({ key: keyOf(name), name, formula: "", numbers: "", value: routes.enters[r], what: layer ? "what enters" : "the input" });
  }
  for (let m = layer; m <= last; m++) {
    const j = path.neurons[m - layer + 1];
    if (m > layer) {
      const i = path.neurons[m - layer];
      const name = `w(${m + 1})_{${i + 1},${j + 1}}`;
      factors.push({ key: keyOf(name), name, formula: "", numbers: "", value: net.layers[m].W[i * net.layers[m].nOut + j], what: "the connection" });
    }
    if (m < last) {
      const slope = derivation.slope(m, j);
      const name = `f'(z(${m + 1})_${j + 1})`;
      const numbers = slope.formula ? slope.numbers.replace(/^\((.*)\)$/, "$1") : "";
      if (net.layers[m].between.length) factors.push({ key: keyOf(`a(${m + 1})_${j + 1}`), name, formula: slope.formula, numbers, value: slope.value, what: "the slope" });
    } else {
      const delta = derivation.delta(m, j);
      const name = `dE/dz(${m + 1})_${j + 1}`;
      factors.push({ key: `y^_${j + 1}`, name, formula: delta.formula, numbers: delta.numbers, value: derivation.at(view.dZ[m], j), what: "the error at the output" });
    }
  }
  return factors;
}

/** The factors as they stand in the page: their names and formulas. */
let factorsDrawn = "";

function drawFactors() {
  const box = byId("factors");
  const path = paths[pathAt];
  const factors = path ? factorsOf(path) : [];
  const drawn = JSON.stringify([path && pathName(path), ...factors.map(({ key, name, formula: form, what }) => [key, name, form, what])]);
  if (drawn !== factorsDrawn) {
    factorsDrawn = drawn;
    const result = html("div", "factor", html("span", "what", `path ${path ? pathName(path) : ""}`), html("span", "numbers number"));
    box.replaceChildren(...factors.map(factorCard), html("div", "with", html("span", "times", "="), result));
  }
  const numbers = factors.flatMap((factor) => [factor.numbers === digits(factor.value) ? "" : factor.numbers, signed(factor.value)]);
  const product = digits(factors.reduce((result, factor) => result * factor.value, 1));
  const lines = [...numbers.map((text) => (text ? `= ${text}` : "")), product];
  box.querySelectorAll(".numbers").forEach((line, at) => rewrite(line, numbersText(lines[at])));
  box.querySelectorAll("button").forEach((button) => {
    button.setAttribute("aria-pressed", String(whatIf.get(Number(button.dataset.factor)) === Number(button.dataset.value)));
  });
  if (path) drawWhatIf(factors, path);
}

/** @param {Factor} factor @param {number} at */
function factorCard(factor, at) {
  const buttons = [1, 0].map((value) => {
    const button = html("button", "", String(value));
    button.setAttribute("type", "button");
    button.setAttribute("aria-label", `What if factor ${at + 1} were ${value}?`);
    button.dataset.factor = String(at);
    button.dataset.value = String(value);
    return button;
  });
  const lines = [equation([factor.name, factor.formula]), html("span", "numbers number"), html("span", "numbers number")];
  const card = html("div", "factor", html("span", "what", factor.what), ...lines, html("span", "if", "if it were", ...buttons));
  card.dataset.key = factor.key;
  return html("div", "with", ...(at ? [html("span", "times", "\u00b7")] : []), card);
}

/** @param {Factor[]} factors @param {RoutePath} path */
function drawWhatIf(factors, path) {
  const text = byId("what-if");
  const entries = [...whatIf].filter(([at]) => at < factors.length);
  if (view.n > 1) {
    const one = `The factors are of row ${viewRow()}; over all ${view.n.toLocaleString("en")} rows this path adds ${plain(path.contribution)}. Choose a row to see its routes alone.`;
    rewrite(text, one);
    return;
  }
  if (!entries.length) {
    rewrite(text, "");
    return;
  }
  const changed = factors.reduce((product, factor, at) => product * (whatIf.get(at) ?? factor.value), 1);
  const words = entries.map(([at, value]) => `factor ${at + 1} were ${value}`).join(" and ");
  const total = routes.gradient - path.contribution + changed;
  rewrite(text, `If ${words}, this path would add ${plain(changed)} in place of ${plain(path.contribution)}, and dE/dw would be ${plain(total)} in place of ${plain(routes.gradient)}.`);
}

// -- charts -------------------------------------------------------------------------------------------------------

/** The curve E(w) with the frame around it; the point on it and its tangent move alone. */
function drawCurve() {
  const chart = chartOf("curve");
  if (!curve.length) {
    chart.replaceChildren();
    return;
  }
  const xs = curve.map(({ at }) => at);
  const ys = curve.map(({ E }) => E);
  const [low, high] = ends(ys);
  const s = scales(xs[0], xs[xs.length - 1], low, high);
  const some = view.n > MOST_CURVE_ROWS ? `E of ${MOST_CURVE_ROWS} rows` : "E";
  fill(
    chart,
    frame(s, ticks(xs[0], xs[xs.length - 1], 4), ticks(low, high), weightLabel(), some),
    svg("path", { class: "line", d: polyline(xs, ys, s) }),
    svg("path", { class: "tangent" }),
    svg("circle", { class: "point", r: 6 }),
  );
  drawPoint();
}

/** The point on the curve, and the tangent there. */
function drawPoint() {
  const [tangent, point] = [".tangent", ".point"].map((kind) => byId("curve").querySelector(kind));
  if (!curve.length || !tangent || !point) return;
  const w = weightOf(selection);
  const [first, last] = [curve[0].at, curve[curve.length - 1].at];
  const [low, high] = ends(curve.map(({ E }) => E));
  const s = scales(first, last, low, high);
  const span = (last - first) * 0.2;
  const inside = (/** @type {number} */ y) => Math.max(0, Math.min(CHART.height, y));
  const E = view.n > MOST_CURVE_ROWS ? heightAt(curve, w) : view.E;
  const at = (/** @type {number} */ x) => `${s.x(x).toFixed(1)} ${inside(s.y(E + routes.gradient * (x - w))).toFixed(1)}`;
  tangent.setAttribute("d", `M${at(Math.max(w - span, first))}L${at(Math.min(w + span, last))}`);
  point.setAttribute("cx", s.x(w).toFixed(1));
  point.setAttribute("cy", inside(s.y(E)).toFixed(1));
}

/** A curve's height at w, on the line through the points beside it. @param {{at: number, E: number}[]} points @param {number} w */
function heightAt(points, w) {
  const right = points.findIndex(({ at }) => at >= w);
  const after = right < 0 ? points.length - 1 : Math.max(1, right);
  const [a, b] = [points[after - 1], points[after]];
  return a.E + ((b.E - a.E) * (w - a.at)) / (b.at - a.at);
}

const weightLabel = () => (selection.source < 0 ? "the bias" : "the weight");

/** Every sample's pull: dE/dw of its own error. */
function pulls() {
  const everything = new Routes(all, selection);
  return everything.parts.map((part) => (Number.isFinite(part) ? part * all.n : 0));
}

function drawPulls() {
  const chart = chartOf("pulls");
  const single = rowsInAll === 1;
  byId("batch").setAttribute("aria-pressed", String(row === null));
  inputOf("row").value = row === null ? "" : String(row);
  const drawn = data.rows ? ` The page holds ${rowsInAll.toLocaleString("en")} of ${data.total.toLocaleString("en")} rows, drawn at random.` : "";
  const two = net.widths[0] === 2 ? " A point of the data does the same: filled where the target is larger." : "";
  write("rows-about", (single ? "There is one row." : `Each row, a sample, pulls at this weight; the gradient is the mean of the pulls, the line across. Click a bar to look at its row alone.${two}`) + drawn);
  chart.toggleAttribute("hidden", single);
  if (single) return;
  const values = pulls();
  const mean = values.reduce((sum, v) => sum + v, 0) / values.length;
  const [low, high] = ends([...values, 0]);
  const s = scales(-0.5, values.length - 0.5, low, high);
  const step = s.x(1) - s.x(0);
  const width = Math.max(0.4, step * 0.72);
  let up = "";
  let down = "";
  values.forEach((v, i) => {
    const bar = `M${(s.x(i) - width / 2).toFixed(2)} ${s.y(0).toFixed(1)}h${width.toFixed(2)}V${s.y(v).toFixed(1)}h-${width.toFixed(2)}z`;
    if (v < 0) down += bar;
    else up += bar;
  });
  const group = svg("g", { class: step < 6 ? "bars narrow" : "bars" }, svg("path", { class: "positive", d: up }), svg("path", { class: "negative", d: down }));
  const xs = ticks(0, values.length - 1, Math.min(6, values.length)).filter(Number.isInteger);
  /** @type {Node[]} */
  const parts = [frame(s, xs, ticks(low, high), "row", "dE/dw of each row"), group];
  parts.push(svg("path", { class: "mean", d: `M${CHART.left} ${s.y(mean)}H${CHART.width - CHART.right}` }));
  if (row !== null) parts.push(svg("path", { class: "picked", d: `M${s.x(row)} ${CHART.top}V${CHART.height - CHART.bottom}` }));
  fill(chart, ...parts);
}

function drawScatter() {
  const chart = chartOf("scatter");
  const two = net.widths[0] === 2 && rowsInAll > 1;
  chart.toggleAttribute("hidden", !two);
  if (!two) return;
  const xs = Array.from({ length: rowsInAll }, (_, r) => X[2 * r]);
  const ys = Array.from({ length: rowsInAll }, (_, r) => X[2 * r + 1]);
  const [x0, x1] = ends(xs);
  const [y0, y1] = ends(ys);
  const s = scales(x0 - 0.05 * (x1 - x0), x1 + 0.05 * (x1 - x0), y0 - 0.05 * (y1 - y0), y1 + 0.05 * (y1 - y0));
  const k = net.widths[net.depth];
  const middle = ends(T).reduce((sum, v) => sum + v, 0) / 2;
  let dots = "";
  let others = "";
  for (let r = 0; r < rowsInAll; r++) {
    const other = k > 1 ? T[r * k] > 0.5 : T[r] < middle;
    const dot = `M${(s.x(xs[r]) - 4).toFixed(1)} ${s.y(ys[r]).toFixed(1)}a4 4 0 1 0 8 0a4 4 0 1 0-8 0`;
    if (other) others += dot;
    else dots += dot;
  }
  /** @type {Node[]} */
  const parts = [frame(s, ticks(x0, x1), ticks(y0, y1), inputName(0), inputName(1))];
  parts.push(svg("path", { class: "dot", d: dots }), svg("path", { class: "dot other", d: others }));
  if (row !== null) parts.push(svg("circle", { class: "picked", cx: s.x(xs[row]), cy: s.y(ys[row]), r: 9 }));
  fill(chart, ...parts);
}

/** @param {number} i */
const inputName = (i) => (data.inputs ? shortened(String(data.inputs[i]), 40) : `input ${i + 1}`);

function drawFading() {
  const stages = routes.attenuation();
  const chart = chartOf("fading");
  const row_ = 20;
  const most = Math.max(...stages.map(({ rms }) => rms), 1e-300);
  const decades = 8;
  const children = stages.map(({ name, rms, factor }, at) => {
    const y = 4 + at * row_;
    const width = rms > 0 ? Math.max(2, 210 * Math.max(0, 1 + Math.log10(rms / most) / decades)) : 0;
    const change = at ? `(\u00d7 ${plain(Number(factor.toPrecision(3)))})` : "";
    return svg(
      "g",
      {},
      svg("text", { x: 78, y: y + 13, "text-anchor": "end" }, name.replace(/^dE\/dy\^$/, "dE/d\u0177")),
      svg("rect", { class: "dot", x: 84, y: y + 2, width, height: 13, rx: 3 }),
      svg("text", { x: 90 + width, y: y + 13, class: "small number" }, `${plain(Number(rms.toPrecision(3)))}  ${change}`),
    );
  });
  chart.setAttribute("viewBox", `0 0 ${CHART.width} ${stages.length * row_ + 8}`);
  chart.replaceChildren(...children);
}

// -- pixels -------------------------------------------------------------------------------------------------------

const PIXELS = { size: 150, top: 20, left: 8, gap: 44 };

/** Values as a picture, negative ones paler, so that signs differ in black and white. @param {ArrayLike<number>} values */
function pixelPicture(values, width = data.image[1], height = data.image[0]) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const image = context.createImageData(width, height);
  const most = Math.max(...Array.from(values, Math.abs)) || 1;
  const { cold, warm, paper } = pageColours();
  for (let i = 0; i < width * height; i++) {
    const t = values[i] / most;
    for (let k = 0; k < 3; k++) image.data[4 * i + k] = paper[k] + Math.abs(t) * (t < 0 ? 0.6 : 1) * ((t < 0 ? cold : warm)[k] - paper[k]);
    image.data[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
  return canvas.toDataURL();
}

/** The row as a picture, and beside it the weights from every pixel into a neuron of layer 1. */
function drawPixels() {
  chartOf("pixels").toggleAttribute("hidden", !data.image);
  if (!data.image) return;
  const { size, top, left, gap } = PIXELS;
  const count = net.widths[0];
  const target = selection.layer === 0 ? selection.target : 0;
  const { W, nOut } = net.layers[0];
  const input = view.x.subarray(viewRow() * count, (viewRow() + 1) * count);
  const weights = Float64Array.from({ length: count }, (_, i) => W[i * nOut + target]);
  const [height, width] = data.image;
  const source = selection.layer === 0 ? selection.source : -1;
  /** @type {Node[]} */
  const children = [];
  [input, weights].forEach((values, at) => {
    const x = left + at * (size + gap);
    const name = at ? `weights into neuron ${target + 1} of layer 1` : `row ${row ?? lastRow}`;
    children.push(svg("text", { x, y: 13, class: "small" }, name));
    children.push(svg("image", { href: pixelPicture(values), x, y: top, width: size, height: size, preserveAspectRatio: "none" }));
    children.push(svg("rect", { class: "axis", x, y: top, width: size, height: size }));
    if (source < 0) return;
    const [w, h] = [size / width, size / height];
    children.push(svg("rect", { class: "picked", x: x + (source % width) * w, y: top + Math.floor(source / width) * h, width: w, height: h }));
  });
  fill(chartOf("pixels"), ...children);
}

/** The pixel under a pointer, or null. @param {MouseEvent} event */
function pixelAt(event) {
  const box = byId("pixels").getBoundingClientRect();
  const { size, top, left, gap } = PIXELS;
  const [height, width] = data.image;
  let x = ((event.clientX - box.left) / box.width) * CHART.width - left;
  if (x > size) x -= size + gap;
  const y = ((event.clientY - box.top) / box.height) * CHART.height - top;
  if (x < 0 || x >= size || y < 0 || y >= size) return null;
  return Math.floor((y / size) * height) * width + Math.floor((x / size) * width);
}

/** The colours of what is negative, positive, and of the card. */
function pageColours() {
  const style = getComputedStyle(document.documentElement);
  const [cold, warm, paper] = ["--negative", "--positive", "--card"].map((name) => hexColour(style.getPropertyValue(name)));
  return { cold, warm, paper };
}

/** The values of each neuron over the plane of two inputs, as small pictures. */
function drawRegions() {
  const possible = net.widths[0] === 2 && picture.radius >= 9;
  byId("regions-label").hidden = !possible;
  if (!possible || !inputOf("regions").checked) {
    picture.drawRegions(() => null);
    return;
  }
  const side = 24;
  const xs = Array.from({ length: rowsInAll }, (_, r) => X[2 * r]);
  const ys = Array.from({ length: rowsInAll }, (_, r) => X[2 * r + 1]);
  const [x0, x1] = rowsInAll > 1 ? ends(xs) : [xs[0] - 2, xs[0] + 2];
  const [y0, y1] = rowsInAll > 1 ? ends(ys) : [ys[0] - 2, ys[0] + 2];
  const plane = new Float64Array(2 * side * side);
  for (let v = 0; v < side; v++) {
    for (let u = 0; u < side; u++) {
      plane[2 * (v * side + u)] = x0 + ((x1 - x0) * u) / (side - 1);
      plane[2 * (v * side + u) + 1] = y1 - ((y1 - y0) * v) / (side - 1);
    }
  }
  const pass = new Pass(net, plane, new Float64Array(side * side * net.widths[net.depth]), side * side);
  pass.forward();
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = side;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const image = context.createImageData(side, side);
  const { cold, warm, paper } = pageColours();
  picture.drawRegions((c, j) => {
    const out = pass.out(c - 1);
    const width = net.widths[c];
    const [low, high] = ends(Array.from({ length: side * side }, (_, i) => out[i * width + j]));
    for (let i = 0; i < side * side; i++) {
      const t = (2 * (out[i * width + j] - low)) / (high - low || 1) - 1;
      for (let k = 0; k < 3; k++) image.data[4 * i + k] = paper[k] + Math.abs(t) * (t < 0 ? 0.3 : 0.7) * ((t < 0 ? cold : warm)[k] - paper[k]);
      image.data[4 * i + 3] = 255;
    }
    context.putImageData(image, 0, 0);
    return canvas.toDataURL();
  });
}

/** @param {string} text */
const hexColour = (text) => [1, 3, 5].map((at) => parseInt(text.trim().slice(at, at + 2), 16));

// -- update and training ------------------------------------------------------------------------------------------

function drawUpdate() {
  const squares = view.parameterGradients().reduce((sum, { gradient, rate }) => sum + rate * gradient.reduce((s, g) => s + g * g, 0), 0);
  byId("alpha-name").replaceChildren("rate ", formula("alpha"));
  byId("alpha-value").textContent = digits(alpha);
  /** @type {[Node | string, Node | string][]} */
  const rows = [["the slope promises", html("span", "number", `E ${drop ? "fell" : "falls"} by ${plain(drop ? drop.promised : alpha * squares)}`)]];
  if (drop) rows.push(["found", html("span", "number", `E ${drop.found >= 0 ? "fell" : "rose"} by ${plain(Math.abs(drop.found))}`)]);
  byId("drops").replaceChildren(...rows.flatMap(([term, value]) => [html("dt", "", term), html("dd", "", value)]));
  drawErrors();
}

function drawErrors() {
  const chart = chartOf("errors");
  chart.toggleAttribute("hidden", errorsByEpoch.length < 2);
  byId("epochs").textContent = errorsByEpoch.length > 1 ? `${errorsByEpoch.length - 1} epochs, E = ${plain(errorsByEpoch[errorsByEpoch.length - 1])}` : "";
  if (errorsByEpoch.length < 2) return;
  const [low, high] = ends([...errorsByEpoch, 0]);
  const s = scales(0, errorsByEpoch.length - 1, low, high);
  const xs = errorsByEpoch.map((_, i) => i);
  fill(chart, frame(s, ticks(0, xs.length - 1, 4).filter(Number.isInteger), ticks(low, high), "epoch", "E"), svg("path", { class: "line", d: polyline(xs, errorsByEpoch, s) }));
}

/** w_new = w_old - alpha dE/dw of what is looked at. @param {number} rate */
function update(rate) {
  computeExactly();
  const before = view.E;
  const epochs = errorsByEpoch;
  let squares = 0;
  const good = attempt(() => (squares = view.update(rate)), "epochs");
  errorsByEpoch = epochs;
  drop = good ? { promised: rate * squares, found: before - view.E } : null;
  drawUpdate();
  if (!good) byId("epochs").textContent = TOO_LARGE;
  return drop;
}

let training = 0;

/** One epoch in mini-batches. @param {number} size @param {() => number} random */
function epoch(size, random) {
  if (size >= rowsInAll) {
    all.forward();
    all.backward();
    all.update(alpha);
    return;
  }
  const order = shuffled(rowsInAll, random);
  for (let start = 0; start < rowsInAll; start += size) {
    const rows = order.slice(start, start + size);
    const pass = new Pass(net, takeRows(X, rowsInAll, rows), takeRows(T, rowsInAll, rows), rows.length);
    pass.forward();
    pass.backward();
    pass.update(alpha);
  }
}

function toggleTraining() {
  const button = byId("train");
  if (training) {
    cancelAnimationFrame(training);
    training = 0;
  } else {
    remember();
    drop = null;
    const random = randomFrom(Number(inputOf("seed").value) || 0);
    const size = Number(selectOf("batch-size").value);
    if (!errorsByEpoch.length) {
      computeAll();
      errorsByEpoch = [all.E];
    }
    const before = net.flat();
    const loop = () => {
      const until = performance.now() + 12;
      do {
        before.set(net.flat());
        epoch(size, random);
        const E = all.forward();
        if (!Number.isFinite(E)) {
          net.setFlat(before);
          touched();
          toggleTraining();
          byId("epochs").textContent = "E is no longer finite: take a smaller rate.";
          return;
        }
        errorsByEpoch.push(E);
      } while (performance.now() < until);
      if (errorsByEpoch.length > 4000) errorsByEpoch = errorsByEpoch.filter((_, i) => i % 2 === 0);
      touched();
      compute();
      picture.drawWeights();
      drawErrors();
      draw();
      training = requestAnimationFrame(loop);
    };
    training = requestAnimationFrame(loop);
  }
  button.setAttribute("aria-pressed", String(training !== 0));
  button.textContent = training ? "Pause" : "Train on";
  if (!training) showAll();
}

// -- step by step -------------------------------------------------------------------------------------------------

/** The units of a click: one neuron, or a whole layer. */
function groupedUnits() {
  const derivation = new Derivation(view, viewRow(), alpha);
  const every = derivation.units();
  return inputOf("by-layer").checked ? every.filter(({ j }) => j <= 0) : every;
}

function drawSteps() {
  units = groupedUnits();
  stepAt = Math.min(stepAt, units.length - 1);
  const unit = units[stepAt] ?? null;
  const whole = inputOf("by-layer").checked;
  picture.drawStep(unit, whole);
  byId("step-count").textContent = unit ? `${stepAt + 1} of ${units.length}` : `${units.length} steps: forward, error, backward, update`;
  /** @type {HTMLButtonElement} */ (byId("back")).disabled = stepAt < 0;
  /** @type {HTMLButtonElement} */ (byId("next")).disabled = stepAt >= units.length - 1;
  const box = byId("lines");
  const derivation = new Derivation(view, viewRow(), alpha);
  byId("answer").hidden = !unit || answered;
  if (!unit) {
    byId("step-title").textContent = "";
    byId("step-about").textContent = "";
    box.replaceChildren();
    return;
  }
  const about = unit.kind === "forward" ? derivation.about(unit.m) : "";
  const whose = view.n > 1 && unit.kind !== "update" ? `row ${viewRow()} of ${view.n}` : "";
  byId("step-title").textContent = derivation.title(unit, whole);
  byId("step-about").textContent = [about, whose].filter(Boolean).join("; ");
  const members = whole && unit.j >= 0 ? Array.from({ length: Math.min(12, net.layers[unit.m].nOut) }, (_, j) => ({ ...unit, j })) : [unit];
  const lines = members.flatMap((member) => derivation.lines(member));
  const asked = lines.find((line) => line.asked);
  if (!answered && asked) {
    byId("asked").replaceChildren(formula(asked.left));
    box.replaceChildren(html("div", "lines", equationLine([asked.left, asked.formula, "?"])));
    return;
  }
  box.replaceChildren(html("div", "lines", ...lines.map((line) => equationLine([line.left, line.formula, line.numbers, line.value]))));
}

/** @param {number} to */
function goTo(to) {
  stepAt = Math.max(-1, Math.min(to, groupedUnits().length - 1));
  answered = !inputOf("predict").checked;
  inputOf("typed").value = "";
  byId("verdict").textContent = "";
  compute();
  drawSteps();
}

function checkAnswer() {
  const unit = units[stepAt];
  if (!unit) return;
  const derivation = new Derivation(view, viewRow(), alpha);
  const asked = derivation.lines(unit).find((line) => line.asked);
  if (!asked) return;
  const wrong = unit.kind === "backward" ? mistaken(view, viewRow(), unit.m, unit.j, null) : [];
  const found = judged(inputOf("typed").value, asked.value, wrong);
  const verdict = byId("verdict");
  verdict.textContent = found.text;
  verdict.className = `readout ${found.verdict === "right" ? "right" : "wrong"}`;
  if (found.verdict === "right") {
    answered = true;
    drawSteps();
    byId("answer").hidden = false;
  }
}

let playing = 0;

function togglePlay() {
  if (playing) clearInterval(playing);
  else {
    if (stepAt >= units.length - 1) goTo(-1);
    playing = window.setInterval(() => {
      if (stepAt >= units.length - 1) togglePlay();
      else goTo(stepAt + 1);
    }, 1200);
  }
  if (byId("play").getAttribute("aria-pressed") === "true") playing = 0;
  byId("play").setAttribute("aria-pressed", String(playing !== 0));
  byId("play").textContent = playing ? "Pause" : "Play";
}

// -- choosing -----------------------------------------------------------------------------------------------------

/** @param {Chosen} chosen */
function choose(chosen) {
  selection = chosen;
  curve = [];
  drawCurve();
  pathAt = 0;
  paths = [];
  whatIf = new Map();
  const value = weightOf(chosen);
  const reach = Math.max(2, 1.5 * Math.abs(value));
  sliderRange = { low: value - reach, high: value + reach };
  const parts = [selectOf("pick-layer"), selectOf("pick-source"), selectOf("pick-target")];
  parts[0].value = String(chosen.layer);
  options(parts[1], [...net.layers[chosen.layer].W.keys()].slice(0, net.layers[chosen.layer].nIn).map((i) => [String(i), String(i + 1)]));
  if (net.layers[chosen.layer].b) parts[1].append(option("-1", "bias"));
  options(parts[2], Array.from({ length: net.layers[chosen.layer].nOut }, (_, j) => [String(j), String(j + 1)]));
  parts[1].value = String(chosen.source);
  parts[2].value = String(chosen.target);
  for (const id of ["weight-name", "sentence-name"]) byId(id).replaceChildren(formula(weightName(chosen)));
  byId("sentence").hidden = false;
  byId("trouble").textContent = "";
  const place = chosen.source < 0 ? "" : `${chosen.layer},${chosen.source}`;
  if (picture.partial && !(picture.places.has(`${chosen.layer + 1},${chosen.target}`) && (!place || picture.places.has(place)))) {
    for (const [c, index] of [[chosen.layer + 1, chosen.target], [chosen.layer, chosen.source]]) {
      if (index >= 0 && !picture.shown[c].includes(index)) picture.shown[c] = [...picture.shown[c].slice(1), index].sort((a, b) => a - b);
    }
    picture.layout(picture.width, true);
    picture.drawWeights();
  }
  showAll();
  const name = `The network: ${net.widths.join("-")} neurons from input to output. ${weightName(chosen)} is chosen; its gradient is ${digits(routes.gradient)}, over ${routes.count === 1 ? "one path" : `${routes.count} paths`}.`;
  byId("base").setAttribute("aria-label", name);
}

/** @param {string} value @param {string} text */
function option(value, text) {
  const element = document.createElement("option");
  element.value = value;
  element.textContent = text;
  return element;
}

/** @param {HTMLSelectElement} list @param {string[][]} entries */
function options(list, entries) {
  list.replaceChildren(...entries.map(([value, text]) => option(value, text)));
}

/** The weight of layer 1 with the largest gradient. @returns {Chosen} */
function strongest() {
  all.gradients();
  const dW = all.dW[0];
  let at = 0;
  for (let i = 1; i < dW.length; i++) if (Math.abs(dW[i]) > Math.abs(dW[at])) at = i;
  const { nOut } = net.layers[0];
  return { layer: 0, source: Math.floor(at / nOut), target: at % nOut };
}

/** Light up everything that has this key. @param {string | null} key */
function light(key) {
  document.querySelectorAll(".hot").forEach((element) => element.classList.remove("hot"));
  picture.hover(null);
  picture.marks.querySelectorAll(".ring").forEach((ring) => ring.remove());
  if (!key) return;
  const names = [key, key.replace(/^(z|a|f|fz|dE\/d[az])(?=\d)/, "a")];
  document.querySelectorAll("[data-key]").forEach((element) => {
    const own = element.getAttribute("data-key") ?? "";
    const neuron = own.replace(/^(?:fz|z|a|dE\/d[az])(?=\d)/, "a");
    if (names.includes(own) || names.includes(neuron)) element.classList.add("hot");
  });
  const weight = key.match(/^(?:dE\/d)?w(\d+)_(\d+)_(\d+)$/);
  if (weight) picture.hover({ m: Number(weight[1]) - 1, i: Number(weight[2]) - 1, j: Number(weight[3]) - 1 });
  const neuron = key.match(/^(?:fz|z|a|b|dE\/d[azb])(\d+)_(\d+)$/);
  const output = key.match(/^(?:dE\/d)?[yp]\^?_(\d+)$/);
  const place = neuron ? picture.places.get(`${neuron[1]},${Number(neuron[2]) - 1}`) : output ? picture.places.get(`${net.depth},${Number(output[1]) - 1}`) : null;
  if (place) picture.marks.append(svg("circle", { class: "ring", cx: place.x, cy: place.y, r: picture.radius + 4 }));
}

/** Say what is under the pointer. @param {ReturnType<Picture["under"]>} found */
function say(found) {
  const readout = byId("readout");
  if (!found) readout.textContent = "";
  else if (found.connection) {
    const { m, i, j } = found.connection;
    const chosen = { layer: m, source: i, target: j };
    const gradient = new Routes(view, chosen).gradient;
    readout.replaceChildren(equation([weightName(chosen), weightOf(chosen)]), " , ", equation([`dE/d${weightName(chosen)}`, gradient]), " : click to follow it");
  } else if (found.neuron) {
    const { c, index } = found.neuron;
    const derivation = new Derivation(view, viewRow(), alpha);
    if (c === 0) readout.replaceChildren(equation([`a(0)_${index + 1}`, derivation.at(view.x, index)]), data.inputs ? ` ${data.inputs[index]}` : "");
    else {
      const parts = [
        equation([`z(${c})_${index + 1}`, derivation.at(view.z[c - 1], index)]),
        equation([derivation.outName(c - 1, index), derivation.at(view.out(c - 1), index)]),
        equation([`dE/dz(${c})_${index + 1}`, derivation.at(view.dZ[c - 1], index)]),
      ];
      readout.replaceChildren(...parts.flatMap((part, at) => (at ? [" , ", part] : [part])));
    }
  }
}

/** The place in the picture of a pointer. @param {MouseEvent} event */
function pointAt(event) {
  const box = byId("picture").getBoundingClientRect();
  return picture.under(((event.clientX - box.left) / box.width) * picture.width, ((event.clientY - box.top) / box.height) * picture.height);
}

/** The row under a pointer in the chart of pulls. @param {MouseEvent} event */
function rowAtBar(event) {
  const box = byId("pulls").getBoundingClientRect();
  const x = ((event.clientX - box.left) / box.width) * CHART.width;
  const inside = (x - CHART.left) / (CHART.width - CHART.left - CHART.right);
  return Math.max(0, Math.min(rowsInAll - 1, Math.floor(inside * rowsInAll)));
}

/** The row under a pointer in the scatter. @param {MouseEvent} event */
function rowAtDot(event) {
  const box = byId("scatter").getBoundingClientRect();
  const x = ((event.clientX - box.left) / box.width) * CHART.width;
  const y = ((event.clientY - box.top) / box.height) * CHART.height;
  const xs = Array.from({ length: rowsInAll }, (_, r) => X[2 * r]);
  const ys = Array.from({ length: rowsInAll }, (_, r) => X[2 * r + 1]);
  const [x0, x1] = ends(xs);
  const [y0, y1] = ends(ys);
  const s = scales(x0 - 0.05 * (x1 - x0), x1 + 0.05 * (x1 - x0), y0 - 0.05 * (y1 - y0), y1 + 0.05 * (y1 - y0));
  let nearest = 0;
  let least = Infinity;
  for (let r = 0; r < rowsInAll; r++) {
    const distance = (s.x(xs[r]) - x) ** 2 + (s.y(ys[r]) - y) ** 2;
    if (distance < least) [nearest, least] = [r, distance];
  }
  return nearest;
}

/** @param {number | null} r */
function chooseRow(r) {
  look(r);
  drop = null;
  whatIf = new Map();
  showAll();
}

// -- switching, undo, links ---------------------------------------------------------------------------------------

/** Give every hidden neuron another function. @param {string} kind */
function setActivation(kind) {
  activation = kind;
  net.layers.forEach((layer, m) => {
    const end = m === net.depth - 1;
    if (kind === "as given") layer.between = firstBetween[m];
    else if (!end) layer.between = [{ kind, alpha: 1, negative_slope: 0.01, a: Float64Array.of(0.25), rate: 1 }];
  });
}

/** New buffers, which depend on what stands between the layers; what was found before is over. */
function refresh() {
  Object.assign(all, new Pass(net, X, T, rowsInAll));
  look(row);
  touched();
  drop = null;
  errorsByEpoch = [];
  selectOf("activation").value = activation;
  selectOf("loss").value = net.lossName;
}

/** @param {string} kind */
function drawNewWeights(kind) {
  attempt(() => {
    const random = randomFrom(Number(inputOf("seed").value) || 0);
    for (const { W, b, nIn, nOut } of net.layers) {
      const bound = kind === "he" ? Math.sqrt(6 / nIn) : Math.sqrt(6 / (nIn + nOut));
      for (let i = 0; i < W.length; i++) W[i] = kind === "zeros" ? 0 : kind === "small" ? 0.02 * random() - 0.01 : bound * (2 * random() - 1);
      b?.fill(0);
    }
  }, "link-about");
  choose(selection);
}

/** Go back to what was remembered last. */
function takeBack() {
  const last = undone.pop();
  if (!last) return;
  setActivation(last.activation);
  net.layers.forEach((layer, m) => (layer.between = last.between[m]));
  net.lossName = last.loss;
  net.setFlat(last.flat);
  /** @type {HTMLButtonElement} */ (byId("undo")).disabled = undone.length === 0;
  refresh();
}

function undo() {
  if (training) toggleTraining();
  takeBack();
  picture.drawWeights();
  choose(selection);
}

function reset() {
  attempt(() => {
    setActivation("as given");
    net.lossName = firstLoss;
    net.setFlat(firstWeights);
  }, "link-about");
  choose(selection);
}

/** The page's state as text. */
function stateText() {
  const flat = givenFlat();
  const changed = [...flat.keys()].filter((i) => flat[i] !== firstWeights[i]);
  const state = {
    s: [selection.layer, selection.source, selection.target],
    r: row,
    a: alpha,
    seed: Number(inputOf("seed").value) || 0,
    f: activation,
    l: net.lossName,
    i: changed.length > 2000 ? null : changed,
    w: changed.length > 2000 ? "" : packedText(changed.map((i) => flat[i])),
  };
  return sealed(JSON.stringify(state));
}

/** A state's text for a link, with a mark behind it by which another model's, or a damaged one, is known. @param {string} json */
const sealed = (json) => `${btoa(json)}.${markOf(json)}`;

/** 32 bits of a text and of the model as given, by the hash FNV-1a. @param {string} text */
function markOf(text) {
  let hash = 0x811c9dc5;
  const given = [new Uint8Array(firstWeights.buffer), Uint8Array.from(net.widths.join() + text, (c) => c.charCodeAt(0))];
  for (const bytes of given) for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193);
  return (hash >>> 0).toString(36);
}

/** A state from its text, with what it names checked; null where it is none of this page. @param {string} text */
function stateFrom(text) {
  const [json, mark] = text.trim().replace(/^.*#/, "").split(".");
  const plainText = atob(json);
  if (mark !== markOf(plainText)) return null;
  const state = JSON.parse(plainText);
  const [layer, source, target] = state.s;
  const known = net.layers[layer];
  const within = (/** @type {unknown} */ v, /** @type {number} */ low, /** @type {number} */ end) => Number.isInteger(v) && Number(v) >= low && Number(v) < end;
  if (!known || !within(source, known.b ? -1 : 0, known.nIn) || !within(target, 0, known.nOut)) return null;
  if (state.r !== null && !within(state.r, 0, rowsInAll)) return null;
  /** @param {string} id @param {unknown} value */
  const offered = (id, value) => [...selectOf(id).options].some((one) => one.value === value);
  if (!offered("activation", state.f) || !offered("loss", state.l)) return null;
  if (!(Number.isFinite(state.a) && state.a > 0)) return null;
  const values = unpacked({ kind: "f8", shape: [], data: state.w });
  const flat = firstWeights.slice();
  const places = state.i ?? [];
  if (places.length !== values.length || !values.every(Number.isFinite)) return null;
  for (const [at, i] of places.entries()) {
    if (!within(i, 0, flat.length)) return null;
    flat[i] = values[at];
  }
  return { ...state, flat };
}

/** Take a state back. @param {string} text @returns {boolean} */
function takeState(text) {
  let state;
  try {
    state = stateFrom(text);
  } catch {
    state = null; // no base64, no JSON, or other fields
  }
  if (!state) return false;
  const good = attempt(() => {
    setActivation(state.f);
    net.lossName = state.l;
    setGiven(state.flat);
    row = state.r;
  }, "link-about");
  if (!good) return false;
  setAlpha(state.a);
  inputOf("seed").value = String(Number(state.seed) || 0);
  const [layer, source, target] = state.s;
  choose({ layer, source, target });
  return true;
}

/** Take a state back, and say whether it was one. @param {string} text */
function restore(text) {
  write("link-about", takeState(text) ? "Restored." : "This text is no state of this page.");
}

/** @param {number} value */
function setAlpha(value) {
  alpha = value;
  inputOf("alpha").value = String(Math.log10(value));
}

function giveLink() {
  const text = stateText();
  const about = byId("link-about");
  const field = inputOf("state");
  const framed = window.origin === "null" && window.parent !== window;
  if (givenFlat().filter((w, i) => w !== firstWeights[i]).length > 2000) {
    about.textContent = "Too many weights have changed for a link: it would restore everything but them.";
  } else about.textContent = framed ? "Copy this text; Restore takes it back." : "This address restores what you see.";
  field.value = framed ? text : `${location.href.split("#")[0]}#${text}`;
  if (!framed) history.replaceState(null, "", `#${text}`);
  field.focus();
  field.select();
}

// -- hands --------------------------------------------------------------------------------------------------------

let dragging = false;

/** @param {number} value */
function setValue(value, inDrag = false) {
  drop = null;
  const good = putSound(selection, value, "trouble", inDrag);
  show();
  return good;
}

/** @param {string} id @param {string} event @param {(event: any) => void} act */
const on = (id, event, act) => byId(id).addEventListener(event, act);

function connect() {
  on("slider", "input", () => {
    if (!dragging) remember();
    dragging = true;
    const { low, high } = sliderRange;
    setValue(low + ((high - low) * Number(inputOf("slider").value)) / 1000, true);
  });
  on("slider", "change", () => (dragging = false));
  on("value", "change", () => {
    const text = inputOf("value").value.trim();
    const value = Number(text);
    if (!text || !Number.isFinite(value)) {
      byId("trouble").textContent = "A weight is a number.";
      inputOf("value").value = digits(weightOf(selection));
      return;
    }
    const before = kept();
    if (setValue(value)) remember(before);
    inputOf("value").value = digits(weightOf(selection));
    if (weightOf(selection) < sliderRange.low || weightOf(selection) > sliderRange.high) choose(selection);
  });
  on("picture", "pointermove", (/** @type {PointerEvent} */ event) => {
    const found = pointAt(event);
    compute();
    light(found?.neuron ? `a${found.neuron.c}_${found.neuron.index + 1}` : found?.connection ? `w${found.connection.m + 1}_${found.connection.i + 1}_${found.connection.j + 1}` : null);
    say(found);
  });
  on("picture", "pointerleave", () => {
    light(null);
    say(null);
  });
  on("picture", "click", (/** @type {MouseEvent} */ event) => {
    const found = pointAt(event);
    if (found?.connection) choose({ layer: found.connection.m, source: found.connection.i, target: found.connection.j });
    else if (found?.neuron && found.neuron.c && net.layers[found.neuron.c - 1].b) choose({ layer: found.neuron.c - 1, source: -1, target: found.neuron.index });
    say(found);
  });
  for (const id of ["pick-layer", "pick-source", "pick-target"]) {
    on(id, "change", () => {
      const layer = Number(selectOf("pick-layer").value);
      const { nIn, nOut, b } = net.layers[layer];
      const source = Math.min(Number(selectOf("pick-source").value), nIn - 1);
      choose({ layer, source: source < 0 && !b ? 0 : source, target: Math.min(Number(selectOf("pick-target").value), nOut - 1) });
    });
  }
  on("paths", "click", (event) => {
    const button = event.target.closest("[data-path]");
    if (!button) return;
    pathAt = Number(button.dataset.path);
    whatIf = new Map();
    markPath();
    drawFactors();
    picture.drawOne(paths[pathAt], selection);
  });
  for (const name of ["pointerover", "focusin"]) {
    on("paths", name, (event) => {
      const button = event.target.closest("[data-path]");
      picture.drawOne(button ? paths[Number(button.dataset.path)] : null, selection);
    });
  }
  for (const name of ["pointerleave", "focusout"]) on("paths", name, () => picture.drawOne(null, selection));
  on("factors", "click", (event) => {
    const button = event.target.closest("[data-factor]");
    if (!button) return;
    const at = Number(button.dataset.factor);
    const value = Number(button.dataset.value);
    if (whatIf.get(at) === value) whatIf.delete(at);
    else whatIf.set(at, value);
    drawFactors();
  });
  for (const id of ["factors", "lines", "figures", "sentence"]) {
    on(id, "pointerover", (event) => light(event.target.closest("[data-key]")?.getAttribute("data-key") ?? null));
    on(id, "pointerleave", () => light(null));
  }
  on("first", "click", () => goTo(0));
  on("back", "click", () => goTo(stepAt - 1));
  on("next", "click", () => goTo(stepAt + 1));
  on("play", "click", togglePlay);
  on("by-layer", "change", () => goTo(-1));
  on("predict", "change", () => goTo(stepAt));
  on("answer", "submit", (event) => {
    event.preventDefault();
    checkAnswer();
  });
  on("show", "click", () => {
    answered = true;
    drawSteps();
  });
  on("batch", "click", () => chooseRow(null));
  on("row", "change", () => {
    const r = Number(inputOf("row").value);
    if (inputOf("row").value !== "" && Number.isInteger(r) && r >= 0 && r < rowsInAll) chooseRow(r);
    else {
      byId("row-readout").textContent = `Rows are whole numbers from 0 to ${rowsInAll - 1}.`;
      inputOf("row").value = row === null ? "" : String(row);
    }
  });
  on("pulls", "click", (event) => chooseRow(rowAtBar(event)));
  on("pulls", "pointermove", (event) => {
    const r = rowAtBar(event);
    byId("row-readout").textContent = `Row ${data.rows ? data.rows[r] : r} pulls with ${plain(pulls()[r])}.`;
  });
  on("scatter", "click", (event) => chooseRow(rowAtDot(event)));
  on("pixels", "click", (event) => {
    const source = pixelAt(event);
    if (source !== null) choose({ layer: 0, source, target: selection.layer === 0 ? selection.target : 0 });
  });
  on("alpha", "input", () => {
    alpha = Number((10 ** Number(inputOf("alpha").value)).toPrecision(3));
    drop = null;
    compute();
    drawUpdate();
    drawSteps();
  });
  on("update", "click", () => update(alpha));
  on("train", "click", toggleTraining);
  on("recorded", "input", () => {
    if (!recorded) return;
    if (training) toggleTraining();
    const at = Number(inputOf("recorded").value);
    const size = firstWeights.length;
    const before = givenFlat();
    setGiven(recorded.params.subarray(at * size, (at + 1) * size));
    touched();
    compute();
    const good = sound();
    if (!good) {
      setGiven(before);
      touched();
    }
    byId("recorded-step").textContent = good ? String(recorded.steps[at]) : `${recorded.steps[at]}: ${TOO_LARGE}`;
    picture.drawWeights();
    show();
  });
  on("regions", "change", drawRegions);
  on("activation", "change", () => {
    const kind = selectOf("activation").value;
    attempt(() => setActivation(kind), "link-about");
  });
  on("loss", "change", () => {
    const kind = selectOf("loss").value;
    attempt(() => (net.lossName = kind), "link-about");
  });
  on("draw", "click", () => drawNewWeights(selectOf("initial").value));
  on("undo", "click", undo);
  on("reset", "click", reset);
  on("print", "click", () => window.print());
  on("quiet", "click", () => {
    const quiet = document.body.classList.toggle("quiet");
    byId("quiet").setAttribute("aria-pressed", String(quiet));
    byId("quiet").textContent = quiet ? "Show numbers" : "Hide numbers";
    draw();
  });
  on("link", "click", giveLink);
  on("restore", "click", () => restore(inputOf("state").value));
  window.addEventListener("hashchange", () => restore(location.hash));
  window.addEventListener("keydown", (event) => {
    const typing = event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement;
    if ((event.ctrlKey || event.metaKey) && event.key === "z" && !typing) undo();
  });
  const narrow = window.matchMedia("(max-width: 860px)");
  const arrange = () => {
    const weight = /** @type {HTMLElement} */ (byId("weight-heading").closest("section"));
    const network = /** @type {HTMLElement} */ (byId("network-heading").closest("section"));
    const rows = /** @type {HTMLElement} */ (byId("rows-heading").closest("section"));
    if (narrow.matches) network.after(weight);
    else rows.before(weight);
  };
  narrow.addEventListener("change", arrange);
  arrange();
  new ResizeObserver(() => {
    const width = byId("picture").clientWidth;
    if (width && Math.abs(width - picture.width) > 1) drawEverything();
  }).observe(byId("picture"));
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    drawRegions();
    drawPixels();
  });
}

/** Fill what does not change. */
function prepare() {
  options(selectOf("pick-layer"), net.layers.map((_, m) => [String(m), String(m + 1)]));
  const given = option("as given", "as given");
  options(selectOf("activation"), Object.keys(ACTIVATIONS).map((kind) => [kind, kind]));
  selectOf("activation").prepend(given);
  given.selected = true;
  selectOf("activation").disabled = net.depth < 2;
  options(selectOf("loss"), [...new Set([firstLoss, "HalfSquaredError", "MeanSquaredError"])].map((kind) => [kind, kind]));
  options(selectOf("initial"), [["glorot", "Glorot uniform"], ["he", "He uniform"], ["small", "tiny"], ["zeros", "zeros"]]);
  const sizes = [1, 8, 32, 128].filter((size) => size < rowsInAll).map((size) => [String(size), String(size)]);
  options(selectOf("batch-size"), [[String(rowsInAll), "all rows"], ...sizes]);
  inputOf("row").max = String(rowsInAll - 1);
  byId("notes").replaceChildren(...data.notes.map((/** @type {string} */ note) => html("li", "", note)));
  /** @type {HTMLButtonElement} */ (byId("undo")).disabled = true;
  inputOf("regions").checked = net.widths[0] === 2 && rowsInAll > 1;
  setAlpha(0.5);
  picture.nameOf = (c, index) => {
    if (c === 0) return data.inputs ? String(data.inputs[index]) : null;
    return c === net.depth && data.outputs ? String(data.outputs[index] ?? "") : null;
  };
  if (recorded) {
    byId("recorded-section").hidden = false;
    inputOf("recorded").max = String(recorded.steps.length - 1);
    inputOf("recorded").value = String(recorded.steps.length - 1);
    byId("recorded-step").textContent = String(recorded.steps[recorded.steps.length - 1]);
  }
}

/** Say what of a large network is drawn. */
function sayWhatIsDrawn() {
  const few = [];
  if (picture.partial) few.push(`the ${MOST_NEURONS} strongest neurons of a layer`);
  if (picture.drawn.length < picture.connections().length) few.push(`the ${MOST_LINES.toLocaleString("en")} largest weights between them`);
  byId("fewer").hidden = few.length === 0;
  byId("fewer").textContent = `Drawn are ${few.join(" and ")}. Sums and gradients are over all.`;
}

// -- for scripts --------------------------------------------------------------------------------------------------

/** @param {unknown} value @param {number} low @param {number} high @param {string} name */
function whole(value, low, high, name) {
  if (!Number.isInteger(value) || Number(value) < low || Number(value) > high) {
    throw new RangeError(`explorer: ${name} is a whole number from ${low} to ${high}, got ${String(value)}.`);
  }
  return Number(value);
}

/** @param {unknown} layer @param {unknown} source @param {unknown} target @returns {Chosen} */
function weightAt(layer, source, target) {
  const l = whole(layer, 1, net.depth, "layer") - 1;
  const { nIn, nOut, b } = net.layers[l];
  if (source === "bias" && !b) throw new RangeError(`explorer: dense layer ${l + 1} has no bias.`);
  return { layer: l, source: source === "bias" ? -1 : whole(source, 1, nIn, 'source, or "bias",') - 1, target: whole(target, 1, nOut, "target") - 1 };
}

/** What a pass leaves behind, as lists by dense layer, named as `explain_step` names them. @param {Pass} pass */
function arraysOf(pass) {
  pass.gradients();
  const { n } = pass;
  const p = pass.probabilities();
  /** @param {Float64Array[]} arrays */
  const byLayer = (arrays) => arrays.map((array) => asRows(array, n));
  return {
    E: pass.E,
    x: asRows(pass.x, n),
    z: byLayer(pass.z),
    a: pass.net.layers.map((_, l) => asRows(pass.out(l), n)),
    p: p ? asRows(p, n) : null,
    dE_da: byLayer(pass.dA),
    dE_dz: byLayer(pass.dZ),
    dE_dW: pass.net.layers.map(({ nIn }, l) => asRows(pass.dW[l], nIn)),
    dE_db: pass.db.map((db) => (db ? Array.from(db) : null)),
  };
}

/**
 * For scripts and tests. Layers and neurons count from 1, rows from 0. `state()` describes what is looked at, all rows
 * or the one chosen by `sample`; lists go by dense layer, as `explain_step` has them, and E is always the batch's.
 */
const explorer = {
  state() {
    start();
    computeExactly();
    computeAll();
    paths = routes.largest(8);
    return {
      ...arraysOf(view),
      E: all.E,
      E_shown: view.E,
      sample: row,
      selection: { layer: selection.layer + 1, source: selection.source < 0 ? "bias" : selection.source + 1, target: selection.target + 1 },
      W: net.layers.map(({ W, nIn }) => asRows(W, nIn)),
      b: net.layers.map(({ b }) => (b ? Array.from(b) : null)),
      gradient: routes.gradient,
      paths: paths.map(({ neurons, contribution, share }) => ({ neurons: neurons.map((i) => (i < 0 ? "bias" : i + 1)), contribution, share })),
    };
  },
  /** @param {number} layer @param {number | "bias"} source @param {number} target */
  select(layer, source, target) {
    start();
    choose(weightAt(layer, source, target));
  },
  /** @param {number} layer @param {number | "bias"} source @param {number} target @param {number} value */
  setWeight(layer, source, target, value) {
    start();
    if (typeof value !== "number" || !Number.isFinite(value)) throw new RangeError(`explorer: a weight is a finite number, got ${String(value)}.`);
    const at = weightAt(layer, source, target);
    const before = kept();
    drop = null;
    if (!putSound(at, value, null)) throw new RangeError(`explorer: with a weight of ${value} E is too large a number.`);
    remember(before);
    if (at.source >= 0) picture.drawWeights([{ m: at.layer, i: at.source, j: at.target }]);
    show();
  },
  /** @param {number | null} r */
  sample(r) {
    start();
    chooseRow(r === null ? null : whole(r, 0, rowsInAll - 1, "row, or null,"));
  },
  /** @param {number} rate */
  update(rate) {
    start();
    if (typeof rate !== "number" || !Number.isFinite(rate) || rate <= 0) throw new RangeError(`explorer: alpha is a number above 0, got ${String(rate)}.`);
    setAlpha(rate);
    return update(rate);
  },
};
/** Fill the page: after its first frame, which shows what needs no computing, or when a script asks for something. */
function start() {
  if (started) return;
  started = true;
  prepare();
  look(null);
  compute();
  all.gradients();
  picture.choose((c, index) => {
    if (c === 0) return all.dW[0].subarray(index * net.widths[1], (index + 1) * net.widths[1]).reduce((sum, g) => sum + Math.abs(g), 0);
    let sum = 0;
    for (let r = 0; r < all.n; r++) sum += Math.abs(all.out(c - 1)[r * net.widths[c] + index] * all.dA[c - 1][r * net.widths[c] + index]);
    return sum;
  });
  picture.layout(byId("picture").clientWidth || 800, true);
  picture.drawWeights();
  sayWhatIsDrawn();
  connect();
  const first = data.select ? { layer: data.select[0], source: data.select[1], target: data.select[2] } : strongest();
  const { parts } = new Routes(all, first);
  lastRow = parts.reduce((most, part, r) => (Math.abs(part) > Math.abs(parts[most]) ? r : most), 0);
  choose(first);
  if (location.hash.length > 1) restore(location.hash);
}

Object.assign(window, { explorer });
requestAnimationFrame(() => setTimeout(start));
window.addEventListener("beforeprint", start);
