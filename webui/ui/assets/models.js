// Cards of models: in the Models tab, and under the prompts of a drawing tab. The server finds; the page shows what is near the view.
"use strict";
{
  const ui = window.webui;
  const { make, makeButton } = ui;
  const PAGE = 100, PAUSE = 120;
  const NAMES = { checkpoint: "Checkpoints", lora: "LoRA", embedding: "Embeddings", hypernetwork: "Hypernetworks", vae: "VAE", controlnet: "ControlNet", upscaler: "Upscalers" };
  const SORTS = { name: "By name", folder: "By folder", newest: "Newest first", largest: "Largest first" };
  const UNDER_PROMPTS = ["embedding", "hypernetwork", "checkpoint", "lora"];
  const shownIn = new Set();
  let useCheckpoint = null, wantedCheckpoint = null, drawing = ui.facts.tabs[0];

  /** showsFolders: whether the server can open a folder on the machine that somebody sits in front of. */
  ui.addModelsServer = (server, use, showsFolders) => {
    ui.models = server;
    ui.showsFolders = showsFolders;
    useCheckpoint = use;
  };
  ui.addModels = (element) => {
    const root = element.querySelector(".models"), cards = make("div", { className: "models" });
    root.replaceChildren(ui.modelForms(), cards);
    new Browser(cards, Object.keys(NAMES));
  };
  ui.checkpointWanted = () => wantedCheckpoint;
  /** Show a card again after something of it has changed; without a card, all. */
  ui.modelsChanged = (card) => { for (const browser of shownIn) browser.changed(card); };

  // Which drawing tab was in front last: a click on a card in the Models tab is meant for it.
  document.addEventListener("click", (event) => {
    const id = event.target.closest?.("[role=tab]")?.dataset.tabId;
    if (ui.facts.tabs.includes(id)) drawing = id;
  }, true);
  ui.drawingTab = () => drawing;

  /** The cards under a tab's prompts, made when they are first wanted. */
  ui.addTool("extra_networks_button", (tab) => {
    const row = document.getElementById(`${tab}_toprow`);
    let panel = document.getElementById(`${tab}_extra_networks`);
    if (panel) panel.hidden = !panel.hidden;
    else {
      panel = make("section", { id: `${tab}_extra_networks`, className: "models under-prompts", attributes: { "aria-label": "Models" } });
      row.after(panel);
      new Browser(panel, UNDER_PROMPTS, "lora");
    }
    document.getElementById(`${tab}_extra_networks_button`)?.setAttribute("aria-expanded", !panel.hidden);
  });

  /** Put a model to use in the drawing tab; what that did, in words. */
  ui.useModel = async (card) => {
    if (card.broken) return `${card.name} ${card.broken}.`;
    if (card.kind === "checkpoint") {
      wantedCheckpoint = card.name;
      useCheckpoint();
      return `${card.title} is the checkpoint now.`;
    }
    if (!["vae", ...UNDER_PROMPTS].includes(card.kind)) return `${card.title} is chosen where it is used.`;
    await ui.until(() => ui.tab(drawing).overrides);
    if (card.kind === "vae") {
      ui.changeForm(drawing, { vae: card.name });
      return `${card.title} is the VAE now.`;
    }
    const put = toggled(ui.promptBox(drawing, "prompt").value, textFor(card), card.kind === "lora" || card.kind === "hypernetwork" ? `<${TAGS[card.kind]}:${card.word}:` : null);
    const changes = { prompt: put.text };
    if (card.negative_text) changes.negative_prompt = toggled(ui.promptBox(drawing, "negative_prompt").value, card.negative_text, null, put.isIn).text;
    ui.changeForm(drawing, changes);
    return put.isIn ? `${card.title} is in the prompt of ${drawing}.` : `${card.title} is out of the prompt of ${drawing}.`;
  };

  const TAGS = { lora: "lora", hypernetwork: "hypernet" };
  const textFor = (card) => {
    const tag = TAGS[card.kind] ? `<${TAGS[card.kind]}:${card.word}:${card.preferred_weight || 1}>` : card.word;
    return [tag, card.activation_text].filter(Boolean).join(" ");
  };

  /** The prompt with a text added at its end, or taken out when it is there.  begins: how a tag of any weight begins. */
  function toggled(prompt, text, begins = null, wanted = null) {
    const place = prompt.indexOf(text), tagged = begins ? prompt.indexOf(begins) : -1;
    const isThere = place >= 0 || tagged >= 0;
    if (isThere && wanted !== true) {
      const [from, length] = place >= 0 ? [place, text.length] : [tagged, prompt.slice(tagged).indexOf(">") + 1 || begins.length];
      const before = prompt.slice(0, from).replace(/[\s,]+$/, ""), after = prompt.slice(from + length).replace(/^[\s,]+/, "");
      return { text: [before, after].filter(Boolean).join(", "), isIn: false };
    }
    if (isThere || wanted === false) return { text: prompt, isIn: isThere };
    return { text: prompt.trim() ? `${prompt.replace(/\s+$/, "")} ${text}` : text, isIn: true };
  }

  const fileSize = (bytes) => bytes >= 2 ** 30 ? `${(bytes / 2 ** 30).toFixed(2)} GB` : bytes >= 2 ** 20 ? `${Math.round(bytes / 2 ** 20)} MB` : `${Math.ceil(bytes / 1024)} KB`;
  ui.fileSize = fileSize;

  class Browser {
    constructor(root, kinds, first = kinds[0]) {
      Object.assign(this, { root, kinds, query: { kind: first, text: "", base: "", fits: "", folder: "", tag: "", favourites: false, sort: "name" }, cards: [], total: 0, asked: 0 });
      this.build();
      shownIn.add(this);
      // Only what can be seen is asked for; more follows when the end of the list comes near.
      new IntersectionObserver(([entry]) => { if (entry.isIntersecting && this.stale) this.ask(); }).observe(root);
      new IntersectionObserver(([entry]) => { if (entry.isIntersecting) this.more(); }, { rootMargin: "600px" }).observe(this.end);
      this.stale = true;
    }

    build() {
      const select = (name, label, change) => make("select", { className: `models-${name}`, attributes: { "aria-label": label }, onchange: (event) => change(event.target.value) });
      this.tabs = make("div", { className: "models-kinds", attributes: { role: "group", "aria-label": "Kind" } }, ...this.kinds.map((kind) =>
        make("button", { type: "button", className: "chip", onclick: () => this.set({ kind, folder: "", tag: "" }), attributes: { "data-kind": kind } }, NAMES[kind])));
      this.search = make("input", { type: "search", placeholder: "Search", autocomplete: "off", attributes: { "aria-label": "Search models" }, oninput: () => this.soon() });
      this.base = select("base", "Family", (value) => this.choose(value));
      this.folder = select("folder", "Folder", (folder) => this.set({ folder }));
      this.tag = select("tag", "Tag", (tag) => this.set({ tag }));
      this.sort = select("sort", "Order", (sort) => this.set({ sort }));
      this.sort.append(...Object.entries(SORTS).map(([value, name]) => make("option", { value }, name)));
      this.star = makeButton("Favourites only", "star", () => this.set({ favourites: !this.query.favourites }), { className: "tool small icon-star favourites" });
      this.rows = makeButton("List or cards", "rows", () => this.grid.classList.toggle("as-list"), { className: "tool small icon-rows" });
      this.again = makeButton("Look for new models", "refresh", () => this.refresh(), { className: "tool small icon-refresh" });
      this.count = make("span", { className: "models-count", attributes: { role: "status" } });
      this.notice = make("p", { className: "note models-said", attributes: { role: "status" } });
      this.grid = make("ul", { className: "cards" });
      this.end = make("div", { className: "models-end" });
      this.tree = ui.folderTree((folder) => this.set({ folder }));
      this.root.replaceChildren(this.tabs,
        make("div", { className: "models-bar" }, this.search, this.base, this.folder, this.tag, this.sort, this.star, this.rows, this.again, this.count),
        this.notice, make("div", { className: "models-body" }, this.tree.root, make("div", {}, this.grid, this.end)));
    }

    soon() {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.set({ text: this.search.value }), PAUSE);
    }

    async choose(value) {
      if (value !== "fits") return this.set({ base: value, fits: "" });
      await ui.until(() => ui.tab(drawing).overrides);
      const { checkpoint } = await ui.readForm(drawing);
      return this.set({ base: "", fits: checkpoint ?? "" });
    }

    set(changes) {
      Object.assign(this.query, changes);
      return this.ask();
    }

    async refresh() {
      const answer = await ui.models.refresh(null).catch(() => null);
      this.say(answer?.broken ? `${answer.broken} ${answer.broken === 1 ? "file" : "files"} cannot be used; their cards say why.` : "");
      ui.modelsChanged();
    }

    changed(card) {
      const place = card ? this.cards.findIndex((one) => one.kind === card.kind && one.name === card.name) : -1;
      if (place >= 0) {
        this.cards[place] = card;
        this.grid.children[place].replaceWith(this.card(card));
      } else if (!card && this.root.offsetParent) this.ask();
      else if (!card) this.stale = true;
    }

    async ask() {
      const turn = ++this.asked;
      this.stale = false;
      const server = await ui.until(() => ui.models);
      const answer = await server.find({ ...this.query, first: 0, count: PAGE }).catch(() => ({ error: "The server does not answer; try again." }));
      if (turn !== this.asked) return;
      if (answer.error) return this.say(answer.error);
      Object.assign(this, { cards: answer.cards, total: answer.total });
      this.grid.replaceChildren(...answer.cards.map((card) => this.card(card)));
      this.showChoices(answer);
      this.more();
    }

    async more() {
      if (this.stale || this.waiting || this.cards.length >= this.total || this.end.getBoundingClientRect().top > innerHeight + 600) return;
      const turn = this.asked;
      this.waiting = true;
      const answer = await ui.models.find({ ...this.query, first: this.cards.length, count: PAGE }).catch(() => null);
      this.waiting = false;
      if (!answer?.cards?.length || turn !== this.asked) return;
      this.cards.push(...answer.cards);
      this.grid.append(...answer.cards.map((card) => this.card(card)));
      requestAnimationFrame(() => this.more());
    }

    showChoices({ total, folders, tags, bases }) {
      for (const button of this.tabs.children) button.setAttribute("aria-pressed", button.dataset.kind === this.query.kind);
      this.star.setAttribute("aria-pressed", this.query.favourites);
      const fill = (select, all, names, chosen) => {
        select.replaceChildren(make("option", { value: "" }, all), ...names.map(([value, name]) => make("option", { value }, name)));
        select.value = chosen;
        select.hidden = !names.length;
      };
      fill(this.base, "All families", bases.length ? [["fits", "Fits the checkpoint"], ...bases] : [], this.query.fits ? "fits" : this.query.base);
      fill(this.folder, "All folders", folders.map((one) => [one, one]), this.query.folder);
      this.tree.show(folders, this.query.folder);
      fill(this.tag, "All tags", tags.map((one) => [one, one]), this.query.tag);
      this.sort.value = this.query.sort;
      this.count.textContent = `${total.toLocaleString()} ${total === 1 ? "model" : "models"}`;
      const wasEmpty = this.isEmpty;
      this.isEmpty = !total;
      if (!total) this.say(this.query.text || this.query.tag || this.query.favourites ? "Nothing fits this search." : "There is nothing of this kind yet. docs/models.md says what goes where.");
      else if (wasEmpty) this.say("");
    }

    card(card) {
      const picture = card.preview
        ? make("img", { src: ui.address(card.preview), alt: "", loading: "lazy", decoding: "async" })
        : make("span", { className: "no-preview", attributes: { "aria-hidden": "true" } }, card.title.slice(0, 2));
      const facts = [card.family, ...card.tags].filter(Boolean).join(" · ");
      const item = make("li", { className: `card${card.broken ? " broken" : ""}`, title: card.broken ? `${card.name} ${card.broken}` : card.description || card.name, attributes: { "data-name": card.name } },
        make("button", { type: "button", className: "card-use", onclick: async () => this.say(await ui.useModel(card)), attributes: { "aria-description": card.broken ? "cannot be used" : facts } },
          picture, make("span", { className: "unseen" }, "Use "), make("span", { className: "card-title" }, card.title), make("span", { className: "card-facts", attributes: { "aria-hidden": "true" } }, card.broken ? "cannot be used" : facts),
          make("span", { className: "card-more", attributes: { "aria-hidden": "true" } }, `${card.folder ? `${card.folder} · ` : ""}${fileSize(card.size)}`)),
        makeButton(`${card.favourite ? "No favourite" : "Favourite"}: ${card.title}`, "star", () => this.favour(card), { className: `tool small icon-star star${card.favourite ? " on" : ""}`, attributes: { "aria-pressed": card.favourite } }),
        makeButton(`About ${card.title}`, "inspect", () => ui.showModel(card), { className: "tool small icon-inspect about" }));
      item.addEventListener("contextmenu", (event) => { event.preventDefault(); ui.showModel(card); });
      return item;
    }

    async favour(card) {
      const answer = await ui.models.note({ kind: card.kind, name: card.name, changes: { favourite: !card.favourite } }).catch(() => null);
      if (answer?.card) ui.modelsChanged(answer.card);
      else this.say(answer?.error ?? "The server does not answer; try again.");
    }

    say(text) { this.notice.textContent = text ?? ""; }
  }
}
