"use strict";
const cards = [...document.querySelectorAll(".card")];
const search = document.querySelector("#search");
const play = document.querySelector("#play");
const shown = document.querySelector("#shown");
const choices = document.querySelectorAll("[name=stage]");
const form = document.querySelector(".tools");
const inView = new Set();
let texts;

function show() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  const stage = document.querySelector("[name=stage]:checked").id.slice("only-".length);
  texts ??= cards.map((card) => card.textContent.toLowerCase());
  let count = 0;
  cards.forEach((card, index) => {
    card.hidden = !words.every((word) => texts[index].includes(word));
    count += !card.hidden && (stage === "all" || card.classList.contains(stage));
  });
  shown.textContent = count === cards.length ? "" : `${count} of ${cards.length}`;
}

function playing() {
  return play.getAttribute("aria-pressed") === "true";
}

// A clip far from the window holds no memory; near it, its first picture is there.
const watch = new IntersectionObserver((changes) => {
  for (const { target, isIntersecting } of changes) {
    target.preload = isIntersecting ? "metadata" : "none";
    if (isIntersecting) {
      inView.add(target);
      if (playing()) target.play().catch(() => {});
    } else if (inView.delete(target)) {
      target.pause();
      target.load();
    }
  }
}, { rootMargin: "300px" });

document.querySelectorAll("video").forEach((video) => watch.observe(video));
form.addEventListener("submit", (event) => event.preventDefault());
search.addEventListener("input", show);
choices.forEach((choice) => choice.addEventListener("change", show));
play.addEventListener("click", () => {
  play.setAttribute("aria-pressed", String(!playing()));
  inView.forEach((video) => (playing() ? video.play().catch(() => {}) : video.pause()));
});
addEventListener("hashchange", () => {
  const card = document.querySelector(".card:target");
  if (!card || card.checkVisibility()) return;
  search.value = "";
  choices[0].checked = true;
  show();
  card.scrollIntoView();
});
document.querySelectorAll(".tools [hidden]").forEach((tool) => (tool.hidden = false));
