// The page of a question: sounds to switch between, an answer for each (or one for both), and what is still to do.

import { Deck, Heard } from "./audio.js";
import { isContinuous, preference, scale } from "./controls.js";
import { announce, h, icon, local, show, t } from "./ui.js";
import { Transport } from "./transport.js";

const DRAFT_EVERY = 1000; // ms

/** One page of the test; run() shows it and resolves with its answers once save() has taken them. */
export class Rating {
  /** `page` of `packet`, with `stimuli` in their order on screen and `buffers` by id; `draft` from before a reload. */
  constructor(packet, page, stimuli, buffers, draft) {
    Object.assign(this, { packet, page, stimuli });
    const pass = packet.passes.find(({ pass_id }) => pass_id === page.pass_id);
    this.dimension = packet.dimensions.find(({ id }) => id === pass.dimension);
    this.paired = packet.protocol === "ab";
    this.deck = new Deck(packet.audio.rate, buffers, () => this.#changed());
    this.transport = new Transport(this.deck, () => this.#toggle(this.deck.current ?? stimuli[0]));
    this.names = new Map(stimuli.map((id, index) => [id, t("sound", { number: index + 1 })]));
    if (page.reference) this.names.set(page.reference, t("reference"));
    this.#build();
    this.#restore(draft);
  }

  /** Shows the page; `save(body)` is called once all is done, and the promise resolves after it. */
  run({ number, last, save, draft }) {
    this.number = number;
    const keys = (event) => this.#key(event);
    const leaving = () => this.saving || draft(this.body());
    const drafts = setInterval(leaving, DRAFT_EVERY);
    document.addEventListener("keydown", keys);
    window.addEventListener("pagehide", leaving);
    return new Promise((resolve) => {
      this.next = h("button", { class: "primary", "aria-disabled": "true", onclick: async () => {
        if (this.#incomplete(true) || this.saving) return;
        this.saving = true;
        this.deck.pause();
        this.status.textContent = t("saving");
        try {
          await save(this.body(), (text) => (this.status.textContent = text));
        } catch (error) {
          this.saving = false;
          this.status.textContent = t("refused", { reason: error.message });
          return;
        }
        clearInterval(drafts);
        document.removeEventListener("keydown", keys);
        window.removeEventListener("pagehide", leaving);
        this.transport.close();
        resolve();
      } }, t(last ? "finish" : "next"));
      show(...this.parts, h("div", { class: "ending" }, this.status, this.next));
      this.#changed();
    });
  }

  /** What is stored of the page; a draft of it has also which parts were heard. */
  body() {
    this.deck.count();
    const preferred = this.paired && this.choice.value;
    const scores = this.stimuli.map((stimulus_id, position) => {
      const control = this.paired ? this.choice : this.rows.get(stimulus_id).control;
      const heard = this.deck.heard.get(stimulus_id);
      const value = this.paired ? (preferred === "tie" ? 50 : preferred === position ? 100 : 0) : control.value;
      return {
        stimulus_id, position, score: control.answered ? value : null, touched: control.answered, plays: heard.plays,
        heard_s: Math.round(heard.seconds * 1000) / 1000, heard_all: heard.complete(this.packet.rules.min_plays),
      };
    });
    const bins = Object.fromEntries([...this.deck.heard].map(([id, heard]) => [id, heard.bins]));
    return { scores, comment: this.comment.value, t_client: new Date().toISOString(), page_no: this.number, bins };
  }

  #build() {
    const question = local(this.dimension.question);
    const answered = () => this.#changed();
    this.rows = new Map();
    const list = h("ol", { class: `sounds${this.paired ? " pair" : ""}` }, this.stimuli.map((id) => this.#row(id, answered)));
    if (this.paired) this.choice = preference(question, [...this.names.values()].slice(0, 2), answered);
    this.comment = h("textarea", { maxlength: 1000, rows: 3, id: "comment" });
    this.status = h("p", { class: "todo", role: "status" });
    this.shortcuts = h("input", { type: "checkbox", checked: true });
    const marks = isContinuous(this.dimension) && !this.paired;
    this.parts = [
      this.page.training && h("p", { class: "badge" }, t("practice")),
      h("h1", {}, question),
      this.page.prompt_text && h("figure", { class: "prompt" }, h("figcaption", {}, t("made_from")), h("blockquote", {}, this.page.prompt_text)),
      this.transport.element,
      this.page.reference && h("div", { class: "sounds" }, this.#row(this.page.reference, null)),
      marks && h("div", { class: "marks", "aria-hidden": "true" }, local(this.dimension.labels).map((label) => h("span", {}, label))),
      list,
      this.paired && this.choice.element,
      h("details", { class: "aside" }, h("summary", {}, t("comment")), h("label", { for: "comment" }, t("comment_label")), this.comment),
      h("details", { class: "aside keys" }, h("summary", {}, t("keys")), h("p", {}, t("keys_text")), h("label", {}, this.shortcuts, " ", t("keys_off"))),
    ];
  }

  #row(id, answered) {
    const name = this.names.get(id);
    const button = h("button", { class: "play", type: "button", onclick: () => this.#toggle(id) }, icon("play"), icon("pause"));
    const heard = h("small", {});
    const control = answered && !this.paired ? scale(this.dimension, name, answered) : null;
    const tag = answered ? "li" : "div";
    const row = h(tag, { class: "sound" }, button, h("span", { class: "name" }, h("span", {}, name), heard), control?.element);
    this.rows.set(id, { row, button, heard, control, name });
    return row;
  }

  #restore(draft) {
    if (!draft) return;
    for (const score of draft.scores) {
      const control = this.rows.get(score.stimulus_id).control;
      if (control && score.touched) control.set(score.score);
      this.deck.heard.set(score.stimulus_id, new Heard(this.deck.duration, { ...score, bins: draft.bins?.[score.stimulus_id] }));
    }
    if (this.page.reference) {
      this.deck.heard.set(this.page.reference, new Heard(this.deck.duration, { bins: draft.bins?.[this.page.reference] }));
    }
    const best = draft.scores.findIndex(({ score }) => score === 100);
    if (this.paired && draft.scores[0].touched) this.choice.set(best < 0 ? "tie" : best);
    this.comment.value = draft.comment;
  }

  async #toggle(id) {
    await this.deck.toggle(id);
    announce(this.deck.playing ? t("playing", { sound: this.names.get(id) }) : t("paused"));
    const row = this.rows.get(id);
    if (this.deck.playing && row.control && document.activeElement !== row.button) row.control.focus();
  }

  #changed() {
    if (!this.next) return; // not shown yet
    for (const [id, { row, button, heard, control, name }] of this.rows) {
      const playing = this.deck.playing && this.deck.current === id;
      const { share, plays } = this.deck.heard.get(id);
      row.classList.toggle("playing", playing);
      row.style.setProperty("--heard", share);
      button.setAttribute("aria-label", t(playing ? "pause_sound" : "play_sound", { sound: name }));
      heard.textContent = share === 1 ? t("heard_all") : share > 0 ? t("heard_part", { percent: Math.floor(share * 100) }) : t("heard_none");
      if (plays > 0) control?.enable();
    }
    if (this.paired && this.stimuli.every((id) => this.deck.heard.get(id).plays > 0)) this.choice.enable();
    this.transport.update(() => this.#changed());
    const missing = this.#incomplete(false);
    this.next.setAttribute("aria-disabled", String(Boolean(missing)));
    if (!this.saving && this.status.textContent !== (missing || t("all_done"))) this.status.textContent = missing || t("all_done");
  }

  /** What is still to do, "" if nothing is; `go` moves the focus to the first of it. */
  #incomplete(go) {
    const names = (ids) => ids.map((id) => this.names.get(id)).join(", ");
    const all = [...this.names.keys()];
    const unheard = all.filter((id) => !this.deck.heard.get(id).complete(this.packet.rules.min_plays));
    const unrated = this.paired ? [] : this.stimuli.filter((id) => !this.rows.get(id).control.answered);
    const unchosen = this.paired && !this.choice.answered;
    if (go && unheard.length) this.rows.get(unheard[0]).button.focus();
    else if (go && unrated.length) this.rows.get(unrated[0]).control.focus();
    else if (go && unchosen) this.choice.focus();
    return [
      unheard.length > 0 && t("to_hear", { sounds: names(unheard) }),
      unrated.length > 0 && t("to_rate", { sounds: names(unrated) }),
      unchosen && t("to_choose"),
    ].filter(Boolean).join(" ");
  }

  #key(event) {
    const { key, target } = event;
    if (!this.shortcuts.checked || event.ctrlKey || event.altKey || event.metaKey || target.matches("textarea, select")) return;
    const sound = /^[1-9]$/.test(key) ? this.stimuli[key - 1] : key === "0" ? this.page.reference : null;
    if (sound) {
      if (!this.deck.playing || this.deck.current !== sound) this.#toggle(sound);
      this.rows.get(sound).control?.focus();
    } else if (key === " " && !target.matches("button, summary, input[type=checkbox], input[type=radio]")) {
      this.#toggle(this.deck.current ?? this.stimuli[0]);
    } else if (key.toLowerCase() === "l") {
      this.deck.loop(!this.deck.looping);
    } else if (key.startsWith("Arrow") && target === document.getElementById("screen") && this.deck.current) {
      this.rows.get(this.deck.current).control?.focus();
    } else {
      return;
    }
    event.preventDefault();
  }
}
