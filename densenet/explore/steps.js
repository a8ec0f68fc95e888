"use strict";
/*
 * One step of gradient descent, line by line, as `explain_step` writes it: forward, error, backward, update. And the
 * usual mistakes of a backward pass, made on purpose, so that a wrong answer can be called by its name.
 */

/**
 * One thing that happens: a neuron's forward or backward pass, the error, or the update of a neuron's weights.
 * Layers m and neurons j count from 0; j is -1 for the error.
 * @typedef {{kind: "forward" | "error" | "backward" | "update", m: number, j: number}} Unit
 * @typedef {{left: string, formula: string, numbers: string, value: number, asked?: boolean}} StepLine
 */

const MOST_TERMS = 6;

/** What the derivation of a network shows in one row. */
class Derivation {
  /** @param {Pass} pass after forward and backward @param {number} row of the pass @param {number} alpha */
  constructor(pass, row, alpha) {
    this.pass = pass;
    this.net = pass.net;
    this.row = row;
    this.alpha = alpha;
  }

  /** All units in the order in which they are done. @returns {Unit[]} */
  units() {
    const { layers, depth } = this.net;
    /** @type {Unit[]} */
    const units = [];
    /** @param {Unit["kind"]} kind @param {number} m */
    const neurons = (kind, m) => {
      for (let j = 0; j < layers[m].nOut; j++) units.push({ kind, m, j });
    };
    for (let m = 0; m < depth; m++) neurons("forward", m);
    units.push({ kind: "error", m: depth - 1, j: -1 });
    for (let m = depth - 1; m >= 0; m--) neurons("backward", m);
    for (let m = 0; m < depth; m++) neurons("update", m);
    return units;
  }

  /** A unit as a heading. @param {Unit} unit @param {boolean} whole whether the whole layer is meant */
  title({ kind, m, j }, whole) {
    const output = m === this.net.depth - 1;
    const layer = `dense layer ${m + 1}${output ? ", the output" : ""}`;
    const where = whole ? layer : `neuron ${j + 1} of ${layer}`;
    if (kind === "error") return "The error";
    return `${{ forward: "Forward", backward: "Backward", update: "Update" }[kind]}: ${where}`;
  }

  /** @param {Unit} unit @returns {StepLine[]} */
  lines(unit) {
    if (unit.kind === "forward") return this.forward(unit.m, unit.j);
    if (unit.kind === "error") return this.error();
    if (unit.kind === "backward") return this.backward(unit.m, unit.j);
    return this.update(unit.m, unit.j);
  }

  /** An array of a layer in this row. @param {Float64Array} array @param {number} j */
  at(array, j) {
    return array[(this.row * array.length) / this.pass.n + j];
  }

  /** What a layer's output is called. @param {number} m @param {number} j */
  outName(m, j) {
    return m === this.net.depth - 1 ? `y^_${j + 1}` : `a(${m + 1})_${j + 1}`;
  }

  /** A sum, shortened where it is long. @param {number} count @param {(i: number) => string} term */
  sum(count, term) {
    const shown = count <= MOST_TERMS ? count : MOST_TERMS - 2;
    const terms = Array.from({ length: shown }, (_, i) => term(i));
    if (shown < count) terms.push("\u2026", term(count - 1));
    return terms.join(" + ");
  }

  /** @param {number} m @param {number} j @returns {StepLine[]} */
  forward(m, j) {
    const { W, b, nIn, nOut, between } = this.net.layers[m];
    const before = this.pass.entering(m);
    const z = this.at(this.pass.z[m], j);
    const bias = { name: b ? ` + b(${m + 1})_${j + 1}` : "", value: b ? ` + ${signed(b[j])}` : "" };
    const sumLine = {
      left: `z(${m + 1})_${j + 1}`,
      formula: this.sum(nIn, (i) => `w(${m + 1})_{${i + 1},${j + 1}} x a(${m})_${i + 1}`) + bias.name,
      numbers: this.sum(nIn, (i) => `${signed(W[i * nOut + j])} x ${signed(this.at(before, i))}`) + bias.value,
      value: z,
      asked: !between.length,
    };
    const a = this.at(this.pass.out(m), j);
    const left = this.outName(m, j);
    if (!between.length) return [sumLine, { left, formula: sumLine.left, numbers: "", value: a }];
    if (between.some(mixes)) {
      const powers = this.sum(nOut, (k) => `e^z(${m + 1})_${k + 1}`);
      return [sumLine, { left, formula: `e^z(${m + 1})_${j + 1} / (${powers})`, numbers: "", value: a, asked: true }];
    }
    const numbers = `f(${digits(z)})`;
    return [sumLine, { left, formula: `f(${sumLine.left})`, numbers, value: a, asked: true }];
  }

  /** What f is, in words. @param {number} m */
  about(m) {
    const { between } = this.net.layers[m];
    if (!between.length) return "no activation: a = z";
    return between
      .map(({ kind }) => (kind === "Softmax" ? "softmax" : `${kind}, f(z) = ${ACTIVATIONS[kind].formula}`))
      .join("; then ");
  }

  /** @returns {StepLine[]} */
  error() {
    const { pass, net, row } = this;
    const last = net.depth - 1;
    const k = net.widths[net.depth];
    const link = net.loss.link;
    /** @type {StepLine[]} */
    const lines = [];
    const p = pass.probabilities();
    const t = pass.t;
    if (p && link !== "probabilities") {
      for (let j = 0; j < Math.min(k, 12); j++) {
        const formula =
          link === "sigmoid" ? `1 / (1 + e^(-y^_${j + 1}))` : `e^y^_${j + 1} / (${this.sum(k, (i) => `e^y^_${i + 1}`)})`;
        lines.push({ left: `p_${j + 1}`, formula, numbers: "", value: this.at(p, j) });
      }
    }
    const name = pass.n > 1 ? "E of this row" : "E";
    const y = (/** @type {number} */ j) => `y_${j + 1}`;
    const value = pass.rowError(row);
    const guess = link === "probabilities" ? (/** @type {number} */ j) => `y^_${j + 1}` : (/** @type {number} */ j) => `p_${j + 1}`;
    if (!p) {
      const share = net.lossName === "HalfSquaredError" ? "1/2" : `1/${k}`;
      const out = pass.out(last);
      const formula = `${share} (${this.sum(k, (j) => `(y^_${j + 1} - ${y(j)})^2`)})`;
      const numbers = this.sum(k, (j) => `(${digits(this.at(out, j))} - ${signed(this.at(t, j))})^2`);
      lines.push({ left: name, formula, numbers: `${share} (${numbers})`, value, asked: true });
    } else if (net.loss.kinds === "classes") {
      const wanted = Array.from({ length: k }, (_, j) => j).filter((j) => this.at(t, j) > 0);
      if (wanted.length === 1) {
        const j = wanted[0];
        lines.push({ left: name, formula: `-log ${guess(j)}`, numbers: `-log ${digits(this.at(p, j))}`, value, asked: true });
      } else {
        const formula = `-(${this.sum(wanted.length, (i) => `${y(wanted[i])} log ${guess(wanted[i])}`)})`;
        lines.push({ left: name, formula, numbers: "", value, asked: true });
      }
    } else {
      const share = k > 1 ? `1/${k} ` : "";
      const both = (/** @type {number} */ j) => `-${y(j)} log ${guess(j)} - (1 - ${y(j)}) log(1 - ${guess(j)})`;
      lines.push({ left: name, formula: `${share}(${this.sum(k, both)})`, numbers: "", value, asked: true });
    }
    if (pass.n > 1) {
      const formula = `the mean over ${pass.n} rows`;
      lines.push({ left: "E", formula, numbers: "", value: pass.E });
    }
    return lines;
  }

  /** dE/dz from dE/da: formula and numbers. @param {number} m @param {number} j */
  delta(m, j) {
    const { pass, net } = this;
    const last = m === net.depth - 1;
    const { between } = net.layers[m];
    const k = net.layers[m].nOut;
    const nth = pass.n > 1 ? ` / ${pass.n}` : "";
    const p = pass.probabilities();
    const fromLogits = last && !between.length && p && net.loss.link !== "probabilities";
    const meets = last && between.length === 1 && mixes(between[0]) && net.lossName === "CategoricalCrossEntropy";
    if (p && (fromLogits || meets)) {
      const kth = net.loss.link === "sigmoid" && k > 1 ? ` / ${k}` : "";
      const name = meets ? `y^_${j + 1}` : `p_${j + 1}`;
      const numbers = `(${digits(this.at(p, j))} - ${signed(this.at(pass.t, j))})${kth}${nth}`;
      return { formula: `(${name} - y_${j + 1})${kth}${nth}`, numbers };
    }
    const da = `dE/d${last ? `y^_${j + 1}` : `a(${m + 1})_${j + 1}`}`;
    const daValue = signed(this.at(pass.dA[m], j));
    if (!between.length) return { formula: da, numbers: "" };
    if (between.some(mixes)) {
      const formula = `y^_${j + 1} x (${da} - (${this.sum(k, (i) => `dE/dy^_${i + 1} x y^_${i + 1}`)}))`;
      return { formula, numbers: "" };
    }
    const slope = this.slope(m, j);
    return { formula: `${da} x f'(z(${m + 1})_${j + 1})`, numbers: `${daValue} x ${slope.numbers}` };
  }

  /** f'(z) written out. @param {number} m @param {number} j */
  slope(m, j) {
    const value = this.at(this.pass.slope[m], j);
    const { between } = this.net.layers[m];
    if (between.length !== 1 || mixes(between[0])) return { formula: "", numbers: signed(value), value };
    const f = ACTIVATIONS[between[0].kind];
    const z = this.at(this.pass.z[m], j);
    const a = this.at(this.pass.out(m), j);
    const numbers = f.numbers(z, a, between[0], signed);
    return { formula: f.written(z, a, between[0]), numbers: numbers ? `(${numbers})` : signed(value), value };
  }

  /** dE/da at the output: formula and numbers. @param {number} j */
  outputDelta(j) {
    const { pass, net } = this;
    const k = net.widths[net.depth];
    const nth = pass.n > 1 ? ` / ${pass.n}` : "";
    const a = digits(this.at(pass.out(net.depth - 1), j));
    const y = signed(this.at(pass.t, j));
    const difference = [`y^_${j + 1} - y_${j + 1}`, `${a} - ${y}`];
    const share = { HalfSquaredError: "", MeanSquaredError: `2/${k} ` }[net.lossName];
    if (share !== undefined) {
      const [formula, numbers] = difference.map((d) => (share || nth ? `${share}(${d})${nth}` : d));
      return { formula, numbers };
    }
    if (net.lossName === "CategoricalCrossEntropy") {
      return { formula: `-y_${j + 1} / y^_${j + 1}${nth}`, numbers: `-${y} / ${a}${nth}` };
    }
    if (net.lossName === "BinaryCrossEntropy") {
      const kth = k > 1 ? ` / ${k}` : "";
      return { formula: `(y^_${j + 1} - y_${j + 1}) / (y^_${j + 1} (1 - y^_${j + 1}))${kth}${nth}`, numbers: "" };
    }
    return { formula: "", numbers: "" };
  }

  /** @param {number} m @param {number} j @returns {StepLine[]} */
  backward(m, j) {
    const { pass, net } = this;
    const last = m === net.depth - 1;
    pass.gradients();
    /** @type {StepLine[]} */
    const lines = [];
    const delta = this.delta(m, j);
    const meets = /^\((p|y\^)_\d+ - y/.test(delta.formula);
    if (last && !meets) {
      lines.push({ left: `dE/dy^_${j + 1}`, ...this.outputDelta(j), value: this.at(pass.dA[m], j) });
    } else if (!last) {
      const next = net.layers[m + 1];
      lines.push({
        left: `dE/da(${m + 1})_${j + 1}`,
        formula: this.sum(next.nOut, (k) => `w(${m + 2})_{${j + 1},${k + 1}} x dE/dz(${m + 2})_${k + 1}`),
        numbers: this.sum(
          next.nOut,
          (k) => `${signed(next.W[j * next.nOut + k])} x ${signed(this.at(pass.dZ[m + 1], k))}`,
        ),
        value: this.at(pass.dA[m], j),
      });
    }
    const slope = this.slope(m, j);
    if (!meets && slope.formula) {
      const numbers = slope.numbers.replace(/^\((.*)\)$/, "$1");
      lines.push({ left: `f'(z(${m + 1})_${j + 1})`, formula: slope.formula, numbers, value: slope.value });
    }
    const dz = `dE/dz(${m + 1})_${j + 1}`;
    lines.push({ left: dz, ...delta, value: this.at(pass.dZ[m], j), asked: true });
    const { nIn, nOut } = net.layers[m];
    const before = pass.entering(m);
    const over = pass.n > 1 ? "sum over rows of " : "";
    for (let i = 0; i < Math.min(nIn, 2 * MOST_TERMS); i++) {
      const numbers = pass.n > 1 ? "" : `${signed(this.at(before, i))} x ${signed(this.at(pass.dZ[m], j))}`;
      lines.push({
        left: `dE/dw(${m + 1})_{${i + 1},${j + 1}}`,
        formula: `${over}a(${m})_${i + 1} x ${dz}`,
        numbers,
        value: pass.dW[m][i * nOut + j],
      });
    }
    const db = pass.db[m];
    if (db) lines.push({ left: `dE/db(${m + 1})_${j + 1}`, formula: `${over}${dz}`, numbers: "", value: db[j] });
    return lines;
  }

  /** @param {number} m @param {number} j @returns {StepLine[]} */
  update(m, j) {
    const { pass, alpha } = this;
    const layer = this.net.layers[m];
    pass.gradients();
    /** @param {string} name @param {number} old @param {number} gradient @param {number} rate */
    const line = (name, old, gradient, rate) => ({
      left: `new ${name}`,
      formula: rate ? `${name} - alpha x dE/d${name}` : name,
      numbers: rate ? `${digits(old)} - ${digits(alpha * rate)} x ${signed(gradient)}` : "",
      value: old - alpha * rate * gradient,
    });
    /** @type {StepLine[]} */
    const lines = [];
    for (let i = 0; i < Math.min(layer.nIn, 2 * MOST_TERMS); i++) {
      const at = i * layer.nOut + j;
      lines.push(line(`w(${m + 1})_{${i + 1},${j + 1}}`, layer.W[at], pass.dW[m][at], layer.rateW));
    }
    const db = pass.db[m];
    if (layer.b && db) lines.push(line(`b(${m + 1})_${j + 1}`, layer.b[j], db[j], layer.rateB));
    lines[0] = { ...lines[0], asked: true };
    return lines;
  }
}

// -- the usual mistakes -------------------------------------------------------------------------------------------

const EXPLAINED = {
  "slope forgotten everywhere": "dE/dz = dE/da f'(z): no layer was multiplied by f'(z).",
  "slope forgotten at the output only": "At the output, dE/dz = dE/dy^ f'(z): the factor f'(z) is missing there.",
  "slope forgotten in the hidden layers": "Below the output, dE/dz = dE/da f'(z): the factor f'(z) is missing there.",
  "slope taken at a instead of z": "The slope is f' at the weighted sum z; it was taken at the activation a = f(z).",
  "sign or prediction and target swapped": "The sign is wrong: y - y^ in place of y^ - y.",
  "2/n beside 1/n": "A factor of 2 too much or too little: the 2 of a square's derivative, or the 1/2 before it.",
  "sum in place of mean": "E is a mean over the rows, and the gradient of the sum was taken: divide by their number.",
  "1/n twice": "The mean's 1/n was taken twice: it belongs in the loss, once.",
  "a of the wrong layer": "dE/dw(l) takes the activation that enters layer l, a(l-1), times dE/dz(l).",
  "transposed weights in the backward pass": "dE/da of the layer before takes each weight the way it came forward.",
  "softmax's derivative applied twice": "p - y is dE/dz already: softmax's derivative is in it.",
  "sigmoid's derivative applied twice": "p - y is dE/dz already: the sigmoid's derivative is in it.",
};

/**
 * dE/dz of every layer in one row, with something wrong.
 * @param {Pass} pass @param {number} row
 * @param {{skip?: (m: number) => boolean, atA?: boolean, transposed?: boolean, twice?: boolean}} wrong
 */
function wrongDeltas(pass, row, { skip = () => false, atA = false, transposed = false, twice = false }) {
  const { net } = pass;
  /** @type {number[][]} */
  const dz = [];
  for (let m = net.depth - 1; m >= 0; m--) {
    const { nOut, between } = net.layers[m];
    const last = m === net.depth - 1;
    const start = row * nOut;
    /** @type {number[]} */
    let da;
    if (last) da = Array.from(pass.dA[m].subarray(start, start + nOut));
    else {
      const { W, nIn, nOut: wide } = net.layers[m + 1];
      const flip = transposed && nIn === wide;
      da = Array.from({ length: nIn }, (_, i) =>
        dz[m + 1].reduce((sum, d, j) => sum + d * W[flip ? j * wide + i : i * wide + j], 0),
      );
    }
    const softmaxEnd = between.some(mixes);
    if (last && softmaxEnd && !skip(m)) da = Array.from(pass.dZ[m].subarray(start, start + nOut));
    dz[m] = da.map((d, j) => {
      if (skip(m) || softmaxEnd) return d;
      if (!atA || between.length !== 1) return d * pass.slope[m][start + j];
      const a = pass.out(m)[start + j];
      const f = ACTIVATIONS[between[0].kind];
      return d * f.slope(a, f.value(a, between[0]), between[0]);
    });
    if (last && twice) {
      const p = pass.probabilities();
      if (p) dz[m] = dz[m].map((d, j) => d * p[start + j] * (1 - p[start + j]));
    }
  }
  return dz;
}

/**
 * What the usual mistakes give in place of dE/dz(m)_j, or of dE/dw where `source` is not null (-1 for a bias).
 * @param {Pass} pass @param {number} row @param {number} m @param {number} j @param {number | null} source
 */
function mistaken(pass, row, m, j, source) {
  const { net } = pass;
  const last = net.depth - 1;
  const into = pass.entering(m);
  const width = net.layers[m].nIn;
  const rows = source === null ? [row] : Array.from({ length: pass.n }, (_, r) => r);
  /** @param {(r: number) => number[][]} deltas @param {Float64Array} [enters] */
  const value = (deltas, enters = into) => {
    const wide = enters.length / pass.n;
    return rows.reduce((sum, r) => {
      const a = source === null || source < 0 ? 1 : enters[r * wide + Math.min(source, wide - 1)];
      return sum + a * deltas(r)[m][j];
    }, 0);
  };
  /** @param {Parameters<typeof wrongDeltas>[2]} wrong */
  const withWrong = (wrong) => value((r) => wrongDeltas(pass, r, wrong));
  const right = withWrong({});
  /** @type {{name: keyof typeof EXPLAINED, value: number}[]} */
  const found = [
    { name: "slope forgotten everywhere", value: withWrong({ skip: () => true }) },
    { name: "slope forgotten at the output only", value: withWrong({ skip: (l) => l === last }) },
    { name: "slope forgotten in the hidden layers", value: withWrong({ skip: (l) => l < last }) },
    { name: "slope taken at a instead of z", value: withWrong({ atA: true }) },
    { name: "sign or prediction and target swapped", value: -right },
    { name: "2/n beside 1/n", value: 2 * right },
    { name: "2/n beside 1/n", value: right / 2 },
  ];
  if (pass.n > 1) {
    found.push({ name: "sum in place of mean", value: right * pass.n }, { name: "1/n twice", value: right / pass.n });
  }
  found.push({ name: "transposed weights in the backward pass", value: withWrong({ transposed: true }) });
  if (source !== null && source >= 0) {
    for (let l = 0; l <= net.depth; l++) {
      const other = l < net.depth ? pass.entering(l) : pass.out(last);
      if (other === into || other.length / pass.n < Math.min(width, source + 1)) continue;
      found.push({ name: "a of the wrong layer", value: value((r) => wrongDeltas(pass, r, {}), other) });
    }
  }
  const link = net.loss.link;
  if (link === "softmax") found.push({ name: "softmax's derivative applied twice", value: withWrong({ twice: true }) });
  if (link === "sigmoid") found.push({ name: "sigmoid's derivative applied twice", value: withWrong({ twice: true }) });
  return found.filter(({ value: v }) => Math.abs(v - right) > 1e-12 * Math.max(Math.abs(right), Math.abs(v)));
}

/** A typed number, how many digits of it count, and half a unit of its last place. @param {string} text */
function typedNumber(text) {
  const match = text.trim().replace("\u2212", "-").replace(",", ".").match(/^([+-]?)(\d*)\.?(\d*)(?:e([+-]?\d+))?$/i);
  if (!match || !(match[2] + match[3])) return null;
  const power = Number(match[4] ?? 0) - match[3].length;
  const value = Number(`${match[1]}${match[2]}${match[3]}e${power}`);
  return { value, digits: (match[2] + match[3]).replace(/^0+/, "").length, half: 0.5 * 10 ** power };
}

/**
 * What to say to a typed number.
 * @param {string} text @param {number} right @param {{name: keyof typeof EXPLAINED, value: number}[]} mistakes
 * @returns {{verdict: "right" | "mistake" | "not this" | "more digits" | "no number", name?: string, text: string}}
 */
function judged(text, right, mistakes) {
  const typed = typedNumber(text);
  if (!typed) return { verdict: "no number", text: "Type a number, such as 0.0123." };
  const near = (/** @type {number} */ v) => Math.abs(v - typed.value) <= typed.half * (1 + 1e-9);
  if (typed.digits < 3 && right !== typed.value) return { verdict: "more digits", text: "Type at least three digits." };
  if (near(right)) return { verdict: "right", text: `Right: ${digits(right)}.` };
  const made = mistakes.find(({ value }) => near(value));
  if (made) return { verdict: "mistake", name: made.name, text: `${made.name}. ${EXPLAINED[made.name]}` };
  return { verdict: "not this", text: "Not this." };
}
