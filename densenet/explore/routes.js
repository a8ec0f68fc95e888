"use strict";
/*
 * The routes of one weight. dE/dw is the sum over all paths from the weight to the output, and a path contributes
 *
 *     a(l-1)_i  f'(z(l)_j)  w(l+1)_{j,k}  f'(z(l+1)_k)  ...  w(L)_{..,o}  dE/dz(L)_o
 *
 * The parts of all paths through one connection add up to (da/dw) w (dE/dz), which takes no listing of paths.
 */

/**
 * A weight or bias: all from 0; source is -1 for a bias.
 * @typedef {{layer: number, source: number, target: number}} Chosen
 * @typedef {{neurons: number[], contribution: number, share: number}} RoutePath
 * @typedef {{key: string, name: string, formula: string, numbers: string, value: number, what: string}} Factor
 */

/** The routes of a selection, over the rows of a pass. */
class Routes {
  /** @param {Pass} pass after forward and backward @param {Chosen} selection */
  constructor(pass, selection) {
    this.pass = pass;
    this.net = pass.net;
    this.selection = selection;
    const { layer, source, target } = selection;
    const { n, net } = pass;
    const dz = pass.dZ[layer];
    const width = net.layers[layer].nOut;
    const enters = pass.entering(layer);
    const nIn = net.layers[layer].nIn;
    /** a(l-1)_i of every row; 1 for a bias. */
    this.enters = new Float64Array(n);
    /** Every row's part of dE/dw. */
    this.parts = new Float64Array(n);
    this.gradient = 0;
    for (let r = 0; r < n; r++) {
      this.enters[r] = source < 0 ? 1 : enters[r * nIn + source];
      this.parts[r] = this.enters[r] * dz[r * width + target];
      this.gradient += this.parts[r]; // dE/dw = sum over rows of a dE/dz
    }
    /** da(l)/dw and so on, by dense layer from this one on: made when first asked for. */
    this.tangents = null;
    this.bounds = null;
  }

  get last() {
    return this.net.depth - 1;
  }

  /** da(m)/dw of every neuron, for m from this layer to the last but one; the last layer ends in dE/dz. */
  moved() {
    if (this.tangents) return this.tangents;
    const { layer, target } = this.selection;
    const { n } = this.pass;
    /** @type {Float64Array[]} */
    const da = [];
    let width = this.net.layers[layer].nOut;
    let dz = new Float64Array(n * width);
    for (let r = 0; r < n; r++) dz[r * width + target] = this.enters[r]; // dz(l)_j/dw = a(l-1)_i
    for (let m = layer; m < this.last; m++) {
      const slope = this.pass.slope[m];
      for (let i = 0; i < dz.length; i++) dz[i] *= slope[i]; // da/dw = f'(z) dz/dw
      da[m] = dz;
      const next = this.net.layers[m + 1];
      width = next.nOut;
      const after = new Float64Array(n * width);
      for (let r = 0; r < n; r++) {
        for (let i = 0; i < next.nIn; i++) {
          const v = dz[r * next.nIn + i];
          if (v === 0) continue;
          for (let j = 0; j < width; j++) after[r * width + j] += v * next.W[i * width + j]; // dz(m+1)/dw = da(m)/dw W
        }
      }
      dz = after;
    }
    this.tangents = da;
    return da;
  }

  /**
   * What all paths through each connection i -> j of dense layer m (all from 0, below this one) contribute:
   * the sum over rows of da_i/dw w_ij dE/dz_j, as rows of `targets`.
   * @param {number} m @param {number[]} sources @param {number[]} targets
   */
  flows(m, sources, targets) {
    const da = this.moved()[m - 1];
    const dz = this.pass.dZ[m];
    const { nIn, nOut, W } = this.net.layers[m];
    const width = targets.length;
    const sums = new Float64Array(sources.length * width);
    for (let r = 0; r < this.pass.n; r++) {
      for (let i = 0; i < sources.length; i++) {
        const v = da[r * nIn + sources[i]];
        if (v === 0) continue;
        for (let j = 0; j < width; j++) sums[i * width + j] += v * dz[r * nOut + targets[j]];
      }
    }
    sources.forEach((source, i) => targets.forEach((target, j) => (sums[i * width + j] *= W[source * nOut + target])));
    return sums;
  }

  /** What all paths that end in each output contribute: the sum over rows of dz_o/dw dE/dz_o. */
  ends() {
    const { selection, pass, last } = this;
    const { nIn, nOut, W } = this.net.layers[last];
    const sums = new Float64Array(nOut);
    if (selection.layer === last) {
      sums[selection.target] = this.gradient;
      return sums;
    }
    const da = this.moved()[last - 1];
    for (let r = 0; r < pass.n; r++) {
      for (let i = 0; i < nIn; i++) {
        const v = da[r * nIn + i];
        if (v === 0) continue;
        for (let o = 0; o < nOut; o++) sums[o] += v * W[i * nOut + o] * pass.dZ[last][r * nOut + o];
      }
    }
    return sums;
  }

  /** Number of paths from the weight to the outputs. */
  get count() {
    let count = 1;
    for (let m = this.selection.layer + 1; m < this.net.depth; m++) count *= this.net.layers[m].nOut;
    return count;
  }

  /** The sum of |contribution| over all paths of all rows, from a backward pass of sizes. */
  absolute() {
    const { layer, target } = this.selection;
    const { pass, net } = this;
    let sizes = Float64Array.from(pass.dZ[this.last], Math.abs);
    for (let m = this.last; m > layer; m--) {
      const { nIn, nOut, W } = net.layers[m];
      const before = new Float64Array(pass.n * nIn);
      for (let r = 0; r < pass.n; r++) {
        for (let i = 0; i < nIn; i++) {
          let sum = 0;
          for (let j = 0; j < nOut; j++) sum += Math.abs(W[i * nOut + j]) * sizes[r * nOut + j];
          before[r * nIn + i] = sum * Math.abs(pass.slope[m - 1][r * nIn + i]);
        }
      }
      sizes = before;
    }
    const width = net.layers[layer].nOut;
    let sum = 0;
    for (let r = 0; r < pass.n; r++) sum += Math.abs(this.enters[r]) * sizes[r * width + target];
    return sum;
  }

  /** The product of a path's factors in row r, and their sum over rows for r = null. */
  contribution(/** @type {number[]} */ neurons, /** @type {number | null} */ r = null) {
    const { layer } = this.selection;
    const { pass, net } = this;
    let sum = 0;
    for (let s = r ?? 0; s < (r === null ? pass.n : r + 1); s++) {
      let product = this.enters[s];
      for (let m = layer; m < net.depth; m++) {
        const j = neurons[m - layer + 1];
        if (m > layer) product *= net.layers[m].W[neurons[m - layer] * net.layers[m].nOut + j];
        product *= (m === this.last ? pass.dZ[m] : pass.slope[m])[s * net.layers[m].nOut + j];
      }
      sum += product;
    }
    return sum;
  }

  /** The k paths of the largest |contribution|: exactly in one row; over several rows where all can be listed. */
  largest(/** @type {number} */ k) {
    const { pass } = this;
    /** @type {number[][]} */
    let found;
    if (pass.n === 1) found = this.best(k, 0);
    else if (this.count <= 512) found = this.every();
    else {
      const seen = new Map();
      const stride = Math.max(1, Math.floor(pass.n / 24));
      for (let r = 0; r < pass.n; r += stride) for (const path of this.best(k, r)) seen.set(path.join(), path);
      found = [...seen.values()];
    }
    const absolute = this.absolute();
    /** @type {RoutePath[]} */
    const paths = found.map((neurons) => {
      const contribution = this.contribution(neurons);
      return { neurons, contribution, share: absolute ? contribution / absolute : 0 };
    });
    paths.sort((a, b) => Math.abs(b.contribution) - Math.abs(a.contribution));
    return paths.slice(0, k);
  }

  /** Whether `largest` is exact, or a choice by rows. */
  get exact() {
    return this.pass.n === 1 || this.count <= 512;
  }

  /** All paths, as neurons from 0: source, target, and one of each later layer. */
  every() {
    const { layer, source, target } = this.selection;
    let paths = [[source, target]];
    for (let m = layer + 1; m < this.net.depth; m++) {
      const width = this.net.layers[m].nOut;
      paths = paths.flatMap((path) => Array.from({ length: width }, (_, j) => [...path, j]));
    }
    return paths;
  }

  /** The k largest of row r by a search that follows the best completion first. */
  best(/** @type {number} */ k, /** @type {number} */ r) {
    const { layer, source, target } = this.selection;
    const { net, pass } = this;
    // completion[m][i]: the largest product of sizes from z(m)_i on to E
    /** @type {Float64Array[]} */
    const completion = [];
    const width = net.layers[this.last].nOut;
    completion[this.last] = pass.dZ[this.last].slice(r * width, (r + 1) * width).map(Math.abs);
    for (let m = this.last - 1; m >= layer; m--) {
      const { nIn, nOut, W } = net.layers[m + 1];
      completion[m] = new Float64Array(nIn);
      for (let i = 0; i < nIn; i++) {
        let most = 0;
        for (let j = 0; j < nOut; j++) most = Math.max(most, Math.abs(W[i * nOut + j]) * completion[m + 1][j]);
        completion[m][i] = most * Math.abs(pass.slope[m][r * nIn + i]);
      }
    }
    /** @type {{size: number, before: number, path: number[]}[]} */
    let open = [{ size: completion[layer][target], before: 1, path: [source, target] }];
    /** @type {number[][]} */
    const found = [];
    while (open.length && found.length < k) {
      let at = 0;
      for (let i = 1; i < open.length; i++) if (open[i].size > open[at].size) at = i;
      const [{ before, path }] = open.splice(at, 1);
      const m = layer + path.length - 2;
      if (m === this.last) {
        found.push(path);
        continue;
      }
      const { nIn, nOut, W } = net.layers[m + 1];
      const i = path[path.length - 1];
      const behind = before * Math.abs(pass.slope[m][r * nIn + i]);
      for (let j = 0; j < nOut; j++) {
        const after = behind * Math.abs(W[i * nOut + j]);
        open.push({ size: after * completion[m + 1][j], before: after, path: [...path, j] });
      }
      if (open.length > 4096) {
        open.sort((a, b) => b.size - a.size);
        open = open.slice(0, 1024); // more than k of each size are never popped
      }
    }
    return found;
  }

  /**
   * How the derivative of E fades on the way back: its RMS over neurons and rows after each stage.
   * @returns {{name: string, rms: number, factor: number}[]}
   */
  attenuation() {
    const { pass, net } = this;
    /** @param {Float64Array} array */
    const rms = (array) => {
      const most = array.reduce((size, v) => Math.max(size, Math.abs(v)), 0) || 1; // squares beyond 1e154 overflow
      return most * Math.sqrt(array.reduce((sum, v) => sum + (v / most) ** 2, 0) / array.length);
    };
    const stages = [{ name: "dE/dy^", rms: rms(pass.dA[this.last]), factor: 1 }];
    /** @param {string} name @param {Float64Array} array */
    const add = (name, array) => {
      const size = rms(array);
      const before = stages[stages.length - 1].rms;
      stages.push({ name, rms: size, factor: before ? size / before : 0 });
    };
    for (let m = this.last; m >= this.selection.layer; m--) {
      if (m < this.last) add(`w(${m + 2})`, pass.dA[m]);
      if (net.layers[m].between.length) add(slopeName(net.layers[m], m), pass.dZ[m]);
    }
    return stages;
  }
}

/** What the slopes after dense layer m (from 0) are called. @param {DenseLayer} layer @param {number} m */
function slopeName(layer, m) {
  return layer.between.some(mixes) ? `Softmax'(${m + 1})` : `f'(z(${m + 1}))`;
}

/** The name of a weight or bias in the notes' notation. @param {Chosen} selection */
function weightName({ layer, source, target }) {
  return source < 0 ? `b(${layer + 1})_${target + 1}` : `w(${layer + 1})_{${source + 1},${target + 1}}`;
}
