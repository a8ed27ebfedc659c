/**
 * The steps of the lesson, but for their texts: what is trained, which answer is right, which picture shows it, and the source.
 *
 * A member is {name, spec}; `epochs` of a spec count passes over the full MNIST and are more on the 5,000 digits, so that there are as
 * many steps. `right` gives the number of the right choice for the results [{name, accuracy, pretraining}]. Without `choices` in its
 * texts a step asks which member is right on more than 80 % of the test digits.
 */

const SEED = 777;
export const LEARNED = 0.8;

const first = { preset: "mnist_nn_xavier" };
const deepTanh = { architecture: { hidden: Array(10).fill(100), activation: "tanh" } };
const deepRelu = { architecture: { hidden: Array(30).fill(100), activation: "relu" } };
const sgd = (lr) => ({ name: "sgd", lr });

const member = (name, base, epochs, more = {}) => ({ name, spec: { ...base, seed: SEED, epochs, ...more } });
const ofScheme = (base, epochs, init, more = {}) =>
  member([init.scheme, init.std].filter((part) => part !== undefined).join(" "), base, epochs, { init, ...more });

/** Return the number of the only member above 80 %, or how many members there are if none is, or several are. */
export function theOneThatLearned(results) {
  const learned = results.flatMap(({ accuracy }, number) => (accuracy > LEARNED ? [number] : []));
  return learned.length === 1 ? learned[0] : results.length;
}

export const STEPS = [
  {
    name: "weight",
    source: ["Rumelhart, Hinton, Williams 1986", "https://doi.org/10.1038/323533a0"],
    members: [member("epoch 0", first, 0), member("epoch 1", first, 1)],
    right: ([untrained]) => (untrained.accuracy < 0.3 ? 0 : untrained.accuracy < 0.7 ? 1 : 2),
    shows: "weights",
  },
  {
    name: "zeros",
    source: [
      "Goodfellow, Bengio, Courville 2016, section 8.4",
      "https://www.deeplearningbook.org/contents/optimization.html",
    ],
    members: ["zeros", "constant", "xavier_uniform"].map((scheme) => ofScheme(first, 1, { scheme })),
    right: theOneThatLearned,
    shows: "weights",
  },
  {
    name: "size",
    source: ["LeCun, Bottou, Orr, Müller 1998", "https://doi.org/10.1007/3-540-49430-8_2"],
    members: [
      ofScheme(deepTanh, 1, { scheme: "normal", std: 0.01 }, { optimizer: sgd(0.05) }),
      ofScheme(deepTanh, 1, { scheme: "normal", std: 1 }, { optimizer: sgd(0.05) }),
      ofScheme(deepTanh, 1, { scheme: "xavier_normal" }, { optimizer: sgd(0.05) }),
    ],
    right: theOneThatLearned,
    shows: "slider",
    slider: { activation: "tanh", depth: 10, width: 100 },
  },
  {
    name: "rbm",
    source: ["Hinton, Osindero, Teh 2006", "https://doi.org/10.1162/neco.2006.18.7.1527"],
    members: [
      member("dbn", { architecture: { hidden: [64], activation: "sigmoid" } }, 1, {
        init: { scheme: "dbn", rbm_epochs: 4 },
      }),
    ],
    right: ([{ pretraining }]) => {
      const divergences = pretraining.map((one) => one.reconstruction_kl);
      return divergences.at(-1) < divergences[0] ? 0 : divergences.at(-1) > divergences[0] ? 2 : 1;
    },
    shows: "recreations",
  },
  {
    name: "xavier",
    source: ["Glorot, Bengio 2010", "https://proceedings.mlr.press/v9/glorot10a.html"],
    members: ["torch_default", "xavier_normal"].map((scheme) =>
      ofScheme(deepTanh, 1, { scheme }, { optimizer: sgd(0.05) }),
    ),
    right: theOneThatLearned,
    shows: "signal",
  },
  {
    name: "he",
    source: ["He, Zhang, Ren, Sun 2015", "https://arxiv.org/abs/1502.01852"],
    members: ["xavier_uniform", "torch_default", "he_normal"].map((scheme) =>
      ofScheme(deepRelu, 2, { scheme }, { optimizer: sgd(0.01) }),
    ),
    right: theOneThatLearned,
    shows: "signal",
  },
  {
    name: "notebooks",
    source: ["Kingma, Ba 2015", "https://arxiv.org/abs/1412.6980"],
    members: ["mnist_nn_xavier", "mnist_nn_deep"].map((preset) => member(preset, { preset }, 1)),
    right: ([one, other]) => {
      if (Math.abs(one.accuracy - other.accuracy) < 0.005) return 2;
      return one.accuracy > other.accuracy ? 0 : 1;
    },
    shows: "signal",
  },
];
