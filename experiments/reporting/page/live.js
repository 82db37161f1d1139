"use strict";
(() => {
  const works = document.getElementById("works");
  const said = document.getElementById("connection");
  const cards = new Map();
  const made = (name, text, inside) => {
    const node = document.createElement(name);
    node.textContent = text;
    inside.append(node);
    return node;
  };
  document.getElementById("reload").addEventListener("click", () => location.reload());

  const card = (run) => {
    const figure = made("figure", "", works);
    figure.className = "picture";
    made("figcaption", run.name, figure);
    const state = made("p", "", figure);
    const bar = made("progress", "", figure);
    bar.max = 100;
    bar.setAttribute("aria-label", `share of ${run.name} that is done`);
    const chart = made("div", "", figure);
    chart.className = "chart";
    chart.setAttribute("role", "img");
    chart.setAttribute("aria-label", `Progress of ${run.name} over the seconds since it began.`);
    const dots = made("div", "", figure);
    dots.className = "chart";
    dots.setAttribute("role", "img");
    dots.setAttribute("aria-label", `The newest population of ${run.name}: loss against size.`);
    return { state, bar, chart, dots, points: [], view: null, scatter: null, waits: Promise.resolve() };
  };

  // New points go into the picture that is there; a picture is drawn when its first points come. Of many points
  // every second one is kept.
  const grow = async (own, run) => {
    if (!run.points.length) return;
    own.points.push(...run.points);
    if (own.points.length > 3000) own.points = own.points.filter((_, i) => i % 2);
    if (own.view) await own.view.data("points", own.points).runAsync();
    else own.view = (await embed(own.chart, { ...run.spec, data: { name: "points", values: own.points } })).view;
  };

  // The dots of the newest population take the place of those before.
  const move = async (own, run) => {
    if (!run.population.length) return;
    if (own.scatter) await own.scatter.data("genomes", run.population).runAsync();
    else own.scatter = (await embed(own.dots, { ...run.scatter, data: { name: "genomes", values: run.population } })).view;
  };

  const show = (run) => {
    if (run.begins) {
      cards.get(run.name)?.chart.parentElement.remove();
      cards.delete(run.name);
    }
    if (!cards.has(run.name)) cards.set(run.name, card(run));
    const own = cards.get(run.name);
    own.state.textContent = [run.state, run.said].filter(Boolean).join(": ");
    own.state.className = run.state === "stopped" || run.state === "failed" ? "stopped" : "";
    if (run.percent === null) own.bar.removeAttribute("value");
    else own.bar.value = run.percent;
    own.bar.hidden = run.state !== "working";
    own.waits = own.waits.then(() => grow(own, run)).then(() => move(own, run));
  };

  const events = new EventSource("events");
  events.addEventListener("open", () => (said.textContent = "Connected: new steps are shown as they come."));
  events.addEventListener("error", () => (said.textContent = "The server does not answer; the page tries again."));
  events.addEventListener("steps", (event) => JSON.parse(event.data).forEach(show));
  events.addEventListener("rows", () => (document.getElementById("fresh").hidden = false));
})();
