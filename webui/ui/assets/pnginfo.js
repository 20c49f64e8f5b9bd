// The PNG Info tab: a picture's texts, and the picture drawn again beside it. The file stays in the browser and goes with each question.
"use strict";
{
  const ui = window.webui;
  const { make, makeButton } = ui;
  const OFTEN = 400;
  const ACTIVE = ["queued", "running"];
  const NO_ANSWER = { error: "The server does not answer; try again." };
  let panel = null, waiting = null;

  ui.addPngInfo = (element, server) => {
    panel = new PngInfo(element.querySelector(".png-info"), server);
    if (waiting) panel.take(waiting);
  };

  /** Show a picture file in the tab, which may not have been opened yet. */
  ui.inspectPicture = (file) => {
    if (panel) panel.take(file);
    else waiting = file;
    ui.showTab("pnginfo");
  };

  class PngInfo {
    constructor(root, server) {
      Object.assign(this, { root, server, turn: 0 });
      this.input = make("input", { type: "file", id: "pnginfo_image", accept: "image/*", onchange: () => this.choose() });
      this.picture = make("img", { alt: "The chosen picture", hidden: true });
      this.picture.onerror = () => { this.picture.hidden = true; };
      this.hint = make("span", { className: "hint" }, "Drop a picture here, or choose one");
      this.well = make("label", { className: "picture-well" }, this.input, this.picture, this.hint);
      this.notice = make("p", { className: "notice", hidden: true, attributes: { role: "alert" } });
      this.send = make("button", { type: "button", className: "tool", id: "pnginfo_send_to_txt2img", onclick: () => this.sendOn() }, "Send to txt2img");
      this.verify = make("button", { type: "button", className: "tool", id: "pnginfo_verify", onclick: () => this.startVerifying() }, "Verify");
      this.verify.title = "Draw it again from what it says of itself, and compare";
      this.buttons = make("div", { className: "tools", hidden: true }, this.send, this.verify);
      this.verdict = make("section", { className: "verdict", hidden: true, attributes: { "aria-label": "Verdict", "aria-live": "polite" } });
      this.texts = make("div", { className: "picture-texts" });
      root.replaceChildren(make("div", { className: "png-columns" },
        make("div", { className: "png-picture" }, this.well, this.buttons, this.notice, this.verdict), this.texts));
      this.acceptDrops(root);
    }

    acceptDrops(root) {
      const mark = (on) => this.well.classList.toggle("dropping", on);
      root.addEventListener("dragover", (event) => { event.preventDefault(); mark(true); });
      root.addEventListener("dragleave", (event) => { if (!root.contains(event.relatedTarget)) mark(false); });
      root.addEventListener("drop", (event) => {
        event.preventDefault();
        mark(false);
        const file = event.dataTransfer?.files?.[0];
        if (file) this.take(file);
      });
    }

    choose() {
      const [file] = this.input.files;
      this.input.value = "";
      if (file) this.take(file);
    }

    tell(message) {
      this.notice.textContent = message ?? "";
      this.notice.hidden = !message;
    }

    async take(file) {
      const turn = ++this.turn;
      this.stopVerifying();
      this.file = file;
      this.buttons.hidden = true;
      this.texts.replaceChildren();
      this.showPicture(file);
      const upload = ui.upload(file);
      const seen = upload ? await this.server.inspect(upload).catch(() => NO_ANSWER) : { error: ui.tooLarge(file) };
      if (turn !== this.turn) return;
      this.tell(seen.error);
      if (!seen.error) this.showTexts(seen);
    }

    showPicture(file) {
      if (this.address) URL.revokeObjectURL(this.address);
      this.address = URL.createObjectURL(file);
      this.picture.src = this.address;
      this.picture.hidden = false;
      this.hint.textContent = "Drop another picture here, or choose one";
    }

    showTexts(seen) {
      this.buttons.hidden = !seen.drawable;
      const rows = (pairs) => make("table", { className: "pairs-table" }, make("tbody", {},
        ...pairs.map(([key, value]) => make("tr", {}, make("th", { scope: "row" }, key), make("td", {}, value)))));
      const block = (title, ...content) => make("section", {}, make("h2", {}, title), ...content);
      const maker = seen.program ? `Made by ${seen.program === "webui" ? "this program" : seen.program}.` : "It does not say which program made it.";
      const lead = seen.drawable ? maker : "This picture says nothing of how it was made.";
      const recorded = seen.recorded ? " Its exact record lies beside the text." : "";
      this.texts.replaceChildren(make("p", { className: "lead", id: "pnginfo_program" }, lead + recorded),
        ...(seen.remarks.length ? [make("ul", { className: "remarks" }, ...seen.remarks.map((remark) => make("li", {}, remark)))] : []),
        ...seen.prompts.map(([title, text]) => block(title, make("p", { className: "prompt-text" }, text))),
        ...(seen.fields.length ? [block("Parameters", rows(seen.fields))] : []),
        ...(seen.infotext ? [this.folded("Infotext", make("pre", { id: "pnginfo_infotext" }, seen.infotext))] : []),
        ...(seen.items.length ? [this.folded("Other texts in the file", rows(seen.items))] : []));
    }

    folded(title, content) {
      return make("details", {}, make("summary", {}, title), content);
    }

    sendOn() {
      ui.showTab("txt2img");
      ui.takeOverPicture("txt2img", this.file);
    }

    async startVerifying() {
      const turn = this.turn;
      this.verify.disabled = true;
      this.tell(null);
      const answer = await this.server.verify(ui.upload(this.file)).catch(() => NO_ANSWER);
      if (turn !== this.turn) {
        if (answer.job) this.server.stop_verifying({ job: answer.job });
        return;
      }
      this.verify.disabled = Boolean(answer.job);
      this.tell(answer.error);
      this.verdict.hidden = !answer.job;
      if (!answer.job) return;
      this.job = answer.job;
      this.known = null;
      this.showProgress({ state: "queued" });
      this.follow();
    }

    async follow() {
      const job = this.job;
      const news = await this.server.follow({ job, known: this.known?.id ?? null }).catch(() => null);
      if (job !== this.job) return;
      if (news?.pictures?.length) this.known = news.pictures[0];
      if (!news || ACTIVE.includes(news.state)) {
        if (news) this.showProgress(news);
        this.timer = setTimeout(() => this.follow(), OFTEN);
        return;
      }
      this.job = null;
      this.verify.disabled = false;
      if (news.verdict) this.showVerdict(news.verdict, news.remarks ?? []);
      else this.showEnd(news);
    }

    stopVerifying() {
      clearTimeout(this.timer);
      if (this.job) this.server.stop_verifying({ job: this.job });
      this.job = null;
      this.verify.disabled = false;
      this.verdict.hidden = true;
    }

    showProgress(news) {
      if (!this.meter?.isConnected) {
        this.fill = make("div", { className: "bar-fill" });
        this.meter = make("div", { className: "bar", attributes: { role: "progressbar", "aria-label": "Drawing it again", "aria-valuemin": 0, "aria-valuemax": 100 } }, this.fill);
        this.detail = make("span", {});
        this.verdict.replaceChildren(make("div", { className: "verdict-progress" }, this.detail, makeButton("Stop", "cancel", () => this.stopVerifying(), { className: "tool small icon-cancel" })), this.meter);
      }
      const known = news.fraction !== undefined;
      const percent = known ? Math.round(news.fraction * 100) : 0;
      this.meter.classList.toggle("waiting", !known);
      this.fill.style.width = known ? `${percent}%` : "";
      this.meter.setAttribute("aria-valuenow", percent);
      this.detail.textContent = known ? `Drawing it again: step ${news.step}/${news.steps}` : news.ahead ? `Waiting for ${news.ahead} other ${news.ahead === 1 ? "job" : "jobs"}` : "Drawing it again …";
    }

    showEnd(news) {
      this.verdict.hidden = true;
      this.tell(news.state === "cancelled" ? "The drawing was cancelled." : news.error ?? "It could not be drawn again.");
    }

    showVerdict(verdict, remarks) {
      const again = this.known && make("figure", {}, make("img", { src: ui.address(this.known.path), alt: "The picture drawn again" }), make("figcaption", {}, "Drawn again"));
      const rows = verdict.differences.map(({ key, then, now, meaning }) => make("tr", {}, make("th", { scope: "row" }, key, make("span", { className: "note" }, meaning)),
        make("td", {}, then || "–"), make("td", {}, now || "–")));
      const head = make("thead", {}, make("tr", {}, ...["Differs", "Then", "Now"].map((text) => make("th", { scope: "col" }, text))));
      this.verdict.dataset.identical = verdict.identical;
      this.verdict.dataset.near = verdict.near;
      this.verdict.replaceChildren(make("h2", {}, verdict.headline), make("p", {}, verdict.meaning),
        ...(verdict.numbers ? [make("p", { className: "note" }, verdict.numbers)] : []),
        ...(again && !verdict.identical ? [again] : []),
        ...(rows.length ? [make("table", { className: "differences" }, head, make("tbody", {}, ...rows))] : []),
        ...remarks.map((remark) => make("p", { className: "note" }, remark)));
    }
  }
}
