"use strict";
// The listening part: one prompt at a time, its players made when it is shown, so that the page opens at once.
(() => {
  const byId = (id) => document.getElementById(id);
  const looks = JSON.parse(byId("looks").textContent);
  const list = byId("clips"), player = list.parentElement, select = byId("prompt"), count = select.options.length;
  let at = 0, current = 0, urls = [];

  const make = (tag, text, name) => {
    const node = document.createElement(tag);
    if (text) node.textContent = text;
    if (name) node.className = name;
    return node;
  };

  const marker = (system) => {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", "0 0 12 12");
    svg.setAttribute("class", "mark");
    svg.setAttribute("aria-hidden", "true");
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("d", looks[system].path);
    path.setAttribute("fill", looks[system].fill);
    svg.append(path);
    return svg;
  };

  const source = (item) => {
    if (item.src) return item.src;
    const bytes = Uint8Array.from(atob(item.audio), (letter) => letter.charCodeAt(0));
    const url = URL.createObjectURL(new Blob([bytes], { type: "audio/flac" }));
    urls.push(url);
    return url;
  };

  const card = (item, index) => {
    const node = make("li"), name = make("div", "", "name");
    if (looks[item.system]) name.append(marker(item.system));
    name.append(item.system + " ", make("kbd", String(index + 1)));
    node.append(name);
    if (item.missing) {
      node.append(make("p", item.missing, "note"));
      return node;
    }
    const picture = make("img");
    picture.src = "data:image/png;base64," + item.picture;
    picture.alt = "Spectrogram of " + item.system;
    const audio = make("audio");
    audio.controls = true;
    audio.preload = "metadata";
    audio.src = source(item);
    audio.setAttribute("aria-label", item.system);
    audio.addEventListener("play", () => {
      for (const other of list.querySelectorAll("audio")) if (other !== audio) other.pause();
      choose(index);
    });
    const scores = make("dl");
    for (const [label, value] of item.scores) {
      const pair = make("div");
      pair.append(make("dt", label), make("dd", value));
      scores.append(pair);
    }
    node.append(picture, audio, scores);
    return node;
  };

  const choose = (index) => {
    current = index;
    [...list.children].forEach((node, i) => node.classList.toggle("current", i === index));
  };

  const show = (index) => {
    at = Math.min(Math.max(index, 0), count - 1);
    urls.splice(0).forEach((url) => URL.revokeObjectURL(url));
    const entry = JSON.parse(byId("prompt-" + at).textContent);
    byId("text").textContent = entry.text;
    if (entry.badge) byId("text").append(make("span", entry.badge, "badge"));
    byId("tags").textContent = [entry.id, ...entry.tags].join(" · ");
    list.replaceChildren(...entry.items.map(card));
    select.selectedIndex = at;
    byId("previous").disabled = at === 0;
    byId("next").disabled = at === count - 1;
    choose(0);
  };

  const toggle = () => {
    const audio = list.children[current]?.querySelector("audio");
    if (audio) audio.paused ? audio.play().catch(() => {}) : audio.pause(); // a pause may come before the play has begun
  };

  byId("previous").addEventListener("click", () => show(at - 1));
  byId("next").addEventListener("click", () => show(at + 1));
  select.addEventListener("change", () => show(select.selectedIndex));
  document.addEventListener("keydown", (event) => {
    const { top, bottom } = player.getBoundingClientRect();
    const isInView = top < innerHeight && bottom > 0;  // elsewhere, space turns the page
    if (!isInView || event.ctrlKey || event.metaKey || event.altKey) return;
    const own = event.target.closest("audio, select, button, a, summary, .scroll");  // these have keys of their own
    if (event.key === "j" || (event.key === "ArrowRight" && !own)) show(at + 1);
    else if (event.key === "k" || (event.key === "ArrowLeft" && !own)) show(at - 1);
    else if (event.key === " " && !own) toggle();
    else if (/^[1-9]$/.test(event.key) && !event.target.closest("select")) {
      if (list.children[event.key - 1]) {
        choose(event.key - 1);
        toggle();
      }
    } else return;
    event.preventDefault();
  });
  show(0);
})();
