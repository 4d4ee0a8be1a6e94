// The screens around the questions: welcome and consent, headphone check, the end.

import { Library, playOnce } from "./audio.js";
import { h, local, show, t } from "./ui.js";

const PASS = 5 / 6; // share of the headphone tries to get right (Milne et al., 2020, ask for all 6)

/** Minutes that the pages take, as study plan reckons: each sound one and a half times, and 10 s to decide. */
function minutes(packet, order) {
  const seconds = order.reduce((sum, { stimuli }) => sum + 10 + stimuli.length * 1.5 * packet.audio.seconds, 0);
  return Math.max(1, Math.round(seconds / 60));
}

/** What awaits the listener, in an order such as `order`, and the consent; resolves once it is given. */
export function welcome(packet, order, note) {
  const box = h("input", { type: "checkbox", id: "agree" });
  const hint = h("p", { class: "todo", role: "status" });
  const words = [`welcome_${packet.protocol}`, "no_right", "you_need", "how_long"];
  return new Promise((resolve) => {
    const begin = () => {
      if (box.checked) return resolve();
      hint.textContent = t("agree_first");
      return box.focus();
    };
    show(
      h("h1", {}, t("welcome")),
      note && h("p", { class: "note", role: "status" }, note),
      ...words.map((key) => h("p", {}, t(key, { pages: order.length, minutes: minutes(packet, order) }))),
      h("h2", {}, t("consent")),
      h("div", { class: "consent" }, local(packet.consent).split(/\n\s*\n/).map((text) => h("p", {}, text))),
      h("p", {}, h("label", { class: "tick" }, box, h("span", {}, t("agree")))),
      h("p", { class: "actions" }, h("button", { class: "primary", onclick: begin }, t("start"))),
      hint,
    );
  });
}

/** The Huggins-pitch check; {headphones_correct, headphones_total}. */
export async function headphones({ audio, headphones: trials }) {
  const library = new Library(audio.rate);
  for (;;) {
    let correct = 0;
    for (const [index, { file, answer }] of trials.entries()) {
      correct += (await trial(library, file, index + 1, trials.length)) === answer;
    }
    const result = { headphones_correct: correct, headphones_total: trials.length };
    if (correct >= PASS * trials.length || !(await again())) return result;
  }
}

function trial(library, file, number, all) {
  library.get([`stimuli/${file}`]).catch(() => {}); // the click that needs it tries again
  return new Promise((resolve) => {
    const hint = h("p", { class: "todo", role: "status" });
    const answers = [1, 2, 3].map((noise) => h("button", { type: "button", "aria-disabled": "true", onclick: () => {
      if (heard) resolve(noise);
      else hint.textContent = t("listen_first");
    } }, t("noise", { number: noise })));
    let heard = false;
    const play = h("button", { class: "primary", onclick: async () => {
      play.disabled = true;
      hint.textContent = "";
      try {
        const [buffer] = await library.get([`stimuli/${file}`]);
        await playOnce(library.rate, buffer);
        heard = true;
        answers.forEach((button) => button.removeAttribute("aria-disabled"));
        answers[0].focus();
      } catch {
        hint.textContent = t("load_failed");
      }
      play.disabled = false;
    } }, t("headphones_play"));
    show(
      h("p", { class: "badge" }, t("headphones_trial", { trial: number, trials: all })),
      h("h1", {}, t("headphones")),
      h("p", {}, t("headphones_text")),
      h("p", { class: "actions" }, play),
      h("h2", {}, t("headphones_which")),
      h("div", { class: "answers", role: "group", "aria-label": t("headphones_which") }, answers),
      hint,
    );
  });
}

function again() {
  return new Promise((resolve) => show(
    h("h1", {}, t("headphones_failed")),
    h("p", {}, t("headphones_failed_text")),
    h("p", { class: "actions" },
      h("button", { class: "primary", onclick: () => resolve(true) }, t("again")),
      h("button", { onclick: () => resolve(false) }, t("go_on"))),
  ));
}

/** The end: a completion code from the server, or the file of answers to send. */
export function thanks(session, done) {
  const { completion_code: code, return_url, file } = done;
  const name = `answers-${session.state.session}.json`;
  const copy = h("button", { type: "button", onclick: async () => {
    await navigator.clipboard?.writeText(code);
    copy.textContent = t("copied");
  } }, t("copy"));
  show(
    h("h1", {}, t("thanks")),
    h("p", {}, t(file ? "file_text" : "thanks_text")),
    file && h("p", { class: "actions" }, h("a", { class: "button primary", href: URL.createObjectURL(file), download: name }, t("download"))),
    code && h("h2", {}, t("completion")),
    code && h("p", { class: "code" }, h("code", {}, code), copy),
    return_url && h("p", { class: "actions" }, h("a", { class: "button primary", href: return_url, rel: "noreferrer" }, t("return"))),
    h("p", { class: "muted" }, t("withdraw", { code: session.state.session })),
  );
}
