// The results panel: follows a job, or several together, by asking for news, and shows its progress, preview, pictures and infotext.
// Everything that came from a user or a file is set as text, never as markup.
"use strict";
{
  const ui = window.webui;
  const { make, makeButton } = ui;
  const OFTEN = 250, SELDOM = 1000, RETRY = 2000;
  const ACTIVE = ["queued", "running"];

  ui.selectedPicture = (tab) => ui.tab(tab).results?.selected();
  ui.tell = (tab, message) => ui.tab(tab).results?.tell(message);
  ui.say = (tab, text) => ui.tab(tab).results?.say(text);
  ui.addResults = (tab, element, props, server, watch, events) => {
    const panel = ui.tab(tab).results = new Results(tab, element.querySelector(".results"), server);
    Object.assign(panel, { events, props });
    const take = () => props.value && panel.take(props.value);
    watch("value", take);
    take();
    ui.addBesideGenerate(tab);
  };

  class Results {
    constructor(tab, root, server) {
      this.tab = tab;
      this.server = server;
      this.jobs = [];
      this.before = null;
      this.forget();
      this.build(root);
      document.addEventListener("visibilitychange", () => { if (!document.hidden) this.ask(); });
    }

    forget() {
      this.before = (this.pictures && this.selected()) ?? this.before;
      this.pictures = new Map();
      this.order = [];
      this.grids = new Set();
      this.thrownAway = new Set();
      this.chosen = null;
      this.previewKey = null;
      this.state = null;
    }

    build(root) {
      this.notice = make("div", { className: "notice", hidden: true, attributes: { role: "alert" } });
      this.bar = make("div", { className: "bar-fill" });
      this.meter = make("div", { className: "bar", attributes: { role: "progressbar", "aria-valuemin": 0, "aria-valuemax": 100, "aria-label": "Progress" } }, this.bar);
      this.percent = make("strong", { className: "percent" });
      this.detail = make("span", { className: "detail" });
      this.progress = make("div", { className: "progress", hidden: true }, make("div", { className: "progress-text" }, this.percent, this.detail), this.meter);
      this.image = make("img", { className: "picture", hidden: true, alt: "" });
      this.unloadable = null;
      this.image.onerror = () => {
        this.unloadable = this.image.getAttribute("src");
        this.show();
      };
      this.hint = make("p", { className: "hint" });
      this.open = make("button", { type: "button", className: "stage", onclick: () => this.enlarge() }, this.image, this.hint);
      this.thumbs = make("div", { className: "thumbs", hidden: true, onkeydown: (event) => this.step(event) });
      this.gallery = make("div", { id: `${this.tab}_gallery`, className: "gallery" }, this.open, this.thumbs);
      this.tools = make("div", { id: `image_buttons_${this.tab}`, className: "tools", hidden: true },
        makeButton("Download", "download", () => this.download(), { id: `download_${this.tab}` }),
        makeButton("Download zip", "zip", () => this.downloadAll(), { id: `save_zip_${this.tab}` }),
        makeButton("Copy infotext", "copy", () => this.copy(), { id: `copy_infotext_${this.tab}` }),
        makeButton("Where saved?", "save", () => this.tellPlace(), { id: `save_${this.tab}` }),
        ...ui.resultButtons(this),
        makeButton("PNG Info", "inspect", () => this.inspect(), { id: `send_to_pnginfo_${this.tab}` }),
        ...ui.sendButtons(this));
      this.infotext = make("div", { id: `html_info_${this.tab}`, className: "infotext", hidden: true });
      this.log = make("div", { id: `html_log_${this.tab}`, className: "log", attributes: { role: "status" } });
      this.lightbox = new ui.Lightbox(this);
      root.replaceChildren(this.notice, this.progress, this.gallery, this.tools, this.log, this.infotext, this.lightbox.root);
      this.show();
    }

    /** The server says what to follow: after Generate, and when the page opens. */
    take({ job, jobs, message }) {
      this.tell(message);
      const wanted = jobs?.length ? jobs : job ? [job] : [];
      if (wanted.join() === this.jobs.join()) return;
      if (this.opened) this.open.scrollIntoView({ block: "nearest" });
      this.opened = true;
      this.jobs = wanted;
      this.forget();
      this.log.replaceChildren();
      this.state = wanted.length ? "queued" : null;
      this.show();
      this.ask();
    }

    tell(message) {
      const close = makeButton("Dismiss", "cancel", () => this.tell(null));
      this.notice.replaceChildren(...(message ? [make("span", {}, message), close] : []));
      this.notice.hidden = !message;
      if (message) this.notice.scrollIntoView({ block: "nearest" });
    }

    /** Ask for news, and again after a while as long as the job goes on. A server that is away is asked until it is back. */
    async ask() {
      clearTimeout(this.timer);
      const { jobs } = this;
      if (!jobs.length) return;
      const query = { jobs, known: [...this.pictures.keys()], preview: this.previewKey, watching: !document.hidden };
      const news = await this.server.follow(query).catch(() => null);
      if (jobs !== this.jobs) return;
      clearTimeout(this.timer);
      if (news) this.learn(news);
      else this.detail.textContent = "The server does not answer; trying again …";
      if (!news || ACTIVE.includes(this.state)) this.timer = setTimeout(() => this.ask(), !news ? RETRY : document.hidden ? SELDOM : OFTEN);
    }

    learn(news) {
      for (const picture of news.pictures ?? []) this.pictures.set(picture.id, { ...picture, url: ui.address(picture.path) });
      this.order = news.order ?? [];
      this.grids = new Set(news.grids);
      this.leaveOut();
      if (news.preview) [this.preview, this.previewKey] = [news.preview, news.preview_key];
      const ended = ACTIVE.includes(this.state) && !ACTIVE.includes(news.state);
      this.state = news.state;
      this.news = news;
      if (ended && this.chosen === null && this.order.length) this.chosen = this.order[0];
      this.show();
      if (ended) ui.resultsEnded(this);
    }

    /** What was thrown away here is not shown again, though its job still names it. */
    leaveOut() {
      this.order = this.order.filter((id) => !this.thrownAway.has(id));
      if (this.thrownAway.has(this.chosen)) this.chosen = null;
    }

    /** The picture the panel's buttons act on: the chosen one, else the newest. */
    selected() {
      return this.pictures.get(this.chosen ?? this.order.at(-1));
    }

    show() {
      const active = ACTIVE.includes(this.state);
      const around = document.getElementById(`tab_${this.tab}`);
      around?.classList.toggle("webui-active", active);
      around?.classList.toggle("webui-running", this.state === "running");
      this.showProgress(active);
      this.showStage(active);
      this.showThumbs(active);
      this.showText(active);
    }

    showProgress(active) {
      this.progress.hidden = !active;
      const news = this.news ?? {};
      const known = this.state === "running" && news.fraction !== undefined;
      const percent = known ? Math.round(news.fraction * 100) : 0;
      this.meter.classList.toggle("waiting", !known);
      this.bar.style.width = known ? `${percent}%` : "";
      this.meter.setAttribute("aria-valuenow", percent);
      this.percent.textContent = known ? `${percent}%` : this.state === "queued" ? "Waiting" : "Starting";
      this.detail.textContent = active ? this.describe(news, known) : "";
      ui.setTitle(this.tab, active ? (known ? `${percent}%` : "…") : "");
    }

    describe(news, known) {
      if (known) {
        const several = news.job_count > 1 ? ` · picture ${news.job_number}/${news.job_count}` : "";
        const batch = news.batches > 1 ? ` · batch ${news.batch}/${news.batches}` : "";
        return `step ${news.step}/${news.steps}${batch}${several} · ${ui.duration(news.eta)} left`;
      }
      if (this.state === "running") return news.loading ? `loading ${news.loading}` : news.warming ? "the engine is starting" : "";
      if (news.paused) return "the queue is paused (see the Queue tab)";
      return news.ahead ? `${news.ahead} ${news.ahead === 1 ? "job" : "jobs"} before this one` : "next in the queue";
    }

    showStage(active) {
      const picture = this.selected();
      const live = active && this.chosen === null;
      const source = live && this.preview && this.previewKey ? this.preview : picture?.url;
      this.open.classList.toggle("busy", active && !source);
      this.open.classList.toggle("live", Boolean(live && source === this.preview));
      this.open.disabled = !picture || source !== picture.url;
      if (source && this.image.getAttribute("src") !== source) this.image.src = source;
      if (!source) this.image.removeAttribute("src");
      this.image.hidden = !source || source === this.unloadable;
      this.image.alt = !source ? "" : live && source === this.preview ? "Preview of the unfinished picture" : `Picture: ${this.news?.prompt ?? ""}`;
      this.hint.hidden = !this.image.hidden;
      this.hint.textContent = active ? "" : this.emptyText(source);
      // Named by the words that it shows, where it shows any.
      if (source) this.open.setAttribute("aria-label", "Enlarge the picture");
      else if (!this.hint.textContent) this.open.setAttribute("aria-label", "No picture yet");
      else this.open.removeAttribute("aria-label");
    }

    emptyText(source) {
      if (source) return "This picture cannot be loaded: its file is gone, or you are logged out. Reload the page.";
      if (this.state === "failed") return "This picture could not be drawn.";
      if (this.state === "cancelled") return "Interrupted before a picture was finished.";
      return "Your pictures appear here.";
    }

    showThumbs(active) {
      const showing = this.order.length > 1 || (active && this.order.length > 0);
      this.thumbs.hidden = !showing;
      const wanted = showing ? [...(active ? [null] : []), ...this.order] : [];
      const present = [...this.thumbs.children].map((thumb) => thumb.dataset.id || null);
      if (wanted.length !== present.length || wanted.some((id, place) => id !== present[place])) {
        const old = new Map([...this.thumbs.children].map((thumb) => [thumb.dataset.id || null, thumb]));
        this.thumbs.replaceChildren(...wanted.map((id, place) => old.get(id) ?? this.makeThumb(id, place)));
      }
      const current = this.chosen ?? (active ? null : this.selected()?.id);
      for (const thumb of this.thumbs.children) thumb.setAttribute("aria-pressed", (thumb.dataset.id || null) === current);
    }

    makeThumb(id) {
      const picture = this.pictures.get(id);
      const thumb = make("button", { type: "button", className: "thumb", onclick: () => this.choose(id) },
        picture ? make("img", { src: picture.url, alt: "", loading: "lazy" }) : make("span", {}, "Live"));
      if (id) thumb.dataset.id = id;
      const number = this.order.filter((one) => !this.grids.has(one)).indexOf(id) + 1;
      thumb.setAttribute("aria-label", !id ? "Live preview" : number ? `Picture ${number}` : "All pictures");
      return thumb;
    }

    choose(id) {
      this.chosen = id;
      this.show();
      if (this.lightbox.open) this.lightbox.fill();
    }

    step(event) {
      const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!by || !this.order.length) return;
      event.preventDefault();
      this.stepBy(by);
      [...this.thumbs.children].find((thumb) => thumb.dataset.id === this.chosen)?.focus();
    }

    /** Choose the picture so many places further, from the last one to the first. */
    stepBy(by) {
      const place = this.order.indexOf(this.selected()?.id) + by;
      this.choose(this.order[(place + this.order.length) % this.order.length]);
    }

    enlarge() {
      if (this.selected()) this.lightbox.show();
    }

    showText(active) {
      const picture = this.selected();
      this.tools.hidden = !picture;
      this.infotext.hidden = !picture;
      if (picture && this.infotext.dataset.id !== picture.id) {
        const lines = picture.infotext.split("\n");
        const last = lines.length > 1 ? lines.pop() : "";
        this.infotext.replaceChildren(make("span", { className: "words" }, lines.join("\n")), "\n", make("span", { className: "values" }, last));
        this.infotext.dataset.id = picture.id;
      }
      ui.showResultButtons(this);
      document.getElementById(`save_zip_${this.tab}`)?.toggleAttribute("hidden", this.order.length < 2);
      if (this.state === "failed") this.tell(this.news.error);
      if (!active && this.news && this.jobs.length) this.log.replaceChildren(...this.summary());
    }

    summary() {
      const { seconds, expected, memory, remarks = [] } = this.news;
      const { length } = this.order.filter((id) => !this.grids.has(id));
      const count = `${length} ${length === 1 ? "picture" : "pictures"}`;
      const time = seconds ? ` · time taken ${seconds < 60 ? `${seconds} s` : ui.duration(seconds)}` : "";
      const held = memory ? ` · memory ${ui.fileSize(memory.ram)}${memory.device_total ? ` · GPU ${ui.fileSize(memory.device)} of ${ui.fileSize(memory.device_total)}` : ""}` : "";
      const lines = { finished: `${count}${time}${held}`, cancelled: `Interrupted · ${count} of ${expected}${time}` };
      return [lines[this.state], ...remarks].filter(Boolean).map((line) => make("p", {}, line));
    }

    say(text) {
      this.log.replaceChildren(make("p", {}, text));
    }

    tellPlace() {
      const { place } = this.selected();
      this.say(place ? `Saved as ${place}` : "Not kept: saving pictures is switched off. Use Download to keep this one.");
    }

    async copy() {
      const text = this.selected().infotext;
      if (navigator.clipboard) await navigator.clipboard.writeText(text);
      else copyThroughSelection(text);
      this.say("Infotext copied.");
    }

    /** The picture's file as it is stored, in the PNG Info tab. */
    async inspect() {
      const { url, name } = this.selected();
      const answer = await fetch(url).catch(() => null);
      if (answer?.ok) ui.inspectPicture(new File([await answer.blob()], name));
      else this.tell("This picture cannot be loaded: its file is gone, or you are logged out. Reload the page.");
    }

    download() {
      const { url, name } = this.selected();
      save(url, name);
    }

    async downloadAll() {
      const pictures = this.order.map((id) => this.pictures.get(id));
      const files = await Promise.all(pictures.map(async ({ url, name }) => {
        const answer = await fetch(url);
        if (!answer.ok) throw new Error(`${name}: the server answered ${answer.status}`);
        return { name, bytes: new Uint8Array(await answer.arrayBuffer()) };
      })).catch((error) => { this.tell(`No zip was made. ${error.message}.`); });
      if (!files) return;
      const address = URL.createObjectURL(ui.zip(files));
      save(address, `${pictures[0].name.replace(/\.\w+$/, "")}-and-${pictures.length - 1}-more.zip`);
      setTimeout(() => URL.revokeObjectURL(address), 60000);
    }
  }

  function save(address, name) {
    make("a", { href: address, download: name }).click();
  }

  // navigator.clipboard is missing on a page served over plain http to another machine.
  function copyThroughSelection(text) {
    const box = make("textarea", { value: text, className: "off-screen" });
    document.body.append(box);
    box.select();
    document.execCommand("copy");
    box.remove();
  }
}
