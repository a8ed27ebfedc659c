/** The languages of the lesson, and which one the reader wants. */

import { ENGLISH } from "./english.js";
import { KOREAN } from "./korean.js";

const CHOSEN = "fanin.language";

export const LANGUAGES = [ENGLISH, KOREAN];

/** Return the texts of the language that the address names, else of the one chosen before, else of the browser's. */
export function textsFor(params) {
  const wanted = [
    params.get("lang"),
    localStorage.getItem(CHOSEN),
    ...navigator.languages.map((one) => one.slice(0, 2)),
  ];
  const code = wanted.find((one) => LANGUAGES.some((language) => language.code === one));
  return LANGUAGES.find((language) => language.code === code) ?? ENGLISH;
}

/** Remember a language. */
export function useLanguage(code) {
  localStorage.setItem(CHOSEN, code);
}
