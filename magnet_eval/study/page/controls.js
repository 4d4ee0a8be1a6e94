// What a listener answers with: a slider, a row of levels, or a choice between two sounds.
// Each is {element, answered, value, set(value), enable(), focus()} and calls changed() after each answer.

import { h, local, t } from "./ui.js";

const MOST_LEVELS = 11; // a scale with more steps is a slider

/** The control for one sound on the dimension's scale. */
export function scale(dimension, name, changed) {
  const [low, high] = dimension.scale;
  const levels = Math.round((high - low) / dimension.step) + 1;
  return levels > MOST_LEVELS ? slider(dimension, name, changed) : choices(
    t("rating_of", { sound: name }),
    Array.from({ length: levels }, (_, index) => {
      const value = low + index * dimension.step;
      const labels = local(dimension.labels);
      return { value, text: levels === labels.length ? labels[index] : "", number: value };
    }),
    changed,
  );
}

/** Whether the dimension is answered with sliders. */
export const isContinuous = ({ scale: [low, high], step }) => Math.round((high - low) / step) + 1 > MOST_LEVELS;

/** Which of two sounds is better, or neither: the value is the position of the better one, or "tie". */
export function preference(question, names, changed) {
  const sides = names.map((sound, index) => ({ value: index, text: t("prefer", { sound }), number: "" }));
  return choices(question, [sides[0], { value: "tie", text: t("tie"), number: "" }, sides[1]], changed);
}

/** The label of the band that `value` is in: the scale's length is shared out evenly among the labels. */
export function band(dimension, value) {
  const labels = local(dimension.labels);
  const [low, high] = dimension.scale;
  return labels[Math.min(labels.length - 1, Math.floor(((value - low) / (high - low)) * labels.length))];
}

function slider(dimension, name, changed) {
  const [low, high] = dimension.scale;
  const middle = low + Math.round((high - low) / 2 / dimension.step) * dimension.step;
  const input = h("input", {
    type: "range", min: low, max: high, step: dimension.step, value: middle, disabled: true,
    class: "rating unrated", "aria-label": t("rating_of", { sound: name }), "aria-valuetext": t("unheard"),
  });
  const labels = local(dimension.labels);
  const ends = h("div", { class: "ends", "aria-hidden": "true" }, h("span", {}, labels[0]), h("span", {}, labels.at(-1)));
  const output = h("span", { class: "value", "aria-hidden": "true" }, h("span", { class: "none" }, t("unheard")));
  const control = {
    element: h("div", { class: "slider" }, h("div", { class: "track" }, input, ends), output),
    answered: false,
    get value() {
      return Number(input.value);
    },
    set(value) {
      input.value = value;
      touch();
    },
    enable() {
      if (!input.disabled) return;
      input.disabled = false;
      if (control.answered) return;
      input.setAttribute("aria-valuetext", t("unrated"));
      output.replaceChildren(h("span", { class: "none" }, t("unrated")));
    },
    focus: () => input.focus({ preventScroll: true }),
  };
  function touch() {
    const label = band(dimension, control.value);
    control.answered = true;
    input.classList.remove("unrated");
    input.style.setProperty("--share", (control.value - low) / (high - low));
    input.setAttribute("aria-valuetext", t("value", { value: control.value, label }));
    output.replaceChildren(h("b", {}, String(control.value)), h("span", {}, label));
    changed();
  }
  input.addEventListener("input", touch);
  input.addEventListener("click", touch); // in the middle, where a click changes nothing and makes no input event
  input.addEventListener("keydown", ({ key }) => key === "Enter" && touch());
  return control;
}

let groups = 0;

function choices(label, options, changed) {
  const name = `choice${groups++}`;
  const inputs = options.map((_, index) => h("input", { type: "radio", name, value: index, disabled: true, onchange: touch }));
  const control = {
    element: h("div", { class: "choices", role: "radiogroup", "aria-label": label }, options.map(({ text, number }, index) =>
      h("label", {}, inputs[index], h("span", {}, number === "" ? null : h("b", {}, String(number)), number === "" || !text ? "" : " ", text)))),
    answered: false,
    get value() {
      const index = inputs.findIndex((input) => input.checked);
      return index < 0 ? null : options[index].value;
    },
    set(value) {
      inputs[options.findIndex((option) => option.value === value)].checked = true;
      touch();
    },
    enable: () => inputs.forEach((input) => (input.disabled = false)),
    focus: () => (inputs.find((input) => input.checked) ?? inputs[0]).focus({ preventScroll: true }),
  };
  function touch() {
    control.answered = true;
    changed();
  }
  return control;
}
