// Play, place and repeat, for all sounds of a page together.

import { h, icon, t } from "./ui.js";

/** The line of controls above the sounds. */
export class Transport {
  constructor(deck, toggle) {
    this.deck = deck;
    this.button = h("button", { type: "button", class: "main", onclick: toggle }, icon("play"), icon("pause"), this.word = h("span", {}));
    this.place = h("input", { type: "range", class: "place", min: 0, max: deck.duration, step: 0.01, value: 0, "aria-label": t("position") });
    this.place.addEventListener("input", () => deck.seek(Number(this.place.value)));
    this.time = h("span", { class: "time", "aria-hidden": "true" });
    this.repeat = h("button", { type: "button", class: "repeat", onclick: () => deck.loop(!deck.looping) }, icon("repeat"), t("repeat"));
    this.element = h("div", { class: "transport" }, this.button, this.place, this.time, this.repeat);
  }

  /** Shows how things are; while something plays, `again` is called with the next picture. */
  update(again) {
    const { playing, looping, position, duration } = this.deck;
    this.button.classList.toggle("playing", playing);
    this.word.textContent = t(playing ? "pause" : "play");
    this.repeat.setAttribute("aria-pressed", String(looping));
    this.place.value = position;
    this.place.style.setProperty("--share", position / duration);
    const values = { seconds: position.toFixed(1), all: duration.toFixed(1) };
    this.place.setAttribute("aria-valuetext", t("seconds_of", values));
    this.time.textContent = `${values.seconds} / ${values.all} s`;
    cancelAnimationFrame(this.frame);
    if (playing) this.frame = requestAnimationFrame(() => {
      this.deck.count();
      again();
    });
  }

  close() {
    cancelAnimationFrame(this.frame);
  }
}
