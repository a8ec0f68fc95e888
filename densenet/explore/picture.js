"use strict";
/*
 * The network as a picture: neurons in columns, weights as lines, and over them the lit routes of the chosen weight.
 * Two layers of SVG: what changes while a weight is dragged is drawn over what does not.
 */

const SVG = "http://www.w3.org/2000/svg";
/** As many neurons of a layer are drawn; beyond, the strongest. */
const MOST_NEURONS = 40;
/** As many weights are drawn; beyond, the largest of their layer. Lit routes are drawn in any case. */
const MOST_LINES = 1600;
/** As many lines are lit at once: the strongest. */
const MOST_LIT = 120;

/**
 * @param {string} tag @param {Record<string, string | number>} [attributes] @param {...(Node | string)} children
 * @returns {SVGElement}
 */
function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return /** @type {SVGElement} */ (element);
}

/** Elements of one kind that are drawn again and again: an attribute is written only where it changes. */
class Pool {
  /** @param {SVGElement} parent @param {string} tag */
  constructor(parent, tag) {
    this.parent = parent;
    this.tag = tag;
    /** @type {{element: SVGElement, has: Record<string, string | number>, text: string}[]} */
    this.kept = [];
    this.used = 0;
  }

  /** The next element. @param {Record<string, string | number>} attributes the same names each time @param {string} [text] */
  add(attributes, text = "") {
    if (this.used === this.kept.length) {
      const element = svg(this.tag);
      this.parent.append(element);
      this.kept.push({ element, has: {}, text: "" });
    }
    const one = this.kept[this.used++];
    for (const name in attributes) {
      if (one.has[name] === attributes[name]) continue;
      one.element.setAttribute(name, String(attributes[name]));
      one.has[name] = attributes[name];
    }
    if (one.text !== text) one.element.textContent = one.text = text;
  }

  /** Take away what was not asked for since the last end. */
  end() {
    for (const { element } of this.kept.splice(this.used)) element.remove();
    this.used = 0;
  }
}

/**
 * Column c holds layer c: 0 the input, m + 1 the neurons of dense layer m. A connection is {m, i, j}, all from 0.
 * @typedef {{c: number, index: number, x: number, y: number}} Place
 * @typedef {{m: number, i: number, j: number}} Connection
 */

/** The picture of a network. */
class Picture {
  /** @param {SVGElement} base @param {SVGElement} lit @param {Network} net */
  constructor(base, lit, net) {
    this.base = base;
    this.lit = lit;
    this.net = net;
    /** Which neurons of each column are drawn. @type {number[][]} */
    this.shown = net.widths.map((width) => Array.from({ length: Math.min(width, MOST_NEURONS) }, (_, i) => i));
    /** @type {Map<string, Place>} */
    this.places = new Map();
    /** @type {Map<string, {group: SVGElement, value: SVGElement, shape: SVGElement, bias: SVGElement | null}>} */
    this.nodes = new Map();
    /** @type {Map<string, SVGElement>} */
    this.edges = new Map();
    this.chosen = svg("g");
    const flows = svg("g");
    const labels = svg("g");
    this.flows = new Pool(flows, "path");
    this.labels = new Pool(labels, "text");
    this.one = svg("g");
    this.marks = svg("g");
    this.lit.append(this.chosen, flows, this.one, this.marks, labels);
    this.images = svg("g");
    this.radius = 10;
    this.chosenAs = "";
    /** How far apart the neurons of each column stand. @type {number[]} */
    this.apart = [];
    /** Where E stands. */
    this.error = { x: 0, y: 0 };
    /** Lines that are drawn. @type {Connection[]} */
    this.drawn = [];
    this.width = 0;
    this.height = 0;
  }

  /** Choose the strongest neurons of wide layers. @param {(c: number, index: number) => number} strength */
  choose(strength) {
    this.shown = this.net.widths.map((width, c) => {
      const all = Array.from({ length: width }, (_, i) => i);
      if (width <= MOST_NEURONS) return all;
      const sizes = all.map((i) => strength(c, i));
      return all
        .sort((a, b) => sizes[b] - sizes[a])
        .slice(0, MOST_NEURONS)
        .sort((a, b) => a - b);
    });
  }

  /** Whether some neurons are left out. */
  get partial() {
    return this.net.widths.some((width) => width > MOST_NEURONS);
  }

  /** Place and draw everything for a width in pixels. @param {number} width @param {boolean} names */
  layout(width, names) {
    const columns = this.net.widths.length;
    const most = Math.max(2, ...this.shown.map((neurons) => neurons.length));
    const narrow = width < 600;
    const margin = narrow ? 26 : 60;
    const end = narrow ? 34 : 70; // room for E
    const gap = (width - 2 * margin - end) / (columns - 1);
    const [head, foot] = [24, 24];
    const furthest = narrow ? 84 : 110;
    const step = Math.max(13.5, Math.min(furthest, (narrow ? 280 : 380) / (most - 1)));
    this.width = width;
    this.radius = Math.max(3, Math.min(narrow ? 15 : 25, gap * 0.26, step * 0.4));
    this.height = Math.round(head + foot + 2 * this.radius + step * (most - 1));
    const middle = head + (this.height - head - foot) / 2;
    this.places.clear();
    this.apart = this.shown.map((neurons) => Math.min(furthest, (step * (most - 1)) / Math.max(1, neurons.length - 1)));
    this.shown.forEach((neurons, c) => {
      const apart = this.apart[c];
      neurons.forEach((index, at) => {
        this.places.set(`${c},${index}`, { c, index, x: margin + c * gap, y: middle + (at - (neurons.length - 1) / 2) * apart });
      });
    });
    this.error = { x: width - end / 2 - 4, y: middle };
    for (const element of [this.base, this.lit]) element.setAttribute("viewBox", `0 0 ${width} ${this.height}`);
    this.base.style.setProperty("--value", this.radius < 20 ? "10px" : "12px");
    this.drawBase(names, margin, gap);
    this.chosen.replaceChildren();
    this.chosenAs = "";
  }

  /** @param {boolean} names @param {number} margin @param {number} gap */
  drawBase(names, margin, gap) {
    this.edges.clear();
    this.nodes.clear();
    this.drawn = this.largest();
    const edges = svg("g", { class: this.drawn.length > 400 ? "dense" : "" });
    for (const { m, i, j } of this.drawn) {
      const line = svg("path", { d: this.line(m, i, j) });
      edges.append(line);
      this.edges.set(`${m},${i},${j}`, line);
    }
    const heads = svg("g");
    this.net.widths.forEach((count, c) => {
      const last = c === this.net.widths.length - 1;
      const [first, end, inner] = gap < 44 ? ["in", "out", ""] : ["input", "output", "layer "];
      const room = gap > 15 || c % 2 === 0 || last; // numbers of layers that stand close would run together
      const text = c === 0 ? first : last ? end : room && !(gap < 15 && c + 2 === this.net.widths.length) ? inner + c : "";
      const head = svg("text", { x: margin + c * gap, y: 12, "text-anchor": "middle", class: "small" }, text);
      heads.append(head);
      if (this.shown[c].length < count) {
        const more = svg("text", { x: margin + c * gap, y: this.height - 4, "text-anchor": "middle", class: "small" });
        more.append(`${this.shown[c].length} of ${count}`);
        heads.append(more);
      }
    });
    const nodes = svg("g");
    for (const { c, index, x, y } of this.places.values()) {
      const r = this.radius;
      const shape = c ? svg("circle", { cx: x, cy: y, r }) : svg("rect", { x: x - r, y: y - r, width: 2 * r, height: 2 * r, rx: 3 });
      const value = svg("text", { x, y, class: "value" });
      const group = svg("g", { class: "node" }, shape, value);
      let bias = null;
      if (c && this.net.layers[c - 1].b && r >= 9) {
        bias = svg("circle", { class: "bias", cx: x - r * 0.82, cy: y + r * 0.82, r: Math.max(3.5, r * 0.22) });
        group.append(bias);
      }
      nodes.append(group);
      this.nodes.set(`${c},${index}`, { group, value, shape, bias });
    }
    if (names) for (const { c, index, x, y } of this.places.values()) this.drawName(nodes, c, index, x, y);
    const { x, y } = this.error;
    const box = svg("rect", { x: x - 15, y: y - 15, width: 30, height: 30, rx: 8 });
    nodes.append(svg("g", { class: "node" }, box, svg("text", { x, y }, "E")));
    this.base.replaceChildren(edges, heads, this.images, nodes);
  }

  /** The name of an input or output beside it. @type {((c: number, index: number) => string | null)} */
  nameOf = () => null;

  /** @param {SVGElement} parent @param {number} c @param {number} index @param {number} x @param {number} y */
  drawName(parent, c, index, x, y) {
    const name = this.nameOf(c, index);
    if (name === null) return;
    const letter = 6.3; // about the width of a letter
    if (this.apart[c] < 2 * this.radius + 16) {
      const side = c ? 1 : -1; // of neurons that stand close, a name stands at the side
      const room = Math.floor((c ? 54 : x - this.radius - 4) / letter);
      const place = { x: x + side * (this.radius + 4), y: y + 4, "text-anchor": c ? "start" : "end" };
      if (room > 2) parent.append(svg("text", { ...place, class: "small halo" }, shortened(name, room)));
      return;
    }
    const room = Math.floor((2 * (c ? this.width - x : x)) / letter);
    parent.append(svg("text", { x, y: y + this.radius + 12, "text-anchor": "middle", class: "small halo" }, shortened(name, Math.min(14, room))));
  }

  /** @returns {Connection[]} the connections between drawn neurons */
  connections() {
    /** @type {Connection[]} */
    const all = [];
    for (let m = 0; m < this.net.depth; m++) {
      for (const i of this.shown[m]) for (const j of this.shown[m + 1]) all.push({ m, i, j });
    }
    return all;
  }

  /** The connections that are drawn as lines: all, or the largest in their layer. */
  largest() {
    const every = this.connections();
    if (every.length <= MOST_LINES) return every;
    const scales = this.scales();
    /** @param {Connection} connection */
    const size = ({ m, i, j }) => Math.abs(this.net.layers[m].W[i * this.net.layers[m].nOut + j]) / scales[m];
    return every.sort((a, b) => size(b) - size(a)).slice(0, MOST_LINES);
  }

  /** The largest |w| of each layer, or 1. */
  scales() {
    return this.net.layers.map(({ W }) => W.reduce((most, w) => Math.max(most, Math.abs(w)), 0) || 1);
  }

  /** @param {number} m @param {number} i @param {number} j */
  line(m, i, j) {
    const from = /** @type {Place} */ (this.places.get(`${m},${i}`));
    const to = /** @type {Place} */ (this.places.get(`${m + 1},${j}`));
    if (!from || !to) return "";
    return `M${(from.x + this.radius + 1).toFixed(1)} ${from.y.toFixed(1)}L${(to.x - this.radius - 1).toFixed(1)} ${to.y.toFixed(1)}`;
  }

  /** Weights as faint lines: thick where large, dashed where negative. @param {Connection[]} [which] */
  drawWeights(which = this.drawn) {
    const scales = this.scales();
    for (const { m, i, j } of which) {
      const line = this.edges.get(`${m},${i},${j}`);
      if (!line) continue;
      const { W, nOut } = this.net.layers[m];
      const w = W[i * nOut + j];
      const kind = w < 0 ? "edge less" : "edge";
      const width = (0.6 + 2.4 * Math.min(1, Math.abs(w) / scales[m])).toFixed(1);
      if (line.getAttribute("class") !== kind) line.setAttribute("class", kind);
      if (line.getAttribute("stroke-width") !== width) line.setAttribute("stroke-width", width);
    }
  }

  /** Values in the neurons; grey is a neuron through which no error goes back. @param {Pass} pass @param {number} row */
  drawValues(pass, row) {
    const readable = this.radius >= 14;
    for (const [key, { group, value }] of this.nodes) {
      const [c, index] = key.split(",").map(Number);
      const array = c ? pass.out(c - 1) : pass.x;
      const v = array[(row * array.length) / pass.n + index];
      const kind = c && pass.closed(c - 1, index) ? "node dead" : v > 0 ? "node up" : v < 0 ? "node down" : "node";
      if (group.getAttribute("class") !== kind) group.setAttribute("class", kind);
      const text = readable ? short(v, this.radius) : "";
      if (value.textContent !== text) value.textContent = text;
    }
  }

  /** What runs through the lines below the chosen weight, and through itself. @param {Routes} routes */
  flowsOf(routes) {
    const { selection, net } = routes;
    /** @type {{m: number, i: number, j: number, flow: number}[]} */
    const flows = [];
    for (let m = selection.layer + 1; m < net.depth; m++) {
      const sources = m === selection.layer + 1 ? [selection.target] : this.shown[m];
      const targets = this.shown[m + 1];
      const found = routes.flows(m, sources, targets);
      sources.forEach((i, at) => targets.forEach((j, to) => flows.push({ m, i, j, flow: found[at * targets.length + to] })));
    }
    if (selection.source >= 0) {
      flows.push({ m: selection.layer, i: selection.source, j: selection.target, flow: routes.gradient });
    }
    return flows;
  }

  /** Light the routes of a selection. @param {Routes} routes @param {boolean} labels */
  drawRoutes(routes, labels) {
    const { selection, net } = routes;
    const flows = this.flowsOf(routes);
    const most = flows.reduce((size, { flow }) => Math.max(size, Math.abs(flow)), Math.abs(routes.gradient)) || 1;
    const lit = flows.filter(({ flow }) => Math.abs(flow) > 0.004 * most);
    lit.sort((a, b) => Math.abs(b.flow) - Math.abs(a.flow));
    lit.length = Math.min(lit.length, MOST_LIT);
    const closed = flows.filter(({ flow }) => flow === 0);
    if (closed.length + lit.length <= 60) {
      for (const { m, i, j } of closed) this.flows.add({ d: this.line(m, i, j), class: "nothing", "stroke-width": 2 });
    }
    const few = labels && lit.length <= 14 && this.width >= 600;
    for (const { m, i, j, flow } of lit.reverse()) {
      this.flows.add({ d: this.line(m, i, j), ...this.look(flow, most) });
      if (few) this.label(m, i, j, net.layers[m].W[i * net.layers[m].nOut + j]);
    }
    this.toError(routes, most);
    this.flows.end();
    this.labels.end();
    this.markChosen(selection);
  }

  /** How a line looks that carries so much of the gradient. @param {number} flow @param {number} most */
  look(flow, most) {
    const size = Math.abs(flow) / most;
    const kind = size <= 0.004 ? "nothing" : flow > 0 ? "flow positive" : "flow negative";
    return { class: kind, "stroke-width": (1.5 + 8.5 * Math.min(1, size)).toFixed(1) };
  }

  /** From the outputs to E. @param {Routes} routes @param {number} most */
  toError(routes, most) {
    const { selection, net } = routes;
    const last = net.depth - 1;
    const ends = routes.ends();
    for (const o of this.shown[last + 1]) {
      if (selection.layer === last && o !== selection.target) continue;
      this.flows.add({ d: this.lineToError(o), ...this.look(ends[o], most) });
    }
  }

  /** The line from output o to E. @param {number} o */
  lineToError(o) {
    const place = this.places.get(`${this.net.depth},${o}`);
    if (!place) return "";
    return `M${(place.x + this.radius + 1).toFixed(1)} ${place.y.toFixed(1)}L${this.error.x - 16} ${this.error.y}`;
  }

  /** The number of a weight on its line. @param {number} m @param {number} i @param {number} j @param {number} w */
  label(m, i, j, w) {
    const from = this.places.get(`${m},${i}`);
    const to = this.places.get(`${m + 1},${j}`);
    if (!from || !to) return;
    const t = 0.36;
    const x = from.x + (to.x - from.x) * t;
    const y = from.y + (to.y - from.y) * t - 4;
    this.labels.add({ x, y, class: "halo amount", "text-anchor": "middle" }, short(w, 20));
  }

  /** Mark the chosen weight or bias. @param {Chosen} selection */
  markChosen({ layer, source, target }) {
    const chosen = `${layer},${source},${target}`;
    if (chosen === this.chosenAs) return;
    this.chosenAs = chosen;
    for (const [key, { bias }] of this.nodes) {
      bias?.classList.toggle("picked", source < 0 && key === `${layer + 1},${target}`);
    }
    const place = this.places.get(`${layer + 1},${target}`);
    if (source >= 0) {
      this.chosen.replaceChildren(svg("path", { d: this.line(layer, source, target), class: "chosen", "stroke-width": 17 }));
    } else if (place) {
      const ring = { cx: place.x, cy: place.y, r: this.radius + 5, class: "chosen", "stroke-width": 5 };
      this.chosen.replaceChildren(svg("circle", ring));
    }
  }

  /** Light one path alone, or all again. @param {RoutePath | null} path @param {Chosen} selection */
  drawOne(path, selection) {
    this.lit.classList.toggle("single", path !== null);
    this.one.replaceChildren();
    if (!path) return;
    const kind = path.contribution === 0 ? "nothing" : path.contribution > 0 ? "positive" : "negative";
    path.neurons.forEach((neuron, at) => {
      const c = selection.layer + at;
      const next = path.neurons[at + 1];
      if (neuron < 0) return;
      const d = next === undefined ? this.lineToError(neuron) : this.line(c, neuron, next);
      this.one.append(svg("path", { d, class: `one ${kind}`, "stroke-width": 6 }));
    });
  }

  /** Mark what a step is about. @param {Unit | null} unit @param {boolean} whole */
  drawStep(unit, whole) {
    if (!unit) {
      this.marks.replaceChildren();
      return;
    }
    if (unit.kind === "error") {
      const { x, y } = this.error;
      this.marks.replaceChildren(svg("circle", { cx: x, cy: y, r: 21, class: "step-now" }));
      return;
    }
    const neurons = whole ? this.shown[unit.m + 1] : [unit.j];
    const rings = neurons.flatMap((j) => {
      const place = this.places.get(`${unit.m + 1},${j}`);
      return place ? [svg("circle", { cx: place.x, cy: place.y, r: this.radius + 6, class: "step-now" })] : [];
    });
    this.marks.replaceChildren(...rings);
  }

  /** A small picture inside each neuron: where in the plane of two inputs it answers. @param {(c: number, j: number) => string | null} url */
  drawRegions(url) {
    this.images.replaceChildren();
    let drawn = false;
    for (const { c, index, x, y } of this.places.values()) {
      const address = c ? url(c, index) : null;
      const node = this.nodes.get(`${c},${index}`);
      node?.shape.setAttribute("fill-opacity", address ? "0" : "1");
      if (!address || !node) continue;
      drawn = true;
      const id = `clip${c}_${index}`;
      const r = this.radius;
      this.images.append(
        svg("clipPath", { id }, svg("circle", { cx: x, cy: y, r })),
        svg("image", { href: address, x: x - r, y: y - r, width: 2 * r, height: 2 * r, "clip-path": `url(#${id})`, preserveAspectRatio: "none" }),
      );
    }
    this.base.classList.toggle("regions", drawn);
  }

  /** What lies under a point of the picture. @param {number} x @param {number} y @returns {{connection?: Connection, neuron?: {c: number, index: number}} | null} */
  under(x, y) {
    for (const { c, index, x: cx, y: cy } of this.places.values()) {
      const reach = this.radius + 3;
      if ((x - cx) ** 2 + (y - cy) ** 2 <= reach ** 2) return { neuron: { c, index } };
    }
    /** @type {Connection | null} */
    let nearest = null;
    let least = 12 ** 2;
    for (const connection of this.drawn) {
      const from = /** @type {Place} */ (this.places.get(`${connection.m},${connection.i}`));
      const to = /** @type {Place} */ (this.places.get(`${connection.m + 1},${connection.j}`));
      if (x < from.x || x > to.x) continue;
      const dx = to.x - from.x;
      const dy = to.y - from.y;
      const t = Math.min(1, Math.max(0, ((x - from.x) * dx + (y - from.y) * dy) / (dx * dx + dy * dy)));
      const distance = (x - from.x - t * dx) ** 2 + (y - from.y - t * dy) ** 2;
      if (distance < least) {
        least = distance;
        nearest = connection;
      }
    }
    return nearest ? { connection: nearest } : null;
  }

  /** Mark what the pointer is over. @param {Connection | null} connection */
  hover(connection) {
    this.lit.querySelectorAll(".hover").forEach((line) => line.remove());
    if (!connection) return;
    const d = this.line(connection.m, connection.i, connection.j);
    this.marks.append(svg("path", { d, class: "hover", "stroke-width": 3 }));
  }
}

/** A name of at most so many letters. @param {string} name @param {number} most */
const shortened = (name, most) => (name.length > most ? `${name.slice(0, most - 1)}\u2026` : name);

/** A number that fits into a neuron. @param {number} v @param {number} radius */
function short(v, radius) {
  if (v === 0) return "0";
  const size = Math.abs(v);
  const places = radius < 20 ? 2 : 3;
  let text = size >= 1000 || size < 0.001 ? v.toExponential(0).replace("+", "") : v.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : places);
  if (text.includes(".") && !text.includes("e")) text = text.replace(/0+$/, "").replace(/\.$/, "");
  return text.replace("-", "\u2212");
}
