// A listener's way: welcome and consent, headphones, the pages, the end. Whatever was done is never asked again.

import { Library, sound } from "./audio.js";
import { Rating } from "./rating.js";
import { headphones, thanks, welcome } from "./screens.js";
import { Refused, Session, assignments, hasServer, outdated } from "./session.js";
import { h, heading, json, local, notice, pause, progress, show, speak, t } from "./ui.js";

const REFUSALS = { 404: "new_session", 410: "new_session" };

const stimulus = (id) => `stimuli/${id}.wav`;
const lost = () => notice(t("lost"));

async function main() {
  const packet = await json("packet.json");
  const wanted = (code) => packet.languages.find((language) => code?.startsWith(language));
  const asked = new URLSearchParams(location.search).get("lang");
  const preferred = [asked, ...navigator.languages].map(wanted).find(Boolean) ?? packet.languages[0];
  await speak(preferred);
  heading(packet.title, packet.languages);
  const online = await hasServer(lost);
  if (!online && (await outdated())) return location.reload();
  const session = new Session(packet, online);
  if (session.state.language) await speak(session.state.language);
  const note = await session.resume(lost).catch(refusal);
  if (!session.begun) await begin(packet, session, note);
  heading(packet.title, packet.languages);
  await pages(packet, session);
  progress(0, 0);
  thanks(session, session.state.done ?? await session.finish(lost));
}

/** The text for a session that the server does not know any more; other failures go on up. */
function refusal(error) {
  if (error instanceof Refused && REFUSALS[error.status]) return t(REFUSALS[error.status]);
  throw error;
}

async function begin(packet, session, note) {
  const [order] = (await assignments()).values(); // they are all alike in length
  await new Promise((resolve) => {
    const ask = () => {
      heading(packet.title, packet.languages, async (language) => {
        await speak(language);
        ask();
      });
      welcome(packet, order, note).then(resolve);
    };
    ask();
  });
  heading(packet.title, packet.languages);
  const { sampleRate } = sound(packet.audio.rate); // in the click that browsers demand
  const check = packet.headphone_check && packet.headphones.length ? await headphones(packet) : {};
  await session.begin({ language: document.documentElement.lang, sample_rate: sampleRate, ...check }, lost);
}

async function pages(packet, session) {
  const { order } = session.state;
  const all = new Map(packet.pages.map((page) => [page.page_id, page]));
  const library = new Library(packet.audio.rate);
  const files = ({ page_id, stimuli }) => [...stimuli, all.get(page_id).reference].filter(Boolean).map(stimulus);
  for (let number = session.next; number < order.length; number = session.next) {
    const { page_id, stimuli } = order[number];
    const page = all.get(page_id);
    progress(number, order.length);
    const before = all.get(order[number - 1]?.page_id);
    const loaded = load(library, files(order[number]), order[number + 1] ? files(order[number + 1]) : []);
    loaded.catch(() => {}); // told below, after the words
    if (!session.draftOf(page_id)) await introduce(packet, page, before);
    const buffers = await patiently(loaded, () => load(library, files(order[number]), []));
    const ids = [...stimuli, page.reference].filter(Boolean);
    const rating = new Rating(packet, page, stimuli, new Map(ids.map((id, index) => [id, buffers[index]])), session.draftOf(page_id));
    await rating.run({
      number,
      last: number + 1 === order.length,
      draft: (body) => session.draft(page_id, body),
      save: ({ bins, ...body }, tell) => session.save(page_id, body, () => tell(t("lost"))),
    });
  }
}

/** The sounds of a page; those of the next one follow once they are there. */
async function load(library, now, next) {
  const buffers = await library.get(now, [...now, ...next]);
  library.get(next).catch(() => {}); // it is tried again when its turn comes
  return buffers;
}

/** The result of `first`, or of `again()` as often as the listener asks for it. */
async function patiently(first, again) {
  show(h("p", { class: "muted", role: "status" }, t("loading")));
  for (let tried = first; ; tried = again()) {
    try {
      return await tried;
    } catch {
      await pause(t("load_failed"), [], t("try_again"));
    }
  }
}

/** A word before the first page of each part. */
async function introduce(packet, page, before) {
  if (before && before.pass_id === page.pass_id && before.training === page.training) return;
  const part = packet.passes.findIndex(({ pass_id }) => pass_id === page.pass_id);
  const dimension = packet.dimensions.find(({ id }) => id === packet.passes[part].dimension);
  const title = packet.passes.length > 1 ? t("part_of", { part: part + 1, parts: packet.passes.length }) : local(dimension.question);
  const words = [packet.passes.length > 1 && local(dimension.question), page.training ? t("practice_text") : before?.training && t("practice_over")];
  if (words.some(Boolean)) await pause(title, words, t("continue"));
}

main().catch((error) => {
  const reason = error instanceof Refused ? t("refused", { reason: error.message }) : String(error.message);
  show(h("h1", {}, t("broken")), h("p", {}, reason), h("p", {}, t("elsewhere")), h("p", { class: "actions" }, h("button", { class: "primary", onclick: () => location.reload() }, t("try_again"))));
});
