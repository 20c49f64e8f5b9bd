// A zip file of files that are compressed already: stored, not deflated. In the browser, so the server keeps no copies.
"use strict";
{
  const table = Uint32Array.from({ length: 256 }, (_, n) => {
    for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
    return n;
  });
  const crc32 = (bytes) => {
    let crc = 0xffffffff;
    for (const byte of bytes) crc = table[(crc ^ byte) & 0xff] ^ (crc >>> 8);
    return (crc ^ 0xffffffff) >>> 0;
  };
  window.webui.crc32 = crc32;
  const LOCAL = 0x04034b50, CENTRAL = 0x02014b50, END = 0x06054b50, VERSION = 20, UTF8 = 0x0800, DATE = 0x21;

  /** Numbers as little-endian bytes: [[value, width in bytes], ...]. */
  const pack = (numbers) => {
    const view = new DataView(new ArrayBuffer(numbers.reduce((sum, [, width]) => sum + width, 0)));
    let place = 0;
    for (const [value, width] of numbers) {
      if (width === 2) view.setUint16(place, value, true);
      else view.setUint32(place, value, true);
      place += width;
    }
    return view.buffer;
  };

  /** files: [{name, bytes: Uint8Array}, ...], names distinct. Returns a Blob. */
  window.webui.zip = (files) => {
    const parts = [], directory = [];
    let offset = 0, directorySize = 0;
    for (const { name, bytes } of files) {
      const encoded = new TextEncoder().encode(name);
      const shared = [[VERSION, 2], [UTF8, 2], [0, 2], [0, 2], [DATE, 2], [crc32(bytes), 4], [bytes.length, 4], [bytes.length, 4], [encoded.length, 2], [0, 2]];
      const local = pack([[LOCAL, 4], ...shared]);
      const entry = pack([[CENTRAL, 4], [VERSION, 2], ...shared, [0, 2], [0, 2], [0, 2], [0, 4], [offset, 4]]);
      parts.push(local, encoded, bytes);
      directory.push(entry, encoded);
      offset += local.byteLength + encoded.length + bytes.length;
      directorySize += entry.byteLength + encoded.length;
    }
    const end = pack([[END, 4], [0, 2], [0, 2], [files.length, 2], [files.length, 2], [directorySize, 4], [offset, 4], [0, 2]]);
    return new Blob([...parts, ...directory, end], { type: "application/zip" });
  };
}
