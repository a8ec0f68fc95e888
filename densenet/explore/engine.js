"use strict";
/*
 * The network of the page in float64: forward and backward passes of dense layers, activations and losses, in the
 * order of `Sequential`. Matrices are rows of samples, flat in a Float64Array; W is (n_in, n_out).
 *
 *     forward     Z(l) = A(l-1) W(l) + 1 b(l)^T        A(l) = f(Z(l))
 *     backward    dE/dZ(l) = dE/dA(l) * f'(Z(l))       dE/dA(l-1) = dE/dZ(l) W(l)^T
 *                 dE/dW(l) = A(l-1)^T dE/dZ(l)         dE/db(l) = dE/dZ(l)^T 1
 */

// -- the error function -------------------------------------------------------------------------------------------

/*
 * JavaScript has no erf. These are W. J. Cody's rational Chebyshev approximations of erf and erfc ("Rational Chebyshev
 * approximations for the error function", Mathematics of Computation 23, 1969), good to the last digits of float64.
 */
const CODY_A = [3.1611237438705656, 113.864154151050156, 377.485237685302021, 3209.37758913846947, 0.185777706184603153];
const CODY_B = [23.6012909523441209, 244.024637934444173, 1282.61652607737228, 2844.23683343917062];
const CODY_C = [
  0.564188496988670089, 8.88314979438837594, 66.1191906371416295, 298.635138197400131, 881.95222124176909,
  1712.04761263407058, 2051.07837782607147, 1230.33935479799725, 2.15311535474403846e-8,
];
const CODY_D = [
  15.7449261107098347, 117.693950891312499, 537.181101862009858, 1621.38957456669019, 3290.79923573345963,
  4362.61909014324716, 3439.36767414372164, 1230.33935480374942,
];
const CODY_P = [
  0.305326634961232344, 0.360344899949804439, 0.125781726111229246, 0.0160837851487422766, 0.000658749161529837803,
  0.0163153871373020978,
];
const CODY_Q = [
  2.56852019228982242, 1.87295284992346047, 0.527905102951428412, 0.0605183413124413191, 0.00233520497626869185,
];

/** e^(-y^2) without the rounding error of y^2: y is split into sixteenths and a rest. @param {number} y */
function expMinusSquare(y) {
  const whole = Math.trunc(y * 16) / 16;
  return Math.exp(-whole * whole) * Math.exp(-(y - whole) * (y + whole));
}

/** erfc(x) = 1 - erf(x), by Cody's approximations. @param {number} x */
function erfc(x) {
  const y = Math.abs(x);
  if (y <= 0.46875) {
    const square = y * y;
    let above = CODY_A[4] * square;
    let below = square;
    for (let i = 0; i < 3; i++) {
      above = (above + CODY_A[i]) * square;
      below = (below + CODY_B[i]) * square;
    }
    return 1 - (x * (above + CODY_A[3])) / (below + CODY_B[3]);
  }
  let tail;
  if (y <= 4) {
    let above = CODY_C[8] * y;
    let below = y;
    for (let i = 0; i < 7; i++) {
      above = (above + CODY_C[i]) * y;
      below = (below + CODY_D[i]) * y;
    }
    tail = ((above + CODY_C[7]) / (below + CODY_D[7])) * expMinusSquare(y);
  } else if (y < 27) {
    const square = 1 / (y * y);
    let above = CODY_P[5] * square;
    let below = square;
    for (let i = 0; i < 4; i++) {
      above = (above + CODY_P[i]) * square;
      below = (below + CODY_Q[i]) * square;
    }
    const rest = (square * (above + CODY_P[4])) / (below + CODY_Q[4]);
    tail = ((1 / Math.sqrt(Math.PI) - rest) / y) * expMinusSquare(y);
  } else {
    tail = 0;
  }
  return x < 0 ? 2 - tail : tail;
}

/** The standard normal distribution: Phi(x) = erfc(-x / sqrt 2) / 2. @param {number} x */
function normalDistribution(x) {
  return 0.5 * erfc(-x * Math.SQRT1_2);
}

// -- activations --------------------------------------------------------------------------------------------------

const SELU_SCALE = 1.0507009873554804934;
const SELU_ALPHA = 1.6732632423543772848;
const LARGEST_EXPONENT = Math.log(Number.MAX_VALUE) * (1 - 1e-6);

/** @param {number} x */
const boundedExp = (x) => Math.exp(Math.min(x, 40));
/** @param {number} x */
const logistic = (x) => {
  const e = boundedExp(x);
  return e / (e + 1);
};
/** @param {number} x */
const mishTanh = (x) => {
  const e = boundedExp(x);
  return (e * (e + 2)) / (e * (e + 2) + 2);
};
/** @param {number} v @param {number} low @param {number} high */
const clip = (v, low, high) => Math.min(Math.max(v, low), high);

/**
 * One number's function: `value(z, c)` is f(z), `slope(z, a, c)` is f'(z) with a = f(z), and `shown(z, c)` is f' as
 * [formula, the same with numbers as a function of `show`]. c is what the layer was made with.
 * @typedef {{value: (z: number, c: any) => number, slope: (z: number, a: number, c: any) => number,
 *   formula: string, written: (z: number, a: number, c: any) => string,
 *   numbers: (z: number, a: number, c: any, show: (v: number) => string) => string}} Activation
 */

/** @type {Record<string, Activation>} */
const ACTIVATIONS = {
  Identity: {
    value: (z) => z,
    slope: () => 1,
    formula: "z",
    written: () => "1",
    numbers: () => "",
  },
  Sigmoid: {
    value: logistic,
    slope: (z, a) => (1 - a) * a,
    formula: "1 / (1 + e^-z)",
    written: () => "a (1 - a)",
    numbers: (z, a, c, show) => `${show(a)} x ${show(1 - a)}`,
  },
  Tanh: {
    value: Math.tanh,
    slope: (z, a) => 1 - a * a,
    formula: "tanh z",
    written: () => "1 - a^2",
    numbers: (z, a, c, show) => `1 - ${show(a)}^2`,
  },
  Softsign: {
    value: (z) => z / (Math.abs(z) + 1),
    slope: (z) => (1 / (Math.abs(z) + 1)) ** 2,
    formula: "z / (1 + |z|)",
    written: () => "1 / (1 + |z|)^2",
    numbers: (z, a, c, show) => `1 / ${show(1 + Math.abs(z))}^2`,
  },
  HardTanh: {
    value: (z) => clip(z, -1, 1),
    slope: (z, a) => (Math.abs(a) < 1 ? 1 : 0),
    formula: "min(max(z, -1), 1)",
    written: (z, a) => (Math.abs(a) < 1 ? "1, for |z| < 1" : "0, for |z| >= 1"),
    numbers: () => "",
  },
  HardSigmoid: {
    value: (z) => clip(z / 6 + 0.5, 0, 1),
    slope: (z) => (Math.abs(z) < 3 ? 1 / 6 : 0),
    formula: "min(max(z / 6 + 1/2, 0), 1)",
    written: (z) => (Math.abs(z) < 3 ? "1/6, for |z| < 3" : "0, for |z| >= 3"),
    numbers: () => "",
  },
  HardSwish: {
    value: (z) => z * clip(z / 6 + 0.5, 0, 1),
    slope: (z) => (Math.abs(z) < 3 ? z / 6 : 0) + clip(z / 6 + 0.5, 0, 1),
    formula: "z min(max(z / 6 + 1/2, 0), 1)",
    written: (z) => (Math.abs(z) < 3 ? "z / 3 + 1/2" : z > 0 ? "1, for z >= 3" : "0, for z <= -3"),
    numbers: (z, a, c, show) => (Math.abs(z) < 3 ? `${show(z)} / 3 + 1/2` : ""),
  },
  ReLU: {
    value: (z) => Math.max(z, 0),
    slope: (z) => (z > 0 ? 1 : 0),
    formula: "max(z, 0)",
    written: (z) => (z > 0 ? "1, for z > 0" : "0, for z <= 0"),
    numbers: () => "",
  },
  LeakyReLU: {
    value: (z, c) => (c.negative_slope <= 1 ? Math.max(z, c.negative_slope * z) : Math.min(z, c.negative_slope * z)),
    slope: (z, a, c) => (z > 0 ? 1 : c.negative_slope),
    formula: "z for z > 0, else s z",
    written: (z) => (z > 0 ? "1, for z > 0" : "s, for z <= 0"),
    numbers: () => "",
  },
  PReLU: {
    value: (z, c) => (c.a[0] <= 1 ? Math.max(z, c.a[0] * z) : Math.min(z, c.a[0] * z)),
    slope: (z, a, c) => (z > 0 ? 1 : c.a[0]),
    formula: "z for z > 0, else s z",
    written: (z) => (z > 0 ? "1, for z > 0" : "s, for z <= 0, learned"),
    numbers: () => "",
  },
  ELU: {
    value: (z, c) => Math.max(z, 0) + c.alpha * Math.expm1(Math.min(z, 0)),
    slope: (z, a, c) => (z > 0 ? 1 : c.alpha + c.alpha * Math.expm1(z)),
    formula: "z for z > 0, else s (e^z - 1)",
    written: (z) => (z > 0 ? "1, for z > 0" : "a + s, for z <= 0"),
    numbers: (z, a, c, show) => (z > 0 ? "" : `${show(a)} + ${show(c.alpha)}`),
  },
  SELU: {
    value: (z) => Math.max(z, 0) * SELU_SCALE + SELU_SCALE * SELU_ALPHA * Math.expm1(Math.min(z, 0)),
    slope: (z) => (z > 0 ? SELU_SCALE : SELU_SCALE * SELU_ALPHA + SELU_SCALE * SELU_ALPHA * Math.expm1(z)),
    formula: "1.0507 z for z > 0, else 1.7581 (e^z - 1)",
    written: (z) => (z > 0 ? "1.0507, for z > 0" : "a + 1.7581, for z <= 0"),
    numbers: (z, a, c, show) => (z > 0 ? "" : `${show(a)} + 1.7581`),
  },
  CELU: {
    value: (z, c) => Math.max(z, c.alpha * Math.expm1(clip(z, -100 * c.alpha, 0) / c.alpha)),
    slope: (z, a, c) => Math.min(a, 0) / c.alpha + 1,
    formula: "z for z > 0, else s (e^(z / s) - 1)",
    written: (z) => (z > 0 ? "1, for z > 0" : "a / s + 1, for z <= 0"),
    numbers: (z, a, c, show) => (z > 0 ? "" : `${show(a)} / ${show(c.alpha)} + 1`),
  },
  GELU: {
    value: (z) => z * normalDistribution(z),
    slope: (z) => {
      const bounded = clip(z, -40, 40);
      return (Math.exp(-0.5 * bounded * bounded) * z) / Math.sqrt(2 * Math.PI) + normalDistribution(z);
    },
    formula: "z Phi(z)",
    written: () => "Phi(z) + z phi(z)",
    numbers: (z, a, c, show) => {
      const density = Math.exp(-0.5 * z * z) / Math.sqrt(2 * Math.PI);
      return `${show(normalDistribution(z))} + ${show(z)} x ${show(density)}`;
    },
  },
  SiLU: {
    value: (z) => z * logistic(z),
    slope: (z, a) => (1 - logistic(z)) * a + logistic(z),
    formula: "z s, s = 1 / (1 + e^-z)",
    written: () => "s + a (1 - s)",
    numbers: (z, a, c, show) => `${show(logistic(z))} + ${show(a)} x ${show(1 - logistic(z))}`,
  },
  Mish: {
    value: (z) => z * mishTanh(z),
    slope: (z, a) => (z - a * mishTanh(z)) * logistic(z) + mishTanh(z),
    formula: "z t, t = tanh(log(1 + e^z))",
    written: () => "t + z (1 - t^2) s",
    numbers: (z, a, c, show) => {
      const t = mishTanh(z);
      return `${show(t)} + ${show(z)} x ${show(1 - t * t)} x ${show(logistic(z))}`;
    },
  },
  Softplus: {
    value: (z) => Math.max(z, Math.log1p(boundedExp(z))),
    slope: (z) => logistic(z),
    formula: "log(1 + e^z)",
    written: () => "1 / (1 + e^-z)",
    numbers: (z, a, c, show) => `1 / (1 + ${show(Math.exp(-z))})`,
  },
  Exp: {
    value: (z) => Math.exp(Math.min(z, LARGEST_EXPONENT)),
    slope: (z, a) => a,
    formula: "e^z",
    written: () => "a",
    numbers: () => "",
  },
  Sine: {
    value: Math.sin,
    slope: (z) => Math.cos(z),
    formula: "sin z",
    written: () => "cos z",
    numbers: (z, a, c, show) => `cos ${show(z)}`,
  },
  Gaussian: {
    value: (z) => Math.exp(-(clip(z, -28, 28) ** 2)),
    slope: (z, a) => z * a * -2,
    formula: "e^(-z^2)",
    written: () => "-2 z a",
    numbers: (z, a, c, show) => `-2 x ${show(z)} x ${show(a)}`,
  },
};

// -- rows ---------------------------------------------------------------------------------------------------------

/** p_j = e^(z_j) / sum_k e^(z_k) of every row. @param {Float64Array} z @param {number} n @param {Float64Array} out */
function softmaxRows(z, n, out) {
  const k = z.length / n;
  for (let r = 0; r < z.length; r += k) {
    let largest = -Infinity;
    let sum = 0;
    for (let j = 0; j < k; j++) largest = Math.max(largest, z[r + j]);
    for (let j = 0; j < k; j++) sum += out[r + j] = Math.exp(z[r + j] - largest);
    for (let j = 0; j < k; j++) out[r + j] /= sum;
  }
}

/** Z = X W + 1 b^T. @param {Float64Array} x @param {number} n @param {DenseLayer} layer @param {Float64Array} z */
function affine(x, n, layer, z) {
  const { W, b, nIn, nOut } = layer;
  for (let r = 0; r < n; r++) {
    const row = r * nOut;
    for (let j = 0; j < nOut; j++) z[row + j] = b ? b[j] : 0;
    for (let i = 0; i < nIn; i++) {
      const v = x[r * nIn + i];
      if (v === 0) continue;
      const at = i * nOut;
      for (let j = 0; j < nOut; j++) z[row + j] += v * W[at + j];
    }
  }
}

/** dX = D W^T. @param {Float64Array} d @param {number} n @param {DenseLayer} layer @param {Float64Array} dx */
function affineBack(d, n, layer, dx) {
  const { W, nIn, nOut } = layer;
  for (let r = 0; r < n; r++) {
    const row = r * nOut;
    for (let i = 0; i < nIn; i++) {
      const at = i * nOut;
      let sum = 0;
      for (let j = 0; j < nOut; j++) sum += W[at + j] * d[row + j];
      dx[r * nIn + i] = sum;
    }
  }
}

// -- losses -------------------------------------------------------------------------------------------------------

const SMALLEST_LOG = -100;
const SMALLEST_DIVISOR = Math.fround(1e-12);

/**
 * l of one row and dl/d(output); `at` is where the row begins in the arrays, k its width.
 * @typedef {{value: (a: Float64Array, t: Float64Array, at: number, k: number) => number,
 *   slope: (a: Float64Array, t: Float64Array, at: number, k: number, out: Float64Array) => void,
 *   link: "softmax" | "sigmoid" | "probabilities" | null, kinds: string}} Loss
 */

/** @param {(k: number) => number} factor @returns {Loss} */
const squared = (factor) => ({
  link: null,
  kinds: "numbers",
  value(a, t, at, k) {
    let sum = 0;
    for (let j = at; j < at + k; j++) sum += factor(k) * (a[j] - t[j]) * (a[j] - t[j]); // l = c sum_j (a_j - t_j)^2
    return sum;
  },
  slope(a, t, at, k, out) {
    for (let j = at; j < at + k; j++) out[j] = 2 * factor(k) * (a[j] - t[j]); // dl/da = 2 c (a - t)
  },
});

/** @type {Record<string, Loss>} */
const LOSSES = {
  HalfSquaredError: squared(() => 0.5),
  MeanSquaredError: squared((k) => 1 / k),
  SoftmaxCrossEntropy: {
    link: "softmax",
    kinds: "classes",
    value(a, t, at, k) {
      let largest = -Infinity;
      let sum = 0;
      let dot = 0;
      for (let j = at; j < at + k; j++) largest = Math.max(largest, a[j]);
      for (let j = at; j < at + k; j++) {
        sum += Math.exp(a[j] - largest);
        dot += t[j] * (a[j] - largest);
      }
      return Math.log(sum) - dot; // l = log(sum_j e^(z_j)) - sum_j t_j z_j
    },
    slope(a, t, at, k, out) {
      const p = out.subarray(at, at + k);
      softmaxRows(a.subarray(at, at + k), 1, p);
      for (let j = 0; j < k; j++) p[j] -= t[at + j]; // dl/dz = p - t
    },
  },
  CategoricalCrossEntropy: {
    link: "probabilities",
    kinds: "classes",
    value(a, t, at, k) {
      let sum = 0;
      for (let j = at; j < at + k; j++) sum -= t[j] * Math.max(Math.log(a[j]), SMALLEST_LOG); // l = -sum_j t_j log p_j
      return sum;
    },
    slope(a, t, at, k, out) {
      for (let j = at; j < at + k; j++) out[j] = -t[j] / Math.max(a[j], SMALLEST_DIVISOR); // dl/dp = -t / p
    },
  },
  SigmoidCrossEntropy: {
    link: "sigmoid",
    kinds: "yes or no",
    value(a, t, at, k) {
      let sum = 0;
      for (let j = at; j < at + k; j++) sum += Math.max(a[j], 0) - t[j] * a[j] + Math.log1p(Math.exp(-Math.abs(a[j])));
      return sum / k; // l = 1/k sum_j (max(z, 0) - t z + log(1 + e^-|z|))
    },
    slope(a, t, at, k, out) {
      for (let j = at; j < at + k; j++) {
        const e = Math.exp(-Math.abs(a[j]));
        out[j] = ((a[j] >= 0 ? 1 : e) / (1 + e) - t[j]) / k; // dl/dz = (p - t) / k
      }
    },
  },
  BinaryCrossEntropy: {
    link: "probabilities",
    kinds: "yes or no",
    value(a, t, at, k) {
      let sum = 0;
      for (let j = at; j < at + k; j++) {
        const yes = Math.max(Math.log(a[j]), SMALLEST_LOG);
        const no = Math.max(Math.log1p(-a[j]), SMALLEST_LOG);
        sum += (t[j] - 1) * no - t[j] * yes; // l = 1/k sum_j (-t log p - (1 - t) log(1 - p))
      }
      return sum / k;
    },
    slope(a, t, at, k, out) {
      for (let j = at; j < at + k; j++) {
        out[j] = (a[j] - t[j]) / Math.max((1 - a[j]) * a[j], SMALLEST_DIVISOR) / k; // dl/dp = (p - t) / (p (1 - p)) / k
      }
    },
  },
};

// -- the network --------------------------------------------------------------------------------------------------

/**
 * @typedef {{kind: string, [name: string]: any}} Between
 * @typedef {{W: Float64Array, b: Float64Array | null, nIn: number, nOut: number, between: Between[],
 *   rateW: number, rateB: number}} DenseLayer
 */

/** Whether an entry after a dense layer mixes the neurons of a row. @param {Between} between */
const mixes = (between) => between.kind === "Softmax";

/** Weights, biases and what stands between the dense layers; the loss and the targets of every row. */
class Network {
  /** @param {{layers: DenseLayer[], loss: {kind: string}}} spec */
  constructor(spec) {
    this.layers = spec.layers;
    this.lossName = spec.loss.kind;
    this.depth = this.layers.length;
    this.widths = [this.layers[0].nIn, ...this.layers.map((layer) => layer.nOut)];
  }

  get loss() {
    return LOSSES[this.lossName];
  }

  /** Every array that training changes, in order: W and b of each dense layer, and slopes that are learned. */
  parameters() {
    /** @type {Float64Array[]} */
    const arrays = [];
    for (const layer of this.layers) {
      arrays.push(layer.W);
      if (layer.b) arrays.push(layer.b);
      for (const between of layer.between) if (between.kind === "PReLU") arrays.push(between.a);
    }
    return arrays;
  }

  /** A copy of all parameters, one after the other. */
  flat() {
    const arrays = this.parameters();
    const all = new Float64Array(arrays.reduce((sum, array) => sum + array.length, 0));
    let at = 0;
    for (const array of arrays) {
      all.set(array, at);
      at += array.length;
    }
    return all;
  }

  /** Take all parameters back from a copy. @param {ArrayLike<number>} all */
  setFlat(all) {
    let at = 0;
    for (const array of this.parameters()) {
      for (let i = 0; i < array.length; i++) array[i] = all[at + i];
      at += array.length;
    }
  }
}

/** One pass over some rows: what forward and backward leave behind. */
class Pass {
  /**
   * @param {Network} net
   * @param {Float64Array} x rows of samples
   * @param {Float64Array} t targets as rows, of the width of the output
   * @param {number} n
   */
  constructor(net, x, t, n) {
    this.net = net;
    this.x = x;
    this.t = t;
    this.n = n;
    const arrays = () => net.layers.map((layer) => new Float64Array(n * layer.nOut));
    this.z = arrays();
    /** What each entry between dense layers gives, and the product of slopes from z to a. */
    this.steps = net.layers.map((layer) => layer.between.map(() => new Float64Array(n * layer.nOut)));
    this.slope = arrays();
    this.dA = arrays();
    this.dZ = arrays();
    this.E = NaN;
    this.grown = false;
    this.dW = net.layers.map((layer) => new Float64Array(layer.W.length));
    this.db = net.layers.map((layer) => (layer.b ? new Float64Array(layer.nOut) : null));
  }

  /** What enters dense layer l (from 0). @param {number} l */
  entering(l) {
    return l ? this.out(l - 1) : this.x;
  }

  /** a of dense layer l (from 0). @param {number} l */
  out(l) {
    const steps = this.steps[l];
    return steps.length ? steps[steps.length - 1] : this.z[l];
  }

  /** The forward pass and the error, from dense layer `from` (from 0) on; Z of that layer may be there already. */
  forward(from = 0, summed = false) {
    const { net, n } = this;
    for (let l = from; l < net.depth; l++) {
      if (l > from || !summed) affine(this.entering(l), n, net.layers[l], this.z[l]);
      this.activate(l);
    }
    return this.error();
  }

  /**
   * One weight w_ij grows: z_j += by a_i, and Z of the next layer by its part, da_j w_j^T, in place of whole products.
   * Returns the layer whose Z is up to date by that: the forward pass goes on from there.
   * @param {Chosen} weight @param {number} by
   */
  nudge({ layer, source, target }, by) {
    const { nIn, nOut, between } = this.net.layers[layer];
    const [z, enters, out, steps] = [this.z[layer], this.entering(layer), this.out(layer), this.steps[layer]];
    const next = this.net.layers[layer + 1];
    for (let r = 0; r < this.n; r++) {
      const at = r * nOut + target;
      const before = out[at];
      let a = z[at] + by * (source < 0 ? 1 : enters[r * nIn + source]);
      z[at] = a;
      if (!next) continue;
      for (let k = 0; k < between.length; k++) a = steps[k][at] = ACTIVATIONS[between[k].kind].value(a, between[k]);
      const da = a - before;
      for (let k = 0; k < next.nOut; k++) this.z[layer + 1][r * next.nOut + k] += da * next.W[target * next.nOut + k];
    }
    return next ? layer + 1 : layer;
  }

  /** A(l) = f(Z(l)). @param {number} l */
  activate(l) {
    const layer = this.net.layers[l];
    let before = this.z[l];
    layer.between.forEach((between, k) => {
      const after = this.steps[l][k];
      if (mixes(between)) softmaxRows(before, this.n, after);
      else {
        const f = ACTIVATIONS[between.kind].value;
        for (let i = 0; i < after.length; i++) after[i] = f(before[i], between);
      }
      before = after;
    });
  }

  /** Whether f' of neuron j of dense layer l is 0 in every row: a ReLU that is off lets no error through. @param {number} l @param {number} j */
  closed(l, j) {
    const slope = this.slope[l];
    const { nOut } = this.net.layers[l];
    for (let at = j; at < slope.length; at += nOut) if (slope[at] !== 0) return false;
    return true;
  }

  /** l of row r. @param {number} r */
  rowError(r) {
    const k = this.net.widths[this.net.depth];
    return this.net.loss.value(this.out(this.net.depth - 1), this.t, r * k, k);
  }

  /** E = 1/n sum_r l_r. */
  error() {
    let sum = 0;
    for (let r = 0; r < this.n; r++) sum += this.rowError(r);
    this.E = sum / this.n;
    return this.E;
  }

  /**
   * The backward pass, without dE/dW, which `gradients` makes: from the error, or from dense layer `done` (from 0) on
   * where that one is up to date, down to layer `to`.
   */
  backward(to = 0, done = this.net.depth) {
    const { net, n } = this;
    const last = net.depth - 1;
    if (done > last) {
      const k = net.widths[net.depth];
      const a = this.out(last);
      const start = this.dA[last];
      for (let r = 0; r < n; r++) net.loss.slope(a, this.t, r * k, k, start);
      for (let i = 0; i < start.length; i++) start[i] *= 1 / n; // dE/da = 1/n dl/da
    }
    for (let l = done - 1; l >= to; l--) {
      if (l < last) affineBack(this.dZ[l + 1], n, net.layers[l + 1], this.dA[l]); // dE/dA = dE/dZ W^T
      this.throughActivations(l);
    }
    this.grown = false;
  }

  /** dE/da(l)_j and dE/dz(l)_j of one neuron below the output, from dE/dz of the layer after. @param {number} l @param {number} j */
  backwardOne(l, j) {
    const { between, nOut } = this.net.layers[l];
    const next = this.net.layers[l + 1];
    for (let r = 0; r < this.n; r++) {
      const at = r * nOut + j;
      let sum = 0;
      for (let k = 0; k < next.nOut; k++) sum += next.W[j * next.nOut + k] * this.dZ[l + 1][r * next.nOut + k];
      let slope = 1;
      for (let k = between.length - 1; k >= 0; k--) {
        slope *= ACTIVATIONS[between[k].kind].slope(k ? this.steps[l][k - 1][at] : this.z[l][at], this.steps[l][k][at], between[k]);
      }
      this.dA[l][at] = sum; // dE/da_j = sum_k w_jk dE/dz_k
      this.slope[l][at] = slope;
      this.dZ[l][at] = sum * slope;
    }
    this.grown = false;
  }

  /** dE/dZ(l) = dE/dA(l) * f'(Z(l)); fills `slope` too, 1 where a layer mixes. @param {number} l */
  throughActivations(l) {
    const { between, nOut } = this.net.layers[l];
    const d = this.dZ[l];
    const slope = this.slope[l];
    d.set(this.dA[l]);
    slope.fill(1);
    for (let k = between.length - 1; k >= 0; k--) {
      const before = k ? this.steps[l][k - 1] : this.z[l];
      const after = this.steps[l][k];
      if (mixes(between[k])) {
        for (let r = 0; r < d.length; r += nOut) {
          let s = 0;
          for (let j = 0; j < nOut; j++) s += d[r + j] * after[r + j];
          for (let j = 0; j < nOut; j++) d[r + j] = (d[r + j] - s) * after[r + j]; // dE/dx_j = y_j (d_j - sum_k d_k y_k)
        }
        continue;
      }
      const f = ACTIVATIONS[between[k].kind].slope;
      for (let i = 0; i < d.length; i++) {
        const s = f(before[i], after[i], between[k]);
        slope[i] *= s;
        d[i] *= s;
      }
    }
  }

  /** dE/dW = A^T dE/dZ and dE/db = dE/dZ^T 1 of every dense layer. */
  gradients() {
    if (this.grown) return;
    for (let l = 0; l < this.net.depth; l++) {
      const { nIn, nOut } = this.net.layers[l];
      const a = this.entering(l);
      const d = this.dZ[l];
      const dW = this.dW[l].fill(0);
      const db = this.db[l]?.fill(0);
      for (let r = 0; r < this.n; r++) {
        const row = r * nOut;
        for (let i = 0; i < nIn; i++) {
          const v = a[r * nIn + i];
          if (v === 0) continue;
          const at = i * nOut;
          for (let j = 0; j < nOut; j++) dW[at + j] += v * d[row + j];
        }
        if (db) for (let j = 0; j < nOut; j++) db[j] += d[row + j];
      }
    }
    this.grown = true;
  }

  /** dE/da of a learned slope: the sum of D min(x, 0) over its entries. @param {number} l @param {number} k */
  slopeGradient(l, k) {
    const { between } = this.net.layers[l];
    let sum = 0;
    for (let i = 0; i < this.z[l].length; i++) {
      let d = this.dA[l][i];
      for (let later = between.length - 1; later > k; later--) {
        const before = this.steps[l][later - 1][i];
        d *= ACTIVATIONS[between[later].kind].slope(before, this.steps[l][later][i], between[later]);
      }
      sum += d * Math.min(k ? this.steps[l][k - 1][i] : this.z[l][i], 0);
    }
    return sum;
  }

  /** All gradients in the order of `Network.parameters`, with the rate factor of each array. */
  parameterGradients() {
    this.gradients();
    /** @type {{gradient: Float64Array, rate: number}[]} */
    const all = [];
    this.net.layers.forEach((layer, l) => {
      all.push({ gradient: this.dW[l], rate: layer.rateW });
      const db = this.db[l];
      if (db) all.push({ gradient: db, rate: layer.rateB });
      layer.between.forEach((between, k) => {
        if (between.kind !== "PReLU") return;
        all.push({ gradient: Float64Array.of(this.slopeGradient(l, k)), rate: between.rate });
      });
    });
    return all;
  }

  /** w_new = w_old - alpha dE/dw. Returns sum of rate |dE/dw|^2: E falls by alpha times it, to first order. */
  update(/** @type {number} */ alpha) {
    const gradients = this.parameterGradients();
    let squares = 0;
    this.net.parameters().forEach((array, at) => {
      const { gradient, rate } = gradients[at];
      for (let i = 0; i < array.length; i++) {
        squares += rate * gradient[i] * gradient[i];
        array[i] -= alpha * rate * gradient[i];
      }
    });
    return squares;
  }

  /** Probabilities, where the loss has a link to them. */
  probabilities() {
    const a = this.out(this.net.depth - 1);
    const link = this.net.loss.link;
    if (link === null) return null;
    if (link === "probabilities") return a;
    const p = new Float64Array(a.length);
    if (link === "softmax") softmaxRows(a, this.n, p);
    else for (let i = 0; i < a.length; i++) p[i] = logistic(a[i]);
    return p;
  }
}

/** One weight of a pass on the move: always from where it was, so that no rounding adds up. */
class Nudge {
  /** @param {Pass} pass after a forward pass @param {Chosen} weight @param {number} value that it has there */
  constructor(pass, weight, value) {
    const { layer } = weight;
    this.pass = pass;
    this.weight = weight;
    this.value = value;
    const arrays = [pass.z[layer], ...pass.steps[layer], ...pass.z.slice(layer + 1, layer + 2)];
    this.kept = arrays.map((array) => ({ array, values: array.slice() }));
  }

  /** Returns the layer from which the forward pass goes on. @param {number} value */
  to(value) {
    for (const { array, values } of this.kept) array.set(values);
    return this.pass.nudge(this.weight, value - this.value);
  }
}

/** Rows of a flat matrix. @param {Float64Array} flat @param {number} n */
function asRows(flat, n) {
  const k = flat.length / n;
  return Array.from({ length: n }, (_, r) => Array.from(flat.subarray(r * k, (r + 1) * k)));
}

/** Chosen rows of a flat matrix. @param {Float64Array} flat @param {number} n @param {ArrayLike<number>} rows */
function takeRows(flat, n, rows) {
  const k = flat.length / n;
  const taken = new Float64Array(rows.length * k);
  for (let r = 0; r < rows.length; r++) taken.set(flat.subarray(rows[r] * k, (rows[r] + 1) * k), r * k);
  return taken;
}

/**
 * Numbers in [0, 1) from a seed: the generator mulberry32, which a page can repeat anywhere.
 * @param {number} seed
 */
function randomFrom(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** A shuffled 0 ... n-1 (Fisher and Yates). @param {number} n @param {() => number} random */
function shuffled(n, random) {
  const order = Array.from({ length: n }, (_, i) => i);
  for (let i = n - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}
