// The Queue tab: asks for the list while it can be seen, and shows it as text and buttons. Waiting jobs are put in order by dragging,
// with a mouse by any part of them, with a finger by their handle, so that the list can still be scrolled.
"use strict";
{
  const ui = window.webui;
  const { make, makeButton } = ui;
  const PERIOD = 1000, SURE = 3000, MORE = 24;
  // Pixels: when a press has become a drag; how near to the window's edge the page is scrolled, and by how much at a time.
  const SLACK = 5, EDGE = 80, SCROLLED = 14;
  const NAMES = { running: "Drawing", queued: "Waiting", finished: "Done", cancelled: "Cancelled", failed: "Failed" };

  ui.addQueue = (element, server) => new Queue(element.querySelector(".queue"), server);

  class Queue {
    constructor(root, server) {
      this.server = server;
      this.rows = new Map();
      this.pause = makeButton("Pause the queue", "pause", () => this.change(this.paused ? "resume" : "pause"), { id: "queue_pause" });
      this.cancelAll = makeButton("Cancel all", "cancel", () => this.askTwice(), { id: "queue_cancel_all" });
      this.summary = make("p", { className: "queue-summary", attributes: { role: "status" } });
      this.notice = make("p", { className: "notice", hidden: true, attributes: { role: "alert" } });
      this.list = make("ul", { className: "jobs", onpointermove: (event) => this.drag(event), onpointerup: () => this.drop(), onpointercancel: () => this.letGo() });
      this.ended = 8;
      this.more = make("button", { type: "button", className: "tool", id: "queue_more", hidden: true, onclick: () => { this.ended += MORE; this.refresh(); } }, "Show more of the past");
      root.replaceChildren(make("div", { className: "queue-bar" }, this.summary, this.pause, this.cancelAll), this.notice, this.list, this.more);
      this.root = root;
      // Seen means: its tab is chosen, and the page is in front.
      new IntersectionObserver(([entry]) => { this.seen = entry.isIntersecting; this.refresh(); }).observe(root);
      document.addEventListener("visibilitychange", () => this.refresh());
    }

    async refresh() {
      clearTimeout(this.timer);
      if (!this.seen || document.hidden) return;
      const news = await this.server.list_jobs({ ended: this.ended }).catch(() => null);
      if (news) this.show(news);
      else this.summary.textContent = "The server does not answer; trying again …";
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.refresh(), PERIOD);
    }

    async change(action, job = null, place = null) {
      const news = await this.server.change_queue({ action, job, place, ended: this.ended }).catch(() => ({ error: "The server does not answer; try again." }));
      this.tell(news.error);
      if (news.jobs) this.show(news);
    }

    tell(error) {
      this.notice.textContent = error ?? "";
      this.notice.hidden = !error;
    }

    /** Put what a job was asked for into its tab's form; one that waits leaves the queue. */
    async edit(job) {
      const answer = await this.server.edit_job({ job }).catch(() => ({ error: "The server does not answer; try again." }));
      this.tell(answer.error);
      if (answer.error) return;
      const { tab, values, picture, note } = answer;
      ui.showTab(tab);
      await ui.until(() => ui.tab(tab).overrides && ui.tab(tab).results);
      if (picture) await ui.canvas(`${tab}_image`).loadHash(picture);
      ui.changeForm(tab, values);
      if (note) ui.tell(tab, note);
    }

    grab(event, row) {
      const isHandle = event.target.closest(".grip");
      const isFree = event.pointerType === "mouse" && !event.target.closest("button");
      if (row.dataset.state !== "queued" || event.button !== 0 || !(isHandle || isFree)) return;
      // Not the row: one that is moved within the page loses what it has captured.
      this.list.setPointerCapture(event.pointerId);
      this.held = { row, y: event.clientY };
    }

    drag({ clientY }) {
      if (!this.held || (!this.dragged && Math.abs(clientY - this.held.y) < SLACK)) return;
      this.dragged = this.held.row;
      this.dragged.classList.add("dragged");
      if (clientY < EDGE) window.scrollBy(0, -SCROLLED);
      else if (clientY > innerHeight - EDGE) window.scrollBy(0, SCROLLED);
      const others = this.queued().filter((row) => row !== this.dragged);
      const next = others.find((row) => {
        const { top, height } = row.getBoundingClientRect();
        return clientY < top + height / 2;
      });
      if (next && next.previousElementSibling !== this.dragged) next.before(this.dragged);
      else if (!next && others.length) others.at(-1).after(this.dragged);
    }

    queued() { return [...this.list.children].filter((row) => row.dataset.state === "queued"); }

    /** The rows stay as they were laid until the queue has them so. */
    async drop() {
      const { dragged } = this;
      this.held = null;
      if (!dragged) return;
      await this.change("move", dragged.dataset.job, this.queued().indexOf(dragged));
      this.letGo();
    }

    letGo() {
      this.dragged?.classList.remove("dragged");
      this.held = this.dragged = null;
      this.refresh();
    }

    /** The arrow keys on a handle move its job. */
    async shift(event, row) {
      const place = this.queued().indexOf(row) + ({ ArrowUp: -1, ArrowDown: 1 }[event.key] ?? NaN);
      if (!(place >= 0 && place < this.queued().length)) return;
      event.preventDefault();
      const handle = event.currentTarget;
      await this.change("move", row.dataset.job, place);
      handle.focus();
    }

    /** Cancelling all cannot be taken back, so it needs a second click. */
    askTwice() {
      if (this.cancelAll.classList.toggle("sure")) {
        this.cancelAll.firstChild.textContent = "Click again to cancel all";
        setTimeout(() => this.calm(), SURE);
      } else {
        this.calm();
        this.change("cancel_all");
      }
    }

    calm() {
      this.cancelAll.classList.remove("sure");
      this.cancelAll.firstChild.textContent = "Cancel all";
    }

    show({ jobs, paused, past = 0 }) {
      this.more.hidden = past <= this.ended;
      this.paused = paused;
      const running = jobs.filter((job) => job.state === "running").length;
      const waiting = jobs.filter((job) => job.state === "queued").length;
      const parts = [running && `${running} being drawn`, waiting && `${waiting} waiting`, paused && "paused"].filter(Boolean);
      this.summary.textContent = parts.join(", ") || "Nothing to do.";
      this.pause.firstChild.textContent = this.pause.title = paused ? "Resume the queue" : "Pause the queue";
      this.pause.classList.toggle("icon-play", paused);
      this.pause.classList.toggle("icon-pause", !paused);
      this.cancelAll.disabled = running + waiting === 0;
      this.showRows(jobs);
    }

    /** Rows are kept from one refresh to the next, so that a button keeps its focus while the list changes around it. */
    showRows(jobs) {
      if (this.dragged) return;
      const rows = new Map(jobs.map((job) => [job.id, this.rows.get(job.id) ?? this.makeRow(job)]));
      const first = jobs.find((job) => job.state === "queued")?.id;
      for (const job of jobs) this.fill(rows.get(job.id), job, job.id === first);
      const order = [...rows.values()];
      if (order.length !== this.list.children.length || order.some((row, place) => row !== this.list.children[place])) this.list.replaceChildren(...order);
      this.rows = rows;
    }

    makeRow(job) {
      const button = (name, icon, action) => makeButton(name, icon, () => this.change(action, job.id), { className: `tool small icon-${icon} ${action}` });
      const row = () => this.rows.get(job.id);
      const grip = makeButton("Move it: drag, or use the arrow keys", "grip", null, { className: "tool small icon-grip grip", onkeydown: (event) => this.shift(event, row()) });
      return make("li", { className: "job", onpointerdown: (event) => this.grab(event, row()) },
        grip,
        make("span", { className: "badge" }),
        make("img", { className: "job-thumbnail", alt: "", loading: "lazy", draggable: false, hidden: true, onerror: (event) => { event.currentTarget.hidden = true; } }),
        make("div", { className: "job-text" },
          make("p", { className: "job-prompt" }, job.prompt || "(no prompt)"),
          make("p", { className: "job-details" }),
          make("div", { className: "bar" }, make("div", { className: "bar-fill" }))),
        make("div", { className: "job-buttons" },
          button("Draw next", "front", "front"), button("Move up", "up", "up"),
          makeButton("Edit in its tab", "edit", () => this.edit(job.id), { className: "tool small icon-edit edit" }),
          button("Once more with another seed", "copy", "duplicate"), button("Try again", "retry", "retry"), button("Cancel", "cancel", "cancel")));
    }

    fill(row, job, first) {
      row.dataset.state = job.state;
      row.dataset.job = job.id;
      row.querySelector(".badge").textContent = NAMES[job.state];
      const percent = Math.round(job.fraction * 100);
      const progress = job.state === "running" ? `${percent}% · ` : "";
      row.querySelector(".job-details").textContent = job.error ?? `${progress}${job.details} · from ${job.source}`;
      row.querySelector(".bar-fill").style.width = `${percent}%`;
      const queued = job.state === "queued";
      row.querySelector(".front").hidden = row.querySelector(".up").hidden = !queued || first;
      row.querySelector(".grip").hidden = !queued;
      row.querySelector(".edit").hidden = row.querySelector(".duplicate").hidden = !job.draws;
      row.querySelector(".retry").hidden = job.state !== "failed" && job.state !== "cancelled";
      const image = row.querySelector("img"), source = job.thumbnail && (job.thumbnail.startsWith("data:") ? job.thumbnail : ui.address(job.thumbnail));
      if (source && image.getAttribute("src") !== source) {
        image.src = source;
        image.hidden = false;
      }
      if (!source) image.hidden = true;
      row.querySelector(".cancel").hidden = !queued && job.state !== "running";
    }
  }
}
