// What was drawn goes to the server when the hand rests, one file after the other.
"use strict";
{
  const ui = window.webui;
  const RESTS = 400;
  const NO_ANSWER = { error: "The server does not answer; try again." };

  class Sender {
    constructor(editor) {
      Object.assign(this, { editor, sending: Promise.resolve(), failed: false });
      this.forget();
    }

    /** Whether something was drawn that is not on its way. */
    get waits() { return this.changed.mask || this.changed.paint; }

    /** There is another picture: what was drawn on the last one is nobody's. */
    forget() {
      clearTimeout(this.timer);
      this.changed = { mask: false, paint: false };
    }

    /** These layers have changed; they are sent when the hand rests. */
    soon(...names) {
      for (const name of names) this.changed[name] = true;
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.save().catch(() => null), RESTS);
    }

    /** Send what has changed, after what is being sent.  Rejected with the reason when that fails; it is then tried again with the next. */
    save() {
      clearTimeout(this.timer);
      const sent = this.sending.then(() => this.send());
      this.sending = sent.catch(() => null);
      return sent;
    }

    async send() {
      const { editor, changed } = this, { picture } = editor;
      for (const name of ["mask", "paint"]) {
        if (!changed[name]) continue;
        changed[name] = false;
        const answer = await this.store(name);
        if (picture !== editor.picture) return;
        if (answer.error) {
          changed[name] = this.failed = true;
          editor.tell(answer.error);
          throw new Error(answer.error);
        }
        if (name === "mask") editor.hashes.mask = answer.mask;
        else Object.assign(editor.hashes, { painted: answer.picture, paint: answer.paint });
        if (this.failed) editor.tell(null);
        this.failed = false;
      }
      editor.publish();
    }

    async store(name) {
      const { layers, picture, server } = this.editor, { width, height, hash } = picture;
      if (layers[name].isEmpty()) return { mask: "", picture: "", paint: "" };
      const file = new File([await layers[name].file()], `${name}.png`, { type: "image/png" });
      const upload = ui.upload(file, { width, height, original: hash });
      if (!upload) return { error: ui.tooLarge(file) };
      return (name === "mask" ? server.store_mask(upload) : server.store_paint(upload)).catch(() => NO_ANSWER);
    }
  }

  ui.CanvasSender = Sender;
}
