// The Queue tab: asks for the list while it can be seen, and shows it as text and buttons. Waiting jobs are put in order by dragging.
"use strict";
{
  const ui = window.webui;
  const { make, makeButton } = ui;
  const PERIOD = 1000, SURE = 3000, MORE = 24;
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
      this.list = make("ul", { className: "jobs", ondragover: (event) => this.dragOver(event), ondrop: (event) => this.drop(event) });
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

    dragOver(event) {
      const over = event.target.closest?.(".job[data-state=queued]");
      if (!this.dragged || !over) return;
      event.preventDefault();
      if (over === this.dragged) return;
      const { top, height } = over.getBoundingClientRect();
      if (event.clientY < top + height / 2) over.before(this.dragged);
      else over.after(this.dragged);
    }

    drop(event) {
      if (!this.dragged) return;
      event.preventDefault();
      const queued = [...this.list.children].filter((row) => row.dataset.state === "queued");
      const place = queued.indexOf(this.dragged), { job } = this.dragged.dataset;
      this.dropped = this.change("move", job, place);
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
      // The rows stay as they were laid until the queue has them so.
      const endDrag = async () => {
        await this.dropped;
        this.dropped = null;
        this.dragged?.classList.remove("dragged");
        this.dragged = null;
        this.refresh();
      };
      const startDrag = (event) => {
        this.dragged = event.currentTarget;
        this.dragged.classList.add("dragged");
        event.dataTransfer.effectAllowed = "move";
        event.dataTransfer.setData("text/plain", job.prompt ?? "");
      };
      return make("li", { className: "job", ondragstart: startDrag, ondragend: endDrag },
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
      row.draggable = queued;
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
