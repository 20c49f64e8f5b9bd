// Merging, converting and downloading models: forms made of what is declared, and their jobs' progress.
"use strict";
{
  const ui = window.webui;
  const { make } = ui;
  const OFTEN = 400, RETRY = 2000;
  const TITLES = { merge: ["Merge or convert checkpoints", "Merge"], download: ["Download a model", "Download"] };

  /** The folded forms above the cards. */
  ui.modelForms = () => make("div", { className: "model-forms" }, ...Object.keys(TITLES).map((form) => new ModelForm(form).root));

  class ModelForm {
    constructor(form) {
      Object.assign(this, { form, fields: new Map() });
      const [title, action] = TITLES[form];
      this.go = make("button", { type: "submit", id: `model_${form}_start`, className: "tool primary" }, action);
      this.halt = make("button", { type: "button", id: `model_${form}_stop`, className: "tool", hidden: true, onclick: () => ui.models.stop({ job: this.job }).catch(() => null) }, "Cancel");
      this.body = make("div", { className: "model-fields" });
      this.more = make("div", { className: "model-fields" });
      this.bar = make("div", { className: "bar-fill" });
      this.progress = make("div", { className: "bar", hidden: true, attributes: { role: "progressbar", "aria-label": "Progress", "aria-valuemin": 0, "aria-valuemax": 100 } }, this.bar);
      this.said = make("p", { className: "note", attributes: { role: "status" } });
      this.notice = make("p", { className: "notice", hidden: true, attributes: { role: "alert" } });
      this.root = make("details", { id: `model_${form}`, className: "model-form", ontoggle: () => { if (this.root.open) this.offer(); } }, make("summary", {}, title),
        make("form", { className: "styles", onsubmit: (event) => { event.preventDefault(); this.start(); } }, this.body,
          make("details", { className: "model-more" }, make("summary", {}, "More"), this.more), make("div", { className: "model-run" }, this.go, this.halt), this.progress, this.notice, this.said));
    }

    /** The fields, with the models there are now; what was filled in stays. */
    async offer() {
      const server = await ui.until(() => ui.models);
      const answer = await server.forms(null).catch(() => ({ error: "The server does not answer; try again." }));
      if (answer.error) return this.tell(answer.error);
      const old = this.values();
      this.fields.clear();
      const rows = answer[this.form].map((field) => [field, this.row({ ...field, value: old[field.name] ?? field.value })]);
      this.body.replaceChildren(...rows.filter(([field]) => !field.folded).map(([, row]) => row));
      this.more.replaceChildren(...rows.filter(([field]) => field.folded).map(([, row]) => row));
    }

    row(field) {
      const input = ui.controlFor(field, () => null, "–");
      input.id = `model_${this.form}_${field.name}`;
      input.title = field.help;
      this.fields.set(field.name, { field, input });
      return make("label", { className: field.kind === "tick" ? "tick" : "" }, ...(field.kind === "tick" ? [input, field.title] : [field.title, input]));
    }

    values() {
      return Object.fromEntries([...this.fields].map(([name, { field, input }]) => [name, ui.valueOf(field, input)]));
    }

    async start() {
      this.tell("");
      const answer = await ui.models.start({ form: this.form, values: this.values() }).catch(() => ({ error: "The server does not answer; try again." }));
      if (answer.error) return this.tell(answer.error);
      Object.assign(this, { job: answer.job, result: answer.result });
      this.follow();
    }

    async follow() {
      const news = await ui.models.follow({ job: this.job }).catch(() => null);
      const active = !news || ["queued", "running"].includes(news.state);
      this.go.disabled = active;
      this.halt.hidden = this.progress.hidden = !active;
      if (news) this.show(news, active);
      if (active) setTimeout(() => this.follow(), news ? OFTEN : RETRY);
    }

    show(news, active) {
      const percent = Math.round((news.fraction ?? 0) * 100);
      this.bar.style.width = `${percent}%`;
      this.progress.setAttribute("aria-valuenow", percent);
      if (active) {
        this.said.textContent = news.state === "queued" ? `${this.result}: waiting` : `${this.result}: ${percent} %${news.eta ? `, ${ui.duration(news.eta)} left` : ""}`;
        return;
      }
      const ends = { finished: `${this.result} is there.`, cancelled: "Cancelled; no file was left.", gone: "The job is not known any more." };
      this.said.textContent = [ends[news.state], ...(news.remarks ?? [])].filter(Boolean).join(" ");
      if (news.error) this.tell(news.error);
      ui.modelsChanged();
    }

    tell(text) {
      this.notice.textContent = text ?? "";
      this.notice.hidden = !text;
    }
  }
}
