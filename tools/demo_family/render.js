// Draws the named emoji of each set as PNG files of 256 pixels, and notes each set's licence.
// node render.js names.json folder     names.json: {"cat": "cat-face", ...}
const fs = require('fs');
const path = require('path');
const {createRequire} = require('module');

const [names, folder] = process.argv.slice(2);
const installed = createRequire(path.join(process.cwd(), 'package.json'));
const {Resvg} = installed('@resvg/resvg-js');
const SETS = {noto: '@iconify-json/noto', flat: '@iconify-json/fluent-emoji-flat'};

const wanted = JSON.parse(fs.readFileSync(names, 'utf8'));
const notes = {};
fs.mkdirSync(folder, {recursive: true});
for (const [style, name] of Object.entries(SETS)) {
  const set = installed(`${name}/icons.json`);
  const info = installed(`${name}/info.json`);
  notes[style] = {package: name, version: installed(`${name}/package.json`).version, author: info.author, license: info.license};
  for (const [word, emoji] of Object.entries(wanted)) {
    const icon = set.icons[emoji];
    if (!icon) throw new Error(`${name} has no ${emoji}, which is to be ${word}`);
    const width = icon.width || set.width || 16;
    const height = icon.height || set.height || 16;
    const svg = `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="${icon.left || 0} ${icon.top || 0} ${width} ${height}">${icon.body}</svg>`;
    const png = new Resvg(svg, {fitTo: {mode: 'width', value: 256}}).render().asPng();
    fs.writeFileSync(path.join(folder, `${word}.${style}.png`), png);
  }
}
fs.writeFileSync(path.join(folder, 'LICENSES.json'), JSON.stringify(notes, null, 2) + '\n');
