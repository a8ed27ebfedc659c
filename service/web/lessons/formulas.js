/** The formula of each step of the lesson, by the step's name. */

import {
  below,
  digits,
  formula,
  fraction,
  letter,
  over,
  raised,
  root,
  row,
  sign,
  sumOver,
  words,
} from "../lib/mathml.js";

const variance = (of) => row(words("Var"), "(", of, ")");
const nIn = () => below(letter("n"), words("in"));
const nOut = () => below(letter("n"), words("out"));
const weight = () => letter("W");

export const FORMULAS = {
  weight: () =>
    formula(
      "a equals phi of z, z equals the sum over i of w i x i, plus b",
      letter("a"),
      "=",
      letter("φ"),
      "(",
      letter("z"),
      ")",
      ",",
      letter("z"),
      "=",
      sumOver("i"),
      below(letter("w"), letter("i")),
      below(letter("x"), letter("i")),
      "+",
      letter("b"),
    ),
  zeros: () =>
    formula(
      "the derivative of L by w i j equals x i times delta j",
      fraction(row("∂", letter("L")), row("∂", below(letter("w"), row(letter("i"), letter("j"))))),
      "=",
      below(letter("x"), letter("i")),
      below(letter("δ"), letter("j")),
      ",",
      below(letter("δ"), digits("1")),
      "=",
      below(letter("δ"), digits("2")),
      "=",
      "…",
    ),
  size: () =>
    formula(
      "the variance of z equals n sigma squared times the mean of x squared",
      variance(letter("z")),
      "=",
      letter("n"),
      raised(letter("σ"), digits("2")),
      words("E"),
      "[",
      raised(letter("x"), digits("2")),
      "]",
    ),
  rbm: () =>
    formula(
      "the change of W equals epsilon times the mean of v h over the data minus that over the recreations",
      "Δ",
      weight(),
      "=",
      letter("ε"),
      "(",
      below(row("⟨", letter("v"), letter("h"), "⟩"), words("data")),
      "−",
      below(row("⟨", letter("v"), letter("h"), "⟩"), words("recreated")),
      ")",
    ),
  xavier: () =>
    formula(
      "the variance of W equals 2 over n in plus n out; a equals the root of 6 over n in plus n out",
      variance(weight()),
      "=",
      fraction(digits("2"), row(nIn(), "+", nOut())),
      ",",
      letter("a"),
      "=",
      root(fraction(digits("6"), row(nIn(), "+", nOut()))),
    ),
  he: () =>
    formula(
      "the mean of h squared equals half of the variance of z, so the variance of W equals 2 over n in",
      words("E"),
      "[",
      raised(letter("h"), digits("2")),
      "]",
      "=",
      fraction(digits("1"), digits("2")),
      variance(letter("z")),
      sign("⇒"),
      variance(weight()),
      "=",
      fraction(digits("2"), nIn()),
    ),
  notebooks: () =>
    formula(
      "theta becomes theta minus eta times m over the root of v plus epsilon",
      letter("θ"),
      "←",
      letter("θ"),
      "−",
      letter("η"),
      fraction(over(letter("m"), "^"), row(root(over(letter("v"), "^")), "+", letter("ε"))),
    ),
};
