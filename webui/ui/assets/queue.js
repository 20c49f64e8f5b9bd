// The Queue tab: asks for the list while it can be seen, and shows it as text and buttons.
"use strict";
{
  const ui = window.webui;
  const { make, makeButton } = ui;
  const PERIOD = 1000, SURE = 3000;
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
      this.list = make("ul", { className: "jobs" });
      root.replaceChildren(make("div", { className: "queue-bar" }, this.summary, this.pause, this.cancelAll), this.notice, this.list);
      this.root = root;
      // Seen means: its tab is chosen, and the page is in front.
      new IntersectionObserver(([entry]) => { this.seen = entry.isIntersecting; this.refresh(); }).observe(root);
      document.addEventListener("visibilitychange", () => this.refresh());
    }

    async refresh() {
      clearTimeout(this.timer);
      if (!this.seen || document.hidden) return;
      const news = await this.server.list_jobs(null).catch(() => null);
      if (news) this.show(news);
      else this.summary.textContent = "The server does not answer; trying again …";
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.refresh(), PERIOD);
    }

    async change(action, job = null) {
      const news = await this.server.change_queue({ action, job }).catch(() => ({ error: "The server does not answer; try again." }));
      this.notice.textContent = news.error ?? "";
      this.notice.hidden = !news.error;
      if (news.jobs) this.show(news);
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

    show({ jobs, paused }) {
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
      const rows = new Map(jobs.map((job) => [job.id, this.rows.get(job.id) ?? this.makeRow(job)]));
      const first = jobs.find((job) => job.state === "queued")?.id;
      for (const job of jobs) this.fill(rows.get(job.id), job, job.id === first);
      const order = [...rows.values()];
      if (order.length !== this.list.children.length || order.some((row, place) => row !== this.list.children[place])) this.list.replaceChildren(...order);
      this.rows = rows;
    }

    makeRow(job) {
      const button = (name, icon, action) => makeButton(name, icon, () => this.change(action, job.id), { className: `tool small icon-${icon} ${action}` });
      return make("li", { className: "job" },
        make("span", { className: "badge" }),
        make("div", { className: "job-text" },
          make("p", { className: "job-prompt" }, job.prompt || "(no prompt)"),
          make("p", { className: "job-details" }),
          make("div", { className: "bar" }, make("div", { className: "bar-fill" }))),
        make("div", { className: "job-buttons" }, button("Draw next", "front", "front"), button("Move up", "up", "up"), button("Cancel", "cancel", "cancel")));
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
      row.querySelector(".cancel").hidden = !queued && job.state !== "running";
    }
  }
}
