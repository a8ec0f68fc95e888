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
    this.flows = svg("g", { class: "flows" });
    this.marks = svg("g");
    this.labels = svg("g");
    this.images = svg("g");
    this.radius = 10;
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
    const most = Math.max(...this.shown.map((neurons) => neurons.length));
    this.width = width;
    this.height = Math.round(Math.min(640, Math.max(width < 600 ? 280 : 400, most * 30 + 60)));
    const margin = width < 600 ? 26 : 60;
    const end = width < 600 ? 34 : 70; // room for E
    const gap = (width - 2 * margin - end) / (columns - 1);
    this.radius = Math.max(3, Math.min(width < 600 ? 15 : 25, gap * 0.26, ((this.height - 50) / most) * 0.4));
    this.places.clear();
    this.shown.forEach((neurons, c) => {
      const step = Math.min((this.height - 56) / neurons.length, 110);
      const top = 28 + (this.height - 40 - step * (neurons.length - 1)) / 2 - 8;
      neurons.forEach((index, at) => {
        this.places.set(`${c},${index}`, { c, index, x: margin + c * gap, y: top + at * step });
      });
    });
    this.error = { x: width - end / 2 - 4, y: this.height / 2 + 8 };
    for (const element of [this.base, this.lit]) {
      element.setAttribute("viewBox", `0 0 ${width} ${this.height}`);
      element.replaceChildren();
    }
    this.drawBase(names, margin, gap);
    this.lit.append(this.flows, this.marks, this.labels);
  }

  /** @param {boolean} names @param {number} margin @param {number} gap */
  drawBase(names, margin, gap) {
    const edges = svg("g");
    this.edges.clear();
    this.nodes.clear();
    this.drawn = this.largest();
    for (const { m, i, j } of this.drawn) {
      const line = svg("path", { d: this.line(m, i, j), "data-key": `w${m + 1}_${i + 1}_${j + 1}` });
      edges.append(line);
      this.edges.set(`${m},${i},${j}`, line);
    }
    const heads = svg("g");
    this.net.widths.forEach((count, c) => {
      const last = c === this.net.widths.length - 1;
      const [first, end, inner] = gap < 44 ? ["in", "out", ""] : ["input", "output", "layer "];
      const text = c === 0 ? first : last ? end : inner + c;
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
      group.setAttribute("data-key", c ? `a${c}_${index + 1}` : `a0_${index + 1}`);
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
    nodes.append(svg("g", { class: "node", "data-key": "E" }, box, svg("text", { x, y }, "E")));
    this.base.append(edges, heads, this.images, nodes);
  }

  /** The name of an input or output beside it. @type {((c: number, index: number) => string | null)} */
  nameOf = () => null;

  /** @param {SVGElement} parent @param {number} c @param {number} index @param {number} x @param {number} y */
  drawName(parent, c, index, x, y) {
    const name = this.nameOf(c, index);
    if (name === null) return;
    const short = name.length > 14 ? `${name.slice(0, 13)}\u2026` : name;
    parent.append(svg("text", { x, y: y + this.radius + 12, "text-anchor": "middle", class: "small halo" }, short));
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
    return `M${from.x + this.radius} ${from.y}L${to.x - this.radius} ${to.y}`;
  }

  /** Weights as faint lines: thick where large, dashed where negative. @param {Connection[]} [which] */
  drawWeights(which = this.drawn) {
    const scales = this.scales();
    for (const { m, i, j } of which) {
      const line = this.edges.get(`${m},${i},${j}`);
      if (!line) continue;
      const { W, nOut } = this.net.layers[m];
      const w = W[i * nOut + j];
      line.setAttribute("class", w < 0 ? "edge less" : "edge");
      line.setAttribute("stroke-width", (0.6 + 2.4 * Math.min(1, Math.abs(w) / scales[m])).toFixed(2));
    }
  }

  /** Values in the neurons. @param {Pass} pass @param {number} row */
  drawValues(pass, row) {
    const readable = this.radius >= 14;
    for (const [key, { group, value }] of this.nodes) {
      const [c, index] = key.split(",").map(Number);
      const array = c ? pass.out(c - 1) : pass.x;
      const v = array[(row * array.length) / pass.n + index];
      const kind = `node ${v > 0 ? "up" : v < 0 ? "down" : ""}`;
      if (group.getAttribute("class") !== kind) group.setAttribute("class", kind);
      if (readable) value.textContent = short(v, this.radius);
    }
  }

  /** Light the routes of a selection. @param {Routes} routes @param {boolean} labels */
  drawRoutes(routes, labels) {
    const { selection, net } = routes;
    const last = net.depth - 1;
    /** @type {{m: number, i: number, j: number, flow: number}[]} */
    const flows = [];
    for (let m = selection.layer + 1; m < net.depth; m++) {
      const [sources, targets] = [this.shown[m], this.shown[m + 1]];
      const found = routes.flows(m, sources, targets);
      sources.forEach((i, at) => targets.forEach((j, to) => flows.push({ m, i, j, flow: found[at * targets.length + to] })));
    }
    if (selection.source >= 0) {
      flows.push({ m: selection.layer, i: selection.source, j: selection.target, flow: routes.gradient });
    }
    const most = flows.reduce((size, { flow }) => Math.max(size, Math.abs(flow)), Math.abs(routes.gradient)) || 1;
    const lit = flows.filter(({ flow }) => Math.abs(flow) > 0.004 * most);
    lit.sort((a, b) => Math.abs(b.flow) - Math.abs(a.flow));
    lit.length = Math.min(lit.length, 120);
    /** @type {SVGElement[]} */
    const lines = [];
    /** @type {SVGElement[]} */
    const texts = [];
    const few = labels && lit.length <= 14 && this.width >= 600;
    for (const { m, i, j, flow } of lit.reverse()) {
      const width = 1.5 + 8.5 * (Math.abs(flow) / most);
      const kind = flow > 0 ? "positive" : "negative";
      const line = svg("path", { d: this.line(m, i, j), class: `flow ${kind}`, "stroke-width": width.toFixed(2) });
      line.setAttribute("data-key", `w${m + 1}_${i + 1}_${j + 1}`);
      lines.push(line);
      if (few) texts.push(this.label(m, i, j, net.layers[m].W[i * net.layers[m].nOut + j]));
    }
    if (few || (labels && lit.length === 0)) {
      // paths that contribute nothing are grey
      for (const { m, i, j, flow } of flows) {
        if (flow === 0) lines.unshift(svg("path", { d: this.line(m, i, j), class: "nothing", "stroke-width": 2 }));
      }
    }
    this.toError(routes, last, most, lines);
    this.flows.replaceChildren(...lines);
    this.labels.replaceChildren(...texts);
    this.markChosen(selection);
  }

  /** From the outputs to E. @param {Routes} routes @param {number} last @param {number} most @param {SVGElement[]} lines */
  toError(routes, last, most, lines) {
    const { selection, pass, net } = routes;
    for (const o of this.shown[last + 1]) {
      const place = this.places.get(`${last + 1},${o}`);
      if (!place) continue;
      let flow = 0;
      if (selection.layer === last) flow = o === selection.target ? routes.gradient : 0;
      else {
        const da = routes.moved()[last - 1];
        const { nIn, nOut, W } = net.layers[last];
        for (let r = 0; r < pass.n; r++) {
          let dz = 0;
          for (let i = 0; i < nIn; i++) dz += da[r * nIn + i] * W[i * nOut + o];
          flow += dz * pass.dZ[last][r * nOut + o];
        }
      }
      const size = Math.abs(flow) / most;
      const kind = size <= 0.004 ? "nothing" : flow > 0 ? "flow positive" : "flow negative";
      const d = `M${place.x + this.radius} ${place.y}L${this.error.x - 15} ${this.error.y}`;
      lines.push(svg("path", { d, class: kind, "stroke-width": (1.5 + 8.5 * Math.min(1, size)).toFixed(2), "data-key": `y^_${o + 1}` }));
    }
  }

  /** The number of a weight on its line. @param {number} m @param {number} i @param {number} j @param {number} w */
  label(m, i, j, w) {
    const from = /** @type {Place} */ (this.places.get(`${m},${i}`));
    const to = /** @type {Place} */ (this.places.get(`${m + 1},${j}`));
    if (!from || !to) return svg("g");
    const t = 0.36;
    const x = from.x + (to.x - from.x) * t;
    const y = from.y + (to.y - from.y) * t - 4;
    return svg("text", { x, y, class: "halo amount", "text-anchor": "middle" }, short(w, 20));
  }

  /** Mark the chosen weight or bias. @param {Chosen} selection */
  markChosen({ layer, source, target }) {
    for (const [key, { bias }] of this.nodes) {
      bias?.classList.toggle("picked", source < 0 && key === `${layer + 1},${target}`);
    }
    const place = this.places.get(`${layer + 1},${target}`);
    if (source >= 0) {
      const d = this.line(layer, source, target);
      this.flows.prepend(svg("path", { d, class: "chosen", "stroke-width": 17 }));
    } else if (place) {
      const ring = { cx: place.x, cy: place.y, r: this.radius + 5, class: "chosen", "stroke-width": 5 };
      this.flows.prepend(svg("circle", ring));
    }
  }

  /** Light one path alone, or all again. @param {RoutePath | null} path @param {Chosen} selection */
  drawOne(path, selection) {
    this.lit.classList.toggle("single", path !== null);
    this.lit.querySelectorAll(".one").forEach((line) => line.remove());
    if (!path) return;
    const kind = path.contribution === 0 ? "nothing" : path.contribution > 0 ? "positive" : "negative";
    path.neurons.forEach((neuron, at) => {
      const c = selection.layer + at;
      const next = path.neurons[at + 1];
      if (neuron < 0) return;
      if (next !== undefined) {
        this.flows.append(svg("path", { d: this.line(c, neuron, next), class: `one ${kind}`, "stroke-width": 6 }));
      } else {
        const place = this.places.get(`${c},${neuron}`);
        if (!place) return;
        const d = `M${place.x + this.radius} ${place.y}L${this.error.x - 15} ${this.error.y}`;
        this.flows.append(svg("path", { d, class: `one ${kind}`, "stroke-width": 6 }));
      }
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
    for (const { c, index, x, y } of this.places.values()) {
      const address = c ? url(c, index) : null;
      const node = this.nodes.get(`${c},${index}`);
      node?.shape.setAttribute("fill-opacity", address ? "0" : "1");
      if (!address || !node) continue;
      const id = `clip${c}_${index}`;
      const r = this.radius;
      this.images.append(
        svg("clipPath", { id }, svg("circle", { cx: x, cy: y, r })),
        svg("image", { href: address, x: x - r, y: y - r, width: 2 * r, height: 2 * r, "clip-path": `url(#${id})`, preserveAspectRatio: "none" }),
      );
    }
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

/** A number that fits into a neuron. @param {number} v @param {number} radius */
function short(v, radius) {
  if (v === 0) return "0";
  const size = Math.abs(v);
  const places = radius < 16 ? 2 : 3;
  let text = size >= 1000 || size < 0.001 ? v.toExponential(0).replace("+", "") : v.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : places);
  if (text.includes(".") && !text.includes("e")) text = text.replace(/0+$/, "").replace(/\.$/, "");
  return text.replace("-", "\u2212");
}
