"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("scripted");
  const find = (chosen, inside = document) => inside.querySelector(chosen);
  const all = (chosen, inside = document) => [...inside.querySelectorAll(chosen)];
  const made = (name, text) => {
    const node = document.createElement(name);
    if (text !== undefined) node.textContent = text;
    return node;
  };
  const data = JSON.parse(find("#data").textContent);

  // Light or dark: as the system says, until the button says otherwise.
  const button = find("#theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const shade = (dark) => {
    root.dataset.theme = dark ? "dark" : "light";
    button.setAttribute("aria-pressed", String(dark));
  };
  let chosen = false;
  shade(system.matches);
  system.addEventListener("change", () => chosen || shade(system.matches));
  button.addEventListener("click", () => {
    chosen = true;
    shade(root.dataset.theme !== "dark");
  });

  // Tables: a click on a head sorts up, a second one down, a third one gives the first order back.
  const value = (row, column) => {
    const cell = row.cells[column];
    if (!cell) return null;
    if ("value" in cell.dataset) return cell.dataset.value === "" ? null : Number(cell.dataset.value);
    return cell.textContent.trim();
  };
  const before = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true }));
  const arm = (table) => {
    const body = table.tBodies[0];
    const first = [...body.rows];
    const heads = all("thead th", table);
    heads.forEach((head, column) =>
      find("button", head).addEventListener("click", () => {
        const now = head.getAttribute("aria-sort");
        const next = { none: "ascending", ascending: "descending", descending: "none" }[now];
        heads.forEach((one) => one.setAttribute("aria-sort", one === head ? next : "none"));
        const sign = next === "descending" ? -1 : 1;
        const keyed = first.map((row) => [value(row, column), row]);
        if (next !== "none") {
          keyed.sort(([a], [b]) => (a === null || b === null ? (a === null) - (b === null) : sign * before(a, b)));
        }
        body.append(...keyed.map(([, row]) => row));
      }),
    );
  };
  const filter = (input) => {
    const rows = [...document.getElementById(input.dataset.filter).tBodies[0].rows];
    const wanted = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let left = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !wanted.every((word) => text.includes(word));
      left += !row.hidden;
    }
    find("output", input.parentElement).textContent = wanted.length ? `${left} of ${rows.length} rows` : "";
  };
  all("table.sortable").forEach(arm);
  all("input[data-filter]").forEach((input) => input.addEventListener("input", () => filter(input)));

  // Copy a command line.
  const copy = async (text) => {
    if (navigator.clipboard) return navigator.clipboard.writeText(text);
    const area = made("textarea", text);
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  };
  document.addEventListener("click", (event) => {
    if (!event.target.matches(".copy")) return;
    const said = (word) => () => (event.target.textContent = word);
    copy(find("code", event.target.parentElement).textContent).then(said("Copied"), said("Select and copy it by hand"));
  });

  // Pictures are drawn when they come near the screen: a page of many runs opens at once.
  const axis = { labelColor: "currentColor", titleColor: "currentColor", domainColor: "currentColor", tickColor: "currentColor" };
  const config = {
    background: "transparent",
    font: "system-ui, DejaVu Sans, sans-serif",
    view: { stroke: null },
    axis: { ...axis, gridColor: "currentColor", gridOpacity: 0.13, titleFontWeight: 500, labelFontSize: 11, titleFontSize: 12 },
    legend: { labelColor: "currentColor", titleColor: "currentColor", labelFontSize: 12 },
  };
  const narrow = matchMedia("(max-width: 30rem)");
  // On a narrow screen labels are short, legends have one column, and titles break at their comma.
  const fold = (part) => {
    for (const [key, inner] of Object.entries(part)) {
      if (key === "values" || !inner || typeof inner !== "object") continue;
      if (key === "legend") inner.columns = 1;
      if (key === "axis" && "labelLimit" in inner) inner.labelLimit = 130;
      if (key === "axis" && inner.title?.includes(", ")) inner.title = inner.title.split(/(?<=,) /);
      fold(inner);
    }
  };
  const MANY = 1500; // cells of a map from which on one image is faster than an element a cell
  window.embed = (place, spec) => {
    const own = structuredClone(spec);
    if (narrow.matches) fold(own);
    const renderer = (own.usermeta?.cells ?? 0) > MANY ? "canvas" : "svg";
    return vegaEmbed(place, own, { actions: false, renderer, config, tooltip: { theme: "dark" } });
  };
  // A picture of several frames has a button that shows one after another.
  const arm_frames = (place, spec, view) => {
    const last = (spec.usermeta?.frames ?? 0) - 1;
    if (last < 1) return;
    const play = Object.assign(made("button", "Play"), { type: "button", className: "play" });
    let timer = null;
    const stop = () => {
      clearInterval(timer);
      timer = null;
      play.textContent = "Play";
    };
    play.addEventListener("click", () => {
      if (timer) return stop();
      let now = view.signal("frame") >= last ? -1 : view.signal("frame");
      play.textContent = "Stop";
      timer = setInterval(() => {
        view.signal("frame", ++now).run();
        if (now >= last) stop();
      }, 150);
    });
    place.append(play);
  };
  const draw = (place) => {
    if (place.dataset.drawn) return;
    place.dataset.drawn = "yes";
    const spec = data.charts[Number(place.dataset.chart)];
    embed(place, spec).then(
      ({ view }) => {
        place.style.minHeight = "";
        arm_frames(place, spec, view);
      },
      () => (place.textContent = "This picture cannot be drawn."),
    );
  };
  const seen = new IntersectionObserver(
    (entries) => entries.filter((entry) => entry.isIntersecting).forEach((entry) => draw(entry.target)),
    { rootMargin: "300px" },
  );
  all(".chart").forEach((place) => seen.observe(place));
  narrow.addEventListener("change", () =>
    all(".chart[data-drawn]").forEach((place) => {
      delete place.dataset.drawn;
      seen.unobserve(place);
      seen.observe(place);
    }),
  );
  addEventListener("beforeprint", () => all(".chart").forEach(draw));

  // Settings: the leaves of two configs that differ.
  const flat = (config, path = "", into = {}) => {
    for (const [key, inner] of Object.entries(config)) {
      const name = path ? `${path}.${key}` : key;
      if (inner && typeof inner === "object" && !Array.isArray(inner)) flat(inner, name, into);
      else into[name] = typeof inner === "string" ? inner : JSON.stringify(inner);
    }
    return into;
  };
  const grid = (heads, rows, numbers = []) => {
    const table = made("table");
    table.className = "sortable";
    const line = table.createTHead().insertRow();
    heads.forEach((text, i) => {
      const head = made("th");
      head.scope = "col";
      head.className = numbers.includes(i) ? "n" : "";
      head.setAttribute("aria-sort", "none");
      head.append(Object.assign(made("button", text), { type: "button" }));
      line.append(head);
    });
    const body = table.createTBody();
    for (const row of rows) {
      const added = body.insertRow();
      row.forEach((cell, i) => {
        const node = made(i ? "td" : "th", cell === null ? "-" : typeof cell === "number" ? cell.toLocaleString("en", { maximumSignificantDigits: 6 }) : cell);
        if (!i) node.scope = "row";
        if (numbers.includes(i)) {
          node.className = "n";
          node.dataset.value = typeof cell === "number" ? cell : "";
        }
        added.append(node);
      });
    }
    arm(table);
    return table;
  };
  const options = (select, at) => {
    data.runs.forEach((run, i) => select.append(new Option(run.name, i)));
    select.selectedIndex = Math.min(at, data.runs.length - 1);
  };
  const [left, right, which] = ["#left", "#right", "#which"].map((name) => find(name));
  const compare = () => {
    const pair = [left, right].map((select) => data.runs[select.value]);
    const [a, b] = pair.map((run) => flat(data.configs[run.config] ?? {}));
    const keys = [...new Set([...Object.keys(a), ...Object.keys(b)])].filter((key) => a[key] !== b[key]);
    const rows = keys.map((key) => [key, a[key] ?? "not set", b[key] ?? "not set"]);
    const same = `The settings of ${pair[0].name} and ${pair[1].name} are the same.`;
    find("#differences").replaceChildren(rows.length ? grid(["setting", pair[0].name, pair[1].name], rows) : made("p", same));
  };
  const list = () => {
    const run = data.runs[which.value];
    const frame = made("div");
    frame.className = "wide";
    frame.tabIndex = 0;
    frame.setAttribute("role", "region");
    frame.setAttribute("aria-label", `rows of ${run.name}`);
    const numbers = run.columns.map((_, i) => i).filter((i) => run.rows.every((row) => row[i] === null || typeof row[i] === "number"));
    frame.append(grid(run.columns, run.rows, numbers));
    find("#every").replaceChildren(frame);
    if (run.more) find("#every").append(made("p", `${run.more.toLocaleString("en")} more rows of this run are not shown.`));
  };
  if (left) {
    options(left, 0);
    options(right, Math.max(1, data.runs.findIndex((run) => run.config !== data.runs[0].config)));
    [left, right].forEach((select) => select.addEventListener("change", compare));
    compare();
  }
  if (data.runs.length) {
    options(which, 0);
    which.addEventListener("change", list);
    list();
  }
})();
