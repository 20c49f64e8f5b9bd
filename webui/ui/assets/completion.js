// Completion of prompts: embeddings, LoRAs and hypernetworks, wildcards, and the tags of the user's lists. All is looked up in the browser.
"use strict";
{
  const ui = window.webui;
  const { make } = ui;
  const SHOWN = 12, SHORTEST = 2, FRESH = 20000;
  const known = { loras: [], hypernets: [], embeddings: [], wildcards: [], tags: [], key: "" };
  let asked = -Infinity, asking = null, open = null;

  ui.isCompleting = () => Boolean(open);

  /** Ask for the words there are now; typing goes on meanwhile with those known. Over when they are known, whoever asked. */
  const refresh = async () => {
    if (performance.now() - asked < FRESH) return;
    await (asking ??= learn().finally(() => { asking = null; }));
  };

  const learn = async () => {
    const news = await ui.promptWords({ seen: known.key }).catch(() => null);
    if (!news) return;
    asked = performance.now();
    const tags = news.tags?.map(([name, category, count, others]) => ({ name, category, count, others: others.split(",").map((one) => one.trim()).filter(Boolean), sought: `${name},${others}`.toLowerCase() }));
    Object.assign(known, news, { tags: tags ?? known.tags });
  };

  /** What stands before the caret and may be completed: {from, text, kind}. */
  function wantedAt(value, caret) {
    const before = value.slice(0, caret);
    const network = /<([^<>]*)$/.exec(before);
    if (network) return { from: caret - network[0].length, text: network[1].replace(/^(lora|lyco|hypernet):/i, ""), kind: "network", only: /^(\w+):/.exec(network[1])?.[1].toLowerCase() };
    const wildcard = /__([^\s_,](?:[^\s,]*[^\s_,])?)?$/.exec(before);
    if (wildcard && (before.match(/__/g).length % 2)) return { from: caret - wildcard[0].length, text: wildcard[1] ?? "", kind: "wildcard" };
    const word = /[^,\n\r()[\]{}|:<>]*$/.exec(before)[0].trimStart();
    return word.length < SHORTEST ? null : { from: caret - word.length, text: word, kind: "word" };
  }

  const byPlace = (text) => (one, other) => one.toLowerCase().indexOf(text) - other.toLowerCase().indexOf(text) || one.length - other.length;
  const containing = (names, text) => names.filter((name) => name.toLowerCase().includes(text)).sort(byPlace(text));

  function offersFor({ text, kind, only }) {
    const sought = text.trim().toLowerCase();
    if (kind === "network") {
      const offer = (tag, names) => containing(names, sought).map((name) => ({ label: name, note: tag === "lora" ? "LoRA" : "hypernetwork", text: `<${tag}:${name}:1>` }));
      return [...(only === "hypernet" ? [] : offer("lora", known.loras)), ...(only === "lora" || only === "lyco" ? [] : offer("hypernet", known.hypernets))].slice(0, SHOWN);
    }
    if (kind === "wildcard") return containing(known.wildcards, sought).slice(0, SHOWN).map((name) => ({ label: name, note: "wildcard", text: `__${name}__` }));
    const embeddings = containing(known.embeddings, sought).slice(0, SHOWN).map((name) => ({ label: name, note: "embedding", text: name }));
    return [...embeddings, ...tagsFor(sought.replace(/ /g, "_"), SHOWN - embeddings.length)];
  }

  /** Tags that begin with it, then those of which another name or a later word does; the lists have the most used first. */
  function tagsFor(sought, count) {
    const first = [], later = [];
    for (const tag of known.tags) {
      const place = tag.sought.indexOf(sought);
      if (place < 0) continue;
      if (place === 0) first.push(tag);
      else if (later.length < count && /[^a-z0-9]/.test(tag.sought[place - 1])) later.push(tag);
      if (first.length >= count) break;
    }
    return [...first, ...later].slice(0, count).map((tag) => {
      const other = tag.name.toLowerCase().includes(sought) ? "" : tag.others.find((one) => one.toLowerCase().includes(sought)) ?? "";
      const label = tag.name.replace(/_(?=\w)|(?<=\w)_/g, " ");
      return { label: other ? `${other} → ${label}` : label, note: tag.count ? tag.count.toLocaleString() : "tag", text: label.replace(/[()]/g, "\\$&"), separate: true };
    });
  }

  function show(box, wanted, offers) {
    close();
    const id = `${box.closest("[id]").id}_offers`;
    const rows = offers.map((offer, place) => make("li", { id: `${id}_${place}`, attributes: { role: "option", "aria-selected": "false" }, onmousedown: (event) => {
      event.preventDefault();
      take(offer);
    } }, make("span", {}, offer.label), make("small", {}, offer.note)));
    const list = make("ul", { id, className: "offers", attributes: { role: "listbox", "aria-label": "Completions" } }, ...rows);
    box.closest(".prompt-box").append(list);
    list.style.top = `${box.getBoundingClientRect().bottom - box.closest(".prompt-box").getBoundingClientRect().top + 2}px`;
    box.setAttribute("aria-controls", id);
    open = { box, wanted, offers, list, chosen: -1 };
  }

  function close() {
    open?.list.remove();
    open?.box.removeAttribute("aria-controls");
    open?.box.removeAttribute("aria-activedescendant");
    open = null;
  }

  function choose(by) {
    const { list, box, offers } = open;
    open.chosen = open.chosen < 0 && by < 0 ? offers.length - 1 : (open.chosen + by + offers.length) % offers.length;
    [...list.children].forEach((row, place) => row.setAttribute("aria-selected", place === open.chosen));
    const row = list.children[open.chosen];
    box.setAttribute("aria-activedescendant", row.id);
    row.scrollIntoView({ block: "nearest" });
  }

  /** Put an offer in the place of what was typed. After a tag or an embedding comes a comma, unless one is there. */
  function take(offer) {
    const { box, wanted } = open;
    const caret = box.selectionStart, rest = box.value.slice(caret);
    // What the user has written of the brackets' end already is not written twice.
    const ended = wanted.kind === "network" ? /^[^<>,\n]*>/.exec(rest)?.[0].length ?? 0 : 0;
    const comma = offer.separate && !/^\s*[,)\]|:]/.test(rest) ? ", " : "";
    close();
    ui.replaceText(box, wanted.from, caret + ended, offer.text + comma);
  }

  function look(box) {
    const wanted = document.activeElement === box && box.selectionStart === box.selectionEnd ? wantedAt(box.value, box.selectionStart) : null;
    const offers = wanted ? offersFor(wanted).filter(({ text }) => text !== box.value.slice(wanted.from, box.selectionStart)) : [];
    if (offers.length) show(box, wanted, offers);
    else close();
  }

  document.addEventListener("focusin", (event) => { if (ui.promptOfEvent(event)) refresh(); });
  document.addEventListener("focusout", (event) => { if (ui.promptOfEvent(event)) close(); });
  document.addEventListener("input", (event) => {
    const box = ui.promptOfEvent(event);
    // Only what is typed is completed, not what other scripts write.
    if (box && !event.isComposing && !ui.isReplacing && /^(insertText|insertCompositionText|deleteContent)/.test(event.inputType)) {
      refresh().then(() => { if (document.activeElement === box && !open) look(box); });
      look(box);
    }
  });
  document.addEventListener("keydown", (event) => {
    if (!open || event.isComposing || event.ctrlKey || event.metaKey || event.altKey || event.target !== open.box) return;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") choose(event.key === "ArrowDown" ? 1 : -1);
    else if (event.key === "Tab" && !event.shiftKey) take(open.offers[Math.max(0, open.chosen)]);
    else if (event.key === "Enter" && !event.shiftKey && open.chosen >= 0) take(open.offers[open.chosen]);
    else if (event.key === "Escape") close();
    else {
      if (["ArrowLeft", "ArrowRight", "Home", "End"].includes(event.key)) close();
      return;
    }
    event.preventDefault();
    event.stopPropagation();
    event.stopImmediatePropagation();
  }, true);
}
