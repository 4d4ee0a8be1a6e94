// Elements, strings and the frame around every screen. Text only ever becomes a text node: no HTML from data.

let strings = {};

/** The string of `key`, with {name} replaced by values[name]. */
export function t(key, values = {}) {
  const text = strings[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

/** Makes `language` the one of t() and of the document. */
export async function speak(language) {
  strings = await json(`strings/${language}.json`);
  document.documentElement.lang = language;
}

/** The one of {language: text} that the document speaks, or else its first. */
export const local = (texts) => texts[document.documentElement.lang] ?? Object.values(texts)[0];

/** A JSON file of the packet. Never from the browser's cache: all packets have the same dates, so it would stay for years. */
export async function json(url) {
  const response = await fetch(url, { cache: "no-store" });
  if (!response.ok) throw new Error(`${url}: ${response.status}`);
  return response.json();
}

/** An element: attributes (onclick and the like are listeners; false and null are left out), then children. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== false && child !== undefined));
  return element;
}

const ICONS = {
  play: "M7 4.5v15l13-7.5z",
  pause: "M6 5h4v14H6zM14 5h4v14h-4z",
  repeat: "M7 7h9V4l5 4.5L16 13v-3H7a2 2 0 0 0-2 2v1H2v-1a5 5 0 0 1 5-5zM17 17H8v3l-5-4.5L8 11v3h9a2 2 0 0 0 2-2v-1h3v1a5 5 0 0 1-5 5z",
};

/** A drawing of ICONS, in the colour of the text around it. */
export function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const [svg, path] = ["svg", "path"].map((tag) => document.createElementNS(space, tag));
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", `icon shows-${name}`);
  svg.setAttribute("aria-hidden", "true");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

const at = (id) => document.getElementById(id);

/** Shows a screen and moves the reader's focus to its top. */
export function show(...children) {
  notice("");
  at("screen").replaceChildren(...children.filter(Boolean));
  window.scrollTo(0, 0);
  at("screen").focus({ preventScroll: true });
}

/** Tells screen readers, and nobody else. */
export function announce(text) {
  at("live").textContent = text;
}

/** A line above the screen, until the next one. */
export function notice(text) {
  at("notice").textContent = text;
}

/** The bar at the top: how many of the pages are done. */
export function progress(done, all) {
  at("progress").hidden = all === 0;
  at("progress").value = all ? done / all : 0;
  at("progress").setAttribute("aria-label", t("progress"));
  at("count").textContent = all ? t("page_of", { page: Math.min(done + 1, all), pages: all }) : "";
}

/** The study's title, and a choice of languages that calls `changed`; none once the study has begun. */
export function heading(title, languages, changed) {
  document.title = title;
  at("title").textContent = title;
  const select = at("language");
  select.hidden = !changed || languages.length < 2;
  if (!changed) return;
  select.setAttribute("aria-label", t("language"));
  select.replaceChildren(...languages.map((code) => {
    const name = new Intl.DisplayNames([code], { type: "language" }).of(code);
    return h("option", { value: code, lang: code, selected: code === document.documentElement.lang }, name);
  }));
  select.onchange = () => changed(select.value);
}

/** A screen of a few words and one button; resolves when the button is pressed. */
export function pause(title, paragraphs, button) {
  return new Promise((resolve) => show(
    h("h1", {}, title),
    ...paragraphs.filter(Boolean).map((text) => h("p", {}, text)),
    h("p", { class: "actions" }, h("button", { class: "primary", onclick: resolve }, button)),
  ));
}
