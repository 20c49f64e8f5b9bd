// What hands do on an editor's stage: mouse, pen, fingers, wheel and keys.
"use strict";
{
  const ui = window.webui;
  const LINE = 16, PAGE = 400;              // pixels, for wheels that count lines or pages
  const WHEEL = 0.0015, PINCH = 0.01;       // how much a pixel of the wheel zooms
  const ZOOM_STEP = 1.25;
  const MIDDLE = 1, PEN_ERASER = 5;
  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

  class Gestures {
    constructor(editor) {
      Object.assign(this, { editor, pointers: new Map(), doing: null, space: false, control: false, hovering: false, at: null });
      const { stage } = editor;
      const leaving = new AbortController();
      const on = (target, name, act, options = {}) => target.addEventListener(name, (event) => {
        if (editor.root.isConnected) act.call(this, event);
        else leaving.abort();
      }, { signal: leaving.signal, ...options });
      on(stage, "pointerdown", this.down);
      on(stage, "pointermove", this.move);
      on(stage, "pointerup", this.up);
      on(stage, "pointercancel", this.up);
      on(stage, "pointerenter", () => { this.hovering = true; });
      on(stage, "pointerleave", this.leave);
      on(stage, "wheel", this.wheel, { passive: false });
      on(stage, "blur", () => { this.at = null; this.hideRing(); });
      // Only the press of the middle button is told to auxclick's and Linux's paste; neither belongs here.
      on(stage, "auxclick", (event) => event.preventDefault());
      on(document, "keydown", this.key);
      on(window, "keyup", this.released);
      on(window, "blur", () => { this.space = this.control = false; this.showHand(); });
    }

    down(event) {
      const { editor } = this, { stage, view } = editor;
      if (!editor.picture || event.target.closest("label, button")) return;
      if (event.button !== 0 && event.button !== MIDDLE && event.button !== PEN_ERASER) return;
      event.preventDefault();
      stage.focus({ preventScroll: true });
      stage.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, view.at(event));
      if (event.pointerType === "touch" && this.pointers.size === 2) {
        if (this.doing === "stroke") editor.dropStroke();
        this.doing = "pinch";
      } else if (this.pointers.size > 1) return;
      else if (event.button === MIDDLE || this.space || !editor.draws) this.doing = "pan";
      else if (editor.tool === "pipette" || (event.altKey && editor.kind.colours)) {
        this.doing = "pick";
        editor.pick(view.toPicture(view.at(event)));
      } else {
        this.doing = "stroke";
        editor.beginStroke(view.toPicture(view.at(event)), { straight: event.shiftKey, erasing: event.button === PEN_ERASER });
      }
      this.at = null;
      this.showHand();
      this.showRing(event);
    }

    move(event) {
      const { editor } = this, { view } = editor;
      if (!editor.picture) return;
      const before = this.pointers.get(event.pointerId);
      if (before) {
        const now = view.at(event);
        if (this.doing === "pinch") this.pinch(event.pointerId, now);
        else if (this.doing === "pan") view.pan(now.x - before.x, now.y - before.y);
        else if (this.doing === "pick") editor.pick(view.toPicture(now));
        else if (this.doing === "stroke") {
          const passed = event.getCoalescedEvents?.() ?? [];
          for (const each of passed.length ? passed : [event]) editor.stroke(view.toPicture(view.at(each)), { straight: event.shiftKey });
        }
        this.pointers.set(event.pointerId, now);
      }
      this.showRing(event);
    }

    up(event) {
      if (!this.pointers.delete(event.pointerId)) return;
      if (this.doing === "stroke") this.editor.endStroke();
      // After two fingers, the one that stays pans on: a stroke begins with a new touch.
      this.doing = this.pointers.size && this.doing === "pinch" ? "pan" : null;
      this.showHand();
      if (event.pointerType === "touch") this.hideRing();
    }

    leave() {
      this.hovering = false;
      this.hideRing();
    }

    /** Two fingers: what lay under them stays under them. */
    pinch(moved, now) {
      const { view } = this.editor;
      const before = [...this.pointers.values()];
      const after = [...this.pointers].map(([id, place]) => (id === moved ? now : place));
      if (after.length < 2) return;
      const middle = ([a, b]) => ({ x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 }), apart = ([a, b]) => Math.max(1, Math.hypot(a.x - b.x, a.y - b.y));
      const from = middle(before), to = middle(after);
      view.pan(to.x - from.x, to.y - from.y);
      view.zoom((view.scale * apart(after)) / apart(before), to);
    }

    wheel(event) {
      const { editor } = this, { view } = editor;
      if (!editor.picture) return;
      event.preventDefault();
      const turned = (event.deltaY || event.deltaX) * [1, LINE, PAGE][event.deltaMode];
      // Two fingers on a touchpad come as a wheel with Ctrl, though nobody holds the key.
      const pinched = event.ctrlKey && !this.control;
      if ((event.altKey || (event.ctrlKey && !pinched)) && editor.draws) editor.stepSize(turned < 0 ? 1 : -1);
      else view.zoom(view.scale * Math.exp(-turned * (pinched ? PINCH : WHEEL)), view.at(event));
      this.showRing(event);
    }

    key(event) {
      if (event.key === "Control" || event.key === "Meta") this.control = true;
      const { editor } = this, { root, stage } = editor;
      const { target } = event;
      const here = root.contains(target) || (this.hovering && target === document.body);
      if (!here || !editor.picture || event.defaultPrevented) return;
      const onStage = target === stage || target === document.body;
      if ((event.ctrlKey || event.metaKey) && !event.altKey ? this.command(event) : !event.altKey && (this.letter(event) || (onStage && this.onStage(event)))) event.preventDefault();
    }

    command(event) {
      const { editor } = this, key = event.key.toLowerCase();
      if (!editor.draws || !["z", "y"].includes(key)) return false;
      if (key === "y" || event.shiftKey) editor.redo();
      else editor.undo();
      return true;
    }

    /** Keys that act wherever the focus is within the editor. */
    letter(event) {
      const { editor } = this;
      const act = {
        "+": () => editor.zoomBy(ZOOM_STEP), "=": () => editor.zoomBy(ZOOM_STEP), "-": () => editor.zoomBy(1 / ZOOM_STEP),
        0: () => editor.view.fit(), 1: () => editor.view.zoom(1), f: () => editor.toggleFull(),
        ...(editor.isFull ? { escape: () => editor.toggleFull() } : {}),
        ...(editor.draws ? { b: () => editor.setTool("brush"), e: () => editor.setTool("eraser"), "[": () => editor.stepSize(-1), "]": () => editor.stepSize(1) } : {}),
        ...(editor.draws && event.target === editor.stage ? { delete: () => editor.clearLayers() } : {}),
        ...(editor.kind.colours ? { i: () => editor.setTool("pipette") } : {}),
      }[event.key.toLowerCase()];
      act?.();
      return Boolean(act);
    }

    /** Keys for the stage alone: Space to drag; arrows move the brush, with Shift they draw, Enter sets a dot. */
    onStage(event) {
      const { editor } = this;
      if (event.key === " ") {
        this.space = true;
        this.showHand();
        return true;
      }
      const way = ARROWS[event.key];
      if (!way && event.key !== "Enter") return false;
      if (this.doing) return true;
      if (!editor.draws) {
        if (way) editor.view.pan(-way[0] * LINE * 2, -way[1] * LINE * 2);
        return Boolean(way);
      }
      const from = this.at ?? editor.middle();
      const far = Math.max(1, Math.round(editor.size / 4));
      this.at = way && this.at ? editor.within({ x: from.x + way[0] * far, y: from.y + way[1] * far }) : from;
      if (event.key === "Enter" && editor.tool === "pipette") editor.pick(this.at);
      else if (event.key === "Enter" || event.shiftKey) {
        editor.beginStroke(from, {});
        editor.stroke(this.at, {});
        editor.endStroke();
      }
      editor.view.reveal(this.at);
      editor.view.showRing(ui.snap(this.at, editor.size), editor.size);
      editor.say(`${Math.floor(this.at.x)}, ${Math.floor(this.at.y)}`);
      return true;
    }

    released(event) {
      if (event.key === "Control" || event.key === "Meta") this.control = false;
      if (event.key === " ") {
        this.space = false;
        this.showHand();
      }
    }

    showHand() {
      this.editor.stage.classList.toggle("grabbing", this.doing === "pan" || this.doing === "pinch");
      this.editor.stage.classList.toggle("grab", this.space || !this.editor.draws);
    }

    showRing(event) {
      const { editor } = this, { view } = editor;
      const wanted = editor.draws && editor.tool !== "pipette" && !this.space && !["pan", "pinch"].includes(this.doing);
      if (wanted && (event.pointerType !== "touch" || this.doing)) view.showRing(ui.snap(view.toPicture(view.at(event)), editor.size), editor.size);
      else this.hideRing();
    }

    hideRing() {
      this.editor.view.showRing(null);
      this.editor.stage.classList.remove("ringed");
    }
  }

  ui.CanvasGestures = Gestures;
}
