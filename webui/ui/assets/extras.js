// The Extras tab: files are sent once each, then a job is asked for by their hashes and followed; the result lies over the original.
"use strict";
{
  const ui = window.webui;
  const { make, makeButton } = ui;
  const OFTEN = 400;
  const ACTIVE = ["queued", "running"];
  const NO_ANSWER = { error: "The server does not answer; try again." };
  const REMEMBERED = "webui.extras.job";
  const MODES = [["single", "Single Image"], ["batch", "Batch Process"], ["folder", "Batch from Directory"]];
  let panel = null, waiting = null;

  ui.addExtras = (element, server) => {
    panel = new Extras(element.querySelector(".extras"), server);
    panel.begin();
  };

  /** Put a picture file into the tab, which may not have been opened yet. */
  ui.sendToExtras = (file) => {
    if (panel?.offer) panel.takeOne(file);
    else waiting = file;
    ui.showTab("extras");
  };

  ui.addDestination("extras", "Extras", async (url) => {
    const blob = await (await fetch(url)).blob();
    ui.sendToExtras(new File([blob], decodeURIComponent(url.split("/").pop()) + ".png", { type: blob.type }));
  });

  class Extras {
    constructor(root, server) {
      Object.assign(this, { root, server, mode: "single", files: { single: [], batch: [] }, controls: {}, results: new Map(), order: [], befores: new Map() });
    }

    async begin() {
      const offer = await this.server.offer({}).catch(() => null);
      if (!offer) {
        setTimeout(() => this.begin(), 2000);
        return;
      }
      this.offer = offer;
      this.build();
      const job = window.localStorage.getItem(REMEMBERED);
      if (job) this.followJob(job);
      if (waiting) this.takeOne(waiting);
    }

    build() {
      this.tabs = make("div", { id: "mode_extras", className: "segments", attributes: { role: "tablist", "aria-label": "Pictures" } },
        ...MODES.map(([mode, title]) => make("button", { type: "button", id: `extras_mode_${mode}`, onclick: () => this.choose(mode), attributes: { role: "tab" } }, title)));
      this.source = make("div", { className: "extras-source" });
      this.notice = make("p", { id: "html_log_extras", className: "notice", hidden: true, attributes: { role: "alert" } });
      this.go = make("button", { type: "button", id: "extras_generate", className: "primary", onclick: () => this.start() }, "Generate");
      this.halt = make("button", { type: "button", id: "extras_interrupt", className: "tool", hidden: true, onclick: () => this.command("stop") }, "Interrupt");
      this.pass = make("button", { type: "button", id: "extras_skip", className: "tool", hidden: true, onclick: () => this.command("skip") }, "Skip");
      const left = make("div", { className: "extras-left" }, this.tabs, this.source, this.buildOptions(),
        make("div", { className: "extras-run" }, this.go, this.halt, this.pass), this.notice);
      this.root.replaceChildren(make("div", { className: "extras-columns" }, left, this.buildResults()));
      this.acceptDrops(left);
      this.choose("single");
    }

    // What to work on.
    choose(mode) {
      this.mode = mode;
      for (const button of this.tabs.children) button.setAttribute("aria-selected", button.id === `extras_mode_${mode}`);
      if (mode === "folder") this.showFolder();
      else this.showWell();
    }

    showWell() {
      const single = this.mode === "single", files = this.files[this.mode];
      const input = make("input", { type: "file", id: single ? "extras_image" : "extras_image_batch", accept: "image/*", multiple: !single });
      input.onchange = () => { this.takeFiles([...input.files]); input.value = ""; };
      const shown = files.slice(0, single ? 1 : 60).map((file) => make("img", { src: this.addressOf(file), alt: file.name, title: file.name }));
      const hint = files.length > 1 ? `${files.length} pictures. Drop others here, or choose them` : single ? "Drop a picture here, or choose one" : "Drop pictures here, or choose them";
      this.source.replaceChildren(make("label", { className: "picture-well" }, input,
        make("span", { className: single ? "one" : "many" }, ...shown), make("span", { className: "hint" }, hint)));
    }

    showFolder() {
      const folders = this.offer.folders.join(" or ");
      this.folder ??= make("input", { type: "text", id: "extras_batch_input_dir", placeholder: `${this.offer.folders.at(-1)}holiday`, spellcheck: false });
      this.source.replaceChildren(make("label", { className: "extras-field" }, make("span", {}, "Folder on the server"), this.folder),
        make("p", { className: "note" }, `It lies in ${folders} of the data folder. Results go to outputs/extras-images.`));
    }

    addressOf(file) {
      file.address ??= URL.createObjectURL(file);
      return file.address;
    }

    takeFiles(files) {
      if (!files.length) return;
      this.files[this.mode] = this.mode === "single" ? files.slice(0, 1) : files;
      this.tell(null);
      this.showWell();
    }

    takeOne(file) {
      this.choose("single");
      this.takeFiles([file]);
    }

    acceptDrops(target) {
      target.addEventListener("dragover", (event) => event.preventDefault());
      target.addEventListener("drop", (event) => {
        event.preventDefault();
        const files = [...(event.dataTransfer?.files ?? [])];
        if (files.length > 1 || this.mode === "folder") this.choose(files.length > 1 ? "batch" : "single");
        this.takeFiles(files);
      });
    }

    // What to do with it.
    buildOptions() {
      const fields = ["scale", "max_side"].map((name) => this.slider(name)), sizes = ["width", "height"].map((name) => this.slider(name));
      this.modes = this.offer.modes.map((mode, place) => {
        const radio = make("input", { type: "radio", name: "extras_resize_mode", value: mode, checked: place === 0, onchange: () => this.showMode() });
        return make("label", { className: "tick", id: place ? "extras_scale_to_tab" : "extras_scale_by_tab" }, radio, mode);
      });
      this.byFactor = make("div", { className: "extras-group" }, ...fields);
      this.toSize = make("div", { className: "extras-group", hidden: true }, ...sizes, this.tick("crop"));
      this.steps = this.offer.steps.map(ui.extrasStep);
      const block = (title, id, ...content) => make("fieldset", { id, className: "extras-block" }, make("legend", {}, title), ...content);
      const faces = Object.entries(this.offer.restorers).map(([name, found]) => {
        const low = name.toLowerCase(), rows = [this.slider(`${low}_visibility`), ...(low === "codeformer" ? [this.slider("codeformer_weight")] : [])];
        const missing = found ? [] : [make("p", { className: "note" }, `There is no file for ${name}; docs/extras.md says what to put where.`)];
        return block(name, `extras_${low}`, ...rows, ...missing);
      });
      return make("div", { className: "extras-options" },
        block("Upscale", "extras_upscale", make("div", { className: "ticks" }, ...this.modes), this.byFactor, this.toSize,
          this.select("upscaler_1"), this.select("upscaler_2"), this.slider("upscaler_2_visibility")), ...faces,
        ...this.steps.map((step) => step.element));
    }

    showMode() {
      const byFactor = this.resizeMode() === this.offer.modes[0];
      this.byFactor.hidden = !byFactor;
      this.toSize.hidden = byFactor;
    }

    resizeMode() {
      return this.modes.map((label) => label.firstChild).find((radio) => radio.checked).value;
    }

    slider(name) {
      const one = this.offer.parameters[name], step = one.step ?? 1;
      const range = make("input", { type: "range", min: one.minimum, max: one.maximum, step, value: one.default, tabIndex: -1, attributes: { "aria-hidden": "true" } });
      const number = make("input", { type: "number", min: one.minimum, step: "any", value: one.default });
      range.oninput = () => { number.value = range.value; };
      number.oninput = () => { range.value = number.value; };
      this.controls[name] = () => (number.value === "" ? null : Number(number.value));
      return make("label", { className: "extras-field", id: one.id, title: one.help }, make("span", {}, one.title), number, range);
    }

    tick(name) {
      const one = this.offer.parameters[name];
      const box = make("input", { type: "checkbox", checked: one.default });
      this.controls[name] = () => box.checked;
      return make("label", { className: "tick", id: one.id, title: one.help }, box, one.title);
    }

    select(name) {
      const one = this.offer.parameters[name];
      const list = make("select", {}, ...this.offer.upscalers.map((upscaler) => make("option", { value: upscaler }, upscaler)));
      list.onfocus = () => this.refresh(list);
      this.controls[name] = () => list.value;
      return make("label", { className: "extras-field", id: one.id, title: one.help }, make("span", {}, one.title), list);
    }

    /** Files may have come since the page was opened. */
    async refresh(list) {
      const offer = await this.server.offer({}).catch(() => null);
      if (!offer || offer.upscalers.join("\n") === this.offer.upscalers.join("\n")) return;
      this.offer.upscalers = offer.upscalers;
      for (const one of this.root.querySelectorAll("select")) {
        const chosen = one.value;
        one.replaceChildren(...offer.upscalers.map((upscaler) => make("option", { value: upscaler, selected: upscaler === chosen }, upscaler)));
      }
    }

    options() {
      const values = Object.fromEntries(Object.entries(this.controls).map(([name, read]) => [name, read()]));
      return { ...values, resize_mode: this.resizeMode(), steps: this.steps.map((step) => step.read()).filter(Boolean) };
    }

    // The job.
    async start() {
      if (this.busy) return;
      this.busy = true;
      this.go.disabled = true;
      this.tell(null);
      const query = { options: this.options() };
      const problem = this.mode === "folder" ? this.askForFolder(query) : await this.sendFiles(query);
      const answer = problem ? { error: problem } : await this.server.start(query).catch(() => NO_ANSWER);
      this.busy = false;
      this.go.disabled = false;
      this.showProgress(null);
      if (answer.error) this.tell(answer.error);
      else this.followJob(answer.job);
    }

    askForFolder(query) {
      query.folder = this.folder.value.trim();
      return query.folder ? null : "Name a folder on the server first.";
    }

    async sendFiles(query) {
      const files = this.files[this.mode];
      if (!files.length) return "Choose a picture first.";
      query.pictures = [];
      for (const [place, file] of files.entries()) {
        this.showProgress({ detail: files.length > 1 ? `Sending ${place + 1} of ${files.length}` : "Sending" });
        const upload = ui.upload(file, { name: file.name });
        const answer = upload ? await this.server.take(upload).catch(() => NO_ANSWER) : { error: ui.tooLarge(file) };
        if (answer.error) return `${file.name}: ${answer.error}`;
        query.pictures.push(answer.picture);
      }
      return null;
    }

    followJob(job) {
      clearTimeout(this.timer);
      this.job = job;
      window.localStorage.setItem(REMEMBERED, job);
      this.results.clear();
      this.order = [];
      this.chosen = null;
      this.showResults();
      this.ask();
    }

    async ask() {
      const job = this.job;
      const news = await this.server.follow({ job, known: [...this.results.keys()] }).catch(() => null);
      if (job !== this.job) return;
      if (!news) {
        this.timer = setTimeout(() => this.ask(), OFTEN * 4);
        return;
      }
      for (const picture of news.pictures ?? []) this.results.set(picture.id, picture);
      if (news.order && news.order.length !== this.order.length) {
        this.order = news.order;
        if (!this.chosen) this.chosen = this.order[0];
        this.showResults();
      }
      const active = ACTIVE.includes(news.state);
      this.halt.hidden = this.pass.hidden = !active;
      this.showProgress(active ? this.inWords(news) : null);
      if (active) this.timer = setTimeout(() => this.ask(), OFTEN);
      else this.showEnd(news);
    }

    inWords(news) {
      if (news.state === "queued") return { detail: news.paused ? "The queue is paused" : news.ahead ? `Waiting for ${news.ahead} other ${news.ahead === 1 ? "job" : "jobs"}` : "Waiting" };
      if (news.fraction === undefined) return { detail: news.loading ? `Loading ${news.loading}` : news.warming ? "The engine is starting" : "Beginning" };
      const which = news.batches > 1 ? `Picture ${news.batch} of ${news.batches}` : "Working";
      return { fraction: news.fraction, detail: `${which} · ${ui.duration(news.eta)} left` };
    }

    showEnd(news) {
      if (news.state === "gone") window.localStorage.removeItem(REMEMBERED);
      const ended = news.state === "cancelled" ? `Interrupted; ${this.order.length} of ${news.expected} pictures are done.` : news.error;
      this.tell([ended, ...(news.remarks ?? [])].filter(Boolean).join(" "));
    }

    command(what) {
      if (this.job) this.server[what]({ job: this.job }).catch(() => null);
    }

    tell(message) {
      this.notice.textContent = message ?? "";
      this.notice.hidden = !message;
    }

    // The results.
    buildResults() {
      this.fill = make("div", { className: "bar-fill" });
      this.meter = make("div", { className: "bar", attributes: { role: "progressbar", "aria-label": "Progress", "aria-valuemin": 0, "aria-valuemax": 100 } }, this.fill);
      this.detail = make("span", { className: "detail" });
      this.progress = make("div", { className: "progress", hidden: true }, make("div", { className: "progress-text" }, this.detail), this.meter);
      this.after = make("img", { className: "after", alt: "The result" });
      this.before = make("img", { className: "before", alt: "The original" });
      this.line = make("input", { type: "range", min: 0, max: 100, step: 0.1, value: 50, id: "extras_compare", attributes: { "aria-label": "Original to the left, result to the right" }, oninput: () => this.cut() });
      this.compare = make("div", { className: "compare", hidden: true }, this.after, this.before, make("span", { className: "edge" }), this.line);
      this.hint = make("p", { className: "hint" }, "Results appear here.");
      this.thumbs = make("div", { className: "thumbs", hidden: true });
      this.facts = make("p", { id: "html_info_extras", className: "note" });
      this.tools = make("div", { id: "image_buttons_extras", className: "tools", hidden: true },
        makeButton("Download", "download", () => this.download(), { id: "download_extras" }),
        makeButton("PNG Info", "inspect", () => this.inspect(), { id: "send_to_pnginfo_extras" }));
      return make("div", { id: "extras_gallery", className: "extras-right" }, this.progress, this.compare, this.hint, this.thumbs, this.tools, this.facts);
    }

    showProgress(news) {
      this.progress.hidden = !news;
      if (!news) return;
      const known = news.fraction !== undefined;
      this.meter.classList.toggle("waiting", !known);
      this.fill.style.width = known ? `${Math.round(news.fraction * 100)}%` : "";
      this.meter.setAttribute("aria-valuenow", known ? Math.round(news.fraction * 100) : 0);
      this.detail.textContent = news.detail;
    }

    showResults() {
      const picture = this.results.get(this.chosen);
      this.hint.hidden = Boolean(picture);
      this.compare.hidden = this.tools.hidden = !picture;
      this.thumbs.hidden = this.order.length < 2;
      this.thumbs.replaceChildren(...this.order.map((id) => this.thumb(this.results.get(id))));
      this.facts.textContent = picture ? [`${picture.width} × ${picture.height}`, picture.infotext, picture.place].filter(Boolean).join(" · ") : "";
      if (picture) this.showPair(picture);
    }

    thumb(picture) {
      const choose = () => { this.chosen = picture.id; this.showResults(); };
      return make("button", { type: "button", className: "thumb", onclick: choose, attributes: { "aria-label": picture.name, "aria-pressed": picture.id === this.chosen, "data-id": picture.id } },
        make("img", { src: ui.address(picture.path), alt: "", loading: "lazy" }));
    }

    async showPair(picture) {
      this.after.src = ui.address(picture.path);
      this.compare.style.aspectRatio = `${picture.width} / ${picture.height}`;
      this.before.hidden = true;
      this.cut();
      const address = await this.original(picture);
      if (!address || picture.id !== this.chosen) return;
      this.before.src = address;
      this.before.hidden = false;
    }

    async original(picture) {
      if (!this.befores.has(picture.id)) {
        const answer = await this.server.before({ picture: picture.id }).catch(() => null);
        this.befores.set(picture.id, answer?.image ?? null);
      }
      return this.befores.get(picture.id);
    }

    cut() {
      this.compare.style.setProperty("--cut", `${this.line.value}%`);
    }

    download() {
      const picture = this.results.get(this.chosen);
      make("a", { href: ui.address(picture.path), download: picture.name }).click();
    }

    async inspect() {
      const picture = this.results.get(this.chosen);
      const answer = await fetch(ui.address(picture.path)).catch(() => null);
      if (!answer?.ok) this.tell("The picture's file is gone.");
      else ui.inspectPicture(new File([await answer.blob()], picture.name));
    }
  }
}
