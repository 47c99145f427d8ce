// Keys, the palette and the board: every one of them ends in a form or a link that is on the page without it.
document.documentElement.classList.add("js");
const $ = (selector, from = document) => from.querySelector(selector);
const all = (selector, from = document) => [...from.querySelectorAll(selector)];
const store = { get: (name) => localStorage.getItem(name), set: (name, value) => localStorage.setItem(name, value) };
for (const button of all("[data-open]")) {
  button.hidden = false;
  button.addEventListener("click", () => open(button.dataset.open));
}

for (const button of all("[data-copy]")) {
  const field = document.getElementById(button.dataset.copy);
  field.addEventListener("focus", () => field.select());
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", async () => { await navigator.clipboard.writeText(field.value); button.textContent = "Copied"; });
}
function open(id) {
  const dialog = $(`#${id}`);
  if (!dialog.open) dialog.showModal();
  if (id === "palette") fill("");
}

// Rows and cards: j and k walk, the one that is current has the focus on its link.
const stops = () => all("tr[data-href], .card");
let here = -1;
function go(step) {
  const rows = stops();
  if (!rows.length) return;
  here = Math.max(0, Math.min(rows.length - 1, here + step));
  rows.forEach((row, index) => row.classList.toggle("here", index === here));
  $("a", rows[here]).focus();
  rows[here].scrollIntoView({ block: "nearest" });
}
document.addEventListener("focusin", (event) => {
  const row = event.target.closest("tr[data-href], .card");
  if (!row) return;
  here = stops().indexOf(row);
  stops().forEach((other) => other.classList.toggle("here", other === row));
});

// Single keys act on the item that is open, or on the current row by opening it there.
function press(key) {
  const target = $(`[data-key="${key}"]`);
  if (!target) return false;
  const details = target.closest("details");
  if (details) details.open = true;
  if (target.matches("summary")) ($("input:not([type=hidden]), select, textarea", details) ?? target).focus();
  else if (target.matches("input, select, textarea")) target.focus();
  else target.click();
  return true;
}
let waiting = false;
document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
    event.preventDefault();
    open("palette");
    return;
  }
  // What is closed keeps the focus until the next frame: nobody types into it.
  const typing = event.target.closest("input:not([type=checkbox]), textarea, select, dialog");
  if (typing && !typing.closest("dialog:not([open])")) {
    if (event.key === "Escape" && !event.target.closest("dialog")) event.target.blur();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || store.get("keys") === "off") return;
  const key = event.key;
  if (waiting) {
    waiting = false;
    const link = $(`[data-go="${key}"]`);
    if (link) link.click();
    return;
  }
  const row = stops()[here];
  const done = {
    "?": () => open("help"),
    "/": () => $("#q").focus(),
    j: () => go(1),
    k: () => go(-1),
    g: () => { waiting = true; },
    x: () => { const box = row && $("input[type=checkbox]", row); if (box) { box.checked = !box.checked; picked(); } },
    ">": () => slide(row, 1),
    "<": () => slide(row, -1),
  }[key];
  if (done) { event.preventDefault(); done(); }
  else if (/^[a-z]$/.test(key)) {
    if (press(key)) event.preventDefault();
    else if (row && "spladmez".includes(key)) { event.preventDefault(); location.href = `${row.dataset.href}#${key}`; }
  }
});
if (location.hash.length === 2) press(location.hash[1]);

// Switching single keys off.
const off = $("#keys-off");
if (off) {
  off.checked = store.get("keys") === "off";
  off.addEventListener("change", () => store.set("keys", off.checked ? "off" : "on"));
}

// The palette: the links and buttons of this page by name.
const entries = () => [
  ...all("nav a, .facets a, [data-key], .pages a").map((node) => ({
    name: (node.textContent.trim() || node.closest("details, form")?.querySelector("label, summary")?.textContent || "").replace(/\s+/g, " "),
    run: () => (node.dataset.key ? press(node.dataset.key) : node.click()),
  })).filter((entry) => entry.name),
];
function fill(text) {
  const list = $("#palette ul");
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const found = entries().filter((entry) => words.every((word) => entry.name.toLowerCase().includes(word))).slice(0, 12);
  if (text) found.push({ name: `Find: ${text}`, run: () => { location.href = `/items?q=${encodeURIComponent(text)}`; } });
  list.replaceChildren(...found.map((entry, index) => {
    const item = document.createElement("li");
    item.role = "option";
    item.dir = "auto";
    item.textContent = entry.name;
    item.ariaSelected = String(index === 0);
    item.addEventListener("click", () => { $("#palette").close(); entry.run(); });
    return item;
  }));
}
const box = $("#palette input");
box?.addEventListener("input", () => fill(box.value.trim()));
box?.addEventListener("keydown", (event) => {
  const items = all("#palette li");
  const at = items.findIndex((item) => item.ariaSelected === "true");
  if (event.key === "Enter") { event.preventDefault(); items[at]?.click(); }
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step || !items.length) return;
  event.preventDefault();
  items.forEach((item, index) => { item.ariaSelected = String(index === (at + step + items.length) % items.length); });
});

// Bulk: only the fields of the chosen verb are sent.
const verb = $("#bulk-verb");
const FIELDS = { edit: ["priority", "owner"], move: ["to"], close: ["reason"], snooze: ["until"] };
function picked() {
  const count = all("#bulk input[name=ids]:checked").length;
  const text = $(".picked");
  if (text) text.textContent = count ? `With the ${count} selected:` : "With the selected:";
}
function choose() {
  const wanted = FIELDS[verb.value] ?? [];
  for (const field of all(".bulk [name]:not(#bulk-verb)")) field.disabled = !wanted.includes(field.name);
}
if (verb) { verb.addEventListener("change", choose); choose(); document.addEventListener("change", picked); }

// The board: a card moves to where it may; if the server refuses, it goes back and says why.
async function moved(card, status, back) {
  const form = $(".moves", card);
  const data = new URLSearchParams(new FormData(form));
  data.set("to", status);
  const answer = await fetch(form.action, { method: "POST", body: data }).catch(() => null);
  if (answer?.ok) {
    // The board as the server has it now, with its Undo, and the focus on the card that moved.
    leave(card);
    location.replace(answer.url);
    return;
  }
  back();
  const why = answer && $(".refusal p, .error p", new DOMParser().parseFromString(await answer.text(), "text/html"));
  say(`Not moved: ${why ? why.textContent : "the server does not answer."}`);
}
function say(text) {
  $(".said.refused")?.remove();
  const note = document.createElement("div");
  note.className = "said refused";
  note.role = "alert";
  note.textContent = text;
  $("main").prepend(note);
}
function slide(card, step) {
  if (!card?.matches(".card")) return;
  const lanes = all(".cards");
  const to = lanes[lanes.indexOf(card.closest(".cards")) + step];
  if (to) moved(card, to.dataset.status, () => {});
}
if ($(".board")) {
  for (const lane of all(".cards")) {
    globalThis.Sortable?.create(lane, {
      group: "board",
      animation: 120,
      onEnd: ({ item, from, to, oldIndex }) => {
        if (from !== to) moved(item, to.dataset.status, () => from.insertBefore(item, from.children[oldIndex]));
      },
    });
  }
}

// A page that is shown anew stands where it stood: the same row has the focus, and the same rows are selected.
function leave(row) {
  const ids = all("tr:has([name=ids]:checked)").map((one) => one.dataset.id);
  sessionStorage.setItem("left", JSON.stringify({ at: row?.dataset.id, ids }));
}
const left = JSON.parse(sessionStorage.getItem("left") ?? "null");
sessionStorage.removeItem("left");
if (left) {
  for (const row of all("tr[data-id]")) if (left.ids.includes(row.dataset.id)) $("[name=ids]", row).checked = true;
  picked();
  const row = stops().find((one) => one.dataset.id === left.at);
  if (row) $("a", row).focus({ preventScroll: true });
}

// On a small screen the pages are one line that scrolls: the one that is open is to be seen.
$("nav a[aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });

// Live: what others change meanwhile is told at the edge of the page. Nothing on it moves until somebody asks.
const behind = document.body.dataset.live;
if (behind !== undefined) {
  const only = $("article[data-id]")?.dataset.id;
  const changed = new Set();
  let last = behind;
  let stream;
  const told = (event) => {
    last = event.lastEventId;
    const change = JSON.parse(event.data);
    if (only && change.item_id !== only) return;
    changed.add(change.item_id);
    for (const row of all("[data-id]")) if (row.dataset.id === change.item_id) row.classList.add("stale");
    $("#news span").textContent = only ? `${change.actor} changed this item` : `${changed.size} changed`;
    $("#news").hidden = false;
  };
  // A page that nobody looks at holds no connection: a browser has few of them for one site.
  const listen = () => {
    stream?.close();
    if (document.hidden) return;
    stream = new EventSource(`/api/v1/stream?after=${encodeURIComponent(last)}`);
    stream.addEventListener("change", told);
  };
  $("#news button").addEventListener("click", () => { leave(stops()[here]); location.reload(); });
  document.addEventListener("visibilitychange", listen);
  addEventListener("pagehide", () => stream?.close());
  listen();
}
